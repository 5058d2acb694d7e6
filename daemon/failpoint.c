/* SPDX-License-Identifier: MIT */
#include "failpoint.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const char *current;
static long passed;

void failpoint_enter(const char *op)
{
    current = op;
}

void failpoint(void)
{
    const char *wanted = getenv("SHMD_FAILPOINT");
    const char *colon = wanted ? strchr(wanted, ':') : NULL;

    if (!current || !colon || strncmp(wanted, current, (size_t)(colon - wanted)) != 0 ||
        current[colon - wanted] != 0)
        return;
    if (++passed == strtol(colon + 1, NULL, 10))
        raise(SIGKILL);
}
