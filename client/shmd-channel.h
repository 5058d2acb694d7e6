/* SPDX-License-Identifier: MIT */
/*
 * Channels: messages through a brokered segment, at the speed of memory.
 *
 *     struct shmd_channel_options o = SHMD_CHANNEL_INIT;
 *     struct shmd_writer *w;
 *     struct shmd_reader *r;
 *
 *     shmd_channel_create(s, "ticks", &o, NULL, 5000); // by either side; the second one opens
 *
 *     shmd_writer_open(&w, s, "ticks", NULL, 5000);
 *     shmd_send(w, bytes, length, -1);
 *     shmd_writer_close(w);
 *
 *     shmd_reader_open(&r, s, "ticks", NULL, 5000);
 *     shmd_recv(r, buffer, room, &length, -1);
 *     shmd_reader_close(r);
 *
 * A channel carries messages of any length up to its `max_message` from one writer at a time (or
 * many, SHMD_WRITERS_MANY) to any number of readers, each of which gets every message, in order.
 * It keeps its last messages, so that a reader that comes late, even after the writer has gone,
 * starts with those.
 *
 *   reliable   the writer waits for the slowest reader that lives. Readers need write access.
 *   broadcast  the writer never waits; a reader that was too slow loses messages and is told how
 *              many. Read access is enough.
 *
 * Neither shmd nor the kernel takes part in a message while both sides run: a call makes a system
 * call only to sleep, or to wake who sleeps. When shmd is stopped or killed, messages keep flowing.
 *
 * Death. shmd hears from the kernel of the end of each process. Readers of a writer that died get
 * all that it had sent, then -EOWNERDEAD, then what the next writer sends; a message half written
 * is never received. Where the next one began before a reader had got that far, it may go on to its
 * messages without having been told, of an orderly end as well. A reader that died holds no writer
 * up. While shmd is away this waits for its return.
 *
 * Trust. Whoever may write to the segment can put garbage there. Every word is checked: the other
 * side gets -EPROTO, and never reads or writes outside of the segment, loops or crashes. What
 * shmd_peek() shows stands in shared memory, where a hostile writer may change it at any time: copy
 * what you check, or use shmd_recv().
 *
 * Results, time limits, threads: as in shmd.h. A writer or reader belongs to the handle it was
 * opened with: one thread at a time uses all of these, and they are closed before it is
 * disconnected. `timeout_ms` 0 tries, -1 waits for ever; -ETIMEDOUT says that nothing happened. After
 * shmd came back, the next call that sends, or that has to wait for a message, tells it of this
 * member, for which it may take a third of a second more; a call that has to wake who polls, be it to
 * commit, uncork or release, may take a second, where shmd's socket is open and shmd not yet there.
 */
#ifndef SHMD_CHANNEL_H
#define SHMD_CHANNEL_H

#include <shmd.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shmd_writer;
struct shmd_reader;

#define SHMD_TAG_SIZE 20 /* bytes of a type tag with its NUL */
#define SHMD_CHANNEL_READERS_MAX 1023

enum shmd_channel_flags {
    SHMD_BROADCAST = 1 << 0,    /* else reliable */
    SHMD_WRITERS_MANY = 1 << 1, /* any number of writers, each message whole; else one at a time */
    /* Reliable: while there is no reader the writer overwrites nothing that no reader has taken,
     * but waits for one. A reader starts where the last one got to. */
    SHMD_HOLD = 1 << 2,
    SHMD_ONE_READER = 1 << 3, /* reliable: one reader at a time, another one gets -EBUSY */
};

/* Start from SHMD_CHANNEL_INIT and set what differs. */
struct shmd_channel_options {
    unsigned flags;       /* enum shmd_channel_flags */
    uint32_t max_message; /* bytes of the longest message: 1 to 512 MiB */
    uint32_t messages;    /* the ring has room for so many of that length, at least; shorter ones
                           * take no more than they need (8 bytes and a little beside each) */
    uint32_t members;     /* most readers and writers at a time that have write access */
    uint32_t version;     /* of the messages' type, which all who open it have to name */
    char tag[SHMD_TAG_SIZE]; /* and its name; "": any */
    struct shmd_create_options segment; /* mode (at least 0600), group, key, lifetime,
                                         * SHMD_EXCLUSIVE */
};
#define SHMD_CHANNEL_INIT {0, 4096, 128, 32, 0, "", SHMD_CREATE_INIT}

/*
 * Create channel `name`; an existing one of the same options is opened instead, unless
 * SHMD_EXCLUSIVE. `options` (NULL: SHMD_CHANNEL_INIT) and `ret` may be NULL. Blocks for the reply.
 * As shmd_create(), and -EPROTOTYPE: the name is a channel with other options, or none at all.
 */
int shmd_channel_create(struct shmd *s, const char *name,
                        const struct shmd_channel_options *options, struct shmd_segment *ret,
                        int timeout_ms);

enum shmd_member_flags {
    /* Wait until the channel exists and, for a writer, until no other one has it, for as long as
     * the time limit allows. */
    SHMD_MEMBER_WAIT = 1 << 0,
    SHMD_MEMBER_NO_SPIN = 1 << 1, /* sleep at once where it has to wait */
    SHMD_MEMBER_SPIN = 1 << 2,    /* never sleep: burn the processor for the shortest latency */
};

/* Start from SHMD_MEMBER_INIT. */
struct shmd_member_options {
    unsigned flags;  /* enum shmd_member_flags */
    uint32_t version;
    const char *tag; /* NULL: neither tag nor version is compared */
    int64_t history; /* a reader's: start with at most so many of the kept messages; -1: with all */
    uint32_t reserved[4];
};
#define SHMD_MEMBER_INIT {0, 0, NULL, -1, {0, 0, 0, 0}}

/*
 * Become the writer of a channel, or one of many. `options` may be NULL. *ret is the caller's, to
 * be given to shmd_writer_close(). Blocks for the reply, and with SHMD_MEMBER_WAIT for the role.
 * -ENOENT; -EACCES (the kernel denies write access); -EBUSY (another one writes; the sentence says
 * who); -EUSERS (all `members` are taken); -EPROTOTYPE (no channel, or of another tag or version);
 * -EPROTO (somebody has damaged it); -EPROTONOSUPPORT (another version of shmd made it); -EDQUOT
 * (the user waits in as many places as the broker allows); else as shmd_attach().
 */
int shmd_writer_open(struct shmd_writer **ret, struct shmd *s, const char *name,
                     const struct shmd_member_options *options, int timeout_ms);

/*
 * End the channel's messages: readers get the end after the last one. (Of many writers, the last
 * one does.) Frees `w`; NULL is allowed. Never blocks. Returns NULL, to be assigned.
 */
struct shmd_writer *shmd_writer_close(struct shmd_writer *w);

/*
 * Send one message, a copy of `length` bytes. Waits for room where the channel is reliable.
 * -ETIMEDOUT (no room); -EMSGSIZE; -EBUSY (something is reserved); -EPROTO; -ESTALE (shmd has
 * taken the role away, as it held this process for dead); -EIDRM (SHMD_HOLD: it would wait for a
 * reader, and none comes, as the channel was removed).
 */
int shmd_send(struct shmd_writer *w, const void *bytes, size_t length, int timeout_ms);

/*
 * Send without a copy: room for `length` bytes in the ring, to be filled in and then sent by
 * shmd_commit() with the bytes that it came to (at most `length`), or given back by shmd_abort().
 * Waits as shmd_send(). With SHMD_WRITERS_MANY the room is this process's own, and shmd_commit()
 * copies, for which it may wait for what is left of the time limit: after -ETIMEDOUT it may be
 * tried again. -EBUSY (something is reserved already); -EINVAL (of shmd_commit(): nothing is
 * reserved, or less than that).
 */
int shmd_reserve(struct shmd_writer *w, size_t length, void **ret, int timeout_ms);
int shmd_commit(struct shmd_writer *w, size_t length);
void shmd_abort(struct shmd_writer *w);

/*
 * Let readers follow a long message while it is being filled in: `there` of its first bytes have
 * their final values. Call it every 8 to 64 KiB, and shmd_commit() at the end, with the length that
 * was reserved: with a shorter one, or after shmd_abort(), what was seen of it is void, and readers
 * are told so. Never blocks, and wakes nobody but at the first call, so it is cheap. Does nothing
 * for messages of less than 32 KiB, while corked, or with SHMD_WRITERS_MANY. -EINVAL (nothing is
 * reserved, or less than that).
 */
int shmd_progress(struct shmd_writer *w, size_t there);

/*
 * Batches: messages sent while corked are seen at shmd_uncork(), all at once and at the cost of one
 * (earlier ones where room runs out). Some 16 at a time is what pays.
 */
void shmd_cork(struct shmd_writer *w);
void shmd_uncork(struct shmd_writer *w);

/*
 * Become a reader. Where the kernel denies write access to a broadcast channel it is opened for
 * reading only: its writer then makes a system call for every message (two while this reader
 * has a descriptor to poll), and counters of this reader are kept nowhere. Otherwise as
 * shmd_writer_open().
 */
int shmd_reader_open(struct shmd_reader **ret, struct shmd *s, const char *name,
                     const struct shmd_member_options *options, int timeout_ms);
struct shmd_reader *shmd_reader_close(struct shmd_reader *r); /* NULL is allowed; returns NULL */

/*
 * Receive the next message: 1, and its `length`; 0 at the end (the writer has closed; a later call
 * waits for the next writer's); -EOWNERDEAD (the writer died; all that it sent was received; a
 * later call waits for the next writer's); -ETIMEDOUT; -EMSGSIZE (`room` is too small: *length says
 * what is needed, and the message stays); -EPROTO; -ESTALE (as for the writer); -EIDRM (the channel
 * was removed, all was received, and nobody is left to write).
 */
int shmd_recv(struct shmd_reader *r, void *to, size_t room, size_t *length, int timeout_ms);

/*
 * Receive without a copy: the message stands in the ring until shmd_release(). Peeking again
 * before that gives the one behind it, and so a batch; it does not wait then, as the writer may
 * wait for what was peeked. Results as of shmd_recv().
 */
int shmd_peek(struct shmd_reader *r, const void **bytes, size_t *length, int timeout_ms);

/* Give back all that was peeked. -EOVERFLOW (broadcast): some of it was overwritten meanwhile, so
 * that what was read there is not to be believed; -ESTALE (as for the writer): it may have been. */
int shmd_release(struct shmd_reader *r);

/*
 * As shmd_peek(), but a long message may be returned while it is still being written, by
 * shmd_progress() or shmd_send(): *there of its *length bytes are there. shmd_peek_more() waits for
 * more than *there of them, and says how many there are. While *there is less than *length it is a
 * multiple of 64 and nothing that was seen may be believed; once they are equal the message is
 * whole and peeked as any other, for shmd_release().
 *
 *     r = shmd_peek_begun(reader, &bytes, &length, &there, -1);
 *     while (r > 0 && there < length) {
 *         ... look at bytes[seen] to bytes[there - 1]; seen = there;
 *         r = shmd_peek_more(reader, &there, -1);
 *     }
 *     if (r > 0) ... look at the rest; believe it; shmd_release(reader);
 *
 * -ECANCELED: the message came to nothing, as its writer died or gave it up: forget what was seen,
 * and call shmd_peek_begun() again, which tells what came then. A message that was given up wakes
 * nobody: who waits hears of it with what comes next. -EINVAL (of shmd_peek_more(): no message is
 * followed). Results and time limits are otherwise those of shmd_peek(); who sleeps or polls is
 * told when the whole message is there.
 */
int shmd_peek_begun(struct shmd_reader *r, const void **bytes, size_t *length, size_t *there,
                    int timeout_ms);
int shmd_peek_more(struct shmd_reader *r, size_t *there, int timeout_ms);

/* Messages that this reader has lost, since it was opened. */
uint64_t shmd_lost(const struct shmd_reader *r);

/*
 * A descriptor for poll(2), epoll(7), libevent and the like: readable when a call with time limit 0
 * is worth while. Once it has been asked for, a call that returns -ETIMEDOUT with time limit 0 has
 * made it ready to tell of what comes next: so call until then, poll, and call again. It stays the
 * same for life and is closed with its owner. Blocks for the broker's reply the first time.
 * -EMFILE; -EDQUOT (the broker's limit of descriptors).
 */
int shmd_reader_fd(struct shmd_reader *r, int timeout_ms);
int shmd_writer_fd(struct shmd_writer *w, int timeout_ms);

/* What the last failed call said, as shmd_error(). */
const char *shmd_writer_error(const struct shmd_writer *w);
const char *shmd_reader_error(const struct shmd_reader *r);

enum shmd_channel_state {
    SHMD_CHANNEL_VACANT = 0, /* nobody has written yet */
    SHMD_CHANNEL_WRITING = 1,
    SHMD_CHANNEL_CLOSED = 2, /* the writer has come to its end */
    SHMD_CHANNEL_DIED = 3,   /* the writer died */
};

struct shmd_channel_member {
    int is_writer;
    pid_t pid;
    uint64_t messages, bytes; /* received; a writer's: of the channel */
    uint64_t lost;
    uint64_t waits, wakes; /* times it slept, times it woke others */
    uint64_t unread;       /* bytes that wait for this reader */
    uint32_t reserved[4];
};

/* What a channel is and has done. Counts run since it was made. */
struct shmd_channel_status {
    struct shmd_segment segment;
    struct shmd_channel_options options; /* but for `segment` */
    uint64_t size;        /* bytes of the ring */
    unsigned state;       /* enum shmd_channel_state */
    unsigned readers, writers;
    unsigned blind;       /* readers without write access */
    unsigned waiting;     /* 1: a reader sleeps, 2: a writer does, 3: both */
    uint64_t sent, bytes; /* messages, and bytes of them */
    uint64_t received;    /* by all readers that are there now */
    uint64_t lost;        /* likewise */
    uint64_t unread;      /* SHMD_HOLD: messages that no reader has released */
    uint32_t reserved[6];
};

/*
 * Remove a channel, that very `segment`, unless other processes are members of it: of all who ask
 * at a time one removes it, and who becomes a member keeps it. A member that has called
 * shmd_writer_close() or shmd_reader_close() is none any more. Blocks for the reply. -EBUSY (others
 * are members); -ENOENT or -EIDRM (it is gone); else as shmd_remove().
 */
int shmd_channel_remove(struct shmd *s, const struct shmd_segment *segment, int timeout_ms);

/*
 * Look at a channel without disturbing it: needs read access, takes no lease and tells nobody.
 * Numbers are read one after the other while the channel goes on. `each` (may be NULL) is called
 * for every member that has write access; a value other than 0 from it is returned. Blocks where
 * shmd_open() does. -ENOENT; -EACCES; -EPROTOTYPE (no channel).
 */
int shmd_channel_stat(struct shmd *s, const char *name, struct shmd_channel_status *ret,
                      int (*each)(const struct shmd_channel_member *member, void *data), void *data,
                      int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
