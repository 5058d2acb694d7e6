/* SPDX-License-Identifier: MIT */
/* What a member of a ring does in the stress test, and what it is to find. */
#pragma once

#include "ring.h"

#define MEMBERS 5 /* at most: 0 to 2 write, 3 and 4 read */
#define READERS 2
#define FIRST_READER 3

struct message {
    uint64_t number;
    uint32_t role;
    uint32_t length;
    uint64_t words[]; /* each says its number and place */
};

struct run {
    struct ring ring;
    uint32_t flags, size;
    uint64_t messages;
    int writers;
    _Atomic uint64_t lost, received;
};

struct member {
    struct run *run;
    int index;
    uint32_t role;
    int failed;
};

/* Write or read until all messages of the run are through, checking each. 0; 1: something was
 * wrong, and told. */
int member_run(struct member *me);
