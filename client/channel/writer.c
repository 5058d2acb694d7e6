/* SPDX-License-Identifier: MIT */
/* shmd_writer: a member of a channel that writes to its ring. */
#include "member.h"
#include "ring_writer.h"

#include <stddef.h>
#include <string.h>

struct shmd_writer {
    struct ring_writer ring; /* first: what every message touches */
    struct member member;
};

static const char *name_of(const struct shmd_writer *w)
{
    return w->member.attachment.segment.name;
}

static int explain(struct shmd_writer *w, int error, size_t length)
{
    struct shmd *s = w->member.s;

    switch (error) {
    case -EMSGSIZE:
        return handle_fail(s, error, "a message of %zu bytes is longer than the %u that %s carries",
                           length, w->member.ring.max_message, name_of(w));
    case -ETIMEDOUT:
        return handle_fail(s, error, "%s is full: its slowest reader has not made room in time",
                           name_of(w));
    case -EPROTO:
        return handle_fail(s, error, "somebody has damaged %s", name_of(w));
    case -EBUSY:
        return handle_fail(s, error, "something is reserved already, and neither committed nor "
                           "aborted");
    case -EIDRM:
        return handle_fail(s, error, "%s was removed, and nobody reads it", name_of(w));
    case -ESTALE:
        w->member.stale = true;
        return handle_fail(s, error, "shmd has ended this process's part in %s", name_of(w));
    default:
        return handle_fail(s, error, "%s: %s", name_of(w), strerror(-error));
    }
}

static int start(void *whole, const struct ring_hooks *hooks, const struct shmd_member_options *o)
{
    struct shmd_writer *w = whole;
    int r = ring_writer_start(&w->ring, &w->member.ring, (int)w->member.slot, w->member.role,
                              hooks);

    if (r < 0)
        return explain(w, r, 0);
    w->ring.told = w->member.epoch; /* a shmd that came anew meanwhile is to be noticed */
    member_set_spin(&w->ring.wait, o);
    return 0;
}

EXPORT int shmd_writer_open(struct shmd_writer **ret, struct shmd *s, const char *name,
                            const struct shmd_member_options *options, int timeout_ms)
{
    static const struct making writer = {JOIN_WRITER, sizeof(struct shmd_writer),
                                         offsetof(struct shmd_writer, member), start};
    void *w;
    int r = member_make(&w, &writer, &(struct member_wish){s, name, options}, timeout_ms);

    if (r == 0)
        *ret = w;
    return r;
}

EXPORT struct shmd_writer *shmd_writer_close(struct shmd_writer *w)
{
    if (!w)
        return NULL;
    w->member.closing = true;
    ring_writer_close(&w->ring);
    member_close(&w->member);
    free(w);
    return NULL;
}

/*
 * No room, and the caller does not wait: if it polls, see that it is told. True: look again. Where
 * there is room and still nothing can be sent, another of many writers is at it, or has been
 * stopped there: of that nobody tells.
 */
static bool arm(struct shmd_writer *w, int error, int timeout_ms, size_t length, int *looks)
{
    int armed;

    if (error != -ETIMEDOUT || timeout_ms != 0 || w->member.epoll < 0)
        return false;
    member_poll_begin(&w->member);
    armed = ring_writer_arm(&w->ring, (uint32_t)length);
    if (armed == 0)
        return false;
    if (armed > 0 && ++*looks <= MEMBER_LOOKS)
        return true;
    member_poll_soon(&w->member);
    return false;
}

/* A message that went where another one is reserved would be overwritten by that. */
static bool refused(struct shmd_writer *w, size_t length, int *r)
{
    *r = w->member.stale             ? -ESTALE
         : w->ring.is_reserved       ? -EBUSY
         : length > RING_MESSAGE_MAX ? -EMSGSIZE
                                     : 0;
    return *r < 0 && explain(w, *r, length);
}

EXPORT int shmd_send(struct shmd_writer *w, const void *bytes, size_t length, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    int r, looks = 0;

    if (refused(w, length, &r))
        return r;
    do
        r = ring_send(&w->ring, bytes, (uint32_t)length, &d);
    while (r < 0 && arm(w, r, timeout_ms, length, &looks));
    return r < 0 ? explain(w, r, length) : 0;
}

EXPORT int shmd_reserve(struct shmd_writer *w, size_t length, void **ret, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    int r, looks = 0;

    if (refused(w, length, &r))
        return r;
    do
        r = ring_reserve(&w->ring, (uint32_t)length, ret, &d);
    while (r < 0 && arm(w, r, timeout_ms, length, &looks));
    return r < 0 ? explain(w, r, length) : 0;
}

EXPORT int shmd_progress(struct shmd_writer *w, size_t there)
{
    int r = w->member.stale ? -ESTALE : there > RING_MESSAGE_MAX ? -EINVAL : 0;

    if (r == 0)
        r = ring_progress(&w->ring, (uint32_t)there);
    return r < 0 ? explain(w, r, there) : 0;
}

EXPORT int shmd_commit(struct shmd_writer *w, size_t length)
{
    int r = w->member.stale             ? -ESTALE
            : length > RING_MESSAGE_MAX ? -EMSGSIZE
                                        : ring_commit(&w->ring, (uint32_t)length);
    int looks = MEMBER_LOOKS; /* it is the caller who tries again */

    if (r < 0)
        arm(w, r, w->ring.deadline.timeout_ms, length, &looks);
    return r < 0 ? explain(w, r, length) : 0;
}

EXPORT void shmd_abort(struct shmd_writer *w)
{
    ring_abort(&w->ring);
}

EXPORT void shmd_cork(struct shmd_writer *w)
{
    ring_hold_back(&w->ring);
}

EXPORT void shmd_uncork(struct shmd_writer *w)
{
    if (!w->member.stale)
        ring_publish(&w->ring);
}

EXPORT int shmd_writer_fd(struct shmd_writer *w, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};

    return member_fd(&w->member, &d);
}

EXPORT const char *shmd_writer_error(const struct shmd_writer *w)
{
    return w->member.s->error;
}
