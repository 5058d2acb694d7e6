/* SPDX-License-Identifier: MIT */
/*
 * The registry: one System V segment that is the daemon's only table, its durable state and the
 * public directory in one. This file is its layout and the way to read it; daemon/table.c is
 * the only writer.
 *
 *     header | bucket[buckets] | entry[capacity]
 *
 * A bucket holds the number (index + 1) of the first entry of its chain, an entry the number of
 * the next. `word` of an entry (state and shmid in one 64-bit store) alone decides what a crash
 * left behind; buckets, chains, free list and counts are derived from the entries at each start.
 *
 * A reader needs no system call and no lock. It copies an entry between two reads of `seq`, which
 * is odd while the writer changes it, and tries again where the two differ. A chain may change
 * under a reader's feet, so "not found" only means: ask the daemon. All steps are bounded, and an
 * index read from the segment is checked before it is used.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "name.h"

#define REG_MAGIC 0x3130474552444d48ull /* "HMDREG01" */
#define REG_LAYOUT 2
#define REG_CAPACITY_DEFAULT 4096u
#define REG_CAPACITY_MAX 32768u

enum reg_state {
    REG_FREE = 0,
    REG_CREATING = 1, /* written before shmget: roll back by key */
    REG_LIVE = 2,
    REG_REMOVING = 3, /* written before IPC_RMID: finish the removal */
};

struct reg_header {
    _Atomic uint64_t magic; /* stored last: without it the registry is half made */
    uint32_t layout;
    uint32_t entry_size;
    uint32_t capacity;
    uint32_t buckets; /* a power of two */
    uint64_t hash_seed;
    uint64_t epoch;      /* grows with each new registry segment of this broker */
    uint64_t generation; /* grows with each start of the daemon */
    uint32_t daemon_pid;
    uint32_t daemon_uid;
    uint64_t ipc_namespace;
    uint64_t next_instance;
    uint64_t daemon_start; /* start time of daemon_pid, clock ticks since boot */
    _Atomic uint32_t used;    /* derived */
    _Atomic uint32_t free;    /* derived: number of the first free entry */
    uint64_t socket_hash;     /* of the path of the socket it serves */
    uint64_t next_role;       /* of a channel's member: the lower half is used, and never 0 */
    uint64_t reserved[3];
};

enum reg_flags {
    REG_EPHEMERAL = 1 << 0, /* removed (IPC_RMID) at birth: no key, and goes with its last user */
    REG_DECLARED = 1 << 1,  /* a [segment] of shmd.conf */
    REG_CHANNEL = 1 << 2,   /* a ring was laid out in it: `channel` */
};

/*
 * What a channel was made with. It stands here, where only shmd writes, so that shmd need not
 * believe the ring's own header. Layout 2 has had this room from the beginning, zeroed: an older
 * shmd keeps it and takes a channel for a plain segment, so the layout's number has not changed.
 */
struct reg_channel {
    uint32_t shape; /* slots << 8 | enum ring_flags */
    uint32_t max_message;
    uint32_t version;
    char tag[20];
};

/* What a look-up reads comes first: for a short name that is one cache line. */
struct reg_entry {
    _Atomic uint32_t seq;  /* odd: being written */
    _Atomic uint32_t next; /* derived: number of the next in the chain, or of the next free one */
    _Atomic uint64_t word; /* state << 32 | (uint32_t)shmid */
    uint64_t hash;         /* derived */
    uint64_t size;         /* bytes asked for: shm_segsz */
    uint64_t instance;     /* never used twice in a registry's life */
    int32_t key;           /* 0 (IPC_PRIVATE): an ephemeral one's */
    uint32_t flags;        /* enum reg_flags */
    char name[NAME_SIZE];  /* full, NUL-padded */
    uint64_t request_id;
    int64_t created;         /* nanoseconds since 1970 */
    uint32_t uid, gid, mode; /* as shmd last set or saw them: a hint, the kernel decides */
    uint32_t creator_uid;    /* who asked for it, and whose quota it is charged to */
    uint32_t creator_pid;
    uint32_t leases; /* held by clients connected now */
    uint32_t ttl;    /* seconds unused after which it is removed; 0: never */
    uint32_t linger; /* seconds that an ephemeral one outlives its last lease */
    struct reg_channel channel;
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct reg_header) == 128, "registry header changed its size");
_Static_assert(sizeof(struct reg_entry) == 256, "registry entry changed its size");

/* The registry as mapped into this process, of a daemon that may write it meanwhile. */
struct reg_view {
    const struct reg_header *header;
    const _Atomic uint32_t *bucket;
    const struct reg_entry *entry;
    uint32_t capacity, buckets; /* checked copies */
    uint64_t hash_seed;
};

/* What a look-up tells. */
struct reg_found {
    uint64_t instance;
    uint64_t size;
    int32_t shmid;
    int32_t key;
};

/* A name made ready for looking up: NUL-padded, so that it is compared in words. */
struct reg_key {
    uint64_t words[NAME_SIZE / 8];
    uint32_t used; /* words up to and with the NUL */
    uint64_t hash;
};

uint64_t reg_segment_size(uint32_t capacity);
uint32_t reg_buckets_for(uint32_t capacity);

/* Check the header of a mapped segment of `size` bytes. 0, -EPROTO (not a registry of ours, or
 * not whole) or -EPROTONOSUPPORT (another layout). */
int reg_view_init(struct reg_view *view, const void *segment, uint64_t size);

/* `full_name` is NUL-padded to its whole size. */
void reg_key_init(struct reg_key *key, uint64_t seed, const char full_name[NAME_SIZE]);

/* Find a live entry: 0, -ENOENT (ask the daemon) or -EAGAIN (its writer was busy, or died). */
int reg_lookup(const struct reg_view *view, const struct reg_key *key, struct reg_found *found);

/* Copy entry `index`, whole and consistent: 0, -ENOENT where it is not live, -EAGAIN. */
int reg_snapshot(const struct reg_view *view, uint32_t index, struct reg_entry *copy);

static inline enum reg_state reg_word_state(uint64_t word)
{
    return (enum reg_state)(word >> 32);
}

static inline int32_t reg_word_shmid(uint64_t word)
{
    return (int32_t)(uint32_t)word;
}

static inline uint64_t reg_word(enum reg_state state, int32_t shmid)
{
    return (uint64_t)state << 32 | (uint32_t)shmid;
}
