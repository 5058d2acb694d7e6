/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include <string.h>
#include <sys/random.h>

#include "failpoint.h"

static inline void put64(void *to, uint64_t v)
{
    failpoint();
    __atomic_store_n((uint64_t *)to, v, __ATOMIC_RELAXED);
}

static inline void put32(void *to, uint32_t v)
{
    failpoint();
    __atomic_store_n((uint32_t *)to, v, __ATOMIC_RELAXED);
}

static void begin(struct reg_entry *e)
{
    failpoint();
    atomic_store_explicit(&e->seq, atomic_load_explicit(&e->seq, memory_order_relaxed) | 1,
                          memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

static void end(struct reg_entry *e)
{
    failpoint();
    atomic_store_explicit(&e->seq, atomic_load_explicit(&e->seq, memory_order_relaxed) + 1,
                          memory_order_release);
    failpoint();
}

/* Release: who recovers after our death must find every earlier store behind the new state. */
static void set_word(struct reg_entry *e, enum reg_state state, int shmid)
{
    failpoint();
    atomic_store_explicit(&e->word, reg_word(state, shmid), memory_order_release);
}

void table_format(void *segment, uint32_t capacity, uint64_t epoch)
{
    struct reg_header *h = segment;

    h->layout = REG_LAYOUT;
    h->entry_size = sizeof(struct reg_entry);
    h->capacity = capacity;
    h->buckets = reg_buckets_for(capacity);
    h->epoch = epoch;
    h->next_instance = 1;
    /* Known to every reader, so no secret; but nobody can prepare colliding names beforehand. */
    if (getrandom(&h->hash_seed, sizeof(h->hash_seed), GRND_NONBLOCK) < 0)
        h->hash_seed = (uint64_t)(uintptr_t)segment * epoch;
}

int table_init(struct table *t, const struct sysv_ops *sysv, int shmid, void *segment,
               uint64_t size)
{
    struct reg_view view;
    int r = reg_view_init(&view, segment, size);

    if (r < 0)
        return r;
    *t = (struct table){
        .sysv = sysv,
        .uid = geteuid(),
        .random = (uint64_t)arc4random() << 32 | arc4random(),
        .shmid = shmid,
        .view = view,
        .header = segment,
        .bucket = (_Atomic uint32_t *)((struct reg_header *)segment + 1),
        .pin = calloc(view.capacity, sizeof(*t->pin)),
        .id_bucket = calloc(view.buckets, sizeof(*t->id_bucket)),
        .id_next = calloc(view.capacity, sizeof(*t->id_next)),
    };
    t->entry = (struct reg_entry *)(void *)(t->bucket + view.buckets);
    if (t->pin && t->id_bucket && t->id_next)
        return 0;
    free(t->pin);
    free(t->id_bucket);
    free(t->id_next);
    *t = (struct table){0};
    return -ENOMEM;
}

void table_done(struct table *t)
{
    if (!t->header)
        return;
    for (uint32_t i = 0; i < t->view.capacity; i++)
        if (t->pin[i])
            t->sysv->detach(t->pin[i]);
    free(t->pin);
    free(t->id_bucket);
    free(t->id_next);
    t->sysv->detach(t->header);
    *t = (struct table){0};
}

/* Chains. A number is an index + 1; `next` of entries is public, that of shmids is ours. */

static _Atomic uint32_t *chain(struct table *t, const struct reg_entry *e)
{
    return &t->bucket[e->hash & (t->view.buckets - 1)];
}

static uint32_t *id_chain(struct table *t, int shmid)
{
    uint32_t h = (uint32_t)shmid * 2654435761u;

    return &t->id_bucket[(h ^ h >> 16) & (t->view.buckets - 1)];
}

static void link_entry(struct table *t, struct reg_entry *e)
{
    _Atomic uint32_t *bucket = chain(t, e);
    uint32_t index = table_index(t, e);
    uint32_t *ids = id_chain(t, table_shmid(e));

    put32(&e->next, atomic_load_explicit(bucket, memory_order_relaxed));
    failpoint();
    atomic_store_explicit(bucket, index + 1, memory_order_release);
    t->id_next[index] = *ids;
    *ids = index + 1;
    t->bytes += e->size;
    put32(&t->header->used, t->header->used + 1);
}

static void unlink_entry(struct table *t, struct reg_entry *e)
{
    uint32_t number = table_index(t, e) + 1;
    _Atomic uint32_t *link = chain(t, e);
    uint32_t *ids = id_chain(t, table_shmid(e));

    while (*link != number)
        link = &t->entry[*link - 1].next;
    failpoint();
    atomic_store_explicit(link, e->next, memory_order_release);
    while (*ids != number)
        ids = &t->id_next[*ids - 1];
    *ids = t->id_next[number - 1];
    t->bytes -= e->size;
    put32(&t->header->used, t->header->used - 1);
}

struct reg_entry *table_find(struct table *t, const char *full_name, size_t size)
{
    struct reg_key key;
    uint32_t number;

    reg_key_init(&key, t->view.hash_seed, full_name);
    if (key.used * 8 != size && size != NAME_SIZE)
        return NULL;
    for (number = t->bucket[key.hash & (t->view.buckets - 1)]; number != 0;) {
        struct reg_entry *e = &t->entry[number - 1];

        if (e->hash == key.hash && memcmp(e->name, key.words, key.used * 8) == 0)
            return e;
        number = e->next;
    }
    return NULL;
}

struct reg_entry *table_find_shmid(struct table *t, int shmid)
{
    for (uint32_t number = *id_chain(t, shmid); number != 0; number = t->id_next[number - 1])
        if (table_shmid(&t->entry[number - 1]) == shmid)
            return &t->entry[number - 1];
    return NULL;
}

int table_reserve(struct table *t, const struct reg_entry *fields, struct reg_entry **ret)
{
    uint32_t number = t->header->free;

    if (number == 0)
        return -EXFULL;
    if (t->quota && quota_charge(t->quota, fields) < 0)
        return -ENOMEM;

    struct reg_entry *e = &t->entry[number - 1], new = *fields;
    struct reg_key key;

    reg_key_init(&key, t->view.hash_seed, fields->name);
    new.hash = key.hash;
    new.instance = t->header->next_instance;
    put64(&t->header->next_instance, new.instance + 1);
    put32(&t->header->free, e->next);

    begin(e);
    for (size_t at = offsetof(struct reg_entry, hash); at < sizeof(*e); at += 8) {
        uint64_t v;

        memcpy(&v, (char *)&new + at, 8);
        put64((char *)e + at, v);
    }
    set_word(e, REG_CREATING, -1);
    end(e);
    *ret = e;
    return 0;
}

void table_set_key(struct reg_entry *e, int32_t key)
{
    put32(&e->key, (uint32_t)key);
    failpoint();
}

void table_set_flags(struct reg_entry *e, uint32_t flags)
{
    begin(e);
    put32(&e->flags, flags);
    end(e);
}

void table_publish(struct table *t, struct reg_entry *e, int shmid, void *pin)
{
    begin(e);
    set_word(e, REG_LIVE, shmid);
    end(e);
    t->pin[table_index(t, e)] = pin;
    link_entry(t, e);
}

void table_adopt(struct table *t, struct reg_entry *e, void *pin)
{
    begin(e);
    put32(&e->leases, 0);
    end(e);
    t->pin[table_index(t, e)] = pin;
    link_entry(t, e);
}

void *table_removing(struct table *t, struct reg_entry *e)
{
    begin(e);
    set_word(e, REG_REMOVING, table_shmid(e));
    end(e);
    unlink_entry(t, e);

    void *pin = t->pin[table_index(t, e)];

    t->pin[table_index(t, e)] = NULL;
    failpoint();
    return pin;
}

void table_free(struct table *t, struct reg_entry *e)
{
    put32(&e->next, t->header->free);
    put32(&t->header->free, table_index(t, e) + 1);
}

void table_clear(struct table *t, struct reg_entry *e)
{
    if (t->quota)
        quota_release(t->quota, e);
    begin(e);
    set_word(e, REG_FREE, -1);
    end(e);
    table_free(t, e);
}

int table_charge(struct table *t, struct quota *quota, const struct config *config)
{
    int r = quota_restart(quota, config);

    t->quota = r == 0 ? quota : t->quota;
    for (uint32_t i = 0; r == 0 && i < t->view.capacity; i++)
        if (table_state(&t->entry[i]) == REG_LIVE)
            r = quota_charge(quota, &t->entry[i]);
    return r;
}

bool table_note(struct reg_entry *e, const struct shmid_ds *ds)
{
    if (e->uid == ds->shm_perm.uid && e->gid == ds->shm_perm.gid &&
        e->mode == (ds->shm_perm.mode & 0777u))
        return false;
    begin(e);
    put32(&e->uid, ds->shm_perm.uid);
    put32(&e->gid, ds->shm_perm.gid);
    put32(&e->mode, ds->shm_perm.mode & 0777u);
    end(e);
    return true;
}

void table_lease(struct reg_entry *e, int change)
{
    __atomic_store_n(&e->leases, e->leases + (uint32_t)change, __ATOMIC_RELAXED);
}

void table_reset_derived(struct table *t)
{
    for (uint32_t i = 0; i < t->view.buckets; i++)
        put32(&t->bucket[i], 0);
    put32(&t->header->used, 0);
    put32(&t->header->free, 0);
}
