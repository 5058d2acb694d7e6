/* SPDX-License-Identifier: MIT */
/* Who may do what. Everything here is decided again, independently, by the kernel's own bits. */
#pragma once

#include "request.h"
#include "segment.h"

bool policy_is_admin(const struct broker *b, const struct caller *c);

/*
 * May the caller create what rq->body (a wire_create) asks for under full name `name`? 0 with
 * owner, group, mode and key filled in, or a refusal: -EPERM, -EINVAL, -EDQUOT.
 */
int policy_create(struct request *rq, const char name[NAME_SIZE], struct segment_request *ret);

/* May the caller change or remove this segment? `what` is the verb of the refusal. */
int policy_control(struct request *rq, const struct reg_entry *e, const struct shmid_ds *ds,
                   const char *what);

/* Fill in what a wire_set does not ask for, and refuse what it may not. */
int policy_set(struct request *rq, const struct reg_entry *e, const struct shmid_ds *ds,
               struct wire_set *set);
