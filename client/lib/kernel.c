/* SPDX-License-Identifier: MIT */
#include "handle.h"

/* A mode may permit an attachment and deny IPC_STAT; SHM_STAT_ANY asks for no permission, but
 * takes any shmid that shares the index and returns the one that it found there. */
int kernel_stat(int shmid, struct shmid_ds *ret)
{
    if (shmctl(shmid, IPC_STAT, ret) == 0)
        return 0;
    if (errno != EACCES)
        return -errno;

    int found = shmctl(shmid, SHM_STAT_ANY, ret);

    if (found < 0)
        return -errno;
    return found == shmid ? 0 : -EIDRM;
}

int kernel_shmid(const struct wire_target *target)
{
    if (target->by == BY_SHMID)
        return target->id;

    int shmid = shmget(target->id, 0, 0);

    return shmid < 0 ? -errno : shmid;
}

void kernel_status(int shmid, const struct shmid_ds *ds, struct shmd_status *ret)
{
    *ret = (struct shmd_status){
        .segment = {.size = ds->shm_segsz, .shmid = shmid, .key = ds->shm_perm.__key},
        .uid = ds->shm_perm.uid,
        .cuid = ds->shm_perm.cuid,
        .gid = ds->shm_perm.gid,
        .cgid = ds->shm_perm.cgid,
        .mode = ds->shm_perm.mode & 0777,
        .flags = (ds->shm_perm.mode & SHM_DEST ? SHMD_DEST : 0u) |
                 (ds->shm_perm.mode & SHM_LOCKED ? SHMD_LOCKED : 0u),
        .seq = ds->shm_perm.__seq,
        .nattch = ds->shm_nattch,
        .atime = ds->shm_atime,
        .dtime = ds->shm_dtime,
        .ctime = ds->shm_ctime,
        .cpid = ds->shm_cpid,
        .lpid = ds->shm_lpid,
    };
}
