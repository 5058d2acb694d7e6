/* SPDX-License-Identifier: MIT */
/* The calls about one segment, and the broker's answers in the words of shmd.h. */
#include "handle.h"

#include <string.h>
#include <sys/random.h>

_Static_assert(SHMD_NAME_SIZE == NAME_SIZE, "names differ in size");
_Static_assert(SHMD_PERSISTENT == LIFETIME_PERSISTENT + 1 &&
                   SHMD_EPHEMERAL == LIFETIME_EPHEMERAL + 1 && SHMD_TTL == LIFETIME_TTL + 1,
               "lifetimes differ");

/* A name has no blanks either. */
void segment_name(char to[NAME_SIZE], const void *from, size_t size)
{
    text_printable(to, from, size);
    for (char *c = to; *c; c++)
        if (*c == ' ')
            *c = '?';
}

int segment_of_reply(struct shmd *s, const struct reply *reply, struct shmd_segment *ret)
{
    struct wire_opened wire;

    if (reply->header.status < 0)
        return reply_take(s, reply, NULL, 0);
    if (reply->size <= sizeof(wire) || reply->size > sizeof(wire) + NAME_SIZE)
        return link_broken(s, "a reply of the wrong size");
    if (!ret)
        return 0;
    memcpy(&wire, reply->body, sizeof(wire));
    *ret = (struct shmd_segment){
        .instance = wire.instance,
        .size = wire.size,
        .shmid = wire.shmid,
        .key = wire.key,
        .created = wire.flags & OPENED_CREATED ? 1 : 0,
    };
    segment_name(ret->name, reply->body + sizeof(wire), reply->size - sizeof(wire));
    return 0;
}

static unsigned status_flags(uint32_t wire)
{
    return (wire & SEGMENT_DEST ? SHMD_DEST : 0u) | (wire & SEGMENT_LOCKED ? SHMD_LOCKED : 0u) |
           (wire & SEGMENT_PINNED ? SHMD_PINNED : 0u) |
           (wire & SEGMENT_DECLARED ? SHMD_DECLARED : 0u) |
           (wire & SEGMENT_CHANNEL ? SHMD_CHANNEL : 0u);
}

static unsigned lifetime_of(const struct wire_segment *wire)
{
    if (wire->flags & SEGMENT_EPHEMERAL)
        return SHMD_EPHEMERAL;
    return wire->ttl > 0 ? SHMD_TTL : SHMD_PERSISTENT;
}

void segment_status(const struct wire_segment *wire, struct shmd_status *ret)
{
    *ret = (struct shmd_status){
        .segment = {
            .instance = wire->instance, .size = wire->size, .shmid = wire->shmid, .key = wire->key,
        },
        .uid = wire->uid,
        .cuid = wire->cuid,
        .gid = wire->gid,
        .cgid = wire->cgid,
        .mode = wire->mode & 0777,
        .flags = status_flags(wire->flags),
        .seq = wire->seq,
        .nattch = wire->nattch,
        .atime = wire->atime,
        .dtime = wire->dtime,
        .ctime = wire->ctime,
        .cpid = (pid_t)wire->cpid,
        .lpid = (pid_t)wire->lpid,
        .created = wire->created,
        .creator_uid = wire->creator_uid,
        .creator_pid = (pid_t)wire->creator_pid,
        .leases = wire->leases,
        .lifetime = lifetime_of(wire),
        .ttl = wire->ttl,
        .linger = wire->linger,
        .expires = wire->expires,
    };
    segment_name(ret->segment.name, wire->name, sizeof(wire->name));
}

static int take_lifetime(struct shmd *s, const struct shmd_create_options *o, struct wire_create *w)
{
    if (o->lifetime > SHMD_TTL)
        return handle_fail(s, -EINVAL, "unknown lifetime: %u", o->lifetime);
    if ((o->lifetime == SHMD_TTL) != (o->ttl > 0))
        return handle_fail(s, -EINVAL,
                           "a ttl of at least one second belongs to the lifetime ttl, and "
                           "to no other");
    if (o->linger > 0 && o->lifetime != SHMD_EPHEMERAL)
        return handle_fail(s, -EINVAL, "only an ephemeral segment lingers");
    if (o->lifetime == SHMD_LIFETIME_DEFAULT)
        return 0;
    w->flags |= CREATE_LIFETIME;
    w->lifetime = o->lifetime - 1;
    w->ttl = o->ttl;
    w->linger = o->linger;
    return 0;
}

static int take_create_options(struct shmd *s, const struct shmd_create_options *o,
                               struct wire_create *w)
{
    if (o->flags & ~(unsigned)(SHMD_EXCLUSIVE | SHMD_NORESERVE))
        return handle_fail(s, -EINVAL, "unknown flags for creating: %#x", o->flags);
    if (o->mode < -1 || o->mode > 0777)
        return handle_fail(s, -EINVAL, "a mode is 0 to 0777, not %#o", (unsigned)o->mode);
    if (o->gid < -1 || o->gid >= UINT32_MAX)
        return handle_fail(s, -EINVAL, "no gid: %lld", (long long)o->gid);
    w->flags = (o->flags & SHMD_EXCLUSIVE ? CREATE_EXCLUSIVE : 0u) |
               (o->flags & SHMD_NORESERVE ? CREATE_NORESERVE : 0u) |
               (o->mode >= 0 ? CREATE_MODE : 0u) | (o->gid >= 0 ? CREATE_GID : 0u) |
               (o->key != 0 ? CREATE_KEY : 0u);
    w->mode = o->mode >= 0 ? (uint32_t)o->mode : 0;
    w->gid = o->gid >= 0 ? (uint32_t)o->gid : 0;
    w->key = o->key;
    return take_lifetime(s, o, w);
}

int segment_create(struct shmd *s, const struct creation *c, struct shmd_segment *ret,
                   struct deadline *d)
{
    struct target target;
    int r = handle_target(s, c->name, &target);

    if (r < 0)
        return r;
    if (target.wire.by != BY_NAME)
        return handle_fail(s, -EINVAL, "creating needs a name; a fixed key is an option");
    if (c->options && (r = take_create_options(s, c->options, c->wire)) < 0)
        return r;
    if (getrandom(&c->wire->request_id, sizeof(c->wire->request_id), 0) < 0)
        return handle_fail(s, -errno, "getrandom: %s", strerror(errno));
    return call_opened(s, &(struct question){c->op, c->wire, c->wire_size, target.name}, ret, d);
}

EXPORT int shmd_create(struct shmd *s, const char *name, uint64_t size,
                       const struct shmd_create_options *options, struct shmd_segment *ret,
                       int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    struct wire_create request = {.size = size};

    const struct creation creation = {OP_CREATE, name, options, &request, sizeof(request)};

    return segment_create(s, &creation, ret, &d);
}

/*
 * A wait cannot be called off, and a connection has so many. A new connection has all again; but
 * with the old one the roles of channels would end, so that there the broker ends the oldest wait.
 */
static void limit_waits(struct shmd *s)
{
    if (s->waits >= WIRE_WAITS_MAX - 1 && !s->members)
        link_close(s);
}

static int open_by_broker(struct shmd *s, const char *name, unsigned flags,
                          struct shmd_segment *ret, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    bool wait = (flags & SHMD_WAIT) && timeout_ms != 0;
    struct target target;
    int r = handle_target(s, name, &target);

    if (r < 0)
        return r;
    if (wait)
        limit_waits(s);

    const struct wire_open request = {
        .target = target.wire,
        .flags = (wait ? OPEN_WAIT : 0u) | (flags & SHMD_VERIFY ? OPEN_VERIFY : 0u),
    };

    r = call_opened(s, &(struct question){OP_OPEN, &request, sizeof(request), target.name}, ret,
                    &d);
    if (r == -ETIMEDOUT && wait && s->fd >= 0) {
        s->waits++;
        return handle_fail(s, r, "%s was not created within %d ms", name, timeout_ms);
    }
    return r;
}

/* The hit is all there is of the fast path: what the other needs is set up behind it. */
EXPORT int shmd_open(struct shmd *s, const char *name, unsigned flags, struct shmd_segment *ret,
                     int timeout_ms)
{
    if (flags & ~(unsigned)(SHMD_WAIT | SHMD_VERIFY))
        return handle_fail(s, -EINVAL, "unknown flags for opening: %#x", flags);
    if (name && !(flags & SHMD_VERIFY) && directory_find(s, name, ret) == 0)
        return 0;
    return open_by_broker(s, name, flags, ret, timeout_ms);
}

/* What the broker does not know may be known to the kernel. */
static int foreign_status(struct shmd *s, const struct wire_target *target, const char *name,
                          struct shmd_status *ret)
{
    struct shmid_ds ds;
    int shmid = kernel_shmid(target);
    int r = shmid < 0 ? shmid : kernel_stat(shmid, &ds);

    if (r == 0)
        kernel_status(shmid, &ds, ret);
    else if (r == -EINVAL || r == -ENOENT || r == -EIDRM)
        return handle_fail(s, -ENOENT, "there is no segment %s, in the broker or in the kernel",
                           name);
    else
        return handle_fail(s, r, "%s: %s", name, strerror(-r));
    return 0;
}

EXPORT int shmd_stat(struct shmd *s, const char *name, struct shmd_status *ret, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    struct wire_segment segment;
    struct target target;
    int r = handle_target(s, name, &target);

    if (r < 0)
        return r;
    r = call(s, &(struct question){OP_STAT, &target.wire, sizeof(target.wire), target.name},
             &segment, sizeof(segment), &d);
    if (r == -ENOENT && target.wire.by != BY_NAME)
        return foreign_status(s, &target.wire, name, ret);
    if (r == 0)
        segment_status(&segment, ret);
    return r;
}

EXPORT int shmd_set(struct shmd *s, const char *name, const struct shmd_set_options *options,
                    struct shmd_status *ret, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    struct wire_segment segment;
    struct wire_set request = {0};
    struct target target;
    int r = handle_target(s, name, &target);

    if (r < 0)
        return r;
    request.target = target.wire;
    if (!options || options->mode < -1 || options->mode > 0777)
        return handle_fail(s, -EINVAL, "a mode is 0 to 0777");
    if (options->uid < -1 || options->uid >= UINT32_MAX || options->gid < -1 ||
        options->gid >= UINT32_MAX)
        return handle_fail(s, -EINVAL, "no uid or gid");
    request.mask = (options->mode >= 0 ? SET_MODE : 0u) | (options->uid >= 0 ? SET_UID : 0u) |
                   (options->gid >= 0 ? SET_GID : 0u);
    request.mode = options->mode >= 0 ? (uint32_t)options->mode : 0;
    request.uid = options->uid >= 0 ? (uint32_t)options->uid : 0;
    request.gid = options->gid >= 0 ? (uint32_t)options->gid : 0;
    r = call(s, &(struct question){OP_SET, &request, sizeof(request), target.name}, &segment,
             sizeof(segment), &d);
    if (r == 0 && ret)
        segment_status(&segment, ret);
    return r;
}

EXPORT int shmd_remove(struct shmd *s, const char *name, struct shmd_status *ret, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    struct wire_segment segment = {0};
    struct target target;
    struct shmd_segment meant;
    struct reply reply;
    bool resent;
    int r = handle_target(s, name, &target);

    if (r < 0)
        return r;
    /* Asked again after a lost reply, the name may be a new segment's: not the one that is
     * meant. */
    if (target.wire.by == BY_NAME && directory_find(s, name, &meant) == 0)
        target.wire.instance = meant.instance;
    r = call_reply(s, &(struct question){OP_REMOVE, &target.wire, sizeof(target.wire), target.name},
                   &reply, &resent, &d);
    if (r < 0)
        return r;
    r = reply_take(s, &reply, &segment, sizeof(segment));
    if (r == -ENOENT && resent) { /* the first one was heard, its reply was lost */
        memcpy(segment.name, target.name, sizeof(segment.name));
        segment.shmid = target.wire.by == BY_SHMID ? target.wire.id : -1;
        segment.key = target.wire.by == BY_KEY ? target.wire.id : 0;
        r = 0;
    }
    if (r == 0 && ret)
        segment_status(&segment, ret);
    return r;
}
