/* SPDX-License-Identifier: MIT */
/* shmd.conf, read whole and checked before any of it counts. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "name.h"
#include "paths.h"

#define CONFIG_ERROR_MAX 512

#define CONFIG_IDS_MAX 64 /* users and @groups in one list */
#define CONFIG_NAMESPACES_MAX 256
#define CONFIG_SEGMENTS_MAX 1024

/* Seconds, whoever asks for them. */
#define CONFIG_TTL_MAX (3650u * 86400)
#define CONFIG_LINGER_MAX (7u * 86400)

/* A user or, with '@', a group. */
struct config_ids {
    unsigned n;
    struct {
        bool is_group;
        uint32_t id;
    } list[CONFIG_IDS_MAX];
};

/* [namespace NAME] */
struct config_namespace {
    char name[NAMESPACE_SIZE];
    struct config_ids users; /* who may create: users = */
    gid_t group;             /* of new segments: group =; (gid_t)-1: the creator's own */
    uint32_t default_mode, max_mode; /* default: those of [policy] */
    uint32_t max_segments; /* UINT32_MAX: no limit of its own */
    uint64_t max_size;     /* bytes of all its segments together; UINT64_MAX */
    uint32_t lifetime;     /* enum wire_lifetime: lifetime = persistent, ephemeral or ttl */
    uint32_t ttl, linger;  /* seconds: ttl = 90, 30s, 10m, 2h, 7d; linger = likewise */
};

/* [segment NAMESPACE/NAME] */
struct config_segment {
    char name[NAME_SIZE]; /* NUL-padded */
    uint64_t size;        /* must be given */
    uid_t owner;          /* default: the user that shmd runs as, (uid_t)-1 */
    gid_t group;          /* default: of its declared namespace, else (gid_t)-1 */
    uint32_t mode;        /* default: of its declared namespace, else of [policy] */
    int32_t key;          /* 0: one of key_range */
    int failed;           /* why it could not be made last: the log has been told */
};

struct config {
    /* [shmd] */
    char user[64]; /* "": stay */
    char socket[SOCKET_PATH_MAX];
    uint32_t socket_mode;
    char socket_group[64]; /* "": the daemon's own */
    int log_level;
    uint32_t sweep; /* seconds between two looks at all segments: 1 to 3600 */
    /* [registry] */
    uint32_t capacity;
    bool public_view;
    uint32_t key_first, key_last;
    /* [policy] */
    struct config_ids admins;
    uint32_t default_mode, max_mode;
    bool fixed_keys;
    /* [limits] */
    uint64_t max_size, total_size;
    uint64_t size_per_user;      /* bytes, counted in whole pages */
    uint32_t segments_per_user;
    uint32_t connections, connections_per_user;
    uint32_t leases_per_connection, leases_per_user;
    uint32_t watches_per_user;
    uint32_t requests_per_second; /* of a user; 0: no limit */
    /* Owned by the config. */
    struct config_namespace *namespaces;
    unsigned n_namespaces;
    struct config_segment *segments;
    unsigned n_segments;
};

/* The built-in defaults: without namespaces and segments. */
void config_init(struct config *c);

/* Free what it owns. */
void config_done(struct config *c);

/* The declared namespace of that name (`len` letters of it), or NULL. */
const struct config_namespace *config_namespace(const struct config *c, const char *name,
                                                size_t len);

/*
 * Read `path` over the defaults into *c. A file that is not there is fine unless `must_exist`. 0,
 * or a negative errno with "file:line: reason" in `error`, and *c is not touched.
 */
int config_load(struct config *c, const char *path, bool must_exist, char error[CONFIG_ERROR_MAX]);
