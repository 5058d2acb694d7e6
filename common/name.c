/* SPDX-License-Identifier: MIT */
#include "name.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/*
 * Letters, digits and ._-@+$ as a bit each. '@', '+' and '$' occur in logins of directory services;
 * '/' parts a name, ':' marks key: and id:. A table, since every look-up passes here.
 */
static const uint64_t letters[4] = {0x03ff681000000000ull, 0x07fffffe87ffffffull, 0, 0};

static bool legal(const char *s, size_t len, size_t max)
{
    if (len == 0 || len > max || *s == '.' || *s == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        if (!(letters[c >> 6] >> (c & 63) & 1))
            return false;
    }
    return true;
}

bool name_valid_namespace(const char *ns)
{
    return legal(ns, strlen(ns), NAMESPACE_SIZE - 1);
}

bool name_valid_part(const char *part)
{
    return legal(part, strlen(part), NAME_SIZE - 1);
}

int name_complete(const char *name, const char *ns, char out[NAME_SIZE])
{
    size_t len = strlen(name), at = 0;

    memset(out, 0, NAME_SIZE);
    if (!memchr(name, '/', len)) {
        at = strnlen(ns, NAMESPACE_SIZE - 1);
        memcpy(out, ns, at);
        out[at++] = '/';
    }
    if (at + len >= NAME_SIZE)
        return -EINVAL;
    memcpy(out + at, name, len);
    return 0;
}

int name_resolve(const char *name, const char *ns, char out[NAME_SIZE], const char **why)
{
    size_t ns_len;

    if (!*name) {
        *why = "a name may not be empty";
        return -EINVAL;
    }
    if (name_complete(name, ns, out) < 0) {
        *why = "a full name has at most 127 characters";
        return -EINVAL;
    }
    ns_len = name_namespace_len(out);
    if (legal(out, ns_len, NAMESPACE_SIZE - 1) &&
        legal(out + ns_len + 1, strlen(out + ns_len + 1), NAME_SIZE - 1))
        return 0;
    *why =
        "a name is NAME or NAMESPACE/NAME of letters, digits and ._-@+$, and neither part starts "
        "with '.' or '-'";
    return -EINVAL;
}

/* On a mismatch only the last '*' may take one letter more: that is enough, and never slow. */
bool name_matches(const char *pattern, const char *full)
{
    const char *star = NULL, *taken = NULL;

    while (*full)
        if (*pattern == '*') {
            star = ++pattern;
            taken = full;
        } else if (*pattern == '?' || *pattern == *full) {
            pattern++;
            full++;
        } else if (star) {
            pattern = star;
            full = ++taken;
        } else {
            return false;
        }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

size_t name_namespace_len(const char *full)
{
    return strcspn(full, "/");
}

void name_of_user(uid_t uid, const char *login, char out[NAMESPACE_SIZE])
{
    /* Where a login is a number, its user and the one of that uid would share a namespace. */
    bool number = login && strspn(login, "0123456789") == strlen(login);

    if (login && !number && name_valid_namespace(login))
        snprintf(out, NAMESPACE_SIZE, "%s", login);
    else
        snprintf(out, NAMESPACE_SIZE, "%u", (unsigned)uid);
}
