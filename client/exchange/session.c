/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <poll.h>
#include <string.h>

#include "lib/deadline.h"
#include "log.h"
#include "paths.h"
#include "starter.h"
#include "util.h"

#define REQUEST_MS 5000 /* for the broker to answer, where --timeout is not less */
#define START_MS 10000  /* for a private broker to be found or started */
#define AGAIN_MS 10     /* while another one is on its way up or down */
#define TRIES 1000      /* at a name whose channel is gone whenever it is looked at */
#define RING_MAX (64u << 20)
#define MESSAGES_MAX 64u /* unless these have more than RING_MAX bytes */
#define TAG "shm_write"
#define AGAIN (-1) /* beside exit codes: the channel has gone, or is about to; look anew */

/* For one request; 0 does not wait for the other side, but for the broker's reply. */
static int request_ms(const struct session *s)
{
    return s->options.timeout_ms > 0 ? MIN(s->options.timeout_ms, REQUEST_MS) : REQUEST_MS;
}

static int say_unreachable(const struct session *s, int error)
{
    if (error == -ENOENT || error == -ECONNREFUSED) {
        log_error(
            "no broker serves %s; start it: systemctl start shmd, or a private one: %s --user",
            shmd_socket(s->shmd), s->options.program);
    } else {
        log_error("%s", shmd_error(s->shmd));
    }
    return error == -ETIMEDOUT ? EXIT_TIMEOUT : EXIT_NO_BROKER;
}

static int connect_private(struct session *s)
{
    struct deadline d = {.timeout_ms = START_MS};
    char path[SOCKET_PATH_MAX];
    int r = socket_private(path, true);

    if (r < 0) {
        log_error("cannot use the folder of the private broker's socket, %s: %s", path,
                  strerror(-r));
        return EXIT_NO_BROKER;
    }
    for (;;) {
        r = shmd_connect(&s->shmd, path, deadline_left_ms(&d));
        if (r >= 0)
            return EXIT_OK;
        /* Not there, left over, or just ending itself: all else a new one would not better. */
        if (r != -ENOENT && r != -ECONNREFUSED && r != -ECONNRESET && r != -EPIPE) {
            log_error("%s", s->shmd ? shmd_error(s->shmd) : strerror(-r));
            return r == -ETIMEDOUT ? EXIT_TIMEOUT : EXIT_NO_BROKER;
        }
        s->shmd = shmd_disconnect(s->shmd);
        r = starter_run(&d);
        if (r == -EAGAIN)
            poll(NULL, 0, AGAIN_MS);
        else if (r < 0)
            return EXIT_NO_BROKER;
        if (deadline_left_ms(&d) == 0) {
            log_error("no private broker gets ready at %s", path);
            return EXIT_NO_BROKER;
        }
    }
}

int session_connect(struct session *s)
{
    if (s->options.user)
        return connect_private(s);

    int r = shmd_connect(&s->shmd, s->options.socket, request_ms(s));

    if (r == -ENOMEM && !s->shmd) {
        log_error("%s", strerror(ENOMEM));
        return EXIT_FAILED;
    }
    return r < 0 ? say_unreachable(s, r) : EXIT_OK;
}

static int say_broker(const struct session *s, int error)
{
    log_error("%s", shmd_error(s->shmd));
    return error == -ETIMEDOUT ? EXIT_TIMEOUT : EXIT_FAILED;
}

int session_explain(const struct session *s, int error, const char *doing)
{
    const char *name = s->segment.name[0] ? s->segment.name : s->options.name;

    switch (error) {
    case -ETIMEDOUT:
        log_error("%s: timed out after %g s %s", name, s->options.timeout_ms / 1000.0, doing);
        return EXIT_TIMEOUT;
    case -EPROTO:
    case -EPROTOTYPE:
        log_error("%s is not a channel of shm_write, or somebody has damaged it", name);
        break;
    case -EIDRM:
        log_error("%s was removed while nobody else had it", name);
        break;
    default:
        log_error("%s", shmd_error(s->shmd));
        break;
    }
    return EXIT_FAILED;
}

int session_look(struct session *s)
{
    int r = shmd_channel_stat(s->shmd, s->segment.name, &s->status, NULL, NULL, request_ms(s));

    if (r == -ENOENT || (r == 0 && s->status.segment.instance != s->segment.instance))
        return -EIDRM;
    return r;
}

/* Its writer is through or dead, and all was read. */
static bool is_over(const struct session *s)
{
    return (s->status.state == SHMD_CHANNEL_CLOSED || s->status.state == SHMD_CHANNEL_DIED) &&
           s->status.unread == 0;
}

static void leave(struct session *s)
{
    s->writer = shmd_writer_close(s->writer);
    s->reader = shmd_reader_close(s->reader);
}

static int say_remove(const struct session *s, int r)
{
    if (r == 0 || r == -EBUSY || r == -ENOENT || r == -EIDRM)
        return EXIT_OK;
    log_error("cannot remove %s: %s", s->segment.name, shmd_error(s->shmd));
    return r == -ETIMEDOUT ? EXIT_TIMEOUT : EXIT_FAILED;
}

int session_remove(struct session *s)
{
    return say_remove(s, shmd_channel_remove(s->shmd, &s->segment, request_ms(s)));
}

int session_remove_if_over(struct session *s)
{
    leave(s);
    return session_look(s) == 0 && s->status.readers + s->status.writers == 0 && is_over(s)
               ? session_remove(s)
               : EXIT_OK;
}

/* Remove what is over, so that the name is free. EXIT_OK: somebody has joined it meanwhile. */
static int clear_away(struct session *s)
{
    int r = shmd_channel_remove(s->shmd, &s->segment, request_ms(s));
    int code = say_remove(s, r);

    if (r == -EBUSY)
        return EXIT_OK;
    leave(s);
    return code == EXIT_OK ? AGAIN : code;
}

static int open_failed(struct session *s, int r)
{
    int code = AGAIN;

    if (r == -EPROTOTYPE || r == -EPROTO)
        code = session_explain(s, r, "");
    else if (r != -ENOENT && r != -EIDRM)
        code = say_broker(s, r);
    leave(s);
    return code;
}

static int look_later(void)
{
    poll(NULL, 0, AGAIN_MS);
    return AGAIN;
}

/* Somebody has the place, or had it a moment ago. A reader of what is over is about to go. */
static int meet_another(struct session *s, const char *kind)
{
    bool writer = strcmp(kind, "writer") == 0;
    int r = session_look(s);

    if (r < 0)
        return open_failed(s, r);
    if (writer ? s->status.writers > 0 : s->status.readers > 0 && !is_over(s)) {
        log_error("another %s is at work on %s", kind, s->segment.name);
        return EXIT_FAILED;
    }
    return look_later();
}

/*
 * By its shmid: then what session_look() finds afterwards under the name is what was joined, as the
 * shmid of what is attached cannot come to mean another segment. 0, -errno.
 */
static int become(struct session *s, bool writer)
{
    struct shmd_member_options member = SHMD_MEMBER_INIT;
    char id[32];
    int r;

    snprintf(id, sizeof(id), "id:%d", s->segment.shmid);
    member.tag = TAG;
    r = writer ? shmd_writer_open(&s->writer, s->shmd, id, &member, request_ms(s))
               : shmd_reader_open(&s->reader, s->shmd, id, &member, request_ms(s));
    return r == 0 ? session_look(s) : r;
}

static int refuse_unread(struct session *s)
{
    unsigned long long n = s->status.unread;
    const char *name = s->segment.name, *plural = n == 1 ? "" : "s";

    leave(s);
    if (s->status.readers)
        log_error("%s holds %llu message%s that a reader is still reading", name, n, plural);
    else
        log_error("%s holds %llu message%s that nobody has read; read them with shm_read, or "
                  "remove it with: shmctl-client rm %s", name, n, plural, name);
    return EXIT_FAILED;
}

/* This process is the writer of an empty channel, whose ring is another than it needs. */
static int replace(struct session *s)
{
    int code = clear_away(s);

    if (code == EXIT_OK) {
        log_error("%s was made for messages of up to %u bytes, and a reader is at work on it",
                  s->segment.name, s->status.options.max_message);
        leave(s);
        return EXIT_FAILED;
    }
    return code;
}

static int find_and_write(struct session *s)
{
    const struct options *o = &s->options;
    struct shmd_channel_options c = SHMD_CHANNEL_INIT;
    uint32_t most = MAX(MIN(RING_MAX / o->size, MESSAGES_MAX), 1u);
    bool other;
    int r;

    c.flags = SHMD_HOLD | SHMD_ONE_READER;
    c.max_message = o->size;
    c.messages = o->count && o->count < most ? (uint32_t)o->count : most;
    c.members = 2;
    snprintf(c.tag, sizeof(c.tag), "%s", TAG);
    r = shmd_channel_create(s->shmd, o->name, &c, &s->segment, request_ms(s));
    other = r == -EPROTOTYPE;
    if (other)
        r = shmd_open(s->shmd, o->name, 0, &s->segment, request_ms(s));
    if (r == 0)
        r = session_look(s);
    /* Before joining: that its writer died is to be left for who reads the rest. */
    if (r == 0 && s->status.state != SHMD_CHANNEL_WRITING && s->status.unread > 0)
        return refuse_unread(s);
    /* Its last reader is about to take the end: what is written now would come before that. */
    if (r == 0 && is_over(s) && s->status.readers > 0)
        return look_later();
    if (r == 0)
        r = become(s, true);
    if (r == -EBUSY || r == -EUSERS)
        return meet_another(s, "writer");
    if (r < 0)
        return open_failed(s, r);
    if (s->status.unread > 0)
        return refuse_unread(s);
    return other ? replace(s) : EXIT_OK;
}

int session_open_writer(struct session *s)
{
    for (int tries = 0; tries < TRIES; tries++) {
        int code = find_and_write(s);

        if (code != AGAIN)
            return code;
    }
    log_error("%s: its last reader does not go, or somebody removes it again and again",
              s->options.name);
    return EXIT_FAILED;
}

static int find_and_read(struct session *s, struct deadline *d)
{
    int r = shmd_open(s->shmd, s->options.name, SHMD_WAIT, &s->segment, deadline_left_ms(d));

    if (r == -ETIMEDOUT || (r == -ENOENT && deadline_left_ms(d) == 0))
        return session_explain(s, -ETIMEDOUT, "waiting for a writer");
    if (r == 0)
        r = become(s, false);
    if (r == -EBUSY || r == -EUSERS)
        return meet_another(s, "reader");
    if (r < 0)
        return open_failed(s, r);
    return is_over(s) ? clear_away(s) : EXIT_OK;
}

int session_open_reader(struct session *s)
{
    struct deadline d = {.timeout_ms = s->options.timeout_ms};

    for (;;) {
        int code = find_and_read(s, &d);

        if (code != AGAIN)
            return code;
        if (deadline_left_ms(&d) == 0)
            return session_explain(s, -ETIMEDOUT, "waiting for a writer");
    }
}

void session_close(struct session *s)
{
    leave(s);
    s->shmd = shmd_disconnect(s->shmd);
}

int session_flush(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_OK;
    log_error("cannot write to standard output: %s", strerror(errno ? errno : EIO));
    return EXIT_FAILED;
}
