/* SPDX-License-Identifier: MIT */
/*
 * A member of a channel, writer or reader, as the broker knows it: an attachment with its lease, a
 * role that hangs on that lease, and a descriptor to poll. What it does in the ring is
 * ring_writer.h's and ring_reader.h's.
 *
 * A role is announced again, as leases are, over each new connection. Who makes no call to the
 * broker for hours does not see that one is needed: shmd changes the ring's `epoch` when it has
 * come anew, which the slow paths look at, and wakes who sleeps.
 */
#pragma once

#include "../lib/handle.h"
#include "../shmd-channel.h"
#include "ring.h"
#include "ring_wait.h"

struct member {
    struct shmd *s;
    struct member *next, **before; /* among those of the handle */
    struct shmd_attachment attachment;
    struct ring ring;
    uint32_t kind; /* enum wire_member */
    uint32_t role; /* 0: none yet */
    uint32_t slot;
    uint32_t epoch; /* the ring's, before the role was asked for */
    bool stale;     /* shmd has ended the role */
    bool closing;
    int epoll;      /* the descriptor, of those below and the connection; -1: not asked for */
    int event;      /* what shmd makes readable */
    int timer;      /* looks again every few milliseconds while there is no shmd to do that */
    uint32_t links; /* the connection, of those of `s`, over which `event` came */
};

#define MEMBER_LOOKS 8 /* in a call that does not wait: what is there may be gone again */

/* As ring_reader_start() takes it: -1 for a reader that may not write. */
static inline int member_slot(const struct member *m)
{
    return m->kind == JOIN_BLIND ? -1 : (int)m->slot;
}

static inline void member_set_spin(struct ring_wait *w, const struct shmd_member_options *o)
{
    w->always = o->flags & SHMD_MEMBER_SPIN;
    w->never = o->flags & SHMD_MEMBER_NO_SPIN;
}

/* Attach a channel and get the role. The errors are shmd_writer_open()'s. */
int member_open(struct member *m, struct shmd *s, const char *name, uint32_t kind,
                const struct shmd_member_options *options, struct deadline *d);

/* Give the role back, and detach. */
void member_close(struct member *m);

/* Is the role still this member's? Looks whether there is another connection to be made. -ESTALE;
 * -EAGAIN: shmd could not be told of it now. */
int member_check(struct member *m);

/* Let shmd wake those of the other kind who poll. False: it lives, as far as can be seen, and takes
 * nothing now. */
bool member_poke(struct member *m);

/* poll.c: the descriptor, made at the first call. The errors are shmd_reader_fd()'s. */
int member_fd(struct member *m, struct deadline *d);

/* Before somebody polls: forget old wake-ups, and see that new ones can come. */
void member_poll_begin(struct member *m);
/* What there is to wait for nobody can tell: look again in a few milliseconds. */
void member_poll_soon(struct member *m);
void member_poll_end(struct member *m);

/* open.c: what a writer or a reader is made of, */
struct making {
    uint32_t kind; /* enum wire_member */
    size_t size;   /* bytes of the whole, in which the member stands at `member` */
    size_t member;
    /* Begin in the ring; a failure is told by handle_fail(). */
    int (*start)(void *whole, const struct ring_hooks *hooks,
                 const struct shmd_member_options *options);
};
/* and as whose, and where. */
struct member_wish {
    struct shmd *s;
    const char *name;
    const struct shmd_member_options *options; /* NULL: none */
};

/* *ret is to be freed behind member_close(). */
int member_make(void **ret, const struct making *how, const struct member_wish *wish,
                int timeout_ms);
