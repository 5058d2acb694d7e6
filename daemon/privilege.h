/* SPDX-License-Identifier: MIT */
/* What the daemon may do, and who shares its group. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PRIVILEGE_ERROR_MAX 256

/*
 * Become the plain user `login` for good, and give it the (new) folder of `socket`. Does nothing
 * unless root calls. 0 or a negative errno and a sentence.
 */
int privilege_drop(const char *login, const char *socket, char error[PRIVILEGE_ERROR_MAX]);

/*
 * Is nobody but `uid` in group `gid`? The kernel lets the members of a creator's group use the
 * group bits of all its segments. Reads the user and group databases: may block.
 */
bool privilege_group_is_private(uid_t uid, gid_t gid);

/* When a process started, in clock ticks since boot; 0: it is not there, or dead and not yet
 * reaped. */
uint64_t process_start(pid_t pid);
bool process_lives(pid_t pid, uint64_t start);

/* Let there be descriptors for `connections`; returns for how many the hard limit allows. */
unsigned privilege_raise_files(unsigned connections);
