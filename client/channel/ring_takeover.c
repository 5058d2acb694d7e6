/* SPDX-License-Identifier: MIT */
/*
 * Taking over: the positions of the header are hints that lag behind what was published, and what
 * was claimed may be more than was agreed with the readers. `sent` is stored before `head`: so the
 * record at `head`, where there is one, says its sequence itself, and else `sent` is exact.
 */
#include "ring_publish.h"

uint64_t ring_walk(const struct ring *r, uint64_t from, uint64_t least, uint64_t to)
{
    struct ring_entry e;

    /* Each step goes on by a grain at least. */
    while (from < least && from < to) {
        uint64_t word = ring_load_acquire(ring_word(r, from));

        if (!ring_parse(r, from, word, &e) || e.kind == 0)
            return to;
        from = e.next;
    }
    return MIN(from, to);
}

int ring_writer_load(struct ring_writer *w)
{
    const struct ring *r = &w->ring;
    const struct ring_header *h = r->header;
    uint64_t position = ring_load_acquire(&h->head), sequence = ring_load_acquire(&h->sent);
    uint64_t claimed = ring_load_acquire(&h->claimed), tail = ring_load_acquire(&h->tail);

    if (!ring_is_position(position) || claimed - position > r->size || tail % RING_GRAIN ||
        tail > claimed || claimed - tail > r->size)
        return -EPROTO;
    w->position = position;
    w->sequence = sequence;
    w->claimed = claimed;
    w->tail = tail;
    w->limit = 0;
    return 0;
}

static int take_sequence(struct ring_writer *w, uint32_t sequence)
{
    uint32_t ahead = (uint32_t)w->sequence - sequence;

    if (ahead > w->ring.size / RING_HEAD || ahead > w->sequence)
        return -EPROTO;
    w->sequence -= ahead;
    return 0;
}

int ring_writer_settle(struct ring_writer *w)
{
    const struct ring *r = &w->ring;
    struct ring_header *h = r->header;
    uint64_t from = w->position;
    struct ring_entry e;

    for (;;) {
        uint64_t word = ring_load_acquire(ring_word(r, w->position));

        if (word == 0)
            break;
        if (!ring_parse(r, w->position, word, &e) || e.next - from > r->size ||
            e.next + RING_GRAIN > w->claimed)
            return -EPROTO;
        if (w->position == from && take_sequence(w, e.sequence) < 0)
            return -EPROTO;
        if (e.sequence != (uint32_t)w->sequence)
            return -EPROTO;
        if (e.kind == RING_OPEN) {
            uint64_t turn = ring_load(&h->piece) >> 32;

            ring_store_release(&h->piece, (turn + 1) << 32);
            ring_store_release(ring_word(r, w->position), 0);
            break;
        }
        if (e.kind == (uint32_t)RING_READY)
            w->sequence++;
        w->position = e.next;
    }
    if (w->position != from) {
        ring_store_release(&h->sent, w->sequence);
        ring_store_release(&h->head, w->position);
    }
    w->tail = MIN(w->tail, w->position);
    return 0;
}

/*
 * The last writer may have died between claiming and finding that a reader had joined. Nothing was
 * written there then: go back to where the readers that have joined are.
 */
void ring_writer_agree(struct ring_writer *w)
{
    const struct ring *r = &w->ring;
    uint32_t cpu;
    uint64_t room;

    w->agreed = ring_load_acquire(&r->header->epoch);
    if (r->flags & RING_BROADCAST)
        return;
    ring_fence();
    room = ring_room_end(w, &cpu);
    if (room && room < w->claimed && room >= w->position) {
        w->claimed = room;
        w->limit = 0;
        ring_store_release(&r->header->claimed, room);
    }
}

/* What stands between tail and head, as far as it hangs together. */
static void build_index(struct ring_writer *w)
{
    const struct ring *r = &w->ring;
    uint64_t at = w->tail;
    struct ring_entry e;

    for (uint32_t i = 0; i < RING_BLOCKS; i++)
        w->index[i] = UINT64_MAX;
    while (at < w->position) {
        uint64_t *first = &w->index[(at >> w->block_shift) % RING_BLOCKS];

        if (*first >> w->block_shift != at >> w->block_shift)
            *first = at;
        if (!ring_parse(r, at, ring_load_acquire(ring_word(r, at)), &e) || e.kind == 0)
            break;
        at = e.next;
    }
    if (at != w->position) {
        for (uint32_t i = 0; i < RING_BLOCKS; i++)
            w->index[i] = UINT64_MAX;
        w->tail = w->position;
        ring_store_release(&r->header->tail, w->tail);
    }
    w->index_next = 0;
}

int ring_writer_start(struct ring_writer *w, const struct ring *ring, int slot, uint32_t role,
                      const struct ring_hooks *hooks)
{
    struct ring_header *h = ring->header;
    int r;

    *w = (struct ring_writer){
        .hooks = hooks ? *hooks : (struct ring_hooks){.data = NULL},
        .ring = *ring, .role = role, .slot = slot,
    };
    ring_wait_init(&w->wait);
    w->told = ring_load(&h->epoch);
    w->agreed = w->told - 1;
    w->must_fence = !ring_wait_register() || ring->flags & RING_MANY;
    w->fencing = true;
    w->weigh_in = 1;
    w->block_shift = (uint32_t)__builtin_ctzll(ring->size / RING_BLOCKS);
    w->bytes = ring_load(&h->bytes);
    w->waits = ring_load(&h->waits);
    w->wakes = ring_load(&h->wakes);
    if (slot >= 0 && (uint32_t)slot < ring->slots)
        atomic_store(&ring->slot[slot].state, SLOT_ACTIVE);
    if (!(ring->flags & RING_MANY)) {
        r = ring_writer_load(w);
        if (r == 0)
            r = ring_writer_settle(w);
        if (r < 0)
            return r;
        ring_writer_agree(w);
        build_index(w);
    }
    ring_store(&h->fencing, 1);
    ring_note_cpu(&h->writer_cpu);
    atomic_store(&h->writer, (uint64_t)role << 32 | RING_WRITING);
    ring_stored();
    return 0;
}
