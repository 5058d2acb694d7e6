/* SPDX-License-Identifier: MIT */
/* Numbers on the command lines of benchmarks and stress tests. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "parse.h"

static inline uint64_t number_of(const char *text, uint64_t most)
{
    uint64_t v;

    if (parse_u64(text, most, &v) == 0)
        return v;
    fprintf(stderr, "'%s' is not a number up to %llu\n", text, (unsigned long long)most);
    exit(2);
}
