/* SPDX-License-Identifier: MIT */
/*
 * lookup --socket PATH --same CORE --across CORE [--rounds N] [--ms N] [--most N]: look-ups by name
 * in the registry, idle, and while another process creates and removes through shmd as fast as it
 * can (on the daemon's core; the reader is on the other one).
 *
 *     reg_lookup   the name's hash is there already
 *     hash+lookup  reg_key_init, reg_lookup
 *     shmd_open    the library's call, from the plain name
 *
 * Names are asked for in a random order, so that entries are in no cache but by their number.
 * Time is the thread's own on a core: a look-up never blocks, so whatever else the machine does
 * is not its cost.
 */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "bench.h"
#include "registry.h"
#include "shmd.h"

#define PREFIX "lookup"
#define BATCH 8192u /* look-ups between two looks at the clock */

struct bench {
    const char *path;
    struct reg_view view;
    struct shmd *s;
    uint32_t count;
    struct reg_key *keys;
    char (*full)[NAME_SIZE];
    char (*plain)[32];
    uint64_t misses;
};

static uint64_t by_key(struct bench *b)
{
    struct reg_found found;
    uint64_t missed = 0;

    for (uint32_t i = 0; i < b->count; i++)
        missed += reg_lookup(&b->view, &b->keys[i], &found) != 0;
    return missed;
}

static uint64_t by_full_name(struct bench *b)
{
    struct reg_found found;
    struct reg_key key;
    uint64_t missed = 0;

    for (uint32_t i = 0; i < b->count; i++) {
        reg_key_init(&key, b->view.hash_seed, b->full[i]);
        missed += reg_lookup(&b->view, &key, &found) != 0;
    }
    return missed;
}

static uint64_t by_library(struct bench *b)
{
    struct shmd_segment found;
    uint64_t missed = 0;

    for (uint32_t i = 0; i < b->count; i++)
        missed += shmd_open(b->s, b->plain[i], 0, &found, 5000) != 0;
    return missed;
}

static const struct {
    const char *label;
    uint64_t (*pass)(struct bench *b);
} subjects[] = {
    {"reg_lookup", by_key}, {"hash+lookup", by_full_name}, {"shmd_open", by_library}};

/* Nanoseconds of one look-up. */
static double measure(struct bench *b, size_t subject, double seconds)
{
    uint64_t done = 0;
    double start = bench_own_time(), now;

    do {
        for (uint32_t n = 0; n < BATCH; n += b->count, done += b->count)
            b->misses += subjects[subject].pass(b);
        now = bench_own_time();
    } while (now - start < seconds);
    return (now - start) * 1e9 / (double)done;
}

struct writer {
    pid_t pid;
    int fd;
};

static void writer_start(struct writer *w, const char *path, int core)
{
    int fds[2];
    char c;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 || (w->pid = fork()) < 0)
        bench_die("writer: %s", strerror(errno));
    if (w->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(fds[0]);
        bench_pin(core);

        struct wire *wire = wire_open_path(path);

        wire_churn(wire, "writer", 0.001, -1);
        bench_send(fds[1], "\n", 1);

        double rate = wire_churn(wire, "writer", 60, fds[1]);

        bench_send(fds[1], &rate, sizeof(rate));
        _exit(0);
    }
    close(fds[1]);
    w->fd = fds[0];
    if (recv(w->fd, &c, 1, 0) != 1)
        bench_die("the writer has failed");
}

/* Pairs of create and remove in a second. */
static double writer_stop(struct writer *w)
{
    double rate;

    bench_send(w->fd, "\n", 1);
    if (recv(w->fd, &rate, sizeof(rate), MSG_WAITALL) != sizeof(rate))
        bench_die("the writer has failed");
    close(w->fd);
    waitpid(w->pid, NULL, 0);
    return rate;
}

static void name_all(struct bench *b, const char *home, uint32_t count)
{
    uint32_t seed = 88172645;

    b->count = count;
    for (uint32_t i = 0; i < count; i++) {
        /* A random order, made while filling it. */
        uint32_t j = bench_random(&seed) % (i + 1);
        char name[NAME_SIZE];

        memcpy(b->plain[i], b->plain[j], sizeof(b->plain[i]));
        bench_name(name, PREFIX, i);
        memcpy(b->plain[j], name, sizeof(b->plain[j]));
    }
    for (uint32_t i = 0; i < count; i++) {
        const char *why;

        if (name_resolve(b->plain[i], home, b->full[i], &why) < 0)
            bench_die("%s", why);
        reg_key_init(&b->keys[i], b->view.hash_seed, b->full[i]);
    }
}

static void run_size(struct bench *b, int rounds, double seconds, int writer_core)
{
    for (int round = 0; round < rounds; round++) {
        for (int busy = 0; busy <= 1; busy++) {
            char series[64];
            struct writer w;

            snprintf(series, sizeof(series), "lookup/%u/%s", b->count, busy ? "busy" : "idle");
            if (busy)
                writer_start(&w, b->path, writer_core);
            b->misses = 0;
            for (size_t i = 0; i < ARRAY_LEN(subjects); i++)
                bench_print(series, round, subjects[i].label, measure(b, i, seconds), "ns");
            bench_print(series, round, "missed", (double)b->misses, "look-ups");
            if (busy)
                bench_print(series, round, "writer", writer_stop(&w), "pairs/s");
        }
    }
}

int main(int argc, char **argv)
{
    struct bench b = {.path = bench_text(argc, argv, "--socket")};
    int rounds = (int)bench_option(argc, argv, "--rounds", 7);
    double seconds = (double)bench_option(argc, argv, "--ms", 50) / 1000;
    int same = (int)bench_option(argc, argv, "--same", 0);
    uint32_t most = (uint32_t)bench_option(argc, argv, "--most", 4096);
    uint32_t sizes[] = {100, MIN(4096, most), most}, filled = 0;

    if (!b.path)
        bench_die("usage: lookup --socket PATH --same CORE --across CORE [--rounds N] [--ms N]");

    struct wire *w = wire_open_path(b.path);
    const void *registry = shmat(w->welcome.registry_shmid, NULL, SHM_RDONLY);

    if (registry == (void *)-1 ||
        reg_view_init(&b.view, registry, w->welcome.registry_size) < 0)
        bench_die("the registry: %s", strerror(errno));
    if (shmd_connect(&b.s, b.path, 5000) < 0)
        bench_die("%s", shmd_error(b.s));
    b.keys = calloc(most, sizeof(*b.keys));
    b.full = calloc(most, sizeof(*b.full));
    b.plain = calloc(most, sizeof(*b.plain));
    if (!b.keys || !b.full || !b.plain)
        bench_die("out of memory");
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        if (sizes[i] <= filled)
            continue;
        wire_fill(w, PREFIX, filled, sizes[i]);
        filled = sizes[i];
        name_all(&b, w->welcome.home, filled);
        bench_pin((int)bench_option(argc, argv, "--across", 1));
        run_size(&b, rounds, seconds, same);
    }
    wire_close(w);
    shmd_disconnect(b.s);
    return 0;
}
