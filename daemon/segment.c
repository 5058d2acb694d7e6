/* SPDX-License-Identifier: MIT */
#include "segment.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "failpoint.h"
#include "log.h"
#include "reaper.h"

#define KEY_TRIES 64 /* in a range that is at most half full of ours, 64 collisions are an attack */

/* Spread, not secret: who guesses a key and takes it first costs us one more try. */
static int32_t random_key(struct table *t, const struct segment_request *rq)
{
    uint64_t range = (uint64_t)rq->key_last - rq->key_first + 1;

    t->random = t->random * 6364136223846793005ull + 1442695040888963407ull;
    return (int32_t)(rq->key_first + (uint32_t)((t->random >> 32) * range >> 32));
}

/* shmget under the key that the entry names, so that a crash can be rolled back by it. */
static int get(struct table *t, struct reg_entry *e, const struct segment_request *rq)
{
    int id = -EADDRINUSE;

    for (int i = 0; i < KEY_TRIES; i++) {
        failpoint();
        id = t->sysv->create(e->key, rq->size, rq->no_reserve ? SHM_NORESERVE : 0);
        failpoint();
        if (id != -EEXIST)
            return id;
        if (rq->key)
            break;
        table_set_key(e, random_key(t, rq));
    }
    return -EADDRINUSE;
}

/* Pinned while the mode is still our own: later the owner's bits may keep us out. */
static int set_up(struct table *t, int shmid, const struct segment_request *rq, void **pin)
{
    int r = t->sysv->attach(shmid, !rq->ring, pin);

    failpoint();
    if (r < 0)
        return r;
    if (rq->ring)
        r = ring_format(*pin, rq->size, rq->ring);
    failpoint();
    if (r == 0)
        r = t->sysv->set(shmid, rq->uid, rq->gid, rq->mode);
    failpoint();
    if (r < 0)
        t->sysv->detach(*pin);
    return r;
}

/* From here on the kernel frees it by itself when nobody has it attached, us included. */
static int make_ephemeral(struct table *t, struct reg_entry *e, int shmid)
{
    int r = t->sysv->remove(shmid);

    failpoint();
    if (r == 0)
        table_set_key(e, 0);
    return r;
}

void segment_detach(struct table *t, uint64_t size, void *pin)
{
    if (size >= REAPER_LARGE)
        reaper_detach(t->sysv, pin);
    else
        t->sysv->detach(pin);
}

static void unpin(struct table *t, const struct reg_entry *e, void *pin)
{
    if (pin && !(t->observer.keep && t->observer.keep(t->observer.data, e, pin)))
        segment_detach(t, e->size, pin);
}

int segment_pin(struct table *t, struct reg_entry *e)
{
    void *pin = table_pin(t, e);
    int r = pin ? 0 : t->sysv->attach(table_shmid(e), !(e->flags & REG_CHANNEL), &pin);

    if (r == 0)
        table_set_pin(t, e, pin);
    return r;
}

void segment_unpin(struct table *t, struct reg_entry *e)
{
    void *pin = table_pin(t, e);

    table_set_pin(t, e, NULL);
    unpin(t, e, pin);
}

/* The kernel has no such segment any more: let the name go, and touch nothing else. */
static void forget(struct table *t, struct reg_entry *e)
{
    if (t->observer.gone)
        t->observer.gone(t->observer.data, e);
    failpoint_enter("remove");
    unpin(t, e, table_removing(t, e));
    failpoint();
    table_clear(t, e);
    failpoint_enter(NULL);
}

int segment_create(struct table *t, const struct segment_request *rq, struct reg_entry **ret)
{
    struct reg_entry fields = {
        .size = rq->size,
        .request_id = rq->request_id,
        .created = clock_ns(CLOCK_REALTIME),
        .key = rq->key ? rq->key : random_key(t, rq),
        .uid = rq->uid,
        .gid = rq->gid,
        .mode = rq->mode,
        .creator_uid = rq->creator_uid,
        .creator_pid = (uint32_t)rq->creator_pid,
        .flags = rq->flags,
        .ttl = rq->ttl,
        .linger = rq->linger,
    };
    const struct ring_options *ring = rq->ring;
    struct reg_entry *e;
    void *pin = NULL;

    failpoint_enter("create");
    memcpy(fields.name, rq->name, NAME_SIZE);
    if (ring) {
        fields.flags |= REG_CHANNEL;
        fields.channel = (struct reg_channel){.shape = ring->slots << 8 | ring->flags,
                                              .max_message = ring->max_message,
                                              .version = ring->version};
        memcpy(fields.channel.tag, ring->tag, sizeof(fields.channel.tag));
    }

    int r = table_reserve(t, &fields, &e);

    if (r < 0) {
        failpoint_enter(NULL);
        return r;
    }

    int id = get(t, e, rq);
    struct reg_entry *stale = id >= 0 ? table_find_shmid(t, id) : NULL;

    /* A shmid recurs: an entry that had it has lost its segment. It must not mean this one, and
     * must be gone before anybody else may attach it. */
    if (stale)
        forget(t, stale);
    failpoint_enter("create");
    r = id < 0 ? id : set_up(t, id, rq, &pin);
    if (r == 0 && rq->flags & REG_EPHEMERAL) {
        r = make_ephemeral(t, e, id);
        if (r < 0)
            t->sysv->detach(pin);
    }
    if (r < 0) {
        if (id >= 0)
            t->sysv->remove(id);
        table_clear(t, e);
    } else {
        table_publish(t, e, id, pin);
        *ret = e;
    }
    failpoint_enter(NULL);
    return r;
}

bool segment_is(const struct table *t, const struct reg_entry *e, const struct shmid_ds *ds)
{
    /* Without a key only SHM_DEST is left to tell it from a private one (IPC_PRIVATE) of our
     * user. */
    return ds->shm_perm.cuid == t->uid && ds->shm_segsz == e->size &&
           segment_ds_key(ds) == e->key && (e->key != 0 || ds->shm_perm.mode & SHM_DEST);
}

int segment_check(struct table *t, struct reg_entry *e, struct shmid_ds *ds)
{
    int r = t->sysv->stat(table_shmid(e), ds);

    /* A removed segment that somebody holds has lost its key: SHM_DEST needs no look of its own. */
    if (r == 0 && segment_is(t, e, ds)) {
        if (table_note(e, ds) && t->observer.changed)
            t->observer.changed(t->observer.data, e);
        return 0;
    }
    if (r < 0 && r != -EINVAL && r != -EIDRM) {
        log_error("%s: cannot look at shmid %d: %s", e->name, table_shmid(e), strerror(-r));
        return r;
    }
    forget(t, e);
    return -EIDRM;
}

uint32_t segment_check_all(struct table *t)
{
    struct shmid_ds ds;

    for (uint32_t i = 0; i < t->view.capacity && t->header->used > 0; i++)
        if (table_state(&t->entry[i]) == REG_LIVE)
            segment_check(t, &t->entry[i], &ds);
    return t->header->used;
}

int segment_set(struct table *t, struct reg_entry *e, uid_t uid, gid_t gid, unsigned mode,
                struct shmid_ds *ds)
{
    failpoint_enter("set");
    failpoint();

    int r = t->sysv->set(table_shmid(e), uid, gid, mode);

    failpoint();

    const struct shmid_ds asked = {
        .shm_perm = {.uid = uid, .gid = gid, .mode = (unsigned short)mode}};

    if (r == 0) /* so that it is not taken for somebody's doing behind our back */
        table_note(e, &asked);

    int check = segment_check(t, e, ds);

    failpoint_enter(NULL);
    return check < 0 ? check : r;
}

/* Still pinned at IPC_RMID, so that it is quick: who detaches last frees the memory. */
int segment_remove(struct table *t, struct reg_entry *e)
{
    int id = table_shmid(e);

    failpoint_enter("remove");
    failpoint();

    void *pin = table_removing(t, e);
    int r = t->sysv->remove(id);

    failpoint();
    if (r == -EINVAL || r == -EIDRM)
        r = 0;
    if (r < 0) {
        log_error("%s: IPC_RMID of shmid %d: %s", e->name, id, strerror(-r));
        table_publish(t, e, id, pin);
    } else {
        unpin(t, e, pin);
        failpoint();
        table_clear(t, e);
    }
    failpoint_enter(NULL);
    return r;
}
