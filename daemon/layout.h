/* SPDX-License-Identifier: MIT */
/* Registries of this shmd and of earlier ones: whatever their layout, their entries read alike. */
#pragma once

#include "registry.h"

#define LAYOUT_OLDEST 1u

struct layout {
    const struct reg_header *header; /* the same in all layouts */
    uint32_t version;
    uint32_t capacity; /* a checked copy */
    const char *entries;
};

/* As reg_view_init(), but every layout from LAYOUT_OLDEST to REG_LAYOUT will do. */
int layout_open(struct layout *l, const void *segment, uint64_t size);

/* What an entry is, of a writer that may be at work: only that and no more. */
uint64_t layout_word(const struct layout *l, uint32_t index);
int32_t layout_key(const struct layout *l, uint32_t index);

/* The entry as this shmd lays it out, where nobody writes. Derived fields are left empty. */
void layout_entry(const struct layout *l, uint32_t index, struct reg_entry *ret);
