/* SPDX-License-Identifier: MIT */
/* The calls about the broker itself. */
#include "handle.h"

EXPORT int shmd_ping(struct shmd *s, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};

    return call(s, &(struct question){.op = OP_PING}, NULL, 0, &d);
}

EXPORT int shmd_broker(struct shmd *s, struct shmd_broker *ret, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    struct wire_info info;
    int r = call(s, &(struct question){.op = OP_INFO}, &info, sizeof(info), &d);

    if (r < 0)
        return r;
    *ret = (struct shmd_broker){
        .pid = (pid_t)info.pid,
        .uid = info.uid,
        .generation = info.generation,
        .started = (int64_t)info.started,
        .uptime = info.uptime,
        .segments = info.segments,
        .bytes = info.bytes,
        .requests = info.requests,
        .refused = info.refused,
        .connections = info.connections,
        .leases = info.leases,
        .max_size = info.max_size,
        .max_segments = info.capacity,
        .max_connections = info.max_connections,
        .max_connections_user = info.max_connections_user,
        .max_leases = info.max_leases,
        .max_mode = info.max_mode,
        .registry_shmid = info.registry_shmid,
        .key_first = info.key_first,
        .key_last = info.key_last,
        .total_size = info.total_size,
        .user_bytes = info.user_bytes,
        .max_user_bytes = info.max_user_bytes,
        .user_segments = info.user_segments,
        .max_user_segments = info.max_user_segments,
        .user_connections = info.user_connections,
        .user_leases = info.user_leases,
        .max_user_leases = info.max_user_leases,
        .max_user_requests = info.max_user_requests,
        .watches = info.watches,
        .max_user_watches = info.max_user_watches,
    };
    text_printable(ret->version, info.version_text, sizeof(ret->version));
    return 0;
}
