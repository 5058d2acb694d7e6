/* SPDX-License-Identifier: MIT */
/* Handlers that make, find, hold, change and remove segments. */
#include "ops.h"

#include <string.h>

#include "lease.h"
#include "lifetime.h"
#include "ops_channel.h"
#include "policy.h"
#include "tell.h"

/* The answer of all who hand out a shmid: what it is, and its full name behind that. */
void ops_opened(struct request *rq, const struct reg_entry *e, uint32_t flags)
{
    struct wire_opened *to = rq->reply;

    *to = (struct wire_opened){
        .instance = e->instance,
        .size = e->size,
        .shmid = table_shmid(e),
        .key = e->key,
        .flags = flags | (e->flags & REG_CHANNEL ? OPENED_CHANNEL : 0),
    };
    rq->reply_size = sizeof(*to);
    request_reply_name(rq, e->name, wire_text_size(strlen(e->name)));
}

/* The full name that the request's text means. */
static int resolve(struct request *rq, char name[NAME_SIZE])
{
    static const char padding[8];
    const char *why = NULL;
    size_t len = rq->text_size > 0 ? strlen(rq->text) : 0;

    if (len == 0)
        return request_fail(rq, -EINVAL, "a name may not be empty");
    /* Nothing may hide behind the end. */
    if (rq->text_size != wire_text_size(len) ||
        memcmp(rq->text + len, padding, rq->text_size - len) != 0)
        return request_fail(rq, -EINVAL, "a name with a NUL inside");
    if (name_resolve(rq->text, rq->caller->home, name, &why) < 0)
        return request_fail(rq, -EINVAL, "%s", why);
    return 0;
}

static int no_such(struct request *rq, const struct wire_target *target, const char *name)
{
    if (target->by == BY_NAME)
        return request_fail(rq, -ENOENT, "%s does not exist", name);
    if (target->by == BY_KEY)
        return request_fail(rq, -ENOENT, "no brokered segment has key 0x%08x",
                            (unsigned)target->id);
    return request_fail(rq, -ENOENT, "no brokered segment has shmid %d", target->id);
}

static int find_number(struct request *rq, const struct wire_target *target, struct reg_entry **e)
{
    struct table *t = &rq->broker->table;
    int id = target->by == BY_KEY ? t->sysv->find(target->id) : target->id;

    *e = id >= 0 ? table_find_shmid(t, id) : NULL;
    return *e ? 0 : no_such(rq, target, NULL);
}

/* Most callers send the full name, which is found as it is: only what is not found is looked
 * into. */
static int find_name(struct request *rq, const struct wire_target *target, struct reg_entry **e)
{
    struct table *t = &rq->broker->table;
    char name[NAME_SIZE];

    *e = rq->text_size > 0 ? table_find(t, rq->text, rq->text_size) : NULL;
    if (*e)
        return 0;

    int r = resolve(rq, name);

    if (r < 0)
        return r;
    *e = table_find(t, name, NAME_SIZE);
    return *e ? 0 : no_such(rq, target, name);
}

/* With the public view off nobody learns even that a segment is there that they may not have. */
static bool hidden(const struct request *rq, const struct reg_entry *e, const struct shmid_ds *ds)
{
    const struct broker *b = rq->broker;

    if (b->config.public_view)
        return false;
    if (ds)
        return !policy_may_see(b, rq->caller, &ds->shm_perm);
    return !policy_may_see_entry(b, rq->caller, e);
}

int ops_find(struct request *rq, const struct wire_target *target, struct reg_entry **e,
             struct shmid_ds *ds)
{
    struct shmid_ds unasked;
    int r;

    if (target->by > BY_SHMID || (target->by != BY_NAME && rq->text_size > 0))
        return request_fail(rq, -EINVAL, "a segment is meant by name, key or shmid");
    r = target->by == BY_NAME ? find_name(rq, target, e) : find_number(rq, target, e);
    if (r < 0)
        return r;

    /* What was let go keeps its name until the entry is used again. */
    const char *name = (*e)->name;
    bool unseen = hidden(rq, *e, NULL);

    if (!ds && !rq->broker->config.public_view)
        ds = &unasked;
    r = ds ? segment_check(&rq->broker->table, *e, ds) : 0;
    if (r < 0 ? unseen : hidden(rq, *e, ds))
        return no_such(rq, target, name);
    if (target->instance != 0 && (*e)->instance != target->instance)
        return request_fail(rq, -ENOENT, "%s is not the segment that was meant any more", name);
    if (r < 0 && r != -EIDRM)
        return request_fail(rq, r, "the kernel tells nothing of %s: %s", name, strerror(-r));
    if (r < 0 && (*e)->flags & REG_EPHEMERAL)
        return request_fail(rq, -ENOENT, "%s was ephemeral, and its last user has gone", name);
    if (r < 0)
        return request_fail(rq, r, "%s was removed behind the broker's back (ipcrm?): create it "
                            "anew", name);
    return 0;
}

static int refuse_create(struct request *rq, const struct segment_request *s, int error)
{
    char text[SYSV_TEXT_MAX];

    switch (error) {
    case -EXFULL:
        return request_fail(rq, error, "the registry is full: its capacity is %u segments",
                            rq->broker->table.view.capacity);
    case -EADDRINUSE:
        if (s->key)
            return request_fail(rq, error, "key 0x%08x is taken by another segment (see ipcs -m)",
                                (unsigned)s->key);
        return request_fail(rq, error, "no free key found in key_range: somebody else uses it");
    default:
        sysv_explain(error, s->size, text);
        return request_fail(rq, error, "%s", text);
    }
}

/* The name exists. Perhaps this very request made it, and only the reply was lost. */
static int create_existing(struct request *rq, const struct wire_create *w,
                           const struct ring_options *ring, struct reg_entry *e)
{
    bool same = w->request_id != 0 && e->request_id == w->request_id &&
                e->creator_uid == rq->caller->uid;

    if (!same && w->flags & CREATE_EXCLUSIVE)
        return request_fail(rq, -EEXIST, "%s exists already", e->name);
    if (ring) {
        int r = channel_same(rq, ring, w->size, e);

        if (r < 0)
            return r;
    }
    if (!same && w->size > e->size)
        return request_fail(rq, -EINVAL, "%s exists with %llu bytes, fewer than the %llu asked for",
                            e->name, (unsigned long long)e->size, (unsigned long long)w->size);
    if (!same && w->flags & CREATE_KEY && w->key != e->key)
        return request_fail(rq, -EEXIST, "%s exists with another key, 0x%08x", e->name,
                            (unsigned)e->key);
    if (same && e->flags & REG_EPHEMERAL && !caller_find_hold(rq->caller, &rq->broker->table, e)) {
        /* The hold was that of the connection which broke. */
        int r = lease_check(rq);

        if (r < 0)
            return r;
        if (lease_hold(rq->broker, rq->caller, e) < 0)
            return request_fail(rq, -ENOMEM, "shmd is out of memory");
    }
    ops_opened(rq, e, same ? OPENED_CREATED : 0);
    return 0;
}

static int created(struct request *rq, struct reg_entry *e)
{
    struct broker *b = rq->broker;

    lifetime_begin(b, e);
    if (e->flags & REG_EPHEMERAL && lease_hold(b, rq->caller, e) < 0) {
        segment_remove(&b->table, e);
        return request_fail(rq, -ENOMEM, "shmd is out of memory");
    }
    tell_created(b, rq->caller, e);
    ops_opened(rq, e, OPENED_CREATED);
    waits_created(b, e);
    return 0;
}

int ops_create(struct request *rq, const struct ring_options *ring)
{
    const struct wire_create *w = rq->body;
    struct table *t = &rq->broker->table;
    struct segment_request s;
    char name[NAME_SIZE];
    struct reg_entry *e;
    struct shmid_ds ds;
    int r = resolve(rq, name);

    if (r == 0 && w->flags & ~(uint32_t)CREATE_KNOWN)
        r = request_fail(rq, -EINVAL, "flags 0x%x of create are unknown here", w->flags);
    if (r < 0)
        return r;
    e = table_find(t, name, NAME_SIZE);
    if (e && (!hidden(rq, e, NULL) || policy_may_create(rq->broker, rq->caller, name))) {
        r = segment_check(t, e, &ds);
        if (r == 0 && hidden(rq, e, &ds)) /* of its size and shmid nothing, but the name is taken */
            return request_fail(rq, -EEXIST, "%s exists already", name);
        if (r == 0)
            return create_existing(rq, w, ring, e);
        if (r != -EIDRM) /* the name is not free */
            return request_fail(rq, r, "the kernel tells nothing of %s: %s", name, strerror(-r));
    }
    r = policy_create(rq, name, &s);
    s.ring = ring;
    if (r == 0 && ring && (s.mode & 0600) != 0600)
        r = request_fail(rq, -EINVAL, "mode %04o: the owner of a channel can read and write it",
                         s.mode);
    if (r == 0 && s.flags & REG_EPHEMERAL)
        r = lease_check(rq); /* its creator's hold is one */
    if (r < 0)
        return r;
    r = segment_create(t, &s, &e);
    if (r < 0)
        return refuse_create(rq, &s, r);
    return created(rq, e);
}

int op_create(struct request *rq)
{
    return ops_create(rq, NULL);
}

int op_open(struct request *rq)
{
    const struct wire_open *w = rq->body;
    char name[NAME_SIZE];
    struct reg_entry *e;
    struct shmid_ds ds;
    int r;

    /* As in the registry, a look-up by name decides nothing: attaching does, and asks the
     * kernel. */
    if (w->flags & ~(uint32_t)OPEN_KNOWN)
        return request_fail(rq, -EINVAL, "flags 0x%x of open are unknown here", w->flags);
    r = ops_find(rq, &w->target, &e, w->flags ? &ds : NULL);
    if (r == 0) {
        ops_opened(rq, e, 0);
        return 0;
    }
    if (!(w->flags & OPEN_WAIT) || w->target.by != BY_NAME || (r != -ENOENT && r != -EIDRM))
        return r;
    if (resolve(rq, name) < 0)
        return -EINVAL;
    r = waits_add(rq->broker, rq->caller, rq->serial, name);
    if (r == -EDQUOT)
        return request_fail(rq, r, "user %u waits for %u names, as many as shmd allows",
                            (unsigned)rq->caller->uid, rq->caller->user->waits);
    return r < 0 ? request_fail(rq, r, "shmd is out of memory") : REQUEST_E_LATER;
}

int op_set(struct request *rq)
{
    struct wire_set set = *(const struct wire_set *)rq->body;
    struct table *t = &rq->broker->table;
    struct reg_entry *e;
    struct shmid_ds ds;
    int r;

    if (set.mask == 0 || set.mask & ~(uint32_t)SET_KNOWN)
        return request_fail(rq, -EINVAL, "set changes a mode, an owner or a group");
    r = ops_find(rq, &set.target, &e, &ds);
    if (r == 0)
        r = policy_set(rq, e, &ds, &set);
    if (r < 0)
        return r;
    r = segment_set(t, e, set.uid, set.gid, set.mode, &ds);
    if (r < 0)
        return request_fail(rq, r, "the kernel refuses: %s", strerror(-r));
    tell_changed(rq->broker, rq->caller, e, REASON_ASKED);
    waits_created(rq->broker, e); /* somebody may see it now who could not */
    ops_fill_segment(request_reply(rq, sizeof(struct wire_segment)), rq->broker, e, &ds);
    return 0;
}

int ops_find_to_remove(struct request *rq, struct reg_entry **e, struct shmid_ds *ds)
{
    int r = ops_find(rq, rq->body, e, ds);

    return r == 0 ? policy_control(rq, *e, ds, "remove") : r;
}

int ops_remove(struct request *rq, struct reg_entry *e, const struct shmid_ds *ds)
{
    const struct reg_entry was = *e; /* to be told of when it is gone */

    ops_fill_segment(request_reply(rq, sizeof(struct wire_segment)), rq->broker, e, ds);

    int r = segment_remove(&rq->broker->table, e);

    if (r < 0)
        return request_fail(rq, r, "the kernel refuses: %s", strerror(-r));
    tell_removed(rq->broker, rq->caller, &was, REASON_ASKED);
    return 0;
}

int op_remove(struct request *rq)
{
    struct reg_entry *e;
    struct shmid_ds ds;
    int r = ops_find_to_remove(rq, &e, &ds);

    return r == 0 ? ops_remove(rq, e, &ds) : r;
}
