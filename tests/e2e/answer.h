/* SPDX-License-Identifier: MIT */
/* What the programs of the tests say of a call: "ok ..." or "error CODE sentence". */
#pragma once

#include <shmd.h>

#include <stdarg.h>
#include <stdio.h>

static struct shmd *broker;

static int answer(int r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int answer(int r, const char *fmt, ...)
{
    va_list args;

    if (r < 0) {
        printf("error %d %s\n", -r, shmd_error(broker));
        return r;
    }
    printf("ok ");
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    return 0;
}
