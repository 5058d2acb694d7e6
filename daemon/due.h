/* SPDX-License-Identifier: MIT */
/* Entries of the registry, each with a time at which to look at it: a heap, the soonest on top. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct due {
    uint32_t *heap; /* entries' indexes */
    uint32_t n, capacity;
    uint32_t *place; /* of an entry: its position in the heap + 1; 0: it is not there */
    int64_t *when;   /* of an entry: CLOCK_MONOTONIC, nanoseconds */
};

/* Room for entries 0 to `capacity` - 1, so that nothing can fail later. -ENOMEM. */
int due_init(struct due *d, uint32_t capacity);
void due_done(struct due *d);

/* Set or move the time of an entry; true where it is the soonest now. */
bool due_set(struct due *d, uint32_t entry, int64_t when);
void due_clear(struct due *d, uint32_t entry);

/* 0: it is not due. */
static inline int64_t due_when(const struct due *d, uint32_t entry)
{
    return d->place[entry] ? d->when[entry] : 0;
}

/* The soonest, if there is one: false. */
bool due_first(const struct due *d, uint32_t *entry, int64_t *when);
