/* SPDX-License-Identifier: MIT */
/*
 * Attaching: shmat by the shmid that the registry gave, one IPC_STAT and a second look-up to see
 * that it is the segment that was meant, one send to announce the lease. The broker is asked only
 * where the registry could not tell or was behind the times.
 *
 * A shmid recurs, and within one broker it may come to mean another segment between look-up and
 * shmat, of the same creator and size. Attached, it cannot: so what is still said of the shmid
 * afterwards is true of what was attached.
 */
#include "handle.h"

#include <string.h>

#define ATTACH_FLAGS \
    ((unsigned)(SHMD_READ_ONLY | SHMD_ROUND | SHMD_EXEC | SHMD_REMAP | SHMD_FOREIGN))

enum { STALE = 1 }; /* map(): that shmid is not, or no longer, the segment */

struct plan {
    const char *name;
    unsigned flags;
    void *address;
    bool asked; /* the broker answered, and has noted the lease */
    struct shmd_segment segment;
    void *mapped;
    uint64_t size;
};

/* A removed segment has lost its key and is still attached by others, shmd among them. Ephemeral
 * ones live like that, without a key; for others it was somebody's ipcrm: the broker can tell. */
static bool is_it(const struct shmd *s, const struct plan *p, const struct shmid_ds *ds)
{
    bool removed = ds->shm_perm.mode & SHM_DEST, ephemeral = p->segment.key == IPC_PRIVATE;

    if (ds->shm_perm.cuid != s->daemon_uid || ds->shm_segsz != p->segment.size)
        return false;
    return removed ? ephemeral || p->asked : !ephemeral && ds->shm_perm.__key == p->segment.key;
}

static bool same(const struct shmd_segment *a, const struct shmd_segment *b)
{
    return a->instance == b->instance && a->shmid == b->shmid;
}

/* Is the shmid that is attached now still that of the instance which was looked up? 0 or STALE. */
static int look_again(struct shmd *s, struct plan *p, struct deadline *d)
{
    struct shmd_segment now;
    uint32_t link = s->links;

    if (directory_find(s, p->segment.name, &now) == 0 && same(&now, &p->segment))
        return 0;
    if (!p->asked)
        return STALE;

    const struct wire_open request = {
        .target = {.by = BY_NAME, .instance = p->segment.instance},
    };
    int r = call_opened(s, &(struct question){OP_OPEN, &request, sizeof(request), p->segment.name},
                        &now, d);

    /* Over a new connection the lease has to be announced again. */
    if (s->links != link)
        p->asked = false;
    if (r == -ENOENT || r == -EIDRM || (r == 0 && !same(&now, &p->segment)))
        return STALE;
    return r;
}

static int shmat_flags(unsigned flags)
{
    return (flags & SHMD_READ_ONLY ? SHM_RDONLY : 0) | (flags & SHMD_ROUND ? SHM_RND : 0) |
           (flags & SHMD_EXEC ? SHM_EXEC : 0) | (flags & SHMD_REMAP ? SHM_REMAP : 0);
}

static int map_failed(struct shmd *s, const struct plan *p, int error)
{
    bool placed = p->address || (p->flags & SHMD_REMAP);

    if (error == EIDRM || (error == EINVAL && !placed))
        return STALE;
    if (error == EACCES)
        return handle_fail(s, -error, "the kernel denies you %s access to %s: its owner, group and "
                           "mode do not permit it",
                           p->flags & SHMD_READ_ONLY ? "read" : "read and write", p->name);
    if (error == EINVAL)
        return handle_fail(s, -error, "%s cannot be attached at %p: it is no multiple of the page "
                           "size, or something is mapped there", p->name, p->address);
    return handle_fail(s, -error, "cannot attach %s: %s", p->name, strerror(error));
}

/* 0, STALE or an error. A foreign segment is taken as it comes. */
static int map(struct shmd *s, struct plan *p, bool foreign, struct deadline *d)
{
    void *mapped = shmat(p->segment.shmid, p->address, shmat_flags(p->flags));
    struct shmid_ds ds;

    if (mapped == (void *)-1)
        return map_failed(s, p, errno);

    int r = kernel_stat(p->segment.shmid, &ds);

    if (r == -EIDRM || r == -EINVAL || (r == 0 && !foreign && !is_it(s, p, &ds)))
        r = STALE;
    else if (r < 0)
        handle_fail(s, r, "cannot see what %s is: %s", p->name, strerror(-r));
    else if (!foreign)
        r = look_again(s, p, d);
    if (r != 0) {
        shmdt(mapped);
        return r;
    }
    p->mapped = mapped;
    p->segment.size = ds.shm_segsz;
    if (foreign)
        p->segment.key = ds.shm_perm.__key;
    return 0;
}

static int gone(struct shmd *s, const struct plan *p)
{
    return handle_fail(s, -EIDRM, "%s was removed behind the broker's back", p->name);
}

/* The broker's word on the segment; it takes the lease in the same step. */
static int ask_broker(struct shmd *s, struct plan *p, struct holding *row, struct deadline *d)
{
    struct target target;
    int r = handle_target(s, p->name, &target);

    if (r < 0)
        return r;

    const struct wire_attach request = {
        .target = target.wire,
        .lease = row->number,
        .flags = p->flags & SHMD_READ_ONLY ? ATTACH_READ_ONLY : 0u,
    };

    r = call_opened(s, &(struct question){OP_ATTACH, &request, sizeof(request), target.name},
                    &p->segment, d);
    p->asked = r == 0;
    return r;
}

/* The kernel alone knows this one: no lease. */
static int map_foreign(struct shmd *s, struct plan *p, struct deadline *d)
{
    struct target target;
    int r = handle_target(s, p->name, &target);

    if (r < 0)
        return r;

    int shmid = kernel_shmid(&target.wire);

    if (shmid >= 0) {
        p->segment = (struct shmd_segment){.shmid = shmid};
        r = map(s, p, true, d);
    }
    if (shmid < 0 || r == STALE)
        return handle_fail(s, -ENOENT, "there is no segment %s, in the broker or in the kernel",
                           p->name);
    return r;
}

static int map_brokered(struct shmd *s, struct plan *p, struct holding *row, struct deadline *d)
{
    int r = directory_find(s, p->name, &p->segment);

    r = r == 0 ? lease_check_limit(s, d) : ask_broker(s, p, row, d);
    if (r == 0)
        r = map(s, p, false, d);
    if (r == STALE && !p->asked) {
        r = ask_broker(s, p, row, d);
        if (r == 0)
            r = map(s, p, false, d);
    }
    return r == STALE ? gone(s, p) : r;
}

/* The broker's word on the segment, and nothing else of it. */
static int ask_what(struct shmd *s, struct plan *p, struct deadline *d)
{
    struct target target;
    int r = handle_target(s, p->name, &target);

    if (r < 0)
        return r;

    const struct wire_open request = {.target = target.wire, .flags = OPEN_VERIFY};
    const struct question q = {OP_OPEN, &request, sizeof(request), target.name};

    p->asked = true;
    return call_opened(s, &q, &p->segment, d);
}

int attach_unnoticed(struct shmd *s, const char *name, struct shmd_segment *ret, void **mapped,
                     struct deadline *d)
{
    struct plan p = {.name = name, .flags = SHMD_READ_ONLY};
    int r = directory_find(s, name, &p.segment);

    if (r != 0)
        r = ask_what(s, &p, d);
    if (r == 0)
        r = map(s, &p, false, d);
    if (r == STALE && !p.asked) {
        r = ask_what(s, &p, d);
        if (r == 0)
            r = map(s, &p, false, d);
    }
    if (r == 0) {
        *ret = p.segment;
        *mapped = p.mapped;
    }
    return r == STALE ? gone(s, &p) : r;
}

/* Over a connection that was lost, link_restore() announces it with all others. */
static int announce(struct shmd *s, struct holding *row, struct deadline *d)
{
    struct backoff b = {0};
    int r = lease_announce(s, row, d);

    if (r != LINK_LOST)
        return r;
    link_close(s);
    return link_restore(s, &b, d);
}

/* What SHM_REMAP covered whole is attached no longer. */
static void end_covered(struct shmd *s, const struct plan *p)
{
    const char *from = p->mapped, *to = from + p->segment.size;

    for (uint32_t i = 0; i < s->rows_size; i++) {
        const char *at = s->rows[i].address;

        if (at && at >= from && at + s->rows[i].size <= to)
            lease_end(s, &s->rows[i]);
    }
}

/* Enter the attachment in the row, and see that the broker knows of it. */
static int hold(struct shmd *s, const struct plan *p, bool foreign, struct holding *row,
                struct deadline *d)
{
    if (p->flags & SHMD_REMAP)
        end_covered(s, p);
    row->address = p->mapped;
    row->size = p->segment.size;
    row->shmid = p->segment.shmid;
    row->read_only = p->flags & SHMD_READ_ONLY;
    row->leased = !foreign;
    s->leases += row->leased;
    if (foreign || p->asked)
        return 0;

    int r = announce(s, row, d);

    if (r < 0)
        shmdt(p->mapped);
    return r;
}

/* The broker may have noted, or may yet note, a lease that came to nothing. */
static void give_up(struct shmd *s, const struct plan *p, struct holding *row, int error)
{
    if (!p->asked && error != -ETIMEDOUT) {
        lease_release(s, row);
        return;
    }
    s->leases += !row->leased;
    row->leased = true;
    lease_end(s, row);
}

int attach_until(struct shmd *s, const char *name, unsigned flags, void *address,
                 struct shmd_attachment *ret, struct deadline *d)
{
    struct plan p = {.name = name, .flags = flags, .address = address};
    struct holding *row;
    bool foreign = false;

    if (!name || !ret)
        return handle_fail(s, -EINVAL, "attaching needs a name, and room for its result");
    if (flags & ~ATTACH_FLAGS)
        return handle_fail(s, -EINVAL, "unknown flags for attaching: %#x", flags);
    if ((flags & SHMD_REMAP) && !address)
        return handle_fail(s, -EINVAL, "remapping needs the address that is to be replaced");

    int r = lease_reserve(s, &row);

    if (r < 0)
        return r;
    r = map_brokered(s, &p, row, d);
    if (r == -ENOENT && (flags & SHMD_FOREIGN) && !target_is_name(name)) {
        foreign = true;
        r = map_foreign(s, &p, d);
    }
    if (r == 0)
        r = hold(s, &p, foreign, row, d);
    if (r < 0) {
        give_up(s, &p, row, r);
        return r;
    }
    *ret = (struct shmd_attachment){
        .address = p.mapped,
        .size = p.segment.size,
        .lease = foreign ? 0 : row->number,
        .flags = flags,
        .segment = p.segment,
    };
    return 0;
}

EXPORT int shmd_attach(struct shmd *s, const char *name, unsigned flags, void *address,
                       struct shmd_attachment *ret, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};

    return attach_until(s, name, flags, address, ret, &d);
}

EXPORT int shmd_detach(struct shmd *s, struct shmd_attachment *a)
{
    if (!a->address)
        return 0;

    struct holding *row = lease_find(s, a->lease, a->address);

    if (!row)
        return handle_fail(s, -EINVAL, "nothing is attached at %p through this handle", a->address);

    int r = shmdt(a->address) < 0 ? -errno : 0;

    lease_end(s, row);
    *a = (struct shmd_attachment){0};
    return r < 0 ? handle_fail(s, r, "it had been detached already, by shmdt or munmap") : 0;
}
