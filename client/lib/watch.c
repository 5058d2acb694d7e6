/* SPDX-License-Identifier: MIT */
/*
 * A watch is a connection of its own, so that what it hears never stands in the way of an answer.
 * Where the connection is lost it is made again, the watch is asked for again, and whoever reads is
 * told that nobody knows what happened meanwhile.
 */
#include "handle.h"

#include <string.h>
#include <time.h>

_Static_assert((int)SHMD_EVENT_CREATED == EVENT_CREATED && (int)SHMD_EVENT_LOST == EVENT_LOST &&
                   (int)SHMD_EVENT_DIED == EVENT_DIED && (int)SHMD_EVENT_REFUSED == EVENT_REFUSED,
               "kinds of events differ");
_Static_assert((int)SHMD_REASON_BEHIND == REASON_BEHIND && (int)SHMD_REASON_CONFIG == REASON_CONFIG,
               "reasons differ");

struct shmd_watch {
    struct shmd link;
    struct wire_header next; /* what its events look like */
    char pattern[NAME_SIZE]; /* "": everything */
};

/* Ask for the events over the connection that there is: 0, LINK_LOST or an error. */
static int subscribe(struct shmd_watch *w, struct deadline *d)
{
    const size_t len = strlen(w->pattern), text = len > 0 ? wire_text_size(len) : 0;
    struct {
        struct wire_header header;
        struct wire_watch body;
        char text[NAME_SIZE];
    } out = {.header = link_header(&w->link, OP_WATCH, 0, sizeof(out.body) + text)};
    struct reply reply;

    memcpy(out.text, w->pattern, len);

    int r = link_send(&w->link, &out, out.header.size, d);

    if (r == 0)
        r = link_receive(&w->link, &out.header, &reply, d);
    if (r == 0)
        r = reply_take(&w->link, &reply, NULL, 0);
    if (r == 0)
        w->next = (struct wire_header){.opcode = OP_EVENT, .serial = out.header.serial};
    else
        link_close(&w->link);
    directory_drop(&w->link);
    return r;
}

static int begin(struct shmd_watch *w, struct deadline *d)
{
    struct backoff b = {0};
    int r;

    do {
        r = link_restore(&w->link, &b, d);
        if (r == 0)
            r = subscribe(w, d);
    } while (r == LINK_LOST);
    return r;
}

static int take_pattern(struct shmd_watch *w, const char *pattern)
{
    size_t len = pattern ? strlen(pattern) : 0;

    if (pattern && (len == 0 || len >= sizeof(w->pattern)))
        return handle_fail(&w->link, -EINVAL, "a pattern has 1 to %zu characters",
                           sizeof(w->pattern) - 1);
    for (size_t i = 0; i < len; i++)
        if (pattern[i] <= ' ' || pattern[i] > '~')
            return handle_fail(&w->link, -EINVAL, "a pattern is a name in which * stands for any "
                               "letters and ? for one");
    if (len > 0)
        memcpy(w->pattern, pattern, len);
    return 0;
}

EXPORT int shmd_watch_open(struct shmd_watch **ret, struct shmd *s, const char *pattern,
                           int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};

    if (!s->established)
        return handle_not_connected(s);

    struct shmd_watch *w = calloc(1, sizeof(*w));

    if (!w)
        return handle_fail(s, -ENOMEM, "out of memory");
    w->link.fd = w->link.passed = -1;
    memcpy(w->link.socket, s->socket, sizeof(w->link.socket));

    /* As every call on a handle that was connected, it waits for a shmd that is being restarted. */
    w->link.established = true;

    int r = take_pattern(w, pattern);

    if (r == 0)
        r = begin(w, &d);
    if (r < 0) {
        handle_fail(s, r, "%s", w->link.error);
        shmd_watch_close(w);
        return r;
    }
    *ret = w;
    return 0;
}

static int restarted(struct shmd_watch *w, struct shmd_event *ret, struct deadline *d)
{
    int r = begin(w, d);

    if (r < 0)
        return r;
    *ret = (struct shmd_event){
        .kind = SHMD_EVENT_RESTARTED,
        .when = clock_ns(CLOCK_REALTIME),
        .segment.shmid = -1,
    };
    return 0;
}

/* 1: the event is one that this library knows; 0: of a later version, and skipped. */
static int take_event(struct shmd_watch *w, const struct reply *reply, struct shmd_event *ret)
{
    struct wire_event ev;

    if (reply->header.status < 0)
        return reply_take(&w->link, reply, NULL, 0);
    if (reply->size <= sizeof(ev) || reply->size > sizeof(ev) + NAME_SIZE)
        return link_broken(&w->link, "an event of the wrong size");
    memcpy(&ev, reply->body, sizeof(ev));
    if (ev.kind < EVENT_CREATED || ev.kind > EVENT_LOST)
        return 0;
    *ret = (struct shmd_event){
        .kind = ev.kind,
        .reason = ev.reason,
        .when = ev.when,
        .segment = {
            .instance = ev.instance, .size = ev.size, .shmid = ev.shmid, .key = ev.key,
            .created = ev.kind == EVENT_CREATED,
        },
        .uid = ev.uid,
        .pid = (pid_t)ev.pid,
        .owner = ev.owner,
        .gid = ev.gid,
        .mode = ev.mode & 0777,
    };
    segment_name(ret->segment.name, reply->body + sizeof(ev), reply->size - sizeof(ev));
    return 1;
}

EXPORT int shmd_watch_next(struct shmd_watch *w, struct shmd_event *ret, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    struct shmd *s = &w->link;

    for (;;) {
        struct reply reply;

        if (s->fd < 0 && timeout_ms == 0)
            return handle_fail(s, -ETIMEDOUT, "the connection to shmd at %s was lost", s->socket);
        if (s->fd < 0)
            return restarted(w, ret, &d);

        int r = link_receive(s, &w->next, &reply, &d);

        if (r == LINK_LOST) {
            link_close(s);
            continue;
        }
        if (r == -ETIMEDOUT)
            return handle_fail(s, r, "nothing happened within %d ms", timeout_ms);
        if (r == 0)
            r = take_event(w, &reply, ret);
        if (r != 0)
            return r < 0 ? r : 0;
    }
}

EXPORT int shmd_watch_fd(const struct shmd_watch *w)
{
    return w->link.fd;
}

EXPORT const char *shmd_watch_error(const struct shmd_watch *w)
{
    return w ? w->link.error : "out of memory";
}

EXPORT struct shmd_watch *shmd_watch_close(struct shmd_watch *w)
{
    if (!w)
        return NULL;
    link_close(&w->link);
    directory_drop(&w->link);
    free(w);
    return NULL;
}
