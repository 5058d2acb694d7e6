/* SPDX-License-Identifier: MIT */
/*
 * Moving everything to another registry segment: one of another capacity, or of this shmd's layout
 * where an earlier one had made it. The old one counts until the new one is whole; from then on the
 * new one does, as its epoch is higher, whatever else a crash left undone.
 */
#pragma once

#include "locate.h"

/*
 * Move what *l has, where that is needed; nobody is being served yet. 0: *l is the registry to work
 * with, perhaps the old one because another capacity could not be had. A registry of an earlier
 * layout has to be moved: what kept it from that, with a sentence, and it is as it was.
 */
int move_registry(const struct sysv_ops *sysv, const char *socket, uint32_t capacity,
                  struct located *l, char error[LOCATE_ERROR_MAX]);
