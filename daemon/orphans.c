/* SPDX-License-Identifier: MIT */
#include "orphans.h"

#include <errno.h>
#include <stdlib.h>

#include "locate.h"
#include "segment.h"
#include "util.h"

void orphans_begin(struct orphan_scan *s, uint32_t key_first, uint32_t key_last)
{
    *s = (struct orphan_scan){.key_first = key_first, .key_last = key_last};
}

void orphans_end(struct table *t, struct orphan_scan *s)
{
    for (uint32_t i = 0; i < s->n_registries; i++)
        t->sysv->detach(s->registries[i].header);
    free(s->orphan);
    *s = (struct orphan_scan){0};
}

static uint32_t *bucket_of(struct orphan_scan *s, int32_t key)
{
    return &s->bucket[(uint32_t)key * 2654435761u >> 22];
}

_Static_assert(ORPHANS_BUCKETS == 1u << (32 - 22), "the hash has as many values");

static bool in_range(const struct shmid_ds *ds, uint32_t first, uint32_t last)
{
    return (uint32_t)segment_ds_key(ds) >= first && (uint32_t)segment_ds_key(ds) <= last;
}

/* A segment that is not in our registry: perhaps an orphan. */
static int suspect(struct table *t, struct orphan_scan *s, int shmid, const struct shmid_ds *ds)
{
    if (ds->shm_perm.cuid != t->uid || !in_range(ds, s->key_first, s->key_last) ||
        table_find_shmid(t, shmid))
        return 0;
    if (s->n == s->room) {
        uint32_t room = MAX(2 * s->room, 64);
        struct orphan *more = reallocarray(s->orphan, room, sizeof(*more));

        if (!more)
            return -ENOMEM;
        s->orphan = more;
        s->room = room;
    }

    uint32_t *bucket = bucket_of(s, segment_ds_key(ds));

    s->orphan[s->n] = (struct orphan){.shmid = shmid, .key = segment_ds_key(ds),
                                      .size = ds->shm_segsz, .next = *bucket};
    *bucket = ++s->n;
    return 0;
}

/* Is it the registry of another shmd of our user? */
static int note_registry(struct table *t, struct orphan_scan *s, int shmid,
                         const struct shmid_ds *ds)
{
    void *segment;

    if (ds->shm_perm.cuid != t->uid || !in_range(ds, LOCATE_KEY_FIRST, LOCATE_KEY_LAST) ||
        shmid == t->shmid)
        return 0;
    if (s->n_registries == ORPHANS_REGISTRIES)
        return -ENOBUFS;

    int r = t->sysv->attach(shmid, true, &segment);

    if (r == -EINVAL || r == -EIDRM) /* it has just gone */
        return 0;
    if (r < 0)
        return r;
    r = layout_open(&s->registries[s->n_registries], segment, ds->shm_segsz);
    if (r == 0)
        s->n_registries++;
    else
        t->sysv->detach(segment);
    return r == -EPROTO ? 0 : r; /* half made or given up: what counts is in another one */
}

/* Has an entry a claim on one of the suspects? One being made does not know its shmid yet. */
static void claim(struct orphan_scan *s, const struct layout *l, uint32_t index)
{
    uint64_t word = layout_word(l, index);
    int32_t key = layout_key(l, index);

    if (reg_word_state(word) == REG_FREE)
        return;
    for (uint32_t number = *bucket_of(s, key); number != 0;) {
        struct orphan *o = &s->orphan[number - 1];

        if (o->key == key &&
            (reg_word_state(word) == REG_CREATING || reg_word_shmid(word) == o->shmid))
            o->claimed = true;
        number = o->next;
    }
}

/* One look at the kernel's slots: 0 when the last one was seen. */
static int look_at_slot(struct table *t, struct orphan_scan *s, int last)
{
    struct shmid_ds ds;
    int id = t->sysv->at((int)s->at, &ds);
    int r = 0;

    if (id >= 0)
        r = s->phase == ORPHAN_SEGMENTS ? suspect(t, s, id, &ds) : note_registry(t, s, id, &ds);
    return r < 0 ? r : (int)++s->at <= last;
}

static int look_at_entry(struct orphan_scan *s)
{
    if (s->registry == s->n_registries)
        return 0;
    claim(s, &s->registries[s->registry], s->at);
    if (++s->at == s->registries[s->registry].capacity) {
        s->registry++;
        s->at = 0;
    }
    return 1;
}

/* The kernel once more: is it still there, and not ours by now? Who stays moves to the front. */
static int look_again(struct table *t, struct orphan_scan *s)
{
    struct shmid_ds ds;

    if (s->at == s->n) {
        s->n = s->kept;
        return 0;
    }

    struct orphan o = s->orphan[s->at++];

    if (o.claimed || t->sysv->stat(o.shmid, &ds) < 0 || ds.shm_perm.cuid != t->uid ||
        segment_ds_key(&ds) != o.key || ds.shm_segsz != o.size || table_find_shmid(t, o.shmid))
        return 1;
    o.nattch = ds.shm_nattch;
    s->orphan[s->kept++] = o;
    return 1;
}

/* Entries of a registry that was given up meanwhile told nothing. */
static int all_valid(const struct orphan_scan *s)
{
    for (uint32_t i = 0; i < s->n_registries; i++)
        if (atomic_load_explicit(&s->registries[i].header->magic, memory_order_acquire) !=
            REG_MAGIC)
            return -EAGAIN;
    return 0;
}

static int look(struct table *t, struct orphan_scan *s, int last)
{
    switch (s->phase) {
    case ORPHAN_ENTRIES:
        return look_at_entry(s);
    case ORPHAN_CHECK:
        return look_again(t, s);
    default:
        return look_at_slot(t, s, last);
    }
}

int orphans_step(struct table *t, struct orphan_scan *s, unsigned steps)
{
    int last = t->sysv->last();

    for (; steps > 0; steps--) {
        int r = look(t, s, last);

        if (r == 0 && s->phase == ORPHAN_ENTRIES)
            r = all_valid(s);
        else if (r > 0)
            continue;
        if (r < 0 || s->phase == ORPHAN_CHECK || s->n == 0)
            return r;
        s->phase++;
        s->at = 0;
    }
    return 1;
}
