/* SPDX-License-Identifier: MIT */
/*
 * The last detach of a large removed segment frees its pages, some 50 ms for each GiB: done here in
 * a thread of its own, so that nobody waits for it.
 */
#pragma once

#define REAPER_LARGE (64u << 20) /* bytes; what is smaller is freed at once */

struct sysv_ops;

/* Detach `address` soon. What is left at the end of the process the kernel detaches. */
void reaper_detach(const struct sysv_ops *sysv, void *address);
