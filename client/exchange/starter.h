/* SPDX-License-Identifier: MIT */
/* Start the private broker, which ends by itself when nobody needs it any longer. */
#pragma once

#include "lib/deadline.h"

/*
 * Run `shmd --user --idle-exit 1` in the background and wait until it serves, or has failed. 0;
 * -EAGAIN: another one holds the lock (it serves, is about to, or is just ending: connect again);
 * -errno after a line on stderr. The program is $SHMD_DAEMON, else the one of the same build tree,
 * the installed one, the one in $PATH.
 */
int starter_run(struct deadline *d);
