/* SPDX-License-Identifier: MIT */
/* What pub, sub and top have in common: waiting that a signal ends, and what failures mean. */
#pragma once

#include "ctl.h"
#include "shmd-channel.h"

/* As ctl_fail(), but for calls on a channel: damage there is not the broker's. */
int channel_fail(const struct ctl *ctl, const char *name, int r);

/* A descriptor that SIGINT and SIGTERM make readable, or -errno. */
int channel_signals(void);

/* Let those that came meanwhile do what they do where nobody waits for them: end the program. */
void channel_signals_let(void);

enum { CHANNEL_STOPPED = 1 };
enum { CHANNEL_STOP = 1000 }; /* ends the command in order; no exit code */

/*
 * Wait until `fd` (-1: none) is ready for `events`, or `ns` have passed (-1: for ever). 0;
 * -ETIMEDOUT; CHANNEL_STOPPED by a signal; another negative errno.
 */
int channel_wait(int signals, int fd, short events, int64_t ns);

/* When the time of --timeout, where it is given, will have passed (CLOCK_MONOTONIC); -1: never. */
int64_t channel_until(const struct ctl *ctl);
/* The same for `fd` to be readable, until then. */
int channel_wait_until(int signals, int fd, int64_t until);

/* What to exit with, or CTL_DONE or CHANNEL_STOP, after one of them has returned `r`. */
int channel_code(const struct ctl *ctl, const char *what, int r);
