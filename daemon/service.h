/* SPDX-License-Identifier: MIT */
/* What the service manager is told while shmd serves: that the loop turns, and what there is. */
#pragma once

#include <stdbool.h>

#include "broker.h"

struct event;
struct event_base;

struct service {
    const struct broker *broker;
    struct event *tick; /* NULL: nobody listens */
    int period_ms;      /* at rest */
    bool reload_failed;
    char status[160]; /* as told last */
};

/* Tell that clients are served, and go on telling. `b` must outlive it. -ENOMEM. */
int service_ready(struct service *s, struct event_base *base, const struct broker *b);

/* A reload, announced by systemd_reloading(), is over. */
void service_reloaded(struct service *s, bool failed);

void service_done(struct service *s);
