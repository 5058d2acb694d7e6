/* SPDX-License-Identifier: MIT */
/*
 * Reading a message while it is written. Its head word says RING_OPEN until all is there, and the
 * header's `piece` how much is. What was seen counts only where the turn that was there at the
 * beginning is still there behind RING_READY: else another writer, or another message of the same
 * one, has come to stand in its place.
 */
#include "ring_follow.h"

#define STEP 64u /* bytes: what is told of is a multiple, until all is there */

void ring_follow(struct ring_reader *r, const struct ring_entry *e)
{
    uint64_t piece = ring_load_acquire(&r->ring.header->piece);

    r->begun = (struct ring_begun){.is = true, .at = r->next, .sequence = e->sequence,
                                   .length = e->length, .turn = (uint32_t)(piece >> 32)};
}

/* 1: *there are there; 0: it came to nothing. */
static int look(const struct ring_reader *r, uint32_t *there)
{
    const struct ring_begun *b = &r->begun;
    uint64_t word = ring_load_acquire(ring_word(&r->ring, b->at));
    uint64_t piece = ring_load_acquire(&r->ring.header->piece);
    struct ring_entry e;

    if (ring_is_lapped(r, b->at) || (uint32_t)(piece >> 32) != b->turn ||
        !ring_parse(&r->ring, b->at, word, &e) || e.length != b->length ||
        e.sequence != b->sequence)
        return 0;
    if (e.kind == (uint32_t)RING_READY)
        *there = b->length;
    else if (e.kind == RING_OPEN)
        *there = MIN((uint32_t)piece, b->length - 1) & ~(STEP - 1);
    else
        return 0;
    return 1;
}

int ring_follow_more(struct ring_reader *r, uint32_t *there, bool may_spin, struct deadline *d)
{
    bool begun = false;
    struct ring_spin s;

    for (;;) {
        struct ring_entry e;
        uint32_t now;
        int got;

        if (look(r, &now) == 0)
            return -ECANCELED;
        if (now > *there || now == r->begun.length) {
            *there = now;
            return 1;
        }
        if (may_spin && !begun) {
            may_spin = ring_spin_begin(&r->wait, &s, ring_load(&r->ring.header->writer_cpu));
            begun = true;
        }
        if (may_spin && ring_spin_turn(&s))
            continue;
        /* Too slow: sleep until all is there. */
        may_spin = false;
        got = ring_await(r, &e, false, d);
        if (got == -ENODATA || got == -EOWNERDEAD) {
            r->ended = 0; /* to be told by the next call */
            return -ECANCELED;
        }
        if (got < 0)
            return got;
    }
}

int ring_peek_begun(struct ring_reader *r, const void **bytes, uint32_t *length, uint32_t *there,
                    struct deadline *d)
{
    struct deadline at_once = {.timeout_ms = 0}, *by = r->peeked ? &at_once : d;
    struct ring_entry e;
    int got = ring_next(r, &e, true, by);

    if (got <= 0)
        return got;
    *bytes = (const unsigned char *)ring_word(&r->ring, r->next) + RING_HEAD;
    *length = e.length;
    *there = 0;
    if (got == LOOK_OPEN) {
        ring_follow(r, &e);
        return ring_peek_more(r, there, &at_once) == -ECANCELED ? -ECANCELED : 1;
    }
    r->begun.is = false;
    *there = e.length;
    ring_step(r, &e);
    return 1;
}

int ring_peek_more(struct ring_reader *r, uint32_t *there, struct deadline *d)
{
    struct ring_begun *b = &r->begun;
    int got;

    if (!b->is || b->at != r->next)
        return -EINVAL;
    got = ring_follow_more(r, there, d->timeout_ms != 0, d);
    if (got == -ECANCELED)
        b->is = false;
    if (got > 0 && *there == b->length) {
        struct ring_entry e = {.next = b->at + ring_record(b->length), .length = b->length};

        b->is = false;
        ring_step(r, &e);
    }
    return got;
}
