/* SPDX-License-Identifier: MIT */
/* The part of the wire that is about channels: of protocol.h, and included by it. */
#pragma once

/*
 * A channel is a segment that shmd lays a ring out in before anybody may attach it. ring.h has the
 * layout and the meaning of the options; shmd computes the size.
 *
 * A channel that exists is opened instead, as by OP_OPEN, if all options are the same: else
 * -EPROTOTYPE, and what differs in the sentence, as where the name is of a plain segment.
 * CREATE_EXCLUSIVE: -EEXIST. A mode that is asked for gives its owner read and write. -EINVAL: the
 * options make no sense.
 */
struct wire_channel {
    struct wire_create create; /* `size` is 0 */
    uint32_t ring_flags;       /* enum ring_flags */
    uint32_t max_message;      /* bytes */
    uint32_t messages;         /* of that size that there is room for, at least */
    uint32_t slots;            /* members that can write, at most */
    uint32_t version;
    char tag[20]; /* NUL-padded to the end, with one NUL at least */
};

enum wire_member {
    JOIN_READER = 1, /* has a slot: needs a lease that is not read-only, as a writer */
    JOIN_WRITER = 2, /* has a slot */
    JOIN_BLIND = 3,  /* a reader without one */
};

enum {
    JOIN_WAIT = 1 << 0, /* of a writer: reply once the place is free; else -EBUSY, and who has it */
    JOIN_KNOWN = JOIN_WAIT
};

/*
 * Become a member of the channel that a lease is on: one role a lease, and both end together, by
 * OP_DETACH or with the connection or the process. shmd notes the end in the ring, wakes whom it
 * concerns, and gives the writer's place to who has waited longest.
 *
 * Who has lost shmd connects anew, takes the lease again and joins with the role and slot that it
 * had; it must be the same process. -ESTALE: that role has been ended (join anew). A role that was
 * not announced again is held as long as its process lives. A blind reader's is always given anew.
 *
 * A role whose answer was lost together with shmd is ended when the same `handle` of the same
 * process joins that channel anew. Who joins in several threads at a time numbers them so: another
 * one may have its answer, and not have begun.
 *
 * -EUSERS: all slots are taken. -EBUSY: another one has the place. -EDQUOT: the user waits in as
 * many places as shmd allows. -EACCES: the lease is read-only. -EALREADY: it has a role.
 * -EPROTOTYPE: no channel. -ENOENT: no such lease. -EIDRM: the channel was removed. -ECANCELED:
 * the lease ended while this waited.
 */
struct wire_join {
    uint32_t lease;
    uint32_t kind; /* enum wire_member */
    uint32_t flags;
    uint32_t role; /* 0, or the one to announce again */
    uint32_t slot; /* of that role */
    uint32_t handle; /* the caller's choice; 0: tells none apart, as a library without it */
};

#define WIRE_NO_SLOT 0xffffffffu

struct wire_joined {
    uint32_t role; /* never 0 */
    uint32_t slot; /* WIRE_NO_SLOT: a blind reader's */
};

/*
 * A descriptor for poll, epoll and so on, by SCM_RIGHTS with the first byte of the reply; replies
 * come in order, so the n-th descriptor is of the n-th reply that has status 0. It is one end of a
 * pair of sockets (an eventfd shares its flags with its holder, who could make shmd block):
 * readable once somebody poked; read up to 64 bytes, until EAGAIN, to make it unreadable again.
 * End of file, and EPOLLHUP: the role has ended, or shmd has. It is non-blocking.
 * Each call gives a new one in place of the one before. -EBUSY: WIRE_FDS_UNREAD were not yet
 * read by the caller; -EDQUOT: the limit of its user; -ENOTCONN: the lease has no role.
 */
struct wire_pollfd {
    uint32_t lease;
    uint32_t reserved;
};

#define WIRE_FDS_UNREAD 4

/*
 * Make the descriptors of all readers, or all writers, of the channel readable. -EACCES: the
 * lease's own role is that of a blind reader; -ENOTCONN: it has none. Mostly sent with
 * FRAME_NOREPLY.
 */
enum { POKE_READERS = 1, POKE_WRITERS = 2 };

struct wire_poke {
    uint32_t lease;
    uint32_t whom;
};

WIRE_FITS(wire_channel, 88);
WIRE_FITS(wire_join, 24);
WIRE_FITS(wire_joined, 8);
WIRE_FITS(wire_pollfd, 8);
WIRE_FITS(wire_poke, 8);
