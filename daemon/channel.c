/* SPDX-License-Identifier: MIT */
#include "channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "broker.h"
#include "segment.h"
#include "util.h"

/* Removed channels that are kept: each is a mapping, of which the kernel gives a process about
 * 65,000. */
#define REMOVED_MAX 2048u
#define REMOVED_USER_MAX 64u

#define LOOK_NS 20000 /* of waking cost as much as a look at one segment */

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
    ch->creator = e->creator_uid;
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

/* What has ended in it: wake and poke whom it concerns. */
static void tell_ended(struct broker *b, struct channel *ch)
{
    uint32_t ended = ch->rung;

    TAILQ_REMOVE(&b->channels.rung, ch, of_rung);
    ch->rung = 0;
    if (ended & (1u << JOIN_WRITER | 1u << JOIN_READER))
        ring_wake_ended(&ch->ring, ended & 1u << JOIN_WRITER ? MEMBER_WRITER : MEMBER_READER);
    if (ended & RUNG_COUNTED)
        ring_wake_readers(&ch->ring);
    if (ended & 1u << JOIN_WRITER)
        channel_poke(ch, POKE_READERS);
    if (ended & (1u << JOIN_READER | 1u << JOIN_BLIND))
        channel_poke(ch, POKE_WRITERS);
}

static void forget(struct broker *b, struct channel *ch)
{
    if (ch->found)
        TAILQ_REMOVE(&b->channels.found, ch, link);
    if (ch->rung) /* nobody is left to be poked, but some may sleep */
        tell_ended(b, ch);
    if (ch->removed) {
        TAILQ_REMOVE(&b->channels.removed, ch, of_removed);
        b->channels.n_removed--;
        segment_detach(&b->table, ch->bytes, ch->ring.header);
    } else if (b->channels.of[ch->index] == ch) {
        b->channels.of[ch->index] = NULL;
    }
    free(ch);
}

int channel_of(struct broker *b, struct reg_entry *e, struct channel **ret)
{
    struct channel *ch = b->channels.of[table_index(&b->table, e)];
    int r = segment_pin(&b->table, e);

    if (r < 0)
        return r;
    if (ch && ch->instance != e->instance) { /* of one that shmd could not attach, and is gone */
        forget(b, ch);
        ch = NULL;
    }
    if (!ch)
        ch = make(b, e);
    if (!ch)
        return -ENOMEM;
    look_at(ch, e, table_pin(&b->table, e));
    channel_scan(ch);
    *ret = ch;
    return 0;
}

static bool has_entry(struct broker *b, const struct channel *ch)
{
    const struct reg_entry *e = &b->table.entry[ch->index];

    return !ch->removed && e->instance == ch->instance && table_state(e) == REG_LIVE;
}

bool channel_find(struct broker *b, struct channel *ch)
{
    struct reg_entry *e = &b->table.entry[ch->index];
    struct channel *same;

    return has_entry(b, ch) && table_pin(&b->table, e) && channel_of(b, e, &same) == 0;
}

bool channel_has_left(struct broker *b, const struct channel *ch)
{
    return bit_first(ch->left) >= 0 || (!ch->scanned && has_entry(b, ch));
}

void channel_put(struct broker *b, struct channel *ch)
{
    if (TAILQ_EMPTY(&ch->roles) && TAILQ_EMPTY(&ch->waiting) &&
        (ch->removed || !channel_has_left(b, ch)))
        forget(b, ch);
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

/* 0 is the number of all processes that are in another pid namespace. */
static bool is_other(const struct caller *c, uint32_t pid)
{
    return pid == 0 || pid != (uint32_t)c->pid;
}

bool channel_has_others(const struct channel *ch, const struct caller *c)
{
    const struct role *r;

    TAILQ_FOREACH(r, &ch->roles, link)
        if (r->caller != c && is_other(c, (uint32_t)r->caller->pid) && !has_closed(ch, r->slot))
            return true;
    TAILQ_FOREACH(r, &ch->waiting, link)
        if (r->caller != c && is_other(c, (uint32_t)r->caller->pid))
            return true;
    for (uint32_t i = 0; i < ch->ring.slots && bit_first(ch->left) >= 0; i++)
        if (bit_is(ch->left, i) && !has_closed(ch, i) &&
            is_other(c, atomic_load_explicit(&ch->ring.slot[i].pid, memory_order_relaxed)))
            return true;
    return false;
}

/* Charged by the time that it takes, which those who sleep have in their hands. */
void channels_poke(struct broker *b)
{
    struct channel *ch = TAILQ_FIRST(&b->channels.rung);
    int64_t begun;

    if (!ch)
        return;
    begun = clock_ns(CLOCK_MONOTONIC);
    for (; ch; ch = TAILQ_FIRST(&b->channels.rung))
        tell_ended(b, ch);
    b->looks += (unsigned)((clock_ns(CLOCK_MONOTONIC) - begun) / LOOK_NS);
}

static bool may_keep(const struct broker *b, const struct channel *ch)
{
    const struct channel *other;
    unsigned n = 0;

    TAILQ_FOREACH(other, &b->channels.removed, of_removed)
        n += other->creator == ch->creator;
    return n < REMOVED_USER_MAX && b->channels.n_removed < REMOVED_MAX;
}

/* The observer's: an entry has been cleared, or its segment let go. */
static bool keep(void *data, const struct reg_entry *e, void *pin)
{
    struct broker *b = data;
    struct channel *ch = b->channels.of[table_index(&b->table, e)];
    struct role *r;

    (void)pin; /* the ring's: it does not move while anybody has a role */
    if (!ch || ch->instance != e->instance)
        return false;
    if (!may_keep(b, ch)) {
        while ((r = TAILQ_FIRST(&ch->waiting)))
            role_finish(b, r, false);
        while ((r = TAILQ_FIRST(&ch->roles)))
            role_finish(b, r, false);
    } /* nobody is left to be poked */
    if (TAILQ_EMPTY(&ch->roles) && TAILQ_EMPTY(&ch->waiting)) {
        if (bit_first(ch->left) >= 0) { /* they will find no lease to announce themselves with */
            ring_note_removed(&ch->ring);
            ring_wake_readers(&ch->ring);
            ring_wake_writers(&ch->ring);
        }
        forget(b, ch);
        return false;
    }
    b->channels.of[ch->index] = NULL;
    ch->removed = true;
    TAILQ_INSERT_TAIL(&b->channels.removed, ch, of_removed);
    b->channels.n_removed++;
    channel_closed_to_all(b, ch);
    channels_poke(b);
    return true;
}

int channels_init(struct broker *b)
{
    struct table *t = &b->table;
    struct channels *all = &b->channels;

    TAILQ_INIT(&all->found);
    TAILQ_INIT(&all->removed);
    TAILQ_INIT(&all->rung);
    all->pass = 1;
    all->capacity = t->view.capacity;
    all->of = calloc(all->capacity, sizeof(*all->of));
    if (!all->of)
        return -ENOMEM;
    t->observer.keep = keep;
    for (uint32_t i = 0; i < all->capacity; i++) {
        struct reg_entry *e = &t->entry[i];
        struct channel *ch;

        if (table_state(e) != REG_LIVE || !(e->flags & REG_CHANNEL))
            continue;
        ch = make(b, e);
        if (!ch)
            return -ENOMEM;
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
