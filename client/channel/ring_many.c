/* SPDX-License-Identifier: MIT */
/*
 * Many writers: each takes the lock, copies its message in, publishes it and gives the lock back.
 * All that the next one needs stands in the header, and shmd frees the lock of one that died, so a
 * death between any two stores is the same as that of a single writer.
 */
#include "ring_publish.h"

#include <stdlib.h>

static int lock_once(struct ring_writer *w, uint64_t mark, uint64_t *seen)
{
    *seen = 0;
    return atomic_compare_exchange_strong(&w->ring.header->lock, seen,
                                          (uint64_t)w->role << 32 | mark);
}

static int lock(struct ring_writer *w, struct deadline *d)
{
    struct ring_header *h = w->ring.header;
    struct ring_spin s;
    uint64_t seen;
    bool got;

    if (lock_once(w, 0, &seen))
        return 0;
    if (d->timeout_ms == 0)
        return -ETIMEDOUT;
    do {
        if (!ring_spin_begin(&w->wait, &s, 0))
            break;
        do
            got = ring_load(&h->lock) == 0 && lock_once(w, 0, &seen);
        while (!got && ring_spin_turn(&s));
        ring_spin_end(&w->wait, got);
        if (got)
            return 0;
    } while (ring_spin_again(&w->wait, d));
    for (;;) { /* from here on there may be others that sleep */
        uint32_t bell = ring_load_acquire(&h->lock_bell);
        int slept;

        if (lock_once(w, 1, &seen))
            return 0;
        if (seen & 1 || atomic_compare_exchange_strong(&h->lock, &seen, seen | 1)) {
            slept = ring_sleep(&h->lock_bell, bell, d, -1);
            if (slept < 0)
                return lock_once(w, 1, &seen) ? 0 : slept;
        } else if (deadline_left_ms(d) == 0)
            return -ETIMEDOUT;
    }
}

/* False: it was no longer this writer's. */
static bool unlock(struct ring_writer *w)
{
    struct ring_header *h = w->ring.header;
    uint64_t seen = (uint64_t)w->role << 32;

    if (atomic_compare_exchange_strong(&h->lock, &seen, 0))
        return true;
    if (seen >> 32 != w->role || !atomic_compare_exchange_strong(&h->lock, &seen, 0))
        return false;
    ring_ring(&h->lock_bell);
    return true;
}

static int begin(struct ring_writer *w)
{
    const struct ring_header *h = w->ring.header;
    int r = ring_holds_slot(w) ? ring_writer_load(w) : -ESTALE;

    if (r == 0)
        r = ring_writer_settle(w);
    if (r == 0 && ring_load_acquire(&h->epoch) != w->agreed)
        ring_writer_agree(w);
    w->bytes = ring_load(&h->bytes);
    w->wakes = ring_load(&h->wakes);
    return r;
}

int ring_many_send(struct ring_writer *w, const void *bytes, uint32_t length, struct deadline *d)
{
    for (;;) {
        uint64_t end;
        int r = ring_writer_tell(w, ring_load(&w->ring.header->epoch)); /* which may take time */

        if (r == 0)
            r = lock(w, d);
        if (r < 0)
            return r;
        r = begin(w);
        end = ring_place(w, length) + ring_record(length) + RING_GRAIN;
        if (r == 0 && end > w->claimed)
            r = ring_claim_try(w, end);
        if (r == 0)
            ring_put(w, bytes, length);
        if (!unlock(w) && r == 0)
            return ring_holds_slot(w) ? -EPROTO : -ESTALE;
        if (r != -EAGAIN)
            return r;
        r = ring_room_wait(w, end, d);
        if (r < 0)
            return r;
        if (deadline_left_ms(d) == 0)
            return -ETIMEDOUT;
    }
}

int ring_many_reserve(struct ring_writer *w, uint32_t length, void **ret, const struct deadline *d)
{
    w->deadline = *d;
    if (length > w->ring.max_message)
        return -EMSGSIZE;
    if (length > w->copy_size || !w->copy) {
        void *p = realloc(w->copy, MAX(length, 1u));

        if (!p)
            return -ENOMEM;
        w->copy = p;
        w->copy_size = length;
    }
    *ret = w->copy;
    return 0;
}

int ring_many_commit(struct ring_writer *w, uint32_t length)
{
    int r = ring_many_send(w, w->copy, length, &w->deadline);

    w->is_reserved = r == -ETIMEDOUT;
    return r;
}
