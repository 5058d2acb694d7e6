/* SPDX-License-Identifier: MIT */
/*
 * Who has how much: of a user, of a declared namespace, of the host. A segment is charged before
 * anything is allocated for it and released when its entry is free again (table.c does both), in
 * whole pages, as the kernel counts. After adoption and after a reload all is counted anew.
 */
#pragma once

#include <unistd.h>

#include "config.h"
#include "name.h"
#include "registry.h"
#include "users.h"

#define QUOTA_ERROR_MAX 256

struct usage {
    uint32_t segments;
    uint64_t pages;
};

struct quota {
    const struct config *config;
    struct users users;
    struct usage host;
    struct usage *namespaces; /* as config->namespaces */
};

static inline uint64_t quota_page(void)
{
    return (uint64_t)getpagesize();
}

static inline uint64_t quota_pages(uint64_t size)
{
    return size / quota_page() + (size % quota_page() != 0);
}

/*
 * Is there room for a segment of `size` bytes of `uid` ((uid_t)-1: of nobody) under that name? 0,
 * or -EDQUOT and a sentence that names the limit and who has used it.
 */
int quota_check(const struct quota *q, uid_t uid, const char *name, uint64_t size,
                char error[QUOTA_ERROR_MAX]);

/* -ENOMEM, and nothing is charged. */
int quota_charge(struct quota *q, const struct reg_entry *e);
void quota_release(struct quota *q, const struct reg_entry *e);

/*
 * Forget all segments and work with `config` from now on; each live one is to be charged again.
 * -ENOMEM, and nothing has changed.
 */
int quota_restart(struct quota *q, const struct config *config);
void quota_done(struct quota *q);
