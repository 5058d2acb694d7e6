/* SPDX-License-Identifier: MIT */
/* What top shows: one row a segment, measured between two rounds. */
#pragma once

#include "shmd-channel.h"
#include "table.h"

enum top_column {
    TOP_NAME, TOP_OWNER, TOP_SIZE, TOP_NATTCH, TOP_LEASES, TOP_MSGRATE, TOP_BYTERATE, TOP_LOSTRATE,
    TOP_READERS, TOP_WRITERS, TOP_WAITING, TOP_COUNT
};

struct top_row {
    struct shmd_status status;
    bool is_channel; /* and may be read: `channel` is true */
    struct shmd_channel_status channel;
    int64_t when;
    bool measured; /* it was there a round before, and `rate` is true */
    double rate[3]; /* messages, bytes and lost ones a second */
};

struct top {
    struct ctl *ctl;
    char pattern[256]; /* "": all */
    unsigned sort;     /* enum top_column */
    int64_t delay;     /* nanoseconds */
    uint64_t count;
    struct top_row *rows, *before;
    size_t n, room, n_before;
    int signals;
};

/* Look at all of them. 0, or a negative errno. */
int top_look(struct top *t);
void top_sort(struct top *t);

/* top_screen.c: full screen, until q or a signal. -ENOTTY: this terminal cannot. */
int top_screen(struct top *t);
