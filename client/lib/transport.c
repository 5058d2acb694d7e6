/* SPDX-License-Identifier: MIT */
/*
 * Frames over one connection. The socket never blocks; waiting is done by poll(), up to the
 * caller's deadline. A reply belongs to the request with its serial: the others are late answers
 * to calls that gave up, and are skipped. Half a frame stays in the handle until the rest comes.
 */
#include "handle.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define ERRNO_MAX 4095

void link_close(struct shmd *s)
{
    if (s->fd >= 0)
        close(STEAL_FD(s->fd));
    s->in_start = s->in_end = 0;
    s->welcomed = false;
    s->waits = 0;
    cleanup_close(&s->passed);
    s->passed = -1;
    lease_forget_ended(s);
}

bool link_hung_up(const struct shmd *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLRDHUP};

    return s->fd >= 0 && poll(&p, 1, 0) == 1 && p.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

int link_broken(struct shmd *s, const char *what)
{
    link_close(s);
    return handle_fail(s, -EPROTO, "what answers at %s is no shmd: %s", s->socket, what);
}

struct wire_header link_header(struct shmd *s, enum wire_op op, unsigned flags, size_t body_size)
{
    return (struct wire_header){
        .size = (uint32_t)(sizeof(struct wire_header) + body_size),
        .opcode = (uint16_t)op,
        .flags = (uint16_t)flags,
        .serial = ++s->serial,
    };
}

/* All of it, or nothing of it and an error. 0, LINK_LOST, -ETIMEDOUT or another errno. */
int link_send(struct shmd *s, const void *frames, size_t size, struct deadline *d)
{
    const char *at = frames;
    size_t left = size;
    int r = 0;

    while (left > 0 && r == 0) {
        ssize_t n = send(s->fd, at, left, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            at += n;
            left -= (size_t)n;
        } else if (errno == EAGAIN) {
            r = deadline_poll(s->fd, POLLOUT, d);
        } else if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) {
            return LINK_LOST;
        } else if (errno != EINTR) {
            r = -errno;
        }
    }
    if (r < 0 && left < size)
        link_close(s); /* half a frame is out: nothing sensible could follow it */
    if (r < 0)
        handle_fail(s, r, "cannot send to shmd at %s: %s", s->socket,
                    r == -ETIMEDOUT ? "it does not read" : strerror(-r));
    return r;
}

/* The next whole frame in the buffer: 1, 0 where it is not there yet, -EPROTO. */
static int next_frame(struct shmd *s, struct reply *reply)
{
    struct wire_header *h = &reply->header;
    uint32_t have = s->in_end - s->in_start;

    if (have < sizeof(*h))
        return 0;
    memcpy(h, s->in + s->in_start, sizeof(*h));
    if (h->size < sizeof(*h) || h->size > WIRE_FRAME_MAX || h->status > 0 || h->status < -ERRNO_MAX)
        return -EPROTO;
    if (have < h->size)
        return 0;
    reply->body = s->in + s->in_start + sizeof(*h);
    reply->size = h->size - (uint32_t)sizeof(*h);
    s->in_start += h->size;
    return 1;
}

/* Descriptors come only where they were asked for, one at a time. */
static void take_passed(struct shmd *s, struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
            c->cmsg_len != CMSG_LEN(sizeof(int)))
            continue;
        cleanup_close(&s->passed);
        memcpy(&s->passed, CMSG_DATA(c), sizeof(int));
    }
}

static ssize_t receive(struct shmd *s)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec to = {.iov_base = s->in + s->in_end, .iov_len = sizeof(s->in) - s->in_end};
    /* What is more than one descriptor the kernel closes. */
    struct msghdr m = {.msg_iov = &to, .msg_iovlen = 1, .msg_control = &control,
                       .msg_controllen = CMSG_LEN(sizeof(int))};
    ssize_t n = recvmsg(s->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n > 0)
        take_passed(s, &m);
    return n;
}

static int receive_more(struct shmd *s, struct deadline *d)
{
    if (s->in_start > 0) {
        memmove(s->in, s->in + s->in_start, s->in_end - s->in_start);
        s->in_end -= s->in_start;
        s->in_start = 0;
    }
    for (;;) {
        int r = deadline_poll(s->fd, POLLIN, d);

        if (r < 0)
            return r == -ETIMEDOUT ? handle_timed_out(s, d)
                                   : handle_fail(s, r, "poll: %s", strerror(-r));

        ssize_t n = receive(s);

        if (n > 0) {
            s->in_end += (uint32_t)n;
            return 0;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return LINK_LOST;
    }
}

/* A daemon that takes no more connections may say so before it has read our serial. */
static bool is_refusal(const struct shmd *s, const struct wire_header *h)
{
    return !s->welcomed && h->status < 0;
}

int link_receive(struct shmd *s, const struct wire_header *request, struct reply *reply,
                 struct deadline *d)
{
    for (;;) {
        const struct wire_header *h = &reply->header;
        int r;

        while ((r = next_frame(s, reply)) > 0) {
            if (is_refusal(s, h))
                return 0;
            if (h->serial != request->serial)
                continue;
            return h->opcode == request->opcode ? 0 : link_broken(s, "a reply of another kind");
        }
        if (r < 0)
            return link_broken(s, "a malformed frame");
        r = receive_more(s, d);
        if (r != 0)
            return r;
        /* Frames that answer nothing may come for ever. */
        if (d->timeout_ms > 0 && deadline_left_ms(d) == 0)
            return handle_timed_out(s, d);
    }
}

static void take_sentence(struct shmd *s, const struct reply *reply)
{
    text_printable(s->error, reply->body, MIN(reply->size, sizeof(s->error)));
    if (!*s->error)
        handle_fail(s, 0, "%s", strerror(-reply->header.status));
}

int reply_take(struct shmd *s, const struct reply *reply, void *ret, size_t size)
{
    if (reply->header.status < 0) {
        take_sentence(s, reply);
        return reply->header.status;
    }
    if (reply->size != size)
        return link_broken(s, "a reply of the wrong size");
    if (size > 0)
        memcpy(ret, reply->body, size);
    return 0;
}
