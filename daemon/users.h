/* SPDX-License-Identifier: MIT */
/*
 * What each user has of the broker. A record exists as long as it counts something, and goes on for
 * a while where it has counted requests: who connects anew has no fresh allowance.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#define USERS_BUCKETS 1024

struct user {
    struct user *next;
    uid_t uid;
    unsigned connections, leases, waits, watches, pollable;
    uint32_t segments; /* that it asked for */
    uint64_t pages;    /* of them */
    /* In the second that began last: requests, and lines about this user that the log was given. */
    int64_t second;
    uint32_t requests, told;
    uint32_t untold; /* lines that it was not given */
};

struct users {
    struct user *bucket[USERS_BUCKETS];
};

/* The record of a user, made where there is none. NULL: no memory. */
struct user *users_get(struct users *u, uid_t uid);

/* The record, or NULL where nothing of that user is counted. */
struct user *users_find(const struct users *u, uid_t uid);

/* Something of `user` was counted down: free the record where that was the last, now or later. */
void users_put(struct users *u, struct user *user);

/* Free the records that count nothing. */
void users_done(struct users *u);

/* Begin another second where the clock has gone on. */
void user_tick(struct user *user, int64_t second);
