/* SPDX-License-Identifier: MIT */
#include "fake_sysv.h"

#include "segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct fake_kernel fake;

void fake_reset(void)
{
    for (int i = 0; i < FAKE_MAX; i++)
        free(fake.segment[i].memory);
    fake = (struct fake_kernel){.uid = geteuid()};
}

static struct fake_segment *get(int shmid)
{
    return shmid >= 0 && shmid < FAKE_MAX && fake.segment[shmid].there ? &fake.segment[shmid]
                                                                       : NULL;
}

static int fake_find(int32_t key)
{
    for (int i = 0; i < FAKE_MAX; i++)
        if (key != 0 && get(i) && fake.segment[i].ds.shm_perm.__key == key)
            return i;
    return -ENOENT;
}

static int fake_create(int32_t key, uint64_t size, int flags)
{
    (void)flags;
    fake.creates++;
    if (fake.fail_create)
        return fake.fail_create;
    if (fake_find(key) >= 0)
        return -EEXIST;
    if (fake.next == FAKE_MAX)
        return -ENOSPC;

    struct fake_segment *s = &fake.segment[fake.next];
    size_t room = (size + 4095) / 4096 * 4096;

    *s = (struct fake_segment){.there = true, .memory = aligned_alloc(4096, room)};
    memset(s->memory, 0, room);
    s->ds.shm_perm.__key = key;
    s->ds.shm_perm.cuid = s->ds.shm_perm.uid = fake.uid;
    s->ds.shm_perm.mode = 0600;
    s->ds.shm_segsz = size;
    s->ds.shm_cpid = getpid();
    s->ds.shm_ctime = time(NULL);
    s->ds.shm_ctime = time(NULL);
    return fake.next++;
}

static int fake_stat(int shmid, struct shmid_ds *ret)
{
    if (!get(shmid))
        return -EINVAL;
    *ret = get(shmid)->ds;
    ret->shm_nattch = get(shmid)->attached;
    return 0;
}

static int fake_set(int shmid, uid_t uid, gid_t gid, unsigned mode)
{
    if (fake.fail_set)
        return fake.fail_set;
    if (!get(shmid))
        return -EINVAL;

    struct shmid_ds *ds = &get(shmid)->ds;

    ds->shm_perm.uid = uid;
    ds->shm_perm.gid = gid;
    ds->shm_perm.mode = (unsigned short)((ds->shm_perm.mode & SHM_DEST) | mode);
    ds->shm_ctime = time(NULL);
    return 0;
}

/* As long as somebody has it attached it lives on, without its key. The memory stays until
 * fake_reset(). */
static int fake_remove(int shmid)
{
    struct fake_segment *s = get(shmid);

    if (!s)
        return -EINVAL;
    s->ds.shm_perm.mode |= SHM_DEST;
    s->ds.shm_perm.__key = 0;
    s->there = s->attached > 0;
    return 0;
}

static int fake_attach(int shmid, bool read_only, void **ret)
{
    (void)read_only;
    if (fake.fail_attach)
        return fake.fail_attach;
    if (!get(shmid))
        return -EINVAL;
    get(shmid)->attached++;
    *ret = get(shmid)->memory;
    return 0;
}

static int fake_detach(const void *address)
{
    for (int i = 0; i < FAKE_MAX; i++) {
        struct fake_segment *s = &fake.segment[i];

        if (address && s->memory == address) {
            if (s->attached-- == 0)
                abort();
            if (s->attached == 0 && s->ds.shm_perm.mode & SHM_DEST)
                s->there = false;
            return 0;
        }
    }
    abort(); /* of what is not attached */
}

static int fake_last(void)
{
    return fake.next > 0 ? fake.next - 1 : 0;
}

static int fake_at(int slot, struct shmid_ds *ret)
{
    int r = fake_stat(slot, ret);

    return r < 0 ? r : slot;
}

int fake_foreign(int32_t key, uint64_t size, uid_t creator)
{
    int id = fake_create(key, size, 0);

    fake.segment[id].ds.shm_perm.cuid = fake.segment[id].ds.shm_perm.uid = creator;
    fake.segment[id].ds.shm_cpid = 1;
    return id;
}

unsigned fake_count(void)
{
    unsigned n = 0;

    for (int i = 0; i < FAKE_MAX; i++)
        n += fake.segment[i].there;
    return n;
}

unsigned fake_attachments(void)
{
    unsigned n = 0;

    for (int i = 0; i < FAKE_MAX; i++)
        n += fake.segment[i].attached;
    return n;
}

const struct sysv_ops sysv_fake = {
    .create = fake_create,
    .find = fake_find,
    .stat = fake_stat,
    .set = fake_set,
    .remove = fake_remove,
    .attach = fake_attach,
    .detach = fake_detach,
    .last = fake_last,
    .at = fake_at,
};
