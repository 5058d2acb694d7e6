/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <linux/sock_diag.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "dispatch.h"
#include "lease.h"
#include "log.h"
#include "server.h"
#include "watch.h"

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

static bool has_left(const struct peer *p)
{
    return p->left && evbuffer_get_length(p->left) > 0;
}

static bool blocked(const struct peer *p)
{
    return has_left(p) || p->pass >= 0;
}

/* The kernel would not take it: the answer is why. */
static enum verdict refuse_pass(struct peer *p, int error)
{
    static const char text[] = "no descriptor can be passed on now";
    struct {
        struct wire_header header;
        char text[(sizeof(text) + 7) & ~7u];
    } frame = {.header = p->passing};

    frame.header.size = sizeof(frame);
    frame.header.status = error;
    memcpy(frame.text, text, sizeof(text));
    close(STEAL_FD(p->pass));
    return send_or_keep(p, (const uint8_t *)&frame, sizeof(frame));
}

/* Nothing is before it any more. */
static enum verdict send_pass(struct peer *p)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    struct iovec data = {.iov_base = &p->passing, .iov_len = sizeof(p->passing)};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof(control)};

    memcpy(CMSG_DATA(&control.header), &p->pass, sizeof(int));

    ssize_t n = sendmsg(p->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        event_del(p->readable);
        event_add(p->writable, NULL);
        return KEEP;
    }
    if (n < 0)
        return errno == EPIPE || errno == ECONNRESET ? FREE : refuse_pass(p, -errno);
    p->passed++;
    close(STEAL_FD(p->pass));
    return (size_t)n == sizeof(p->passing)
               ? KEEP
               : keep_rest(p, (const uint8_t *)&p->passing + n, sizeof(p->passing) - (size_t)n);
}

/* The last answer in the server's buffer, which is a mere header, goes with a descriptor. */
static enum verdict pass(struct peer *p, int fd)
{
    struct server *s = p->server;

    s->out_len -= sizeof(p->passing);
    memcpy(&p->passing, s->out + s->out_len, sizeof(p->passing));
    p->pass = fd;

    enum verdict verdict = flush(p);

    return verdict == KEEP && !has_left(p) ? send_pass(p) : verdict;
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

static void on_death(evutil_socket_t fd, short what, void *data)
{
    (void)fd;
    (void)what;
    peer_free(data);
}

/* A connection may outlive its process, in a child of it; what the process held ends with it. */
static int watch_process(struct peer *p)
{
    int pidfd = caller_pidfd(&p->caller, p->fd);

    if (pidfd == -ESRCH)
        return pidfd;
    if (pidfd < 0) {
        log_debug("pid %d: no pidfd (%s): its leases end with its connection", p->caller.pid,
                  strerror(-pidfd));
        return 0;
    }
    p->death = event_new(p->server->base, pidfd, EV_READ, on_death, p);
    if (p->death && event_add(p->death, NULL) == 0)
        return 0;
    if (p->death)
        event_free(STEAL_PTR(p->death));
    close(pidfd);
    return -ENOMEM;
}

/* What one peer is served before the others are: requests, and each segment that is looked at or
 * told of. */
#define COST_A_TURN 32

/* Serve the whole frames of the input that there is room to answer, up to the cost of a turn. */
static enum verdict serve(struct peer *p, const uint8_t *in, size_t len)
{
    struct server *s = p->server;
    enum verdict verdict = KEEP;
    size_t cost = 0;

    s->broker->now = clock_ns(CLOCK_MONOTONIC_COARSE) / NS_PER_SECOND;
    while (verdict == KEEP) {
        size_t used, answer;
        enum dispatch_result r;

        if (s->out_len + WIRE_FRAME_MAX > SERVER_OUT)
            verdict = flush(p);
        if (verdict == KEEP && blocked(p)) /* by an event that it watches, perhaps */
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
        s->broker->looks = 0;
        r = dispatch(s->broker, &p->caller, in, len, &used, s->out + s->out_len, &answer);
        s->out_len += answer;
        cost += 1 + answer / sizeof(struct wire_segment) + s->broker->looks;
        in += used;
        len -= used;
        if (s->broker->pass >= 0)
            verdict = pass(p, STEAL_FD(s->broker->pass));
        if (r == DISPATCH_CLOSE) {
            flush(p);
            verdict = FREE;
        } else if (r == DISPATCH_MORE) {
            verdict = flush(p);
            break;
        }
    }
    s->out_len = 0;
    if (verdict == KEEP && p->caller.n_leases > 0 && !p->death && watch_process(p) < 0)
        verdict = FREE;
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
    if (has_left(p) && evbuffer_write(p->left, fd) < 0 && errno != EAGAIN && errno != EINTR)
        verdict = FREE;
    if (verdict == KEEP && !has_left(p) && p->pass >= 0)
        verdict = send_pass(p);
    if (verdict == KEEP && !blocked(p))
        watch_catch_up(p->server->broker, &p->caller);
    if (verdict == KEEP && !blocked(p)) {
        event_del(p->writable);
        event_add(p->readable, NULL);
        verdict = serve(p, p->server->in, take_held(p));
    }
    if (verdict == FREE)
        peer_free(p);
}

static struct peer *peer_of(struct caller *c)
{
    return (struct peer *)(void *)((char *)c - offsetof(struct peer, caller));
}

bool peer_push(struct caller *c, const void *frame, size_t size)
{
    struct peer *p = peer_of(c);

    if (!p->left)
        p->left = evbuffer_new();
    if (!p->left || evbuffer_get_length(p->left) + size > PEER_BACKLOG ||
        evbuffer_add(p->left, frame, size) < 0)
        return false;
    event_del(p->readable);
    event_add(p->writable, NULL);
    return true;
}

bool peer_may_pass(struct caller *c)
{
    struct peer *p = peer_of(c);
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof(memory);

    if (getsockopt(p->fd, SOL_SOCKET, SO_MEMINFO, memory, &size) == 0 &&
        memory[SK_MEMINFO_WMEM_ALLOC] == 0)
        p->passed = 0;
    return p->passed < WIRE_FDS_UNREAD;
}

void peer_send(struct caller *c, const void *frame, size_t size)
{
    struct peer *p = peer_of(c);

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
    p->pass = -1;
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
    TAILQ_INSERT_TAIL(&s->broker->callers, &p->caller, link);
    s->broker->connections++;
    return 0;
}

void peer_free(struct peer *p)
{
    struct server *s = p->server;
    struct broker *b = s->broker;
    struct user *user = p->caller.user;

    TAILQ_REMOVE(&s->peers, p, link);
    TAILQ_REMOVE(&b->callers, &p->caller, link);
    watch_end(b, &p->caller);
    waits_drop_caller(b, &p->caller);
    lease_end_all(b, &p->caller);
    user->connections--;
    users_put(&b->quota.users, user);
    b->connections--;
    caller_done(&p->caller);
    event_free(p->readable);
    event_free(p->writable);
    if (p->death) {
        int pidfd = event_get_fd(p->death);

        event_free(p->death); /* before the descriptor: epoll must forget it first */
        close(pidfd);
    }
    if (p->left)
        evbuffer_free(p->left);
    free(p->held);
    if (p->pass >= 0)
        close(p->pass);
    close(p->fd);
    free(p);
    server_peer_gone(s);
}
