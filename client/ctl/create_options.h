/* SPDX-License-Identifier: MIT */
/* The options of a new segment that `create` and `pub` have in common. */
#pragma once

#include "ctl.h"

enum { NEW_MODE = OPTION_LONG + 50, NEW_GROUP, NEW_LIFETIME, NEW_TTL, NEW_LINGER };

#define CREATE_OPTIONS                                                                            \
    {"mode", NEW_MODE, "MODE", "permissions in octal (default: the broker's, 0600)"},          \
    {"group", NEW_GROUP, "GROUP", "a group you are in (default: your own)"},                   \
    {"lifetime", NEW_LIFETIME, "LIFETIME",                                                     \
     "persistent, ephemeral or ttl (default: the broker's)"},                                     \
    {"ttl", NEW_TTL, "TIME", "remove it once unused for so long: 90, 30s, 10m, 2h, 7d"},       \
    {"linger", NEW_LINGER, "TIME", "what an ephemeral one outlives its last holder"}

struct create_given {
    bool any, ttl, linger;
};

/* Take option `c`; false where it is none of those above. */
bool create_option(const struct ctl *ctl, int c, struct shmd_create_options *o,
                   struct create_given *given);

/* After the last one: do they go together? Ends the program where they do not. */
void create_options_check(const struct ctl *ctl, struct shmd_create_options *o,
                          const struct create_given *given);
