/* SPDX-License-Identifier: MIT */
/* Where the sockets are. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define SOCKET_SYSTEM "/run/shmd/shmd.sock"
#define SOCKET_PATH_MAX 108 /* bytes of sun_path, with the NUL */

/*
 * The socket of the caller's private broker: $XDG_RUNTIME_DIR/shmd/shmd.sock, or without that
 * variable /tmp/shmd-UID/shmd.sock. With `create` its folder is made (0700). The folder must be a
 * real one, the caller's, and closed to everybody else: -EPERM otherwise; -ENOENT where it is not
 * there, -ENAMETOOLONG, or what mkdir said. The path is stored in any case but the third.
 */
int socket_private(char path[SOCKET_PATH_MAX], bool create);

/*
 * The socket a client talks to: `asked`, else $SHMD_SOCKET, else the private one if it is there,
 * else the system's. -ENAMETOOLONG.
 */
int socket_find(char path[SOCKET_PATH_MAX], const char *asked);
