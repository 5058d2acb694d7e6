/* SPDX-License-Identifier: MIT */
#include "registry.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define TRIES 64 /* at an entry that its writer keeps changing, before the daemon is asked */

uint32_t reg_buckets_for(uint32_t capacity)
{
    uint32_t n = 64;

    while (n < capacity * 2)
        n *= 2;
    return n;
}

uint64_t reg_segment_size(uint32_t capacity)
{
    return sizeof(struct reg_header) + (uint64_t)reg_buckets_for(capacity) * sizeof(uint32_t) +
           (uint64_t)capacity * sizeof(struct reg_entry);
}

int reg_view_init(struct reg_view *view, const void *segment, uint64_t size)
{
    const struct reg_header *h = segment;

    if (size < sizeof(*h) || atomic_load_explicit(&h->magic, memory_order_acquire) != REG_MAGIC)
        return -EPROTO;
    if (h->layout != REG_LAYOUT)
        return -EPROTONOSUPPORT;

    uint32_t capacity = h->capacity;

    if (capacity == 0 || capacity > REG_CAPACITY_MAX || h->entry_size != sizeof(struct reg_entry) ||
        h->buckets != reg_buckets_for(capacity) || size < reg_segment_size(capacity))
        return -EPROTO;

    *view = (struct reg_view){
        .header = h,
        .bucket = (const _Atomic uint32_t *)(h + 1),
        .capacity = capacity,
        .buckets = reg_buckets_for(capacity),
        .hash_seed = h->hash_seed,
    };
    view->entry = (const struct reg_entry *)(const void *)(view->bucket + view->buckets);
    return 0;
}

void reg_key_init(struct reg_key *key, uint64_t seed, const char full_name[NAME_SIZE])
{
    const uint64_t ones = 0x0101010101010101ull, highs = 0x8080808080808080ull;
    uint64_t h = seed, word;
    uint32_t i = 0;

    do {
        memcpy(&word, full_name + 8 * i, 8);
        key->words[i++] = word;
        h = (h ^ word) * 0x9fb21c651e98df25ull;
        h ^= h >> 32;
    } while (i < NAME_SIZE / 8 && !((word - ones) & ~word & highs)); /* until a byte is NUL */
    key->used = i;
    h *= 0xd6e8feb86659fd93ull;
    key->hash = h ^ h >> 29;
}

/* Relaxed and wordwise: the writer may be storing the same word; `seq` tells us afterwards. */
static inline uint64_t peek(const void *word)
{
    return __atomic_load_n((const uint64_t *)word, __ATOMIC_RELAXED);
}

static bool name_equal(const struct reg_entry *e, const struct reg_key *key)
{
    for (uint32_t i = 0; i < key->used; i++)
        if (peek(e->name + 8 * i) != key->words[i])
            return false;
    return true;
}

/* 1: it is the one; 0: it is another; -EAGAIN: it never stood still. */
static int match(const struct reg_entry *e, const struct reg_key *key, struct reg_found *found)
{
    for (int i = 0; i < TRIES; i++) {
        uint32_t seq = atomic_load_explicit(&e->seq, memory_order_acquire);

        if (seq & 1)
            continue;

        uint64_t word = atomic_load_explicit(&e->word, memory_order_relaxed);
        bool same = peek(&e->hash) == key->hash && reg_word_state(word) == REG_LIVE &&
                    name_equal(e, key);

        if (same) {
            found->shmid = reg_word_shmid(word);
            found->size = peek(&e->size);
            found->instance = peek(&e->instance);
            found->key = __atomic_load_n(&e->key, __ATOMIC_RELAXED);
        }
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&e->seq, memory_order_relaxed) == seq)
            return same;
    }
    return -EAGAIN;
}

int reg_lookup(const struct reg_view *view, const struct reg_key *key, struct reg_found *found)
{
    const _Atomic uint32_t *link = &view->bucket[key->hash & (view->buckets - 1)];

    for (uint32_t steps = 0; steps < view->capacity; steps++) {
        uint32_t number = atomic_load_explicit(link, memory_order_acquire);

        if (number == 0 || number > view->capacity)
            return -ENOENT;

        const struct reg_entry *e = &view->entry[number - 1];
        int r = match(e, key, found);

        if (r != 0)
            return r < 0 ? r : 0;
        link = &e->next;
    }
    return -ENOENT;
}

int reg_snapshot(const struct reg_view *view, uint32_t index, struct reg_entry *copy)
{
    const struct reg_entry *e = &view->entry[index];
    uint64_t *to = (uint64_t *)copy;

    for (int i = 0; i < TRIES; i++) {
        uint32_t seq = atomic_load_explicit(&e->seq, memory_order_acquire);

        if (seq & 1)
            continue;
        for (size_t w = 1; w < sizeof(*e) / 8; w++)
            to[w] = peek((const uint64_t *)e + w);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&e->seq, memory_order_relaxed) != seq)
            continue;
        atomic_init(&copy->seq, seq);
        atomic_init(&copy->next, 0);
        copy->name[NAME_SIZE - 1] = 0;
        return reg_word_state(atomic_load_explicit(&copy->word, memory_order_relaxed)) == REG_LIVE
                   ? 0 : -ENOENT;
    }
    return -EAGAIN;
}
