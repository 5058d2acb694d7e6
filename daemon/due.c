/* SPDX-License-Identifier: MIT */
#include "due.h"

#include <errno.h>
#include <stdlib.h>

int due_init(struct due *d, uint32_t capacity)
{
    *d = (struct due){
        .heap = calloc(capacity, sizeof(*d->heap)),
        .place = calloc(capacity, sizeof(*d->place)),
        .when = calloc(capacity, sizeof(*d->when)),
        .capacity = capacity,
    };
    if (d->heap && d->place && d->when)
        return 0;
    due_done(d);
    return -ENOMEM;
}

void due_done(struct due *d)
{
    free(d->heap);
    free(d->place);
    free(d->when);
    *d = (struct due){0};
}

static void put(struct due *d, uint32_t at, uint32_t entry)
{
    d->heap[at] = entry;
    d->place[entry] = at + 1;
}

/* Move `entry`, which belongs at `at` or above it. */
static uint32_t rise(struct due *d, uint32_t at, uint32_t entry)
{
    while (at > 0 && d->when[d->heap[(at - 1) / 2]] > d->when[entry]) {
        put(d, at, d->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(d, at, entry);
    return at;
}

static void sink(struct due *d, uint32_t at, uint32_t entry)
{
    for (uint32_t child; (child = 2 * at + 1) < d->n; at = child) {
        if (child + 1 < d->n && d->when[d->heap[child + 1]] < d->when[d->heap[child]])
            child++;
        if (d->when[d->heap[child]] >= d->when[entry])
            break;
        put(d, at, d->heap[child]);
    }
    put(d, at, entry);
}

bool due_set(struct due *d, uint32_t entry, int64_t when)
{
    due_clear(d, entry);
    d->when[entry] = when;
    return rise(d, d->n++, entry) == 0;
}

void due_clear(struct due *d, uint32_t entry)
{
    uint32_t at = d->place[entry];

    if (at == 0)
        return;
    d->place[entry] = 0;

    uint32_t last = d->heap[--d->n];

    if (last == entry)
        return;
    at = rise(d, at - 1, last);
    sink(d, at, last);
}

bool due_first(const struct due *d, uint32_t *entry, int64_t *when)
{
    if (d->n == 0)
        return false;
    *entry = d->heap[0];
    *when = d->when[*entry];
    return true;
}
