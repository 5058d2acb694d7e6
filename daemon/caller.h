/* SPDX-License-Identifier: MIT */
/* Who is asking, as the kernel says, and what they hold. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "name.h"
#include "waits.h"

struct table;
struct reg_entry;

#define OVERFLOW_ID 65534 /* what the kernel shows for an id that has no mapping here */

struct lease {
    uint32_t id; /* the client's */
    uint32_t index;
    uint64_t instance; /* of the entry when it was taken */
    uint32_t flags;    /* ATTACH_* */
};

struct caller {
    uid_t uid;
    gid_t gid;
    pid_t pid;
    gid_t *groups; /* supplementary */
    unsigned n_groups;
    bool ready; /* has shaken hands */
    char home[NAMESPACE_SIZE];
    struct lease *leases;
    unsigned n_leases, room;
    struct wait_queue waits; /* oldest first */
    unsigned n_waits;
};

/*
 * Identity of the other end of a connected Unix socket (SO_PEERCRED, SO_PEERGROUPS). -EOVERFLOW: from
 * a user namespace whose ids mean nothing here; -ENOMEM; or what getsockopt said.
 */
int caller_init(struct caller *c, int fd);
void caller_done(struct caller *c, struct table *t);

bool caller_in_group(const struct caller *c, gid_t gid);

/* 0; -EEXIST: that id is in use; -ENOMEM. */
int caller_take_lease(struct caller *c, struct table *t, struct reg_entry *e, uint32_t id,
                      uint32_t flags);
/* -ENOENT: there is no such lease. */
int caller_end_lease(struct caller *c, struct table *t, uint32_t id);
