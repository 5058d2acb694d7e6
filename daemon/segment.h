/* SPDX-License-Identifier: MIT */
/*
 * The life of a brokered segment: kernel calls and registry stores in the one order in which a
 * crash after any of them loses nothing. Who may do what has been decided by the caller.
 */
#pragma once

#include "ring.h"
#include "table.h"

struct segment_request {
    char name[NAME_SIZE];
    uint64_t size; /* bytes, not 0 */
    uint64_t request_id;
    uid_t uid;
    gid_t gid;
    unsigned mode;
    int32_t key; /* 0: one of key_first to key_last */
    uint32_t key_first, key_last;
    bool no_reserve;
    uid_t creator_uid;
    pid_t creator_pid;
    uint32_t flags;       /* enum reg_flags */
    uint32_t ttl, linger; /* seconds */
    const struct ring_options *ring; /* REG_CHANNEL: what is laid out in it before others get in */
};

/*
 * 0 and *ret; -EXFULL: the registry is full; -EADDRINUSE: the fixed key is taken, or no free one
 * was found in the range; else what the kernel says: -ENOSPC (SHMMNI, SHMALL), -ENOMEM, -EINVAL
 * (SHMMAX).
 */
int segment_create(struct table *t, const struct segment_request *rq, struct reg_entry **ret);

/*
 * Hold a live entry against the kernel. 0 and *ds; -EIDRM: its segment was removed or replaced
 * behind our back, and the entry is gone now; else why the kernel does not tell.
 */
int segment_check(struct table *t, struct reg_entry *e, struct shmid_ds *ds);

/* IPC_SET and look again. As segment_check, or what IPC_SET said. */
int segment_set(struct table *t, struct reg_entry *e, uid_t uid, gid_t gid, unsigned mode,
                struct shmid_ds *ds);

/* Attach a live entry's segment to ourselves where it is not yet: a channel's to write, as deaths
 * are noted in it. What shmat said. */
int segment_pin(struct table *t, struct reg_entry *e);

/* Detach what was attached, `size` bytes. */
void segment_detach(struct table *t, uint64_t size, void *pin);

/* Let our attachment go: an ephemeral segment that nobody else has attached is gone then. */
void segment_unpin(struct table *t, struct reg_entry *e);

/* IPC_RMID, then the entry is free; what IPC_RMID said otherwise, and all is as before. */
int segment_remove(struct table *t, struct reg_entry *e);

/* Hold every entry against the kernel; returns how many are left. */
uint32_t segment_check_all(struct table *t);

/* Is what the kernel shows the segment of this entry? */
bool segment_is(const struct table *t, const struct reg_entry *e, const struct shmid_ds *ds);

static inline int32_t segment_ds_key(const struct shmid_ds *ds)
{
    return ds->shm_perm.__key;
}

#ifndef SHM_DEST
#define SHM_DEST 01000
#define SHM_LOCKED 02000
#endif
