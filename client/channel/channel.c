/* SPDX-License-Identifier: MIT */
/* Make a channel, and look at one without being a member. */
#include "../lib/handle.h"
#include "../shmd-channel.h"
#include "ring.h"
#include "ring_mem.h"

#include <string.h>

_Static_assert((int)SHMD_BROADCAST == RING_BROADCAST && (int)SHMD_WRITERS_MANY == RING_MANY &&
                   (int)SHMD_HOLD == RING_HOLD && (int)SHMD_ONE_READER == RING_ONE_READER,
               "flags differ");
_Static_assert((int)SHMD_CHANNEL_WRITING == RING_WRITING &&
                   (int)SHMD_CHANNEL_CLOSED == RING_CLOSED && (int)SHMD_CHANNEL_DIED == RING_DIED,
               "states differ");

EXPORT int shmd_channel_create(struct shmd *s, const char *name,
                               const struct shmd_channel_options *options,
                               struct shmd_segment *ret, int timeout_ms)
{
    static const struct shmd_channel_options plain = SHMD_CHANNEL_INIT;
    const struct shmd_channel_options *o = options ? options : &plain;
    struct deadline d = {.timeout_ms = timeout_ms};
    struct wire_channel w = {
        .ring_flags = o->flags,
        .max_message = o->max_message,
        .messages = o->messages,
        .slots = o->members,
        .version = o->version,
    };

    if (o->flags & ~(unsigned)RING_FLAGS)
        return handle_fail(s, -EINVAL, "unknown flags of a channel: %#x", o->flags);
    if (o->flags & RING_HOLD && o->flags & RING_BROADCAST)
        return handle_fail(s, -EINVAL, "a broadcast channel holds nothing back for a reader to "
                           "come: SHMD_HOLD is of reliable ones");
    if (!memchr(o->tag, 0, sizeof(o->tag)))
        return handle_fail(s, -EINVAL, "a tag has at most %d characters", SHMD_TAG_SIZE - 1);
    memcpy(w.tag, o->tag, strlen(o->tag));

    const struct creation creation = {OP_CHANNEL, name, &o->segment, &w.create, sizeof(w)};

    return segment_create(s, &creation, ret, &d);
}

EXPORT int shmd_channel_remove(struct shmd *s, const struct shmd_segment *segment, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    struct wire_segment was;
    struct target target;
    struct reply reply;
    bool resent;
    int r = handle_target(s, segment->name, &target);

    if (r < 0)
        return r;
    target.wire.instance = segment->instance;

    const struct question q = {OP_DISBAND, &target.wire, sizeof(target.wire), target.name};

    r = call_reply(s, &q, &reply, &resent, &d);
    if (r < 0)
        return r;
    r = reply_take(s, &reply, &was, sizeof(was));
    return r == -ENOENT && resent ? 0 : r; /* the first one was heard, its reply was lost */
}

/* What stands in a ring that others write to: each number is read once, and only told. */
static uint64_t number(const _Atomic uint64_t *at)
{
    return atomic_load_explicit(at, memory_order_relaxed);
}

static void look_at(const struct ring *r, const struct ring_slot *slot,
                    struct shmd_channel_member *m)
{
    const struct ring_header *h = r->header;
    bool writes = atomic_load_explicit(&slot->kind, memory_order_relaxed) == MEMBER_WRITER;
    uint64_t head = number(&h->head), position = number(&slot->position);

    *m = (struct shmd_channel_member){
        .is_writer = writes,
        .pid = (pid_t)atomic_load_explicit(&slot->pid, memory_order_relaxed),
        .messages = writes ? number(&h->sent) : number(&slot->received),
        .bytes = writes ? number(&h->bytes) : number(&slot->bytes),
        .lost = number(&slot->lost),
        .waits = writes ? number(&h->waits) : number(&slot->waits),
        .wakes = writes ? number(&h->wakes) : number(&slot->wakes),
        .unread = writes || position > head ? 0 : MIN(head - position, r->size),
    };
}

/* Neither one that has closed, nor one whose end shmd is just noting. */
static bool is_member(const struct ring_slot *slot)
{
    if (atomic_load_explicit(&slot->role, memory_order_acquire) == 0)
        return false;

    uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire);

    return state != SLOT_LEFT && state != SLOT_FREE;
}

static int look_at_members(const struct ring *r, struct shmd_channel_status *to,
                           int (*each)(const struct shmd_channel_member *member, void *data),
                           void *data)
{
    struct shmd_channel_member m;
    int e = 0;

    for (uint32_t i = 0; i < r->slots && e == 0; i++) {
        if (!is_member(&r->slot[i]))
            continue;
        look_at(r, &r->slot[i], &m);
        to->readers += !m.is_writer;
        to->writers += m.is_writer;
        to->received += m.is_writer ? 0 : m.messages;
        to->lost += m.lost;
        if (each)
            e = each(&m, data);
    }
    return e;
}

/* Messages from the furthest that any reader has got to. */
static uint64_t count_unread(const struct ring *r)
{
    uint64_t tail = ring_load_acquire(&r->header->tail);
    uint64_t consumed = ring_load_acquire(&r->header->consumed), at = MAX(tail, consumed);
    uint64_t head = ring_load_acquire(&r->header->head), from, count = 0;
    struct ring_entry e;

    for (uint32_t i = 0; i < r->slots; i++) {
        uint64_t position = ring_load_acquire(&r->slot[i].position);

        if (ring_load_acquire(&r->slot[i].state) == SLOT_ACTIVE && position > at &&
            position - head + r->size <= 2 * r->size) /* `head` may lag behind by a ring */
            at = position;
    }
    at &= ~(uint64_t)(RING_GRAIN - 1);
    for (from = at; at - from < r->size; at = e.next) {
        if (!ring_parse(r, at, ring_load_acquire(ring_word(r, at)), &e) || e.kind == 0 ||
            e.kind == RING_OPEN)
            break;
        count += e.kind == (uint32_t)RING_READY;
    }
    return count;
}

static void look_at_all(const struct ring *r, struct shmd_channel_status *to)
{
    const struct ring_header *h = r->header;

    to->options = (struct shmd_channel_options){
        .flags = r->flags,
        .max_message = r->max_message,
        .members = r->slots,
        .version = h->version,
        .messages = (uint32_t)MIN(r->size / ring_record(r->max_message), UINT32_MAX),
    };
    text_printable(to->options.tag, h->tag, sizeof(h->tag));
    to->size = r->size;
    to->state = (unsigned)number(&h->writer) & 3;
    to->blind = atomic_load_explicit(&h->blind, memory_order_relaxed) % RING_POLLED;
    to->waiting = (atomic_load_explicit(&h->readers_asleep, memory_order_relaxed) ? 1u : 0u) |
                  (atomic_load_explicit(&h->writer_asleep, memory_order_relaxed) ? 2u : 0u);
    to->sent = number(&h->sent);
    to->bytes = number(&h->bytes);
    to->unread = r->flags & RING_HOLD ? count_unread(r) : 0;
}

EXPORT int shmd_channel_stat(struct shmd *s, const char *name, struct shmd_channel_status *ret,
                             int (*each)(const struct shmd_channel_member *member, void *data),
                             void *data, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    struct shmd_channel_status status = {.size = 0};
    void *mapped;
    struct ring ring;
    int r = attach_unnoticed(s, name, &status.segment, &mapped, &d);

    if (r < 0)
        return r;
    r = ring_init(&ring, mapped, status.segment.size);
    if (r < 0)
        r = handle_fail(s, -EPROTOTYPE, "%s is no channel", name);
    else {
        look_at_all(&ring, &status);
        r = look_at_members(&ring, &status, each, data);
        *ret = status;
    }
    shmdt(mapped);
    return r;
}
