/* SPDX-License-Identifier: MIT */
/*
 * A member's descriptor: an epoll that holds what shmd makes readable when the other side asks for
 * it or has died, and hangs up when shmd itself dies; and a timer, by which the member looks again
 * while there is no shmd to do that.
 */
#include "member.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define LOOK_AGAIN_MS 10
#define ASK_MS 100 /* shmd for another one, in a call that should not wait */
#define READS_MAX 64 /* more than the queue of an honest shmd holds */

static int add(struct member *m, int fd)
{
    struct epoll_event e = {.events = EPOLLIN};

    return epoll_ctl(m->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

static int make(struct member *m)
{
    int r = 0;

    m->epoll = epoll_create1(EPOLL_CLOEXEC);
    m->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (m->epoll < 0 || m->timer < 0)
        r = -errno;
    if (r == 0)
        r = add(m, m->timer);
    return r < 0 ? handle_fail(m->s, r, "cannot make a descriptor to poll: %s", strerror(-r)) : 0;
}

static void look_again(struct member *m, bool on)
{
    const struct itimerspec in = {.it_value.tv_nsec = on ? LOOK_AGAIN_MS * 1000000l : 0};

    timerfd_settime(m->timer, 0, &in, NULL);
}

/* A child that was forked may have a copy: closing alone would leave it in the epoll. */
static void drop_event(struct member *m)
{
    if (m->event < 0)
        return;
    epoll_ctl(m->epoll, EPOLL_CTL_DEL, m->event, NULL);
    close(STEAL_FD(m->event));
}

static int get_event(struct member *m, struct deadline *d)
{
    const struct wire_pollfd request = {.lease = m->attachment.lease};
    struct shmd *s = m->s;
    int r = call(s, &(struct question){OP_POLLFD, &request, sizeof(request), NULL}, NULL, 0, d);
    int fd = STEAL_FD(s->passed);

    if (r == 0 && fd < 0)
        r = link_broken(s, "it sent no descriptor");
    if (r == 0)
        r = add(m, fd);
    if (r < 0) {
        cleanup_close(&fd);
        return r;
    }
    drop_event(m);
    m->event = fd;
    m->links = s->links;
    return 0;
}

static bool is_current(const struct member *m)
{
    return m->event >= 0 && m->s->fd >= 0 && m->links == m->s->links;
}

void member_poll_end(struct member *m)
{
    cleanup_close(&m->epoll);
    cleanup_close(&m->event);
    cleanup_close(&m->timer);
    m->epoll = m->event = m->timer = -1;
}

int member_fd(struct member *m, struct deadline *d)
{
    int r;

    if (m->epoll >= 0)
        return m->epoll;
    r = make(m);
    if (r == 0)
        r = get_event(m, d);
    if (r < 0)
        member_poll_end(m);
    return r < 0 ? r : m->epoll;
}

/* Forget what it was readable for; one that has hung up is of no use, nor one that is no socket.
 * Whatever came here, this does not wait. */
static void drain(struct member *m)
{
    char bytes[64];
    ssize_t n;

    if (m->event < 0)
        return;
    for (int i = 0; i < READS_MAX; i++) {
        n = recv(m->event, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        drop_event(m);
}

void member_poll_soon(struct member *m)
{
    look_again(m, true);
}

void member_poll_begin(struct member *m)
{
    struct deadline soon = {.timeout_ms = ASK_MS};

    drain(m);
    if (!is_current(m)) {
        member_check(m);
        if (m->s->fd >= 0)
            get_event(m, &soon);
    }
    look_again(m, !is_current(m));
}
