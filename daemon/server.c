/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <event2/event.h>
#include <event2/listener.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"
#include "protocol.h"
#include "segment.h"
#include "util.h"

#define ACCEPTS_A_TURN 16

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
        snprintf(text, 248, "your user or group id has no mapping where shmd runs (it shows as %u): "
                 "connect from the host's user namespace", OVERFLOW_ID);
        return r;
    }
    if (r < 0)
        return r;
    if (s->broker->is_private && c->uid != geteuid() && c->uid != 0) {
        snprintf(text, 248, "this is the private broker of uid %u", (unsigned)geteuid());
        return -EACCES;
    }
    if (s->broker->connections >= config->connections) {
        snprintf(text, 248, "shmd has %u connections, as many as the limit connections allows",
                 s->broker->connections);
        return -EUSERS;
    }
    r = users_enter(&s->users, c->uid, config->connections_per_user);
    if (r == -EUSERS)
        snprintf(text, 248, "you have %u connections, as many as the limit connections_per_user "
                 "allows", config->connections_per_user);
    return r;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *data)
{
    struct server *s = data;
    struct caller c;
    char text[248];
    int r = admit(s, fd, &c, text);

    /* The listener would accept on and on while somebody connects on and on: let others in between. */
    if (++s->accepted % ACCEPTS_A_TURN == 0) {
        static const struct timeval now;

        evconnlistener_disable(listener);
        event_add(s->retry, &now);
    }

    (void)address;
    (void)len;
    if (r == 0) {
        r = peer_new(s, fd, &c);
        if (r < 0)
            users_leave(&s->users, c.uid);
    }
    if (r < 0) {
        log_debug("connection of uid %u pid %d refused: %s", (unsigned)c.uid, c.pid,
                  *text ? text : strerror(-r));
        turn_away(fd, r, *text ? text : strerror(-r));
        caller_done(&c, &s->broker->table);
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
    s->retry = evtimer_new(base, on_retry, s);
    s->listener = evconnlistener_new(base, on_accept, s,
                                     LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!s->retry || !s->listener) {
        server_done(s);
        return -ENOMEM;
    }
    evconnlistener_set_error_cb(s->listener, on_accept_error);
    return 0;
}

void server_done(struct server *s)
{
    struct peer *p;

    while ((p = TAILQ_FIRST(&s->peers)))
        peer_free(p);
    if (s->idle)
        event_free(s->idle);
    if (s->retry)
        event_free(s->retry);
    if (s->listener)
        evconnlistener_free(s->listener);
    s->idle = s->retry = NULL;
    s->listener = NULL;
}
