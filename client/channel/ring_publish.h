/* SPDX-License-Identifier: MIT */
/* Between the files that write. */
#pragma once

#include <errno.h>

#include "ring_writer.h"
#include "util.h"

#define RING_ROOM_STEP_MS 10 /* of a sleeper whom nobody may be able to see */

/* ring_claim.c: room up to `end`. try: 0, -EAGAIN, -EPROTO. */
int ring_claim_try(struct ring_writer *w, uint64_t end);
int ring_claim(struct ring_writer *w, uint64_t end, struct deadline *d);
/* Only wait for it: somebody else may be faster. */
int ring_room_wait(struct ring_writer *w, uint64_t end, struct deadline *d);
uint64_t ring_room_end(const struct ring_writer *w, uint32_t *cpu); /* 0: nonsense stands there */

/* ring_takeover.c */
int ring_writer_load(struct ring_writer *w);   /* the header's positions */
int ring_writer_settle(struct ring_writer *w); /* go on to where nothing stands */
void ring_writer_agree(struct ring_writer *w); /* with the readers, about what was claimed */
uint64_t ring_walk(const struct ring *r, uint64_t from, uint64_t least, uint64_t to);

/* ring_many.c */
int ring_many_send(struct ring_writer *w, const void *bytes, uint32_t length, struct deadline *d);
/* Into memory of the writer's own, until it is known who comes first. */
int ring_many_reserve(struct ring_writer *w, uint32_t length, void **ret, const struct deadline *d);
int ring_many_commit(struct ring_writer *w, uint32_t length);

/* ring_doorbell.c */
#define RING_WEIGHED 64u /* doorbells: each time so many it is weighed who is to pay for fences */
/* Readers sleep, cannot say so, or it is time to weigh. */
int ring_doorbell_seldom(struct ring_writer *w);

/* ring_writer.c */
void ring_publish_held(struct ring_writer *w);
uint64_t ring_place(struct ring_writer *w, uint32_t length);
void ring_put(struct ring_writer *w, const void *bytes, uint32_t length);

/* Could a record stand there? No sum with a length wraps then. */
static inline bool ring_is_position(uint64_t position)
{
    return position <= INT64_MAX && position % RING_GRAIN == 0;
}

/* False: shmd has ended the role. */
static inline bool ring_holds_slot(const struct ring_writer *w)
{
    return w->slot < 0 || (uint32_t)w->slot >= w->ring.slots ||
           ring_is_mine(&w->ring.slot[w->slot], w->role);
}

/* -ESTALE. Where shmd cannot be told now it is to be with the next message; until then it finds the
 * writer by what stands in its slot. */
static inline int ring_writer_tell(struct ring_writer *w, uint32_t epoch)
{
    int r = 0;

    if (epoch == w->told)
        return 0;
    if (w->hooks.changed)
        r = w->hooks.changed(w->hooks.data);
    if (r == 0)
        w->told = epoch;
    return r == -ESTALE ? r : 0;
}

/* After a store that publishes: wake who sleeps. 0, so that the calls that end with it need no
 * stack. */
static inline int ring_doorbell(struct ring_writer *w)
{
    const struct ring_header *h = w->ring.header;

    ring_fence_if(w->fencing);
    if (__builtin_expect(ring_load(&h->readers_asleep) | ring_load(&h->blind) |
                         (--w->weigh_in == 0), 0))
        return ring_doorbell_seldom(w);
    return 0;
}
