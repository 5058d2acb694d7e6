/* SPDX-License-Identifier: MIT */
/*
 * cycle --socket PATH --same CORE --across CORE [--rounds N] [--ms N]: create and remove through
 * shmd, pipelined, against the system calls that it makes for them, in this process.
 */
#include <sys/ipc.h>
#include <sys/shm.h>
#include <string.h>

#include "bench.h"

#define KEY_FIRST 0x54000000 /* beside the range of shmd.conf */

/* One segment's whole life. */
static void bare_pair(key_t key, uid_t uid, gid_t gid)
{
    int id = shmget(key, BENCH_SEGMENT, IPC_CREAT | IPC_EXCL | 0600);
    struct shmid_ds ds = {.shm_perm = {.uid = uid, .gid = gid, .mode = 0600}};

    if (id < 0 || shmctl(id, IPC_SET, &ds) < 0)
        bench_die("a segment of our own: %s", strerror(errno));

    void *pin = shmat(id, NULL, SHM_RDONLY);

    if (pin == (void *)-1 || shmdt(pin) < 0 || shmctl(id, IPC_RMID, NULL) < 0)
        bench_die("a segment of our own: %s", strerror(errno));
}

struct result {
    double rate; /* pairs in a second */
    double cpu;  /* nanoseconds on a core for one: the daemon's alone, where it is asked */
};

static struct result bare(double seconds)
{
    uid_t uid = getuid();
    gid_t gid = getgid();
    uint32_t pairs = 0;
    double start = bench_now(), own = bench_own_time(), now;

    do {
        for (int i = 0; i < 32; i++)
            bare_pair(KEY_FIRST + (key_t)(pairs++ % 0x10000), uid, gid);
        now = bench_now();
    } while (now - start < seconds);
    return (struct result){pairs / (now - start), (bench_own_time() - own) * 1e9 / pairs};
}

static struct result shmd(struct wire *w, int schedstat, double seconds)
{
    uint64_t before = bench_core_time(schedstat);
    uint32_t first = w->sent;
    double rate = wire_churn(w, "cycle", seconds, -1);

    return (struct result){
        rate, (double)(bench_core_time(schedstat) - before) / ((w->sent - first) / 2.0)};
}

static void print(const char *place, int round, const char *subject, struct result r)
{
    char series[64];

    if (round < 0) /* warming up */
        return;
    snprintf(series, sizeof(series), "cycle/%s", place);
    bench_print(series, round, subject, r.rate, "pairs/s");
    snprintf(series, sizeof(series), "cycle-time/%s", place);
    bench_print(series, round, subject, r.cpu, "ns/pair");
}

int main(int argc, char **argv)
{
    const char *path = bench_text(argc, argv, "--socket");
    int rounds = (int)bench_option(argc, argv, "--rounds", 7);
    double seconds = (double)bench_option(argc, argv, "--ms", 150) / 1000;
    const char *places[] = {"same", "across"};
    int cores[] = {(int)bench_option(argc, argv, "--same", 0),
                   (int)bench_option(argc, argv, "--across", 1)};

    if (!path)
        bench_die("usage: cycle --socket PATH --same CORE --across CORE [--rounds N] [--ms N]");

    struct wire *w = wire_open_path(path);
    int schedstat = bench_schedstat(w->fd);

    for (int round = -1; round < rounds; round++) {
        for (size_t place = 0; place < ARRAY_LEN(places); place++) {
            double time = round < 0 ? 0.02 : seconds;

            bench_pin(cores[place]);
            print(places[place], round, "shmd", shmd(w, schedstat, time));
            print(places[place], round, "bare", bare(time));
        }
    }
    wire_close(w);
    return 0;
}
