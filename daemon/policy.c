/* SPDX-License-Identifier: MIT */
#include "policy.h"

#include <string.h>

#include "locate.h"

bool policy_is_admin(const struct broker *b, const struct caller *c)
{
    if (c->uid == 0)
        return true;
    for (unsigned i = 0; i < b->config.n_admins; i++)
        if (b->config.admins[i].is_group ? caller_in_group(c, b->config.admins[i].id)
                                         : c->uid == b->config.admins[i].id)
            return true;
    return false;
}

static int check_mode(struct request *rq, uint32_t mode)
{
    struct broker *b = rq->broker;
    uint32_t max = b->config.max_mode;

    if (mode & ~0777u)
        return request_fail(rq, -EINVAL, "mode %o has bits beyond 0777", mode);
    if (mode & ~max)
        return request_fail(rq, -EPERM, "mode %04o has bits that the administrator's max_mode %04o "
                            "denies", mode, max);
    if ((mode & 070) && !b->group_is_private)
        return request_fail(rq, -EPERM, "mode %04o: group bits would let in the members of shmd's own "
                            "group %u too, as the kernel lets the creator's group in", mode,
                            (unsigned)getegid());
    return 0;
}

static int check_group(struct request *rq, gid_t gid)
{
    if (gid == (gid_t)-1 || gid == OVERFLOW_ID)
        return request_fail(rq, -EINVAL, "%u is no group that shmd can give a segment to", gid);
    if (!policy_is_admin(rq->broker, rq->caller) && !caller_in_group(rq->caller, gid))
        return request_fail(rq, -EPERM, "you are not in group %u: ask for one that you are in "
                            "(see id)", gid);
    return 0;
}

static int check_key(struct request *rq, int32_t key)
{
    const struct config *c = &rq->broker->config;
    uint32_t k = (uint32_t)key;

    if (k == 0)
        return request_fail(rq, -EINVAL, "key 0 is IPC_PRIVATE and can be nobody's");
    if (!c->fixed_keys)
        return request_fail(rq, -EPERM, "the administrator allows no fixed keys (fixed_keys = no)");
    if ((k >= c->key_first && k <= c->key_last) || (k >= LOCATE_KEY_FIRST && k <= LOCATE_KEY_LAST))
        return request_fail(rq, -EPERM, "key 0x%08x lies in shmd's own ranges 0x%08x-0x%08x and "
                            "0x%08x-0x%08x", k, c->key_first, c->key_last, LOCATE_KEY_FIRST,
                            LOCATE_KEY_LAST);
    return 0;
}

int policy_create(struct request *rq, const char name[NAME_SIZE], struct segment_request *ret)
{
    const struct wire_create *w = rq->body;
    const struct caller *c = rq->caller;
    const struct config *config = &rq->broker->config;
    size_t len = name_namespace_len(name);
    int r = 0;

    if (w->size == 0)
        return request_fail(rq, -EINVAL, "a segment has at least 1 byte");
    if (!(strlen(c->home) == len && memcmp(c->home, name, len) == 0) &&
        !policy_is_admin(rq->broker, c))
        return request_fail(rq, -EPERM, "namespace %.*s is not yours: create in %s/",
                            (int)len, name, c->home);
    if (w->size > config->max_size)
        return request_fail(rq, -EDQUOT, "%llu bytes: the limit max_size of a segment is %llu",
                            (unsigned long long)w->size, (unsigned long long)config->max_size);
    if (w->size > config->total_size - MIN(rq->broker->table.bytes, config->total_size))
        return request_fail(rq, -EDQUOT, "%llu bytes: all segments together may have %llu "
                            "(total_size), and have %llu", (unsigned long long)w->size,
                            (unsigned long long)config->total_size,
                            (unsigned long long)rq->broker->table.bytes);

    *ret = (struct segment_request){
        .size = w->size,
        .request_id = w->request_id,
        .uid = c->uid,
        .gid = w->flags & CREATE_GID ? w->gid : c->gid,
        .mode = w->flags & CREATE_MODE ? w->mode : config->default_mode,
        .key = w->flags & CREATE_KEY ? w->key : 0,
        .key_first = config->key_first,
        .key_last = config->key_last,
        .no_reserve = w->flags & CREATE_NORESERVE,
        .creator_uid = c->uid,
        .creator_pid = c->pid,
    };
    memcpy(ret->name, name, NAME_SIZE);
    if (!(w->flags & CREATE_MODE) && !rq->broker->group_is_private)
        ret->mode &= ~070u;
    r = check_mode(rq, ret->mode);
    if (r == 0 && w->flags & CREATE_GID)
        r = check_group(rq, w->gid);
    if (r == 0 && w->flags & CREATE_KEY)
        r = check_key(rq, w->key);
    return r;
}

int policy_control(struct request *rq, const struct reg_entry *e, const struct shmid_ds *ds,
                   const char *what)
{
    if (rq->caller->uid == ds->shm_perm.uid || policy_is_admin(rq->broker, rq->caller))
        return 0;
    return request_fail(rq, -EPERM, "%s belongs to uid %u: only its owner or an administrator may "
                        "%s it", e->name, ds->shm_perm.uid, what);
}

int policy_set(struct request *rq, const struct reg_entry *e, const struct shmid_ds *ds,
               struct wire_set *set)
{
    int r = policy_control(rq, e, ds, "change");

    if (!(set->mask & SET_MODE))
        set->mode = ds->shm_perm.mode & 0777u;
    if (!(set->mask & SET_UID))
        set->uid = ds->shm_perm.uid;
    if (!(set->mask & SET_GID))
        set->gid = ds->shm_perm.gid;
    if (r == 0 && set->mask & SET_MODE)
        r = check_mode(rq, set->mode);
    if (r == 0 && set->gid != ds->shm_perm.gid)
        r = check_group(rq, set->gid);
    if (r == 0 && set->uid != ds->shm_perm.uid && !policy_is_admin(rq->broker, rq->caller))
        r = request_fail(rq, -EPERM, "only an administrator may give %s to another user", e->name);
    if (r == 0 && (set->uid == (uid_t)-1 || set->uid == OVERFLOW_ID))
        r = request_fail(rq, -EINVAL, "%u is no user that shmd can give a segment to", set->uid);
    return r;
}
