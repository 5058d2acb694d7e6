/* SPDX-License-Identifier: MIT */
/* Words and bytes of a ring. */
#pragma once

#include <string.h>

#include "ring.h"

#define RING_KIND 0xc0000000u
#define RING_LENGTH 0x3fffffffu

/* Where the code could be stopped in a test: after each store that others see. */
#ifdef SHMD_FAILPOINTS
extern void (*ring_failpoint)(void);
static inline void ring_stored(void)
{
    if (ring_failpoint)
        ring_failpoint();
}
#else
static inline void ring_stored(void)
{
}
#endif

#define ring_load(at) atomic_load_explicit(at, memory_order_relaxed)
#define ring_load_acquire(at) atomic_load_explicit(at, memory_order_acquire)
#define ring_store(at, value)                                                                      \
    do {                                                                                           \
        atomic_store_explicit(at, value, memory_order_relaxed);                                    \
        ring_stored();                                                                             \
    } while (0)
#define ring_store_release(at, value)                                                              \
    do {                                                                                           \
        atomic_store_explicit(at, value, memory_order_release);                                    \
        ring_stored();                                                                             \
    } while (0)

#ifdef __SANITIZE_THREAD__
#define RING_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RING_TSAN 1
#endif
#endif

#ifdef RING_TSAN
/* TSan knows no fences: all of them order themselves by one word. */
extern _Atomic uint32_t ring_fences;

static inline void ring_fence(void)
{
    atomic_fetch_add(&ring_fences, 1);
}

static inline void ring_fence_acquire(void)
{
    ring_fence();
}

/* What a broadcast reader copies may be written meanwhile; it looks for that afterwards. */
static inline void ring_copy(void *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        __atomic_store_n((char *)to + i, __atomic_load_n((const char *)from + i, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
}
#else
static inline void ring_fence(void)
{
    atomic_thread_fence(memory_order_seq_cst);
}

static inline void ring_fence_acquire(void)
{
    atomic_thread_fence(memory_order_acquire);
}

/* Short ones by pieces that overlap: a call costs more than they do. */
static inline void ring_copy(void *to, const void *from, size_t n)
{
    char *t = to;
    const char *f = from;

    if (n > 64)
        memcpy(to, from, n);
    else if (n >= 16) {
        for (size_t i = 0; i < n - 16; i += 16)
            memcpy(t + i, f + i, 16);
        memcpy(t + n - 16, f + n - 16, 16);
    } else if (n >= 8) {
        memcpy(t, f, 8);
        memcpy(t + n - 8, f + n - 8, 8);
    } else
        for (size_t i = 0; i < n; i++)
            t[i] = f[i];
}
#endif

/* The head word at a position, which is a multiple of RING_GRAIN. */
static inline _Atomic uint64_t *ring_word(const struct ring *r, uint64_t position)
{
    return (_Atomic uint64_t *)(void *)(r->data + (position & (r->size - 1)));
}

static inline uint64_t ring_head_word(uint32_t sequence, uint32_t kind, uint32_t length)
{
    return (uint64_t)sequence << 32 | kind | length;
}

/* Between a store that publishes and a look at a flag. Where a sleeper's membarrier is what orders
 * the two, the compiler must not exchange them. */
static inline void ring_fence_if(bool needed)
{
    if (needed)
        ring_fence();
    else
        atomic_signal_fence(memory_order_seq_cst);
}

/* Has shmd not ended the role, and perhaps given its slot to another member? */
static inline bool ring_is_mine(const struct ring_slot *slot, uint32_t role)
{
    return ring_load_acquire(&slot->role) == role;
}

/* How far the ring's end is. */
static inline uint64_t ring_rest(const struct ring *r, uint64_t position)
{
    return r->size - (position & (r->size - 1));
}

/* A record as its head word, copied once, tells of it. */
struct ring_entry {
    uint64_t next;     /* where the next one stands */
    uint32_t sequence; /* its own; of a pad, of the next message */
    uint32_t kind;     /* enum ring_kind; 0: nothing there */
    uint32_t length;
};

/* False: no record can be like that. */
static inline bool ring_parse(const struct ring *r, uint64_t position, uint64_t word,
                              struct ring_entry *ret)
{
    ret->kind = (uint32_t)word & RING_KIND;
    ret->length = (uint32_t)word & RING_LENGTH;
    ret->sequence = (uint32_t)(word >> 32);
    if (ret->kind == (uint32_t)RING_PAD) {
        ret->next = position + ring_rest(r, position);
        return ret->length == 0;
    }
    ret->next = position + ring_record(ret->length);
    if (ret->kind == 0)
        return word == 0;
    return ret->length <= r->max_message &&
           ring_record(ret->length) <= ring_rest(r, position);
}
