/* SPDX-License-Identifier: MIT */
/*
 * Segments of our creator with a key of our range that no registry knows: neither ours nor that of
 * another shmd of the same user. They are what is left when a registry itself was destroyed.
 *
 * The kernel's segments are looked at first, then the registries that there are, then their
 * entries: an entry is written before its segment is made, so whatever was seen first is found in
 * the end. The scan goes in slices, as there may be 32,000 of each.
 */
#pragma once

#include "layout.h"
#include "table.h"

#define ORPHANS_BUCKETS 1024
#define ORPHANS_REGISTRIES 64

struct orphan {
    uint64_t size, nattch;
    int32_t shmid, key;
    uint32_t next; /* number of the next in its bucket */
    bool claimed;
};

enum orphan_phase { ORPHAN_SEGMENTS, ORPHAN_REGISTRIES, ORPHAN_ENTRIES, ORPHAN_CHECK };

struct orphan_scan {
    uint32_t key_first, key_last;
    enum orphan_phase phase;
    uint32_t at;       /* slot, entry or orphan that comes next */
    uint32_t kept;     /* orphans that were checked and are some */
    uint32_t registry; /* whose entries are being looked at */
    uint32_t n, room;
    struct orphan *orphan; /* after the scan: the orphans, `n` of them */
    uint32_t bucket[ORPHANS_BUCKETS]; /* of orphan[], by key */
    uint32_t n_registries;
    struct layout registries[ORPHANS_REGISTRIES];
};

void orphans_begin(struct orphan_scan *s, uint32_t key_first, uint32_t key_last);

/*
 * Do a slice: so many looks. 1: there is more to do; 0: all is known. Where it cannot be told who
 * is an orphan: -EAGAIN, a registry was moved meanwhile; -EPROTONOSUPPORT, a registry of a later
 * layout; -ENOBUFS, more than ORPHANS_REGISTRIES; -ENOMEM; what shmat said.
 */
int orphans_step(struct table *t, struct orphan_scan *s, unsigned steps);

/* Let go of all that it holds. Also for one that was never begun, if it is zeroed. */
void orphans_end(struct table *t, struct orphan_scan *s);
