/* SPDX-License-Identifier: MIT */
#include "layout.h"

#include <errno.h>
#include <string.h>

struct entry_v1 {
    _Atomic uint32_t seq, next;
    _Atomic uint64_t word;
    uint64_t hash, size;
    char name[NAME_SIZE];
    uint64_t instance, request_id;
    int64_t created;
    int32_t key;
    uint32_t flags; /* never used */
    uint32_t uid, gid, mode;
    uint32_t creator_uid, creator_pid;
    uint32_t leases;
    uint64_t reserved[3];
} __attribute__((aligned(64)));

#define ENTRY_SIZE sizeof(struct reg_entry)

_Static_assert(sizeof(struct entry_v1) == ENTRY_SIZE, "the sizes have always been the same");
_Static_assert(offsetof(struct entry_v1, word) == offsetof(struct reg_entry, word), "so has this");
_Static_assert(REG_LAYOUT == 2, "a new layout: the one before it is to be read here");

int layout_open(struct layout *l, const void *segment, uint64_t size)
{
    const struct reg_header *h = segment;

    if (size < sizeof(*h) || atomic_load_explicit(&h->magic, memory_order_acquire) != REG_MAGIC)
        return -EPROTO;
    if (h->layout < LAYOUT_OLDEST || h->layout > REG_LAYOUT)
        return -EPROTONOSUPPORT;

    uint32_t capacity = h->capacity;

    if (capacity == 0 || capacity > REG_CAPACITY_MAX || h->entry_size != ENTRY_SIZE ||
        h->buckets != reg_buckets_for(capacity) || size < reg_segment_size(capacity))
        return -EPROTO;
    *l = (struct layout){
        .header = h,
        .version = h->layout,
        .capacity = capacity,
        .entries = (const char *)(h + 1) + reg_buckets_for(capacity) * sizeof(uint32_t),
    };
    return 0;
}

static const void *at(const struct layout *l, uint32_t index)
{
    return l->entries + index * ENTRY_SIZE;
}

uint64_t layout_word(const struct layout *l, uint32_t index)
{
    return atomic_load_explicit(&((const struct reg_entry *)at(l, index))->word,
                                memory_order_acquire);
}

int32_t layout_key(const struct layout *l, uint32_t index)
{
    const struct entry_v1 *v1 = at(l, index);
    const struct reg_entry *e = at(l, index);

    return __atomic_load_n(l->version == 1 ? &v1->key : &e->key, __ATOMIC_RELAXED);
}

static void from_v1(const struct entry_v1 *e, struct reg_entry *ret)
{
    *ret = (struct reg_entry){
        .word = e->word,
        .size = e->size,
        .instance = e->instance,
        .key = e->key,
        .request_id = e->request_id,
        .created = e->created,
        .uid = e->uid,
        .gid = e->gid,
        .mode = e->mode,
        .creator_uid = e->creator_uid,
        .creator_pid = e->creator_pid,
    };
    memcpy(ret->name, e->name, NAME_SIZE);
}

void layout_entry(const struct layout *l, uint32_t index, struct reg_entry *ret)
{
    if (l->version == 1) {
        from_v1(at(l, index), ret);
        return;
    }
    memcpy(ret, at(l, index), sizeof(*ret));
    ret->seq = ret->next = ret->leases = 0;
}
