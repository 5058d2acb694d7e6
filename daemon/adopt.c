/* SPDX-License-Identifier: MIT */
#include "adopt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "channel.h"
#include "failpoint.h"
#include "locate.h"
#include "log.h"
#include "move.h"
#include "privilege.h"
#include "segment.h"
#include "tell.h"
#include "util.h"

/* The clock of shm_ctime lags behind CLOCK_REALTIME by up to a tick. */
#define CLOCK_SLACK 1

/* Key, creator and size may be another program's of the same user: maker, time and mode are not. */
static bool made_by(const struct table *t, const struct reg_entry *e, const struct shmid_ds *ds)
{
    unsigned mode = ds->shm_perm.mode & 0777u;
    bool fresh = ds->shm_perm.uid == t->uid && mode == 0600;
    bool handed = ds->shm_perm.uid == e->uid && ds->shm_perm.gid == e->gid && mode == e->mode;

    return segment_is(t, e, ds) && (fresh || handed) &&
           ds->shm_ctime + CLOCK_SLACK >= e->created / 1000000000 &&
           ((uint32_t)ds->shm_cpid == t->header->daemon_pid || ds->shm_cpid == 0);
}

/* An entry whose maker died: what it had got under its key goes, and nothing else. */
static void roll_back(struct table *t, struct reg_entry *e)
{
    /* Key 0: it was an ephemeral one already, and the kernel freed it when its maker died. */
    int id = e->key ? t->sysv->find(e->key) : -1;
    struct shmid_ds ds;

    if (id >= 0 && !table_find_shmid(t, id) && t->sysv->stat(id, &ds) == 0 && made_by(t, e, &ds)) {
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

/* Nothing but ourselves writes the registry; root could, and a bad name must not spread. */
static bool sound(struct table *t, const struct reg_entry *e)
{
    char name[NAME_SIZE];
    const char *why;

    return memchr(e->name, 0, NAME_SIZE) && name_resolve(e->name, "", name, &why) == 0 &&
           memcmp(name, e->name, NAME_SIZE) == 0 && channel_sound(e) &&
           (e->key == 0) == !!(e->flags & REG_EPHEMERAL) &&
           !table_find(t, e->name, NAME_SIZE) && !table_find_shmid(t, table_shmid(e));
}

static bool take_over(struct table *t, struct reg_entry *e)
{
    int id = table_shmid(e);
    struct shmid_ds ds;
    void *pin = NULL;

    if (!sound(t, e)) {
        log_error("entry %u of the registry is damaged: dropped (shmid %d)", table_index(t, e), id);
        table_clear(t, e);
        return false;
    }
    if (t->sysv->stat(id, &ds) < 0 || !segment_is(t, e, &ds)) {
        tell_missing(e);
        table_clear(t, e);
        return false;
    }
    int r = t->sysv->attach(id, !(e->flags & REG_CHANNEL), &pin);

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
        else if (table_state(&t->entry[i]) != REG_CREATING &&
                 table_state(&t->entry[i]) != REG_REMOVING)
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
    struct located c;

    failpoint_enter("adopt");

    int r = locate_find(sysv, rq->socket, &c, error);

    if (r == 0 && c.shmid < 0) {
        r = locate_make(sysv, rq->socket, rq->capacity, 1, &c, error);
        if (r == 0)
            locate_finish(&c);
    } else if (r == 0) {
        r = move_registry(sysv, rq->socket, rq->capacity, &c, error);
        if (r < 0)
            locate_drop(sysv, &c);
    }
    if (r < 0)
        return r;
    r = table_init(t, sysv, c.shmid, c.segment, c.size);
    if (r < 0) {
        locate_drop(sysv, &c);
        snprintf(error, ADOPT_ERROR_MAX, "%s", strerror(-r));
        return r;
    }
    adopt_entries(t);
    t->header->generation++;
    t->header->daemon_uid = (uint32_t)t->uid;
    t->header->ipc_namespace = rq->ipc_namespace;
    failpoint();
    /* Last: until here a roll-back goes by the pid of the daemon that died. */
    t->header->daemon_start = 0;
    t->header->daemon_pid = (uint32_t)getpid();
    t->header->daemon_start = process_start(getpid());
    failpoint();
    r = sysv->set(c.shmid, t->uid, getegid(), rq->public_view ? 0644 : 0600);
    failpoint_enter(NULL);
    if (r < 0)
        snprintf(error, ADOPT_ERROR_MAX, "cannot open the registry to readers: %s", strerror(-r));
    return r;
}

void adopt_discard(struct table *t)
{
    if (t->header->used != 0)
        return;
    atomic_store_explicit(&t->header->magic, 0, memory_order_release);
    t->sysv->remove(t->shmid);
}
