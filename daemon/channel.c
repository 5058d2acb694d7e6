/* SPDX-License-Identifier: MIT */
#include "channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "broker.h"
#include "log.h"
#include "privilege.h"
#include "segment.h"
#include "util.h"

#define RING_ALIGN 4096u

static uint64_t ring_start(uint32_t slots)
{
    uint64_t end = sizeof(struct ring_header) + (uint64_t)slots * sizeof(struct ring_slot);

    return (end + RING_ALIGN - 1) & ~(uint64_t)(RING_ALIGN - 1);
}

static uint32_t slots_of(const struct reg_entry *e)
{
    return e->channel.shape >> 8;
}

bool channel_sound(const struct reg_entry *e)
{
    uint32_t slots = slots_of(e);

    return !(e->flags & REG_CHANNEL) ||
           (slots > 0 && slots <= RING_SLOTS_MAX && e->size > ring_start(slots));
}

int bit_first(const uint64_t *bits)
{
    for (int i = 0; i < (int)CHANNEL_WORDS; i++)
        if (bits[i])
            return i * 64 + __builtin_ctzll(bits[i]);
    return -1;
}

static struct channel *make(struct broker *b, struct reg_entry *e)
{
    struct channel *ch = calloc(1, sizeof(*ch));

    if (!ch)
        return NULL;
    ch->index = table_index(&b->table, e);
    ch->instance = e->instance;
    ch->bytes = e->size;
    ch->scanned = true;
    TAILQ_INIT(&ch->roles);
    TAILQ_INIT(&ch->waiting);
    b->channels.of[ch->index] = ch;
    return ch;
}

static void look_at(struct channel *ch, const struct reg_entry *e, void *pin)
{
    uint64_t start = ring_start(slots_of(e));

    ch->ring = (struct ring){
        .header = pin,
        .slot = (struct ring_slot *)(void *)((char *)pin + sizeof(struct ring_header)),
        .data = (unsigned char *)pin + start,
        .size = e->size - start,
        .flags = e->channel.shape & 0xff,
        .max_message = e->channel.max_message,
        .slots = slots_of(e),
    };
}

int channel_of(struct broker *b, struct reg_entry *e, struct channel **ret)
{
    struct channel *ch = b->channels.of[table_index(&b->table, e)];
    int r = segment_pin(&b->table, e);

    if (r < 0)
        return r;
    if (!ch)
        ch = make(b, e);
    if (!ch)
        return -ENOMEM;
    look_at(ch, e, table_pin(&b->table, e));
    channel_scan(ch);
    *ret = ch;
    return 0;
}

static void forget(struct broker *b, struct channel *ch)
{
    if (ch->found)
        TAILQ_REMOVE(&b->channels.found, ch, link);
    if (ch->removed)
        segment_detach(&b->table, ch->bytes, ch->ring.header);
    else
        b->channels.of[ch->index] = NULL;
    free(ch);
}

void channel_put(struct broker *b, struct channel *ch)
{
    bool left = !ch->removed && (!ch->scanned || bit_first(ch->left) >= 0);

    if (!left && TAILQ_EMPTY(&ch->roles) && TAILQ_EMPTY(&ch->waiting))
        forget(b, ch);
}

/* The observer's: an entry has been cleared, or its segment let go. */
static bool keep(void *data, const struct reg_entry *e, void *pin)
{
    struct broker *b = data;
    struct channel *ch = b->channels.of[table_index(&b->table, e)];

    if (!ch || ch->instance != e->instance)
        return false;
    (void)pin; /* the ring's: it does not move while anybody has a role */
    if (TAILQ_EMPTY(&ch->roles) && TAILQ_EMPTY(&ch->waiting)) {
        forget(b, ch);
        return false;
    }
    b->channels.of[ch->index] = NULL;
    ch->removed = true;
    return true;
}

int channels_init(struct broker *b)
{
    struct table *t = &b->table;
    struct channels *all = &b->channels;

    TAILQ_INIT(&all->found);
    all->pass = 1;
    all->capacity = t->view.capacity;
    all->of = calloc(all->capacity, sizeof(*all->of));
    if (!all->of)
        return -ENOMEM;
    t->observer.keep = keep;
    for (uint32_t i = 0; i < all->capacity; i++) {
        struct reg_entry *e = &t->entry[i];
        struct channel *ch;

        if (table_state(e) != REG_LIVE || !(e->flags & REG_CHANNEL) || !table_pin(t, e))
            continue;
        ch = make(b, e);
        if (!ch)
            return -ENOMEM;
        look_at(ch, e, table_pin(t, e));
        ch->scanned = false;
        ch->found = true;
        TAILQ_INSERT_TAIL(&all->found, ch, link);
    }
    return 0;
}

void channels_done(struct broker *b)
{
    for (uint32_t i = 0; b->channels.of && i < b->channels.capacity; i++)
        free(b->channels.of[i]);
    free(b->channels.of);
    b->channels.of = NULL;
    b->table.observer.keep = NULL;
}

/* It says so in its slot before shmd hears of it. */
static bool has_closed(const struct channel *ch, uint32_t slot)
{
    return slot != WIRE_NO_SLOT &&
           atomic_load_explicit(&ch->ring.slot[slot].state, memory_order_acquire) == SLOT_LEFT;
}

int channel_left_slot(const struct channel *ch, bool writer)
{
    if (bit_first(ch->left) < 0)
        return -1;
    for (uint32_t i = 0; i < ch->ring.slots; i++)
        if (bit_is(ch->left, i) && bit_is(ch->writers, i) == writer && !has_closed(ch, i))
            return (int)i;
    return -1;
}

bool channel_is_taken(const struct channel *ch, uint32_t kind, const struct role **who)
{
    bool writer = kind == JOIN_WRITER;
    const struct role *r;

    *who = NULL;
    if (writer ? ch->ring.flags & RING_MANY : !(ch->ring.flags & RING_ONE_READER))
        return false;
    TAILQ_FOREACH(r, &ch->roles, link)
        if (r->kind == kind && !has_closed(ch, r->slot)) {
            *who = r;
            return true;
        }
    return channel_left_slot(ch, writer) >= 0;
}

bool channel_has_others(const struct channel *ch, const struct caller *c)
{
    const struct role *r;

    TAILQ_FOREACH(r, &ch->roles, link)
        if (r->caller != c && !has_closed(ch, r->slot))
            return true;
    TAILQ_FOREACH(r, &ch->waiting, link)
        if (r->caller != c)
            return true;
    for (uint32_t i = 0; i < ch->ring.slots && bit_first(ch->left) >= 0; i++)
        if (bit_is(ch->left, i) && !has_closed(ch, i) &&
            atomic_load_explicit(&ch->ring.slot[i].pid, memory_order_relaxed) != (uint32_t)c->pid)
            return true;
    return false;
}

unsigned channel_poke(struct channel *ch, uint32_t whom)
{
    struct role *r;
    unsigned n = 0;

    TAILQ_FOREACH(r, &ch->roles, link) {
        n++;
        if (r->fd >= 0 && (r->kind == JOIN_WRITER) == (whom == POKE_WRITERS))
            (void)!send(r->fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL); /* full: it is readable */
    }
    return n;
}

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

    do
        __atomic_store_n(&h->next_role, h->next_role + 1, __ATOMIC_RELAXED);
    while ((uint32_t)h->next_role == 0);
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
    r->number = next_number(b);
    r->slot = slot;
    if (r->kind == JOIN_BLIND) {
        ring_blind(&ch->ring, 1);
    } else {
        if (r->caller->start == 0)
            r->caller->start = process_start(r->caller->pid);
        bit_set(ch->taken, slot);
        ring_take_slot(&ch->ring, slot, r->number,
                       r->kind == JOIN_WRITER ? MEMBER_WRITER : MEMBER_READER,
                       (uint32_t)r->caller->pid, r->caller->start);
    }
    TAILQ_INSERT_TAIL(&ch->roles, r, link);
    return 0;
}

bool role_resume(struct broker *b, struct role *r, uint32_t number, uint32_t slot)
{
    struct channel *ch = r->channel;
    bool writer = r->kind == JOIN_WRITER;

    (void)b;
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

/* Who has waited longest gets the writer's place. */
static void give(struct broker *b, struct channel *ch)
{
    const struct role *who;
    struct role *r;

    while ((r = TAILQ_FIRST(&ch->waiting)) && !channel_is_taken(ch, JOIN_WRITER, &who)) {
        wait_over(r);
        if (role_begin(b, r) < 0) {
            tell(b, r, -EUSERS, "all slots of the channel are taken");
            role_drop(r);
        } else {
            tell(b, r, 0, NULL);
        }
    }
}

void channel_ended(struct broker *b, struct channel *ch, bool writer)
{
    channel_poke(ch, writer ? POKE_READERS : POKE_WRITERS);
    give(b, ch);
}

static void end_in_ring(struct role *r)
{
    struct ring *ring = &r->channel->ring;

    if (r->kind == JOIN_WRITER)
        ring_end_writer(ring, r->slot, r->number);
    else if (r->kind == JOIN_READER)
        ring_end_reader(ring, r->slot, r->number);
    else
        ring_blind(ring, -1);
}

void role_end(struct broker *b, struct role *r, bool goes)
{
    struct channel *ch = r->channel;
    bool writer = r->kind == JOIN_WRITER;

    if (r->number == 0) {
        wait_over(r);
        if (!goes)
            tell(b, r, -ECANCELED, "the lease has ended");
        role_drop(r);
        channel_put(b, ch);
        return;
    }
    TAILQ_REMOVE(&ch->roles, r, link);
    if (r->slot != WIRE_NO_SLOT)
        bit_clear(ch->taken, r->slot);
    if (r->fd >= 0) {
        close(r->fd);
        r->caller->user->pollable--;
        b->channels.pollable--;
    }
    if (b->ending) { /* the next shmd will find it in its slot */
        role_drop(r);
        channel_put(b, ch);
        return;
    }
    end_in_ring(r);
    role_drop(r);
    channel_ended(b, ch, writer);
    channel_put(b, ch);
}
