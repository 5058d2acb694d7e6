/* SPDX-License-Identifier: MIT */
/* How many connections each user has. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#define USERS_BUCKETS 256

struct user;

struct users {
    struct user *bucket[USERS_BUCKETS];
};

/* One more connection of `uid`: 0; -EUSERS at `limit`; -ENOMEM. */
int users_enter(struct users *u, uid_t uid, unsigned limit);
void users_leave(struct users *u, uid_t uid);
