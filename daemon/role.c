/* SPDX-License-Identifier: MIT */
/* The roles of members: begun, taken over after a restart, waited for, ended. */
#include <errno.h>
#include <string.h>

#include "broker.h"
#include "failpoint.h"
#include "privilege.h"
#include "util.h"

struct role *role_new(struct channel *ch, struct caller *c, struct lease *l, uint32_t kind)
{
    struct role *r = malloc(sizeof(*r));

    if (!r)
        return NULL;
    *r = (struct role){.channel = ch, .caller = c, .lease = l->id, .kind = kind,
                       .slot = WIRE_NO_SLOT, .fd = -1};
    l->role = r;
    return r;
}

static uint32_t next_number(struct broker *b)
{
    struct reg_header *h = b->table.header;

    failpoint();
    do
        __atomic_store_n(&h->next_role, h->next_role + 1, __ATOMIC_RELAXED);
    while ((uint32_t)h->next_role == 0);
    failpoint();
    return (uint32_t)h->next_role;
}

static uint32_t free_slot(const struct channel *ch)
{
    for (uint32_t i = 0; i < ch->ring.slots; i++)
        if (!bit_is(ch->taken, i) && !bit_is(ch->left, i))
            return i;
    return WIRE_NO_SLOT;
}

int role_begin(struct broker *b, struct role *r)
{
    struct channel *ch = r->channel;
    uint32_t slot = r->kind == JOIN_BLIND ? WIRE_NO_SLOT : free_slot(ch);

    if (r->kind != JOIN_BLIND && slot == WIRE_NO_SLOT)
        return -EUSERS;
    failpoint_enter("join");
    r->number = next_number(b);
    r->slot = slot;
    if (r->kind == JOIN_BLIND) {
        ring_blind(&ch->ring, 1, 0);
    } else {
        if (r->caller->start == 0)
            r->caller->start = process_start(r->caller->pid);
        bit_set(ch->taken, slot);
        atomic_store(&ch->ring.slot[slot].handle, r->handle);
        ring_take_slot(&ch->ring, slot, r->number,
                       r->kind == JOIN_WRITER ? MEMBER_WRITER : MEMBER_READER,
                       (uint32_t)r->caller->pid, r->caller->start);
    }
    failpoint();
    failpoint_enter(NULL);
    TAILQ_INSERT_TAIL(&ch->roles, r, link);
    return 0;
}

bool role_resume(struct role *r, uint32_t number, uint32_t slot)
{
    struct channel *ch = r->channel;
    bool writer = r->kind == JOIN_WRITER;

    if (slot >= ch->ring.slots || !bit_is(ch->left, slot) || bit_is(ch->writers, slot) != writer ||
        atomic_load_explicit(&ch->ring.slot[slot].role, memory_order_relaxed) != number ||
        atomic_load_explicit(&ch->ring.slot[slot].pid, memory_order_relaxed) !=
            (uint32_t)r->caller->pid)
        return false;
    r->number = number;
    r->slot = slot;
    bit_clear(ch->left, slot);
    bit_clear(ch->writers, slot);
    bit_set(ch->taken, slot);
    TAILQ_INSERT_TAIL(&ch->roles, r, link);
    return true;
}

void role_wait(struct role *r, uint32_t serial)
{
    r->serial = serial;
    r->caller->user->waits++;
    TAILQ_INSERT_TAIL(&r->channel->waiting, r, link);
}

/* No longer: what follows is its reply, unless the caller goes. */
static void wait_over(struct role *r)
{
    r->caller->user->waits--;
    TAILQ_REMOVE(&r->channel->waiting, r, link);
}

static void tell(struct broker *b, const struct role *r, int status, const char *text)
{
    struct {
        struct wire_header header;
        union {
            struct wire_joined joined;
            char text[64];
        };
    } frame = {.header = {.opcode = OP_JOIN, .serial = r->serial, .status = status}};
    uint32_t size = sizeof(frame.joined);

    if (status < 0) {
        size = wire_text_size(strlen(text));
        memcpy(frame.text, text, strlen(text));
    } else {
        frame.joined = (struct wire_joined){.role = r->number, .slot = r->slot};
    }
    frame.header.size = (uint32_t)sizeof(frame.header) + size;
    b->send(r->caller, &frame, frame.header.size);
}

void role_drop(struct role *r)
{
    struct lease *l = r ? caller_find_lease(r->caller, r->lease) : NULL;

    if (l)
        l->role = NULL;
    free(r);
}

static void ring_later(struct broker *b, struct channel *ch, uint32_t bits)
{
    if (!ch->rung)
        TAILQ_INSERT_TAIL(&b->channels.rung, ch, of_rung);
    ch->rung |= bits;
}

void channel_closed_to_all(struct broker *b, struct channel *ch)
{
    if (!ch->removed || !TAILQ_EMPTY(&ch->waiting))
        return;
    ring_note_removed(&ch->ring);
    ring_later(b, ch, 1u << JOIN_READER | 1u << JOIN_WRITER);
}

/* Who has waited longest gets the writer's place. */
static void give(struct broker *b, struct channel *ch)
{
    const struct role *who;
    struct role *r = TAILQ_FIRST(&ch->waiting);
    bool waited = r;

    while ((r = TAILQ_FIRST(&ch->waiting)) && !channel_is_taken(ch, JOIN_WRITER, &who)) {
        wait_over(r);
        if (role_begin(b, r) < 0) {
            tell(b, r, -EUSERS, "the channel has as many members as it was made for");
            role_drop(r);
        } else {
            tell(b, r, 0, NULL);
        }
    }
    if (waited)
        channel_closed_to_all(b, ch);
}

void channel_ended(struct broker *b, struct channel *ch, uint32_t kind)
{
    ring_later(b, ch, 1u << kind);
    give(b, ch);
}

void channel_counted(struct broker *b, struct channel *ch)
{
    ring_later(b, ch, RUNG_COUNTED);
}

static void end_in_ring(struct role *r)
{
    struct ring *ring = &r->channel->ring;

    if (r->kind == JOIN_WRITER)
        ring_end(ring, r->slot, r->number, MEMBER_WRITER);
    else if (r->kind == JOIN_READER)
        ring_end(ring, r->slot, r->number, MEMBER_READER);
    else
        ring_blind(ring, -1, r->fd >= 0 ? -1 : 0);
}

void role_finish(struct broker *b, struct role *r, bool goes)
{
    struct channel *ch = r->channel;
    uint32_t kind = r->kind;

    if (r->number == 0) {
        wait_over(r);
        if (!goes)
            tell(b, r, -ECANCELED, "the lease or the channel has ended");
        role_drop(r);
        channel_closed_to_all(b, ch);
        return;
    }
    TAILQ_REMOVE(&ch->roles, r, link);
    if (r->slot != WIRE_NO_SLOT)
        bit_clear(ch->taken, r->slot);
    if (!b->ending) /* else the next shmd will find it in its slot */
        end_in_ring(r);
    if (r->fd >= 0) {
        close(r->fd);
        r->caller->user->pollable--;
        b->channels.pollable--;
    }
    role_drop(r);
    if (!b->ending)
        channel_ended(b, ch, kind);
}

void role_end(struct broker *b, struct role *r, bool goes)
{
    struct channel *ch = r->channel;

    role_finish(b, r, goes);
    channel_put(b, ch);
}
