/* SPDX-License-Identifier: MIT */
/* What config.c and config_keys.c share: a file half read. */
#pragma once

#include <stdio.h>

#include "config.h"
#include "util.h"

enum config_kind { KIND_NONE, KIND_FIXED, KIND_NAMESPACE, KIND_SEGMENT };

#define CONFIG_MODE_UNSET UINT32_MAX

struct config_parser {
    struct config config;
    const char *path;
    char *error;
    FILE *file;
    int line;   /* being read */
    bool wrong; /* `error` is written: what follows is passed over */
    enum config_kind kind; /* of the section being read */
    char section[NAME_SIZE + 16];
    unsigned fixed_seen; /* sections that come once: a bit for each */
    int modes_line; /* where [policy] last sets a mode */
    uint64_t seen; /* keys: a bit for each, those of the last [namespace] or [segment] among them */
    int *namespace_line, *segment_line; /* where each section begins */
};

/* Note what is wrong with the line being read. Returns 0: what inih takes for an error. */
int config_wrong(struct config_parser *p, const char *fmt, ...) SHMD_PRINTF(2, 3);

/* A section begins. */
int config_section(struct config_parser *p, const char *name);

/* A value in it. */
int config_value(struct config_parser *p, const char *key, const char *value);
