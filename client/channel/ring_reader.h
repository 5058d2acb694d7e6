/* SPDX-License-Identifier: MIT */
/*
 * Reading from a ring. A struct ring_reader is used by one thread at a time.
 *
 * A reader that may lose messages (of a broadcast, or without a slot) is told after it has used
 * them whether they were still there: by ring_release(), or inside ring_recv(). What it lost is
 * counted, and reading goes on with the oldest that are kept.
 */
#pragma once

#include "ring_wait.h"

struct ring_begun { /* a message that is followed while it is written */
    bool is;
    uint64_t at;
    uint32_t sequence, length, turn;
};

struct ring_reader {
    struct ring ring;
    struct ring_hooks hooks;

    uint64_t released; /* all before it */
    uint64_t next;     /* what comes after what was peeked */
    uint32_t sequence; /* of that */
    uint32_t peeked;   /* messages */
    uint64_t peeked_bytes;
    uint32_t last_length; /* of a message */
    bool anew;  /* take any sequence: the first, or after messages were lost */
    bool fresh; /* nothing was read, so nothing can be lost */
    bool lossy;
    uint64_t received, bytes, lost, waits, wakes;
    struct ring_slot *slot; /* NULL: it may not write */
    uint32_t role;
    uint32_t epoch;
    uint32_t ended; /* the role of a writer whose end or death was told */
    bool must_fence;
    struct ring_begun begun;
    struct ring_wait wait;
};

/*
 * Join. slot -1: the segment cannot be written to. history -1: begin with the oldest message kept;
 * 0: with the next one; n: at most n before that. hooks NULL: none. -EPROTO, -EINVAL.
 */
int ring_reader_start(struct ring_reader *r, const struct ring *ring, int slot, uint32_t role,
                      int64_t history, const struct ring_hooks *hooks);

/*
 * The next message, in place until ring_release(); peek again for the one behind it,
 * which is not waited for.
 *   1: there is one. 0: the writer has closed, and all was read. -EOWNERDEAD: the writer has died,
 *   and all that it published was read. Either is told once: the next call waits for a new writer.
 *   -EIDRM: the channel was removed, and nobody writes to it. -ETIMEDOUT; -ESTALE: shmd has ended
 *   the role; -EPROTO: what stands in the segment cannot be.
 */
int ring_peek(struct ring_reader *r, const void **bytes, uint32_t *length, struct deadline *d);

/*
 * As ring_peek(), but a long message may be given while it is still being written: *there of its
 * first bytes are there, a multiple of 64 below *length, and ring_peek_more() waits for more than
 * *there. Once *there is *length the message is whole, and peeked as any other; until then it is
 * not to be believed.
 *   1: there are more. -ECANCELED: it came to nothing, and so is what was seen of it; the next call
 *   tells why. -EINVAL: none is followed.
 */
int ring_peek_begun(struct ring_reader *r, const void **bytes, uint32_t *length, uint32_t *there,
                    struct deadline *d);
int ring_peek_more(struct ring_reader *r, uint32_t *there, struct deadline *d);

/* All that was peeked is done with. -EOVERFLOW: some of it was overwritten meanwhile; all counts as
 * lost. -ESTALE: shmd has ended the role, and what was peeked may have been overwritten. */
int ring_release(struct ring_reader *r);

/* Copy the next message out, and release it. As ring_peek; -EMSGSIZE: longer than `room` (*length
 * is what it takes), and left there. */
int ring_recv(struct ring_reader *r, void *to, uint32_t room, uint32_t *length, struct deadline *d);

void ring_reader_leave(struct ring_reader *r);

/* For poll: is there something to receive already (1), will the writer call `poke` (0), or may it not
 * see who waits, so that one has to look again soon (-EAGAIN)? */
int ring_reader_arm(struct ring_reader *r);
