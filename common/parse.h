/* SPDX-License-Identifier: MIT */
/* Texts that people write, into numbers: whole, in range, or -EINVAL / -ERANGE and nothing
 * stored. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol.h"

/* A whole number in decimal, 0x hex or 0 octal, at most `max`. */
int parse_u64(const char *text, uint64_t max, uint64_t *ret);

/* Bytes: 4096, 64K, 1M, 2GiB (powers of 1024; KB, MB, GB, TB are powers of 1000). */
int parse_size(const char *text, uint64_t *ret);

/* Permission bits in octal, 0 to 0777. */
int parse_mode(const char *text, uint32_t *ret);

/* A System V key: 0x hex or decimal, any 32 bits but IPC_PRIVATE (0). */
int parse_key(const char *text, int32_t *ret);

/* Milliseconds from seconds with an optional fraction ("1.5"); "none": -1. */
int parse_timeout(const char *text, int *ret_ms);

/* Seconds from 90, 90s, 10m, 2h or 7d. */
int parse_duration(const char *text, uint32_t *ret_seconds);

int parse_bool(const char *text, bool *ret);

/* Login or number to uid; group or number to gid. -ENOENT where there is none. */
int parse_user(const char *text, uid_t *ret);
int parse_group(const char *text, gid_t *ret);

/*
 * How people point at a segment: NAME or NAMESPACE/NAME, key:0x1234, id:42. A name is not looked
 * into: its letters are checked where it is resolved. -EINVAL, -ERANGE.
 */
int parse_target(const char *text, struct wire_target *ret);
