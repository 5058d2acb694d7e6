/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <event2/event.h>
#include <event2/listener.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "declared.h"
#include "lifetime.h"
#include "log.h"
#include "policy.h"
#include "protocol.h"
#include "segment.h"
#include "util.h"

#define ACCEPTS_A_TURN 16
#define ADMIN_CONNECTIONS 8u /* beyond the limit */
#define SWEEP_PAUSE_US 2000 /* between two slices, for the others */

/* Serial 0: about the connection, not about a request. One attempt, and no waiting. */
static void turn_away(int fd, int error, const char *text)
{
    struct {
        struct wire_header header;
        char text[248];
    } frame = {.header = {.size = sizeof(frame), .opcode = OP_HELLO, .status = error}};

    snprintf(frame.text, sizeof(frame.text), "%s", text);
    if (send(fd, &frame, sizeof(frame), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("a refused connection: %s", strerror(errno));
    close(fd);
}

static int admit(struct server *s, int fd, struct caller *c, char text[248])
{
    const struct config *config = &s->broker->config;
    int r = caller_init(c, fd);

    text[0] = 0;
    if (r == -EOVERFLOW) {
        snprintf(text, 248,
                 "your user or group id has no mapping where shmd runs (it shows as %u): "
                 "connect from the host's user namespace",
                 OVERFLOW_ID);
        return r;
    }
    if (r < 0)
        return r;
    if (s->broker->is_private && c->uid != geteuid() && c->uid != 0) {
        snprintf(text, 248, "this is the private broker of uid %u", (unsigned)geteuid());
        return -EACCES;
    }
    /* Some are kept for administrators, who must get in when others have taken all. */
    if (s->broker->connections >= config->connections +
                                      (policy_is_admin(s->broker, c) ? ADMIN_CONNECTIONS : 0)) {
        snprintf(text, 248, "shmd has %u connections, as many as the limit connections allows",
                 s->broker->connections);
        return -EUSERS;
    }

    struct user *user = users_get(&s->broker->quota.users, c->uid);

    if (!user)
        return -ENOMEM;
    if (user->connections >= config->connections_per_user) {
        snprintf(text, 248, "user %u has %u connections, and connections_per_user allows %u",
                 (unsigned)c->uid, user->connections, config->connections_per_user);
        users_put(&s->broker->quota.users, user);
        return -EUSERS;
    }
    user->connections++;
    c->user = user;
    return 0;
}

static void dismiss(struct server *s, struct caller *c)
{
    if (c->user) {
        c->user->connections--;
        users_put(&s->broker->quota.users, c->user);
    }
    caller_done(c);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *data)
{
    struct server *s = data;
    struct caller c;
    char text[248];
    int r = admit(s, fd, &c, text);

    /* The listener would accept on and on while somebody connects on and on: let others in
     * between. */
    if (++s->accepted % ACCEPTS_A_TURN == 0) {
        static const struct timeval now;

        evconnlistener_disable(listener);
        event_add(s->retry, &now);
    }

    (void)address;
    (void)len;
    if (r == 0)
        r = peer_new(s, fd, &c);
    if (r < 0) {
        log_debug("connection of uid %u pid %d refused: %s", (unsigned)c.uid, c.pid,
                  *text ? text : strerror(-r));
        turn_away(fd, r, *text ? text : strerror(-r));
        dismiss(s, &c);
    } else if (s->idle) {
        event_del(s->idle);
    }
}

/* Out of descriptors or memory: what is connected is served on, and accepting resumes. */
static void on_accept_error(struct evconnlistener *listener, void *data)
{
    static const struct timeval second = {.tv_sec = 1};
    struct server *s = data;

    log_error("accept: %s; trying again in a second", strerror(errno));
    evconnlistener_disable(listener);
    event_add(s->retry, &second);
}

static void on_retry(evutil_socket_t fd, short what, void *data)
{
    struct server *s = data;

    (void)fd;
    (void)what;
    evconnlistener_enable(s->listener);
}

static void arm_idle(struct server *s, int ms)
{
    const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    event_add(s->idle, &tv);
}

static struct timeval from_now(int64_t when)
{
    int64_t us = MAX((when - clock_ns(CLOCK_MONOTONIC)) / 1000, 0);

    return (struct timeval){.tv_sec = us / 1000000, .tv_usec = us % 1000000};
}

static void arm_due(struct broker *b, int64_t when)
{
    struct server *s = b->server;
    const struct timeval tv = from_now(when);

    event_add(s->due, &tv);
}

static void on_due(evutil_socket_t fd, short what, void *data)
{
    struct server *s = data;
    int64_t next = lifetime_run(s->broker);

    (void)fd;
    (void)what;
    if (next)
        arm_due(s->broker, next);
}

static void on_left(evutil_socket_t fd, short what, void *data)
{
    struct server *s = data;
    int64_t next = channels_run(s->broker);

    (void)fd;
    (void)what;
    if (next) {
        const struct timeval tv = from_now(next);

        event_add(s->left, &tv);
    }
}

static void on_sweep(evutil_socket_t fd, short what, void *data)
{
    struct server *s = data;
    struct timeval tv = {.tv_usec = SWEEP_PAUSE_US};

    (void)fd;
    (void)what;
    if (sweep_step(s->broker, &s->broker->sweep)) {
        declared_make(s->broker);
        tv = (struct timeval){.tv_sec = s->broker->config.sweep};
    }
    event_add(s->sweep, &tv);
}

void server_reloaded(struct server *s)
{
    const struct timeval tv = {.tv_sec = s->broker->config.sweep};

    event_add(s->sweep, &tv);
}

static void on_idle(evutil_socket_t fd, short what, void *data)
{
    struct server *s = data;

    (void)fd;
    (void)what;
    if (s->broker->connections != 0)
        return;
    /* No client will touch what was removed behind our back: look, and look again. */
    if (segment_check_all(&s->broker->table) == 0)
        event_base_loopbreak(s->base);
    else
        arm_idle(s, MAX(s->idle_ms, 1000));
}

void server_peer_gone(struct server *s)
{
    if (s->idle && s->broker->connections == 0)
        arm_idle(s, s->idle_ms);
}

int server_exit_when_idle(struct server *s, int seconds)
{
    s->idle = evtimer_new(s->base, on_idle, s);
    if (!s->idle)
        return -ENOMEM;
    s->idle_ms = seconds * 1000;
    arm_idle(s, MAX(seconds, 5) * 1000); /* who started us needs a moment to connect */
    return 0;
}

int server_init(struct server *s, struct event_base *base, struct broker *b, int fd)
{
    memset(s, 0, offsetof(struct server, in));
    s->base = base;
    s->broker = b;
    s->out_len = 0;
    TAILQ_INIT(&s->peers);
    b->send = peer_send;
    b->push = peer_push;
    b->may_pass = peer_may_pass;
    b->arm = arm_due;
    b->server = s;
    s->retry = evtimer_new(base, on_retry, s);
    s->listener = evconnlistener_new(base, on_accept, s,
                                     LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    s->due = evtimer_new(base, on_due, s);
    s->left = evtimer_new(base, on_left, s);
    s->sweep = evtimer_new(base, on_sweep, s);
    if (!s->retry || !s->listener || !s->due || !s->left || !s->sweep) {
        server_done(s);
        return -ENOMEM;
    }
    server_reloaded(s);
    on_due(-1, 0, s); /* what adoption found */
    on_left(-1, 0, s);
    evconnlistener_set_error_cb(s->listener, on_accept_error);
    return 0;
}

void server_done(struct server *s)
{
    struct peer *p;

    s->broker->ending = true;
    while ((p = TAILQ_FIRST(&s->peers)))
        peer_free(p);
    if (s->idle)
        event_free(s->idle);
    if (s->retry)
        event_free(s->retry);
    if (s->due)
        event_free(s->due);
    if (s->left)
        event_free(s->left);
    if (s->sweep)
        event_free(s->sweep);
    if (s->listener)
        evconnlistener_free(s->listener);
    s->idle = s->retry = s->due = s->left = s->sweep = NULL;
    s->listener = NULL;
}
