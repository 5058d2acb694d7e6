/* SPDX-License-Identifier: MIT */
/*
 * How fast a ring is between two processes, against a cache line that two threads bounce, in the
 * same rounds: ring_speed [ROUNDS [CPU CPU]].
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/number.h"
#include "ring_reader.h"
#include "ring_writer.h"
#include "util.h"

struct pair {
    struct ring ring;
    void *segment;
    uint64_t size;
};

static int cpus[2] = {0, 1};

static void pin(int which)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)cpus[which], &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        perror("sched_setaffinity");
    if (getenv("FIFO")) {
        struct sched_param p = {.sched_priority = 10};

        if (sched_setscheduler(0, SCHED_FIFO, &p) < 0)
            perror("sched_setscheduler");
    }
}

static struct pair make(uint32_t max, uint32_t messages, uint32_t flags)
{
    struct ring_options o = {.max_message = max, .messages = messages, .slots = 8, .flags = flags};
    struct pair p = {.size = ring_segment_size(&o)};

    p.segment = mmap(NULL, p.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p.segment == MAP_FAILED || ring_format(p.segment, p.size, &o) < 0 ||
        ring_init(&p.ring, p.segment, p.size) < 0)
        abort();
    memset(p.ring.data, 0, p.ring.size);
    ring_take_slot(&p.ring, 0, 1, MEMBER_WRITER, 1, 1);
    ring_take_slot(&p.ring, 1, 2, MEMBER_READER, 1, 1);
    return p;
}

static void die_with_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void check(int r, const char *what)
{
    if (r >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(-r));
    exit(1);
}

static uint64_t sum(const void *bytes, uint32_t n)
{
    const uint64_t *p = bytes;
    uint64_t s = 0;

    for (uint32_t i = 0; i < n / 8; i++)
        s += p[i];
    return s;
}

/* One-way ns of a message of `size` bytes, there and back. */
static double ping_pong(uint32_t size, int turns, bool always, int timeout_ms)
{
    uint32_t kept = size < 16384 ? (256u << 10) / (size + 8) : 1;
    struct pair there = make(size, kept / 2 + 1, 0), back = make(size, kept / 2 + 1, 0);
    unsigned char *out = malloc(size), *in = malloc(size);
    struct ring_writer w;
    struct ring_reader r;
    uint32_t length;
    pid_t child = fork();
    int64_t start = 0;
    volatile uint64_t s = 0;
    struct deadline d = {.timeout_ms = timeout_ms};

    pin(child == 0);
    memset(out, 1, size);
    memset(in, 1, size);
    check(ring_reader_start(&r, child ? &back.ring : &there.ring, 1, 2, -1, NULL), "reader");
    check(ring_writer_start(&w, child ? &there.ring : &back.ring, 0, 1, NULL), "writer");
    r.wait.always = w.wait.always = always;
    if (child == 0) {
        die_with_parent();
        for (;;) {
            if (ring_recv(&r, in, size, &length, &d) <= 0)
                _exit(0);
            s += sum(in, size);
            memset(out, (int)s, size);
            check(ring_send(&w, out, size, &d), "send");
        }
    }
    for (int i = 0; i < turns + turns / 10; i++) {
        if (i == turns / 10)
            start = clock_ns(CLOCK_MONOTONIC);
        memset(out, i, size);
        check(ring_send(&w, out, size, &d), "send");
        check(ring_recv(&r, in, size, &length, &d), "recv");
        s += sum(in, size);
    }

    double ns = (double)(clock_ns(CLOCK_MONOTONIC) - start) / turns / 2;

    ring_writer_close(&w);
    waitpid(child, NULL, 0);
    free(in);
    free(out);
    munmap(there.segment, there.size);
    munmap(back.segment, back.size);
    return ns;
}

static double pipe_ping_pong(uint32_t size, int turns)
{
    int a[2], b[2];
    unsigned char buffer[4096];

    if (pipe(a) || pipe(b))
        abort();

    pid_t child = fork();

    pin(child == 0);
    if (child == 0) {
        die_with_parent();
        close(a[1]);
        for (;;)
            if (read(a[0], buffer, size) != (ssize_t)size || write(b[1], buffer, size) < 0)
                _exit(0);
    }

    int64_t start = clock_ns(CLOCK_MONOTONIC);

    for (int i = 0; i < turns; i++) {
        memset(buffer, i, size);
        if (write(a[1], buffer, size) < 0 || read(b[0], buffer, size) < 0)
            abort();
    }

    double ns = (double)(clock_ns(CLOCK_MONOTONIC) - start) / turns / 2;

    close(a[1]);
    close(a[0]);
    close(b[0]);
    close(b[1]);
    waitpid(child, NULL, 0);
    return ns;
}

/* ns a message, one way. */
static double stream(uint32_t size, int messages, int batch, bool zero_copy, bool always)
{
    struct pair p = make(size, (256u << 10) / (size + 8) + 1, 0);
    struct deadline d = {.timeout_ms = -1};
    unsigned char *bytes = malloc(size);
    pid_t child = fork();

    pin(child == 0);
    if (child == 0) {
        struct ring_reader r;
        uint64_t s = 0, n = 0;
        uint32_t length;
        const void *at;

        die_with_parent();
        check(ring_reader_start(&r, &p.ring, 1, 2, -1, NULL), "reader");
        r.wait.always = always;
        for (;;) {
            if (zero_copy) {
                int got = ring_peek(&r, &at, &length, &d);

                if (got <= 0)
                    break;
                s += sum(at, length);
                if (++n % (unsigned)batch == 0)
                    ring_release(&r);
            } else if (ring_recv(&r, bytes, size, &length, &d) <= 0)
                break;
            else {
                n++;
                s += sum(bytes, length);
            }
        }
        _exit(s == 12345 || n != (uint64_t)messages);
    }

    struct ring_writer w;
    void *at;
    int64_t start, end;
    int status;

    check(ring_writer_start(&w, &p.ring, 0, 1, NULL), "writer");
    w.wait.always = always;
    while (atomic_load(&p.ring.slot[1].state) != SLOT_ACTIVE)
        sched_yield();
    start = clock_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < messages; i++) {
        if (batch > 1 && i % batch == 0)
            ring_hold_back(&w);
        if (zero_copy) {
            check(ring_reserve(&w, size, &at, &d), "reserve");
            memset(at, i, size);
            ring_commit(&w, size);
        } else {
            memset(bytes, i, size);
            check(ring_send(&w, bytes, size, &d), "send");
        }
        if (batch > 1 && i % batch == batch - 1)
            ring_publish(&w);
    }
    ring_writer_close(&w);
    waitpid(child, &status, 0);
    end = clock_ns(CLOCK_MONOTONIC);
    if (status)
        fprintf(stderr, "the reader failed\n");
    free(bytes);
    munmap(p.segment, p.size);
    return (double)(end - start) / messages;
}

/* One way of a line. */
static double bounce(int turns)
{
    _Atomic uint64_t *line = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                                  -1, 0);
    pid_t child = fork();

    pin(child == 0);
    if (child == 0)
        die_with_parent();
    int64_t start = 0;
    for (uint64_t i = 0; i < (uint64_t)turns; i++) {
        while (atomic_load_explicit(line, memory_order_acquire) != 2 * i + (child == 0))
            ring_pause();
        if (i == 0)
            start = clock_ns(CLOCK_MONOTONIC);
        atomic_store_explicit(line, 2 * i + (child == 0) + 1, memory_order_release);
    }
    if (child == 0)
        _exit(0);
    double ns = (double)(clock_ns(CLOCK_MONOTONIC) - start) / turns / 2;
    waitpid(child, NULL, 0);
    munmap((void *)line, 4096);
    return ns;
}

#define ROUNDS_MAX 101
static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

enum { LINE, LAT64, LAT64SLEEP, LAT1023, LAT1023SLEEP, LAT1M, THR64, THR64B, THR64Z, THR1023,
       THR64K, THR1M, PIPE1, RING1, MEASURES };

static const char *const names[] = {
    "line bounced", "64 B spinning", "64 B may sleep", "1,023 B spinning", "1,023 B may sleep",
    "1 MiB", "64 B stream", "64 B stream by 16", "64 B stream by 16, in place",
    "1,023 B stream by 16, in place", "64 KiB stream", "1 MiB stream", "pipe, one core",
    "1,023 B, one core"};

static const char *only;

static bool wanted(int m)
{
    if (m == LINE)
        return cpus[0] != cpus[1]; /* two that spin on one would take for ever */
    return !only || strstr(names[m], only);
}

int main(int argc, char **argv)
{
    static double values[MEASURES][ROUNDS_MAX];
    int rounds = argc > 1 ? (int)number_of(argv[1], ROUNDS_MAX) : 5;

    if (argc > 3) {
        cpus[0] = (int)number_of(argv[2], CPU_SETSIZE - 1);
        cpus[1] = (int)number_of(argv[3], CPU_SETSIZE - 1);
    }
    only = getenv("ONLY");
    rounds = MAX(rounds, 1);
    for (int i = 0; i < rounds; i++) {
        if (wanted(LINE))
            values[LINE][i] = bounce(100000);
        if (wanted(LAT64))
            values[LAT64][i] = ping_pong(64, 50000, true, -1);
        if (wanted(LAT64SLEEP))
            values[LAT64SLEEP][i] = ping_pong(64, 50000, false, -1);
        if (wanted(LAT1023))
            values[LAT1023][i] = ping_pong(1023, 30000, true, -1);
        if (wanted(LAT1023SLEEP))
            values[LAT1023SLEEP][i] = ping_pong(1023, 30000, false, -1);
        if (wanted(LAT1M))
            values[LAT1M][i] = ping_pong(1 << 20, 300, false, -1);
        if (wanted(THR64))
            values[THR64][i] = stream(64, 1000000, 1, false, false);
        if (wanted(THR64B))
            values[THR64B][i] = stream(64, 2000000, 16, false, false);
        if (wanted(THR64Z))
            values[THR64Z][i] = stream(64, 2000000, 16, true, false);
        if (wanted(THR1023))
            values[THR1023][i] = stream(1023, 300000, 16, true, false);
        if (wanted(THR64K))
            values[THR64K][i] = stream(65536, 5000, 1, false, false);
        if (wanted(THR1M))
            values[THR1M][i] = stream(1 << 20, 300, 1, false, false);

        int other = cpus[1];

        cpus[1] = cpus[0];
        if (wanted(PIPE1))
            values[PIPE1][i] = pipe_ping_pong(1023, 10000);
        if (wanted(RING1))
            values[RING1][i] = ping_pong(1023, 10000, false, -1);
        cpus[1] = other;
    }
    for (int m = 0; m < MEASURES; m++) {
        if (!wanted(m))
            continue;
        double ratio[ROUNDS_MAX];

        for (int i = 0; i < rounds; i++)
            ratio[i] = values[m][i] / values[m >= PIPE1 ? PIPE1 : LINE][i];
        qsort(ratio, (size_t)rounds, sizeof(double), compare);
        qsort(values[m], (size_t)rounds, sizeof(double), compare);
        printf("%-32s %10.1f ns (%.1f to %.1f)  %6.2f\n", names[m], values[m][rounds / 2],
               values[m][0], values[m][rounds - 1], ratio[rounds / 2]);
    }
    return 0;
}
