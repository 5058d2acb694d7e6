/* SPDX-License-Identifier: MIT */
#include "declared.h"

#include <string.h>

#include "lifetime.h"
#include "log.h"
#include "segment.h"
#include "tell.h"

static bool is_declared(const struct config *c, const struct reg_entry *e)
{
    for (unsigned i = 0; i < c->n_segments; i++)
        if (memcmp(c->segments[i].name, e->name, NAME_SIZE) == 0)
            return true;
    return false;
}

void declared_mark(struct broker *b)
{
    const struct config *c = &b->config;
    struct table *t = &b->table;

    for (uint32_t i = 0; i < t->view.capacity; i++)
        if (table_state(&t->entry[i]) == REG_LIVE && t->entry[i].flags & REG_DECLARED &&
            !is_declared(c, &t->entry[i]))
            table_set_flags(&t->entry[i], t->entry[i].flags & ~(uint32_t)REG_DECLARED);
    for (unsigned i = 0; i < c->n_segments; i++) {
        struct reg_entry *e = table_find(t, c->segments[i].name, NAME_SIZE);

        if (e && e->flags & REG_EPHEMERAL)
            log_warning("[segment %s]: an ephemeral one of that name is in use: made when it has "
                        "gone", e->name);
        else if (e && !(e->flags & REG_DECLARED))
            table_set_flags(e, e->flags | REG_DECLARED);
        if (e && e->size != c->segments[i].size)
            log_warning("[segment %s]: it is there with %llu bytes, not %llu, and stays so until "
                        "it is removed", e->name, (unsigned long long)e->size,
                        (unsigned long long)c->segments[i].size);
    }
}

static struct segment_request request(const struct broker *b, const struct config_segment *s)
{
    struct segment_request rq = {
        .size = s->size,
        .uid = s->owner == (uid_t)-1 ? b->table.uid : s->owner,
        .gid = s->group == (gid_t)-1 ? getegid() : s->group,
        .mode = b->group_is_private ? s->mode : s->mode & ~070u,
        .key = s->key,
        .key_first = b->config.key_first,
        .key_last = b->config.key_last,
        .creator_uid = b->table.uid,
        .creator_pid = getpid(),
        .flags = REG_DECLARED,
    };

    memcpy(rq.name, s->name, NAME_SIZE);
    return rq;
}

static void make(struct broker *b, struct config_segment *s)
{
    const struct segment_request rq = request(b, s);
    char error[QUOTA_ERROR_MAX];
    struct reg_entry *e;
    int r = quota_check(&b->quota, (uid_t)-1, s->name, s->size, error);

    if (r == 0) {
        r = segment_create(&b->table, &rq, &e);
        if (r == -EXFULL)
            snprintf(error, sizeof(error), "the registry is full");
        else if (r == -EADDRINUSE)
            snprintf(error, sizeof(error), "its key is taken by another segment (see ipcs -m)");
        else if (r < 0)
            sysv_explain(r, s->size, error);
    }
    if (r < 0 && r != s->failed) /* each sweep tries again */
        log_error("[segment %s]: cannot be made: %s", s->name, error);
    s->failed = r;
    if (r < 0)
        return;
    lifetime_begin(b, e);
    tell_created(b, NULL, e);
    waits_created(b, e);
}

static void adjust(struct broker *b, const struct config_segment *s, struct reg_entry *e,
                   const struct shmid_ds *ds)
{
    const struct segment_request rq = request(b, s);
    struct shmid_ds now;

    if (ds->shm_perm.uid == rq.uid && ds->shm_perm.gid == rq.gid &&
        (ds->shm_perm.mode & 0777u) == rq.mode)
        return;

    int r = segment_set(&b->table, e, rq.uid, rq.gid, rq.mode, &now);

    if (r < 0)
        log_error("[segment %s]: owner, group and mode cannot be set: %s", s->name, strerror(-r));
    else
        tell_changed(b, NULL, e, REASON_CONFIG);
}

void declared_make(struct broker *b)
{
    for (unsigned i = 0; i < b->config.n_segments; i++) {
        struct config_segment *s = &b->config.segments[i];
        struct reg_entry *e = table_find(&b->table, s->name, NAME_SIZE);
        struct shmid_ds ds;

        if (!e || segment_check(&b->table, e, &ds) < 0)
            make(b, s);
        else if (!(e->flags & REG_EPHEMERAL))
            adjust(b, s, e, &ds);
    }
}
