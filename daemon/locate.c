/* SPDX-License-Identifier: MIT */
#include "locate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "failpoint.h"
#include "layout.h"
#include "log.h"
#include "privilege.h"

#define CANDIDATES 16

/* FNV-1a: the same for every shmd, old or new, that serves this socket. */
static uint64_t socket_hash(const char *socket)
{
    uint64_t h = 0xcbf29ce484222325ull;

    for (const char *c = socket; *c; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001b3ull;
    return h;
}

static int32_t key_at(uint64_t number)
{
    return (int32_t)(LOCATE_KEY_FIRST + number % (LOCATE_KEY_LAST - LOCATE_KEY_FIRST + 1));
}

static int32_t candidate_key(const char *socket, unsigned number)
{
    return key_at((socket_hash(socket) + number) * 0x9fb21c651e98df25ull >> 32);
}

static bool is_registry_key(int32_t key)
{
    return (uint32_t)key >= LOCATE_KEY_FIRST && (uint32_t)key <= LOCATE_KEY_LAST;
}

void locate_drop(const struct sysv_ops *sysv, struct located *l)
{
    if (l->segment)
        sysv->detach(l->segment);
    *l = (struct located){.shmid = -1};
}

void locate_destroy(const struct sysv_ops *sysv, struct located *l)
{
    int id = l->shmid;

    locate_drop(sysv, l);
    failpoint();
    sysv->remove(id);
    failpoint();
}

void locate_retire(const struct sysv_ops *sysv, struct located *l)
{
    failpoint();
    atomic_store_explicit(&((struct reg_header *)l->segment)->magic, 0, memory_order_release);
    failpoint();
    locate_destroy(sysv, l);
}

/* Somebody may have closed the mode of our own registry; the creator opens it again. */
static int attach(const struct sysv_ops *sysv, struct located *l, char error[LOCATE_ERROR_MAX])
{
    int r = sysv->attach(l->shmid, false, &l->segment);

    if (r == -EACCES && sysv->set(l->shmid, geteuid(), getegid(), 0600) == 0)
        r = sysv->attach(l->shmid, false, &l->segment);
    if (r < 0)
        snprintf(error, LOCATE_ERROR_MAX, "cannot attach the registry (shmid %d): %s", l->shmid,
                 strerror(-r));
    return r;
}

/*
 * 1: ours, and whole; 0: not ours; -EAGAIN: ours, but its maker died making it or giving it up, and
 * -ESTALE: likewise, and of this very socket; other errors.
 */
static int examine(const struct sysv_ops *sysv, struct located *l, const char *socket,
                   char error[LOCATE_ERROR_MAX])
{
    struct layout layout;
    struct shmid_ds ds;

    if (sysv->stat(l->shmid, &ds) < 0 || ds.shm_perm.cuid != geteuid() ||
        !is_registry_key(ds.shm_perm.__key) || ds.shm_segsz < sizeof(struct reg_header))
        return 0;
    l->size = ds.shm_segsz;

    int r = attach(sysv, l, error);

    if (r < 0)
        return r;

    const struct reg_header *h = l->segment;

    r = layout_open(&layout, l->segment, l->size);
    if (h->magic == 0)
        return h->socket_hash == socket_hash(socket) ? -ESTALE : -EAGAIN;
    if (r == -EPROTO || h->socket_hash != socket_hash(socket))
        return 0;
    if (r < 0)
        snprintf(
            error, LOCATE_ERROR_MAX,
            "the registry (shmid %d) has layout %u and this shmd knows %u: start the newer shmd "
            "again; nothing was touched",
            l->shmid, h->layout, (unsigned)REG_LAYOUT);
    else if (process_lives((pid_t)h->daemon_pid, h->daemon_start))
        r = snprintf(error, LOCATE_ERROR_MAX, "shmd %u works on this registry already",
                     h->daemon_pid) < 0 ? -EIO : -EBUSY;
    return r < 0 ? r : 1;
}

/* Of two, the older is what a crash left when the registry was being moved. */
static void keep_newer(const struct sysv_ops *sysv, struct located *best, struct located *l)
{
    const struct reg_header *a = best->segment, *b = l->segment;

    if (best->shmid >= 0 && a->epoch > b->epoch) {
        locate_retire(sysv, l);
        return;
    }
    if (best->shmid >= 0)
        locate_retire(sysv, best);
    *best = *l;
}

struct scan {
    const struct sysv_ops *sysv;
    const char *socket;
    struct located *best;
    char *error;
    uid_t uid;
};

static int scan_one(int shmid, const struct shmid_ds *ds, void *data)
{
    struct scan *s = data;
    struct located l = {.shmid = shmid, .key = ds->shm_perm.__key};

    if (ds->shm_perm.cuid != s->uid || !is_registry_key(l.key) || shmid == s->best->shmid)
        return 0;

    int r = examine(s->sysv, &l, s->socket, s->error);

    if (r == 1)
        keep_newer(s->sysv, s->best, &l);
    else if (r == -ESTALE)
        locate_destroy(s->sysv, &l);
    else
        locate_drop(s->sysv, &l);
    /* Half made before it names its socket: whose, nobody can tell. */
    return r == 1 || r == -ESTALE || r == -EAGAIN ? 0 : r;
}

int locate_find(const struct sysv_ops *sysv, const char *socket, struct located *best,
                char error[LOCATE_ERROR_MAX])
{
    int r = 0;

    *best = (struct located){.shmid = -1};
    for (unsigned i = 0; r >= 0 && i < CANDIDATES; i++) {
        struct located l = {.key = candidate_key(socket, i)};

        l.shmid = sysv->find(l.key);
        if (l.shmid < 0)
            continue;
        r = examine(sysv, &l, socket, error);
        if (r == 1) {
            keep_newer(sysv, best, &l);
        } else if (r == -EAGAIN || r == -ESTALE) {
            locate_destroy(sysv, &l);
            r = 0;
        } else {
            if (r == 0)
                log_warning("key 0x%08x for the registry is taken by shmid %d of somebody else: "
                            "passed over", (unsigned)l.key, l.shmid);
            locate_drop(sysv, &l);
        }
    }
    if (r >= 0) { /* also where one was found: a crash while it was moved may have left another */
        struct scan s = {sysv, socket, best, error, geteuid()};

        r = sysv_each(sysv, scan_one, &s);
    }
    if (r < 0)
        locate_drop(sysv, best);
    return r < 0 ? r : 0;
}

int locate_make(const struct sysv_ops *sysv, const char *socket, uint32_t capacity, uint64_t epoch,
                struct located *ret, char error[LOCATE_ERROR_MAX])
{
    struct located l = {.size = reg_segment_size(capacity), .shmid = -EEXIST};

    for (unsigned i = 0; i < 4 * CANDIDATES && l.shmid == -EEXIST; i++) {
        l.key = i < CANDIDATES ? candidate_key(socket, i) : key_at(arc4random());
        l.shmid = sysv->create(l.key, l.size, 0);
        failpoint();
    }

    int r = l.shmid < 0 ? l.shmid : sysv->attach(l.shmid, false, &l.segment);

    if (r < 0) {
        snprintf(error, LOCATE_ERROR_MAX, "cannot make the registry: %s%s", strerror(-r),
                 r == -ENOSPC ? " (kernel.shmmni or kernel.shmall is used up)" : "");
        if (l.shmid >= 0)
            locate_destroy(sysv, &l);
        return r;
    }
    table_format(l.segment, capacity, epoch);
    ((struct reg_header *)l.segment)->socket_hash = socket_hash(socket);
    *ret = l;
    return 0;
}

void locate_finish(struct located *l)
{
    failpoint();
    atomic_store_explicit(&((struct reg_header *)l->segment)->magic, REG_MAGIC,
                          memory_order_release);
    failpoint();
}
