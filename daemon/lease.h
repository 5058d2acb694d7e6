/* SPDX-License-Identifier: MIT */
/* Who holds what: leases taken and given back, and their end with their holder. */
#pragma once

#include "request.h"

int op_attach(struct request *rq);
int op_detach(struct request *rq);
int op_who(struct request *rq);

/* May the caller hold one segment more? -EDQUOT. */
int lease_check(struct request *rq);

/* Whoever created an ephemeral segment holds it until they attach it, or go. -ENOMEM. */
int lease_hold(struct broker *b, struct caller *c, struct reg_entry *e);

/* The caller goes: so do its leases. */
void lease_end_all(struct broker *b, struct caller *c);
