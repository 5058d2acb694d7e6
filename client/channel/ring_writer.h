/* SPDX-License-Identifier: MIT */
/*
 * Writing into a ring. A struct ring_writer is used by one thread at a time.
 *
 * Results beside 0: -ETIMEDOUT (no room by then; a time limit of 0 asks once), -EMSGSIZE (longer
 * than the channel's limit), -EPROTO (what stands in the segment cannot be), -EIDRM (no room, and
 * nobody who could make any: the channel was removed), -ESTALE (shmd has ended the role).
 */
#pragma once

#include "ring_wait.h"

#define RING_BLOCKS 64u /* of the ring, of each of which the first record is known */

struct ring_writer {
    struct ring ring;

    uint64_t position; /* where the next record will stand */
    uint64_t limit;    /* up to here it may without more ado; 0: think again */
    uint64_t sequence; /* of the next message */
    uint64_t at;       /* of the reserved record: `position`, or behind a pad */
    uint32_t reserved; /* bytes */
    bool is_reserved, is_begun; /* begun: readers may follow it already */
    bool holding, held; /* messages back; some */
    bool fencing;      /* after each message, and so says the header */
    uint64_t bytes;
    uint64_t index_next; /* from here on a record is to be noted */
    uint32_t weigh_in; /* with the last of so many doorbells it is weighed who is to fence */

    struct ring_hooks hooks;
    uint64_t claimed;  /* how far a record and the word behind it may reach */
    uint64_t waits, wakes;
    uint64_t first, first_word; /* of those held back */
    uint64_t tail;
    uint64_t index[RING_BLOCKS]; /* the first record of each block, as far as known */
    uint32_t block_shift;

    uint32_t role;
    int slot;
    uint32_t told;   /* the epoch that the caller was told of */
    uint32_t agreed; /* the epoch in which `claimed` was compared with the readers' places */
    bool must_fence;   /* nobody's membarrier reaches this process */
    bool sleepy;       /* readers sleep most of the time */
    uint32_t woken;    /* times, since that was last weighed */
    unsigned char *copy;       /* RING_MANY: what was reserved */
    uint32_t copy_size;
    struct deadline deadline;
    struct ring_wait wait;
};

/* Take over after whoever wrote before; `role` and `slot` are from shmd; hooks NULL: none.
 * -EPROTO. */
int ring_writer_start(struct ring_writer *w, const struct ring *r, int slot, uint32_t role,
                      const struct ring_hooks *hooks);

/* Room for a message, aligned to 8 bytes, valid until commit or abort. */
int ring_reserve(struct ring_writer *w, uint32_t length, void **ret, struct deadline *d);
/* So many of its first bytes are there: readers may follow a long one from then on. -EINVAL. */
int ring_progress(struct ring_writer *w, uint32_t bytes);
/* Publish it; it may have become shorter. With many writers this waits too, as reserve was told. */
int ring_commit(struct ring_writer *w, uint32_t length);
void ring_abort(struct ring_writer *w);

/* Copy a message in and publish it. A long one may be read while it is written. */
int ring_send(struct ring_writer *w, const void *bytes, uint32_t length, struct deadline *d);

/* Hold messages back until ring_publish() or until room runs out, then publish them at once. With
 * many writers each message is published by itself. */
void ring_hold_back(struct ring_writer *w);
void ring_publish(struct ring_writer *w);

/* The end: readers that have read all are told so. Frees what the writer has. */
void ring_writer_close(struct ring_writer *w);

/* For poll: is it worth while to try again (1), will a reader call `poke` (0), or may none see who
 * waits, so that one has to look again soon (-EAGAIN)? */
int ring_writer_arm(struct ring_writer *w, uint32_t length);
