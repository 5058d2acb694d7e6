/* SPDX-License-Identifier: MIT */
#include "sysv.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif

static int kernel_create(int32_t key, uint64_t size, int flags)
{
    int id = shmget(key, size, IPC_CREAT | IPC_EXCL | flags | 0600);

    return id < 0 ? -errno : id;
}

static int kernel_find(int32_t key)
{
    int id = shmget(key, 0, 0);

    return id < 0 ? -errno : id;
}

/* Takes any shmid that shares the index, and returns the one that it found there. */
static int stat_any(int shmid, struct shmid_ds *ret)
{
    int found = shmctl(shmid, SHM_STAT_ANY, ret);

    if (found < 0)
        return -errno;
    return found == shmid ? 0 : -EINVAL;
}

static int kernel_stat(int shmid, struct shmid_ds *ret)
{
    if (shmctl(shmid, IPC_STAT, ret) == 0)
        return 0;
    return errno == EACCES ? stat_any(shmid, ret) : -errno;
}

static int kernel_set(int shmid, uid_t uid, gid_t gid, unsigned mode)
{
    struct shmid_ds ds = {.shm_perm = {.uid = uid, .gid = gid, .mode = (unsigned short)mode}};

    return shmctl(shmid, IPC_SET, &ds) < 0 ? -errno : 0;
}

static int kernel_remove(int shmid)
{
    return shmctl(shmid, IPC_RMID, NULL) < 0 ? -errno : 0;
}

static int kernel_attach(int shmid, bool read_only, void **ret)
{
    void *address = shmat(shmid, NULL, read_only ? SHM_RDONLY : 0);

    if (address == (void *)-1)
        return -errno;
    *ret = address;
    return 0;
}

static int kernel_detach(const void *address)
{
    return shmdt(address) < 0 ? -errno : 0;
}

static int kernel_last(void)
{
    struct shminfo info; /* IPC_INFO: SHM_INFO would look at every segment */
    int slot = shmctl(0, IPC_INFO, (struct shmid_ds *)(void *)&info);

    return slot < 0 ? -errno : slot;
}

static int kernel_at(int slot, struct shmid_ds *ret)
{
    int id = shmctl(slot, SHM_STAT_ANY, ret);

    return id < 0 ? -errno : id;
}

const struct sysv_ops sysv_kernel = {
    .create = kernel_create,
    .find = kernel_find,
    .stat = kernel_stat,
    .set = kernel_set,
    .remove = kernel_remove,
    .attach = kernel_attach,
    .detach = kernel_detach,
    .last = kernel_last,
    .at = kernel_at,
};

int sysv_each(const struct sysv_ops *sysv,
              int (*each)(int shmid, const struct shmid_ds *ds, void *data), void *data)
{
    int last = sysv->last();

    for (int i = 0; i <= last; i++) {
        struct shmid_ds ds;
        int id = sysv->at(i, &ds);
        int r = id < 0 ? 0 : each(id, &ds, data);

        if (r != 0)
            return r;
    }
    return MIN(last, 0);
}

static void explain_space(unsigned long long size, char text[SYSV_TEXT_MAX])
{
    struct shminfo limit = {.shmmni = 0};
    struct shm_info used = {.used_ids = 0};

    shmctl(0, IPC_INFO, (struct shmid_ds *)(void *)&limit);
    shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&used);
    if ((unsigned long)used.used_ids >= limit.shmmni)
        snprintf(text, SYSV_TEXT_MAX, "the kernel's limit kernel.shmmni of %lu segments is reached",
                 limit.shmmni);
    else
        snprintf(text, SYSV_TEXT_MAX,
                 "%llu bytes are more than the kernel's limit kernel.shmall leaves: "
                 "of its %lu pages %lu are in use",
                 size, limit.shmall, used.shm_tot);
}

void sysv_explain(int error, uint64_t size, char text[SYSV_TEXT_MAX])
{
    unsigned long long bytes = size;
    struct shminfo limit = {.shmmax = 0};

    switch (error) {
    case -ENOSPC:
        explain_space(bytes, text);
        break;
    case -EINVAL:
        shmctl(0, IPC_INFO, (struct shmid_ds *)(void *)&limit);
        snprintf(text, SYSV_TEXT_MAX, "%llu bytes: the kernel's limit kernel.shmmax is %lu", bytes,
                 limit.shmmax);
        break;
    case -ENOMEM:
        snprintf(text, SYSV_TEXT_MAX, "the kernel has no memory for %llu bytes", bytes);
        break;
    default:
        snprintf(text, SYSV_TEXT_MAX, "the kernel refuses: %s", strerror(-error));
    }
}
