/* SPDX-License-Identifier: MIT */
/* Sections and keys of shmd.conf: what there is, and how each value is read. */
#include "config_keys.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "listen.h"
#include "locate.h"
#include "log.h"
#include "parse.h"
#include "registry.h"

int config_wrong(struct config_parser *p, const char *fmt, ...)
{
    va_list args;
    int n = snprintf(p->error, CONFIG_ERROR_MAX, "%s:%d: ", p->path, p->line);

    p->wrong = true;
    if (n > 0 && n < CONFIG_ERROR_MAX) {
        va_start(args, fmt);
        vsnprintf(p->error + n, (size_t)(CONFIG_ERROR_MAX - n), fmt, args);
        va_end(args);
    }
    return 0;
}

static int set_text(const char *value, char *to, size_t size)
{
    size_t len = strlen(value);

    if (len >= size)
        return -ERANGE;
    memcpy(to, value, len + 1);
    return 0;
}

static int set_u32(const char *value, uint64_t min, uint64_t max, uint32_t *to)
{
    uint64_t v;
    int r = parse_u64(value, max, &v);

    if (r == 0 && v < min)
        r = -ERANGE;
    if (r == 0)
        *to = (uint32_t)v;
    return r;
}

static int set_key_range(const char *value, struct config *c)
{
    char first[32];
    const char *dash = strchr(value, '-');
    int32_t a, b;

    if (!dash || (size_t)(dash - value) >= sizeof(first))
        return -EINVAL;
    memcpy(first, value, (size_t)(dash - value));
    first[dash - value] = 0;
    if (parse_key(first, &a) < 0 || parse_key(dash + 1, &b) < 0)
        return -EINVAL;
    if ((uint32_t)a > (uint32_t)b || (uint32_t)b - (uint32_t)a < 2 * REG_CAPACITY_MAX - 1)
        return -ERANGE;
    if ((uint32_t)a <= LOCATE_KEY_LAST && (uint32_t)b >= LOCATE_KEY_FIRST)
        return -EINVAL;
    c->key_first = (uint32_t)a;
    c->key_last = (uint32_t)b;
    return 0;
}

static int set_ids(const char *value, struct config_ids *ids)
{
    char copy[1024], *save = NULL;

    ids->n = 0;
    if (set_text(value, copy, sizeof(copy)) < 0)
        return -ERANGE;
    for (char *w = strtok_r(copy, " ,\t", &save); w; w = strtok_r(NULL, " ,\t", &save)) {
        bool group = *w == '@';
        uid_t id;
        int r = group ? parse_group(w + 1, &id) : parse_user(w, &id);

        if (r < 0)
            return r;
        if (ids->n == CONFIG_IDS_MAX)
            return -ERANGE;
        ids->list[ids->n].is_group = group;
        ids->list[ids->n++].id = id;
    }
    return 0;
}

static int set_user(const char *value, struct config *c)
{
    uid_t uid;

    return *value && parse_user(value, &uid) < 0 ? -ENOENT
                                                 : set_text(value, c->user, sizeof(c->user));
}

static int set_group(const char *value, struct config *c)
{
    gid_t gid;

    return *value && parse_group(value, &gid) < 0
               ? -ENOENT
               : set_text(value, c->socket_group, sizeof(c->socket_group));
}

static int set_log_level(const char *value, struct config *c)
{
    int level = log_level_from_text(value);

    if (level >= 0)
        c->log_level = level;
    return level < 0 ? level : 0;
}

static int set_socket(const char *value, struct config *c)
{
    return *value == '/' ? set_text(value, c->socket, LISTEN_PATH_MAX) : -EINVAL;
}

static int set_size(const char *value, uint64_t *to)
{
    uint64_t v;
    int r = parse_size(value, &v);

    if (r == 0 && v == 0)
        r = -ERANGE;
    if (r == 0)
        *to = v;
    return r;
}

static int set_time(const char *value, uint32_t min, uint32_t max, uint32_t *to)
{
    uint32_t v;
    int r = parse_duration(value, &v);

    if (r == 0 && (v < min || v > max))
        r = -ERANGE;
    if (r == 0)
        *to = v;
    return r;
}

/* Which line to show when the two modes turn out to contradict each other. */
static int set_policy_mode(struct config_parser *p, const char *value, uint32_t *to)
{
    p->modes_line = p->line;
    return parse_mode(value, to);
}

static int set_lifetime(const char *value, struct config_namespace *ns)
{
    static const char *const names[] = {
        [LIFETIME_PERSISTENT] = "persistent", [LIFETIME_EPHEMERAL] = "ephemeral",
        [LIFETIME_TTL] = "ttl"};

    for (uint32_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(value, names[i]) == 0) {
            ns->lifetime = i;
            return 0;
        }
    return -EINVAL;
}

#define KEYS(X) \
    X(shmd, user, set_user(v, c), "an existing user") \
    X(shmd, socket, set_socket(v, c), "an absolute path of at most 103 bytes") \
    X(shmd, socket_mode, parse_mode(v, &c->socket_mode), "octal permission bits") \
    X(shmd, socket_group, set_group(v, c), "an existing group") \
    X(shmd, log_level, set_log_level(v, c), "error, warning, notice, info or debug") \
    X(shmd, sweep, set_time(v, 1, 3600, &c->sweep), "1s to 1h") \
    X(registry, capacity, set_u32(v, 1, REG_CAPACITY_MAX, &c->capacity), "1 to 32768") \
    X(registry, public, parse_bool(v, &c->public_view), "yes or no") \
    X(registry, key_range, set_key_range(v, c), \
      "FIRST-LAST, two keys at least 65535 apart, none of 0x52000000-0x52ffffff (registries)") \
    X(policy, administrators, set_ids(v, &c->admins), "up to 64 existing users and @groups") \
    X(policy, default_mode, set_policy_mode(p, v, &c->default_mode), "octal permission bits") \
    X(policy, max_mode, set_policy_mode(p, v, &c->max_mode), "octal permission bits") \
    X(policy, fixed_keys, parse_bool(v, &c->fixed_keys), "yes or no") \
    X(limits, max_size, set_size(v, &c->max_size), "bytes, as 64K or 1GiB") \
    X(limits, total_size, set_size(v, &c->total_size), "bytes, as 64K or 1GiB") \
    X(limits, size_per_user, set_size(v, &c->size_per_user), "bytes, as 64K or 1GiB") \
    X(limits, segments_per_user, set_u32(v, 1, 1000000, &c->segments_per_user), "1 to 1000000") \
    X(limits, connections, set_u32(v, 1, 1000000, &c->connections), "1 to 1000000") \
    X(limits, connections_per_user, set_u32(v, 1, 1000000, &c->connections_per_user), \
      "1 to 1000000") \
    X(limits, leases_per_connection, set_u32(v, 0, 1000000, &c->leases_per_connection), \
      "0 to 1000000") \
    X(limits, leases_per_user, set_u32(v, 0, 1000000, &c->leases_per_user), "0 to 1000000") \
    X(limits, watches_per_user, set_u32(v, 0, 1000000, &c->watches_per_user), "0 to 1000000") \
    X(limits, requests_per_second, set_u32(v, 0, 1000000000, &c->requests_per_second), \
      "0 (no limit) to 1000000000") \
    X(namespace, users, set_ids(v, &ns->users), "up to 64 existing users and @groups") \
    X(namespace, group, parse_group(v, &ns->group), "an existing group") \
    X(namespace, default_mode, parse_mode(v, &ns->default_mode), "octal permission bits") \
    X(namespace, max_mode, parse_mode(v, &ns->max_mode), "octal permission bits") \
    X(namespace, max_segments, set_u32(v, 0, 1000000, &ns->max_segments), "0 to 1000000") \
    X(namespace, max_size, set_size(v, &ns->max_size), "bytes, as 64K or 1GiB") \
    X(namespace, lifetime, set_lifetime(v, ns), "persistent, ephemeral or ttl") \
    X(namespace, ttl, set_time(v, 0, CONFIG_TTL_MAX, &ns->ttl), "a time of 1s to 3650d") \
    X(namespace, linger, set_time(v, 0, CONFIG_LINGER_MAX, &ns->linger), "a time of at most 7d") \
    X(segment, size, set_size(v, &sg->size), "bytes, as 64K or 1GiB") \
    X(segment, owner, parse_user(v, &sg->owner), "an existing user") \
    X(segment, group, parse_group(v, &sg->group), "an existing group") \
    X(segment, mode, parse_mode(v, &sg->mode), "octal permission bits") \
    X(segment, key, parse_key(v, &sg->key), "a System V key, as 0x1234")

/* The keys of sections that may come several times are counted from their start anew. */
static void forget_seen(struct config_parser *p, const char *section)
{
    unsigned number = 0;

#define FORGET(SECTION, KEY, SET, EXPECTED) \
    if (strcmp(section, #SECTION) == 0) \
        p->seen &= ~(1ull << number); \
    number++;
    KEYS(FORGET)
#undef FORGET
}

/* A section that stands once: which one, or -ENOENT. */
static int fixed_section(const char *name)
{
    static const char *const names[] = {"shmd", "registry", "policy", "limits"};

    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return (int)i;
    return -ENOENT;
}

/* Room for one more of `n` in two arrays that go together. */
static bool grow(void **array, size_t size, int **lines, unsigned n)
{
    void *more = reallocarray(*array, n + 1, size);
    int *more_lines = more ? reallocarray(*lines, n + 1, sizeof(**lines)) : NULL;

    if (more)
        *array = more;
    if (more_lines)
        *lines = more_lines;
    return more && more_lines;
}

static int begin_namespace(struct config_parser *p, const char *name)
{
    struct config *c = &p->config;

    if (!name_valid_namespace(name))
        return config_wrong(p,
                            "[namespace %s]: a namespace has letters, digits and ._-@+$, and does "
                            "not start with '.' or '-'",
                            name);
    if (config_namespace(c, name, strlen(name)))
        return config_wrong(p, "[namespace %s] is there a second time", name);
    if (c->n_namespaces == CONFIG_NAMESPACES_MAX)
        return config_wrong(p, "there can be at most %d namespaces", CONFIG_NAMESPACES_MAX);
    if (!grow((void **)&c->namespaces, sizeof(*c->namespaces), &p->namespace_line, c->n_namespaces))
        return config_wrong(p, "out of memory");

    struct config_namespace *ns = &c->namespaces[c->n_namespaces];

    *ns = (struct config_namespace){
        .group = (gid_t)-1, .default_mode = CONFIG_MODE_UNSET, .max_mode = CONFIG_MODE_UNSET,
        .max_segments = UINT32_MAX, .max_size = UINT64_MAX,
    };
    memcpy(ns->name, name, strlen(name));
    p->namespace_line[c->n_namespaces++] = p->line;
    p->kind = KIND_NAMESPACE;
    forget_seen(p, "namespace");
    return 1;
}

static int begin_segment(struct config_parser *p, const char *name)
{
    struct config *c = &p->config;
    char full[NAME_SIZE];
    const char *why;

    if (!strchr(name, '/'))
        return config_wrong(p, "[segment %s]: a declared segment is NAMESPACE/NAME", name);
    if (name_resolve(name, "", full, &why) < 0)
        return config_wrong(p, "[segment %s]: %s", name, why);
    for (unsigned i = 0; i < c->n_segments; i++)
        if (memcmp(c->segments[i].name, full, NAME_SIZE) == 0)
            return config_wrong(p, "[segment %s] is there a second time", name);
    if (c->n_segments == CONFIG_SEGMENTS_MAX)
        return config_wrong(p, "there can be at most %d segments", CONFIG_SEGMENTS_MAX);
    if (!grow((void **)&c->segments, sizeof(*c->segments), &p->segment_line, c->n_segments))
        return config_wrong(p, "out of memory");

    struct config_segment *sg = &c->segments[c->n_segments];

    *sg = (struct config_segment){
        .owner = (uid_t)-1, .group = (gid_t)-1, .mode = CONFIG_MODE_UNSET};
    memcpy(sg->name, full, NAME_SIZE);
    p->segment_line[c->n_segments++] = p->line;
    p->kind = KIND_SEGMENT;
    forget_seen(p, "segment");
    return 1;
}

int config_section(struct config_parser *p, const char *name)
{
    if (strlen(name) >= sizeof(p->section))
        return config_wrong(p, "there is no section [%.20s...]", name);
    snprintf(p->section, sizeof(p->section), "%s", name);
    if (strncmp(name, "namespace ", 10) == 0)
        return begin_namespace(p, name + 10);
    if (strncmp(name, "segment ", 8) == 0)
        return begin_segment(p, name + 8);

    int fixed = fixed_section(name);

    if (fixed < 0)
        return config_wrong(p, "there is no section [%s]", name);
    if (p->fixed_seen & 1u << fixed)
        return config_wrong(p, "[%s] is there a second time", name);
    p->fixed_seen |= 1u << fixed;
    p->kind = KIND_FIXED;
    return 1;
}

int config_value(struct config_parser *p, const char *key, const char *v)
{
    struct config *c = &p->config;
    struct config_namespace *ns =
        p->kind == KIND_NAMESPACE ? &c->namespaces[c->n_namespaces - 1] : NULL;
    struct config_segment *sg = p->kind == KIND_SEGMENT ? &c->segments[c->n_segments - 1] : NULL;
    const char *section = ns ? "namespace" : sg ? "segment" : p->section;
    unsigned number = 0;

    if (p->kind == KIND_NONE)
        return config_wrong(p, "%s stands before the first [section]", key);
#define CHECK(SECTION, KEY, SET, EXPECTED) \
    if (strcmp(section, #SECTION) == 0 && strcmp(key, #KEY) == 0) { \
        if (p->seen & 1ull << number) \
            return config_wrong(p, "%s is set a second time", key); \
        p->seen |= 1ull << number; \
        return (SET) < 0 ? config_wrong(p, "%s = %s: expected %s", key, v, EXPECTED) : 1; \
    } \
    number++;
    KEYS(CHECK)
#undef CHECK
    return config_wrong(p, "there is no setting %s in [%s]", key, p->section);
}
