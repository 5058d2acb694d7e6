/* SPDX-License-Identifier: MIT */
/* What other handlers need of those of channels. */
#pragma once

#include "request.h"

/* Is an entry that exists the channel of `size` bytes that is asked for? -EPROTOTYPE, and what
 * differs. */
int channel_same(struct request *rq, const struct ring_options *ring, uint64_t size,
                 const struct reg_entry *e);
