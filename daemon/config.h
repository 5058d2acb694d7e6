/* SPDX-License-Identifier: MIT */
/* shmd.conf, read whole and checked before any of it counts. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "paths.h"

#define CONFIG_ERROR_MAX 512
#define CONFIG_ADMINS_MAX 64

struct config {
    /* [shmd] */
    char user[64]; /* "": stay */
    char socket[SOCKET_PATH_MAX];
    uint32_t socket_mode;
    char socket_group[64]; /* "": the daemon's own */
    int log_level;
    /* [registry] */
    uint32_t capacity;
    bool public_view;
    uint32_t key_first, key_last;
    /* [policy] */
    struct {
        bool is_group;
        uint32_t id;
    } admins[CONFIG_ADMINS_MAX];
    unsigned n_admins;
    uint32_t default_mode, max_mode;
    bool fixed_keys;
    /* [limits] */
    uint64_t max_size, total_size;
    uint32_t connections, connections_per_user, leases_per_connection;
};

/* The built-in defaults. */
void config_init(struct config *c);

/*
 * Read `path` over the defaults into *c. A file that is not there is fine unless `must_exist`. 0, or a
 * negative errno with "file:line: reason" in `error`, and *c is not touched.
 */
int config_load(struct config *c, const char *path, bool must_exist, char error[CONFIG_ERROR_MAX]);
