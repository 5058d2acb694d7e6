/* SPDX-License-Identifier: MIT */
/*
 * A segment as a hostile peer left it, and operations on it: the input is a byte of flags, eight
 * (place, value) pairs laid over a formatted ring, and then operations, some of which change words
 * again.
 */
#include <string.h>
#include <sys/mman.h>

#include "ring_reader.h"
#include "ring_writer.h"
#include "util.h"

#define CHANGES 8 /* before the first operation */

static const uint8_t *in;
static size_t in_left;

static uint64_t take(size_t n)
{
    uint64_t value = 0;

    n = MIN(n, in_left);
    memcpy(&value, in, n);
    in += n;
    in_left -= n;
    return value;
}

static void change(void *segment, uint64_t size)
{
    uint64_t place = take(2) * 4, value = take(8);

    memcpy((char *)segment + place % (size - 8), &value, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t kinds[] = {0, RING_BROADCAST, RING_HOLD, RING_MANY};
    static unsigned char bytes[4096];
    static char *mapping; /* the segment, and a page on each side that may not be touched */
    struct ring_options o = {.max_message = 300, .messages = 4, .slots = 4};
    struct deadline now = {.timeout_ms = 0};
    struct ring_writer w;
    struct ring_reader r;
    struct ring ring;
    uint64_t bytes_size;
    bool writes, reads;
    void *segment, *at;
    const void *seen;
    uint32_t length;

    in = data;
    in_left = size;
    o.flags = kinds[take(1) % ARRAY_LEN(kinds)];
    bytes_size = ring_segment_size(&o);
    if (!mapping) {
        mapping = mmap(NULL, bytes_size + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapping == MAP_FAILED ||
            mprotect(mapping + 4096, bytes_size, PROT_READ | PROT_WRITE) < 0)
            abort();
    }
    segment = mapping + 4096;
    memset(segment, 0, bytes_size);
    ring_format(segment, bytes_size, &o);
    for (int i = 0; i < CHANGES; i++)
        change(segment, bytes_size);
    if (ring_init(&ring, segment, bytes_size) < 0)
        return 0;
    ring_take_slot(&ring, 0, 1, MEMBER_WRITER, 1, 1);
    ring_take_slot(&ring, 1, 2, MEMBER_READER, 1, 1);
    writes = ring_writer_start(&w, &ring, 0, 1, NULL) == 0;
    reads = ring_reader_start(&r, &ring, 1, 2, (int64_t)take(1) - 1, NULL) == 0;
    while (in_left) {
        uint32_t n = (uint32_t)take(2) % 310;

        switch (take(1) % 12) {
        case 0:
        case 1:
            if (writes)
                ring_send(&w, bytes, n, &now);
            break;
        case 2:
            if (writes && ring_reserve(&w, n, &at, &now) == 0) {
                memset(at, 1, n);
                ring_commit(&w, n / 2);
            }
            break;
        case 3:
            if (writes)
                ring_hold_back(&w);
            break;
        case 4:
            if (writes)
                ring_publish(&w);
            break;
        case 5:
        case 6:
            if (reads)
                ring_recv(&r, bytes, sizeof(bytes), &length, &now);
            break;
        case 7:
            if (reads && ring_peek(&r, &seen, &length, &now) == 1)
                memcpy(bytes, seen, length);
            break;
        case 8:
            if (reads)
                ring_release(&r);
            break;
        case 9:
            change(segment, bytes_size);
            break;
        case 10:
            ring_end_writer(&ring, 0, 1);
            if (writes)
                free(w.copy);
            writes = ring_writer_start(&w, &ring, 0, 1, NULL) == 0;
            break;
        case 11:
            ring_end_reader(&ring, 1, 2);
            reads = ring_reader_start(&r, &ring, 1, 2, n, NULL) == 0;
            break;
        }
    }
    if (writes)
        ring_writer_close(&w);
    if (reads)
        ring_reader_leave(&r);
    return 0;
}
