/* SPDX-License-Identifier: MIT */
/* The only door to the kernel's System V shared memory; tests put another one in its place. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/types.h>

/* Results are 0 (or a shmid) and negative errnos. Nothing here blocks. */
struct sysv_ops {
    /* shmget(IPC_CREAT | IPC_EXCL | flags), mode 0600: only the creator gets in before `set`. */
    int (*create)(int32_t key, uint64_t size, int flags);
    /* The shmid that has `key` now. */
    int (*find)(int32_t key);
    /* IPC_STAT, and where the mode denies that to us, SHM_STAT_ANY. -EINVAL, -EIDRM: no such
     * one. */
    int (*stat)(int shmid, struct shmid_ds *ret);
    int (*set)(int shmid, uid_t uid, gid_t gid, unsigned mode);
    int (*remove)(int shmid);
    int (*attach)(int shmid, bool read_only, void **ret);
    int (*detach)(const void *address);
    /* The highest slot that the kernel uses for a segment of this IPC namespace. */
    int (*last)(void);
    /* The shmid in that slot, and what it is. -EINVAL: there is none. */
    int (*at)(int slot, struct shmid_ds *ret);
};

extern const struct sysv_ops sysv_kernel;

/* Call `each` for every segment of this IPC namespace, until it returns other than 0. */
int sysv_each(const struct sysv_ops *sysv,
              int (*each)(int shmid, const struct shmid_ds *ds, void *data), void *data);

#define SYSV_TEXT_MAX 192

/* Why the kernel gave `error` for a segment of `size` bytes: which of its limits it is at, as a
 * sentence. */
void sysv_explain(int error, uint64_t size, char text[SYSV_TEXT_MAX]);
