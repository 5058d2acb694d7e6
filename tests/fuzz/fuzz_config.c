/* SPDX-License-Identifier: MIT */
/* Any file is a configuration, whole and in range, or refused with a sentence. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"
#include "registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    if (r == 0 &&
        (c.capacity == 0 || c.capacity > REG_CAPACITY_MAX || c.key_first > c.key_last ||
         c.default_mode & ~c.max_mode || c.admins.n > CONFIG_IDS_MAX || c.max_size == 0))
        abort();
    if (r == 0)
        config_done(&c);
    close(fd);
    return 0;
}
