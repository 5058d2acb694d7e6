/* SPDX-License-Identifier: MIT */
/*
 * What has happened, told to the log (as a record with fields where that is the journal) and to
 * whoever watches. `by` is who asked for it; NULL: nobody who is connected.
 */
#pragma once

#include "request.h"

void tell_created(struct broker *b, const struct caller *by, const struct reg_entry *e);
/* Before the entry is cleared. */
void tell_removed(struct broker *b, const struct caller *by, const struct reg_entry *e,
                  enum wire_event_reason reason);
/* Before the entry is cleared: its segment went while no shmd was running. */
void tell_missing(const struct reg_entry *e);
void tell_changed(struct broker *b, const struct caller *by, const struct reg_entry *e,
                  enum wire_event_reason reason);

/* EVENT_ATTACHED, EVENT_DETACHED or EVENT_DIED: watchers only. */
void tell_lease(struct broker *b, const struct caller *by, const struct reg_entry *e,
                enum wire_event_kind kind);

/* A request was refused with `error`, for the reason in its reply. A user can fill nobody's log
 * with that. */
void tell_refused(struct request *rq, int error);

/* The table's findings go here from now on. */
void tell_observe(struct broker *b);
