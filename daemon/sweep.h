/* SPDX-License-Identifier: MIT */
/*
 * Looking at everything every now and then: what others did to segments behind the broker's back is
 * noticed though nobody asks for them.
 */
#pragma once

#include "orphans.h"

struct broker;

struct sweep {
    uint32_t entry; /* that comes next */
    bool entries_done;
    struct orphan_scan scan;
    unsigned told; /* how many orphans the log has told of last */
    int error;     /* why they could not be told, likewise */
    bool forced;   /* kernel.shm_rmid_forced, likewise */
};

/* Warn where the kernel removes what nobody has attached; each pass looks again. */
void sweep_look_at_kernel(struct sweep *s);

/* One slice, of less than a millisecond. True when a pass is complete; the next call begins
 * another. */
bool sweep_step(struct broker *b, struct sweep *s);

/* Before the table is done. */
void sweep_done(struct broker *b, struct sweep *s);
