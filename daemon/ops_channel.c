/* SPDX-License-Identifier: MIT */
/* Handlers of channels: made or opened, joined, polled, poked. */
#include "ops_channel.h"

#include <sys/socket.h>

#include "ops.h"
#include "policy.h"
#include "segment.h"

#define POKES_A_LOOK 8u /* roles poked as fast as one segment is looked at */

static int differs(struct request *rq, const struct reg_entry *e, const char *what,
                   unsigned long long has, unsigned long long asked)
{
    return request_fail(rq, -EPROTOTYPE, "%s exists with another %s, %llu and not %llu", e->name,
                        what, has, asked);
}

int channel_same(struct request *rq, const struct ring_options *ring, uint64_t size,
                 const struct reg_entry *e)
{
    const struct reg_channel *c = &e->channel;

    if (!(e->flags & REG_CHANNEL))
        return request_fail(rq, -EPROTOTYPE, "%s exists and is no channel", e->name);
    if (memcmp(c->tag, ring->tag, sizeof(c->tag)) != 0)
        return request_fail(rq, -EPROTOTYPE, "%s exists with another tag, \"%.*s\" and not \"%s\"",
                            e->name, (int)sizeof(c->tag), c->tag, ring->tag);
    if (c->version != ring->version)
        return differs(rq, e, "version of its messages", c->version, ring->version);
    if ((c->shape & 0xff) != ring->flags)
        return differs(rq, e, "kind (flags)", c->shape & 0xff, ring->flags);
    if (c->max_message != ring->max_message)
        return differs(rq, e, "limit of a message (bytes)", c->max_message, ring->max_message);
    if (c->shape >> 8 != ring->slots)
        return differs(rq, e, "number of members", c->shape >> 8, ring->slots);
    if (e->size != size)
        return differs(rq, e, "room for messages (bytes in all)", e->size, size);
    return 0;
}

int op_channel(struct request *rq)
{
    struct wire_channel w = *(const struct wire_channel *)rq->body;
    struct ring_options ring = {
        .flags = w.ring_flags,
        .max_message = w.max_message,
        .messages = w.messages,
        .slots = w.slots,
        .version = w.version,
    };
    size_t len = strnlen(w.tag, sizeof(w.tag));

    _Static_assert(sizeof(ring.tag) == sizeof(w.tag), "tags");
    memcpy(ring.tag, w.tag, len);
    if (len == sizeof(w.tag) || memcmp(ring.tag, w.tag, sizeof(w.tag)) != 0)
        return request_fail(rq, -EINVAL, "a tag has up to %zu characters, and NULs behind them",
                            sizeof(w.tag) - 1);
    if (w.create.size != 0)
        return request_fail(rq, -EINVAL, "the size of a channel follows from its options");
    w.create.size = ring.slots ? ring_segment_size(&ring) : 0;
    if (w.create.size == 0)
        return request_fail(rq, -EINVAL,
                            "no channel: messages of 1 to %u bytes, 1 to %u members, flags that "
                            "are known and go together, and a ring that is not too large are "
                            "possible",
                            RING_MESSAGE_MAX, RING_SLOTS_MAX);
    rq->body = &w.create;

    int r = ops_create(rq, &ring);

    rq->body = NULL; /* it ends here */
    return r;
}

static int find_lease(struct request *rq, uint32_t id, struct lease **l)
{
    *l = id ? caller_find_lease(rq->caller, id) : NULL;
    return *l ? 0 : request_fail(rq, -ENOENT, "this connection has no lease %u", id);
}

/* The channel that a lease is on, and which its holder may still enter. */
static int find_channel(struct request *rq, const struct lease *l, bool read_only,
                        struct channel **ch)
{
    struct table *t = &rq->broker->table;
    struct reg_entry *e = &t->entry[l->index];
    bool same = e->instance == l->instance && table_state(e) == REG_LIVE;
    struct shmid_ds ds;
    int r = same ? segment_check(t, e, &ds) : -EIDRM;

    rq->broker->looks++;
    if (r < 0)
        return request_fail(rq, r, "what lease %u was on is not there any more", l->id);
    if (!(e->flags & REG_CHANNEL))
        return request_fail(rq, -EPROTOTYPE, "%s is no channel", e->name);
    r = policy_attach(rq, e, &ds, read_only);
    if (r < 0)
        return r;
    r = channel_of(rq->broker, e, ch);
    if (r == -EACCES)
        return request_fail(rq, r, "mode %04o of %s keeps shmd itself out, which cannot note who "
                            "dies then", ds.shm_perm.mode & 0777u, e->name);
    return r < 0 ? request_fail(rq, r, "shmd cannot attach %s: %s", e->name, strerror(-r)) : 0;
}

static int busy(struct request *rq, const struct channel *ch, bool writer, const struct role *who)
{
    const char *name = rq->broker->table.entry[ch->index].name;
    const char *kind = writer ? "writer" : "reader";

    if (who)
        return request_fail(rq, -EBUSY, "%s has a %s: process %d of user %u", name, kind,
                            who->caller->pid, (unsigned)who->caller->uid);

    int slot = channel_left_slot(ch, writer);

    if (slot < 0)
        return request_fail(rq, -EBUSY, "%s has a %s", name, kind);
    return request_fail(rq, -EBUSY, "%s has a %s: process %u, which has not come back to this "
                        "shmd yet", name, kind,
                        atomic_load_explicit(&ch->ring.slot[slot].pid, memory_order_relaxed));
}

/* 0, REQUEST_E_LATER, or why not. */
static int begin(struct request *rq, const struct wire_join *w, struct role *role)
{
    struct channel *ch = role->channel;
    const struct role *who;

    if (w->role != 0 && w->kind != JOIN_BLIND)
        return role_resume(role, w->role, w->slot)
                   ? 0
                   : request_fail(rq, -ESTALE, "role %u has ended: join anew", w->role);
    if (w->role != 0)
        channel_counted(rq->broker, ch);
    channel_drop_lost(rq->broker, role);
    if (channel_is_taken(ch, w->kind, &who)) {
        if (!(w->flags & JOIN_WAIT))
            return busy(rq, ch, w->kind == JOIN_WRITER, who);
        if (rq->caller->user->waits >= WAITS_USER_MAX)
            return request_fail(rq, -EDQUOT, "user %u waits in %u places, as many as shmd allows",
                                (unsigned)rq->caller->uid, rq->caller->user->waits);
        role_wait(role, rq->serial);
        return REQUEST_E_LATER;
    }
    if (role_begin(rq->broker, role) < 0)
        return request_fail(rq, -EUSERS, "%s has %u members, as many as it was made for",
                            rq->broker->table.entry[ch->index].name, ch->ring.slots);
    return 0;
}

int op_join(struct request *rq)
{
    const struct wire_join *w = rq->body;
    struct broker *b = rq->broker;
    struct channel *ch;
    struct lease *l;
    int r = find_lease(rq, w->lease, &l);

    if (r < 0)
        return r;
    if (w->kind < JOIN_READER || w->kind > JOIN_BLIND || w->flags & ~(uint32_t)JOIN_KNOWN ||
        (w->flags & JOIN_WAIT && w->kind != JOIN_WRITER))
        return request_fail(rq, -EINVAL, "kind %u and flags 0x%x: not of a member", w->kind,
                            w->flags);
    if (l->role)
        return request_fail(rq, -EALREADY, "lease %u has a role already", w->lease);
    if (l->flags & HOLDER_READ_ONLY && w->kind != JOIN_BLIND)
        return request_fail(rq, -EACCES, "lease %u is read-only, and members with a slot write",
                            w->lease);
    r = find_channel(rq, l, w->kind == JOIN_BLIND, &ch);
    if (r < 0)
        return r;

    struct role *role = role_new(ch, rq->caller, l, w->kind);

    if (role)
        role->handle = w->handle;
    r = role ? begin(rq, w, role) : request_fail(rq, -ENOMEM, "shmd is out of memory");
    channels_poke(b);
    if (r < 0) {
        role_drop(role);
        channel_put(b, ch);
    }
    if (r == 0) {
        struct wire_joined *to = request_reply(rq, sizeof(*to));

        *to = (struct wire_joined){.role = role->number, .slot = role->slot};
    }
    return r;
}

static int find_role(struct request *rq, uint32_t lease, struct role **role)
{
    struct lease *l;
    int r = find_lease(rq, lease, &l);

    if (r < 0)
        return r;
    *role = l->role && l->role->number != 0 ? l->role : NULL;
    return *role ? 0 : request_fail(rq, -ENOTCONN, "lease %u has no role in a channel", lease);
}

/*
 * One end of a pair for the caller. An eventfd's flags and a pipe's lock are shared with who holds
 * the other end, who could make shmd wait there: of a socket only the queue is. Ours sends and
 * takes nothing, and its queue is as short as the kernel allows.
 */
static int make_pair(int ends[2])
{
    int least = 1;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return -errno;
    shutdown(ends[0], SHUT_RD);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
    return 0;
}

int op_pollfd(struct request *rq)
{
    const struct wire_pollfd *w = rq->body;
    struct broker *b = rq->broker;
    struct user *user = rq->caller->user;
    struct role *role;
    int ends[2];
    int r = find_role(rq, w->lease, &role);

    if (r < 0)
        return r;
    if (b->may_pass && !b->may_pass(rq->caller))
        return request_fail(rq, -EBUSY, "%u descriptors have not been read yet", WIRE_FDS_UNREAD);
    if (role->fd < 0 && user->pollable >= b->config.connections_per_user)
        return request_fail(rq, -EDQUOT, "user %u polls %u channels, as many as "
                            "connections_per_user allows", (unsigned)user->uid, user->pollable);
    if (role->fd < 0 && b->channels.pollable >= b->config.connections)
        return request_fail(rq, -EDQUOT, "%u channels are polled, as many as the limit connections "
                            "allows", b->channels.pollable);
    r = make_pair(ends);
    if (r < 0)
        return request_fail(rq, r, "no descriptor to poll: %s", strerror(-r));
    if (role->fd >= 0) {
        close(role->fd);
    } else {
        user->pollable++;
        b->channels.pollable++;
        if (role->kind == JOIN_BLIND)
            ring_blind(&role->channel->ring, 0, 1);
    }
    role->fd = ends[0];
    b->pass = ends[1];
    return 0;
}

/* Decided in here, as members are: who joins, and who removes what nobody has joined, cannot miss
 * each other. */
int op_disband(struct request *rq)
{
    struct broker *b = rq->broker;
    struct channel *ch;
    struct reg_entry *e;
    struct shmid_ds ds;
    int r = ops_find_to_remove(rq, &e, &ds);

    if (r < 0)
        return r;
    if (!(e->flags & REG_CHANNEL))
        return request_fail(rq, -EPROTOTYPE, "%s is no channel", e->name);
    r = channel_of(b, e, &ch);
    if (r < 0)
        return request_fail(rq, r, "shmd cannot see the members of %s: %s", e->name, strerror(-r));

    bool others = channel_has_others(ch, rq->caller);

    channel_put(b, ch);
    return others ? request_fail(rq, -EBUSY, "%s has other members", e->name)
                  : ops_remove(rq, e, &ds);
}

int op_poke(struct request *rq)
{
    const struct wire_poke *w = rq->body;
    struct role *role;
    int r = find_role(rq, w->lease, &role);

    if (r < 0)
        return r;
    if (w->whom != POKE_READERS && w->whom != POKE_WRITERS)
        return request_fail(rq, -EINVAL, "readers or writers are poked, not %u", w->whom);
    if (role->kind == JOIN_BLIND)
        return request_fail(rq, -EACCES, "who cannot write has nothing to tell others");
    rq->broker->looks += channel_poke(role->channel, w->whom) / POKES_A_LOOK;
    return 0;
}
