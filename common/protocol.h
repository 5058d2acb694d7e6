/* SPDX-License-Identifier: MIT */
/*
 * The wire: the one description of what daemon and library say to each other.
 *
 * A Unix stream socket carries frames: a header, the struct that belongs to the opcode, and where
 * the table below says so a text, which ends in 1 to 8 NULs: frames are multiples of 8 bytes, so
 * that every struct in a buffer of them is aligned. Numbers are in native byte order. The first
 * frame of a connection is OP_HELLO. Every request gets one reply with its opcode and serial, in
 * order unless the request asked to wait; many may be on their way at once. A reply with
 * status < 0 (a negative errno) carries a text instead, the reason in a sentence. A frame that is
 * no frame gets such a reply, and the connection is closed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "name.h"

#define WIRE_MAGIC 0x444d4853u /* "SHMD" */
#define WIRE_VERSION 1
#define WIRE_FRAME_MAX 8192u  /* bytes of a frame, either way, with its header */
#define WIRE_REQUEST_MAX 512u /* bytes of a request, with its header */
#define WIRE_TEXT_MAX 512u    /* bytes of an error's sentence with its NUL */

enum wire_op {
    OP_HELLO = 1, /* wire_hello          -> wire_welcome */
    OP_PING,      /* nothing             -> nothing */
    OP_CREATE,    /* wire_create, name   -> wire_opened, full name */
    OP_OPEN,      /* wire_open, [name]   -> wire_opened, full name */
    OP_ATTACH,    /* wire_attach, [name] -> wire_opened, full name; takes a lease */
    OP_DETACH,    /* wire_detach         -> nothing; ends a lease */
    OP_STAT,      /* wire_target, [name] -> wire_segment */
    OP_SET,       /* wire_set, [name]    -> wire_segment */
    OP_REMOVE,    /* wire_target, [name] -> wire_segment, as it was */
    OP_LIST,      /* wire_list           -> wire_page */
    OP_INFO,      /* nothing             -> wire_info */
    OP_WHO,       /* wire_who, [name]    -> wire_holders */
    OP_WATCH,     /* wire_watch, [pattern] -> nothing, and from then on OP_EVENTs of its serial */
    OP_EVENT,     /* never asked for: wire_event, full name */
    OP_FSCK,      /* wire_fsck           -> wire_report; administrators */
    OP_CHANNEL,   /* wire_channel, name  -> wire_opened, full name */
    OP_JOIN,      /* wire_join           -> wire_joined */
    OP_POLLFD,    /* wire_pollfd         -> nothing, and a descriptor beside it */
    OP_POKE,      /* wire_poke           -> nothing */
    OP_DISBAND,   /* wire_target, [name] -> wire_segment; a channel without other members goes */
    OP_END
};

enum {
    FRAME_NOREPLY = 1 << 0, /* request: the caller wants no reply, not even a refusal */
    FRAME_KNOWN = FRAME_NOREPLY
};

struct wire_header {
    uint32_t size; /* bytes of the whole frame */
    uint16_t opcode;
    uint16_t flags;
    uint32_t serial; /* chosen by the caller, returned in the reply */
    int32_t status;  /* 0 in a request; 0 or a negative errno in a reply */
};

/* The bytes that a text of `len` characters takes in a frame. */
static inline uint32_t wire_text_size(size_t len)
{
    return ((uint32_t)len + 8) & ~7u;
}

struct wire_hello {
    uint32_t magic;
    uint16_t version_min; /* the versions that the caller speaks */
    uint16_t version_max;
    uint64_t reserved;
};

struct wire_welcome {
    uint32_t magic;
    uint16_t version; /* the one chosen */
    uint16_t reserved;
    uint32_t daemon_pid;
    uint32_t daemon_uid; /* creator (cuid) of every brokered segment */
    uint64_t ipc_namespace; /* inode of the daemon's /proc/self/ns/ipc; 0: unknown */
    uint64_t generation;    /* counts the starts of shmd on this registry */
    uint64_t registry_size; /* bytes */
    int32_t registry_shmid; /* -1: the public view is off */
    uint32_t registry_capacity;
    char version_text[32];
    char home[NAMESPACE_SIZE]; /* the caller's own namespace */
};

/* How a request points at a segment: by its name, which is the frame's text, or by a number. */
enum wire_by { BY_NAME = 0, BY_KEY = 1, BY_SHMID = 2 };

struct wire_target {
    uint32_t by;
    int32_t id;        /* the key or the shmid */
    uint64_t instance; /* not 0: only if it is this very one, else -ENOENT */
};

enum {
    CREATE_EXCLUSIVE = 1 << 0, /* EEXIST where the name exists */
    CREATE_MODE = 1 << 1,      /* `mode` is asked for */
    CREATE_GID = 1 << 2,       /* `gid` is asked for */
    CREATE_KEY = 1 << 3,       /* `key` is asked for */
    CREATE_NORESERVE = 1 << 4, /* SHM_NORESERVE */
    CREATE_LIFETIME = 1 << 5,  /* `lifetime`, `ttl` and `linger` are asked for */
    CREATE_KNOWN = (1 << 6) - 1
};

enum wire_lifetime { LIFETIME_PERSISTENT = 0, LIFETIME_EPHEMERAL = 1, LIFETIME_TTL = 2 };

struct wire_create {
    uint64_t size;       /* bytes */
    uint64_t request_id; /* random: a create sent again after a lost reply is the same create */
    uint32_t flags;
    uint32_t mode;
    uint32_t gid;
    int32_t key;
    uint32_t lifetime; /* enum wire_lifetime */
    uint32_t ttl;      /* seconds: LIFETIME_TTL's, at least 1 */
    uint32_t linger;   /* seconds: LIFETIME_EPHEMERAL's */
    uint32_t reserved;
};

enum {
    OPEN_WAIT = 1 << 0,   /* reply once the name exists; at most WIRE_WAITS_MAX a connection */
    OPEN_VERIFY = 1 << 1, /* hold the entry against the kernel first; else it is a mere look-up */
    OPEN_KNOWN = OPEN_WAIT | OPEN_VERIFY
};
#define WIRE_WAITS_MAX 16

struct wire_open {
    struct wire_target target;
    uint32_t flags;
    uint32_t reserved;
};

enum {
    OPENED_CREATED = 1 << 0, /* this request made it */
    OPENED_CHANNEL = 1 << 1, /* a ring was laid out in it (ring.h) */
};

struct wire_opened {
    uint64_t instance; /* of the registry's entry: never used twice */
    uint64_t size;     /* bytes: shm_segsz */
    int32_t shmid;
    int32_t key;
    uint32_t flags;
    uint32_t reserved;
};

enum {
    ATTACH_READ_ONLY = 1 << 0,
    ATTACH_KNOWN = ATTACH_READ_ONLY
};

struct wire_attach {
    struct wire_target target;
    uint32_t lease; /* chosen by the caller, once in a connection */
    uint32_t flags;
};

struct wire_detach {
    uint32_t lease;
    uint32_t reserved;
};

enum { SET_MODE = 1 << 0, SET_UID = 1 << 1, SET_GID = 1 << 2, SET_KNOWN = (1 << 3) - 1 };

struct wire_set {
    struct wire_target target;
    uint32_t mask;
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
};

enum {
    SEGMENT_DEST = 1 << 0,   /* SHM_DEST: goes with the last attachment */
    SEGMENT_LOCKED = 1 << 1, /* SHM_LOCKED */
    SEGMENT_PINNED = 1 << 2, /* one of `nattch` is shmd's own */
    SEGMENT_EPHEMERAL = 1 << 3,
    SEGMENT_DECLARED = 1 << 4, /* in shmd.conf */
    SEGMENT_CHANNEL = 1 << 5,  /* a ring was laid out in it */
};

/* struct shmid_ds as the kernel has it, and what the broker knows beside it. */
struct wire_segment {
    char name[NAME_SIZE];
    uint64_t instance;
    uint64_t size; /* shm_segsz, bytes */
    uint64_t nattch;
    int64_t atime, dtime, ctime; /* seconds since 1970; 0: never */
    int64_t created;             /* the broker's: nanoseconds since 1970 */
    int32_t shmid;
    int32_t key;
    uint32_t uid, gid, cuid, cgid;
    uint32_t mode; /* 0777 bits */
    uint32_t seq;
    uint32_t cpid, lpid;
    uint32_t flags;
    uint32_t leases;
    uint32_t creator_uid, creator_pid; /* who asked the broker for it */
    uint32_t ttl, linger;              /* seconds */
    int64_t expires; /* nanoseconds since 1970: when it is next seen whether it is used; 0: never */
};

#define WIRE_PAGE_RECORDS 16

struct wire_list {
    uint32_t cursor; /* 0, then `cursor` of the page before */
    uint32_t reserved;
};

struct wire_page {
    uint32_t cursor; /* 0: this was the last page */
    uint32_t count;  /* records that follow, at most WIRE_PAGE_RECORDS; 0 is no sign of the end */
    struct wire_segment records[];
};

struct wire_info {
    char version_text[32];
    uint64_t generation;
    uint64_t started;  /* nanoseconds since 1970 */
    uint64_t uptime;   /* nanoseconds */
    uint64_t segments; /* brokered now */
    uint64_t bytes;    /* of them */
    uint64_t requests; /* served since the start */
    uint64_t refused;  /* of them, answered with an error */
    uint64_t max_size; /* limit: bytes of one segment */
    uint32_t pid, uid;
    uint32_t capacity; /* limit: segments */
    uint32_t connections;
    uint32_t max_connections;
    uint32_t max_connections_user;
    uint32_t leases;
    uint32_t max_leases; /* limit: a connection */
    uint32_t max_mode;
    int32_t registry_shmid;
    int32_t key_first, key_last; /* range that keys are taken from */
    uint64_t total_size;         /* limit: bytes of all segments */
    uint64_t user_bytes, max_user_bytes; /* of the caller's user, in whole pages */
    uint32_t user_segments, max_user_segments;
    uint32_t user_connections, user_leases, max_user_leases;
    uint32_t max_user_requests; /* a second; 0: no limit */
    uint32_t watches, max_user_watches;
};

struct wire_who {
    struct wire_target target;
    uint32_t cursor; /* 0, then `cursor` of the page before */
    uint32_t reserved;
};

enum {
    HOLDER_READ_ONLY = 1 << 0,
    HOLDER_CREATOR = 1 << 1, /* holds it until it attaches */
    HOLDER_WRITER = 1 << 2,  /* of a channel */
    HOLDER_READER = 1 << 3,
};

struct wire_holder {
    int64_t since; /* nanoseconds since 1970 */
    uint32_t pid, uid, gid;
    uint32_t flags;
};

#define WIRE_PAGE_HOLDERS 64

struct wire_holders {
    uint32_t cursor; /* 0: this was the last page */
    uint32_t count;
    struct wire_holder records[];
};

/* With no pattern, or "*": all that the caller may see. '*' and '?' match any letters, a slash
 * too. */
struct wire_watch {
    uint32_t flags; /* none yet */
    uint32_t reserved;
};

enum wire_event_kind {
    EVENT_CREATED = 1,
    EVENT_REMOVED,
    EVENT_ATTACHED, /* a lease was taken */
    EVENT_DETACHED, /* a lease was given back */
    EVENT_CHANGED,  /* owner, group or mode */
    EVENT_DIED,     /* a lease ended with its holder's process or connection */
    EVENT_REFUSED,  /* a quota; `reason` is the errno */
    EVENT_LOST,     /* `reason` events did not fit: the watcher reads too slowly */
};

/* `reason` of EVENT_REMOVED and EVENT_CHANGED. */
enum wire_event_reason {
    REASON_ASKED = 0,
    REASON_BEHIND = 1, /* by somebody behind the broker's back */
    REASON_UNUSED = 2, /* its ttl has passed, or the last user of an ephemeral one has gone */
    REASON_CONFIG = 3, /* shmd.conf says so */
};

struct wire_event {
    int64_t when; /* nanoseconds since 1970 */
    uint64_t instance;
    uint64_t size; /* bytes */
    uint32_t kind;
    uint32_t reason;
    int32_t shmid;
    int32_t key;
    uint32_t uid, pid;         /* who did it; pid 0: nobody who is connected */
    uint32_t owner, gid, mode; /* of the segment, as last seen */
    uint32_t reserved;
};

enum { FSCK_REPAIR = 1 << 0, FSCK_KNOWN = FSCK_REPAIR };

struct wire_fsck {
    uint32_t flags;
    uint32_t reserved;
};

enum wire_problem_kind {
    PROBLEM_GONE = 1, /* its segment was removed behind the broker's back; the name is free now */
    PROBLEM_CHANGED = 2, /* owner, group or mode were changed behind the broker's back; noted now */
    PROBLEM_UNPINNED = 3, /* shmd cannot attach it: RemoveIPC may take it. Repair pins it */
    PROBLEM_ORPHAN = 4,   /* of our creator and key range, and in no registry. Repair removes it */
};

struct wire_problem {
    uint64_t size, nattch;
    uint32_t kind;
    int32_t shmid;
    int32_t key;
    uint32_t mended; /* 1: it is no problem any more */
    char name[NAME_SIZE]; /* "" of an orphan */
};

#define WIRE_REPORT_PROBLEMS 48

struct wire_report {
    uint32_t checked;  /* entries of the registry held against the kernel */
    uint32_t problems; /* found in all */
    uint32_t mended;   /* of them */
    uint32_t count;    /* records that follow: at most WIRE_REPORT_PROBLEMS */
    struct wire_problem records[];
};

#define WIRE_FITS(type, bytes) \
    _Static_assert(sizeof(struct type) == (bytes) && (bytes) % 8 == 0, #type " changed its size")

#include "protocol_channel.h"

WIRE_FITS(wire_header, 16);
WIRE_FITS(wire_hello, 16);
WIRE_FITS(wire_welcome, 144);
WIRE_FITS(wire_target, 16);
WIRE_FITS(wire_create, 48);
WIRE_FITS(wire_open, 24);
WIRE_FITS(wire_opened, 32);
WIRE_FITS(wire_attach, 24);
WIRE_FITS(wire_detach, 8);
WIRE_FITS(wire_set, 32);
WIRE_FITS(wire_segment, 256);
WIRE_FITS(wire_list, 8);
WIRE_FITS(wire_page, 8);
WIRE_FITS(wire_info, 200);
WIRE_FITS(wire_who, 24);
WIRE_FITS(wire_holder, 24);
WIRE_FITS(wire_holders, 8);
WIRE_FITS(wire_watch, 8);
WIRE_FITS(wire_event, 64);
WIRE_FITS(wire_fsck, 8);
WIRE_FITS(wire_problem, 160);
WIRE_FITS(wire_report, 16);

_Static_assert(sizeof(struct wire_header) + sizeof(struct wire_channel) + NAME_SIZE <=
                   WIRE_REQUEST_MAX,
               "request");
_Static_assert(NAME_SIZE % 8 == 0 && WIRE_TEXT_MAX % 8 == 0, "texts");
_Static_assert(sizeof(struct wire_header) + sizeof(struct wire_page) +
                   WIRE_PAGE_RECORDS * sizeof(struct wire_segment) <= WIRE_FRAME_MAX, "page");
_Static_assert(sizeof(struct wire_header) + sizeof(struct wire_holders) +
                   WIRE_PAGE_HOLDERS * sizeof(struct wire_holder) <= WIRE_FRAME_MAX, "holders");
_Static_assert(sizeof(struct wire_header) + sizeof(struct wire_report) +
                   WIRE_REPORT_PROBLEMS * sizeof(struct wire_problem) <= WIRE_FRAME_MAX, "report");
_Static_assert(sizeof(struct wire_header) + WIRE_TEXT_MAX <= WIRE_FRAME_MAX, "text");
