/* SPDX-License-Identifier: MIT */
/* Who writes to a channel and reads from it, below what `stat` tells of its segment. */
#pragma once

#include "table.h"

/*
 * Print and free `segment`, a table of one row, and then the members of channel `name`, where it
 * may be read. Returns the exit code.
 */
int members_print(const struct ctl *ctl, struct table *segment, const char *name);
