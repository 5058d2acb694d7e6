/* SPDX-License-Identifier: MIT */
/* Between the files that read. */
#pragma once

#include <errno.h>

#include "ring_reader.h"
#include "util.h"

enum ring_look {
    LOOK_NOTHING = 0,
    LOOK_READY = 1,
    LOOK_OPEN = 2,
    LOOK_LAPPED = 3,
};

/* What stands at r->next, behind pads: enum ring_look or -EPROTO. */
int ring_look(struct ring_reader *r, struct ring_entry *e);

/* May what stands at a position have been overwritten? Ask after it was copied. */
static inline bool ring_is_lapped(const struct ring_reader *r, uint64_t position)
{
    if (!r->lossy)
        return false;
    ring_fence_acquire();
    return ring_load(&r->ring.header->claimed) - position > r->ring.size;
}

/* Wake a writer that sleeps because of where this reader stood. */
void ring_wake_writer(struct ring_reader *r);

/* Behind the oldest that are kept. */
void ring_jump(struct ring_reader *r);
