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
#include <errno.h>
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

#include "ring_reader.h"
#include "ring_writer.h"
#include "util.h"

#define MEMBERS 5 /* at most: 0 to 2 write, 3 and 4 read */
#define READERS 2
#define SLOTS 8
#define PATIENCE_NS (NS_PER_SECOND / 1000) /* between two kills, where no message comes */

struct message {
    uint64_t number;
    uint32_t role;
    uint32_t length;
    uint64_t words[]; /* each says its number and place */
};

struct run {
    struct ring ring;
    uint32_t flags, size;
    uint64_t messages;
    int writers;
    _Atomic uint64_t lost, received;
};

struct member {
    struct run *run;
    int index;
    uint32_t role;
    int failed;
};

static uint64_t word_of(uint64_t number, uint32_t role, uint32_t i)
{
    return (number * 0x9e3779b97f4a7c15ull) ^ ((uint64_t)role << 40) ^ i;
}

static uint32_t length_of(const struct run *run, uint64_t number)
{
    uint32_t spread = run->size > 64 ? (uint32_t)(number * 2654435761u) % (run->size / 2) : 0;

    return MAX((uint32_t)sizeof(struct message), (run->size - spread) & ~7u);
}

static void fill(const struct run *run, struct message *m, uint64_t number, uint32_t role)
{
    uint32_t n;

    *m = (struct message){.number = number, .role = role, .length = length_of(run, number)};
    n = (m->length - (uint32_t)sizeof(*m)) / 8;
    for (uint32_t i = 0; i < n; i++)
        m->words[i] = word_of(number, role, i);
}

static const char *wrong(const struct run *run, const struct message *m, uint32_t length)
{
    if (length < sizeof(*m) || m->length != length || length != length_of(run, m->number))
        return "length";
    for (uint32_t i = 0; i < (length - sizeof(*m)) / 8; i++)
        if (m->words[i] != word_of(m->number, m->role, i))
            return "bytes";
    return NULL;
}

static int fail(const struct member *me, const char *what, uint64_t a, uint64_t b)
{
    printf("# member %d, role %u: %s (%" PRIu64 ", %" PRIu64 ")\n", me->index, me->role, what, a,
           b);
    fflush(stdout);
    return 1;
}

static void fill_in(struct ring_writer *w, unsigned char *to, const unsigned char *from, uint32_t n)
{
    for (uint32_t done = 0, some; done < n; done += some) {
        some = MIN(n - done, 5000u);
        ring_copy(to + done, from + done, some);
        ring_progress(w, done + some);
    }
}

/* As ring_recv(), but by following it in place. */
static int read_begun(struct ring_reader *r, unsigned char *to, uint32_t room, uint32_t *length,
                      struct deadline *d)
{
    const unsigned char *at;
    uint32_t there, done = 0;
    int got = ring_peek_begun(r, (const void **)&at, length, &there, d);

    while (got == 1) {
        if (*length > room || there > *length || (there < *length && there < done))
            return -EBADMSG;
        ring_copy(to + done, at + done, there - done);
        done = there;
        if (done == *length)
            return ring_release(r) < 0 ? -EBADMSG : 1;
        got = ring_peek_more(r, &there, d);
    }
    return got;
}

static int write_all(struct member *me)
{
    struct run *run = me->run;
    struct ring_writer w;
    struct message *m = malloc(run->size + sizeof(*m));
    struct deadline d = {.timeout_ms = -1};
    bool many = run->flags & RING_MANY;
    int r = ring_writer_start(&w, &run->ring, me->index, me->role, NULL);

    if (r < 0)
        return fail(me, strerror(-r), 1, 0);
    for (uint64_t n = 0; many ? atomic_load(&run->ring.header->sent) < run->messages
                              : w.sequence < run->messages; n++) {
        uint64_t number = many ? n : w.sequence;

        fill(run, m, number, me->role);
        if (number % 7 == 0) {
            struct message *in;

            r = ring_reserve(&w, number % 2 ? run->size + 8 : m->length, (void **)&in, &d);
            if (r == 0 && number % 3 == 0) { /* who follows it is to forget it */
                fill_in(&w, (unsigned char *)in, (const unsigned char *)m, m->length / 2);
                ring_abort(&w);
                r = ring_reserve(&w, m->length, (void **)&in, &d);
            }
            if (r == 0) {
                fill_in(&w, (unsigned char *)in, (const unsigned char *)m, m->length);
                r = ring_commit(&w, m->length);
            }
        } else {
            if (number % 64 == 16)
                ring_hold_back(&w);
            r = ring_send(&w, m, m->length, &d);
            if (number % 64 == 32)
                ring_publish(&w);
        }
        if (r < 0)
            return fail(me, strerror(-r), 2, number);
    }
    ring_writer_close(&w);
    free(m);
    return 0;
}

static int read_all(struct member *me)
{
    struct run *run = me->run;
    struct ring_reader r;
    uint32_t room = run->size + 64, length;
    struct message *m = malloc(room);
    uint64_t next = 0, lost = 0, per_role[4096] = {0}; /* by role, + 1 */
    bool first = true;
    int got = ring_reader_start(&r, &run->ring, me->index, me->role, -1, NULL);

    if (got < 0)
        return fail(me, strerror(-got), 3, 0);
    for (;;) {
        struct deadline d = {.timeout_ms = -1};
        const char *what;

        if (next % 5 == 0 && !(run->flags & RING_BROADCAST)) {
            const void *at;

            got = ring_peek(&r, &at, &length, &d);
            if (got == 1) {
                memcpy(m, at, MIN(length, room));
                ring_release(&r);
            }
        } else if (next % 5 < 3 && !(run->flags & RING_BROADCAST)) {
            got = read_begun(&r, (unsigned char *)m, room, &length, &d);
            if (got == -ECANCELED)
                continue;
        } else
            got = ring_recv(&r, m, room, &length, &d);
        if (got == -EOWNERDEAD)
            continue;
        if (got < 0)
            return fail(me, strerror(-got), 4, next);
        if (got == 0)
            break;
        what = wrong(run, m, length);
        if (what)
            return fail(me, what, length, m->number);
        if (run->flags & RING_MANY) {
            uint64_t *seen = &per_role[m->role % 4096];

            if (*seen && m->number != *seen)
                return fail(me, "order", m->number, *seen);
            *seen = m->number + 1;
        } else {
            lost = r.lost - lost;
            if (!first && m->number != next + lost)
                return fail(me, "order", m->number, next + lost);
            lost = r.lost;
        }
        next = m->number + 1;
        first = false;
    }
    /* Where a reader was through and went, the next one need not get anything. */
    if (!(run->flags & RING_MANY) && !(run->flags & RING_HOLD && first) && next != run->messages)
        return fail(me, "the last ones are missing", next, run->messages);
    if (r.lost && !(run->flags & RING_BROADCAST))
        return fail(me, "lost", r.lost, 0);
    atomic_fetch_add(&run->lost, r.lost);
    atomic_fetch_add(&run->received, r.received);
    ring_reader_leave(&r);
    free(m);
    return 0;
}

static int run_member(struct member *me)
{
    return me->index >= 3 ? read_all(me) : write_all(me);
}

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
                   m->index >= 3 ? MEMBER_READER : MEMBER_WRITER, 1, 1);
}

static void end(struct member *m)
{
    if (m->index >= 3)
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
        _exit(run_member(m));
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
        if (i < run->writers || i >= 3)
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

    m->failed = run_member(m);
    if (m->index < 3)
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
        if (i < run->writers || i >= 3)
            take(&members[i]);
    }
    for (int i = MEMBERS; i-- > 0;)
        if (i < run->writers || i >= 3)
            pthread_create(&ids[i], NULL, thread, &members[i]);
    for (int i = 0; i < MEMBERS; i++)
        if (i < run->writers || i >= 3) {
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
        return !processes(argv[1], (uint32_t)atoi(argv[2]), strtoull(argv[3], NULL, 10),
                          (uint32_t)atoi(argv[4]));
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
