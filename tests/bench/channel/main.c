/* SPDX-License-Identifier: MIT */
/*
 * bench_channel [--rounds N] [--ms N] [--sizes 64,1023,...] [--systems shmd,pipe,...] [--series WORD]
 *               [--cores A,B] [--no-fifo]
 *
 * Measure in interleaved rounds, and print SERIES, ROUND, SUBJECT, VALUE (nanoseconds of one message)
 * and the bounced line's nanoseconds, the lesser of just before and after, for report.py: 0 where those
 * differ, or where the two cores turned out to be one.
 *
 * Subjects of a series are measured one after the other in each round, a bounded time each, with a
 * pause of the same length behind it, in which others may use the cores. Virtual CPUs are moved to
 * other cores, near to each other or far, within seconds: so the line is measured beside each subject,
 * which is measured once more where it differs, and the report compares only what had the same line. A
 * line that is bounced in less than 40 ns raises the suspicion that the two cores are one; what decides
 * is whether each core does a vector loop slower while the other does one too: two cores of one cache
 * may be as fast as that.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/number.h"
#include "measure.h"

#define CASES_MAX 512
#define LINE_SHARED 40.0 /* ns: below it the two cores may be one */
#define SHARE 0.8        /* below it they are */
#define LINE_CHANGED 1.3
#define AGAIN 2

static const struct peer *const peers[] = {
    &peer_shmd, &peer_shmd_16, &peer_shmd_copy, &peer_shmd_pieces, &peer_pipe, &peer_stream,
    &peer_seqpacket, &peer_mq, &peer_zmq, &peer_boost, &peer_libqb, &peer_iceoryx};
static const char *const names[] = {
    "shmd", "shmd/16", "shmd/copy", "shmd/pieces", "pipe", "stream", "seqpacket", "mq", "zmq", "boost", "libqb",
    "iceoryx"};
#define PEERS (int)(sizeof(peers) / sizeof(peers[0]))
static const char *const mode_names[MODES] = {"poll", "yield", "block"};

enum what { LATENCY, RATE, BARE, MESSAGE, MEMCPY };

struct one {
    char series[48], subject[32];
    enum what what;
    const struct peer *peer;
    struct setup setup;
    bool same;
    long n; /* messages in the next round */
};

static struct one cases[CASES_MAX];
static int count;
static const char *only_systems, *only_series;
static struct place place = {{0, 1}, true};

static bool wanted(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, word, n) == 0 && (at[n] == ',' || at[n] == 0))
            return true;
    return !list;
}

static size_t room_of(size_t size)
{
    return size > 64u << 10 ? 4u << 20 : 512u << 10;
}

/* Messages: else what surrounds them would count. Readers that share a core drain a ring at a time
 * each, so that many rings are to be written. */
static long least_of(const struct one *c)
{
    if (c->setup.readers > 1)
        return 32 * (long)(c->setup.room / c->setup.size);
    return c->setup.size > 16384 ? 32 : 2000;
}

static void add(const char *series, const char *subject, enum what what, const struct peer *p,
                enum mode mode, size_t size, int readers, bool same)
{
    struct one *c = &cases[count < CASES_MAX ? count : 0];

    if (only_series && !strstr(series, only_series))
        return;
    if (count == CASES_MAX) {
        fprintf(stderr, "bench: there are more cases than CASES_MAX\n");
        exit(1);
    }
    count++;
    snprintf(c->series, sizeof(c->series), "%s", series);
    snprintf(c->subject, sizeof(c->subject), "%s", subject);
    c->what = what;
    c->peer = p;
    c->setup = (struct setup){mode, size, room_of(size), readers, 0};
    c->same = same;
    c->n = least_of(c);
}

static void add_peers(enum what what, const char *name, enum mode mode, size_t size, bool same)
{
    char series[48];

    snprintf(series, sizeof(series), "%s/%s/%zu", name, same ? "one-core" : mode_names[mode], size);
    for (int i = 0; i < PEERS; i++) {
        const struct peer *p = peers[i];

        if (!p || !wanted(only_systems, p->name) || !(p->modes & 1u << mode) ||
            (p->progress && (size < 32768 || size % 8)) ||
            (p->batch > 1 && (what == LATENCY || 4 * (size_t)p->batch * size > room_of(size))))
            continue;
        add(series, p->name, what, p, mode, size, 1, same);
    }
    if (mode == BLOCK && !same && size == 64) /* what it costs that a channel may sleep */
        add(series, "shmd/spin", what, &peer_shmd, POLL, size, 1, same);
    if (what == LATENCY && mode == POLL)
        add(series, "bare", MESSAGE, NULL, mode, size, 1, same);
    if (what == RATE && mode == POLL) {
        add(series, "bare", BARE, NULL, mode, size, 1, same);
        add(series, "memcpy", MEMCPY, NULL, mode, size, 1, same);
    }
}

static void add_readers(size_t size)
{
    static const struct {
        const char *subject;
        enum mode mode;
        int readers;
    } rows[] = {{"poll/1", POLL, 1}, {"poll/2", YIELD, 2}, {"poll/4", YIELD, 4},
                {"sleep/1", BLOCK, 1}, {"sleep/2", BLOCK, 2}, {"sleep/4", BLOCK, 4}};
    char series[48];

    for (int batch = 0; batch < 2; batch++) {
        snprintf(series, sizeof(series), "readers/%s/%zu", batch ? "by-16" : "single", size);
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
            add(series, rows[i].subject, RATE, batch ? &peer_shmd_16 : &peer_shmd, rows[i].mode,
                size, rows[i].readers, false);
    }
}

static void add_all(const char *sizes)
{
    for (const char *at = sizes; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        size_t size = strtoul(at, NULL, 10);

        add_peers(LATENCY, "latency", POLL, size, false);
        add_peers(LATENCY, "latency", BLOCK, size, false);
        add_peers(RATE, "rate", POLL, size, false);
        add_peers(RATE, "rate", BLOCK, size, false);
        if (size <= 4096)
            add_peers(LATENCY, "latency", BLOCK, size, true);
        if (size == 64 || size == 1023)
            add_readers(size);
    }
}

static double measure(struct one *c, double ms)
{
    static int number;
    struct place at = place;
    double ns;

    if (c->same)
        at.cores[1] = at.cores[0];
    c->setup.number = number += 2;
    if (c->what == BARE)
        ns = limit_bare(&at, c->setup.room, 4096, (size_t)c->n * c->setup.size) / (double)c->n;
    else if (c->what == MESSAGE)
        ns = limit_message(&at, c->setup.room, c->setup.size, c->n);
    else if (c->what == MEMCPY)
        ns = limit_memcpy(&at, c->setup.size);
    else if (c->what == LATENCY)
        ns = measure_latency(c->peer, &c->setup, &at, c->n);
    else
        ns = measure_stream(c->peer, &c->setup, &at, c->n);
    if (ns > 0) {
        double n = ms * 1e6 / ns / (c->what == LATENCY ? 2 : 1);

        c->n = n > 8e6 ? 8000000 : (long)n;
        if (c->n < least_of(c))
            c->n = least_of(c);
        usleep((useconds_t)(ms * 1000));
    }
    return ns;
}

/* With the line beside it: 0 where that differs before and behind it, or where the two cores turned
 * out to be one. */
static double measure_by_line(struct one *c, double ms, double *line)
{
    double ns = 0;

    for (int try = 0; try < AGAIN; try++) {
        double before = limit_line(&place), after;

        ns = measure(c, ms);
        after = limit_line(&place);
        *line = before < after ? before : after;
        if (before > LINE_CHANGED * after || after > LINE_CHANGED * before)
            *line = 0; /* moved to other cores meanwhile */
        else if (*line < LINE_SHARED && limit_share(&place) < SHARE)
            *line = 0;
        if (ns <= 0 || *line > 0)
            break;
    }
    return ns;
}

/* One series in one round: cases[first] to cases[end - 1]. Round 0 finds out what can be measured. */
static void measure_series(int first, int end, int round, double ms)
{
    for (int i = first; i < end; i++) {
        struct one *c = &cases[i];
        double line = 0, value;

        if (c->n == 0)
            continue;
        value = round == 0 ? measure(c, ms) : measure_by_line(c, ms, &line);
        if (value <= 0) {
            fprintf(stderr, "bench: %s: %s in %s (it failed)\n", round == 0 ? "skipped" : "left out",
                    c->subject, c->series);
            if (round == 0)
                c->n = 0;
        } else if (round > 0)
            printf("%s\t%d\t%s\t%.6g\t%.4g\n", c->series, round, c->subject, value, line);
    }
    fflush(stdout);
}

/* A,B */
static void take_cores(const char *text)
{
    const char *comma = strchr(text, ',');
    char first[16];

    snprintf(first, sizeof(first), "%.*s", comma ? (int)(comma - text) : 0, text);
    place.cores[0] = (int)number_of(first, CPU_SETSIZE - 1);
    place.cores[1] = (int)number_of(comma ? comma + 1 : "", CPU_SETSIZE - 1);
}

int main(int argc, char **argv)
{
    const char *sizes = "64,1023,4096,65536,1048576";
    int rounds = 5;
    double ms = 40;

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--no-fifo") == 0) {
            place.fifo = false;
            continue;
        }
        if (strcmp(argv[i], "--rounds") == 0)
            rounds = (int)number_of(value, 10000);
        else if (strcmp(argv[i], "--ms") == 0)
            ms = (double)number_of(value, 3600000);
        else if (strcmp(argv[i], "--sizes") == 0)
            sizes = value;
        else if (strcmp(argv[i], "--systems") == 0)
            only_systems = value;
        else if (strcmp(argv[i], "--series") == 0)
            only_series = value;
        else if (strcmp(argv[i], "--cores") == 0)
            take_cores(value);
        else {
            fprintf(stderr, "bench_channel: %s?\n", argv[i]);
            return 2;
        }
        i++;
    }
    for (int i = 0; i < PEERS; i++)
        if (!peers[i])
            fprintf(stderr, "bench: skipped: %s (its library was not there to build with)\n",
                    names[i]);
    add_all(sizes);
    for (int round = 0; round <= rounds; round++)
        for (int first = 0, end; first < count; first = end) {
            for (end = first; end < count && !strcmp(cases[end].series, cases[first].series); end++)
                ;
            measure_series(first, end, round, ms);
        }
    return 0;
}
