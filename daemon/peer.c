/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "dispatch.h"
#include "log.h"
#include "server.h"

/* Verdicts in here: the event callbacks alone free a peer, after its last use. */
enum verdict { KEEP, FREE };

static enum verdict keep_rest(struct peer *p, const uint8_t *data, size_t len)
{
    if (!p->left)
        p->left = evbuffer_new();
    if (!p->left || evbuffer_add(p->left, data, len) < 0)
        return FREE;
    event_del(p->readable);
    event_add(p->writable, NULL);
    return KEEP;
}

static enum verdict send_or_keep(struct peer *p, const uint8_t *data, size_t len)
{
    ssize_t n = 0;

    if (!p->left || evbuffer_get_length(p->left) == 0)
        n = send(p->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return FREE;
    n = MAX(n, 0);
    return (size_t)n == len ? KEEP : keep_rest(p, data + n, len - (size_t)n);
}

static enum verdict flush(struct peer *p)
{
    struct server *s = p->server;
    size_t len = s->out_len;

    s->out_len = 0;
    return len ? send_or_keep(p, s->out, len) : KEEP;
}

static bool blocked(const struct peer *p)
{
    return p->left && evbuffer_get_length(p->left) > 0;
}

static enum verdict hold(struct peer *p, const uint8_t *data, size_t len)
{
    if (len) {
        p->held = malloc(len);
        if (!p->held)
            return FREE;
        memcpy(p->held, data, len);
    }
    p->held_len = len;
    return KEEP;
}

/* What one peer is served before the others are: requests, and each segment that is told of. */
#define COST_A_TURN 32

/* Serve the whole frames of the input that there is room to answer, up to the cost of a turn. */
static enum verdict serve(struct peer *p, const uint8_t *in, size_t len)
{
    struct server *s = p->server;
    enum verdict verdict = KEEP;
    size_t cost = 0;

    while (verdict == KEEP) {
        size_t used, answer;
        enum dispatch_result r;

        if (s->out_len + WIRE_FRAME_MAX > SERVER_OUT)
            verdict = flush(p);
        if (verdict != KEEP || blocked(p))
            break;
        if (cost >= COST_A_TURN) {
            verdict = flush(p);
            /* A writable socket brings the next turn, after all others have had theirs. */
            event_del(p->readable);
            event_add(p->writable, NULL);
            break;
        }
        r = dispatch(s->broker, &p->caller, in, len, &used, s->out + s->out_len, &answer);
        s->out_len += answer;
        cost += 1 + answer / sizeof(struct wire_segment);
        in += used;
        len -= used;
        if (r == DISPATCH_CLOSE) {
            flush(p);
            verdict = FREE;
        } else if (r == DISPATCH_MORE) {
            verdict = flush(p);
            break;
        }
    }
    s->out_len = 0;
    return verdict == KEEP ? hold(p, in, len) : FREE;
}

/* Put what was held back in front of the server's buffer. */
static size_t take_held(struct peer *p)
{
    size_t len = p->held_len;

    if (len)
        memcpy(p->server->in, p->held, len);
    free(p->held);
    p->held = NULL;
    p->held_len = 0;
    return len;
}

static void on_readable(evutil_socket_t fd, short what, void *data)
{
    struct peer *p = data;
    struct server *s = p->server;
    size_t len = take_held(p);
    ssize_t n = recv(fd, s->in + len, SERVER_IN - len, MSG_DONTWAIT);

    (void)what;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        n = hold(p, s->in, len) == KEEP ? 0 : -1;
    else if (n <= 0 || serve(p, s->in, len + (size_t)n) == FREE)
        n = -1;
    if (n < 0)
        peer_free(p);
}

static void on_writable(evutil_socket_t fd, short what, void *data)
{
    struct peer *p = data;
    enum verdict verdict = KEEP;

    (void)what;
    if (blocked(p) && evbuffer_write(p->left, fd) < 0 && errno != EAGAIN && errno != EINTR)
        verdict = FREE;
    if (verdict == KEEP && !blocked(p)) {
        event_del(p->writable);
        event_add(p->readable, NULL);
        verdict = serve(p, p->server->in, take_held(p));
    }
    if (verdict == FREE)
        peer_free(p);
}

void peer_send(struct caller *c, const void *frame, size_t size)
{
    struct peer *p = (struct peer *)(void *)((char *)c - offsetof(struct peer, caller));

    /* Never into the server's buffer: an answer to this very peer may be in the making there. */
    if (send_or_keep(p, frame, size) == FREE)
        event_active(p->readable, EV_READ, 0); /* its own callback will find the error */
}

int peer_new(struct server *s, int fd, struct caller *caller)
{
    struct peer *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->server = s;
    p->fd = fd;
    p->readable = event_new(s->base, fd, EV_READ | EV_PERSIST, on_readable, p);
    p->writable = event_new(s->base, fd, EV_WRITE | EV_PERSIST, on_writable, p);
    if (!p->readable || !p->writable || event_add(p->readable, NULL) < 0) {
        if (p->readable)
            event_free(p->readable);
        if (p->writable)
            event_free(p->writable);
        free(p);
        return -ENOMEM;
    }
    p->caller = *caller;
    TAILQ_INIT(&p->caller.waits); /* the head points into itself */
    TAILQ_INSERT_TAIL(&s->peers, p, link);
    s->broker->connections++;
    return 0;
}

void peer_free(struct peer *p)
{
    struct server *s = p->server;

    TAILQ_REMOVE(&s->peers, p, link);
    users_leave(&s->users, p->caller.uid);
    s->broker->connections--;
    s->broker->leases -= p->caller.n_leases;
    waits_drop_caller(s->broker, &p->caller);
    caller_done(&p->caller, &s->broker->table);
    event_free(p->readable);
    event_free(p->writable);
    if (p->left)
        evbuffer_free(p->left);
    free(p->held);
    close(p->fd);
    free(p);
    server_peer_gone(s);
}
