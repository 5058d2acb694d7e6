/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <ini.h>
#include <stdarg.h>
#include <string.h>

#include "listen.h"
#include "locate.h"
#include "log.h"
#include "parse.h"
#include "registry.h"
#include "util.h"

struct parser {
    struct config config;
    const char *path;
    char *error;
    FILE *file;
    int line;   /* being read */
    bool wrong; /* `error` is written: what follows is passed over */
    uint64_t seen;
};

static int SHMD_PRINTF(2, 3) fail(struct parser *p, const char *fmt, ...)
{
    va_list args;
    int n = snprintf(p->error, CONFIG_ERROR_MAX, "%s:%d: ", p->path, p->line);

    p->wrong = true;
    if (n > 0 && n < CONFIG_ERROR_MAX) {
        va_start(args, fmt);
        vsnprintf(p->error + n, (size_t)(CONFIG_ERROR_MAX - n), fmt, args);
        va_end(args);
    }
    return 0; /* what inih takes for an error */
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

static int set_admins(const char *value, struct config *c)
{
    char copy[1024], *save = NULL;

    c->n_admins = 0;
    if (set_text(value, copy, sizeof(copy)) < 0)
        return -ERANGE;
    for (char *w = strtok_r(copy, " ,\t", &save); w; w = strtok_r(NULL, " ,\t", &save)) {
        bool group = *w == '@';
        uid_t id;
        int r = group ? parse_group(w + 1, &id) : parse_user(w, &id);

        if (r < 0)
            return r;
        if (c->n_admins == CONFIG_ADMINS_MAX)
            return -ERANGE;
        c->admins[c->n_admins].is_group = group;
        c->admins[c->n_admins++].id = id;
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

#define KEYS(X) \
    X(shmd, user, set_user(v, c), "an existing user") \
    X(shmd, socket, set_socket(v, c), "an absolute path of at most 103 bytes") \
    X(shmd, socket_mode, parse_mode(v, &c->socket_mode), "octal permission bits") \
    X(shmd, socket_group, set_group(v, c), "an existing group") \
    X(shmd, log_level, set_log_level(v, c), "error, warning, notice, info or debug") \
    X(registry, capacity, set_u32(v, 1, REG_CAPACITY_MAX, &c->capacity), "1 to 32768") \
    X(registry, public, parse_bool(v, &c->public_view), "yes or no") \
    X(registry, key_range, set_key_range(v, c), "FIRST-LAST, two keys at least 65535 apart, none of 0x52000000-0x52ffffff (registries)") \
    X(policy, administrators, set_admins(v, c), "up to 64 existing users and @groups") \
    X(policy, default_mode, parse_mode(v, &c->default_mode), "octal permission bits") \
    X(policy, max_mode, parse_mode(v, &c->max_mode), "octal permission bits") \
    X(policy, fixed_keys, parse_bool(v, &c->fixed_keys), "yes or no") \
    X(limits, max_size, set_size(v, &c->max_size), "bytes, as 64K or 1GiB") \
    X(limits, total_size, set_size(v, &c->total_size), "bytes, as 64K or 1GiB") \
    X(limits, connections, set_u32(v, 1, 1000000, &c->connections), "1 to 1000000") \
    X(limits, connections_per_user, set_u32(v, 1, 1000000, &c->connections_per_user), "1 to 1000000") \
    X(limits, leases_per_connection, set_u32(v, 0, 1000000, &c->leases_per_connection), "0 to 1000000")

static int on_value(void *data, const char *section, const char *key, const char *value)
{
    struct parser *p = data;
    bool known_section = false;
    unsigned number = 0;

    if (p->wrong)
        return 1;
#define CHECK(SECTION, KEY, SET, EXPECTED) \
    if (strcmp(section, #SECTION) == 0) { \
        known_section = true; \
        if (strcmp(key, #KEY) == 0) { \
            const char *v = value; \
            struct config *c = &p->config; \
            if (p->seen & 1ull << number) \
                return fail(p, "%s is set a second time", key); \
            p->seen |= 1ull << number; \
            if ((SET) < 0) \
                return fail(p, "%s = %s: expected %s", key, value, EXPECTED); \
            return 1; \
        } \
    } \
    number++;
    KEYS(CHECK)
#undef CHECK
    if (!*section)
        return fail(p, "%s stands before the first [section]", key);
    if (!known_section)
        return fail(p, "there is no section [%s]", section);
    return fail(p, "there is no setting %s in [%s]", key, section);
}

/* inih tells a handler no line numbers, and cuts a line that is too long in two. */
static char *read_line(char *buf, int size, void *data)
{
    struct parser *p = data;

    if (p->wrong || !fgets(buf, size, p->file))
        return NULL;
    p->line++;
    if (!strchr(buf, '\n') && !feof(p->file))
        fail(p, "a line has at most %d characters", size - 2);
    return p->wrong ? NULL : buf;
}

void config_init(struct config *c)
{
    *c = (struct config){
        .socket = SOCKET_SYSTEM,
        .socket_mode = 0660,
        .log_level = LOG_INFO,
        .capacity = REG_CAPACITY_DEFAULT,
        .public_view = true,
        .key_first = 0x53000000,
        .key_last = 0x53ffffff,
        .default_mode = 0600,
        .max_mode = 0660,
        .fixed_keys = true,
        .max_size = 1ull << 40,
        .total_size = 32ull << 40,
        .connections = 4096,
        .connections_per_user = 1024,
        .leases_per_connection = 1024,
    };
}

int config_load(struct config *c, const char *path, bool must_exist, char error[CONFIG_ERROR_MAX])
{
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    struct parser p = {.path = path, .error = error, .file = f};

    config_init(&p.config);
    if (!f && errno == ENOENT && !must_exist) {
        *c = p.config;
        return 0;
    }
    if (!f) {
        int r = -errno;

        snprintf(error, CONFIG_ERROR_MAX, "%s: %s", path, strerror(errno));
        return r;
    }

    int line = ini_parse_stream(read_line, &p, on_value, &p);

    if (!p.wrong && line > 0) {
        p.line = line;
        fail(&p, "neither [section], key = value nor a comment");
    }
    if (p.wrong)
        return -EINVAL;
    if (line < 0)
        return -ENOMEM;
    if (ferror(f)) {
        snprintf(error, CONFIG_ERROR_MAX, "%s: cannot be read", path);
        return -EIO;
    }
    if (p.config.default_mode & ~p.config.max_mode) {
        snprintf(error, CONFIG_ERROR_MAX, "%s: default_mode %04o has bits that max_mode %04o denies",
                 path, p.config.default_mode, p.config.max_mode);
        return -EINVAL;
    }
    *c = p.config;
    return 0;
}
