/* SPDX-License-Identifier: MIT */
/* What the files of libshmd share: the handle, and the calls between its layers. */
#pragma once

#include <stdbool.h>
#include <sys/shm.h>

#include "../shmd.h"
#include "deadline.h"
#include "name.h"
#include "paths.h"
#include "protocol.h"
#include "registry.h"
#include "util.h"

#define EXPORT __attribute__((visibility("default")))

/* One attachment made through a handle. `number` is its lease's: the row's own number, with a count
 * of the row's uses above it, so that a lease seen once does not come back soon. */
struct holding {
    void *address; /* NULL: the row is free, or its lease's end is still to be told */
    uint64_t size;
    uint32_t number;
    int32_t shmid;
    uint32_t next_free; /* row number of the next free row */
    bool read_only;
    bool leased; /* the broker knows of it, or is told when it is back */
    bool ending; /* detached: the broker is still to be told */
};

/* The registry as this process sees it. */
struct directory {
    void *segment; /* NULL: the broker is asked for everything */
    int32_t shmid;
    uint64_t generation;
    struct reg_view view;
};

struct shmd {
    int fd; /* -1: no connection */
    int passed; /* a descriptor that shmd has sent; -1: none */
    bool established; /* it was connected once, so it reconnects */
    bool welcomed;    /* the handshake of this connection is done */
    uint32_t serial;
    uint32_t number;     /* which handle of its process */
    uint32_t links;      /* connections made so far */
    uint32_t max_leases; /* as the broker said last */
    uint32_t waits;      /* opens that wait at the broker though their callers gave up */
    uint32_t in_start, in_end;
    struct directory directory;
    struct holding *rows;
    uint32_t rows_size, row_free; /* number of the first free row, 0: none */
    uint32_t leases, ending;
    struct member *members; /* its channels' */
    int64_t members_rest;   /* shmd did not answer them: until then they do not connect again */
    uid_t daemon_uid;
    char home[NAMESPACE_SIZE];
    char socket[SOCKET_PATH_MAX];
    char error[WIRE_TEXT_MAX];
    uint8_t in[WIRE_FRAME_MAX]; /* received, not yet taken */
};

/* What a request is about. */
struct target {
    struct wire_target wire;
    char name[NAME_SIZE]; /* full, NUL-padded; "": it is meant by a number */
};

/* A reply; its body stands in the handle's buffer until the next receive. */
struct reply {
    struct wire_header header;
    const uint8_t *body;
    uint32_t size; /* of the body */
};

/* An outcome beside 0 and negative errnos: the connection is gone. */
enum { LINK_LOST = 1 };

/* number.c: of a new handle, and once it is no more. */
uint32_t number_take(void);
void number_give(uint32_t number);

/* handle.c */
int handle_fail(struct shmd *s, int error, const char *fmt, ...) SHMD_PRINTF(3, 4);
int handle_not_connected(struct shmd *s);
int handle_timed_out(struct shmd *s, const struct deadline *d);
int handle_target(struct shmd *s, const char *text, struct target *ret);
bool target_is_name(const char *text);

/* Copy up to the end of `from`, or `size` - 1 bytes: programs print it, and nothing of it may steer
 * a terminal, whoever answered. */
void text_printable(char *to, const void *from, size_t size);

/* transport.c */
void link_close(struct shmd *s);
struct wire_header link_header(struct shmd *s, enum wire_op op, unsigned flags, size_t body_size);
int link_send(struct shmd *s, const void *frames, size_t size, struct deadline *d);
int link_receive(struct shmd *s, const struct wire_header *request, struct reply *reply,
                 struct deadline *d);
int link_broken(struct shmd *s, const char *what);
bool link_hung_up(const struct shmd *s);

/* Take a reply apart: `size` bytes to `ret`, or its error with its sentence. */
int reply_take(struct shmd *s, const struct reply *reply, void *ret, size_t size);

/* reconnect.c */
struct backoff {
    int wait_ms; /* before the next attempt */
};
int link_open(struct shmd *s, struct deadline *d);
int link_restore(struct shmd *s, struct backoff *b, struct deadline *d);
/* One attempt: a shmd that is away is not waited for. */
int link_once(struct shmd *s, struct deadline *d);

/* What is asked for: a struct and, where it is not NULL or empty, a name behind it. */
struct question {
    enum wire_op op;
    const void *body;
    size_t size;
    const char *name;
};

/* Ask the broker, again over a new connection where the old one was lost (*resent, may be NULL). */
int call_reply(struct shmd *s, const struct question *q, struct reply *reply, bool *resent,
               struct deadline *d);
int call(struct shmd *s, const struct question *q, void *ret, size_t size, struct deadline *d);
int call_opened(struct shmd *s, const struct question *q, struct shmd_segment *ret,
                struct deadline *d);

/* directory.c */
void directory_refresh(struct shmd *s, const struct wire_welcome *welcome);
void directory_drop(struct shmd *s);
int directory_find(const struct shmd *s, const char *name, struct shmd_segment *ret);

/* lease.c */
int lease_reserve(struct shmd *s, struct holding **ret); /* a row; its number is the next lease */
void lease_release(struct shmd *s, struct holding *row); /* a row that was never announced */
int lease_check_limit(struct shmd *s, struct deadline *d);
int lease_announce(struct shmd *s, struct holding *row, struct deadline *d);
int lease_announce_all(struct shmd *s, struct deadline *d);
void lease_end(struct shmd *s, struct holding *row); /* frees the row, now or once it is told */
int lease_flush(struct shmd *s, struct deadline *d); /* tell the ends not yet told */
void lease_forget_ended(struct shmd *s); /* the connection, and so every lease, has gone */
struct holding *lease_find(struct shmd *s, uint32_t number, const void *address);

/* attach.c */
int attach_until(struct shmd *s, const char *name, unsigned flags, void *address,
                 struct shmd_attachment *ret, struct deadline *d);
/* For reading, without a lease, and to be detached by shmdt(). */
int attach_unnoticed(struct shmd *s, const char *name, struct shmd_segment *ret, void **mapped,
                     struct deadline *d);

/* channel/member.c: announce the roles of a handle's channels again. */
int members_announce(struct shmd *s, struct deadline *d);

/* kernel.c: what the kernel says without the broker. */
int kernel_stat(int shmid, struct shmid_ds *ret);
int kernel_shmid(const struct wire_target *target); /* of key: or id:, or -errno */
void kernel_status(int shmid, const struct shmid_ds *ds, struct shmd_status *ret);

/* segment.c */
struct creation {
    enum wire_op op;
    const char *name;
    const struct shmd_create_options *options; /* NULL: none */
    struct wire_create *wire; /* at the front of the request, whose options are filled in */
    size_t wire_size;         /* of the whole request */
};
int segment_create(struct shmd *s, const struct creation *c, struct shmd_segment *ret,
                   struct deadline *d);
int segment_of_reply(struct shmd *s, const struct reply *reply, struct shmd_segment *ret);
void segment_name(char to[NAME_SIZE], const void *from, size_t size);
void segment_status(const struct wire_segment *wire, struct shmd_status *ret);
