/* SPDX-License-Identifier: MIT */
/* Any file is a configuration, whole and in range, or refused with a sentence and without a leak. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"
#include "name.h"
#include "protocol.h"
#include "registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool sane_namespace(const struct config_namespace *ns)
{
    return name_valid_namespace(ns->name) && ns->users.n <= CONFIG_IDS_MAX &&
           !(ns->default_mode & ~ns->max_mode) && ns->max_mode <= 0777 &&
           (ns->lifetime == LIFETIME_TTL) == (ns->ttl > 0) &&
           (ns->linger == 0 || ns->lifetime == LIFETIME_EPHEMERAL);
}

static bool sane_segment(const struct config *c, const struct config_segment *s)
{
    char full[NAME_SIZE];
    const char *why;
    uint32_t key = (uint32_t)s->key;

    return name_resolve(s->name, "", full, &why) == 0 && memcmp(full, s->name, NAME_SIZE) == 0 &&
           s->size > 0 && s->size <= c->max_size && s->mode <= 0777 &&
           (key == 0 || key < c->key_first || key > c->key_last);
}

static bool sane(const struct config *c)
{
    bool ok = c->capacity > 0 && c->capacity <= REG_CAPACITY_MAX && c->key_first <= c->key_last &&
              !(c->default_mode & ~c->max_mode) && c->admins.n <= CONFIG_IDS_MAX &&
              c->max_size > 0 && c->sweep >= 1 && c->sweep <= 3600 &&
              c->n_namespaces <= CONFIG_NAMESPACES_MAX && c->n_segments <= CONFIG_SEGMENTS_MAX;

    for (unsigned i = 0; i < c->n_namespaces; i++)
        ok = ok && sane_namespace(&c->namespaces[i]);
    for (unsigned i = 0; i < c->n_segments; i++)
        ok = ok && sane_segment(c, &c->segments[i]);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], error[CONFIG_ERROR_MAX] = "";
    int fd = memfd_create("config", MFD_CLOEXEC);
    struct config c, before;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    config_init(&c);
    before = c;

    int r = config_load(&c, path, true, error);

    if (r < 0 && (!*error || memcmp(&c, &before, sizeof(c)) != 0))
        abort();
    if (r == 0 && !sane(&c))
        abort();
    if (r == 0)
        config_done(&c);
    close(fd);
    return 0;
}
