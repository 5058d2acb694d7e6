/* SPDX-License-Identifier: MIT */
#include "ring.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t start_of(uint32_t slots)
{
    uint64_t end = sizeof(struct ring_header) + (uint64_t)slots * sizeof(struct ring_slot);

    return (end + 4095) & ~4095ull;
}

uint64_t ring_segment_size(const struct ring_options *o)
{
    uint64_t size = RING_SIZE_MIN;

    if (o->flags & ~(uint32_t)RING_FLAGS || o->max_message == 0 ||
        o->max_message > RING_MESSAGE_MAX || o->messages == 0 || o->slots == 0 ||
        o->slots > RING_SLOTS_MAX || o->tag[sizeof(o->tag) - 1])
        return 0;
    while (size < ring_record(o->max_message) * o->messages)
        size *= 2;
    return size > RING_SIZE_MAX ? 0 : start_of(o->slots) + size;
}

int ring_format(void *segment, uint64_t size, const struct ring_options *o)
{
    struct ring_header *h = segment;

    if (ring_segment_size(o) == 0 || ring_segment_size(o) > size)
        return -EINVAL;
    h->layout = RING_LAYOUT;
    h->flags = o->flags;
    h->start = start_of(o->slots);
    h->size = ring_segment_size(o) - h->start;
    h->max_message = o->max_message;
    h->slots = o->slots;
    h->version = o->version;
    memcpy(h->tag, o->tag, sizeof(h->tag));
    atomic_store(&h->magic, RING_MAGIC);
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

void ring_take_slot(struct ring *r, uint32_t slot, uint32_t role, enum ring_member kind,
                    uint32_t pid, uint64_t start)
{
    struct ring_slot *s = &r->slot[slot];

    atomic_store(&s->kind, kind);
    atomic_store(&s->pid, pid);
    atomic_store(&s->start, start);
    atomic_store(&s->state, SLOT_TAKEN);
    atomic_store(&s->role, role);
}

bool ring_end_reader(struct ring *r, uint32_t slot, uint32_t role)
{
    struct ring_slot *s = &r->slot[slot];
    bool died = atomic_load(&s->state) != SLOT_LEFT;

    (void)role;
    atomic_store(&s->state, SLOT_FREE);
    atomic_store(&s->role, 0);
    ring_wake_writers(r);
    return died;
}

bool ring_end_writer(struct ring *r, uint32_t slot, uint32_t role)
{
    uint64_t writer = atomic_load(&r->header->writer);

    if (writer == ((uint64_t)role << 32 | RING_WRITING))
        atomic_store(&r->header->writer, (uint64_t)role << 32 | RING_DIED);
    ring_end_reader(r, slot, role);
    ring_wake_readers(r);
    return true;
}

void ring_blind(struct ring *r, int change)
{
    atomic_fetch_add(&r->header->blind, (uint32_t)change);
}
