/* SPDX-License-Identifier: MIT */
#include "ring.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

#define PAGE 4096u
#define TRIES 16 /* of a compare-and-swap, where honest members make fail one or two */

uint64_t ring_start(uint32_t slots)
{
    uint64_t end = sizeof(struct ring_header) + (uint64_t)slots * sizeof(struct ring_slot);

    return (end + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

/*
 * Bytes of the ring: so many messages, the pad before the ring's end, the next head word, and an
 * eighth for what the writer claims ahead.
 */
static uint64_t ring_bytes(const struct ring_options *o)
{
    uint64_t record = ring_record(o->max_message);
    uint64_t messages = MAX(o->messages, 1u), need, size = RING_SIZE_MIN;

    if (messages > RING_SIZE_MAX / record)
        return 0;
    need = (messages + 1) * record + RING_GRAIN;
    need += need / 8;
    while (size < need)
        size *= 2;
    return size <= RING_SIZE_MAX ? size : 0;
}

uint64_t ring_segment_size(const struct ring_options *o)
{
    uint64_t size;

    if (o->max_message == 0 || o->max_message > RING_MESSAGE_MAX || o->slots > RING_SLOTS_MAX ||
        o->flags & ~(uint32_t)RING_FLAGS ||
        (o->flags & RING_BROADCAST && o->flags & (RING_HOLD | RING_ONE_READER)))
        return 0;
    if (strnlen(o->tag, sizeof(o->tag)) == sizeof(o->tag))
        return 0;
    size = ring_bytes(o);
    return size ? ring_start(o->slots) + size : 0;
}

int ring_format(void *segment, uint64_t size, const struct ring_options *o)
{
    struct ring_header *h = segment;
    uint64_t need = ring_segment_size(o);

    if (!need || size < need)
        return -EINVAL;
    h->layout = RING_LAYOUT;
    h->flags = o->flags;
    h->size = ring_bytes(o);
    h->start = ring_start(o->slots);
    h->max_message = o->max_message;
    h->slots = o->slots;
    h->version = o->version;
    memcpy(h->tag, o->tag, sizeof(h->tag));
    atomic_store_explicit(&h->fencing, 1, memory_order_relaxed);
    atomic_store_explicit(&h->magic, RING_MAGIC, memory_order_release);
    return 0;
}

/* A constant of the header, read once: whoever else has the segment may change it. */
#define ONCE(word) (*(const volatile __typeof__(word) *)&(word))

int ring_init(struct ring *r, void *segment, uint64_t size)
{
    struct ring_header *h = segment;

    if (size < sizeof(*h) ||
        atomic_load_explicit(&h->magic, memory_order_acquire) != RING_MAGIC)
        return -EPROTO;
    if (ONCE(h->layout) != RING_LAYOUT)
        return -EPROTONOSUPPORT;

    uint64_t start = ONCE(h->start);

    *r = (struct ring){.header = h, .slot = (struct ring_slot *)(void *)(h + 1),
                       .size = ONCE(h->size), .flags = ONCE(h->flags),
                       .max_message = ONCE(h->max_message), .slots = ONCE(h->slots)};
    if (r->slots > RING_SLOTS_MAX || start != ring_start(r->slots) || start > size ||
        r->size < RING_SIZE_MIN || r->size > size - start || r->size & (r->size - 1) ||
        r->flags & ~(uint32_t)RING_FLAGS || r->max_message == 0 ||
        r->max_message > RING_MESSAGE_MAX ||
        2 * ring_record(r->max_message) + RING_GRAIN > r->size)
        return -EPROTO;
    r->data = (unsigned char *)segment + start;
    return 0;
}

static void ring_bell(_Atomic uint32_t *bell)
{
    atomic_fetch_add(bell, 1);
    syscall(SYS_futex, bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void ring_wake_readers(struct ring *r)
{
    ring_bell(&r->header->bell);
}

void ring_wake_writers(struct ring *r)
{
    ring_bell(&r->header->writer_bell);
    ring_bell(&r->header->lock_bell);
}

void ring_note_removed(struct ring *r)
{
    atomic_store(&r->header->removed, 1);
}

void ring_new_epoch(struct ring *r)
{
    atomic_fetch_add(&r->header->epoch, 1);
    ring_wake_readers(r);
    ring_wake_writers(r);
}

void ring_blind(struct ring *r, int readers, int polled)
{
    atomic_fetch_add(&r->header->blind, (uint32_t)readers + (uint32_t)polled * RING_POLLED);
}

void ring_take_slot(struct ring *r, uint32_t slot, uint32_t role, enum ring_member kind,
                    uint32_t pid, uint64_t start)
{
    struct ring_slot *s = &r->slot[slot];
    uint32_t used = atomic_load(&r->header->slots_used);

    atomic_store(&s->state, SLOT_TAKEN);
    atomic_store(&s->position, 0);
    atomic_store(&s->cpu, 0);
    atomic_store(&s->kind, kind);
    atomic_store(&s->pid, pid);
    atomic_store(&s->start, start);
    atomic_store(&s->received, 0);
    atomic_store(&s->bytes, 0);
    atomic_store(&s->lost, 0);
    atomic_store(&s->waits, 0);
    atomic_store(&s->wakes, 0);
    atomic_store(&s->role, role);
    if (used <= slot || used > r->slots)
        atomic_store(&r->header->slots_used, slot + 1);
}

/* What a reader of a RING_HOLD had released is free to be overwritten from now on. */
void ring_consumed(const struct ring *r, uint64_t position)
{
    struct ring_header *h = r->header;
    uint64_t seen = atomic_load(&h->consumed);

    /* `head` may lag behind by what one publishing makes known: never by more than a ring. */
    if (!(r->flags & RING_HOLD) || position - atomic_load(&h->head) + r->size > 2 * r->size)
        return;
    for (int i = 0; i < TRIES && (int64_t)(position - seen) > 0; i++)
        if (atomic_compare_exchange_strong(&h->consumed, &seen, position))
            return;
}

/* Nothing is asked of it any more; true where it held what it had to give up by itself. */
static bool slot_end(struct ring *r, uint32_t slot)
{
    struct ring_slot *s = &r->slot[slot];
    uint32_t state = atomic_load(&s->state);

    if (state == SLOT_ACTIVE && atomic_load(&s->kind) == MEMBER_READER)
        ring_consumed(r, atomic_load(&s->position));
    atomic_store(&s->state, SLOT_FREE);
    return state != SLOT_LEFT;
}

/*
 * Only now, with all else done: a shmd that is killed before this finds the role in the slot after
 * its restart, and ends it once more. The epoch is for the member itself, should it live: it looks
 * whose the slot is when that has changed.
 */
static void slot_free(struct ring *r, uint32_t slot)
{
    struct ring_slot *s = &r->slot[slot];

    atomic_store(&s->kind, 0);
    atomic_store(&s->role, 0);
    atomic_fetch_add(&r->header->epoch, 1);
}

static bool reader_end(struct ring *r, uint32_t slot)
{
    bool died = slot_end(r, slot);

    slot_free(r, slot);
    return died;
}

uint32_t ring_writers_left(const struct ring *r)
{
    uint32_t used = atomic_load(&r->header->slots_used), n = 0;

    for (uint32_t i = 0; i < used && i < r->slots; i++)
        n += atomic_load(&r->slot[i].kind) == MEMBER_WRITER &&
             atomic_load(&r->slot[i].state) == SLOT_ACTIVE;
    return n;
}

bool ring_is_left_by(const struct ring *r, enum ring_member kind)
{
    uint32_t used;

    if (!atomic_load(&r->header->removed))
        return false;
    used = atomic_load(&r->header->slots_used);
    for (uint32_t i = 0; i < used && i < r->slots; i++) {
        uint32_t state = atomic_load(&r->slot[i].state);

        if (state != SLOT_FREE && state != SLOT_LEFT && atomic_load(&r->slot[i].kind) == kind)
            return false;
    }
    return true;
}

static bool writer_end(struct ring *r, uint32_t slot, uint32_t role)
{
    struct ring_header *h = r->header;
    uint64_t writer = atomic_load(&h->writer), lock = atomic_load(&h->lock);
    bool died = slot_end(r, slot);
    uint32_t left = ring_writers_left(r);

    /* Before the lock is free: who takes it next has to see that somebody died. */
    atomic_fetch_add(&h->epoch, 1);
    for (int i = 0; i < TRIES && (uint32_t)(lock >> 32) == role; i++)
        if (atomic_compare_exchange_strong(&h->lock, &lock, 0))
            break;
    atomic_store(&h->writers, left);
    /* Where many write, `writer` is the last one's to have begun, perhaps another's. */
    if ((uint32_t)writer == RING_WRITING && left == 0 &&
        (r->flags & RING_MANY || (uint32_t)(writer >> 32) == role))
        atomic_compare_exchange_strong(&h->writer, &writer,
                                       (uint64_t)role << 32 | (died ? RING_DIED : RING_CLOSED));
    slot_free(r, slot);
    return died;
}

bool ring_end(struct ring *r, uint32_t slot, uint32_t role, enum ring_member kind)
{
    return kind == MEMBER_WRITER ? writer_end(r, slot, role) : reader_end(r, slot);
}

void ring_wake_ended(struct ring *r, enum ring_member kind)
{
    if (kind == MEMBER_WRITER)
        ring_wake_readers(r);
    ring_wake_writers(r);
}

bool ring_end_reader(struct ring *r, uint32_t slot, uint32_t role)
{
    bool died = ring_end(r, slot, role, MEMBER_READER);

    ring_wake_ended(r, MEMBER_READER);
    return died;
}

bool ring_end_writer(struct ring *r, uint32_t slot, uint32_t role)
{
    bool died = ring_end(r, slot, role, MEMBER_WRITER);

    ring_wake_ended(r, MEMBER_WRITER);
    return died;
}
