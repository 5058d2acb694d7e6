/* SPDX-License-Identifier: MIT */
#include "lease.h"

#include "lifetime.h"
#include "ops.h"
#include "policy.h"
#include "tell.h"

_Static_assert((int)HOLDER_READ_ONLY == (int)ATTACH_READ_ONLY, "flags of a lease");

static int take(struct broker *b, struct caller *c, struct reg_entry *e, uint32_t id,
                uint32_t flags)
{
    int r = caller_add_lease(c, &b->table, e, id, flags);

    if (r < 0)
        return r;
    b->leases++;
    lifetime_held(b, e);
    return 0;
}

/* Its entry, or NULL where the lease was of a segment that is no more. */
static struct reg_entry *drop(struct broker *b, struct caller *c, struct lease *l)
{
    if (l->role)
        role_end(b, l->role, false);
    b->leases--;
    return caller_drop_lease(c, &b->table, l);
}

/* A place that one of its roles leaves is not given to another. */
static void stop_waiting(struct broker *b, struct caller *c)
{
    for (unsigned i = 0; i < c->n_leases; i++)
        if (c->leases[i].role && c->leases[i].role->number == 0)
            role_end(b, c->leases[i].role, true);
}

static uint32_t role_flags(const struct role *r)
{
    if (!r || r->number == 0)
        return 0;
    return r->kind == JOIN_WRITER ? HOLDER_WRITER : HOLDER_READER;
}

int lease_check(struct request *rq)
{
    const struct config *config = &rq->broker->config;
    const struct caller *c = rq->caller;

    if (c->n_leases >= config->leases_per_connection)
        return request_fail(rq, -EDQUOT, "this connection holds %u leases, as many as the limit "
                            "leases_per_connection allows", c->n_leases);
    if (c->user->leases >= config->leases_per_user)
        return request_fail(rq, -EDQUOT, "user %u holds %u leases, and leases_per_user allows %u",
                            (unsigned)c->uid, c->user->leases, config->leases_per_user);
    return 0;
}

int op_attach(struct request *rq)
{
    const struct wire_attach *w = rq->body;
    struct broker *b = rq->broker;
    struct caller *c = rq->caller;
    struct reg_entry *e;
    struct shmid_ds ds;
    int r;

    if (w->flags & ~(uint32_t)ATTACH_KNOWN)
        return request_fail(rq, -EINVAL, "flags 0x%x of attach are unknown here", w->flags);
    if (w->lease == LEASE_CREATOR)
        return request_fail(rq, -EINVAL, "lease %u is shmd's own: take another number", w->lease);
    r = ops_find(rq, &w->target, &e, &ds);
    if (r == 0)
        r = policy_attach(rq, e, &ds, w->flags & ATTACH_READ_ONLY);
    if (r < 0)
        return r;
    if (caller_find_lease(c, w->lease))
        return request_fail(rq, -EEXIST, "lease %u of this connection is in use", w->lease);

    struct lease *hold = caller_find_hold(c, &b->table, e);

    r = hold ? 0 : lease_check(rq);
    if (r < 0)
        return r;
    if (hold)
        drop(b, c, hold); /* the entry stays: it is held again before anybody looks */
    if (take(b, c, e, w->lease, w->flags) < 0)
        return request_fail(rq, -ENOMEM, "shmd is out of memory");
    tell_lease(b, c, e, EVENT_ATTACHED);
    ops_opened(rq, e, 0);
    return 0;
}

int op_detach(struct request *rq)
{
    const struct wire_detach *w = rq->body;
    struct lease *l = w->lease == LEASE_CREATOR ? NULL : caller_find_lease(rq->caller, w->lease);

    if (!l)
        return request_fail(rq, -ENOENT, "this connection has no lease %u", w->lease);

    struct reg_entry *e = drop(rq->broker, rq->caller, l);

    channels_poke(rq->broker);
    if (e) {
        tell_lease(rq->broker, rq->caller, e, EVENT_DETACHED);
        lifetime_released(rq->broker, e);
    }
    return 0;
}

int lease_hold(struct broker *b, struct caller *c, struct reg_entry *e)
{
    return take(b, c, e, LEASE_CREATOR, HOLDER_CREATOR);
}

void lease_end_all(struct broker *b, struct caller *c)
{
    stop_waiting(b, c);
    while (c->n_leases > 0) {
        struct lease *l = &c->leases[c->n_leases - 1];
        bool hold = l->flags & HOLDER_CREATOR;
        struct reg_entry *e = drop(b, c, l);

        if (!e || b->ending)
            continue;
        if (!hold)
            tell_lease(b, c, e, EVENT_DIED);
        lifetime_released(b, e);
    }
    channels_poke(b);
}

#define STEPS_A_LOOK 64u /* leases and callers passed as fast as one segment is looked at */

/* Holders in the order of their connections: a cursor counts them, so one that comes or goes
 * meanwhile may make another be told twice, or not at all. */
int op_who(struct request *rq)
{
    const struct wire_who *w = rq->body;
    struct broker *b = rq->broker;
    const struct caller *c;
    struct reg_entry *e;
    struct shmid_ds ds;
    uint32_t seen = 0, steps = 0;
    int r = ops_find(rq, &w->target, &e, &ds);

    if (r < 0)
        return r;

    struct wire_holders *to = request_reply(rq, sizeof(*to));

    TAILQ_FOREACH(c, &b->callers, link) {
        steps += 1 + c->n_leases;
        for (unsigned i = 0; i < c->n_leases; i++) {
            const struct lease *l = &c->leases[i];

            if (l->index != table_index(&b->table, e) || l->instance != e->instance ||
                seen++ < w->cursor)
                continue;
            if (to->count == WIRE_PAGE_HOLDERS) {
                to->cursor = w->cursor + to->count;
                goto out;
            }
            to->records[to->count++] = (struct wire_holder){
                .since = l->since, .pid = (uint32_t)c->pid, .uid = c->uid, .gid = c->gid,
                .flags = l->flags | role_flags(l->role),
            };
        }
    }
out:
    b->looks += steps / STEPS_A_LOOK;
    rq->reply_size += to->count * (uint32_t)sizeof(to->records[0]);
    return 0;
}
