/* SPDX-License-Identifier: MIT */
/* What no channel can beat: a line that goes to and fro, and bytes that are written on one core and
 * read on the other with next to nothing around them. */
#include "measure.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "payload.h"

#define LINE_TURNS 16000
#define BLOCKS_MAX 4096

struct board {
    _Atomic uint64_t line;
    char gap_0[4096 - 8];
    _Atomic uint64_t taken; /* blocks that the reader is done with */
    char gap_1[4096 - 8];
    double result;
    int64_t start;
    char gap_2[4096 - 16];
    struct {
        _Atomic uint64_t turn;
        char gap[56];
    } flag[BLOCKS_MAX]; /* of each block: how often it was written */
    char bytes[] __attribute__((aligned(4096)));
};

static struct board *board_new(size_t room)
{
    struct board *b = mmap(NULL, sizeof(*b) + room, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (b == MAP_FAILED)
        peer_die("mmap");
    return b;
}

static double board_end(struct board *b, size_t room, int children)
{
    double result = measure_wait(children) ? b->result : 0;

    munmap(b, sizeof(*b) + room);
    return result;
}

double limit_line(const struct place *at)
{
    struct board *b = board_new(0);

    for (int me = 0; me < 2; me++) {
        if (measure_fork(at, me) != 0)
            continue;
        for (uint64_t i = 0; i < LINE_TURNS; i++) {
            while (atomic_load_explicit(&b->line, memory_order_acquire) != 2 * i + (uint64_t)me)
                __builtin_ia32_pause();
            if (i == LINE_TURNS / 8 && me == 0)
                b->start = measure_now();
            atomic_store_explicit(&b->line, 2 * i + (uint64_t)me + 1, memory_order_release);
        }
        if (me == 1)
            b->result = (double)(measure_now() - b->start) / (LINE_TURNS - LINE_TURNS / 8) / 2;
        exit(0);
    }
    return board_end(b, 0, 2);
}

double limit_bare(const struct place *at, size_t room, size_t block, size_t size)
{
    struct board *b = board_new(room);
    uint64_t blocks = room / block, n = size / block, warm = 2 * blocks;

    if (measure_fork(at, 0) == 0) {
        uint64_t taken = 0;

        for (uint64_t i = 0; i < warm + n; i++) {
            while (i - taken >= blocks) {
                taken = atomic_load_explicit(&b->taken, memory_order_acquire);
                if (i - taken >= blocks)
                    __builtin_ia32_pause();
            }
            if (i == warm)
                b->start = measure_now();
            payload_fill(b->bytes + i % blocks * block, block, i);
            atomic_store_explicit(&b->flag[i % blocks].turn, i / blocks + 1, memory_order_release);
        }
        exit(0);
    }
    if (measure_fork(at, 1) == 0) {
        for (uint64_t i = 0; i < warm + n; i++) {
            while (atomic_load_explicit(&b->flag[i % blocks].turn, memory_order_acquire) !=
                   i / blocks + 1)
                __builtin_ia32_pause();
            if (payload_sum(b->bytes + i % blocks * block, block) != payload_expected(block, i))
                exit(1);
            atomic_store_explicit(&b->taken, i + 1, memory_order_release);
        }
        b->result = (double)(measure_now() - b->start);
        exit(0);
    }
    return board_end(b, room, 2) * (double)size / (double)(n * block);
}

/* The same bytes one way behind a flag, and nothing else: no room, no length, no end, no sleep. */
struct bare_way {
    char *bytes;
    size_t room, record, at;
};

static inline struct payload_flag {
    _Atomic uint64_t turn;
} *bare_flag(struct bare_way *w)
{
    struct payload_flag *flag = (void *)(w->bytes + w->at);

    w->at = w->at + 2 * w->record > w->room ? 0 : w->at + w->record;
    return flag;
}

static inline void bare_send(struct bare_way *w, size_t size, uint64_t i)
{
    struct payload_flag *flag = bare_flag(w);

    payload_fill(flag + 1, size, i);
    atomic_store_explicit(&flag->turn, i, memory_order_release);
}

static inline void bare_receive(struct bare_way *w, size_t size, uint64_t i)
{
    struct payload_flag *flag = bare_flag(w);

    while (atomic_load_explicit(&flag->turn, memory_order_acquire) != i)
        __builtin_ia32_pause();
    if (payload_sum(flag + 1, size) != payload_expected(size, i))
        exit(1);
}

double limit_message(const struct place *at, size_t room, size_t size, long n)
{
    struct board *b = board_new(2 * room);
    const struct bare_way way = {b->bytes, room, (size + sizeof(struct payload_flag) + 7) & ~(size_t)7, 0};
    uint64_t warm = (uint64_t)n / 8, end = warm + (uint64_t)n;

    for (int me = 0; me < 2; me++) {
        struct bare_way there = way, back = way;

        if (measure_fork(at, me) != 0)
            continue;
        back.bytes += room;
        for (uint64_t i = 1; i <= end; i++) {
            if (i == warm + 1 && me == 0)
                b->start = measure_now();
            if (me == 1)
                bare_receive(&there, size, i);
            else
                bare_send(&there, size, i);
            if (me == 1)
                bare_send(&back, size, i);
            else
                bare_receive(&back, size, i);
        }
        if (me == 0)
            b->result = (double)(measure_now() - b->start) / (double)n / 2;
        exit(0);
    }
    return board_end(b, 2 * room, 2);
}

double limit_memcpy(const struct place *at, size_t size)
{
    struct board *b = board_new(2 * size);

    if (measure_fork(at, 0) == 0) {
        int64_t start = 0;
        int turns = (int)((64u << 20) / size) + 8;

        for (int i = 0; i < turns + 4; i++) {
            if (i == 4)
                start = measure_now();
            memcpy(b->bytes, b->bytes + size, size);
            __asm__ volatile("" ::: "memory");
        }
        b->result = (double)(measure_now() - start) / turns;
        exit(0);
    }
    return board_end(b, 2 * size, 1);
}

/* One core's speed in vector loops while the other does the same, against its speed alone. */
double limit_share(const struct place *at)
{
    static unsigned char bytes[16384];
    double turns[2] = {0, 0};

    for (int both = 0; both < 2; both++) {
        struct board *b = board_new(0);
        int64_t start = measure_now() + 1000000, end = start + 2000000;

        for (int me = 0; me <= both; me++) {
            if (measure_fork(at, me) != 0)
                continue;
            uint64_t sum = 0, n = 0;

            while (measure_now() < start)
                ;
            for (; measure_now() < end; n++)
                sum += payload_sum(bytes, sizeof(bytes));
            if (me == 0)
                b->result = (double)n + (sum == 1);
            exit(0);
        }
        turns[both] = board_end(b, 0, both + 1);
    }
    return turns[0] > 0 ? turns[1] / turns[0] : 0;
}
