/* SPDX-License-Identifier: MIT */
#include "deadline.h"

#include <limits.h>
#include <poll.h>
#include <time.h>

#include "util.h"

#define NS_PER_MS 1000000ll

int deadline_left_ms(struct deadline *d)
{
    if (d->timeout_ms <= 0)
        return d->timeout_ms < 0 ? -1 : 0;
    if (d->at == 0) {
        d->at = clock_ns(CLOCK_MONOTONIC) + d->timeout_ms * NS_PER_MS;
        return d->timeout_ms;
    }

    int64_t left = d->at - clock_ns(CLOCK_MONOTONIC);

    return left <= 0 ? 0 : (int)MIN((left + NS_PER_MS - 1) / NS_PER_MS, INT_MAX);
}

int deadline_poll(int fd, short events, struct deadline *d)
{
    struct pollfd p = {.fd = fd, .events = events};

    for (;;) {
        int n = poll(&p, 1, deadline_left_ms(d));

        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}
