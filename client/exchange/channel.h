/* SPDX-License-Identifier: MIT */
/*
 * The exchange layout: one segment that carries messages from one writer to one reader.
 *
 *     header (three lines of 64 bytes) | slot[slot_count]        slot: length, bytes
 *
 * A segment starts as zeroes, which is a channel that is NEW. `state` then goes forward only, each
 * step by compare-and-swap:
 *
 *     NEW -> READY     the writer has laid the ring out
 *     READY -> CLOSED  the writer has written all
 *     CLOSED -> DONE   the end was taken, or nothing was left to read: to be removed
 *     NEW or READY -> DROPPED   the writer died: to be removed
 *
 * Whoever meets a DONE or DROPPED channel removes that very segment by its id and looks for the
 * name anew, so it does not matter who dies before he has removed it.
 *
 * `written` and `read` count messages; `written - read` of them are in the ring. A message is
 * written when the cursor has passed it, so one that was half written is never seen. Each word but
 * `state` is stored by its owner alone: by the holder of the role in the same line.
 *
 * No lost wake-up: who waits sets its `waits` word, then reads the other's cursor, then sleeps
 * while that is unchanged. Who moves a cursor stores it, then reads the other's `waits`. All four
 * are sequentially consistent, so either the sleeper sees the new cursor, or the mover sees that
 * somebody waits and wakes; and where the wake-up comes before the sleep, the kernel finds the
 * cursor changed and does not sleep. A role word changes by the kernel's hand at its holder's
 * death, with a wake-up; it is read before the cursor, so that all that was written before the
 * death is seen.
 *
 * The peer is not trusted: each value is copied once and checked against the segment's size.
 */
#pragma once

#include "futex.h"

#define CHANNEL_MAGIC 0x53584301u /* the layout's number is part of each state but NEW */
#define CHANNEL_SLOTS_MAX 64u

enum channel_state {
    CHANNEL_NEW = 0,
    CHANNEL_READY = CHANNEL_MAGIC + 0x10,
    CHANNEL_CLOSED = CHANNEL_MAGIC + 0x20,
    CHANNEL_DONE = CHANNEL_MAGIC + 0x30,
    CHANNEL_DROPPED = CHANNEL_MAGIC + 0x40,
};

enum channel_left { LEFT_NOT = 0, LEFT_REMOVE = 1, LEFT_KEEP = 2 };

struct channel_header {
    word state;
    uint32_t slot_size;  /* bytes of the longest message */
    uint32_t slot_count; /* a power of two, so that the cursors may wrap */
    uint32_t reserved_0[13];
    word writer; /* a role */
    word written;
    word writer_waits;
    uint32_t reserved_1[13];
    word reader; /* a role */
    word read;   /* messages that were printed */
    word reader_waits;
    word left; /* enum channel_left: the last reader went before the end, on purpose */
    uint32_t reserved_2[12];
};

_Static_assert(sizeof(struct channel_header) == 192, "channel header changed its size");

struct channel {
    struct channel_header *header;
    uint64_t size; /* bytes of the segment */
    int shmid;
    uint32_t slot_size, slot_count; /* checked copies */
    uint32_t cursor;                /* the own one: `written` or `read` */
    struct role role;
};

/* Bytes of a segment; slots for `messages` (0: unknown) of `slot_size` bytes. */
uint64_t channel_bytes(uint32_t slot_size, uint32_t slot_count);
uint32_t channel_slots(uint32_t slot_size, uint64_t messages);

/* Look at an attached segment as a channel: -EPROTO where it cannot be one. */
int channel_bind(struct channel *c, void *address, uint64_t size, int shmid);

static inline uint32_t channel_state(const struct channel *c)
{
    return atomic_load(&c->header->state);
}

/* Do one step of `state`; false: somebody else was faster. Wakes who waits on it. */
bool channel_step(struct channel *c, uint32_t from, uint32_t to);

/* Was the segment removed (by hand, say), so that nobody new can come? */
bool channel_removed(const struct channel *c);

/* Messages that nobody has read, as the cursors say: a text for people. */
uint32_t channel_unread(const struct channel *c);

/*
 * Become the writer of a NEW channel and lay out as many of `slots` as fit. -EBUSY (there is
 * another writer), -ENOSPC (not one slot fits), -EPROTO (it is not empty), -ESTALE (it is to be
 * removed).
 */
int channel_start(struct channel *c, uint32_t slot_size, uint32_t slots);

/*
 * Write one message; waits for room until `deadline`. -ETIMEDOUT, -EPROTO (the reader's cursor is
 * nonsense), -EIDRM (removed, with nobody reading).
 */
int channel_write(struct channel *c, const void *bytes, uint32_t length, int64_t deadline);

/* All is written: mark the end and give up the role. True: the caller shall remove the channel. */
bool channel_close(struct channel *c);

/* Become the reader. -EBUSY. */
int channel_join(struct channel *c);

/*
 * Wait until the ring is laid out. 0; -EOWNERDEAD (the writer died before), -ESTALE (to be
 * removed, or removed), -EPROTO, -ETIMEDOUT.
 */
int channel_wait_ready(struct channel *c, int64_t deadline);

/*
 * Copy the next message to `bytes` (slot_size of room) without taking it: 1; 0 at the end;
 * -EOWNERDEAD (the writer died: nothing more comes), -ETIMEDOUT, -EPROTO.
 */
int channel_peek(struct channel *c, void *bytes, uint32_t *length, int64_t deadline);

/* The message was printed: it counts as read now. */
void channel_take(struct channel *c);

/* Give up the role before the end. True: all was read meanwhile, and the caller shall remove it. */
bool channel_leave(struct channel *c, bool keep);

/* Another reader is about to take the end of a fully read channel: wait until it has, or died. */
int channel_wait_done(struct channel *c, uint32_t reader, int64_t deadline);
