/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/* A call's time limit. Its clock starts at the first wait, so that a call that need not wait does
 * not ask for the time. */
struct deadline {
    int timeout_ms; /* -1: none */
    int64_t at;     /* monotonic nanoseconds; 0: not started */
};

int deadline_left_ms(struct deadline *d); /* as poll() takes it: -1 for ever, 0: it has passed */
int deadline_poll(int fd, short events, struct deadline *d); /* 0, -ETIMEDOUT, or what poll said */
