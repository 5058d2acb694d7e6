/* SPDX-License-Identifier: MIT */
/* Room: how far a writer may write, and waiting until it may. */
#include "ring_publish.h"

uint64_t ring_room_end(const struct ring_writer *w, uint32_t *cpu)
{
    const struct ring *r = &w->ring;
    uint32_t used = ring_load_acquire(&r->header->slots_used); /* once: MIN() reads twice */
    uint64_t end = UINT64_MAX;

    *cpu = 0;
    used = MIN(used, r->slots);
    if (r->flags & RING_BROADCAST)
        return w->position + r->size;
    for (uint32_t i = 0; i < used; i++) {
        const struct ring_slot *s = &r->slot[i];
        uint32_t state = ring_load_acquire(&s->state);

        if (state != SLOT_ACTIVE && state != SLOT_JOINING)
            continue;
        if (ring_load(&s->kind) != MEMBER_READER)
            continue;

        uint64_t position = ring_load_acquire(&s->position);

        /* Nonsense, or of one that joins and will find that its place is lost. */
        if (w->position - position > r->size ||
            (state == SLOT_JOINING && position + r->size < w->claimed))
            continue;
        if (position + r->size < end) {
            end = position + r->size;
            *cpu = ring_load(&s->cpu);
        }
    }
    if (end != UINT64_MAX)
        return end;
    if (!(r->flags & RING_HOLD))
        return w->position + r->size;

    uint64_t consumed = ring_load_acquire(&r->header->consumed);

    return w->position - consumed > r->size ? 0 : consumed + r->size;
}

/* The first record that stands at `least` or behind it. */
static uint64_t first_kept(const struct ring_writer *w, uint64_t least)
{
    const struct ring *r = &w->ring;

    if (r->flags & RING_MANY)
        return ring_walk(r, w->tail, least, w->position);
    for (uint64_t b = least >> w->block_shift; b <= w->position >> w->block_shift; b++) {
        uint64_t at = w->index[b % RING_BLOCKS];

        if (at >> w->block_shift == b && at >= least)
            return at;
    }
    return w->position;
}

int ring_claim_try(struct ring_writer *w, uint64_t end)
{
    const struct ring *r = &w->ring;
    uint64_t block = r->size / RING_BLOCKS, most = w->position + r->size, room;
    uint64_t want = MAX(end, w->position + r->size / 16);
    uint32_t cpu;

    want = MIN((want + block - 1) & ~(block - 1), most);
    room = ring_room_end(w, &cpu);
    if (room == 0)
        return -EPROTO;
    if (room < end)
        return -EAGAIN;
    want = MAX(MIN(want, room), w->claimed);
    if (want > r->size && want - r->size > w->tail) {
        w->tail = first_kept(w, want - r->size);
        ring_store_release(&r->header->tail, w->tail);
    }
    ring_store_release(&r->header->claimed, want);
    ring_fence();
    room = ring_room_end(w, &cpu);
    if (room < want) { /* somebody has joined meanwhile */
        want = MAX(room, w->claimed);
        ring_store_release(&r->header->claimed, want);
    }
    w->claimed = want;
    w->limit = 0;
    return want >= end ? 0 : -EAGAIN;
}

/* Of many writers: how far the others have got meanwhile. -EPROTO. */
static int catch_up(struct ring_writer *w)
{
    uint64_t head = ring_load_acquire(&w->ring.header->head);

    if (!ring_is_position(head))
        return -EPROTO;
    w->position = head;
    return 0;
}

/* With many writers the claim itself is made under the lock. */
static int look_once(struct ring_writer *w, uint64_t end)
{
    uint32_t cpu;
    uint64_t room;

    if (!(w->ring.flags & RING_MANY))
        return ring_claim_try(w, end);
    if (catch_up(w) < 0)
        return -EPROTO;
    room = ring_room_end(w, &cpu);
    return room == 0 ? -EPROTO : room < end ? -EAGAIN : 0;
}

/* Where nobody is left to make room, and nobody comes: -EIDRM. Who went last may have made some. */
static int look(struct ring_writer *w, uint64_t end)
{
    int r = look_once(w, end);

    if (r == -EAGAIN && ring_is_left_by(&w->ring, MEMBER_READER)) {
        r = look_once(w, end);
        if (r == -EAGAIN)
            r = -EIDRM;
    }
    return r;
}

static void raise_flag(struct ring_writer *w, uint64_t end, uint32_t bit)
{
    struct ring_header *h = w->ring.header;
    uint64_t size = w->ring.size, need = end > size ? end - size : 0;

    /* An eighth more, so that not each message that is read wakes. Many wait for several places. */
    ring_store_release(&h->wanted,
                       w->ring.flags & RING_MANY ? 0 : MIN(need + size / 8, w->position));
    atomic_fetch_or(&h->writer_asleep, bit);
    ring_stored();
}

int ring_room_wait(struct ring_writer *w, uint64_t end, struct deadline *d)
{
    struct ring_header *h = w->ring.header;
    struct ring_spin s;
    uint32_t cpu = 0;
    int r = look(w, end);

    if (r != -EAGAIN)
        return r;
    if (d->timeout_ms == 0)
        return -ETIMEDOUT;
    ring_room_end(w, &cpu);
    ring_note_cpu(&h->writer_cpu);
    do {
        if (!ring_spin_begin(&w->wait, &s, cpu))
            break;
        do
            r = look(w, end);
        while (r == -EAGAIN && ring_spin_turn(&s));
        ring_spin_end(&w->wait, r != -EAGAIN);
        if (ring_writer_tell(w, ring_load(&h->epoch)) < 0)
            return -ESTALE;
    } while (r == -EAGAIN && ring_spin_again(&w->wait, d));
    while (r == -EAGAIN) {
        uint32_t bell = ring_load_acquire(&h->writer_bell);
        int slept;

        raise_flag(w, end, ASLEEP_FUTEX);
        bool seen = ring_wait_barrier();

        r = look(w, end);
        if (r != -EAGAIN)
            break;
        if (ring_writer_tell(w, ring_load(&h->epoch)) < 0)
            return -ESTALE;
        ring_store(&h->waits, ++w->waits);
        slept = ring_sleep(&h->writer_bell, bell, d, seen ? -1 : RING_ROOM_STEP_MS);
        r = look(w, end);
        if (r == -EAGAIN && slept < 0)
            return slept;
    }
    return r;
}

int ring_claim(struct ring_writer *w, uint64_t end, struct deadline *d)
{
    int r = ring_writer_tell(w, ring_load(&w->ring.header->epoch));

    if (r < 0)
        return r;
    /* What nobody may read yet is not to be the oldest that is kept. */
    if (w->held && end - w->first > w->ring.size / 2)
        ring_publish_held(w);
    r = ring_claim_try(w, end);
    if (r != -EAGAIN)
        return r;
    if (w->held)
        ring_publish_held(w);
    return ring_room_wait(w, end, d);
}

int ring_writer_arm(struct ring_writer *w, uint32_t length)
{
    uint64_t end;
    int r;

    length = MIN(length, w->ring.max_message);
    if (w->held) /* readers could never get to where it is wanted */
        ring_publish_held(w);
    if (w->ring.flags & RING_MANY && catch_up(w) < 0)
        return 1; /* as the next call will tell */
    end = ring_place(w, length) + ring_record(length) + RING_GRAIN;
    if (end <= w->claimed && !(w->ring.flags & RING_MANY))
        return 1;
    raise_flag(w, end, ASLEEP_POLL);
    bool seen = ring_wait_barrier();

    r = look(w, end);
    return r != -EAGAIN ? 1 : seen ? 0 : -EAGAIN;
}
