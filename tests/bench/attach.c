/* SPDX-License-Identifier: MIT */
/*
 * attach --socket PATH --same CORE --across CORE [--rounds N] [--ms N]: what libshmd costs beside
 * the system calls under it.
 *
 *     bare     shmat, shmdt
 *     open     shmd_open, shmat, shmdt
 *     attach   shmd_attach, shmd_detach: with the lease announced
 *     begin    shmd_connect, shmd_create, shmd_attach of a new segment
 */
#include <string.h>
#include <sys/shm.h>

#include "bench.h"
#include "shmd.h"

#define TIMEOUT 5000
#define BEGINNINGS 31

static void check(struct shmd *s, int r, const char *what)
{
    if (r < 0)
        bench_die("%s: %s", what, shmd_error(s));
}

static void bare(struct shmd *s, struct shmd_segment *segment)
{
    void *p = shmat(segment->shmid, NULL, 0);

    (void)s;
    if (p == (void *)-1 || shmdt(p) < 0)
        bench_die("shmat: %s", strerror(errno));
}

static void open_first(struct shmd *s, struct shmd_segment *segment)
{
    struct shmd_segment found;

    check(s, shmd_open(s, segment->name, 0, &found, TIMEOUT), "shmd_open");
    bare(s, &found);
}

static void attach(struct shmd *s, struct shmd_segment *segment)
{
    struct shmd_attachment a;

    check(s, shmd_attach(s, segment->name, 0, NULL, &a, TIMEOUT), "shmd_attach");
    check(s, shmd_detach(s, &a), "shmd_detach");
}

static const struct {
    const char *label;
    void (*once)(struct shmd *s, struct shmd_segment *segment);
} subjects[] = {{"bare", bare}, {"open", open_first}, {"attach", attach}};

/* Microseconds of one. */
static double measure(size_t subject, struct shmd *s, struct shmd_segment *segment, double seconds)
{
    uint32_t done = 0;
    double start = bench_now(), now;

    do {
        for (int i = 0; i < 32; i++, done++)
            subjects[subject].once(s, segment);
        now = bench_now();
    } while (now - start < seconds);
    /* What was announced without waiting is part of the work. */
    check(s, shmd_ping(s, TIMEOUT), "shmd_ping");
    return (bench_now() - start) * 1e6 / done;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double begin(const char *path)
{
    double times[BEGINNINGS];

    for (int i = 0; i < BEGINNINGS; i++) {
        struct shmd *s;
        struct shmd_attachment a;
        double start = bench_now();
        int r = shmd_connect(&s, path, TIMEOUT);

        check(s, r, "shmd_connect");
        check(s, shmd_create(s, "begin", 65536, NULL, NULL, TIMEOUT), "shmd_create");
        check(s, shmd_attach(s, "begin", 0, NULL, &a, TIMEOUT), "shmd_attach");
        times[i] = bench_now() - start;
        check(s, shmd_detach(s, &a), "shmd_detach");
        check(s, shmd_remove(s, "begin", NULL, TIMEOUT), "shmd_remove");
        shmd_disconnect(s);
    }
    qsort(times, BEGINNINGS, sizeof(times[0]), by_value);
    return times[BEGINNINGS / 2] * 1000;
}

int main(int argc, char **argv)
{
    const char *path = bench_text(argc, argv, "--socket");
    int rounds = (int)bench_option(argc, argv, "--rounds", 7);
    double seconds = (double)bench_option(argc, argv, "--ms", 100) / 1000;
    const char *places[] = {"same", "across"};
    int cores[] = {(int)bench_option(argc, argv, "--same", 0),
                   (int)bench_option(argc, argv, "--across", 1)};

    if (!path)
        bench_die("usage: attach --socket PATH --same CORE --across CORE [--rounds N] [--ms N]");

    struct shmd *s;
    struct shmd_segment segment;

    check(s, shmd_connect(&s, path, TIMEOUT), "shmd_connect");
    check(s, shmd_create(s, "attach", 1 << 20, NULL, &segment, TIMEOUT), "shmd_create");
    for (int round = -1; round < rounds; round++) {
        for (size_t place = 0; place < ARRAY_LEN(places); place++) {
            char series[32];

            bench_pin(cores[place]);
            snprintf(series, sizeof(series), "attach/%s", places[place]);
            for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
                double us = measure(i, s, &segment, round < 0 ? 0.02 : seconds);

                if (round >= 0)
                    bench_print(series, round, subjects[i].label, us, "us");
            }
            snprintf(series, sizeof(series), "begin/%s", places[place]);

            double ms = begin(path);

            if (round >= 0)
                bench_print(series, round, "libshmd", ms, "ms");
        }
    }
    check(s, shmd_remove(s, "attach", NULL, TIMEOUT), "shmd_remove");
    shmd_disconnect(s);
    return 0;
}
