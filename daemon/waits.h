/* SPDX-License-Identifier: MIT */
/* Callers that opened a name with OPEN_WAIT before it existed. */
#pragma once

#include <stdint.h>
#include <sys/queue.h>

#include "name.h"

struct broker;
struct caller;
struct reg_entry;

TAILQ_HEAD(wait_queue, wait);

#define WAITS_BUCKETS 1024

struct waits {
    struct wait_queue bucket[WAITS_BUCKETS]; /* by name */
};

void waits_init(struct waits *w);

#define WAITS_USER_MAX 256

/* Beyond WIRE_WAITS_MAX a caller's oldest wait is answered -ECANCELED. -EDQUOT: beyond
 * WAITS_USER_MAX of its user; -ENOMEM. */
int waits_add(struct broker *b, struct caller *c, uint32_t serial, const char name[NAME_SIZE]);
/* A name has come to life: answer who waits for it and may know of it. */
void waits_created(struct broker *b, const struct reg_entry *e);
void waits_drop_caller(struct broker *b, struct caller *c);
