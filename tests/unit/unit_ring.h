/* SPDX-License-Identifier: MIT */
/* A ring in this process's memory, between two pages that may not be touched. */
#pragma once

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#include "ring_reader.h"
#include "ring_writer.h"
#include "util.h"

#define PAGE_SIZE 4096u

struct fixture {
    unsigned char *mapping;
    uint64_t mapped;
    void *segment;
    uint64_t size;
    struct ring ring;
    uint32_t role;
};

static inline void fixture_map(struct fixture *f, uint64_t size)
{
    f->size = size;
    f->mapped = ((size + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1)) + 2 * PAGE_SIZE;
    f->mapping = mmap(NULL, f->mapped, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(f->mapping, MAP_FAILED);
    f->segment = f->mapping + PAGE_SIZE;
    assert_int_equal(mprotect(f->segment, f->mapped - 2 * PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
}

static inline void fixture_make(struct fixture *f, uint32_t flags, uint32_t max, uint32_t messages)
{
    struct ring_options o = {
        .flags = flags, .max_message = max, .messages = messages, .slots = 8, .tag = "test"};

    *f = (struct fixture){.role = 100};
    fixture_map(f, ring_segment_size(&o));
    assert_int_equal(ring_format(f->segment, f->size, &o), 0);
    assert_int_equal(ring_init(&f->ring, f->segment, f->size), 0);
}

static inline void fixture_done(struct fixture *f)
{
    munmap(f->mapping, f->mapped);
}

/* As shmd does it. */
static inline uint32_t fixture_take(struct fixture *f, uint32_t slot, enum ring_member kind)
{
    ring_take_slot(&f->ring, slot, ++f->role, kind, (uint32_t)getpid(), 1);
    return f->role;
}

static inline int fixture_writer(struct fixture *f, struct ring_writer *w, uint32_t slot)
{
    return ring_writer_start(w, &f->ring, (int)slot, fixture_take(f, slot, MEMBER_WRITER), NULL);
}

static inline int fixture_reader(struct fixture *f, struct ring_reader *r, uint32_t slot,
                                 int64_t history)
{
    return ring_reader_start(r, &f->ring, (int)slot, fixture_take(f, slot, MEMBER_READER),
                             history, NULL);
}

static inline struct deadline *now(void)
{
    static struct deadline d = {.timeout_ms = 0};

    return &d;
}

/* Message number n: its length and bytes follow from it. */
static inline uint32_t numbered(unsigned char *to, uint32_t max, uint32_t n)
{
    uint32_t length = 4 + n * 2654435761u % (max - 3);

    memcpy(to, &n, 4);
    for (uint32_t i = 4; i < length; i++)
        to[i] = (unsigned char)(n + i);
    return length;
}

static inline int send_numbered(struct ring_writer *w, uint32_t n)
{
    static unsigned char bytes[1 << 20];
    uint32_t length = numbered(bytes, w->ring.max_message, n);

    return ring_send(w, bytes, length, now());
}

/* The number of the next message, all of it checked; or what ring_recv() said. */
static inline int64_t recv_numbered(struct ring_reader *r)
{
    static unsigned char bytes[1 << 20], expected[1 << 20];
    uint32_t length, n;
    int got = ring_recv(r, bytes, sizeof(bytes), &length, now());

    if (got != 1)
        return got == 0 ? -ENODATA : got;
    assert_true(length >= 4);
    memcpy(&n, bytes, 4);
    assert_int_equal(numbered(expected, r->ring.max_message, n), length);
    assert_memory_equal(bytes, expected, length);
    return n;
}
