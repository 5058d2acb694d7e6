/* SPDX-License-Identifier: MIT */
/*
 * The ring: the layout of a channel's segment, shared by libshmd, which writes and reads it, and
 * shmd, which lays it out and notes deaths in it.
 *
 *     header (lines of 64 bytes) | slot[slots] | padding to a page | ring (a power of two)
 *
 * The ring is one of bytes, with records in it: a head word of 8 bytes and the message, rounded up
 * to RING_GRAIN. So a small message takes little room beside large ones. A record is contiguous:
 * where the rest up to the ring's end is too short, a pad is put there. A position counts bytes
 * since the channel was made and never wraps (64 bits); a sequence counts messages.
 *
 * The head word publishes. It is 0 before its record is there, then (sequence mod 2^32) << 32 |
 * kind | length. Whoever writes a record clears the word behind it, where the next one will stand,
 * before he stores its head word with release: so old bytes are never taken for a record, one store
 * publishes, the reader polls the very line that it is going to read, and a record whose writer died
 * was never there. Several are published at once by storing the first one's head word last. The rest
 * of a record's first line is written just before its head word: a reader that polls the line would
 * otherwise take it away between two stores.
 *
 * `sent` and then `head` are stored behind it: hints that lag. Who takes over goes on from there
 * over all records that are ready. The one at `head`, where there is one, says its sequence itself;
 * where there is none, `sent` is exact. Packed records (a grain of 8) beat those that begin with a
 * line each (64): the word to be cleared then lies in a line that is written anyhow.
 *
 * A long message may be read while it is written: its head word says RING_OPEN, and `piece` how
 * many of its bytes are there. Where it comes to nothing, its writer, or if that died the next one,
 * stores a new turn in `piece`, then 0 in the head word. So a reader that finds RING_READY there,
 * and behind that the turn that it began with, has read one message, even where as long a one was
 * written there meanwhile. Before that it must not believe what it has seen.
 *
 * Room. `claimed` is how far the writer may write before it looks again. It claims in large steps:
 * looks at the slots, stores `claimed`, fence, looks again, and where somebody has joined goes back
 * to what both agree on, before it writes there. A reader that joins stores its position and
 * SLOT_JOINING, fence, then looks at `claimed`: if that is more than the ring's size ahead, the
 * place is lost and it takes a later one. So either the writer sees the reader, or the reader sees
 * that. It then becomes SLOT_ACTIVE, and nobody overwrites it any more.
 *
 * A writer may die between storing `claimed` and going back. Its successor takes the places of
 * those that are ACTIVE as agreed, and leaves those aside that are still JOINING and too far
 * behind. One of those may be just becoming ACTIVE: so a reader reads `epoch` first, and again,
 * behind a fence, once it is ACTIVE; if it has changed it joins anew. shmd adds to `epoch` before a
 * dead writer's role or lock can go to another one, which reads it, fence, then looks at the slots.
 *
 * For a reader that may lose messages (of a broadcast, or one without a slot) `claimed` is the
 * check after the copy: what is more than the ring's size below it may have been overwritten.
 * `tail` is a record that is surely still there, stored before `claimed`; not always the oldest, as
 * a writer knows the first record of each 64th of the ring only, so that it need not read what it
 * is about to overwrite. What RING_HOLD keeps begins at `consumed`, if `claimed` says that it is
 * there.
 *
 * Waiting. Who is about to sleep reads the bell, raises its flag, makes sure that this is seen (see
 * below), looks once more, and sleeps on the bell while that is unchanged. Who publishes looks at
 * the flag; if it is up he lowers it, rings (adds 1) and wakes. The one that publishes pays for
 * no fence while `fencing` is 0: the sleeper calls membarrier(2), which puts one into every running
 * thread of the processes that are registered for it. Where sleeps are frequent, the publisher
 * raises `fencing`, fences itself after each message, and sleepers need no membarrier. It lowers
 * `fencing`, fence, looks at the flag: either the sleeper sees that, or it is seen. A publisher
 * whom nobody's membarrier reaches fences always, as many writers do; a sleeper whose membarrier
 * fails sleeps in short steps, and polls by a timer. A writer that waits for room always calls
 * membarrier, and readers fence only where they could not register. A reader that moves on while it
 * joins rings as well: a writer may have gone to sleep because of where it stood before.
 * A flag is shared, so nobody lowers it but who rings; at worst somebody rings for nothing.
 * A reader that may not write cannot raise a flag: shmd counts it in `blind`, and then every
 * message rings.
 *
 * Many writers. The lock holds the role of who has it. All that the next one needs stands in the
 * header, so that each locking is a taking over; a dead one's lock is freed by shmd.
 *
 * Nobody trusts a word in here: each is copied once, checked against the segment's size and what is
 * possible, and no loop goes on for longer than it takes to walk the ring some times.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_MAGIC 0x31474e52444d4853ull /* "SHMDRNG1" */
#define RING_LAYOUT 1u
#define RING_GRAIN 8u            /* bytes: records start at multiples of it */
#define RING_HEAD 8u             /* bytes of the head word */
#define RING_SIZE_MIN 4096u      /* bytes of a ring */
#define RING_SIZE_MAX (1ull << 40)
#define RING_MESSAGE_MAX (1u << 29) /* bytes of a message */
#define RING_SLOTS_MAX 1024u
#define RING_TAG_SIZE 24

enum ring_flags {
    RING_BROADCAST = 1 << 0, /* the writer never waits; else it waits for the slowest reader */
    RING_MANY = 1 << 1,      /* many writers, one at a time by the lock; else a single one */
    RING_HOLD = 1 << 2,      /* not broadcast: what no reader has taken is not overwritten */
    RING_ONE_READER = 1 << 3, /* not broadcast: shmd lets no second one in */
    RING_FLAGS = (1 << 4) - 1
};

enum ring_kind { /* of a record; 0: not there yet */
    RING_OPEN = 0x40000000,
    RING_READY = (int)0x80000000,
    RING_PAD = (int)0xc0000000, /* nothing more up to the ring's end */
};

enum ring_writer_state { /* with the role of the writer in the upper 32 bits of `writer` */
    RING_VACANT = 0, /* nobody has written yet */
    RING_WRITING = 1,
    RING_CLOSED = 2, /* an orderly end: nothing comes behind the last message */
    RING_DIED = 3,
};

enum ring_slot_state {
    SLOT_FREE = 0,
    SLOT_TAKEN = 1,  /* given out by shmd, `position` means nothing yet */
    SLOT_ACTIVE = 2, /* of a reader: a reliable writer waits for `position` */
    SLOT_LEFT = 3,   /* closed in order; shmd frees it */
    SLOT_JOINING = 4, /* of a reader: `position` is not sure yet */
};

enum ring_member { MEMBER_READER = 1, MEMBER_WRITER = 2 };

#define RING_POLLED 0x10000u /* of `blind` */

enum ring_asleep { /* bits of a flag */
    ASLEEP_FUTEX = 1 << 0,
    ASLEEP_POLL = 1 << 1, /* in poll, epoll and so on: shmd is to make the descriptor readable */
};

/*
 * One member's: every reader and writer that may write has one. `role` and `kind` to `start` are
 * shmd's, by which a shmd that was started anew finds out who has died meanwhile; the rest is
 * the member's own.
 */
struct ring_slot {
    _Atomic uint32_t role;  /* shmd's number of this membership; 0: free */
    _Atomic uint32_t state; /* enum ring_slot_state */
    _Atomic uint64_t position; /* a reader's: all before it has been released */
    _Atomic uint32_t cpu;  /* where it ran when it last began to wait, or woke the writer, + 1 */
    _Atomic uint32_t kind; /* enum ring_member */
    _Atomic uint32_t pid;
    _Atomic uint32_t handle; /* of that process: of wire_join */
    _Atomic uint64_t start; /* start time of pid, clock ticks since boot; 0: unknown */
    uint64_t reserved_0[3];
    _Atomic uint64_t received, bytes, lost, waits, wakes; /* counters */
    uint64_t reserved_1[3];
};

struct ring_header {
    /* Constant from the format on. */
    _Atomic uint64_t magic; /* stored last */
    uint32_t layout;
    uint32_t flags;       /* enum ring_flags */
    uint64_t size;        /* bytes of the ring, a power of two */
    uint64_t start;       /* of the ring, in the segment: a multiple of 4096 */
    uint32_t max_message; /* bytes */
    uint32_t slots;
    uint32_t version; /* of what the messages are, as the tag */
    char tag[RING_TAG_SIZE - 4];

    /* The writer's, stored with every message, read seldom. */
    _Atomic uint64_t head;  /* where the next record will stand */
    _Atomic uint64_t sent;  /* its sequence, and so the number of messages; stored before head */
    _Atomic uint64_t bytes; /* counters */
    _Atomic uint64_t waits, wakes;
    _Atomic uint64_t piece; /* turn << 32 | bytes of the last open record that are there */
    uint64_t reserved_1[2];

    /* The writer's, stored seldom. */
    _Atomic uint64_t claimed;
    _Atomic uint64_t tail;
    _Atomic uint32_t fencing;
    _Atomic uint32_t writer_cpu;
    uint64_t reserved_2[5];

    /* shmd's and the writer's. */
    _Atomic uint64_t writer; /* role << 32 | enum ring_writer_state; of the last one, where many */
    _Atomic uint32_t writers; /* of many: how many there are */
    _Atomic uint32_t blind;   /* readers that may not write; times RING_POLLED, those that poll */
    _Atomic uint64_t consumed; /* RING_HOLD: the furthest that a reader which went had got */
    _Atomic uint32_t epoch;    /* shmd adds 1 where members shall make themselves known again */
    _Atomic uint32_t slots_used; /* no slot from this one on was ever given out */
    _Atomic uint32_t removed;    /* 1: the channel has no name any more, so nobody new comes */
    uint32_t reserved_3_0;
    uint64_t reserved_3[3];

    /* The readers' wait. */
    _Atomic uint32_t readers_asleep; /* enum ring_asleep: raised by readers, lowered by who rings */
    uint32_t reserved_4[15];
    _Atomic uint32_t bell;
    uint32_t reserved_5[15];

    /* The writer's wait for room: who reaches `wanted` rings. */
    _Atomic uint32_t writer_asleep; /* enum ring_asleep */
    uint32_t reserved_6_0;
    _Atomic uint64_t wanted; /* a position */
    uint64_t reserved_6[6];
    _Atomic uint32_t writer_bell;
    uint32_t reserved_7[15];

    /* RING_MANY. */
    _Atomic uint64_t lock; /* role << 32 | 1: somebody waits; 0: free */
    _Atomic uint32_t lock_bell;
    uint32_t reserved_8[13];
};

_Static_assert(sizeof(struct ring_header) == 576, "ring header changed its size");
_Static_assert(sizeof(struct ring_slot) == 128, "ring slot changed its size");

/* What a channel is to be. */
struct ring_options {
    uint32_t flags;       /* enum ring_flags */
    uint32_t max_message; /* bytes */
    uint32_t messages;    /* of that size that the ring has room for, at least */
    uint32_t slots;       /* readers and writers, at most; blind readers need none */
    uint32_t version;
    char tag[RING_TAG_SIZE - 4]; /* NUL-terminated */
};

/* A ring as mapped into this process: checked copies, which are what is gone by. */
struct ring {
    struct ring_header *header;
    struct ring_slot *slot;
    unsigned char *data;
    uint64_t size;
    uint32_t flags, max_message, slots;
};

/* Bytes of a record for a message. */
static inline uint64_t ring_record(uint32_t length)
{
    return ((uint64_t)length + RING_HEAD + RING_GRAIN - 1) & ~(uint64_t)(RING_GRAIN - 1);
}

/* Where the ring begins in the segment. */
uint64_t ring_start(uint32_t slots);

/* Bytes of the segment for it; 0: the options make no sense. */
uint64_t ring_segment_size(const struct ring_options *options);

/* Lay a ring out over a zeroed segment of (at least) that size; magic comes last. -EINVAL. */
int ring_format(void *segment, uint64_t size, const struct ring_options *options);

/* Look at a mapped segment of `size` bytes as a ring: -EPROTO where it is none, -EPROTONOSUPPORT
 * (another layout). */
int ring_init(struct ring *r, void *segment, uint64_t size);

/*
 * shmd's part. None of them waits, and none believes what stands there: `role` and `slot` are from
 * shmd's own tables, and slot < r->slots.
 */
/* Give a slot out; what stood there is overwritten. */
void ring_take_slot(struct ring *r, uint32_t slot, uint32_t role, enum ring_member kind,
                    uint32_t pid, uint64_t start);
/* A reader has gone; true: without having said so. Whoever waits for it goes on. */
bool ring_end_reader(struct ring *r, uint32_t slot, uint32_t role);
/* A writer has gone, likewise. Readers wake; the lock is free again. */
bool ring_end_writer(struct ring *r, uint32_t slot, uint32_t role);
/* Both in two steps: any number may end before those are woken whom it concerns. Waking costs time
 * for each that sleeps, and anybody who can read the segment may sleep there with a thousand
 * threads. */
bool ring_end(struct ring *r, uint32_t slot, uint32_t role, enum ring_member kind);
void ring_wake_ended(struct ring *r, enum ring_member kind);
/* Readers that may not write: how many come (or, negative, go), and how many of them do so with a
 * descriptor to poll. */
void ring_blind(struct ring *r, int readers, int polled);
/* Ring the readers' bell, or the writers': something that they are to look at has happened. */
void ring_wake_readers(struct ring *r);
void ring_wake_writers(struct ring *r);
/* The channel was removed: nobody is to wait for who is yet to come. Wakes none. */
void ring_note_removed(struct ring *r);
/* shmd came anew: every member is to make itself known again. Wakes all. */
void ring_new_epoch(struct ring *r);
/* For members too. */
/* RING_HOLD: a reader that had released all before `position` goes. */
void ring_consumed(const struct ring *r, uint64_t position);
/* Writers that have begun and not gone. */
uint32_t ring_writers_left(const struct ring *r);
/* Was it removed, and is nobody of that kind in it or about to begin? */
bool ring_is_left_by(const struct ring *r, enum ring_member kind);
