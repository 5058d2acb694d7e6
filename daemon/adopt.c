/* SPDX-License-Identifier: MIT */
#include "adopt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "failpoint.h"
#include "log.h"
#include "segment.h"
#include "util.h"

#define CANDIDATES 32

/* FNV-1a over path and number: the same for every shmd, old or new, that serves this socket. */
static int32_t candidate_key(const char *socket, unsigned number)
{
    uint32_t h = 2166136261u ^ number;

    for (const char *c = socket; *c; c++)
        h = (h ^ (unsigned char)*c) * 16777619u;
    return (int32_t)(h ? h : 1);
}

struct candidate {
    int shmid;
    int32_t key;
    uint64_t size;
    void *segment;
};

static void drop(const struct sysv_ops *sysv, struct candidate *c)
{
    if (c->segment)
        sysv->detach(c->segment);
    *c = (struct candidate){.shmid = -1};
}

static void destroy(const struct sysv_ops *sysv, struct candidate *c)
{
    int id = c->shmid;

    drop(sysv, c);
    failpoint();
    sysv->remove(id);
    failpoint();
}

/* Is it ours, and whole? 1: yes; 0: not ours; -EAGAIN: ours, but its maker died making it. */
static int examine(const struct sysv_ops *sysv, struct candidate *c, char error[ADOPT_ERROR_MAX])
{
    struct reg_view view;
    struct shmid_ds ds;

    if (sysv->stat(c->shmid, &ds) < 0 || ds.shm_perm.cuid != geteuid() ||
        ds.shm_segsz < sizeof(struct reg_header))
        return 0;
    c->size = ds.shm_segsz;
    if (sysv->attach(c->shmid, false, &c->segment) < 0)
        return 0;

    const struct reg_header *h = c->segment;
    int r = reg_view_init(&view, c->segment, c->size);

    if (r == 0)
        return 1;
    if (h->magic == 0)
        return -EAGAIN;
    if (r == -EPROTONOSUPPORT)
        snprintf(error, ADOPT_ERROR_MAX,
                 "the registry (shmid %d) has layout %u and this shmd knows %u: start the newer "
                 "shmd again; nothing was touched", c->shmid, h->layout, REG_LAYOUT);
    return r == -EPROTONOSUPPORT ? r : 0;
}

/* The newest registry among the candidates; an older one is what a crash in resize() left. */
static int find(const struct sysv_ops *sysv, const char *socket, struct candidate *best,
                char error[ADOPT_ERROR_MAX])
{
    *best = (struct candidate){.shmid = -1};
    for (unsigned i = 0; i < CANDIDATES; i++) {
        struct candidate c = {.key = candidate_key(socket, i)};

        c.shmid = sysv->find(c.key);
        if (c.shmid < 0)
            continue;

        int r = examine(sysv, &c, error);

        if (r == -EAGAIN) {
            destroy(sysv, &c);
        } else if (r < 0) {
            drop(sysv, &c);
            drop(sysv, best);
            return r;
        } else if (r == 0) {
            log_warning("key 0x%08x for the registry is taken by somebody's shmid %d: passed over",
                        (unsigned)c.key, c.shmid);
            drop(sysv, &c);
        } else if (best->shmid < 0) {
            *best = c;
        } else {
            const struct reg_header *a = best->segment, *b = c.segment;
            struct candidate *old = a->epoch > b->epoch ? &c : best;

            destroy(sysv, old);
            if (old == best)
                *best = c;
        }
    }
    return 0;
}

static int make(const struct sysv_ops *sysv, const char *socket, uint32_t capacity, uint64_t epoch,
                struct candidate *ret, char error[ADOPT_ERROR_MAX])
{
    struct candidate c = {.size = reg_segment_size(capacity), .shmid = -EEXIST};

    for (unsigned i = 0; i < CANDIDATES && c.shmid == -EEXIST; i++) {
        c.key = candidate_key(socket, i);
        c.shmid = sysv->create(c.key, c.size, 0);
        failpoint();
    }

    int r = c.shmid < 0 ? c.shmid : sysv->attach(c.shmid, false, &c.segment);

    if (r < 0) {
        if (r == -EEXIST)
            snprintf(error, ADOPT_ERROR_MAX, "all %u keys for the registry are taken by segments of "
                     "other users: see ipcs -m, and remove them", CANDIDATES);
        else
            snprintf(error, ADOPT_ERROR_MAX, "cannot make the registry: %s%s", strerror(-r),
                     r == -ENOSPC ? " (kernel.shmmni or kernel.shmall is used up)" : "");
        if (c.shmid >= 0)
            destroy(sysv, &c);
        return r;
    }
    table_format(c.segment, capacity, epoch);
    *ret = c;
    return 0;
}

static void finish(struct candidate *c)
{
    failpoint();
    atomic_store_explicit(&((struct reg_header *)c->segment)->magic, REG_MAGIC, memory_order_release);
    failpoint();
}

/* Move everything to a registry of another capacity. Nobody is being served yet. */
static int resize(const struct sysv_ops *sysv, const struct adopt_request *rq, struct candidate *old,
                  char error[ADOPT_ERROR_MAX])
{
    struct reg_header *from = old->segment, *to;
    struct candidate new;
    struct reg_view view;
    uint32_t n = 0, used = 0;
    int r = reg_view_init(&view, old->segment, old->size);

    for (uint32_t i = 0; r == 0 && i < view.capacity; i++)
        used += reg_word_state(view.entry[i].word) != REG_FREE;
    if (used > rq->capacity) {
        log_warning("capacity = %u: the registry holds %u segments and stays at %u", rq->capacity,
                    used, view.capacity);
        return 0;
    }
    r = make(sysv, rq->socket, rq->capacity, from->epoch + 1, &new, error);
    if (r < 0)
        return r;
    to = new.segment;
    to->hash_seed = from->hash_seed;
    to->generation = from->generation;
    to->daemon_pid = from->daemon_pid;
    to->daemon_uid = from->daemon_uid;
    to->next_instance = from->next_instance;

    struct reg_entry *entry = (struct reg_entry *)(void *)((char *)to + sizeof(*to) +
                                                           to->buckets * sizeof(uint32_t));

    for (uint32_t i = 0; i < view.capacity; i++)
        if (reg_word_state(view.entry[i].word) != REG_FREE)
            memcpy(&entry[n++], &view.entry[i], sizeof(*entry));
    finish(&new);
    destroy(sysv, old);
    *old = new;
    return 0;
}

/* An entry whose maker died: what it had got under its key goes, and nothing else. */
static void roll_back(struct table *t, struct reg_entry *e)
{
    int id = t->sysv->find(e->key);
    struct shmid_ds ds;

    if (id >= 0 && !table_find_shmid(t, id) && t->sysv->stat(id, &ds) == 0 && segment_is(t, e, &ds) &&
        ((uint32_t)ds.shm_cpid == t->header->daemon_pid || ds.shm_cpid == 0)) {
        log_notice("%s: half made when shmd ended; shmid %d is removed", e->name, id);
        t->sysv->remove(id);
    }
    failpoint();
    table_clear(t, e);
}

static void finish_removal(struct table *t, struct reg_entry *e)
{
    int id = table_shmid(e);
    struct shmid_ds ds;

    if (!table_find_shmid(t, id) && t->sysv->stat(id, &ds) == 0 && segment_is(t, e, &ds))
        t->sysv->remove(id);
    failpoint();
    table_clear(t, e);
}

static bool take_over(struct table *t, struct reg_entry *e)
{
    int id = table_shmid(e);
    struct shmid_ds ds;
    void *pin = NULL;

    if (t->sysv->stat(id, &ds) < 0 || !segment_is(t, e, &ds)) {
        log_notice("%s (shmid %d) was removed while shmd was away: its name is free", e->name, id);
        table_clear(t, e);
        return false;
    }
    int r = t->sysv->attach(id, true, &pin);

    if (r < 0)
        log_info("%s (shmid %d) cannot be pinned: %s", e->name, id, strerror(-r));

    struct reg_key key;

    reg_key_init(&key, t->view.hash_seed, e->name);
    e->hash = key.hash;
    table_note(e, &ds);
    table_adopt(t, e, pin);
    return true;
}

static void adopt_entries(struct table *t)
{
    uint32_t adopted = 0;

    table_reset_derived(t);
    for (uint32_t i = t->view.capacity; i-- > 0;)
        if (table_state(&t->entry[i]) == REG_LIVE)
            adopted += take_over(t, &t->entry[i]);
        else if (table_state(&t->entry[i]) == REG_FREE)
            table_clear(t, &t->entry[i]);
    /* Only now is it known which shmids are somebody's. */
    for (uint32_t i = 0; i < t->view.capacity; i++) {
        if (table_state(&t->entry[i]) == REG_CREATING)
            roll_back(t, &t->entry[i]);
        else if (table_state(&t->entry[i]) == REG_REMOVING)
            finish_removal(t, &t->entry[i]);
    }
    if (adopted)
        log_notice("%u segments of an earlier shmd adopted", adopted);
}

int adopt_open(struct table *t, const struct sysv_ops *sysv, const struct adopt_request *rq,
               char error[ADOPT_ERROR_MAX])
{
    struct candidate c;

    failpoint_enter("adopt");

    int r = find(sysv, rq->socket, &c, error);

    if (r == 0 && c.shmid < 0) {
        r = make(sysv, rq->socket, rq->capacity, 1, &c, error);
        if (r == 0)
            finish(&c);
    } else if (r == 0 && ((struct reg_header *)c.segment)->capacity != rq->capacity) {
        r = resize(sysv, rq, &c, error);
    }
    if (r < 0)
        return r;
    r = table_init(t, sysv, c.shmid, c.segment, c.size);
    if (r < 0) {
        drop(sysv, &c);
        snprintf(error, ADOPT_ERROR_MAX, "%s", strerror(-r));
        return r;
    }
    adopt_entries(t);
    t->header->generation++;
    t->header->daemon_uid = (uint32_t)t->uid;
    t->header->ipc_namespace = rq->ipc_namespace;
    failpoint();
    /* Last: until here a roll-back goes by the pid of the daemon that died. */
    t->header->daemon_pid = (uint32_t)getpid();
    failpoint();
    r = sysv->set(c.shmid, t->uid, getegid(), rq->public_view ? 0644 : 0600);
    failpoint_enter(NULL);
    if (r < 0)
        snprintf(error, ADOPT_ERROR_MAX, "cannot open the registry to readers: %s", strerror(-r));
    return r;
}

void adopt_discard(struct table *t)
{
    if (t->header->used == 0)
        t->sysv->remove(t->shmid);
}

struct orphan_count {
    struct table *table;
    unsigned n;
};

static int count_orphan(int shmid, const struct shmid_ds *ds, void *data)
{
    struct orphan_count *o = data;

    if (ds->shm_perm.cuid == o->table->uid && shmid != o->table->shmid &&
        !(ds->shm_perm.mode & SHM_DEST) && !table_find_shmid(o->table, shmid) &&
        (uint32_t)segment_ds_key(ds) != IPC_PRIVATE)
        o->n++;
    return 0;
}

unsigned adopt_orphans(struct table *t)
{
    struct orphan_count o = {.table = t};

    sysv_each(count_orphan, &o);
    return o.n;
}
