/* SPDX-License-Identifier: MIT */
/*
 * libshmd: named System V shared memory, brokered by shmd.
 *
 *     struct shmd *s;
 *     struct shmd_attachment a;
 *
 *     if (shmd_connect(&s, NULL, 5000) < 0) ...
 *     shmd_create(s, "ticks", 1 << 20, NULL, NULL, 5000);
 *     shmd_attach(s, "ticks", 0, NULL, &a, 5000);
 *     memcpy(a.address, data, size);
 *     shmd_detach(s, &a);
 *     shmd_remove(s, "ticks", NULL, 5000);
 *     shmd_disconnect(s);
 *
 * Results. Every call returns 0 or more on success and a negative errno on failure;
 * shmd_error() then has a sentence that says what to do. Results are stored only on success.
 *
 * Time. `timeout_ms` is the longest a call may block, in milliseconds; -1 sets no limit, 0 never
 * waits for a reply that is not there. -ETIMEDOUT when it has passed: a change that was asked for
 * may then have been made or not.
 *
 * Reconnecting. A call that finds its connection closed connects again until the time is up, asks
 * anew (the broker recognises a create that it has already done) and announces the leases of all
 * attachments again. Attached memory is not touched by a restart of shmd.
 *
 * Segments are named by text: NAME (in the caller's own namespace), NAMESPACE/NAME, key:0x1234
 * or id:42 (a shmid).
 *
 * Threads. A handle belongs to one thread at a time; different handles are independent. There is no
 * global state. After fork() only one of the two processes may go on using the handle: the other
 * calls shmd_abandon().
 *
 * Errors that any call may return: -ECONNREFUSED, -ENOENT (of shmd_connect: no socket), -EACCES
 * (the socket's mode keeps the caller out) and -ETIMEDOUT from connecting; -EPROTO (what answers is
 * no shmd), -EPROTONOSUPPORT (no version in common), -EXDEV (the broker lives in another IPC
 * namespace: no shmid of it is valid here), -EUSERS (the caller is at a limit of connections),
 * -EINVAL (an argument; the sentence says which), -EOVERFLOW (the caller lives in a user namespace
 * whose ids have no mapping here), -ENOTCONN (the handle never got a connection), -ENOMEM.
 */
#ifndef SHMD_H
#define SHMD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shmd; /* a connection to the broker, with its attachments' leases */

/* Bytes of a full name, NAMESPACE/NAME, with its NUL. */
#define SHMD_NAME_SIZE 128

/*
 * Connect to the broker at `socket`; NULL: $SHMD_SOCKET, else the caller's private broker if it is
 * there ($XDG_RUNTIME_DIR/shmd/shmd.sock or /tmp/shmd-UID/shmd.sock), else /run/shmd/shmd.sock.
 * Blocks for the handshake. *ret is the caller's, to be given to shmd_disconnect(); it is set
 * on failure too (unless -ENOMEM), to ask shmd_error(), and may be disconnected as usual.
 */
int shmd_connect(struct shmd **ret, const char *socket, int timeout_ms);

/*
 * Detach what is still attached through `s`, close the connection and free it. NULL is
 * allowed. Never blocks. Returns NULL, to be assigned.
 */
struct shmd *shmd_disconnect(struct shmd *s);

/* In a child after fork(): free the handle, without detaching and without telling the broker. */
struct shmd *shmd_abandon(struct shmd *s);

/* The sentence about the last failed call on `s`, without a newline: valid until the next call. */
const char *shmd_error(const struct shmd *s);

/* The socket's path, and the caller's own namespace. Valid as long as `s`. */
const char *shmd_socket(const struct shmd *s);
const char *shmd_namespace(const struct shmd *s);

/* Ask whether the broker answers. Blocks for the reply. */
int shmd_ping(struct shmd *s, int timeout_ms);

/* What create, open and attach tell of a segment. */
struct shmd_segment {
    uint64_t instance; /* the broker's own number of it: never used twice */
    uint64_t size;     /* bytes, as asked for at creation (shm_segsz) */
    int shmid;
    int32_t key;       /* the System V key */
    int created;       /* 1: by this very call */
    char name[SHMD_NAME_SIZE]; /* full; "" where the segment is not a brokered one */
};

enum shmd_create_flags {
    SHMD_EXCLUSIVE = 1 << 0, /* fail with -EEXIST where the name exists (IPC_EXCL) */
    SHMD_NORESERVE = 1 << 1, /* commit pages as they are touched (SHM_NORESERVE) */
};

enum shmd_lifetime {
    SHMD_LIFETIME_DEFAULT = 0, /* of the namespace: persistent, unless shmd.conf says otherwise */
    SHMD_PERSISTENT = 1,       /* until it is removed, or the host stops */
    /* As long as somebody holds it; the kernel itself frees it, even if all of them and shmd are
     * killed. The connection that created it holds it until it first attaches it or ends. */
    SHMD_EPHEMERAL = 2,
    SHMD_TTL = 3, /* persistent, and removed once it was unused for `ttl` seconds */
};

/* Start from SHMD_CREATE_INIT and set what differs. */
struct shmd_create_options {
    unsigned flags; /* enum shmd_create_flags */
    int mode;       /* permission bits, as of chmod; -1: the broker's default (0600) */
    int64_t gid;    /* a group the caller is in; -1: the caller's own */
    int32_t key;    /* a fixed System V key; 0: one from the broker's range */
    uint32_t lifetime; /* enum shmd_lifetime */
    uint32_t ttl;      /* seconds, at least 1: with SHMD_TTL */
    uint32_t linger;   /* seconds that an ephemeral segment outlives its last lease */
    uint32_t reserved;
};
#define SHMD_CREATE_INIT {0, -1, -1, 0, 0, 0, 0, 0}

/*
 * Create segment `name` of `size` bytes, zeroed; the kernel rounds the memory up to pages. An
 * existing one that is large enough is opened instead, unless SHMD_EXCLUSIVE. `options` and `ret`
 * may be NULL. Blocks for the reply. -EEXIST; -EINVAL (size 0, or the existing one is smaller);
 * -EPERM (namespace, group, mode or key is not the caller's to use); -EADDRINUSE (the fixed key is
 * taken); -EDQUOT (a limit of the broker: the sentence names it); -ENOSPC (SHMMNI or SHMALL of the
 * kernel is used up); -ENOMEM; -EXFULL (the registry is full).
 */
int shmd_create(struct shmd *s, const char *name, uint64_t size,
                const struct shmd_create_options *options, struct shmd_segment *ret,
                int timeout_ms);

enum shmd_open_flags {
    SHMD_WAIT = 1 << 0, /* wait until the name is created, for as long as the time limit allows */
    SHMD_VERIFY = 1 << 1, /* let the broker hold it against the kernel, and block for its reply */
};

/*
 * Look a segment up. By name this normally takes no system call and no daemon; where the registry
 * cannot tell (absent, being changed, public view off) the broker is asked, and it blocks for the
 * reply. A segment that was just removed behind the broker's back is found in the registry until
 * somebody touches it, unless SHMD_VERIFY. Opening does not check permission: attaching does.
 * key: and id: find brokered segments only. `ret` may be NULL.
 * -ENOENT; -EIDRM (it was removed behind the broker's back).
 */
int shmd_open(struct shmd *s, const char *name, unsigned flags, struct shmd_segment *ret,
              int timeout_ms);

enum shmd_attach_flags {
    SHMD_READ_ONLY = 1 << 0, /* SHM_RDONLY */
    SHMD_ROUND = 1 << 1,     /* SHM_RND: round `address` down to SHMLBA */
    SHMD_EXEC = 1 << 2,      /* SHM_EXEC */
    SHMD_REMAP = 1 << 3,     /* SHM_REMAP: replace what is mapped at `address` */
    SHMD_FOREIGN = 1 << 4,   /* allow a segment that shmd does not broker (key:, id:): no lease */
};

struct shmd_attachment {
    void *address; /* page-aligned; NULL once detached */
    uint64_t size; /* bytes that may be touched from `address` on */
    uint32_t lease; /* the library's: 0 without one */
    uint32_t flags; /* enum shmd_attach_flags it was made with */
    struct shmd_segment segment;
};

/*
 * Attach a segment (shmat) and take a lease on it, that is, tell the broker who holds it. The
 * kernel decides on permission. `address` NULL lets the kernel choose. After the shmat, creator,
 * key and size are compared with what the broker said, so that a recycled shmid is never taken for
 * the segment. Blocks only where the registry cannot tell, or the socket is full. *ret is the
 * caller's. -ENOENT; -EIDRM; -EACCES (the kernel says no); -ENOMEM; -EDQUOT (leases of a
 * connection).
 */
int shmd_attach(struct shmd *s, const char *name, unsigned flags, void *address,
                struct shmd_attachment *ret, int timeout_ms);

/*
 * Detach (shmdt) and end the lease; *a is emptied. An emptied one is 0 again. Never blocks (the
 * broker is told without waiting). -EINVAL where nothing is attached there.
 */
int shmd_detach(struct shmd *s, struct shmd_attachment *a);

enum shmd_status_flags {
    SHMD_DEST = 1 << 0,   /* removed; goes with the last attachment (SHM_DEST) */
    SHMD_LOCKED = 1 << 1, /* SHM_LOCKED */
    SHMD_PINNED = 1 << 2, /* one of `nattch` is shmd's own attachment */
    SHMD_DECLARED = 1 << 3, /* a [segment] of shmd.conf */
    SHMD_CHANNEL = 1 << 4, /* messages go through it: shmd-channel.h */
};

/* All of struct shmid_ds and ipc_perm as the kernel has it now, and what the broker knows. */
struct shmd_status {
    struct shmd_segment segment;
    uid_t uid, cuid; /* owner, creator (the broker) */
    gid_t gid, cgid;
    unsigned mode;   /* permission bits */
    unsigned flags;  /* enum shmd_status_flags */
    unsigned seq;    /* ipc_perm.__seq */
    uint64_t nattch; /* attachments (mappings, not processes), shmd's pin among them */
    int64_t atime, dtime, ctime; /* seconds since 1970; 0: never */
    pid_t cpid, lpid;
    int64_t created; /* nanoseconds since 1970, the broker's; 0 where not brokered */
    uid_t creator_uid;  /* who asked the broker for it */
    pid_t creator_pid;
    unsigned leases;    /* held through the broker now */
    unsigned lifetime;  /* enum shmd_lifetime; 0 where not brokered */
    unsigned ttl, linger; /* seconds */
    int64_t expires; /* nanoseconds since 1970: removed then unless it is used; 0: it is not due */
    uint32_t reserved[4];
};

/*
 * Status of a segment. For key: and id: a segment that shmd does not broker is answered too, from
 * the kernel, with an empty name. Blocks for the reply. -ENOENT; -EIDRM; -EACCES.
 */
int shmd_stat(struct shmd *s, const char *name, struct shmd_status *ret, int timeout_ms);

/* Start from SHMD_SET_INIT and set what shall change. */
struct shmd_set_options {
    int mode;     /* -1: as it is */
    int64_t uid;  /* -1: as it is */
    int64_t gid;  /* -1: as it is */
    uint32_t reserved[4];
};
#define SHMD_SET_INIT {-1, -1, -1, {0, 0, 0, 0}}

/*
 * Change mode, group (the owner or an administrator) or owner (an administrator) by IPC_SET. What
 * is attached stays attached. `ret` may be NULL. Blocks for the reply. -ENOENT; -EIDRM; -EPERM.
 */
int shmd_set(struct shmd *s, const char *name, const struct shmd_set_options *options,
             struct shmd_status *ret, int timeout_ms);

/*
 * Remove a segment (IPC_RMID): its name and key are free at once, its memory goes with the last
 * attachment. Owner or administrator. `ret` (may be NULL) has its last status. Blocks for the
 * reply. -ENOENT; -EPERM.
 */
int shmd_remove(struct shmd *s, const char *name, struct shmd_status *ret, int timeout_ms);

/*
 * Call `each` for every brokered segment; a value other than 0 from it ends the walk and is
 * returned. Asks the broker page by page, and blocks for the replies. Segments that come or go
 * meanwhile may or may not be seen; the others are seen once.
 */
int shmd_list(struct shmd *s, int (*each)(const struct shmd_status *status, void *data), void *data,
              int timeout_ms);

/* Who holds a segment. */
enum shmd_holder_flags {
    SHMD_HOLDER_READ_ONLY = 1 << 0,
    SHMD_HOLDER_CREATOR = 1 << 1, /* its creator, who has not attached it yet */
};

struct shmd_holder {
    pid_t pid;
    uid_t uid;
    gid_t gid;
    unsigned flags; /* enum shmd_holder_flags */
    int64_t since;  /* nanoseconds since 1970 */
};

/*
 * Call `each` for every lease on a segment; a value other than 0 from it ends the walk and is
 * returned. What is attached without the broker's knowledge is not told (nattch of shmd_stat()
 * counts it). Blocks for the replies. -ENOENT; -EIDRM.
 */
int shmd_who(struct shmd *s, const char *name,
             int (*each)(const struct shmd_holder *holder, void *data), void *data, int timeout_ms);

/* What happens to segments. */
enum shmd_event_kind {
    SHMD_EVENT_CREATED = 1,
    SHMD_EVENT_REMOVED,
    SHMD_EVENT_ATTACHED, /* a lease was taken */
    SHMD_EVENT_DETACHED, /* a lease was given back */
    SHMD_EVENT_CHANGED,  /* owner, group or mode */
    SHMD_EVENT_DIED,     /* a lease ended with its holder's process or connection */
    SHMD_EVENT_REFUSED,  /* the user met a quota: `reason` is the errno */
    SHMD_EVENT_LOST,     /* `reason` events were lost, as they were read too slowly */
    SHMD_EVENT_RESTARTED, /* shmd was restarted: nobody knows what happened meanwhile */
};

enum shmd_event_reason {
    SHMD_REASON_ASKED = 0,
    SHMD_REASON_BEHIND = 1, /* by somebody behind the broker's back */
    SHMD_REASON_UNUSED = 2, /* its ttl has passed, or an ephemeral one's last user has gone */
    SHMD_REASON_CONFIG = 3, /* shmd.conf says so */
};

struct shmd_event {
    unsigned kind; /* enum shmd_event_kind */
    unsigned reason;
    int64_t when;  /* nanoseconds since 1970 */
    struct shmd_segment segment;
    uid_t uid;     /* who did it */
    pid_t pid;     /* 0: nobody who is connected */
    uid_t owner;   /* of the segment, as last seen */
    gid_t gid;
    unsigned mode;
    uint32_t reserved[4];
};

struct shmd_watch; /* a connection of its own that hears of events */

/*
 * Watch the segments whose full names match `pattern` ('*' and '?', also of a slash; a pattern
 * without a slash is one of the caller's own namespace; NULL: all that the caller may see), at the
 * broker of `s`, which is needed no longer afterwards. Blocks for the handshake. *ret is the
 * caller's, to be given to shmd_watch_close(). -EINVAL (the pattern); -EDQUOT (watches of a user);
 * errors of connecting: the sentence is shmd_error(s)'s.
 */
int shmd_watch_open(struct shmd_watch **ret, struct shmd *s, const char *pattern, int timeout_ms);

/*
 * The next event; blocks until there is one. Where the broker was restarted it connects again, and
 * the first event then is SHMD_EVENT_RESTARTED. -ETIMEDOUT: none came.
 */
int shmd_watch_next(struct shmd_watch *w, struct shmd_event *ret, int timeout_ms);

/* A descriptor that is readable when shmd_watch_next() may have an event: ask with timeout 0 until
 * -ETIMEDOUT. It changes when the broker is restarted; -1 while there is no connection: then only a
 * call with a time limit above 0 makes one. */
int shmd_watch_fd(const struct shmd_watch *w);
const char *shmd_watch_error(const struct shmd_watch *w);
struct shmd_watch *shmd_watch_close(struct shmd_watch *w); /* NULL is allowed; returns NULL */

/* What shmd_fsck() finds. */
enum shmd_problem_kind {
    SHMD_PROBLEM_GONE = 1,    /* the segment of a name was removed behind the broker's back */
    SHMD_PROBLEM_CHANGED = 2, /* owner, group or mode were changed behind the broker's back */
    SHMD_PROBLEM_UNPINNED = 3, /* shmd cannot attach it, so that RemoveIPC may take it */
    SHMD_PROBLEM_ORPHAN = 4,  /* a segment of the broker's in no registry */
};

struct shmd_problem {
    unsigned kind; /* enum shmd_problem_kind */
    int mended;    /* 1: it is no problem any more */
    struct shmd_segment segment;
    uint64_t nattch;
};

enum shmd_fsck_flags { SHMD_REPAIR = 1 << 0 };

struct shmd_fsck {
    unsigned checked;  /* names held against the kernel */
    unsigned problems; /* found; the first 48 of them are told to `each` */
    unsigned mended;   /* of them */
};

/*
 * Compare the registry with the kernel. A name whose segment has gone is let go and changes are
 * noted; with SHMD_REPAIR orphans that nobody has attached are removed and what is not pinned is
 * pinned. `each` may be NULL. For administrators. Blocks for the reply. -EPERM.
 */
int shmd_fsck(struct shmd *s, unsigned flags, struct shmd_fsck *ret,
              int (*each)(const struct shmd_problem *problem, void *data), void *data,
              int timeout_ms);

/* The broker itself: what it is, what it holds, what its limits are. */
struct shmd_broker {
    char version[32];
    pid_t pid;
    uid_t uid;
    uint64_t generation; /* starts of shmd on this registry */
    int64_t started;     /* nanoseconds since 1970 */
    uint64_t uptime;     /* nanoseconds */
    uint64_t segments, bytes;
    uint64_t requests, refused; /* since its start */
    unsigned connections, leases;
    uint64_t max_size;   /* limit: bytes of a segment */
    unsigned max_segments, max_connections, max_connections_user, max_leases;
    unsigned max_mode;
    int registry_shmid;  /* -1: the public view is off */
    int32_t key_first, key_last;
    uint64_t total_size;                 /* limit: bytes of all segments */
    uint64_t user_bytes, max_user_bytes; /* of the caller's user, in whole pages */
    unsigned user_segments, max_user_segments;
    unsigned user_connections, user_leases, max_user_leases;
    unsigned max_user_requests; /* a second; 0: no limit */
    unsigned watches, max_user_watches;
    uint32_t reserved[8];
};

/* Ask the broker about itself. Blocks for the reply. */
int shmd_broker(struct shmd *s, struct shmd_broker *ret, int timeout_ms);

/* The library's version, "MAJOR.MINOR.PATCH". */
const char *shmd_version(void);

#ifdef __cplusplus
}
#endif

#endif
