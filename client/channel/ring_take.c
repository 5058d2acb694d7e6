/* SPDX-License-Identifier: MIT */
/* Taking messages: in place, or copies. */
#include "ring_follow.h"

#define FOLLOW_LEAST 4096u /* bytes of a step that is no small one */
#define FOLLOW_STEPS 64u   /* small ones that are spun for */

/*
 * What is mostly there: the whole next message. False: look closer. Mostly it is as long as the one
 * before, and where the next one stands is then known without what the head word says: the
 * processor goes on to it while this one's line is still on its way.
 */
static inline bool hit(struct ring_reader *r, struct ring_entry *e)
{
    const struct ring *ring = &r->ring;
    uint64_t word = ring_load_acquire(ring_word(ring, r->next));
    uint32_t length = r->last_length;

    if (word != ring_head_word(r->sequence, (uint32_t)RING_READY, length)) {
        length = (uint32_t)word & RING_LENGTH;
        if (word - length != ring_head_word(r->sequence, (uint32_t)RING_READY, 0) ||
            length > ring->max_message)
            return false;
        r->last_length = length;
    }
    *e = (struct ring_entry){.next = r->next + ring_record(length), .length = length};
    return !r->anew && e->next - r->next <= ring_rest(ring, r->next) && !ring_is_lapped(r, r->next);
}

/* Apart, so that what mostly happens needs no stack. */
static __attribute__((noinline)) int peek_closer(struct ring_reader *r, const void **bytes,
                                                 uint32_t *length, struct deadline *d)
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

int ring_peek(struct ring_reader *r, const void **bytes, uint32_t *length, struct deadline *d)
{
    struct ring_entry e;

    if (__builtin_expect(!hit(r, &e), 0))
        return peek_closer(r, bytes, length, d);
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
    ring_note_cpu(&r->slot->cpu);
    ring_store(&r->slot->wakes, ++r->wakes);
    ring_ring(&h->writer_bell);
    if (asleep & ASLEEP_POLL && r->hooks.poke && !r->hooks.poke(r->hooks.data))
        atomic_fetch_or(&h->writer_asleep, ASLEEP_POLL); /* at the next release, then */
}

/* A writer sleeps: perhaps until as much has been released as now. 0. */
static __attribute__((noinline)) int wake_if_wanted(struct ring_reader *r)
{
    if ((int64_t)(r->released - ring_load_acquire(&r->ring.header->wanted)) >= 0)
        ring_wake_writer(r);
    return 0;
}

static inline void forget_peeked(struct ring_reader *r)
{
    r->released = r->next;
    r->peeked = 0;
    r->peeked_bytes = 0;
}

static inline void receive_peeked(struct ring_reader *r)
{
    r->received += r->peeked;
    r->bytes += r->peeked_bytes;
    forget_peeked(r);
}

/* Tell of what was released, and who waits for it. 0. */
static inline int give_back(struct ring_reader *r)
{
    struct ring_slot *slot = r->slot;

    ring_store_release(&slot->position, r->released);
    ring_store(&slot->received, r->received);
    ring_store(&slot->bytes, r->bytes);
    ring_fence_if(r->must_fence);
    if (__builtin_expect(ring_load(&r->ring.header->writer_asleep) != 0, 0))
        return wake_if_wanted(r);
    return 0;
}

/* By who may lose messages: what was peeked may have been overwritten. */
static __attribute__((noinline)) int release_lossy(struct ring_reader *r)
{
    bool over = r->peeked && ring_is_lapped(r, r->released);

    if (!ring_is_held(r))
        return -ESTALE;
    if (over) {
        r->lost += r->peeked;
        forget_peeked(r);
        ring_tell_lost(r);
    } else
        receive_peeked(r);
    if (r->slot)
        give_back(r);
    return over ? -EOVERFLOW : 0;
}

int ring_release(struct ring_reader *r)
{
    if (r->lossy)
        return release_lossy(r);
    if (!ring_is_held(r))
        return -ESTALE;
    receive_peeked(r);
    return give_back(r);
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

static __attribute__((noinline)) int recv_closer(struct ring_reader *r, void *to, uint32_t room,
                                                 uint32_t *length, struct deadline *d)
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
            got = ring_release(r);
            if (got == 0 || got == -ESTALE)
                return got == 0 ? 1 : got;
        }
        /* It was overwritten or taken back meanwhile. */
        if (tries % RING_JUMPS == 0 && deadline_left_ms(d) == 0)
            return -ETIMEDOUT;
    }
}

int ring_recv(struct ring_reader *r, void *to, uint32_t room, uint32_t *length, struct deadline *d)
{
    struct ring_entry e;
    int released;

    if (!r->peeked && hit(r, &e) && e.length <= room) {
        *length = e.length;
        ring_copy(to, (const unsigned char *)ring_word(&r->ring, r->next) + RING_HEAD, e.length);
        ring_step(r, &e);
        released = ring_release(r);
        if (__builtin_expect(released != -EOVERFLOW, 1))
            return released == 0 ? 1 : released;
    }
    return recv_closer(r, to, room, length, d);
}
