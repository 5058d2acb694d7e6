/* SPDX-License-Identifier: MIT */
#include "ring_follow.h"

#include <stdlib.h>

#define JUMPS 16       /* a writer that laps a reader at each step gets it to the newest message */
#define BLIND_STEP_MS 10 /* of a sleeper whom nobody may be able to see */

int ring_look(struct ring_reader *r, struct ring_entry *e)
{
    const struct ring *ring = &r->ring;

    for (int pads = 0; pads < 2; pads++) {
        uint64_t word = ring_load_acquire(ring_word(ring, r->next));
        bool possible = ring_parse(ring, r->next, word, e);

        if (ring_is_lapped(r, r->next))
            return LOOK_LAPPED;
        if (!possible)
            return -EPROTO;
        if (e->kind == 0)
            return LOOK_NOTHING;
        if (e->sequence != r->sequence) {
            if (!r->anew)
                return -EPROTO;
            if (!r->fresh)
                r->lost += e->sequence - r->sequence;
            r->sequence = e->sequence;
        }
        r->anew = false;
        if (e->kind != (uint32_t)RING_PAD)
            return e->kind == RING_OPEN ? LOOK_OPEN : LOOK_READY;
        r->next = e->next;
        if (!r->peeked && !r->lossy)
            r->released = e->next;
    }
    return -EPROTO;
}

/* A bit behind the oldest, so that the writer's next step does not take it away again. */
void ring_jump(struct ring_reader *r)
{
    const struct ring *ring = &r->ring;
    struct ring_entry e;

    for (int i = 0; i < JUMPS; i++) {
        uint64_t claimed, at = ring_load_acquire(&ring->header->tail) & ~(uint64_t)(RING_GRAIN - 1);

        for (;;) {
            uint64_t word = ring_load_acquire(ring_word(ring, at));

            claimed = ring_load_acquire(&ring->header->claimed);
            if (claimed - at > ring->size)
                break;
            if (claimed - at <= ring->size - ring->size / 8 || word == 0 ||
                !ring_parse(ring, at, word, &e)) {
                r->next = at;
                r->anew = true;
                return;
            }
            at = e.next;
        }
    }
    r->next = ring_load_acquire(&ring->header->head) & ~(uint64_t)(RING_GRAIN - 1);
    r->anew = true;
}

static void lost(struct ring_reader *r)
{
    ring_jump(r);
    if (!r->peeked)
        r->released = r->next;
}

static void tell_lost(struct ring_reader *r)
{
    if (r->slot)
        ring_store(&r->slot->lost, r->lost);
}

/* The writer's state as the reader is to be told it: -EAGAIN while one writes, or may come. */
static int writer_state(const struct ring_reader *r, uint32_t *role)
{
    uint64_t writer = ring_load_acquire(&r->ring.header->writer);

    *role = (uint32_t)(writer >> 32);
    switch ((uint32_t)writer) {
    case RING_VACANT:
    case RING_WRITING:
        return -EAGAIN;
    case RING_CLOSED:
        return 0;
    case RING_DIED:
        return -EOWNERDEAD;
    default:
        return -EPROTO;
    }
}

/* Is there something to be done about the next message? As ring_look(), but also -EOWNERDEAD, and
 * -ENODATA for the end. `open`: what is still being written does as well. */
static int look_all(struct ring_reader *r, struct ring_entry *e, bool open)
{
    for (int jumps = 0; jumps < JUMPS; jumps++) {
        uint32_t role;
        int look = ring_look(r, e), state;

        if (look < 0 || look == LOOK_READY || (look == LOOK_OPEN && open))
            return look;
        if (look == LOOK_LAPPED) {
            lost(r);
            continue;
        }
        state = writer_state(r, &role);
        if (state == -EAGAIN || (state != -EPROTO && r->ended == role && role))
            return LOOK_NOTHING;
        /* All that the writer published came before its end. */
        look = ring_look(r, e);
        if (look < 0 || look == LOOK_READY)
            return look;
        if (look == LOOK_LAPPED) {
            lost(r);
            continue;
        }
        if (state != -EPROTO)
            r->ended = role;
        return state == 0 ? -ENODATA : state;
    }
    return LOOK_NOTHING;
}

static void notice_epoch(struct ring_reader *r)
{
    uint32_t epoch = ring_load(&r->ring.header->epoch);

    if (epoch == r->epoch)
        return;
    r->epoch = epoch;
    if (r->changed)
        r->changed(r->data);
}

/* Raise the flag so that whoever publishes from now on sees it. False: that is not sure. */
static bool raise_flag(struct ring_reader *r, uint32_t bit)
{
    struct ring_header *h = r->ring.header;

    if (!r->slot)
        return true;
    atomic_fetch_or(&h->readers_asleep, bit);
    ring_stored();
    return atomic_load(&h->fencing) ? true : ring_wait_barrier();
}

static int spin(struct ring_reader *r, struct ring_entry *e, bool open)
{
    const _Atomic uint64_t *at = ring_word(&r->ring, r->next);
    uint64_t word = ring_load(at);
    struct ring_spin s;
    int look = LOOK_NOTHING;

    if (!ring_spin_begin(&r->wait, &s, ring_load(&r->ring.header->writer_cpu)))
        return LOOK_NOTHING;
    do
        if (ring_load(at) != word || s.turns % 64 == 0) {
            look = look_all(r, e, open);
            if (look != LOOK_NOTHING)
                break;
            at = ring_word(&r->ring, r->next); /* it may have gone behind a pad */
            word = ring_load(at);
        }
    while (ring_spin_turn(&s));
    ring_spin_end(&r->wait, look != LOOK_NOTHING);
    return look;
}

/* Wait until there is something. As look_all(), never LOOK_NOTHING. */
static int await(struct ring_reader *r, struct ring_entry *e, bool open, struct deadline *d)
{
    struct ring_header *h = r->ring.header;
    int look = look_all(r, e, open);

    if (look != LOOK_NOTHING)
        return look;
    if (d->timeout_ms == 0)
        return -ETIMEDOUT;
    if (r->slot)
        ring_store(&r->slot->cpu, ring_wait_cpu());
    do {
        look = spin(r, e, open);
        notice_epoch(r);
    } while (look == LOOK_NOTHING && ring_spin_again(&r->wait, d));
    while (look == LOOK_NOTHING) {
        uint32_t bell = ring_load_acquire(&h->bell);
        bool seen = raise_flag(r, ASLEEP_FUTEX);
        int slept;

        look = look_all(r, e, open);
        if (look != LOOK_NOTHING)
            break;
        notice_epoch(r);
        r->waits++;
        if (r->slot)
            ring_store(&r->slot->waits, r->waits);
        slept = ring_sleep(&h->bell, bell, d, seen ? -1 : BLIND_STEP_MS);
        look = look_all(r, e, open);
        if (look == LOOK_NOTHING && slept < 0)
            return -ETIMEDOUT;
    }
    return look;
}

static inline int next(struct ring_reader *r, struct ring_entry *e, bool open, struct deadline *d)
{
    int look = ring_look(r, e);

    if (look == LOOK_READY)
        return look;
    if (look < 0)
        return look;
    look = await(r, e, open, d);
    tell_lost(r);
    return look == -ENODATA ? 0 : look;
}

static inline void step(struct ring_reader *r, const struct ring_entry *e)
{
    r->fresh = false;
    r->next = e->next;
    r->sequence++;
    r->peeked++;
    r->peeked_bytes += e->length;
}

int ring_peek(struct ring_reader *r, const void **bytes, uint32_t *length, struct deadline *d)
{
    struct ring_entry e;
    int got = next(r, &e, false, d);

    if (got != LOOK_READY)
        return got;
    *bytes = (const unsigned char *)ring_word(&r->ring, r->next) + RING_HEAD;
    *length = e.length;
    step(r, &e);
    return 1;
}

/* Wake a writer that waits for the room that there is now. */
static void ring_writers_bell(struct ring_reader *r)
{
    struct ring_header *h = r->ring.header;
    uint32_t asleep;

    if ((int64_t)(r->released - ring_load_acquire(&h->wanted)) < 0)
        return;
    asleep = atomic_exchange(&h->writer_asleep, 0);
    ring_stored();
    if (!asleep)
        return;
    ring_store(&r->slot->wakes, ++r->wakes);
    ring_ring(&h->writer_bell);
    if (asleep & ASLEEP_POLL && r->poke)
        r->poke(r->data);
}

int ring_release(struct ring_reader *r)
{
    bool stale = r->peeked && ring_is_lapped(r, r->released);

    if (stale)
        r->lost += r->peeked;
    else {
        r->received += r->peeked;
        r->bytes += r->peeked_bytes;
    }
    r->released = r->next;
    r->peeked = 0;
    r->peeked_bytes = 0;
    if (r->slot) {
        struct ring_slot *s = r->slot;

        ring_store_release(&s->position, r->released);
        ring_store(&s->received, r->received);
        ring_store(&s->bytes, r->bytes);
        if (stale)
            tell_lost(r);
        if (r->must_fence)
            ring_fence();
        if (ring_load(&r->ring.header->writer_asleep))
            ring_writers_bell(r);
    }
    return stale ? -ESTALE : 0;
}

/*
 * Follow a message that is being written: 1, or 0 where it came to nothing (look again), -errno.
 * What was copied counts only where the same turn has brought it to its end.
 */
static int follow(struct ring_reader *r, unsigned char *to, const struct ring_entry *e,
                  struct deadline *d)
{
    const struct ring_header *h = r->ring.header;
    const _Atomic uint64_t *at = ring_word(&r->ring, r->next);
    const unsigned char *from = (const unsigned char *)at + RING_HEAD;
    uint32_t turn = (uint32_t)(ring_load_acquire(&h->piece) >> 32), done = 0;
    struct ring_spin s;

    ring_spin_begin(&r->wait, &s, 0);
    for (;;) {
        uint64_t word = ring_load_acquire(at), piece = ring_load_acquire(&h->piece);
        struct ring_entry now;
        uint32_t there;

        if (ring_is_lapped(r, r->next) || (uint32_t)(piece >> 32) != turn)
            return 0;
        if (!ring_parse(&r->ring, r->next, word, &now) || now.length != e->length ||
            now.sequence != e->sequence)
            return 0;
        if (now.kind == (uint32_t)RING_READY)
            there = e->length;
        else if (now.kind == RING_OPEN)
            there = MIN((uint32_t)piece, e->length);
        else
            return 0;
        if (there > done) {
            ring_copy(to + done, from + done, there - done);
            done = there;
            s.start = 0;
        }
        if (now.kind == (uint32_t)RING_READY)
            return 1;
        if (r->wait.alone || !ring_spin_turn(&s)) {
            /* Too slow: sleep until all is there, and copy it then. */
            struct ring_entry again;
            int got = await(r, &again, false, d);

            return got == LOOK_READY ? 0 : got == -ENODATA ? -EPROTO : got;
        }
    }
}

int ring_recv(struct ring_reader *r, void *to, uint32_t room, uint32_t *length, struct deadline *d)
{
    for (;;) {
        struct ring_entry e;
        int got = next(r, &e, true, d);

        if (got <= 0)
            return got;
        *length = e.length;
        if (e.length > room)
            return -EMSGSIZE;
        if (got == LOOK_OPEN) {
            got = follow(r, to, &e, d);
            if (got < 0)
                return got;
            if (got == 0)
                continue;
        } else
            ring_copy(to, (const unsigned char *)ring_word(&r->ring, r->next) + RING_HEAD,
                      e.length);
        step(r, &e);
        if (ring_release(r) == 0)
            return 1;
    }
}

void ring_reader_leave(struct ring_reader *r)
{
    struct ring_header *h = r->ring.header;

    if (!r->slot)
        return;
    ring_consumed(&r->ring, r->released);
    atomic_store(&r->slot->state, SLOT_LEFT);
    if (atomic_exchange(&h->writer_asleep, 0) & ASLEEP_POLL && r->poke)
        r->poke(r->data);
    ring_ring(&h->writer_bell);
}

int ring_reader_arm(struct ring_reader *r)
{
    uint32_t ended = r->ended;
    struct ring_entry e;
    int look;

    raise_flag(r, ASLEEP_POLL);
    look = look_all(r, &e, false);
    r->ended = ended; /* nobody was told yet */
    return look != LOOK_NOTHING;
}
