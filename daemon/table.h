/* SPDX-License-Identifier: MIT */
/*
 * The registry as its only writer sees it. Readers may look at any moment and shmd may die at any
 * store: an entry is changed under its `seq`, and its `word` (state and shmid) is what recovery
 * goes by. Adoption of an existing registry is adopt.c's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "quota.h"
#include "registry.h"
#include "sysv.h"

/* Who wants to know what is found out about entries. Called before the entry changes any
 * further. */
struct table_observer {
    void (*gone)(void *data, const struct reg_entry *e);    /* its segment, behind our back */
    void (*changed)(void *data, const struct reg_entry *e); /* owner, group or mode, likewise */
    /* The attachment of an entry that has just been cleared: true where it is taken over. */
    bool (*keep)(void *data, const struct reg_entry *e, void *pin);
    void *data;
};

struct table {
    const struct sysv_ops *sysv;
    uid_t uid; /* creator of every segment of ours */
    int shmid; /* of the registry */
    struct reg_header *header;
    _Atomic uint32_t *bucket;
    struct reg_entry *entry;
    struct reg_view view;
    uint64_t bytes; /* of all live entries */
    uint64_t random; /* state of the generator that keys come from */

    /* What only holds in this process, by entry: our own attachment, and chains by shmid. */
    void **pin;
    uint32_t *id_bucket, *id_next;
    struct quota *quota; /* NULL: nothing is charged yet */
    struct table_observer observer;
};

/* Take a mapped registry (ours alone from now on) for the table. -ENOMEM. */
int table_init(struct table *t, const struct sysv_ops *sysv, int shmid, void *segment,
               uint64_t size);

/* Unmap everything. Segments and registry stay. */
void table_done(struct table *t);

/* Lay out an empty registry over a zeroed segment; magic comes last. */
void table_format(void *segment, uint32_t capacity, uint64_t epoch);

/* The live entry of a name (`size` bytes, a multiple of 8, the last of them a NUL) or a shmid, or
 * NULL. */
struct reg_entry *table_find(struct table *t, const char *full_name, size_t size);
struct reg_entry *table_find_shmid(struct table *t, int shmid);

static inline uint32_t table_index(const struct table *t, const struct reg_entry *e)
{
    return (uint32_t)(e - t->entry);
}

static inline int table_shmid(const struct reg_entry *e)
{
    return reg_word_shmid(atomic_load_explicit(&e->word, memory_order_relaxed));
}

static inline enum reg_state table_state(const struct reg_entry *e)
{
    return reg_word_state(atomic_load_explicit(&e->word, memory_order_relaxed));
}

/*
 * Charge all live entries to `quota`, and from now on whatever comes and goes. -ENOMEM: some are
 * not charged, and the table is good for nothing but table_done().
 */
int table_charge(struct table *t, struct quota *quota, const struct config *config);

/* The steps of an entry's life; each may be the last one of this process. */
/* -> CREATING; -EXFULL: no entry is free; -ENOMEM. */
int table_reserve(struct table *t, const struct reg_entry *fields, struct reg_entry **ret);
void table_set_key(struct reg_entry *e, int32_t key);
void table_set_flags(struct reg_entry *e, uint32_t flags);
void table_publish(struct table *t, struct reg_entry *e, int shmid, void *pin); /* -> LIVE */
void *table_removing(struct table *t, struct reg_entry *e); /* -> REMOVING; gives the pin back */
void table_clear(struct table *t, struct reg_entry *e);                         /* -> FREE */

/* Our own attachment: NULL where there is none. */
static inline void *table_pin(const struct table *t, const struct reg_entry *e)
{
    return t->pin[table_index(t, e)];
}

static inline void table_set_pin(struct table *t, const struct reg_entry *e, void *pin)
{
    t->pin[table_index(t, e)] = pin;
}

/* Note what the kernel says of owner and mode: true where that is news. */
bool table_note(struct reg_entry *e, const struct shmid_ds *ds);
void table_lease(struct reg_entry *e, int change);

/* Adoption's: empty all that is derived, then put a live entry (back) in. */
void table_reset_derived(struct table *t);
void table_adopt(struct table *t, struct reg_entry *e, void *pin);
void table_free(struct table *t, struct reg_entry *e);
