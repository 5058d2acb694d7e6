/* SPDX-License-Identifier: MIT */
/*
 * Names of segments. A full name is NAMESPACE/NAME; a plain NAME means the caller's own namespace,
 * which is the login (or, where there is no usable login, the uid in decimal).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define NAME_SIZE 128      /* bytes of a full name with its NUL */
#define NAMESPACE_SIZE 64  /* bytes of a namespace with its NUL */

/* Is `ns` (or the part behind the slash) of legal length and letters? */
bool name_valid_namespace(const char *ns);
bool name_valid_part(const char *part);

/*
 * Put `ns` in front of a name that has no namespace, unchecked: `out` is NUL-padded. -EINVAL where
 * it is too long. For look-ups, which find no name that is not legal.
 */
int name_complete(const char *name, const char *ns, char out[NAME_SIZE]);

/*
 * Write the full name of `name` to `out` (NUL-padded to NAME_SIZE), with `ns` put in front where
 * it has none. Returns 0, or -EINVAL and *why: what is wrong with it, as half a sentence.
 */
int name_resolve(const char *name, const char *ns, char out[NAME_SIZE], const char **why);

/* Does a full name match? '*' stands for any letters, '?' for one; both match a slash too. */
bool name_matches(const char *pattern, const char *full);

/* The length of the namespace of a full name. */
size_t name_namespace_len(const char *full);

/* The namespace of a user, from `login` (NULL where there is none); a login that is a number is
 * none. */
void name_of_user(uid_t uid, const char *login, char out[NAMESPACE_SIZE]);
