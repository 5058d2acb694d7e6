/* SPDX-License-Identifier: MIT */
/* What shmd is, apart from sockets: its config, its table, who is connected, its counters. */
#pragma once

#include "caller.h"
#include "channel.h"
#include "config.h"
#include "due.h"
#include "quota.h"
#include "sweep.h"
#include "table.h"
#include "waits.h"

TAILQ_HEAD(caller_list, caller);

struct broker {
    struct config config;
    struct quota quota;
    struct table table;
    struct waits waits;
    struct due due;
    struct sweep sweep;
    struct channels channels;
    struct caller_list callers, watchers;
    bool is_private;       /* --user */
    bool ending;           /* what is connected is let go now, and segments stay */
    bool group_is_private; /* nobody else is in our primary group */
    uint64_t ipc_namespace;
    int64_t started;      /* CLOCK_REALTIME, nanoseconds */
    int64_t started_mono; /* CLOCK_MONOTONIC, nanoseconds */
    uint64_t requests, refused;
    unsigned connections, leases, watches;
    int64_t now; /* CLOCK_MONOTONIC, seconds: of the turn that is being served */
    unsigned looks; /* at segments: what the request in service costs beyond itself */
    int pass;       /* descriptor that goes with the answer in the making; -1 */

    /* Set by the server. Send a frame to a caller, who may or may not be the one being served. */
    void (*send)(struct caller *c, const void *frame, size_t size);
    /* Likewise, but soon, and only where not much is waiting for that caller already: else
     * false. */
    bool (*push)(struct caller *c, const void *frame, size_t size);
    /* May a descriptor be passed to the caller being served? It has not read the last ones else. */
    bool (*may_pass)(struct caller *c);
    /* Something is due at that time (CLOCK_MONOTONIC, nanoseconds), sooner than all before. */
    void (*arm)(struct broker *b, int64_t when);
    void *server;
};

/* Nothing can fail yet; the config is filled in by the caller afterwards. */
void broker_init(struct broker *b);

/*
 * Adopt what is there, count it, and make what is declared. -EBUSY: another shmd works on this
 * registry; other errors. All has been logged.
 */
int broker_start(struct broker *b, const char *socket);

/* Put a checked config in force, which is taken over. -ENOMEM: shmd must end (and start again). */
int broker_reload(struct broker *b, struct config *new);

void broker_done(struct broker *b);
