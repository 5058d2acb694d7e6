/* SPDX-License-Identifier: MIT */
#include "ring_publish.h"

#include <stdlib.h>

#define PIECES_FROM (32u << 10) /* bytes of a message that is published while it is written */
#define PIECE (16u << 10)

/* Where a message would stand: a pad goes before it where the ring's end is too near. */
uint64_t ring_place(struct ring_writer *w, uint32_t length)
{
    uint64_t rest = ring_rest(&w->ring, w->position);

    return w->position + (ring_record(length) > rest ? rest : 0);
}

/* Has shmd said nothing since it was last looked at? Before each message: who is idle for long may
 * have lost its role to another one, who writes in the same place. */
static inline bool is_told(const struct ring_writer *w)
{
    return ring_load(&w->ring.header->epoch) == w->told;
}

/* What seldom happens stands apart, so that the rest needs no stack. */
#define SELDOM __attribute__((noinline, cold))

/* Up to where records may stand one behind the other: neither the ring's end nor what is claimed
 * comes before that. */
static void set_limit(struct ring_writer *w)
{
    uint64_t end = w->position + ring_rest(&w->ring, w->position);

    w->limit = w->ring.flags & RING_MANY || w->claimed < RING_GRAIN
                   ? 0 : MIN(end, w->claimed - RING_GRAIN);
}

/* Is there room at once? */
static inline bool fits(const struct ring_writer *w, uint32_t length)
{
    return length <= w->ring.max_message && w->position + ring_record(length) <= w->limit &&
           is_told(w);
}

/* Make room, behind a pad perhaps: w->at. */
static SELDOM int make_room(struct ring_writer *w, uint32_t length, struct deadline *d)
{
    uint64_t end;
    int r;

    if (length > w->ring.max_message)
        return -EMSGSIZE;
    w->at = ring_place(w, length);
    end = w->at + ring_record(length) + RING_GRAIN;
    if (end > w->claimed)
        r = ring_claim(w, end, d);
    else
        r = ring_writer_tell(w, ring_load(&w->ring.header->epoch));
    set_limit(w);
    return r;
}

static SELDOM void note(struct ring_writer *w, uint64_t position)
{
    uint64_t block = position >> w->block_shift;
    uint64_t *first = &w->index[block % RING_BLOCKS];

    if (*first >> w->block_shift != block)
        *first = position;
    w->index_next = (block + 1) << w->block_shift;
}

/* Publish what has the head word at w->position: now, or with those that are held back. */
static inline void put_first(struct ring_writer *w, uint64_t position, uint64_t word)
{
    if (!w->holding)
        ring_store_release(ring_word(&w->ring, position), word);
    else if (w->held)
        ring_store(ring_word(&w->ring, position), word);
    else {
        w->held = true;
        w->first = position;
        w->first_word = word;
    }
}

/* Head words of the record at w->at, and of the pad before it; the first one goes last. */
static SELDOM void put_behind_pad(struct ring_writer *w, uint64_t word)
{
    ring_store_release(ring_word(&w->ring, w->at), word);
    put_first(w, w->position,
              ring_head_word((uint32_t)w->sequence, (uint32_t)RING_PAD, 0));
}

static inline void put_head(struct ring_writer *w, uint32_t kind, uint32_t length)
{
    uint64_t word = ring_head_word((uint32_t)w->sequence, kind, length);

    if (__builtin_expect(w->at != w->position, 0))
        put_behind_pad(w, word);
    else
        put_first(w, w->position, word);
}

static inline void go_on(struct ring_writer *w, uint64_t at, uint32_t length)
{
    if (__builtin_expect(w->position >= w->index_next, 0))
        note(w, w->position);
    w->position = at + ring_record(length);
    w->sequence++;
    w->bytes += length;
}

/* What was published is behind us: all up to `position` and `sequence`. 0. */
static inline int tell_of(struct ring_writer *w, uint64_t position, uint64_t sequence,
                          uint64_t bytes)
{
    struct ring_header *h = w->ring.header;

    ring_store_release(&h->sent, sequence);
    ring_store_release(&h->head, position);
    ring_store(&h->bytes, bytes);
    return ring_doorbell(w);
}

static inline int tell(struct ring_writer *w)
{
    return tell_of(w, w->position, w->sequence, w->bytes);
}

/* Behind a pad, or the first message of its block. */
static SELDOM int finish_seldom(struct ring_writer *w, uint32_t length)
{
    bool padded = w->at != w->position;

    ring_store(ring_word(&w->ring, w->at + ring_record(length)), 0);
    put_head(w, (uint32_t)RING_READY, length);
    go_on(w, w->at, length);
    if (padded)
        set_limit(w);
    return w->holding ? 0 : tell(w);
}

/* The message at w->at is written. 0. */
static inline int finish(struct ring_writer *w, uint32_t length)
{
    const uint64_t at = w->position, sequence = w->sequence;
    const uint64_t next = at + ring_record(length), bytes = w->bytes + length;

    if (__builtin_expect(w->at != at || at >= w->index_next, 0))
        return finish_seldom(w, length);
    /* From here on without w->at: one word that is stored and soon read again is enough to wait
     * for, from message to message. */
    ring_store(ring_word(&w->ring, next), 0);
    put_first(w, at, ring_head_word((uint32_t)sequence, (uint32_t)RING_READY, length));
    w->position = next;
    w->sequence = sequence + 1;
    w->bytes = bytes;
    return w->holding ? 0 : tell_of(w, next, sequence + 1, bytes);
}

/* Let it be read while it is written. */
static void begin(struct ring_writer *w, uint32_t length)
{
    struct ring_header *h = w->ring.header;

    ring_store(ring_word(&w->ring, w->at + ring_record(length)), 0);
    ring_store_release(&h->piece, ring_load(&h->piece) >> 32 << 32);
    put_head(w, RING_OPEN, length);
    ring_doorbell(w);
}

/* Nobody is woken for a piece. */
static inline void put_piece(struct ring_writer *w, uint32_t there)
{
    struct ring_header *h = w->ring.header;

    ring_store_release(&h->piece, ring_load(&h->piece) >> 32 << 32 | there);
}

static void finish_begun(struct ring_writer *w, uint32_t length)
{
    ring_store_release(ring_word(&w->ring, w->at),
                       ring_head_word((uint32_t)w->sequence, (uint32_t)RING_READY, length));
    go_on(w, w->at, length);
    tell(w);
}

/* What was begun comes to nothing: who follows it sees another turn. A pad before it stays. */
static void take_back(struct ring_writer *w)
{
    struct ring_header *h = w->ring.header;

    w->is_begun = false;
    ring_store_release(&h->piece, ((ring_load(&h->piece) >> 32) + 1) << 32);
    ring_store_release(ring_word(&w->ring, w->at), 0);
    if (w->at == w->position)
        return;
    if (w->position >= w->index_next)
        note(w, w->position);
    w->position = w->at;
    w->limit = 0;
}

static void put_pieces(struct ring_writer *w, const unsigned char *bytes, uint32_t length)
{
    unsigned char *to = (unsigned char *)ring_word(&w->ring, w->at) + RING_HEAD;

    begin(w, length);
    for (uint32_t done = 0, n; done < length; done += n) {
        n = MIN(length - done, PIECE);
        ring_copy(to + done, bytes + done, n);
        put_piece(w, done + n);
    }
    finish_begun(w, length);
}

/* Do readers look on, so that it is worth while to let them follow? */
static inline bool in_pieces(const struct ring_writer *w, uint32_t length)
{
    return length >= PIECES_FROM && !w->holding && !w->sleepy && !w->wait.alone;
}

/* The message to w->at, where there is room for it. */
static inline void put(struct ring_writer *w, const void *bytes, uint32_t length)
{
    unsigned char *to;
    uint32_t n;

    if (in_pieces(w, length)) {
        put_pieces(w, bytes, length);
        return;
    }
    /*
     * The line with the head word comes last, all at once: a reader polls it, and would take it
     * away between two stores.
     */
    to = (unsigned char *)ring_word(&w->ring, w->at) + RING_HEAD;
    n = MIN(length, -(uint32_t)(w->at + RING_HEAD) % 64);
    if (length > n)
        ring_copy(to + n, (const unsigned char *)bytes + n, length - n);
    ring_copy(to, bytes, n);
    finish(w, length);
}

void ring_put(struct ring_writer *w, const void *bytes, uint32_t length)
{
    w->at = ring_place(w, length);
    put(w, bytes, length);
}

int ring_send(struct ring_writer *w, const void *bytes, uint32_t length, struct deadline *d)
{
    int r = 0;

    if (w->ring.flags & RING_MANY)
        return length > w->ring.max_message ? -EMSGSIZE : ring_many_send(w, bytes, length, d);
    if (fits(w, length))
        w->at = w->position;
    else
        r = make_room(w, length, d);
    if (r == 0)
        put(w, bytes, length);
    return r;
}

static SELDOM int reserve_seldom(struct ring_writer *w, uint32_t length, void **ret,
                                 struct deadline *d)
{
    int r;

    if (w->ring.flags & RING_MANY) {
        r = ring_many_reserve(w, length, ret, d);
    } else {
        r = make_room(w, length, d);
        *ret = r == 0 ? (unsigned char *)ring_word(&w->ring, w->at) + RING_HEAD : NULL;
    }
    w->is_reserved = r == 0;
    w->reserved = length;
    return r;
}

int ring_reserve(struct ring_writer *w, uint32_t length, void **ret, struct deadline *d)
{
    if (__builtin_expect(!fits(w, length), 0))
        return reserve_seldom(w, length, ret, d);
    w->at = w->position;
    *ret = (unsigned char *)ring_word(&w->ring, w->position) + RING_HEAD;
    w->is_reserved = true;
    w->reserved = length;
    return 0;
}

int ring_progress(struct ring_writer *w, uint32_t bytes)
{
    if (!w->is_reserved || bytes > w->reserved)
        return -EINVAL;
    if (w->ring.flags & RING_MANY)
        return 0;
    if (!is_told(w) && ring_writer_tell(w, ring_load(&w->ring.header->epoch)) < 0)
        return -ESTALE;
    if (!w->is_begun && in_pieces(w, w->reserved)) {
        begin(w, w->reserved);
        w->is_begun = true;
    }
    if (w->is_begun)
        put_piece(w, bytes);
    return 0;
}

static SELDOM int commit_begun(struct ring_writer *w, uint32_t length)
{
    if (length == w->reserved) {
        w->is_begun = false;
        finish_begun(w, length);
        return 0;
    }
    take_back(w);
    return finish(w, length);
}

static inline int commit_now(struct ring_writer *w, uint32_t length)
{
    w->is_reserved = false;
    if (w->is_begun)
        return commit_begun(w, length);
    return finish(w, length);
}

static SELDOM int commit_told(struct ring_writer *w, uint32_t length)
{
    int r = ring_writer_tell(w, ring_load(&w->ring.header->epoch));

    return r < 0 ? r : commit_now(w, length);
}

int ring_commit(struct ring_writer *w, uint32_t length)
{
    if (!w->is_reserved || length > w->reserved)
        return -EINVAL;
    if (w->ring.flags & RING_MANY)
        return ring_many_commit(w, length);
    if (!is_told(w))
        return commit_told(w, length);
    return commit_now(w, length);
}

void ring_abort(struct ring_writer *w)
{
    w->is_reserved = false;
    if (w->is_begun && ring_holds_slot(w)) /* else another one writes there */
        take_back(w);
    w->is_begun = false;
}

void ring_hold_back(struct ring_writer *w)
{
    w->holding = !(w->ring.flags & RING_MANY);
}

void ring_publish_held(struct ring_writer *w)
{
    w->held = false;
    if (!is_told(w) && !ring_holds_slot(w)) /* another one writes there */
        return;
    ring_store_release(ring_word(&w->ring, w->first), w->first_word);
    tell(w);
}

void ring_publish(struct ring_writer *w)
{
    w->holding = false;
    if (w->held)
        ring_publish_held(w);
}

void ring_writer_close(struct ring_writer *w)
{
    struct ring_header *h = w->ring.header;
    uint64_t writer;

    ring_abort(w);
    free(w->copy);
    w->copy = NULL;
    if (!ring_holds_slot(w)) /* the place is another's */
        return;
    ring_publish(w);
    if (w->slot >= 0 && (uint32_t)w->slot < w->ring.slots)
        atomic_store(&w->ring.slot[w->slot].state, SLOT_LEFT);
    ring_fence();
    writer = atomic_load(&h->writer); /* before the count: who begins now is seen in one of the two */
    if (w->ring.flags & RING_MANY ? ring_writers_left(&w->ring) == 0 : writer >> 32 == w->role) {
        atomic_compare_exchange_strong(&h->writer, &writer, (uint64_t)w->role << 32 | RING_CLOSED);
        uint32_t asleep = atomic_exchange(&h->readers_asleep, 0);

        if ((asleep & ASLEEP_POLL || ring_load(&h->blind) >= RING_POLLED) && w->hooks.poke)
            w->hooks.poke(w->hooks.data);
        ring_ring(&h->bell);
    }
}
