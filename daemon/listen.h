/* SPDX-License-Identifier: MIT */
/*
 * The socket in the file system. A lock beside it (PATH.lock), held for life, keeps a second shmd
 * out; the socket is made as PATH.new and renamed when it can be served, so that whoever sees it
 * can connect, and a stale one is replaced without a gap.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "paths.h"

#define LISTEN_PATH_MAX (SOCKET_PATH_MAX - 4) /* ".new" must fit too */
#define LISTEN_ERROR_MAX 256

struct listen {
    char path[PATH_MAX]; /* absolute, its folder resolved */
    int lock;
    int fd;
    bool passed; /* made by the service manager, and its to remove */
    bool published;
};
#define LISTEN_INIT {.lock = -1, .fd = -1}

/*
 * Take over a listening socket that the service manager made: listen_open and listen_publish then
 * leave it as it is. `path` is where it is, for listen_lock. 0 or a negative errno and a sentence.
 */
int listen_take(struct listen *l, int fd, char path[SOCKET_PATH_MAX], char error[LISTEN_ERROR_MAX]);

/* Take the lock. -EBUSY: another shmd serves this path; else what went wrong. `error` has a
 * sentence. */
int listen_lock(struct listen *l, const char *path, char error[LISTEN_ERROR_MAX]);

/* Make the socket and listen; `gid` (gid_t)-1: as it is. It is not visible until listen_publish. */
int listen_open(struct listen *l, mode_t mode, gid_t gid, char error[LISTEN_ERROR_MAX]);
int listen_publish(struct listen *l, char error[LISTEN_ERROR_MAX]);

/* Remove the socket, close all. The lock file stays: removing it would race with the next shmd. */
void listen_done(struct listen *l);
