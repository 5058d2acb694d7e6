/* SPDX-License-Identifier: MIT */
/* What shmd is, apart from sockets: its config, its table, its counters. */
#pragma once

#include "caller.h"
#include "config.h"
#include "table.h"
#include "waits.h"

struct broker {
    struct config config;
    struct table table;
    struct waits waits;
    bool is_private;       /* --user */
    bool group_is_private; /* nobody else is in our primary group */
    uint64_t ipc_namespace;
    int64_t started;      /* CLOCK_REALTIME, nanoseconds */
    int64_t started_mono; /* CLOCK_MONOTONIC, nanoseconds */
    uint64_t requests, refused;
    unsigned connections, leases;

    /* Send a frame to a caller that is not being served just now. Set by the server. */
    void (*send)(struct caller *c, const void *frame, size_t size);
};
