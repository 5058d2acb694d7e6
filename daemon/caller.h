/* SPDX-License-Identifier: MIT */
/* Who is asking, as the kernel says, and what they hold. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "name.h"
#include "users.h"
#include "waits.h"

struct role;
struct table;
struct reg_entry;

#define OVERFLOW_ID 65534 /* what the kernel shows for an id that has no mapping here */

struct lease {
    uint32_t id; /* the client's */
    uint32_t index;
    uint64_t instance; /* of the entry when it was taken */
    int64_t since;     /* CLOCK_REALTIME, nanoseconds */
    uint32_t flags;    /* HOLDER_* */
    struct role *role; /* in a channel, or NULL (channel.h) */
};

/* What a caller has asked to be told of. */
struct watch {
    bool on;
    uint32_t serial;
    uint32_t lost; /* events that there was no room for */
    char pattern[NAME_SIZE];
    TAILQ_ENTRY(caller) link;
};

struct caller {
    uid_t uid;
    gid_t gid;
    pid_t pid;
    uint64_t start; /* of pid, as process_start() has it; 0: not asked yet, or unknown */
    gid_t *groups; /* supplementary */
    unsigned n_groups;
    int64_t since; /* CLOCK_BOOTTIME, nanoseconds: when it was accepted */
    bool ready;    /* has shaken hands */
    char home[NAMESPACE_SIZE];
    struct user *user; /* what the broker counts of that uid; NULL until it was admitted */
    struct lease *leases;
    unsigned n_leases, room;
    struct watch watch;
    TAILQ_ENTRY(caller) link; /* of all callers */
    struct wait_queue waits; /* oldest first */
    unsigned n_waits;
};

/*
 * Identity of the other end of a connected Unix socket (SO_PEERCRED, SO_PEERGROUPS). -EOVERFLOW:
 * from a user namespace whose ids mean nothing here; -ENOMEM; or what getsockopt said.
 */
int caller_init(struct caller *c, int fd);
void caller_done(struct caller *c);

/*
 * A descriptor that is readable once the process at the other end has ended: SO_PEERPIDFD, and
 * before Linux 6.5 pidfd_open, where the pid may be another's by now: one that started after the
 * connection was accepted is not taken for it, as far as /proc tells. -ESRCH: it has ended; another
 * errno: this kernel cannot tell.
 */
int caller_pidfd(const struct caller *c, int fd);

bool caller_in_group(const struct caller *c, gid_t gid);
bool caller_is_one_of(const struct caller *c, const struct config_ids *ids);

/* Leases: their ids are the client's. LEASE_CREATOR is not: the hold of who created an ephemeral
 * segment. */
#define LEASE_CREATOR 0

struct lease *caller_find_lease(struct caller *c, uint32_t id);
/* The lease of its creator on that very entry, or NULL. */
struct lease *caller_find_hold(struct caller *c, const struct table *t, const struct reg_entry *e);
/* -ENOMEM. */
int caller_add_lease(struct caller *c, struct table *t, struct reg_entry *e, uint32_t id,
                     uint32_t flags);
/* Drop a lease; returns its entry, or NULL where that is another's by now. */
struct reg_entry *caller_drop_lease(struct caller *c, struct table *t, struct lease *l);
