/* SPDX-License-Identifier: MIT */
/* Taking over at start what an earlier shmd left: every entry is held against the kernel. */
#pragma once

#include "table.h"

#define ADOPT_ERROR_MAX 256

struct adopt_request {
    const char *socket; /* absolute path */
    uint32_t capacity;
    bool public_view;
    uint64_t ipc_namespace;
};

/* 0 and a table ready to work with, or a negative errno and a sentence; nothing changed then. */
int adopt_open(struct table *t, const struct sysv_ops *sysv, const struct adopt_request *rq,
               char error[ADOPT_ERROR_MAX]);

/* Remove an empty registry at the end of a private broker. */
void adopt_discard(struct table *t);
