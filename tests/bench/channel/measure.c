/* SPDX-License-Identifier: MIT */
#include "measure.h"

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
#include <time.h>
#include <unistd.h>

#define SECONDS_MOST 8 /* of one measurement: then it is killed */

struct meeting {
    int members;
    _Atomic int come;
    int64_t start;
    int64_t end[READERS_MAX + 1];
};

void peer_die(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

void peer_wait(enum mode mode)
{
    if (mode == POLL)
        __builtin_ia32_pause();
    else
        sched_yield();
}

int64_t measure_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

struct meeting *meeting_new(int members)
{
    struct meeting *m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (m == MAP_FAILED)
        peer_die("mmap");
    m->members = members;
    return m;
}

void meeting_come(struct meeting *m)
{
    atomic_fetch_add(&m->come, 1);
    while (atomic_load(&m->come) < m->members)
        sched_yield();
}

void meeting_free(struct meeting *m)
{
    munmap(m, sizeof(*m));
}

int measure_fork(const struct place *p, int which)
{
    struct sched_param fifo = {.sched_priority = 10};
    cpu_set_t set;
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child < 0)
        peer_die("fork");
    if (child > 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(SECONDS_MOST);
    CPU_ZERO(&set);
    CPU_SET((size_t)p->cores[which], &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        peer_die("sched_setaffinity");
    if (p->fifo)
        sched_setscheduler(0, SCHED_FIFO, &fifo);
    return 0;
}

bool measure_wait(int children)
{
    bool good = true;
    int status;

    while (children-- > 0)
        if (wait(&status) < 0 || status)
            good = false;
    return good;
}

static void *make(const struct peer *p, const struct setup *s)
{
    void *c = p->make(p, s);

    if (!c)
        fprintf(stderr, "bench: %s of %zu bytes: %s\n", p->name, s->size, strerror(errno));
    return c;
}

void peer_wrong(const struct peer *p, long i)
{
    fprintf(stderr, "bench: %s: message %ld is not what was sent\n", p->name, i);
    exit(1);
}

static void read_all(const struct peer *p, void *c, const struct setup *s, struct meeting *m,
                     int number, long n)
{
    p->reader(c, number);
    meeting_come(m);
    p->loops->receive(c, s->size, 0, n);
    m->end[number] = measure_now();
    p->close(c);
    exit(0);
}

double measure_stream(const struct peer *p, const struct setup *s, const struct place *at, long n)
{
    void *c = make(p, s);
    double ns = 0;

    if (!c)
        return 0;
    n = (n + 15) / 16 * 16;

    struct meeting *m = meeting_new(s->readers + 1);
    long warm = n / 8 / 16 * 16;

    for (int i = 0; i < s->readers; i++)
        if (measure_fork(at, 1) == 0)
            read_all(p, c, s, m, i, warm + n);
    if (measure_fork(at, 0) == 0) {
        p->writer(c);
        meeting_come(m);
        p->loops->send(c, s->size, 0, warm);
        m->start = measure_now();
        p->loops->send(c, s->size, warm, warm + n);
        p->close(c);
        exit(0);
    }
    if (measure_wait(s->readers + 1)) {
        int64_t end = 0;

        for (int i = 0; i < s->readers; i++)
            end = m->end[i] > end ? m->end[i] : end;
        ns = (double)(end - m->start) / (double)n;
    }
    meeting_free(m);
    p->destroy(c);
    return ns;
}

static void answer(const struct peer *p, void *there, void *back, size_t size, struct meeting *m,
                   long n)
{
    p->reader(there, 0);
    p->writer(back);
    meeting_come(m);
    p->loops->answer(there, back, size, 0, n);
    p->close(there);
    p->close(back);
    exit(0);
}

double measure_latency(const struct peer *p, const struct setup *s, const struct place *at, long n)
{
    struct setup other = *s;

    other.number++;

    void *there = make(p, s), *back = there ? make(p, &other) : NULL;
    long warm = n / 8;
    double ns = 0;

    if (!back)
        return 0;

    struct meeting *m = meeting_new(2);

    if (measure_fork(at, 1) == 0)
        answer(p, there, back, s->size, m, warm + n);
    if (measure_fork(at, 0) == 0) {
        p->writer(there);
        p->reader(back, 0);
        meeting_come(m);
        p->loops->ask(there, back, s->size, 0, warm);
        m->start = measure_now();
        p->loops->ask(there, back, s->size, warm, warm + n);
        m->end[0] = measure_now();
        p->close(there);
        p->close(back);
        exit(0);
    }
    if (measure_wait(2))
        ns = (double)(m->end[0] - m->start) / 2 / (double)n;
    meeting_free(m);
    p->destroy(there);
    p->destroy(back);
    return ns;
}
