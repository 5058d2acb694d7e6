/* SPDX-License-Identifier: MIT */
/* Where a reader begins, or goes on after it lost messages, and how it makes the writer wait. */
#include "ring_follow.h"

#define TRIES 64 /* the writer may be faster than one that joins, but not each time */

/* A bit behind the oldest, so that the writer's next step does not take it away again. */
void ring_jump(struct ring_reader *r)
{
    const struct ring *ring = &r->ring;
    struct ring_entry e;
    uint64_t walked = 0; /* in all, lest somebody makes this go on by changing `claimed` */

    for (int i = 0; i < RING_JUMPS && walked < ring->size; i++) {
        uint64_t claimed, at = ring_load_acquire(&ring->header->tail) & ~(uint64_t)(RING_GRAIN - 1);
        uint64_t last = at + ring->size;

        while (at < last) {
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
            walked += e.next - at;
            at = e.next;
        }
    }
    r->next = ring_load_acquire(&ring->header->head) & ~(uint64_t)(RING_GRAIN - 1);
    r->anew = true;
}

/* Follow what is published from `head` on: more may be there than the header tells. How far? */
static uint64_t find_end(const struct ring *ring, uint64_t *position, uint32_t *sequence)
{
    struct ring_entry e;
    uint64_t from = ring_load_acquire(&ring->header->head) & ~(uint64_t)(RING_GRAIN - 1);

    *sequence = (uint32_t)ring_load_acquire(&ring->header->sent);
    *position = from;
    for (;;) {
        uint64_t word = ring_load_acquire(ring_word(ring, *position));

        if (!ring_parse(ring, *position, word, &e) || e.kind == 0 || e.kind == RING_OPEN ||
            e.next - from > ring->size || (*position != from && e.sequence != *sequence))
            return *position - from;
        *position = e.next;
        *sequence = e.sequence + (e.kind == (uint32_t)RING_READY);
    }
}

/* `tail` may be a little behind what is kept; what nobody has taken is not to be left out. */
static uint64_t oldest(const struct ring *ring)
{
    const struct ring_header *h = ring->header;
    uint64_t at = ring_load_acquire(&h->tail), consumed = ring_load_acquire(&h->consumed);

    if (ring->flags & RING_HOLD && ring_load_acquire(&h->claimed) - consumed <= ring->size)
        at = consumed;
    return at & ~(uint64_t)(RING_GRAIN - 1);
}

/* Lay a hand on what stands from `position` on: is it still there? */
static bool claim(struct ring_reader *r, uint64_t position)
{
    const struct ring_header *h = r->ring.header;

    r->released = r->next = position;
    if (r->slot && !(r->ring.flags & RING_BROADCAST)) {
        uint32_t epoch = ring_load_acquire(&h->epoch);

        ring_store_release(&r->slot->position, position);
        ring_store_release(&r->slot->state, SLOT_JOINING);
        ring_fence();
        if (ring_load_acquire(&h->claimed) - position > r->ring.size)
            return false;
        /* A writer that took over meanwhile may have overlooked this one: see
         * ring_writer_agree(). */
        ring_store_release(&r->slot->state, SLOT_ACTIVE);
        ring_fence();
        return ring_load_acquire(&h->epoch) == epoch;
    }
    ring_fence();
    return ring_load_acquire(&h->claimed) - position <= r->ring.size;
}

/* A writer may have seen an earlier place, and sleep because of it. */
static void moved(struct ring_reader *r)
{
    if (!r->slot)
        return;
    ring_fence();
    if (ring_load(&r->ring.header->writer_asleep))
        ring_wake_writer(r);
}

static int join(struct ring_reader *r, int64_t history)
{
    const struct ring *ring = &r->ring;
    uint64_t walked = 0; /* in all: each try may be thwarted, and is not to cost much */

    for (int i = 0; i < TRIES && walked <= 2 * ring->size; i++) {
        uint64_t end, at = oldest(ring);
        uint32_t last;

        walked += find_end(ring, &end, &last);
        r->anew = true;
        r->sequence = last;
        /* The oldest are overwritten next: a writer that is faster each time leaves the end. */
        if (history == 0 || (int64_t)(end - at) < 0 || i >= TRIES / 2)
            at = end;
        if (!claim(r, at))
            continue;
        for (;;) { /* leave out what is too old */
            struct ring_entry e;
            int look = ring_look(r, &e);

            if (look < 0)
                return look;
            if (r->next - at > ring->size)
                return -EPROTO;
            if (look != LOOK_READY || history < 0 || (int64_t)(end - r->next) <= 0 ||
                last - e.sequence <= (uint64_t)history)
                break;
            r->next = e.next;
            r->sequence = e.sequence + 1;
        }
        r->released = r->next;
        r->peeked = 0;
        r->lost = 0;
        if (r->slot)
            ring_store_release(&r->slot->position, r->released);
        return 0;
    }
    return -EPROTO;
}

int ring_reader_start(struct ring_reader *r, const struct ring *ring, int slot, uint32_t role,
                      int64_t history, const struct ring_hooks *hooks)
{
    int error;

    if (slot >= 0 && (uint32_t)slot >= ring->slots)
        return -EINVAL;
    *r = (struct ring_reader){
        .hooks = hooks ? *hooks : (struct ring_hooks){.data = NULL},
        .ring = *ring, .role = role, .fresh = true,
        .slot = slot < 0 ? NULL : &ring->slot[slot],
        .lossy = slot < 0 || ring->flags & RING_BROADCAST,
        .epoch = ring_load_acquire(&ring->header->epoch),
    };
    ring_wait_init(&r->wait);
    r->must_fence = !ring_wait_register();
    if (!r->slot) /* that shmd counts it in `blind` is to be seen from here on */
        ring_wait_barrier();
    error = join(r, history);
    if (r->slot) {
        ring_note_cpu(&r->slot->cpu);
        ring_store_release(&r->slot->state, error < 0 ? SLOT_LEFT : SLOT_ACTIVE);
        moved(r);
    }
    return error;
}
