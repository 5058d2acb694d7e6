/* SPDX-License-Identifier: MIT */
/*
 * The bytes of messages: each is written by the sender, and read and checked by the reader.
 *
 * Word i is seed + i, and what is behind the last whole word is the lowest byte of the seed; so the
 * sum of all is known without a second pass. The compiler makes vectors of these loops, the same for
 * every system measured.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct payload_word {
    uint64_t v;
} __attribute__((packed, may_alias)); /* messages need not be aligned */

static inline void payload_fill(void *to, size_t size, uint64_t seed)
{
    struct payload_word *w = (struct payload_word *)to;
    size_t words = size / 8;

    for (size_t i = 0; i < words; i++)
        w[i].v = seed + i;
    for (size_t i = words * 8; i < size; i++)
        ((unsigned char *)to)[i] = (unsigned char)seed;
}

static inline uint64_t payload_sum(const void *from, size_t size)
{
    const struct payload_word *w = (const struct payload_word *)from;
    size_t words = size / 8;
    uint64_t sum = 0;

    for (size_t i = 0; i < words; i++)
        sum += w[i].v;
    for (size_t i = words * 8; i < size; i++)
        sum += ((const unsigned char *)from)[i];
    return sum;
}

/* What payload_sum() gives of what payload_fill() wrote. */
static inline uint64_t payload_expected(size_t size, uint64_t seed)
{
    uint64_t words = size / 8;

    return words * seed + words * (words - 1) / 2 + size % 8 * (unsigned char)seed;
}
