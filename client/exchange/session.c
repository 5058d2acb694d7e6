/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <poll.h>
#include <string.h>

#include "log.h"
#include "paths.h"
#include "starter.h"
#include "util.h"

#define REQUEST_MS 5000 /* for the broker to answer, where --timeout is not less */
#define START_MS 10000  /* for a private broker to be found or started */
#define AGAIN_MS 10     /* while another one is on its way up or down */
#define TRIES 1000      /* at a name whose channel is gone whenever it is looked at */

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
    int64_t deadline = deadline_in(START_MS);
    char path[SOCKET_PATH_MAX];
    int r = socket_private(path, true);

    if (r < 0) {
        log_error("cannot use the folder of the private broker's socket, %s: %s", path,
                  strerror(-r));
        return EXIT_NO_BROKER;
    }
    for (;;) {
        r = shmd_connect(&s->shmd, path, deadline_left_ms(deadline));
        if (r >= 0)
            return EXIT_OK;
        /* Not there, left over, or just ending itself: all else a new one would not better. */
        if (r != -ENOENT && r != -ECONNREFUSED && r != -ECONNRESET && r != -EPIPE) {
            log_error("%s", s->shmd ? shmd_error(s->shmd) : strerror(-r));
            return r == -ETIMEDOUT ? EXIT_TIMEOUT : EXIT_NO_BROKER;
        }
        s->shmd = shmd_disconnect(s->shmd);
        r = starter_run(deadline);
        if (r == -EAGAIN)
            poll(NULL, 0, AGAIN_MS);
        else if (r < 0)
            return EXIT_NO_BROKER;
        if (deadline_left_ms(deadline) == 0) {
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
    const char *name = s->at.segment.name[0] ? s->at.segment.name : s->options.name;

    switch (error) {
    case -ETIMEDOUT:
        log_error("%s: timed out after %g s %s", name, s->options.timeout_ms / 1000.0, doing);
        return EXIT_TIMEOUT;
    case -EPROTO:
        log_error("%s is not a channel of shm_write, or somebody has damaged it", name);
        break;
    case -ENOSYS:
        log_error("this kernel has no futex_waitv: Linux 5.16 or later is needed");
        break;
    case -EIDRM:
        log_error("%s was removed while nobody was reading it", name);
        break;
    default:
        log_error("%s: %s %s", name, strerror(-error), doing);
        break;
    }
    return EXIT_FAILED;
}

static void detach(struct session *s)
{
    role_release(&s->channel.role);
    if (s->at.address)
        shmd_detach(s->shmd, &s->at);
}

int session_remove(struct session *s)
{
    char id[32];

    snprintf(id, sizeof(id), "id:%d", s->at.segment.shmid);

    /* As long as this process is attached the id cannot come to mean another segment. */
    int r = shmd_remove(s->shmd, id, NULL, request_ms(s));

    if (r >= 0 || r == -ENOENT || r == -EIDRM)
        return EXIT_OK;
    log_error("cannot remove %s: %s", s->at.segment.name, shmd_error(s->shmd));
    return r == -ETIMEDOUT ? EXIT_TIMEOUT : EXIT_FAILED;
}

/* Remove what is over, so that the name is free: EXIT_OK, and look for the name again. */
static int clear_away(struct session *s)
{
    int code = session_remove(s);

    detach(s);
    return code;
}

/* 1: attached and bound; 0: the name was removed meanwhile; negative: an exit code, negated. */
static int attach(struct session *s)
{
    int r = shmd_attach(s->shmd, s->options.name, 0, NULL, &s->at, request_ms(s));

    if (r == -ENOENT || r == -EIDRM)
        return 0;
    if (r < 0)
        return -say_broker(s, r);
    r = channel_bind(&s->channel, s->at.address, s->at.size, s->at.segment.shmid);
    return r < 0 ? -session_explain(s, r, "") : 1;
}

/* What the writer may do with a channel that is not new. *again: it is out of the way. */
static int meet_used(struct session *s, uint32_t state, bool *again)
{
    struct channel *c = &s->channel;
    const char *name = s->at.segment.name;

    if (state == CHANNEL_READY && role_held(atomic_load(&c->header->writer))) {
        log_error("another writer is at work on %s", name);
        return EXIT_FAILED;
    }
    if (state == CHANNEL_READY || state == CHANNEL_CLOSED) {
        uint32_t unread = channel_unread(c);

        if (unread && role_held(atomic_load(&c->header->reader))) {
            log_error("%s holds %u message%s that a reader is still reading", name, unread,
                      unread == 1 ? "" : "s");
            return EXIT_FAILED;
        }
        if (unread) {
            log_error("%s holds %u message%s that nobody has read; read them with shm_read, or "
                      "remove it with: shmctl-client rm %s",
                      name, unread, unread == 1 ? "" : "s", name);
            return EXIT_FAILED;
        }
        channel_step(c, state, state == CHANNEL_READY ? CHANNEL_DROPPED : CHANNEL_DONE);
    }
    *again = true;
    return clear_away(s);
}

static int begin(struct session *s, uint32_t slots, bool *again)
{
    struct channel *c = &s->channel;
    uint32_t writer = atomic_load(&c->header->writer);
    int r = channel_start(c, s->options.size, slots);

    switch (r) {
    case 0:
        return EXIT_OK;
    case -EBUSY:
        log_error("another writer is at work on %s", s->at.segment.name);
        return EXIT_FAILED;
    case -ESTALE:
        detach(s);
        *again = true;
        return EXIT_OK;
    case -ENOSPC:
        if (writer & FUTEX_OWNER_DIED) { /* it was begun by a writer, and nothing is in it */
            channel_step(c, CHANNEL_NEW, CHANNEL_DROPPED);
            *again = true;
            return clear_away(s);
        }
        log_error("%s has %llu bytes: too few for a message of %u; remove it with: "
                  "shmctl-client rm %s",
                  s->at.segment.name, (unsigned long long)s->at.size, s->options.size,
                  s->at.segment.name);
        return EXIT_FAILED;
    default:
        return session_explain(s, r, "while starting");
    }
}

int session_open_writer(struct session *s)
{
    struct options *o = &s->options;
    struct shmd_create_options options = SHMD_CREATE_INIT;
    uint32_t slots = channel_slots(o->size, o->count);
    int tries = 0;
    bool again;

    options.flags = SHMD_EXCLUSIVE;
    do {
        int r = shmd_create(s->shmd, o->name, channel_bytes(o->size, slots), &options, NULL,
                            request_ms(s));

        if (r < 0 && r != -EEXIST)
            return say_broker(s, r);
        if (++tries > TRIES) {
            log_error("%s: somebody removes it again and again", o->name);
            return EXIT_FAILED;
        }
        r = attach(s);
        if (r < 0)
            return -r;
        again = r == 0;
        if (again)
            continue;

        uint32_t state = channel_state(&s->channel);
        int code = state == CHANNEL_NEW ? begin(s, slots, &again) : meet_used(s, state, &again);

        if (code != EXIT_OK)
            return code;
    } while (again);
    return EXIT_OK;
}

/* Somebody else is the reader. *again: of a channel that is over, so wait for the next one. */
static int meet_reader(struct session *s, int64_t deadline, bool *again)
{
    struct channel *c = &s->channel;
    uint32_t reader = atomic_load(&c->header->reader);
    uint32_t state = channel_state(c);

    if (role_held(reader) && (state != CHANNEL_CLOSED || channel_unread(c) != 0)) {
        log_error("another reader is at work on %s", s->at.segment.name);
        return EXIT_FAILED;
    }

    int r = role_held(reader) ? channel_wait_done(c, reader, deadline) : 0;

    if (r < 0)
        return session_explain(s, r, "waiting for a writer");
    detach(s);
    *again = true;
    return EXIT_OK;
}

static int join(struct session *s, int64_t deadline, bool *again)
{
    struct channel *c = &s->channel;
    uint32_t state = channel_state(c);

    if (state == CHANNEL_DONE || state == CHANNEL_DROPPED) {
        *again = true;
        return clear_away(s);
    }

    int r = channel_join(c);

    if (r == -EBUSY)
        return meet_reader(s, deadline, again);
    if (r == 0)
        r = channel_wait_ready(c, deadline);
    if (r == -EOWNERDEAD) /* before it had written anything: nothing to tell of */
        channel_step(c, CHANNEL_NEW, CHANNEL_DROPPED);
    if (r == -EOWNERDEAD || r == -ESTALE) {
        *again = true;
        return clear_away(s);
    }
    return r < 0 ? session_explain(s, r, "waiting for a writer") : EXIT_OK;
}

int session_open_reader(struct session *s)
{
    int64_t deadline = deadline_in(s->options.timeout_ms);
    bool again;

    do {
        int r = shmd_open(s->shmd, s->options.name, SHMD_WAIT, NULL, deadline_left_ms(deadline));

        if (r == -ETIMEDOUT || (r == -ENOENT && deadline_left_ms(deadline) == 0))
            return session_explain(s, -ETIMEDOUT, "waiting for a writer");
        if (r < 0 && r != -EIDRM)
            return say_broker(s, r);
        r = attach(s);
        if (r < 0)
            return -r;
        again = r == 0;
        if (again)
            continue;

        int code = join(s, deadline, &again);

        if (code != EXIT_OK)
            return code;
    } while (again);
    return EXIT_OK;
}

void session_close(struct session *s)
{
    detach(s);
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
