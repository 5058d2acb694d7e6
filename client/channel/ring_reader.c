/* SPDX-License-Identifier: MIT */
/* Looking for the next message, and waiting for it. */
#include "ring_follow.h"

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

/* Will none come any more? `role`: of the last writer, whose end has been told. One that came and
 * went meanwhile stands there as another one. */
static bool is_deserted(const struct ring_reader *r, uint32_t role)
{
    uint64_t writer;

    if (!ring_is_left_by(&r->ring, MEMBER_WRITER))
        return false;
    writer = ring_load_acquire(&r->ring.header->writer);
    return (uint32_t)writer != RING_WRITING && (uint32_t)(writer >> 32) == role;
}

/* Is there something to be done about the next message? As ring_look(), but also -EOWNERDEAD,
 * -ENODATA for the end, and -EIDRM where the channel was removed and nobody writes to it. `open`:
 * what is still being written does as well. */
static int look_all(struct ring_reader *r, struct ring_entry *e, bool open)
{
    for (int jumps = 0; jumps < RING_JUMPS; jumps++) {
        uint32_t role;
        int look = ring_look(r, e), state;
        bool told;

        if (look < 0 || look == LOOK_READY)
            return look;
        if (look == LOOK_LAPPED) {
            lost(r);
            continue;
        }
        state = writer_state(r, &role);
        if (look == LOOK_OPEN && open && state == -EAGAIN) /* else nobody goes on with it */
            return look;
        told = state == -EAGAIN || (state != -EPROTO && r->ended == role && role);
        if (told && !is_deserted(r, role))
            return LOOK_NOTHING;
        /* All that the writer published came before its end. */
        look = ring_look(r, e);
        if (look < 0 || look == LOOK_READY)
            return look;
        if (look == LOOK_LAPPED) {
            lost(r);
            continue;
        }
        if (told)
            return -EIDRM;
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
        ring_note_cpu(&r->slot->cpu);
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
    ring_tell_lost(r);
    return look == -ENODATA ? 0 : look;
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
    bool seen = raise_flag(r, ASLEEP_POLL);
    int look = look_all(r, &e, false);

    r->ended = ended; /* the next call is what tells it */
    return look != LOOK_NOTHING ? 1 : seen ? 0 : -EAGAIN;
}
