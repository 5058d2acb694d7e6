/* SPDX-License-Identifier: MIT */
/* What the kernel has: pipe, Unix sockets, POSIX message queues. */
#include "loops.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct channel {
    struct setup setup;
    int fds[2]; /* of the reader, of the writer */
    mqd_t queue;
    char *buffer;
};

static struct channel *new_channel(const struct setup *s)
{
    struct channel *c = calloc(1, sizeof(*c));
    void *buffer = NULL;

    if (!c || posix_memalign(&buffer, 64, s->size + 64) != 0)
        peer_die("memory");
    memset(buffer, 0, s->size);
    c->buffer = buffer;
    c->setup = *s;
    return c;
}

static void *make_pipe(const struct peer *p, const struct setup *s)
{
    struct channel *c = new_channel(s);

    (void)p;
    if (pipe2(c->fds, s->mode == POLL ? O_NONBLOCK : 0) < 0)
        peer_die("pipe");
    fcntl(c->fds[1], F_SETPIPE_SZ, 1 << 20);
    return c;
}

static void *make_socket(const struct peer *p, const struct setup *s)
{
    struct channel *c = new_channel(s);
    int type = p == &peer_stream ? SOCK_STREAM : SOCK_SEQPACKET;
    int room = (int)(s->room > 2 * s->size ? s->room : 2 * s->size);

    if (socketpair(AF_UNIX, type | (s->mode == POLL ? SOCK_NONBLOCK : 0), 0, c->fds) < 0)
        peer_die("socketpair");
    if (setsockopt(c->fds[1], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
        setsockopt(c->fds[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    return c;
}

static void *make_mq(const struct peer *p, const struct setup *s)
{
    struct channel *c = new_channel(s);
    struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    long most = (long)(s->room / s->size);
    struct mq_attr a = {.mq_maxmsg = most > 1000 ? 1000 : most, .mq_msgsize = (long)s->size};
    char name[64];
    int flags = O_CREAT | O_EXCL | O_RDWR | (s->mode == POLL ? O_NONBLOCK : 0);

    (void)p;
    setrlimit(RLIMIT_MSGQUEUE, &none);
    snprintf(name, sizeof(name), "/shmd-bench-%d-%d", getpid(), s->number);
    do /* as many messages as the limits let there be */
        c->queue = mq_open(name, flags, 0600, &a);
    while (c->queue < 0 && (a.mq_maxmsg /= 2) > 0);
    if (c->queue < 0) {
        int error = errno;

        free(c->buffer);
        free(c);
        errno = error;
        return NULL;
    }
    mq_unlink(name);
    return c;
}

static void nothing(void *c)
{
    (void)c;
}

static void no_reader(void *c, int n)
{
    (void)c;
    (void)n;
}

static void *reserve(void *p)
{
    struct channel *c = p;

    return c->buffer;
}

static void transfer(struct channel *c, bool out)
{
    for (size_t done = 0; done < c->setup.size;) {
        ssize_t n = out ? write(c->fds[1], c->buffer + done, c->setup.size - done)
                        : read(c->fds[0], c->buffer + done, c->setup.size - done);

        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EAGAIN)
            peer_die(out ? "write" : "read");
        else
            peer_wait(c->setup.mode);
    }
}

static void commit(void *p)
{
    transfer(p, true);
}

static const void *receive(void *p)
{
    struct channel *c = p;

    transfer(c, false);
    return c->buffer;
}

static void commit_mq(void *p)
{
    struct channel *c = p;

    while (mq_send(c->queue, c->buffer, c->setup.size, 0) < 0) {
        if (errno != EAGAIN)
            peer_die("mq_send");
        peer_wait(c->setup.mode);
    }
}

static const void *receive_mq(void *p)
{
    struct channel *c = p;

    while (mq_receive(c->queue, c->buffer, c->setup.size, NULL) < 0) {
        if (errno != EAGAIN)
            peer_die("mq_receive");
        peer_wait(c->setup.mode);
    }
    return c->buffer;
}

static void destroy(void *p)
{
    struct channel *c = p;

    if (c->fds[1]) {
        close(c->fds[0]);
        close(c->fds[1]);
    } else
        mq_close(c->queue);
    free(c->buffer);
    free(c);
}

#define COMMON                                                                                     \
    .modes = 1 << POLL | 1 << BLOCK, .same_core = true, .batch = 1, .writer = nothing,             \
    .reader = no_reader, .reserve = reserve, .release = nothing, .close = nothing,                 \
    .destroy = destroy
#define BYTES COMMON, .commit = commit, .receive = receive

LOOPS(peer_pipe);
LOOPS(peer_stream);
LOOPS(peer_seqpacket);
LOOPS(peer_mq);

const struct peer peer_pipe = {.name = "pipe", .loops = &peer_pipe_loops, BYTES, .make = make_pipe};
const struct peer peer_stream = {.name = "stream", .loops = &peer_stream_loops, BYTES, .make = make_socket};
const struct peer peer_seqpacket = {.name = "seqpacket", .loops = &peer_seqpacket_loops, BYTES, .make = make_socket};
const struct peer peer_mq = {
    .name = "mq", .loops = &peer_mq_loops, COMMON, .make = make_mq, .commit = commit_mq, .receive = receive_mq};
