/* SPDX-License-Identifier: MIT */
/*
 * When segments end by themselves.
 *
 * An ephemeral one was given to the kernel at birth (IPC_RMID): shmd keeps it alive by its own
 * attachment as long as somebody holds a lease, and `linger` seconds more. When shmd lets go, or
 * dies, the kernel frees it with the last attachment that is left.
 *
 * One with a ttl is removed once nobody had it attached for so long. The kernel's nattch, shm_atime
 * and shm_dtime say so, and they know also of those that never asked the broker.
 */
#pragma once

#include "broker.h"

/* A segment was created, or adopted at start. */
void lifetime_begin(struct broker *b, struct reg_entry *e);

/* A lease on it was taken; one has ended (it may be gone afterwards). */
void lifetime_held(struct broker *b, struct reg_entry *e);
void lifetime_released(struct broker *b, struct reg_entry *e);

/* When it is due, in nanoseconds since 1970; 0: it is not. */
int64_t lifetime_expires(const struct broker *b, const struct reg_entry *e);

/* Look at what is due, some at a time. Returns when there is more to do (CLOCK_MONOTONIC, ns), or
 * 0. */
int64_t lifetime_run(struct broker *b);
