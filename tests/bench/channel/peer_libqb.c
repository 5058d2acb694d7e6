/* SPDX-License-Identifier: MIT */
/* libqb's ring buffer. It has no way to sleep for room: a writer of a full one spins. */
#include "loops.h"

#include <errno.h>
#include <qb/qbrb.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct channel {
    struct setup setup;
    qb_ringbuffer_t *ring;
};

static void *make(const struct peer *p, const struct setup *s)
{
    struct channel *c = calloc(1, sizeof(*c));
    char name[64];

    (void)p;
    if (!c)
        peer_die("libqb");
    c->setup = *s;
    snprintf(name, sizeof(name), "shmd-bench-%d-%d", getpid(), s->number);
    c->ring = qb_rb_open(name, s->room,
                         QB_RB_FLAG_CREATE | QB_RB_FLAG_SHARED_PROCESS |
                             (s->mode == POLL ? QB_RB_FLAG_NO_SEMAPHORE : 0), 0);
    if (!c->ring) {
        free(c);
        return NULL;
    }
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
    void *at;

    while (!(at = qb_rb_chunk_alloc(c->ring, c->setup.size)))
        peer_wait(c->setup.mode);
    return at;
}

static void commit(void *p)
{
    struct channel *c = p;

    if (qb_rb_chunk_commit(c->ring, c->setup.size) < 0)
        peer_die("libqb");
}

static const void *receive(void *p)
{
    struct channel *c = p;
    void *at = NULL;

    while (qb_rb_chunk_peek(c->ring, &at, c->setup.mode == POLL ? 0 : -1) != (ssize_t)c->setup.size)
        peer_wait(c->setup.mode);
    return at;
}

static void release(void *p)
{
    struct channel *c = p;

    qb_rb_chunk_reclaim(c->ring);
}

static void destroy(void *p)
{
    struct channel *c = p;

    qb_rb_close(c->ring);
    free(c);
}

LOOPS(peer_libqb);

const struct peer peer_libqb = {
    .name = "libqb", .loops = &peer_libqb_loops, .modes = 1 << POLL | 1 << BLOCK, .same_core = true, .batch = 1, .make = make,
    .writer = nothing, .reader = no_reader, .reserve = reserve, .commit = commit,
    .receive = receive, .release = release, .close = nothing, .destroy = destroy};
