/* SPDX-License-Identifier: MIT */
/* The handler that holds registry and kernel against each other, and mends what is asked to be. */
#include <string.h>

#include "log.h"
#include "ops.h"
#include "orphans.h"
#include "policy.h"
#include "segment.h"

struct fsck {
    struct request *rq;
    struct table *table;
    struct wire_report *report;
    bool repair;
};

static void add(struct fsck *f, const struct wire_problem *problem)
{
    struct wire_report *to = f->report;

    to->problems++;
    to->mended += problem->mended;
    if (to->count < WIRE_REPORT_PROBLEMS)
        to->records[to->count++] = *problem;
}

/* The mode keeps even its creator out: let the owner's bits let us in, for the moment of
 * attaching. */
static int pin(struct table *t, struct reg_entry *e, const struct shmid_ds *ds)
{
    int id = table_shmid(e);
    int r = segment_pin(t, e);

    if (r != -EACCES)
        return r;
    r = t->sysv->set(id, ds->shm_perm.uid, ds->shm_perm.gid, (ds->shm_perm.mode & 0777u) | 0400);
    if (r == 0)
        r = segment_pin(t, e);

    int back = t->sysv->set(id, ds->shm_perm.uid, ds->shm_perm.gid, ds->shm_perm.mode & 0777u);

    return r < 0 ? r : back;
}

static void check_entry(struct fsck *f, struct reg_entry *e)
{
    uint32_t uid = e->uid, gid = e->gid, mode = e->mode;
    struct wire_problem p = {.size = e->size, .shmid = table_shmid(e), .key = e->key};
    struct shmid_ds ds;

    bool ephemeral = e->flags & REG_EPHEMERAL;

    memcpy(p.name, e->name, NAME_SIZE);
    f->report->checked++;

    int r = segment_check(f->table, e, &ds);

    if (r == -EIDRM && !ephemeral) { /* those may go as they please */
        p.kind = PROBLEM_GONE;
        p.mended = 1;
        add(f, &p);
    }
    if (r < 0)
        return;
    p.nattch = ds.shm_nattch;
    if (uid != e->uid || gid != e->gid || mode != e->mode) {
        p.kind = PROBLEM_CHANGED;
        p.mended = 1;
        add(f, &p);
    }
    if (!table_pin(f->table, e) && !ephemeral) {
        p.kind = PROBLEM_UNPINNED;
        p.mended = (f->repair ? pin(f->table, e, &ds) : segment_pin(f->table, e)) == 0;
        add(f, &p);
    }
}

static int scan(struct fsck *f, struct orphan_scan *s)
{
    const struct config *config = &f->rq->broker->config;

    orphans_begin(s, config->key_first, config->key_last);
    return orphans_step(f->table, s, UINT32_MAX);
}

/* Both scans go by the kernel's slots, so what is looked for next stands next: `at` is where. */
static bool found_again(const struct orphan_scan *s, const struct orphan *o, uint32_t *at)
{
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t n = (*at + i) % s->n;

        if (s->orphan[n].shmid == o->shmid && s->orphan[n].key == o->key) {
            *at = n + 1;
            return true;
        }
    }
    return false;
}

static bool remove_orphan(struct fsck *f, const struct orphan_scan *again, const struct orphan *o,
                          uint32_t *at)
{
    struct shmid_ds ds;

    if (!found_again(again, o, at) || f->table->sysv->stat(o->shmid, &ds) < 0 ||
        ds.shm_perm.cuid != f->table->uid || segment_ds_key(&ds) != o->key ||
        ds.shm_segsz != o->size || ds.shm_nattch > 0 || f->table->sysv->remove(o->shmid) < 0)
        return false;
    log_notice("shmid %d, key 0x%08x, of %llu bytes was in no registry: removed for uid %u pid %d",
               o->shmid, (unsigned)o->key, (unsigned long long)o->size,
               (unsigned)f->rq->caller->uid, f->rq->caller->pid);
    return true;
}

/*
 * A single scan can miss a registry that is being moved to another segment just then. Two in a row
 * cannot both: what neither finds a claim on is nobody's.
 */
static int check_orphans(struct fsck *f)
{
    struct orphan_scan first, again = {0};
    uint32_t at = 0;
    int r = scan(f, &first);

    if (r == 0 && f->repair && first.n > 0)
        r = scan(f, &again);
    for (uint32_t i = 0; r == 0 && i < first.n; i++) {
        const struct orphan *o = &first.orphan[i];
        struct wire_problem p = {.kind = PROBLEM_ORPHAN, .size = o->size, .nattch = o->nattch,
                                 .shmid = o->shmid, .key = o->key};

        p.mended = f->repair && remove_orphan(f, &again, o, &at);
        add(f, &p);
    }
    orphans_end(f->table, &first);
    orphans_end(f->table, &again);
    return r;
}

int op_fsck(struct request *rq)
{
    const struct wire_fsck *w = rq->body;

    if (w->flags & ~(uint32_t)FSCK_KNOWN)
        return request_fail(rq, -EINVAL, "flags 0x%x of fsck are unknown here", w->flags);
    if (!policy_is_admin(rq->broker, rq->caller))
        return request_fail(rq, -EPERM, "only an administrator may have the registry checked");

    struct table *t = &rq->broker->table;
    struct fsck f = {.rq = rq, .table = t, .repair = w->flags & FSCK_REPAIR};

    f.report = request_reply(rq, sizeof(*f.report));
    for (uint32_t i = 0; i < t->view.capacity; i++)
        if (table_state(&t->entry[i]) == REG_LIVE)
            check_entry(&f, &t->entry[i]);

    int r = check_orphans(&f);

    if (r < 0)
        return request_fail(rq, r,
                            "the registry was checked, but which segments are in no registry "
                            "cannot be told: %s",
                            strerror(-r));
    log_info("fsck: %u segments checked, %u problems, %u mended, for uid %u pid %d",
             f.report->checked, f.report->problems, f.report->mended, (unsigned)rq->caller->uid,
             rq->caller->pid);
    rq->reply_size += f.report->count * (uint32_t)sizeof(f.report->records[0]);
    return 0;
}
