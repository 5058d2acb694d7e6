/* SPDX-License-Identifier: MIT */
#include "member.h"

#include <string.h>

#define AGAIN_MS 250 /* to a shmd that has just come back */
#define POKE_MS 1000 /* likewise, where somebody sleeps until it hears of us */
#define REST_NS NS_PER_SECOND /* where that one did not answer: no call is to wait each time */

struct join_frame {
    struct wire_header header;
    struct wire_join body;
};

static void enter(struct member *m)
{
    m->next = m->s->members;
    m->before = &m->s->members;
    if (m->next)
        m->next->before = &m->next;
    m->s->members = m;
}

static void leave(struct member *m)
{
    if (!m->before)
        return;
    *m->before = m->next;
    if (m->next)
        m->next->before = m->before;
    m->before = NULL;
}

/* The answer is skipped as a late one: whether the role was lost stands in the ring. */
int members_announce(struct shmd *s, struct deadline *d)
{
    int r = 0;

    for (struct member *m = s->members; m && r == 0; m = m->next) {
        const struct join_frame frame = {
            .header = link_header(s, OP_JOIN, 0, sizeof(frame.body)),
            .body = {.lease = m->attachment.lease,
                     .kind = m->kind,
                     .role = m->role,
                     .slot = m->slot,
                     .handle = s->number},
        };

        if (m->role != 0)
            r = link_send(s, &frame, sizeof(frame), d);
    }
    return r;
}

/* A tag in another's channel may have no end. */
static int check_type(struct member *m, const char *name, const struct shmd_member_options *o)
{
    const struct ring_header *h = m->ring.header;
    char tag[SHMD_TAG_SIZE];

    _Static_assert(sizeof(h->tag) == SHMD_TAG_SIZE, "tags differ in size");
    if (!o->tag)
        return 0;
    text_printable(tag, h->tag, sizeof(tag));
    if (strcmp(tag, o->tag) == 0 && h->version == o->version)
        return 0;
    return handle_fail(m->s, -EPROTOTYPE, "%s carries \"%s\" version %u, not \"%s\" version %u",
                       name, tag, h->version, o->tag, o->version);
}

static int attach(struct member *m, const char *name, struct deadline *d)
{
    int r = attach_until(m->s, name, 0, NULL, &m->attachment, d);

    if (r != -EACCES || m->kind != JOIN_READER)
        return r;
    m->kind = JOIN_BLIND;
    return attach_until(m->s, name, SHMD_READ_ONLY, NULL, &m->attachment, d);
}

static int look(struct member *m, const char *name, const struct shmd_member_options *o)
{
    int r = ring_init(&m->ring, m->attachment.address, m->attachment.size);

    if (r == -EPROTONOSUPPORT)
        return handle_fail(m->s, r, "%s is a channel of another version of shmd", name);
    if (r < 0)
        return handle_fail(m->s, -EPROTOTYPE, "%s is no channel", name);
    if (m->kind == JOIN_BLIND && !(m->ring.flags & RING_BROADCAST))
        return handle_fail(m->s, -EACCES, "%s is reliable: its readers need write access, which "
                           "the kernel denies you", name);
    return check_type(m, name, o);
}

static int join(struct member *m, const struct shmd_member_options *o, struct deadline *d)
{
    const struct wire_join request = {
        .lease = m->attachment.lease,
        .kind = m->kind,
        .flags = o->flags & SHMD_MEMBER_WAIT && m->kind == JOIN_WRITER ? JOIN_WAIT : 0,
        .handle = m->s->number,
    };
    struct wire_joined joined;
    int r = call(m->s, &(struct question){OP_JOIN, &request, sizeof(request), NULL}, &joined,
                 sizeof(joined), d);

    if (r < 0)
        return r;
    if (joined.role == 0)
        return link_broken(m->s, "a role of number 0");
    /* The ring's header says how many there are, and others may write to it: what they write is not
     * to cost this handle its connection, and with it the roles in other channels. */
    if (m->kind != JOIN_BLIND && joined.slot >= m->ring.slots)
        return handle_fail(m->s, -EPROTO, "somebody has damaged %s: it has no slot %u",
                           m->attachment.segment.name, joined.slot);
    m->role = joined.role;
    m->slot = joined.slot;
    return 0;
}

/* Keeping the sentence of what has failed. */
static void drop(struct member *m)
{
    char error[sizeof(m->s->error)];

    memcpy(error, m->s->error, sizeof(error));
    shmd_detach(m->s, &m->attachment);
    memcpy(m->s->error, error, sizeof(error));
}

int member_open(struct member *m, struct shmd *s, const char *name, uint32_t kind,
                const struct shmd_member_options *o, struct deadline *d)
{
    int r = 0;

    *m = (struct member){.s = s, .kind = kind, .epoll = -1, .event = -1, .timer = -1};
    if (o->flags & SHMD_MEMBER_WAIT)
        r = shmd_open(s, name, SHMD_WAIT, NULL, deadline_left_ms(d));
    if (r == 0)
        r = attach(m, name, d);
    if (r < 0)
        return r;
    r = look(m, name, o);
    if (r == 0) {
        m->epoch = atomic_load(&m->ring.header->epoch);
        r = join(m, o, d);
    }
    if (r < 0) {
        drop(m);
        return r;
    }
    enter(m);
    return 0;
}

void member_close(struct member *m)
{
    leave(m);
    member_poll_end(m);
    shmd_detach(m->s, &m->attachment);
}

/* Where there is no shmd it fails at once, and what follows works without: one that comes anew says
 * so in the ring. -EAGAIN: one is there, and does not answer in time. */
static int connect_again(struct member *m, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    struct shmd *s = m->s;

    if (link_hung_up(s))
        link_close(s);
    if (s->fd >= 0)
        return 0;
    if (clock_ns(CLOCK_MONOTONIC) < s->members_rest)
        return -EAGAIN;
    if (link_once(s, &d) != -ETIMEDOUT)
        return 0;
    s->members_rest = clock_ns(CLOCK_MONOTONIC) + REST_NS;
    return -EAGAIN;
}

int member_check(struct member *m)
{
    int r = connect_again(m, AGAIN_MS);

    if (m->kind == JOIN_BLIND) /* shmd counts it only once it is told */
        return m->s->fd < 0 ? -EAGAIN : 0;
    if (atomic_load_explicit(&m->ring.slot[m->slot].role, memory_order_acquire) == m->role)
        return r;
    return handle_fail(m->s, -ESTALE, "shmd has ended this process's part in %s",
                       m->attachment.segment.name);
}

/* Not seen by a shmd that is away: who polls then looks by a timer. */
bool member_poke(struct member *m)
{
    struct deadline at_once = {.timeout_ms = 0};
    struct shmd *s = m->s;

    if (!m->closing) /* which never blocks */
        connect_again(m, POKE_MS);
    if (s->fd < 0)
        return clock_ns(CLOCK_MONOTONIC) >= s->members_rest;

    const struct {
        struct wire_header header;
        struct wire_poke body;
    } frame = {
        .header = link_header(s, OP_POKE, FRAME_NOREPLY, sizeof(frame.body)),
        .body = {.lease = m->attachment.lease,
                 .whom = m->kind == JOIN_WRITER ? POKE_READERS : POKE_WRITERS},
    };

    int r = link_send(s, &frame, sizeof(frame), &at_once);

    if (r == LINK_LOST)
        link_close(s);
    return r >= 0;
}
