/* SPDX-License-Identifier: MIT */
#include "parse.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <math.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util.h"

static int parse_based(const char *text, int base, uint64_t max, uint64_t *ret)
{
    char *end;

    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    errno = 0;

    unsigned long long v = strtoull(text, &end, base);

    if (*end)
        return -EINVAL;
    if (errno == ERANGE || v > max)
        return -ERANGE;
    *ret = v;
    return 0;
}

int parse_u64(const char *text, uint64_t max, uint64_t *ret)
{
    return parse_based(text, 0, max, ret);
}

int parse_size(const char *text, uint64_t *ret)
{
    static const struct {
        const char *suffix;
        uint64_t unit;
    } units[] = {
        {"", 1},
        {"B", 1},
        {"K", 1ull << 10}, {"KiB", 1ull << 10}, {"KB", 1000ull},
        {"M", 1ull << 20}, {"MiB", 1ull << 20}, {"MB", 1000000ull},
        {"G", 1ull << 30}, {"GiB", 1ull << 30}, {"GB", 1000000000ull},
        {"T", 1ull << 40}, {"TiB", 1ull << 40}, {"TB", 1000000000000ull},
    };
    char *end;

    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    errno = 0;

    unsigned long long v = strtoull(text, &end, 10);

    if (errno == ERANGE)
        return -ERANGE;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcasecmp(end, units[i].suffix) != 0)
            continue;
        if (v > UINT64_MAX / units[i].unit)
            return -ERANGE;
        *ret = v * units[i].unit;
        return 0;
    }
    return -EINVAL;
}

int parse_mode(const char *text, uint32_t *ret)
{
    uint64_t v;
    int r = parse_based(text, 8, 0777, &v);

    if (r == 0)
        *ret = (uint32_t)v;
    return r;
}

int parse_key(const char *text, int32_t *ret)
{
    uint64_t v;
    int r = parse_u64(text, UINT32_MAX, &v);

    if (r == 0 && v == 0)
        r = -EINVAL;
    if (r == 0)
        *ret = (int32_t)(uint32_t)v;
    return r;
}

int parse_timeout(const char *text, int *ret_ms)
{
    char *end;

    if (strcmp(text, "none") == 0) {
        *ret_ms = -1;
        return 0;
    }
    if (!isdigit((unsigned char)*text) && *text != '.')
        return -EINVAL;

    double seconds = strtod(text, &end);

    if (*end || !isfinite(seconds))
        return -EINVAL;
    if (seconds > INT_MAX / 1000)
        return -ERANGE;
    *ret_ms = (int)(seconds * 1000);
    return 0;
}

int parse_duration(const char *text, uint32_t *ret_seconds)
{
    static const struct {
        const char *suffix;
        uint64_t unit;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    char *end;

    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    errno = 0;

    unsigned long long v = strtoull(text, &end, 10);
    bool too_long = errno == ERANGE;

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(end, units[i].suffix) != 0)
            continue;
        if (too_long || v > UINT32_MAX / units[i].unit)
            return -ERANGE;
        *ret_seconds = (uint32_t)(v * units[i].unit);
        return 0;
    }
    return -EINVAL;
}

int parse_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        bool is_yes = strcasecmp(text, yes[i]) == 0;

        if (is_yes || strcasecmp(text, no[i]) == 0) {
            *ret = is_yes;
            return 0;
        }
    }
    return -EINVAL;
}

int parse_user(const char *text, uid_t *ret)
{
    struct passwd *pw = getpwnam(text);
    uint64_t v;

    if (!pw && parse_based(text, 10, UINT32_MAX - 1, &v) < 0)
        return -ENOENT;
    *ret = pw ? pw->pw_uid : (uid_t)v;
    return 0;
}

int parse_group(const char *text, gid_t *ret)
{
    struct group *gr = getgrnam(text);
    uint64_t v;

    if (!gr && parse_based(text, 10, UINT32_MAX - 1, &v) < 0)
        return -ENOENT;
    *ret = gr ? gr->gr_gid : (gid_t)v;
    return 0;
}

int parse_target(const char *text, struct wire_target *ret)
{
    struct wire_target t = {0};
    uint64_t v;
    int r;

    if (strncmp(text, "key:", 4) == 0) {
        t.by = BY_KEY;
        r = parse_key(text + 4, &t.id);
    } else if (strncmp(text, "id:", 3) == 0) {
        t.by = BY_SHMID;
        r = parse_based(text + 3, 10, INT32_MAX, &v);
        if (r == 0)
            t.id = (int32_t)v;
    } else {
        r = 0;
    }
    if (r == 0)
        *ret = t;
    return r;
}
