/* SPDX-License-Identifier: MIT */
/* A kernel of our own with System V segments in it, whose calls a test lets fail. */
#pragma once

#include "sysv.h"

#define FAKE_MAX 64

struct fake_segment {
    bool there;
    struct shmid_ds ds;
    void *memory;
    unsigned attached;
};

struct fake_kernel {
    struct fake_segment segment[FAKE_MAX]; /* by shmid */
    int next;                              /* shmid */
    /* What the next calls answer in place of doing anything; 0: do it. */
    int fail_create, fail_attach, fail_set;
    unsigned creates;
    uid_t uid;
};

extern struct fake_kernel fake;
extern const struct sysv_ops sysv_fake;

void fake_reset(void);
/* A segment by somebody else. */
int fake_foreign(int32_t key, uint64_t size, uid_t creator);
unsigned fake_count(void);
unsigned fake_attachments(void);
