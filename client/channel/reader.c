/* SPDX-License-Identifier: MIT */
/* shmd_reader: a member of a channel that reads from its ring. */
#include "member.h"
#include "ring_reader.h"

#include <stddef.h>
#include <string.h>

struct shmd_reader {
    struct ring_reader ring; /* first: what every message touches */
    struct member member;
};

static const char *name_of(const struct shmd_reader *r)
{
    return r->member.attachment.segment.name;
}

static int explain(struct shmd_reader *r, int error)
{
    struct shmd *s = r->member.s;

    switch (error) {
    case -ETIMEDOUT:
        return handle_fail(s, error, "%s: no message came in time", name_of(r));
    case -EOWNERDEAD:
        return handle_fail(s, error, "the writer of %s died", name_of(r));
    case -EMSGSIZE:
        return handle_fail(s, error, "the next message of %s is longer than the room for it",
                           name_of(r));
    case -EPROTO:
        return handle_fail(s, error, "somebody has damaged %s", name_of(r));
    case -ECANCELED:
        return handle_fail(s, error, "a message of %s came to nothing while it was written",
                           name_of(r));
    case -EOVERFLOW:
        return handle_fail(s, error, "what was peeked of %s was overwritten meanwhile", name_of(r));
    case -EIDRM:
        return handle_fail(s, error, "%s was removed, and nobody writes to it", name_of(r));
    case -ESTALE:
        r->member.stale = true;
        return handle_fail(s, error, "shmd has ended this process's part in %s", name_of(r));
    default:
        return handle_fail(s, error, "%s: %s", name_of(r), strerror(-error));
    }
}

static int start(void *whole, const struct ring_hooks *hooks, const struct shmd_member_options *o)
{
    struct shmd_reader *r = whole;
    int e = ring_reader_start(&r->ring, &r->member.ring, member_slot(&r->member), r->member.role,
                              o->history, hooks);

    if (e < 0)
        return explain(r, e);
    r->ring.epoch = r->member.epoch; /* a shmd that came anew meanwhile is to be noticed */
    member_set_spin(&r->ring.wait, o);
    return 0;
}

EXPORT int shmd_reader_open(struct shmd_reader **ret, struct shmd *s, const char *name,
                            const struct shmd_member_options *options, int timeout_ms)
{
    static const struct making reader = {JOIN_READER, sizeof(struct shmd_reader),
                                         offsetof(struct shmd_reader, member), start};
    void *r;
    int e = member_make(&r, &reader, &(struct member_wish){s, name, options}, timeout_ms);

    if (e == 0)
        *ret = r;
    return e;
}

EXPORT struct shmd_reader *shmd_reader_close(struct shmd_reader *r)
{
    if (!r)
        return NULL;
    r->member.closing = true;
    ring_reader_leave(&r->ring);
    member_close(&r->member);
    free(r);
    return NULL;
}

/* Nothing is there, and the caller does not wait: if it polls, see that it is told. True: look
 * again. */
static bool arm(struct shmd_reader *r, int error, int timeout_ms, int *looks)
{
    int armed;

    if (error != -ETIMEDOUT || timeout_ms != 0 || r->member.epoll < 0)
        return false;
    member_poll_begin(&r->member);
    armed = ring_reader_arm(&r->ring);
    if (armed == 0)
        return false;
    if (armed > 0 && ++*looks <= MEMBER_LOOKS)
        return true;
    member_poll_soon(&r->member); /* it comes and goes, or nobody may tell of it */
    return false;
}

EXPORT int shmd_recv(struct shmd_reader *r, void *to, size_t room, size_t *length, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    uint32_t got;
    int e, looks = 0;

    if (r->member.stale)
        return explain(r, -ESTALE);
    do
        e = ring_recv(&r->ring, to, (uint32_t)MIN(room, UINT32_MAX), &got, &d);
    while (e < 0 && arm(r, e, timeout_ms, &looks));
    if (e > 0 || e == -EMSGSIZE)
        *length = got;
    return e < 0 ? explain(r, e) : e;
}

EXPORT int shmd_peek(struct shmd_reader *r, const void **bytes, size_t *length, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    uint32_t got;
    int e, looks = 0;

    if (r->member.stale)
        return explain(r, -ESTALE);
    do
        e = ring_peek(&r->ring, bytes, &got, &d);
    while (e < 0 && arm(r, e, timeout_ms, &looks));
    if (e > 0)
        *length = got;
    return e < 0 ? explain(r, e) : e;
}

EXPORT int shmd_peek_begun(struct shmd_reader *r, const void **bytes, size_t *length, size_t *there,
                           int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    uint32_t all, some;
    int e, looks = 0;

    if (r->member.stale)
        return explain(r, -ESTALE);
    do
        e = ring_peek_begun(&r->ring, bytes, &all, &some, &d);
    while (e < 0 && arm(r, e, timeout_ms, &looks));
    if (e > 0) {
        *length = all;
        *there = some;
    }
    return e < 0 ? explain(r, e) : e;
}

EXPORT int shmd_peek_more(struct shmd_reader *r, size_t *there, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    uint32_t some = (uint32_t)MIN(*there, UINT32_MAX);
    int e, looks = 0;

    if (r->member.stale)
        return explain(r, -ESTALE);
    do
        e = ring_peek_more(&r->ring, &some, &d);
    while (e < 0 && arm(r, e, timeout_ms, &looks));
    if (e > 0)
        *there = some;
    return e < 0 ? explain(r, e) : e;
}

EXPORT int shmd_release(struct shmd_reader *r)
{
    int e = r->member.stale ? -ESTALE : ring_release(&r->ring);

    return e < 0 ? explain(r, e) : 0;
}

EXPORT uint64_t shmd_lost(const struct shmd_reader *r)
{
    return r->ring.lost;
}

EXPORT int shmd_reader_fd(struct shmd_reader *r, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};

    return member_fd(&r->member, &d);
}

EXPORT const char *shmd_reader_error(const struct shmd_reader *r)
{
    return r->member.s->error;
}
