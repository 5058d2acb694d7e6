/* SPDX-License-Identifier: MIT */
#include "handle.h"

#include <stdarg.h>
#include <string.h>

#include "parse.h"

int handle_fail(struct shmd *s, int error, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(s->error, sizeof(s->error), fmt, args);
    va_end(args);
    return error;
}

int handle_timed_out(struct shmd *s, const struct deadline *d)
{
    return handle_fail(s, -ETIMEDOUT, "shmd at %s did not answer within %d ms", s->socket,
                       d->timeout_ms);
}

int handle_not_connected(struct shmd *s)
{
    return handle_fail(s, -ENOTCONN, "not connected to %s", s->socket);
}

bool target_is_name(const char *text)
{
    return strncmp(text, "key:", 4) != 0 && strncmp(text, "id:", 3) != 0;
}

int handle_target(struct shmd *s, const char *text, struct target *ret)
{
    struct target t = {.wire.by = BY_NAME};
    const char *why;

    if (!s->established)
        return handle_not_connected(s);
    if (!text)
        return handle_fail(s, -EINVAL, "no name was given");
    if (!target_is_name(text)) {
        if (parse_target(text, &t.wire) < 0)
            return handle_fail(s, -EINVAL, "a segment is NAME, NAMESPACE/NAME, key:0x1234 or "
                               "id:42");
    } else if (name_resolve(text, s->home, t.name, &why) < 0) {
        return handle_fail(s, -EINVAL, "%s", why);
    }
    *ret = t;
    return 0;
}

void text_printable(char *to, const void *from, size_t size)
{
    const unsigned char *c = from;
    size_t i;

    for (i = 0; i + 1 < size && c[i]; i++)
        to[i] = c[i] >= ' ' && c[i] <= '~' ? (char)c[i] : '?';
    to[i] = 0;
}

EXPORT int shmd_connect(struct shmd **ret, const char *socket, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    struct shmd *s = calloc(1, sizeof(*s));

    *ret = s;
    if (!s)
        return -ENOMEM;
    s->fd = s->passed = -1;
    s->number = number_take();
    if (socket_find(s->socket, socket) < 0)
        return handle_fail(s, -EINVAL, "the path of a socket has at most %d characters",
                           SOCKET_PATH_MAX - 1);

    int r = link_open(s, &d);

    /* A private broker that was killed leaves its socket behind: then the system's is meant. */
    if ((r == -ECONNREFUSED || r == -ENOENT) && !socket && !getenv("SHMD_SOCKET") &&
        strcmp(s->socket, SOCKET_SYSTEM) != 0) {
        snprintf(s->socket, sizeof(s->socket), "%s", SOCKET_SYSTEM);
        r = link_open(s, &d);
    }
    s->established = r == 0;
    return r;
}

static struct shmd *handle_free(struct shmd *s)
{
    link_close(s);
    directory_drop(s);
    number_give(s->number);
    free(s->rows);
    free(s);
    return NULL;
}

EXPORT struct shmd *shmd_disconnect(struct shmd *s)
{
    if (!s)
        return NULL;
    for (uint32_t i = 0; i < s->rows_size; i++)
        if (s->rows[i].address)
            shmdt(s->rows[i].address);
    return handle_free(s);
}

EXPORT struct shmd *shmd_abandon(struct shmd *s)
{
    return s ? handle_free(s) : NULL;
}

EXPORT const char *shmd_error(const struct shmd *s)
{
    return s ? s->error : "out of memory";
}

EXPORT const char *shmd_socket(const struct shmd *s)
{
    return s->socket;
}

EXPORT const char *shmd_namespace(const struct shmd *s)
{
    return s->home;
}
