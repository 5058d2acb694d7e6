/* SPDX-License-Identifier: MIT */
/* Between the files that read. */
#pragma once

#include <errno.h>

#include "ring_reader.h"
#include "util.h"

/* A writer that laps a reader at each step gets it to the newest message. */
#define RING_JUMPS 16

enum ring_look {
    LOOK_NOTHING = 0,
    LOOK_READY = 1,
    LOOK_OPEN = 2,
    LOOK_LAPPED = 3,
};

/* What stands at r->next, behind pads: enum ring_look or -EPROTO. */
int ring_look(struct ring_reader *r, struct ring_entry *e);

/* May what stands at a position have been overwritten? Ask after it was copied. */
static inline bool ring_is_lapped(const struct ring_reader *r, uint64_t position)
{
    if (!r->lossy)
        return false;
    ring_fence_acquire();
    return ring_load(&r->ring.header->claimed) - position > r->ring.size;
}

/* Did the writer wait for this reader until now? Ask after it was copied. Else shmd has ended the
 * role, and the slot may be another's. */
static inline bool ring_is_held(const struct ring_reader *r)
{
    if (!r->slot)
        return true;
    ring_fence_acquire();
    return ring_load(&r->slot->role) == r->role && ring_load(&r->slot->state) == SLOT_ACTIVE;
}

/* Wake a writer that sleeps because of where this reader stood. */
void ring_wake_writer(struct ring_reader *r);

/* Behind the oldest that are kept. */
void ring_jump(struct ring_reader *r);

/* The next message, waiting for it: LOOK_READY, with `open` LOOK_OPEN too; 0 for the end,
 * -errno. */
int ring_next(struct ring_reader *r, struct ring_entry *e, bool open, struct deadline *d);
/* The same where ring_look() has found none; -ENODATA for the end. */
int ring_await(struct ring_reader *r, struct ring_entry *e, bool open, struct deadline *d);

/* ring_begun.c: follow the one at r->next from its beginning; how much of it is there, waiting for
 * more than *there. -ECANCELED: it came to nothing. */
void ring_follow(struct ring_reader *r, const struct ring_entry *e);
int ring_follow_more(struct ring_reader *r, uint32_t *there, bool may_spin, struct deadline *d);

static inline void ring_step(struct ring_reader *r, const struct ring_entry *e)
{
    r->fresh = false;
    r->next = e->next;
    r->sequence++;
    r->peeked++;
    r->peeked_bytes += e->length;
}

static inline void ring_tell_lost(struct ring_reader *r)
{
    if (r->slot)
        ring_store(&r->slot->lost, r->lost);
}
