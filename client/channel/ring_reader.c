/* SPDX-License-Identifier: MIT */
#include "ring_follow.h"

#include <stdlib.h>

#define JUMPS 16       /* a writer that laps a reader at each step gets it to the newest message */
#define BLIND_STEP_MS 10 /* of a sleeper whom nobody may be able to see */
#define FOLLOW_LEAST 4096u /* bytes of a step that is no small one */
#define FOLLOW_STEPS 64u   /* small ones that are spun for */

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
        if (e->kind == (uint32_t)RING_READY)
            return LOOK_READY;
        if (e->kind == RING_OPEN)
            return e->length ? LOOK_OPEN : -EPROTO;
        r->next = e->next;
        if (!r->peeked && !r->lossy)
            r->released = e->next;
    }
    return -EPROTO;
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

        if (look < 0 || look == LOOK_READY)
            return look;
        if (look == LOOK_LAPPED) {
            lost(r);
            continue;
        }
        state = writer_state(r, &role);
        if (look == LOOK_OPEN && open && state == -EAGAIN) /* else nobody goes on with it */
            return look;
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

/* -EAGAIN: shmd could not be told, and is to be tried again. -ESTALE. */
static int notice_epoch(struct ring_reader *r)
{
    uint32_t epoch = ring_load(&r->ring.header->epoch);
    int e = 0;

    if (epoch == r->epoch)
        return 0;
    if (r->hooks.changed)
        e = r->hooks.changed(r->hooks.data);
    if (e == 0)
        r->epoch = epoch;
    return e;
}

/* Raise the flag so that whoever publishes from now on sees it. False: that is not sure. */
static bool raise_flag(struct ring_reader *r, uint32_t bit)
{
    struct ring_header *h = r->ring.header;

    if (!r->slot) /* what it would raise, shmd has noted; it shall be seen */
        return ring_wait_barrier();
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
    do {
        /* The next line comes along with the first, rather than behind it. */
        __builtin_prefetch((const char *)at + 64);
        if (ring_load(at) != word || s.turns % 64 == 0) {
            look = look_all(r, e, open);
            if (look != LOOK_NOTHING)
                break;
            at = ring_word(&r->ring, r->next); /* it may have gone behind a pad */
            word = ring_load(at);
        }
    } while (ring_spin_turn(&s));
    ring_spin_end(&r->wait, look != LOOK_NOTHING);
    return look;
}

/* Wait until there is something. As look_all(), never LOOK_NOTHING. */
int ring_await(struct ring_reader *r, struct ring_entry *e, bool open, struct deadline *d)
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
        if (look == LOOK_NOTHING && notice_epoch(r) == -ESTALE)
            return -ESTALE;
    } while (look == LOOK_NOTHING && ring_spin_again(&r->wait, d));
    while (look == LOOK_NOTHING) {
        uint32_t bell = ring_load_acquire(&h->bell);
        bool seen = raise_flag(r, ASLEEP_FUTEX);
        int slept, noticed;

        look = look_all(r, e, open);
        if (look != LOOK_NOTHING)
            break;
        noticed = notice_epoch(r);
        if (noticed == -ESTALE)
            return noticed;
        r->waits++;
        if (r->slot)
            ring_store(&r->slot->waits, r->waits);
        slept = ring_sleep(&h->bell, bell, d,
                           seen && noticed == 0 ? -1 : BLIND_STEP_MS);
        look = look_all(r, e, open);
        if (look == LOOK_NOTHING && slept < 0)
            return -ETIMEDOUT;
    }
    return look;
}

int ring_next(struct ring_reader *r, struct ring_entry *e, bool open, struct deadline *d)
{
    int look = ring_look(r, e);

    if (look == LOOK_READY)
        return look;
    if (look < 0)
        return look;
    look = ring_await(r, e, open, d);
    tell_lost(r);
    return look == -ENODATA ? 0 : look;
}

int ring_peek(struct ring_reader *r, const void **bytes, uint32_t *length, struct deadline *d)
{
    struct deadline at_once = {.timeout_ms = 0};
    struct ring_entry e;
    int got = ring_next(r, &e, false, r->peeked ? &at_once : d);

    if (got != LOOK_READY)
        return got;
    *bytes = (const unsigned char *)ring_word(&r->ring, r->next) + RING_HEAD;
    *length = e.length;
    ring_step(r, &e);
    return 1;
}

void ring_wake_writer(struct ring_reader *r)
{
    struct ring_header *h = r->ring.header;
    uint32_t asleep = atomic_exchange(&h->writer_asleep, 0);
    ring_stored();
    if (!asleep)
        return;
    ring_store(&r->slot->wakes, ++r->wakes);
    ring_ring(&h->writer_bell);
    if (asleep & ASLEEP_POLL && r->hooks.poke && !r->hooks.poke(r->hooks.data))
        atomic_fetch_or(&h->writer_asleep, ASLEEP_POLL); /* at the next release, then */
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
        const struct ring_header *h = r->ring.header;
        struct ring_slot *s = r->slot;

        ring_store_release(&s->position, r->released);
        ring_store(&s->received, r->received);
        ring_store(&s->bytes, r->bytes);
        if (stale)
            tell_lost(r);
        ring_fence_if(r->must_fence);
        if (ring_load(&h->writer_asleep) &&
            (int64_t)(r->released - ring_load_acquire(&h->wanted)) >= 0)
            ring_wake_writer(r);
    }
    return stale ? -ESTALE : 0;
}

/*
 * Copy a message that is being written. A writer that is slow on purpose, little by little, is not
 * spun for after some steps: that time would be beyond the limit.
 */
static int copy_begun(struct ring_reader *r, unsigned char *to, const struct ring_entry *e,
                      struct deadline *d)
{
    const unsigned char *from = (const unsigned char *)ring_word(&r->ring, r->next) + RING_HEAD;
    uint32_t there = 0, done = 0, steps = 0;

    ring_follow(r, e);
    while (done < e->length) {
        int got = ring_follow_more(r, &there, steps < FOLLOW_STEPS, d);

        if (got < 0)
            return got;
        ring_copy(to + done, from + done, there - done);
        steps += there - done < FOLLOW_LEAST;
        done = there;
        ring_stored();
    }
    return 1;
}

int ring_recv(struct ring_reader *r, void *to, uint32_t room, uint32_t *length, struct deadline *d)
{
    for (uint32_t tries = 1;; tries++) {
        struct ring_entry e;
        int got = ring_next(r, &e, true, d);

        if (got <= 0)
            return got;
        *length = e.length;
        if (e.length > room)
            return -EMSGSIZE;
        if (got == LOOK_OPEN) {
            got = copy_begun(r, to, &e, d);
            if (got < 0 && got != -ECANCELED)
                return got;
        } else
            ring_copy(to, (const unsigned char *)ring_word(&r->ring, r->next) + RING_HEAD,
                      e.length);
        if (got > 0) {
            ring_step(r, &e);
            if (ring_release(r) == 0)
                return 1;
        }
        /* It was overwritten or taken back meanwhile. */
        if (tries % JUMPS == 0 && deadline_left_ms(d) == 0)
            return -ETIMEDOUT;
    }
}

void ring_reader_leave(struct ring_reader *r)
{
    if (!r->slot || !ring_is_mine(r->slot, r->role))
        return;
    ring_consumed(&r->ring, r->released);
    atomic_store(&r->slot->state, SLOT_LEFT);
    ring_fence();
    ring_wake_writer(r);
}

int ring_reader_arm(struct ring_reader *r)
{
    uint32_t ended = r->ended;
    struct ring_entry e;
    int look;

    raise_flag(r, ASLEEP_POLL);
    look = look_all(r, &e, false);
    r->ended = ended; /* the next call is what tells it */
    return look != LOOK_NOTHING;
}
