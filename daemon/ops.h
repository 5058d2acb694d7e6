/* SPDX-License-Identifier: MIT */
/* The handlers of all opcodes: they are given a checked body and return a verdict (request.h). */
#pragma once

#include "request.h"

int op_hello(struct request *rq);
int op_ping(struct request *rq);
int op_create(struct request *rq);
int op_open(struct request *rq);
int op_stat(struct request *rq);
int op_set(struct request *rq);
int op_remove(struct request *rq);
int op_list(struct request *rq);
int op_info(struct request *rq);
int op_fsck(struct request *rq);
int op_channel(struct request *rq);
int op_join(struct request *rq);
int op_pollfd(struct request *rq);
int op_poke(struct request *rq);
int op_disband(struct request *rq);

/* OP_CREATE, and OP_CHANNEL with the ring that is to be laid out: the body is a wire_create. */
int ops_create(struct request *rq, const struct ring_options *ring);

/* Answer with what `e` is. */
void ops_opened(struct request *rq, const struct reg_entry *e, uint32_t flags);
void ops_fill_segment(struct wire_segment *to, const struct broker *b, const struct reg_entry *e,
                      const struct shmid_ds *ds);

/*
 * The live entry that a target points at, held against the kernel unless `ds` is NULL. A refusal
 * otherwise: -EINVAL, -ENOENT, -EIDRM.
 */
int ops_find(struct request *rq, const struct wire_target *target, struct reg_entry **e,
             struct shmid_ds *ds);

/* The same of what is to be removed, by whoever may: the body is its wire_target. -EPERM. */
int ops_find_to_remove(struct request *rq, struct reg_entry **e, struct shmid_ds *ds);
int ops_remove(struct request *rq, struct reg_entry *e, const struct shmid_ds *ds);
