/* SPDX-License-Identifier: MIT */
/* Callers that asked to be told what happens. One that reads too slowly loses events, and is told
 * how many. */
#pragma once

#include "request.h"

int op_watch(struct request *rq);

/*
 * Send an event to all who watch it and may see it: of a live entry, or (`e` NULL: a refusal) only
 * to that user and administrators, under `name`, which may be "".
 */
void watch_tell(struct broker *b, const struct wire_event *ev, const struct reg_entry *e,
                const char *name);

/* There is room again for a caller that lost events: tell it. */
void watch_catch_up(struct broker *b, struct caller *c);

void watch_end(struct broker *b, struct caller *c);
