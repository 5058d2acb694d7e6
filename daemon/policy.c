/* SPDX-License-Identifier: MIT */
#include "policy.h"

#include <string.h>
#include <unistd.h>

#include "locate.h"

bool policy_is_admin(const struct broker *b, const struct caller *c)
{
    return c->uid == 0 || (b->is_private && c->uid == b->table.uid) ||
           caller_is_one_of(c, &b->config.admins);
}

/*
 * The creator, which is shmd, counts as the owner and its group as the group: that of the shmd
 * that made the segment, which may have run as another group than this one. Whose bits deny it
 * is not let in by anybody else's. root passes always: it may lack the capability in some
 * container, and is refused by the kernel itself then.
 */
bool policy_may_attach(const struct broker *b, const struct caller *c, const struct ipc_perm *p,
                       bool read_only)
{
    uint32_t wanted = read_only ? 04 : 06, mode = p->mode;

    if (c->uid == 0)
        return true;
    if (c->uid == p->uid || c->uid == b->table.uid)
        mode >>= 6;
    else if (caller_in_group(c, p->gid) || caller_in_group(c, p->cgid))
        mode >>= 3;
    return (mode & wanted) == wanted;
}

bool policy_may_see(const struct broker *b, const struct caller *c, const struct ipc_perm *p)
{
    return b->config.public_view || c->uid == p->uid || policy_is_admin(b, c) ||
           policy_may_attach(b, c, p, true);
}

bool policy_may_see_entry(const struct broker *b, const struct caller *c, const struct reg_entry *e)
{
    const struct ipc_perm p = {
        .uid = e->uid, .gid = e->gid, .cgid = getegid(), .mode = (mode_t)e->mode};

    return policy_may_see(b, c, &p);
}

static const struct config_namespace *declared(const struct broker *b, const char *name)
{
    return config_namespace(&b->config, name, name_namespace_len(name));
}

/* Where a namespace is declared its section decides, also for the user of that login. */
bool policy_may_create(const struct broker *b, const struct caller *c, const char *name)
{
    const struct config_namespace *ns = declared(b, name);
    size_t len = name_namespace_len(name);

    if (policy_is_admin(b, c))
        return true;
    if (ns)
        return caller_is_one_of(c, &ns->users);
    return strlen(c->home) == len && memcmp(c->home, name, len) == 0;
}

static int check_mode(struct request *rq, const char *name, uint32_t mode)
{
    struct broker *b = rq->broker;
    const struct config_namespace *ns = declared(b, name);
    uint32_t max = ns ? ns->max_mode : b->config.max_mode;

    if (mode & ~0777u)
        return request_fail(rq, -EINVAL, "mode %o has bits beyond 0777", mode);
    if (mode & ~max)
        return request_fail(rq, -EPERM, "mode %04o has bits that the administrator's max_mode %04o "
                            "denies", mode, max);
    if ((mode & 070) && !b->group_is_private)
        return request_fail(rq, -EPERM,
                            "mode %04o: group bits would let in the members of shmd's own "
                            "group %u too, as the kernel lets the creator's group in",
                            mode, (unsigned)getegid());
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

static int check_namespace(struct request *rq, const char *name)
{
    int len = (int)name_namespace_len(name);

    if (policy_may_create(rq->broker, rq->caller, name))
        return 0;
    if (declared(rq->broker, name))
        return request_fail(rq, -EPERM, "namespace %.*s is shared, and shmd.conf does not let you "
                            "create there (users =)", len, name);
    return request_fail(rq, -EPERM, "namespace %.*s is not yours: create in %s/", len, name,
                        rq->caller->home);
}

static int check_size(struct request *rq, const char *name, uint64_t size)
{
    const struct broker *b = rq->broker;
    char error[QUOTA_ERROR_MAX];

    if (size == 0)
        return request_fail(rq, -EINVAL, "a segment has at least 1 byte");
    if (size > b->config.max_size)
        return request_fail(rq, -EDQUOT, "%llu bytes: the limit max_size of a segment is %llu",
                            (unsigned long long)size, (unsigned long long)b->config.max_size);
    if (quota_check(&b->quota, rq->caller->uid, name, size, error) < 0)
        return request_fail(rq, -EDQUOT, "%s", error);
    return 0;
}

static int take_lifetime(struct request *rq, const struct config_namespace *ns,
                         struct segment_request *ret)
{
    const struct wire_create *w = rq->body;
    bool asked = w->flags & CREATE_LIFETIME;
    uint32_t lifetime = asked ? w->lifetime : ns ? ns->lifetime : LIFETIME_PERSISTENT;
    uint32_t ttl = asked ? w->ttl : ns ? ns->ttl : 0;
    uint32_t linger = asked ? w->linger : ns ? ns->linger : 0;

    if (!asked && (w->lifetime | w->ttl | w->linger) != 0)
        return request_fail(rq, -EINVAL, "a lifetime without its flag");
    if (lifetime > LIFETIME_TTL || (lifetime == LIFETIME_TTL) != (ttl > 0) ||
        ttl > CONFIG_TTL_MAX || (lifetime != LIFETIME_EPHEMERAL && linger > 0) ||
        linger > CONFIG_LINGER_MAX)
        return request_fail(rq, -EINVAL,
                            "a lifetime is persistent, ephemeral (with linger, up to %u "
                            "seconds) or ttl (of 1 to %u seconds)",
                            CONFIG_LINGER_MAX, CONFIG_TTL_MAX);
    if (lifetime == LIFETIME_EPHEMERAL && w->flags & CREATE_KEY)
        return request_fail(rq, -EINVAL, "an ephemeral segment has no key: it is removed at birth");
    ret->flags = lifetime == LIFETIME_EPHEMERAL ? REG_EPHEMERAL : 0;
    ret->ttl = ttl;
    ret->linger = linger;
    return 0;
}

int policy_create(struct request *rq, const char name[NAME_SIZE], struct segment_request *ret)
{
    const struct wire_create *w = rq->body;
    const struct caller *c = rq->caller;
    const struct config *config = &rq->broker->config;
    const struct config_namespace *ns = declared(rq->broker, name);
    gid_t gid = ns && ns->group != (gid_t)-1 ? ns->group : c->gid;
    uint32_t mode = ns ? ns->default_mode : config->default_mode;
    int r = check_namespace(rq, name);

    if (r == 0)
        r = check_size(rq, name, w->size);
    if (r < 0)
        return r;
    *ret = (struct segment_request){
        .size = w->size,
        .request_id = w->request_id,
        .uid = c->uid,
        .gid = w->flags & CREATE_GID ? w->gid : gid,
        .mode = w->flags & CREATE_MODE ? w->mode : mode,
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
    r = check_mode(rq, name, ret->mode);
    if (r == 0 && w->flags & CREATE_GID && w->gid != gid)
        r = check_group(rq, w->gid);
    if (r == 0 && w->flags & CREATE_KEY)
        r = check_key(rq, w->key);
    return r == 0 ? take_lifetime(rq, ns, ret) : r;
}

int policy_attach(struct request *rq, const struct reg_entry *e, const struct shmid_ds *ds,
                  bool read_only)
{
    const struct ipc_perm *p = &ds->shm_perm;

    if (policy_may_attach(rq->broker, rq->caller, p, read_only))
        return 0;
    return request_fail(rq, -EACCES,
                        "%s does not let you in to %s: its owner is uid %u, its group %u, "
                        "its mode %04o",
                        e->name, read_only ? "read" : "read and write", p->uid, p->gid,
                        p->mode & 0777u);
}

int policy_control(struct request *rq, const struct reg_entry *e, const struct shmid_ds *ds,
                   const char *what)
{
    if (e->flags & REG_DECLARED)
        return request_fail(rq, -EPERM,
                            "%s is declared in shmd.conf: the administrator may %s it there",
                            e->name, what);
    if (rq->caller->uid == ds->shm_perm.uid || policy_is_admin(rq->broker, rq->caller))
        return 0;
    return request_fail(rq, -EPERM, "%s belongs to uid %u: only its owner or an administrator may "
                        "%s it", e->name, ds->shm_perm.uid, what);
}

/* What another shmd has made: nobody knows who is in the group that it had. */
static int check_creator(struct request *rq, const struct reg_entry *e, const struct shmid_ds *ds,
                         uint32_t mode)
{
    if (!(mode & ~ds->shm_perm.mode & 070u) || ds->shm_perm.cgid == getegid())
        return 0;
    return request_fail(rq, -EPERM,
                        "mode %04o: group bits would let in the members of group %u too, which "
                        "shmd had when it made %s: create it again",
                        mode, ds->shm_perm.cgid, e->name);
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
        r = check_mode(rq, e->name, set->mode);
    if (r == 0 && set->mask & SET_MODE && e->flags & REG_CHANNEL && (set->mode & 0600) != 0600)
        r = request_fail(rq, -EINVAL, "mode %04o: the owner of a channel can read and write it",
                         set->mode);
    if (r == 0 && set->mask & SET_MODE)
        r = check_creator(rq, e, ds, set->mode);
    if (r == 0 && set->gid != ds->shm_perm.gid)
        r = check_group(rq, set->gid);
    if (r == 0 && set->uid != ds->shm_perm.uid && !policy_is_admin(rq->broker, rq->caller))
        r = request_fail(rq, -EPERM, "only an administrator may give %s to another user", e->name);
    if (r == 0 && (set->uid == (uid_t)-1 || set->uid == OVERFLOW_ID))
        r = request_fail(rq, -EINVAL, "%u is no user that shmd can give a segment to", set->uid);
    return r;
}
