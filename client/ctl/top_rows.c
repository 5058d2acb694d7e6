/* SPDX-License-Identifier: MIT */
#include <fnmatch.h>
#include <string.h>

#include "top.h"

static int add(const struct shmd_status *status, void *data)
{
    struct top *t = data;

    if (*t->pattern && fnmatch(t->pattern, status->segment.name, FNM_NOESCAPE) != 0)
        return 0;
    if (t->n == t->room) {
        size_t room = MAX(t->room * 2, (size_t)64);
        struct top_row *rows = reallocarray(t->rows, room, sizeof(*rows));

        if (!rows)
            return -ENOMEM;
        t->rows = rows;
        t->room = room;
    }
    t->rows[t->n++] = (struct top_row){.status = *status};
    return 0;
}

static int by_instance(const void *a, const void *b)
{
    const struct top_row *x = a, *y = b;
    uint64_t i = x->status.segment.instance, k = y->status.segment.instance;

    return (i > k) - (i < k);
}

#define RATE_MAX 1e18 /* members may write what they like there; more does not fit into a number */

static double rate(uint64_t now, uint64_t before, int64_t ns)
{
    double r;

    /* What readers have lost is less when one of them has gone. */
    if (now <= before || ns <= 0)
        return 0;
    r = (double)(now - before) * (double)NS_PER_SECOND / (double)ns;
    return MIN(r, RATE_MAX);
}

static void measure(struct top *t, struct top_row *r)
{
    r->is_channel = r->status.flags & SHMD_CHANNEL &&
                    shmd_channel_stat(t->ctl->shmd, r->status.segment.name, &r->channel, NULL, NULL,
                                      t->ctl->timeout_ms) == 0;
    r->when = clock_ns(CLOCK_MONOTONIC);

    const struct top_row *b = t->n_before == 0 ? NULL
        : bsearch(r, t->before, t->n_before, sizeof(*r), by_instance);

    if (!r->is_channel || !b || !b->is_channel)
        return;
    r->measured = true;
    r->rate[0] = rate(r->channel.sent, b->channel.sent, r->when - b->when);
    r->rate[1] = rate(r->channel.bytes, b->channel.bytes, r->when - b->when);
    r->rate[2] = rate(r->channel.lost, b->channel.lost, r->when - b->when);
}

int top_look(struct top *t)
{
    int r;

    free(t->before);
    t->before = t->rows;
    t->n_before = t->n;
    if (t->n_before)
        qsort(t->before, t->n_before, sizeof(*t->before), by_instance);
    t->rows = NULL;
    t->n = t->room = 0;
    r = shmd_list(t->ctl->shmd, add, t, t->ctl->timeout_ms);
    if (r < 0)
        return r;
    for (size_t i = 0; i < t->n; i++)
        measure(t, &t->rows[i]);
    top_sort(t);
    return 0;
}

static double key(const struct top_row *r, unsigned column)
{
    switch (column) {
    case TOP_SIZE:
        return (double)r->status.segment.size;
    case TOP_NATTCH:
        return (double)r->status.nattch;
    case TOP_LEASES:
        return r->status.leases;
    case TOP_MSGRATE:
    case TOP_BYTERATE:
    case TOP_LOSTRATE:
        return r->rate[column - TOP_MSGRATE];
    case TOP_READERS:
        return r->channel.readers + r->channel.blind;
    case TOP_WRITERS:
        return r->channel.writers;
    case TOP_WAITING:
        return r->channel.waiting;
    case TOP_OWNER:
        return -(double)r->status.uid;
    default:
        return 0;
    }
}

/* The largest first; what is equal by name. */
static int compare(const void *a, const void *b, void *column)
{
    double x = key(a, *(unsigned *)column), y = key(b, *(unsigned *)column);
    const struct top_row *r = a, *s = b;

    return x != y ? (x < y) - (x > y) : strcmp(r->status.segment.name, s->status.segment.name);
}

void top_sort(struct top *t)
{
    if (t->n)
        qsort_r(t->rows, t->n, sizeof(*t->rows), compare, &t->sort);
}
