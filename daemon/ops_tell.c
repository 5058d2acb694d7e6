/* SPDX-License-Identifier: MIT */
/* Handlers that only tell: the handshake, the state of segments and of the broker. */
#include <string.h>
#include <time.h>

#include "lifetime.h"
#include "ops.h"
#include "policy.h"
#include "segment.h"

int op_hello(struct request *rq)
{
    const struct wire_hello *w = rq->body;
    const struct broker *b = rq->broker;

    if (w->magic != WIRE_MAGIC)
        return request_fail(rq, -EPROTO, "this is shmd, and that was no client of its");
    if (w->version_min > WIRE_VERSION || w->version_max < WIRE_VERSION)
        return request_fail(rq, -EPROTONOSUPPORT,
                            "this shmd speaks protocol version %u, the client "
                            "%u to %u: bring both to the same release",
                            WIRE_VERSION, w->version_min, w->version_max);
    if (rq->caller->ready)
        return request_fail(rq, -EPROTO, "a second handshake on one connection");
    rq->caller->ready = true;

    struct wire_welcome *to = request_reply(rq, sizeof(*to));

    to->magic = WIRE_MAGIC;
    to->version = WIRE_VERSION;
    to->daemon_pid = b->table.header->daemon_pid;
    to->daemon_uid = (uint32_t)b->table.uid;
    to->ipc_namespace = b->ipc_namespace;
    to->generation = b->table.header->generation;
    to->registry_size = reg_segment_size(b->table.view.capacity);
    to->registry_shmid = b->config.public_view || rq->caller->uid == b->table.uid ? b->table.shmid
                                                                                   : -1;
    to->registry_capacity = b->table.view.capacity;
    snprintf(to->version_text, sizeof(to->version_text), "%s", SHMD_VERSION);
    memcpy(to->home, rq->caller->home, NAMESPACE_SIZE);
    return 0;
}

int op_ping(struct request *rq)
{
    (void)rq;
    return 0;
}

void ops_fill_segment(struct wire_segment *to, const struct broker *b, const struct reg_entry *e,
                      const struct shmid_ds *ds)
{
    memcpy(to->name, e->name, NAME_SIZE);
    to->instance = e->instance;
    to->size = ds->shm_segsz;
    to->nattch = ds->shm_nattch;
    to->atime = ds->shm_atime;
    to->dtime = ds->shm_dtime;
    to->ctime = ds->shm_ctime;
    to->created = e->created;
    to->shmid = table_shmid(e);
    to->key = segment_ds_key(ds);
    to->uid = ds->shm_perm.uid;
    to->gid = ds->shm_perm.gid;
    to->cuid = ds->shm_perm.cuid;
    to->cgid = ds->shm_perm.cgid;
    to->mode = ds->shm_perm.mode & 0777u;
    to->seq = ds->shm_perm.__seq;
    to->cpid = (uint32_t)ds->shm_cpid;
    to->lpid = (uint32_t)ds->shm_lpid;
    to->flags = (ds->shm_perm.mode & SHM_DEST ? SEGMENT_DEST : 0) |
                (ds->shm_perm.mode & SHM_LOCKED ? SEGMENT_LOCKED : 0) |
                (table_pin(&b->table, e) ? SEGMENT_PINNED : 0) |
                (e->flags & REG_EPHEMERAL ? SEGMENT_EPHEMERAL : 0) |
                (e->flags & REG_DECLARED ? SEGMENT_DECLARED : 0) |
                (e->flags & REG_CHANNEL ? SEGMENT_CHANNEL : 0);
    to->leases = e->leases;
    to->creator_uid = e->creator_uid;
    to->creator_pid = e->creator_pid;
    to->ttl = e->ttl;
    to->linger = e->linger;
    to->expires = lifetime_expires(b, e);
}

int op_stat(struct request *rq)
{
    struct reg_entry *e;
    struct shmid_ds ds;
    int r = ops_find(rq, rq->body, &e, &ds);

    if (r == 0)
        ops_fill_segment(request_reply(rq, sizeof(struct wire_segment)), rq->broker, e, &ds);
    return r;
}

static bool may_see(const struct request *rq, const struct shmid_ds *ds)
{
    return policy_may_see(rq->broker, rq->caller, &ds->shm_perm);
}

/* Entries passed for one request, so that an empty table costs nobody time, and segments looked
 * at, of which the caller may see none. */
#define LIST_STEPS 512
#define LIST_LOOKS 64u

/* A cursor is the index to go on from: entries do not move, so each is told once. */
int op_list(struct request *rq)
{
    const struct wire_list *w = rq->body;
    struct table *t = &rq->broker->table;
    struct wire_page *to = request_reply(rq, sizeof(*to));
    uint32_t i = MIN(w->cursor, t->view.capacity);
    uint32_t end = MIN(t->view.capacity, i + LIST_STEPS);

    for (; i < end && to->count < WIRE_PAGE_RECORDS && rq->broker->looks < LIST_LOOKS; i++) {
        struct reg_entry *e = &t->entry[i];
        struct shmid_ds ds;

        if (table_state(e) != REG_LIVE)
            continue;
        rq->broker->looks++;
        if (segment_check(t, e, &ds) < 0 || !may_see(rq, &ds))
            continue;
        memset(&to->records[to->count], 0, sizeof(to->records[0]));
        ops_fill_segment(&to->records[to->count++], rq->broker, e, &ds);
    }
    to->cursor = i < t->view.capacity ? i : 0;
    rq->reply_size += to->count * (uint32_t)sizeof(to->records[0]);
    return 0;
}

/* What all users have together tells of the others, whom not everybody may see. */
static void fill_totals(struct wire_info *to, const struct broker *b)
{
    to->segments = b->table.header->used;
    to->bytes = b->table.bytes;
    to->requests = b->requests;
    to->refused = b->refused;
    to->connections = b->connections;
    to->leases = b->leases;
    to->watches = b->watches;
}

int op_info(struct request *rq)
{
    const struct broker *b = rq->broker;
    struct wire_info *to = request_reply(rq, sizeof(*to));

    snprintf(to->version_text, sizeof(to->version_text), "%s", SHMD_VERSION);
    to->generation = b->table.header->generation;
    to->started = (uint64_t)b->started;
    to->uptime = (uint64_t)(clock_ns(CLOCK_MONOTONIC) - b->started_mono);
    to->max_size = b->config.max_size;
    to->pid = (uint32_t)getpid();
    to->uid = (uint32_t)b->table.uid;
    to->capacity = b->table.view.capacity;
    to->max_connections = b->config.connections;
    to->max_connections_user = b->config.connections_per_user;
    to->max_leases = b->config.leases_per_connection;
    to->max_mode = b->group_is_private ? b->config.max_mode : b->config.max_mode & ~070u;
    to->registry_shmid = b->config.public_view ? b->table.shmid : -1;
    to->key_first = (int32_t)b->config.key_first;
    to->key_last = (int32_t)b->config.key_last;
    to->total_size = b->config.total_size;

    if (b->config.public_view || policy_is_admin(b, rq->caller))
        fill_totals(to, b);

    const struct user *user = rq->caller->user;

    to->user_segments = user->segments;
    to->user_bytes = user->pages * quota_page();
    to->user_connections = user->connections;
    to->user_leases = user->leases;
    to->max_user_segments = b->config.segments_per_user;
    to->max_user_bytes = b->config.size_per_user;
    to->max_user_leases = b->config.leases_per_user;
    to->max_user_watches = b->config.watches_per_user;
    to->max_user_requests = b->config.requests_per_second;
    return 0;
}
