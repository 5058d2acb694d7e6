/* SPDX-License-Identifier: MIT */
#include "service.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "systemd.h"
#include "util.h"

#define BUSY_MS 1000 /* between two looks while there are clients */
#define REST_MS 5000

/* True where it is not what was told last. */
static bool look(struct service *s)
{
    const struct broker *b = s->broker;
    char now[sizeof(s->status)];

    snprintf(now, sizeof(now), "Serving %u segments (%llu bytes), %u connections, %u leases%s",
             b->table.header->used, (unsigned long long)b->table.bytes, b->connections, b->leases,
             s->reload_failed ? "; the configuration has a mistake, the one before it stays" : "");
    if (strcmp(now, s->status) == 0)
        return false;
    memcpy(s->status, now, sizeof(now));
    return true;
}

static void arm(struct service *s, int ms)
{
    const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    event_add(s->tick, &tv);
}

static void on_tick(evutil_socket_t fd, short what, void *data)
{
    struct service *s = data;
    bool busy = look(s) || s->broker->connections > 0;

    (void)fd;
    (void)what;
    systemd_alive(s->status);
    arm(s, busy ? MIN(BUSY_MS, s->period_ms) : s->period_ms);
}

int service_ready(struct service *s, struct event_base *base, const struct broker *b)
{
    uint64_t half_ms = systemd_watchdog_us() / 2000;

    s->broker = b;
    s->period_ms = half_ms > 0 ? (int)MIN(half_ms, (uint64_t)REST_MS) : REST_MS;
    look(s);
    if (systemd_listens()) {
        s->tick = evtimer_new(base, on_tick, s);
        if (!s->tick)
            return -ENOMEM;
        arm(s, MIN(BUSY_MS, s->period_ms));
    }
    systemd_ready(s->status);
    return 0;
}

void service_reloaded(struct service *s, bool failed)
{
    s->reload_failed = failed;
    look(s);
    systemd_ready(s->status);
}

void service_done(struct service *s)
{
    if (s->tick)
        event_free(s->tick);
    s->tick = NULL;
}
