/* SPDX-License-Identifier: MIT */
/*
 * Finding the registry segment at start, and making one.
 *
 * Its key follows from the socket's path. As anybody can work the key out and take it first, there
 * are several: all are looked at, those of other creators passed over, and a new registry takes the
 * first free one. Where somebody has taken them all, it gets a random key of the same range, and is
 * found by its creator and the socket's hash in its header.
 */
#pragma once

#include "table.h"

/*
 * Keys of registries. shmd gives a client's segment none of these, so a segment of ours with such a
 * key is no client's: the key is the one thing that the owner of a segment cannot change.
 */
#define LOCATE_KEY_FIRST 0x52000000u
#define LOCATE_KEY_LAST 0x52ffffffu

#define LOCATE_ERROR_MAX 256

struct located {
    int shmid; /* -1: none */
    int32_t key;
    uint64_t size;
    void *segment; /* mapped */
};

/*
 * The registry of `socket`, of this layout or an earlier one: 0, also with shmid -1 where there is
 * none yet. With a sentence, and nothing touched: -EPROTONOSUPPORT, one of a later layout; -EBUSY,
 * one whose daemon lives; or why ours cannot be attached.
 */
int locate_find(const struct sysv_ops *sysv, const char *socket, struct located *ret,
                char error[LOCATE_ERROR_MAX]);

/* Make one, laid out and empty but not valid before locate_finish(). */
int locate_make(const struct sysv_ops *sysv, const char *socket, uint32_t capacity, uint64_t epoch,
                struct located *ret, char error[LOCATE_ERROR_MAX]);
void locate_finish(struct located *l);

/* Unmap; remove as well. */
void locate_drop(const struct sysv_ops *sysv, struct located *l);
void locate_destroy(const struct sysv_ops *sysv, struct located *l);

/* Likewise, but first tell who still has it mapped that it tells nothing any more. */
void locate_retire(const struct sysv_ops *sysv, struct located *l);
