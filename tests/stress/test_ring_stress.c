/* SPDX-License-Identifier: MIT */
/*
 * Writers and readers of a ring in processes of their own, or in threads, with every message's
 * number, length and bytes checked: none lost, none torn, none twice, order kept.
 *
 *     test_ring_stress [MODE SIZE MESSAGES KILLS]
 *
 * MODE: reliable, broadcast, hold, many. The parent stands for shmd: it kills at random, and ends
 * the roles of the dead. Without arguments a bounded selection runs, as TAP.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/number.h"
#include "ring_mem.h"
#include "stress_member.h"
#include "util.h"

#define SLOTS 8
#define PATIENCE_NS (NS_PER_SECOND / 1000) /* between two kills, where no message comes */

static struct run *make(const char *mode, uint32_t size, uint64_t messages)
{
    struct run *run = mmap(NULL, sizeof(*run), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                           -1, 0);
    struct ring_options o = {.slots = SLOTS};
    uint64_t bytes;
    void *segment;

    size = MAX(size & ~7u, (uint32_t)sizeof(struct message));
    run->size = size;
    run->messages = messages;
    run->writers = 1;
    if (!strcmp(mode, "broadcast"))
        run->flags = RING_BROADCAST;
    else if (!strcmp(mode, "hold"))
        run->flags = RING_HOLD;
    else if (!strcmp(mode, "many")) {
        run->flags = RING_MANY;
        run->writers = 3;
    }
    o.flags = run->flags;
    o.max_message = size + 8;
    o.messages = MAX(2u, 65536 / size);
    bytes = ring_segment_size(&o);
    segment = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (segment == MAP_FAILED || ring_format(segment, bytes, &o) < 0 ||
        ring_init(&run->ring, segment, bytes) < 0)
        abort();
    return run;
}

static void drop(struct run *run)
{
    unsigned char *segment = (unsigned char *)run->ring.header;

    munmap(segment, run->ring.size + (uint64_t)(run->ring.data - segment));
    munmap(run, sizeof(*run));
}

static uint32_t random_of(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*state >> 33);
}

static uint32_t last_role;

static void take(struct member *m)
{
    m->role = ++last_role;
    ring_take_slot(&m->run->ring, (uint32_t)m->index, m->role,
                   m->index >= FIRST_READER ? MEMBER_READER : MEMBER_WRITER, 1, 1);
}

static void end(struct member *m)
{
    if (m->index >= FIRST_READER)
        ring_end_reader(&m->run->ring, (uint32_t)m->index, m->role);
    else
        ring_end_writer(&m->run->ring, (uint32_t)m->index, m->role);
}

static pid_t start(struct member *m)
{
    pid_t pid;

    take(m);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(1200);
        _exit(member_run(m));
    }
    return pid;
}

/* True: all went well. */
static bool processes(const char *mode, uint32_t size, uint64_t messages, uint32_t kills)
{
    struct run *run = make(mode, size, messages);
    struct member members[MEMBERS];
    pid_t pids[MEMBERS] = {0};
    uint64_t random = size * 31 + messages, killed = 0, stalled = 0, seen = 0;
    int left = run->writers + READERS, bad = 0;

    for (int i = 0; i < MEMBERS; i++)
        members[i] = (struct member){.run = run, .index = i};
    for (int i = MEMBERS; i-- > 0;)
        if (i < run->writers || i >= FIRST_READER)
            pids[i] = start(&members[i]);
    while (left && !bad) {
        int status, i;
        pid_t pid = waitpid(-1, &status, kills ? WNOHANG : 0);

        for (i = 0; i < MEMBERS && (!pid || pids[i] != pid); i++)
            ;
        if (pid > 0 && i < MEMBERS) {
            end(&members[i]);
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
                pids[i] = 0;
                left--;
            } else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
                pids[i] = start(&members[i]);
            else {
                printf("# member %d: status %x\n", i, (unsigned)status);
                bad = 1;
            }
            continue;
        }
        if (pid == 0) { /* let them get on by some messages, and then go on to the next kill */
            uint64_t goal = seen + random_of(&random) % 500, sent = seen;
            int64_t until = clock_ns(CLOCK_MONOTONIC) + PATIENCE_NS;

            while (sent <= goal && clock_ns(CLOCK_MONOTONIC) < until) {
                sched_yield();
                sent = atomic_load(&run->ring.header->sent);
            }
            stalled = sent == seen ? stalled + 1 : 0;
            seen = sent;
            if (stalled > 20000) {
                printf("# nothing goes on at %" PRIu64 "\n", sent);
                bad = 1;
            }
            i = (int)(random_of(&random) % MEMBERS);
            if (killed < kills && pids[i] > 0) {
                kill(pids[i], SIGKILL);
                killed++;
            }
        }
    }
    for (int i = 0; i < MEMBERS; i++)
        if (pids[i] > 0) {
            kill(pids[i], SIGKILL);
            waitpid(pids[i], NULL, 0);
        }
    printf("# %s, %u bytes: %" PRIu64 " sent, %" PRIu64 " received, %" PRIu64 " lost, %" PRIu64
           " killed\n",
           mode, size, atomic_load(&run->ring.header->sent), run->received, run->lost, killed);
    drop(run);
    return !bad;
}

static void *thread(void *arg)
{
    struct member *m = arg;

    m->failed = member_run(m);
    if (m->index < FIRST_READER)
        end(m);
    return NULL;
}

static bool threads(const char *mode, uint32_t size, uint64_t messages)
{
    struct run *run = make(mode, size, messages);
    struct member members[MEMBERS];
    pthread_t ids[MEMBERS];
    int bad = 0;

    for (int i = 0; i < MEMBERS; i++) {
        members[i] = (struct member){.run = run, .index = i};
        if (i < run->writers || i >= FIRST_READER)
            take(&members[i]);
    }
    for (int i = MEMBERS; i-- > 0;)
        if (i < run->writers || i >= FIRST_READER)
            pthread_create(&ids[i], NULL, thread, &members[i]);
    for (int i = 0; i < MEMBERS; i++)
        if (i < run->writers || i >= FIRST_READER) {
            pthread_join(ids[i], NULL);
            bad |= members[i].failed;
        }
    drop(run);
    return !bad;
}

#ifdef RING_TSAN
static const bool tsan = true;
#else
static const bool tsan = false;
#endif
static const char *const modes[] = {"reliable", "broadcast", "hold", "many"};

int main(int argc, char **argv)
{
    static const uint32_t sizes[] = {64, 1024, 200000};
    int number = 0, bad = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 5)
        return !processes(argv[1], (uint32_t)number_of(argv[2], RING_MESSAGE_MAX - 8),
                          number_of(argv[3], UINT64_MAX), (uint32_t)number_of(argv[4], UINT32_MAX));
    printf("1..%d\n", (int)(4 * 3 * (tsan ? 1 : 3)));
    for (int m = 0; m < 4; m++)
        for (int s = 0; s < 3; s++)
            for (int how = 0; how < (tsan ? 1 : 3); how++) {
                static const char *const hows[] = {"threads", "processes", "processes killed"};
                uint64_t bytes = how == 2 ? 60000000 : 20000000;
                uint64_t n = MIN(bytes / sizes[s], how == 2 ? 400000u : 100000u);
                bool ok;

                if (tsan)
                    n = MIN(1000000 / sizes[s], 3000) + 10;
                ok = how == 0 ? threads(modes[m], sizes[s], n)
                              : processes(modes[m], sizes[s], n, how == 2 ? 30 : 0);
                bad |= !ok;
                printf("%sok %d - ring stress: %s, %u bytes, %s\n", ok ? "" : "not ", ++number,
                       modes[m], sizes[s], hows[how]);
            }
    return bad;
}
