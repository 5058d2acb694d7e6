/* SPDX-License-Identifier: MIT */
/*
 * Channels: who is a member of which, and what shmd notes of that in their rings (common/ring.h).
 *
 * Members can write a ring, so nothing in it leads shmd anywhere: the shape of a ring comes from
 * the registry, roles and slots from the tables in here, and shmd stores and rings but never waits.
 *
 * A role hangs on a lease and ends with it. After a restart the roles of an earlier shmd are known
 * only by what stands in the slots: those are "left" members, held until they announce themselves
 * again or their process is found to have ended (channel_left.c). Who writes nonsense there
 * disturbs the members of that channel, and nobody else.
 *
 * A channel that was removed while it has members goes on without a name: shmd keeps its
 * attachment, to note deaths, until the last of them has gone. It counts for nobody any more, so
 * only some are kept; of others all roles end when they are removed.
 */
#pragma once

#include <sys/queue.h>

#include "protocol.h"
#include "registry.h"
#include "ring.h"

struct broker;
struct caller;
struct lease;

#define RUNG_COUNTED 1u
#define CHANNEL_WORDS (RING_SLOTS_MAX / 64)

struct role {
    struct channel *channel;
    struct caller *caller;
    uint32_t lease; /* the caller's number */
    uint32_t kind;  /* enum wire_member */
    uint32_t handle; /* of wire_join */
    uint32_t number; /* 0: it waits for the writer's place */
    uint32_t slot;
    uint32_t serial; /* of the request that waits */
    int fd;          /* our end of what the caller polls; -1 */
    TAILQ_ENTRY(role) link;
};

TAILQ_HEAD(role_list, role);

struct channel {
    uint32_t index; /* of its entry */
    uint64_t instance;
    uint64_t bytes; /* of the segment */
    uint32_t creator; /* uid that asked for it */
    struct ring ring;
    bool removed; /* it has no entry any more, and the attachment is ours to give back */
    bool found;   /* in the list of those that may have left members */
    bool scanned; /* for them */
    uint32_t pass; /* of looking at them that was done last */
    uint32_t next; /* slot to go on at */
    uint64_t taken[CHANNEL_WORDS];  /* slots of roles */
    uint64_t left[CHANNEL_WORDS];   /* slots of left members */
    uint64_t writers[CHANNEL_WORDS]; /* those of `left` that are writers' */
    struct role_list roles, waiting;
    uint32_t rung; /* what nobody was told of yet: 1 << kind (enum wire_member) of those that have
                    * ended, RUNG_COUNTED */
    TAILQ_ENTRY(channel) link, of_removed, of_rung;
};

TAILQ_HEAD(channel_list, channel);

struct channels {
    struct channel **of; /* by entry; NULL: no members */
    uint32_t capacity;
    unsigned pollable; /* descriptors of roles */
    uint32_t pass;
    struct channel_list found;   /* by adoption: may have left members */
    struct channel_list removed; /* go on without a name */
    unsigned n_removed;
    struct channel_list rung;
};

static inline bool bit_is(const uint64_t *bits, uint32_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}

static inline void bit_set(uint64_t *bits, uint32_t i)
{
    bits[i / 64] |= 1ull << i % 64;
}

static inline void bit_clear(uint64_t *bits, uint32_t i)
{
    bits[i / 64] &= ~(1ull << i % 64);
}

/* The first that is set; -1: none is. */
int bit_first(const uint64_t *bits);

/* Is what the registry says of a channel's ring possible in a segment of that size? */
bool channel_sound(const struct reg_entry *e);

/* After adoption. -ENOMEM. */
int channels_init(struct broker *b);
void channels_done(struct broker *b);

/* The channel of a live entry. What shmat said, where shmd itself cannot write it; -ENOMEM. */
int channel_of(struct broker *b, struct reg_entry *e, struct channel **ret);
/* Likewise of one that adoption found, where shmd has it attached: false. */
bool channel_find(struct broker *b, struct channel *ch);
/* May it have left members? */
bool channel_has_left(struct broker *b, const struct channel *ch);
/* Free it if nothing of it needs to be remembered. */
void channel_put(struct broker *b, struct channel *ch);

/* Is there a single place for that kind, and taken? `who`: by whom, NULL where that is a left
 * member. */
bool channel_is_taken(const struct channel *ch, uint32_t kind, const struct role **who);
/* Are other processes than that caller's members, or about to be? Who has closed in order is none
 * any more. */
bool channel_has_others(const struct channel *ch, const struct caller *c);
/* The first left member of that kind which has not closed: its slot, -1. */
int channel_left_slot(const struct channel *ch, bool writer);

/* Roles. A place in a slot: -EUSERS: there is none. */
struct role *role_new(struct channel *ch, struct caller *c, struct lease *l, uint32_t kind);
int role_begin(struct broker *b, struct role *r);
/* Take over what a left member had; false: there is none like that. */
bool role_resume(struct role *r, uint32_t number, uint32_t slot);
/* It waits: it gets the place in its turn, or is told why not. */
void role_wait(struct role *r, uint32_t serial);
/* One that has not begun. */
void role_drop(struct role *r);
/* The lease ends, or the caller goes (and is told nothing). */
void role_end(struct broker *b, struct role *r, bool goes);
/* The same, and its channel stays, though it be of no more use. */
void role_finish(struct broker *b, struct role *r, bool goes);

/* Make the descriptors of one kind of members readable; returns how many roles were passed. */
unsigned channel_poke(struct channel *ch, uint32_t whom);

/* A reader without a slot was counted again after a restart. It may have gone to sleep before that,
 * and nobody rang for it: it is to look once more. */
void channel_counted(struct broker *b, struct channel *ch);

/* It was removed: once nobody waits for the writer's place any more, its members are told that none
 * comes. */
void channel_closed_to_all(struct broker *b, struct channel *ch);

/* A member of that kind has ended, and its slot is free: who waits for that goes on. The others are
 * poked by channels_poke(), once for all that end together. */
void channel_ended(struct broker *b, struct channel *ch, uint32_t kind);
void channels_poke(struct broker *b);

/*
 * Look for left members that have died, some at a time. Returns when there is more to do
 * (CLOCK_MONOTONIC, nanoseconds), or 0.
 */
int64_t channels_run(struct broker *b);
/* Find the left members of a channel that adoption found, once. */
void channel_scan(struct channel *ch);
/* End left members that a handle, which joins anew, knows nothing of: shmd died before it could
 * answer. */
void channel_drop_lost(struct broker *b, const struct role *joining);
