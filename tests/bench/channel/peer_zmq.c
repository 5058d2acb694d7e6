/* SPDX-License-Identifier: MIT */
/* ZeroMQ over ipc. Its threads do the work, so it is measured where it sleeps only; they run on the
 * core of their process, ahead of it. */
#include "loops.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

struct channel {
    struct setup setup;
    char address[64];
    void *context, *socket;
    zmq_msg_t message;
};

static void *make(const struct peer *p, const struct setup *s)
{
    struct channel *c = calloc(1, sizeof(*c));

    (void)p;
    if (!c)
        peer_die("zmq");
    c->setup = *s;
    snprintf(c->address, sizeof(c->address), "ipc:///tmp/shmd-bench-%d-%d", getpid(), s->number);
    return c;
}

static void begin(struct channel *c)
{
    int most = (int)(c->setup.room / c->setup.size), zero = 0;

    c->context = zmq_ctx_new();
    if (sched_getscheduler(0) == SCHED_FIFO) {
        zmq_ctx_set(c->context, ZMQ_THREAD_SCHED_POLICY, SCHED_FIFO);
        zmq_ctx_set(c->context, ZMQ_THREAD_PRIORITY, 11);
    }
    c->socket = zmq_socket(c->context, ZMQ_PAIR);
    zmq_setsockopt(c->socket, ZMQ_SNDHWM, &most, sizeof(most));
    zmq_setsockopt(c->socket, ZMQ_RCVHWM, &most, sizeof(most));
    zmq_setsockopt(c->socket, ZMQ_LINGER, &zero, sizeof(zero));
}

static void writer(void *p)
{
    struct channel *c = p;

    begin(c);
    if (zmq_connect(c->socket, c->address) < 0)
        peer_die("zmq_connect");
}

static void reader(void *p, int number)
{
    struct channel *c = p;

    (void)number;
    begin(c);
    if (zmq_bind(c->socket, c->address) < 0)
        peer_die("zmq_bind");
    zmq_msg_init(&c->message);
}

static void *reserve(void *p)
{
    struct channel *c = p;

    zmq_msg_init_size(&c->message, c->setup.size);
    return zmq_msg_data(&c->message);
}

static void commit(void *p)
{
    struct channel *c = p;

    if (zmq_msg_send(&c->message, c->socket, 0) < 0)
        peer_die("zmq_msg_send");
}

static const void *receive(void *p)
{
    struct channel *c = p;

    if (zmq_msg_recv(&c->message, c->socket, 0) < 0)
        peer_die("zmq_msg_recv");
    return zmq_msg_data(&c->message);
}

static void nothing(void *p)
{
    (void)p;
}

static void destroy(void *p)
{
    struct channel *c = p;

    unlink(c->address + sizeof("ipc://") - 1);
    free(c);
}

LOOPS(peer_zmq);

const struct peer peer_zmq = {
    .name = "zmq", .loops = &peer_zmq_loops, .modes = 1 << BLOCK, .same_core = true, .batch = 1, .make = make,
    .writer = writer, .reader = reader, .reserve = reserve, .commit = commit, .receive = receive,
    .release = nothing, .close = nothing, .destroy = destroy};
