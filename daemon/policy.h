/* SPDX-License-Identifier: MIT */
/* Who may do what. Everything here is decided again, independently, by the kernel's own bits. */
#pragma once

#include "request.h"
#include "segment.h"

bool policy_is_admin(const struct broker *b, const struct caller *c);

/* Would the kernel grant this caller the attachment? As its ipcperms: see policy.c. */
bool policy_may_attach(const struct broker *b, const struct caller *c, const struct ipc_perm *p,
                       bool read_only);

/* May the caller know of a segment with those permissions? */
bool policy_may_see(const struct broker *b, const struct caller *c, const struct ipc_perm *p);

/* The same of an entry, where the kernel is not asked: as if this shmd had made the segment. */
bool policy_may_see_entry(const struct broker *b, const struct caller *c,
                          const struct reg_entry *e);

/* May the caller create in the namespace of that full name? */
bool policy_may_create(const struct broker *b, const struct caller *c, const char *name);

/*
 * May the caller create what rq->body (a wire_create) asks for under full name `name`? 0 with
 * owner, group, mode and key filled in, or a refusal: -EPERM, -EINVAL, -EDQUOT.
 */
int policy_create(struct request *rq, const char name[NAME_SIZE], struct segment_request *ret);

/* May the caller take a lease on this segment? -EACCES. */
int policy_attach(struct request *rq, const struct reg_entry *e, const struct shmid_ds *ds,
                  bool read_only);

/* May the caller change or remove this segment? `what` is the verb of the refusal. */
int policy_control(struct request *rq, const struct reg_entry *e, const struct shmid_ds *ds,
                   const char *what);

/* Fill in what a wire_set does not ask for, and refuse what it may not. */
int policy_set(struct request *rq, const struct reg_entry *e, const struct shmid_ds *ds,
               struct wire_set *set);
