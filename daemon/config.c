/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "config_keys.h"
#include "locate.h"
#include "log.h"
#include "protocol.h"
#include "registry.h"

static int on_value(void *data, const char *section, const char *key, const char *value)
{
    struct config_parser *p = data;

    (void)section; /* read_line() saw it begin */
    return p->wrong ? 1 : config_value(p, key, value);
}

/*
 * inih cuts the name of a section at 49 letters, tells of one only with its first key, and of a
 * second one of the same name not at all. So it is read here.
 */
static void read_section(struct config_parser *p, char *line)
{
    char *end = strchr(line, ']');
    const char *rest = end ? end + 1 + strspn(end + 1, " \t\r\n") : "";

    if (!end || (*rest && (*rest != ';' || rest == end + 1))) {
        config_wrong(p, "neither [section], key = value nor a comment");
        return;
    }

    char saved = *end;

    *end = 0;
    config_section(p, line + 1);
    *end = saved;
}

/*
 * inih tells a handler no line numbers, cuts a line that is too long in two, and takes an indented
 * one for more of the value before it.
 */
static char *read_line(char *buf, int size, void *data)
{
    struct config_parser *p = data;
    static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8 */

    if (p->wrong || !fgets(buf, size, p->file))
        return NULL;
    p->line++;
    if (!strchr(buf, '\n') && !feof(p->file)) {
        config_wrong(p, "a line has at most %d characters", size - 2);
        return NULL;
    }

    size_t skip = p->line == 1 && strncmp(buf, mark, 3) == 0 ? 3 : 0;

    skip += strspn(buf + skip, " \t");
    memmove(buf, buf + skip, strlen(buf + skip) + 1);
    if (*buf == '[')
        read_section(p, buf);
    return p->wrong ? NULL : buf;
}

void config_init(struct config *c)
{
    *c = (struct config){
        .socket = SOCKET_SYSTEM,
        .socket_mode = 0660,
        .log_level = LOG_INFO,
        .sweep = 10,
        .capacity = REG_CAPACITY_DEFAULT,
        .public_view = true,
        .key_first = 0x53000000,
        .key_last = 0x53ffffff,
        .default_mode = 0600,
        .max_mode = 0660,
        .fixed_keys = true,
        .max_size = 1ull << 40,
        .total_size = 32ull << 40,
        .size_per_user = 8ull << 40,
        .segments_per_user = 1024,
        .connections = 4096,
        .connections_per_user = 1024,
        .leases_per_connection = 1024,
        .leases_per_user = 4096,
        .watches_per_user = 8,
    };
}

void config_done(struct config *c)
{
    free(c->namespaces);
    free(c->segments);
    c->namespaces = NULL;
    c->segments = NULL;
    c->n_namespaces = c->n_segments = 0;
}

const struct config_namespace *config_namespace(const struct config *c, const char *name,
                                                size_t len)
{
    for (unsigned i = 0; i < c->n_namespaces; i++)
        if (strlen(c->namespaces[i].name) == len && memcmp(c->namespaces[i].name, name, len) == 0)
            return &c->namespaces[i];
    return NULL;
}

/* What a namespace does not say follows from [policy], wherever in the file that stands. */
static void check_namespace(struct config_parser *p, struct config_namespace *ns)
{
    const struct config *c = &p->config;

    if (ns->max_mode == CONFIG_MODE_UNSET)
        ns->max_mode = c->max_mode;
    if (ns->default_mode == CONFIG_MODE_UNSET)
        ns->default_mode = c->default_mode & ns->max_mode;
    if (ns->default_mode & ~ns->max_mode)
        config_wrong(p, "[namespace %s]: default_mode %04o has bits that max_mode %04o denies",
                     ns->name, ns->default_mode, ns->max_mode);
    else if ((ns->lifetime == LIFETIME_TTL) != (ns->ttl > 0))
        config_wrong(p, "[namespace %s]: ttl goes with lifetime = ttl", ns->name);
    else if (ns->linger > 0 && ns->lifetime != LIFETIME_EPHEMERAL)
        config_wrong(p, "[namespace %s]: linger goes with lifetime = ephemeral", ns->name);
}

static bool key_is_taken(const struct config *c, const struct config_segment *sg)
{
    uint32_t key = (uint32_t)sg->key;

    for (const struct config_segment *before = c->segments; before != sg; before++)
        if (before->key == sg->key)
            return true;
    return (key >= c->key_first && key <= c->key_last) ||
           (key >= LOCATE_KEY_FIRST && key <= LOCATE_KEY_LAST);
}

static void check_segment(struct config_parser *p, struct config_segment *sg)
{
    const struct config *c = &p->config;
    const struct config_namespace *ns = config_namespace(c, sg->name, name_namespace_len(sg->name));
    uint32_t max_mode = ns ? ns->max_mode : c->max_mode;

    if (sg->mode == CONFIG_MODE_UNSET)
        sg->mode = ns ? ns->default_mode : c->default_mode;
    if (ns && sg->group == (gid_t)-1)
        sg->group = ns->group;
    if (sg->size == 0)
        config_wrong(p, "[segment %s]: its size is missing", sg->name);
    else if (sg->size > c->max_size)
        config_wrong(p, "[segment %s]: size %llu is beyond max_size %llu", sg->name,
                     (unsigned long long)sg->size, (unsigned long long)c->max_size);
    else if (sg->mode & ~max_mode)
        config_wrong(p, "[segment %s]: mode %04o has bits that max_mode %04o denies", sg->name,
                     sg->mode, max_mode);
    else if (sg->key != 0 && key_is_taken(c, sg))
        config_wrong(
            p,
            "[segment %s]: key 0x%08x is another segment's, or of key_range or the range of "
            "registries",
            sg->name, (unsigned)sg->key);
}

/* What a line alone does not show. */
static void check(struct config_parser *p)
{
    struct config *c = &p->config;

    p->line = p->modes_line;
    if (!p->wrong && c->default_mode & ~c->max_mode)
        config_wrong(p, "default_mode %04o has bits that max_mode %04o denies", c->default_mode,
                     c->max_mode);
    for (unsigned i = 0; i < c->n_namespaces && !p->wrong; i++) {
        p->line = p->namespace_line[i];
        check_namespace(p, &c->namespaces[i]);
    }
    for (unsigned i = 0; i < c->n_segments && !p->wrong; i++) {
        p->line = p->segment_line[i];
        check_segment(p, &c->segments[i]);
    }
}

static int read_all(struct config_parser *p)
{
    int line = ini_parse_stream(read_line, p, on_value, p);

    if (!p->wrong && line > 0) {
        p->line = line;
        config_wrong(p, "neither [section], key = value nor a comment");
    }
    if (!p->wrong && line < 0)
        config_wrong(p, "out of memory");
    if (ferror(p->file)) {
        snprintf(p->error, CONFIG_ERROR_MAX, "%s: cannot be read", p->path);
        return -EIO;
    }
    check(p);
    return p->wrong ? -EINVAL : 0;
}

int config_load(struct config *c, const char *path, bool must_exist, char error[CONFIG_ERROR_MAX])
{
    _cleanup_fclose_ FILE *f = fopen(path, "re");
    struct config_parser p = {.path = path, .error = error, .file = f};
    int r = f ? 0 : -errno;

    config_init(&p.config);
    if (f)
        r = read_all(&p);
    else if (r == -ENOENT && !must_exist)
        r = 0;
    else
        snprintf(error, CONFIG_ERROR_MAX, "%s: %s", path, strerror(-r));
    free(p.namespace_line);
    free(p.segment_line);
    if (r == 0)
        *c = p.config;
    else
        config_done(&p.config);
    return r;
}
