/* SPDX-License-Identifier: MIT */
/* The bytes of messages: each is written by the sender, and read and checked by the reader. */
#pragma once

#include <stddef.h>
#include <stdint.h>

void payload_fill(void *to, size_t size, uint64_t seed);
uint64_t payload_sum(const void *from, size_t size);
/* What payload_sum() gives of what payload_fill() wrote. */
uint64_t payload_expected(size_t size, uint64_t seed);
