/* SPDX-License-Identifier: MIT */
/*
 * load --same CORE --across CORE [--rounds N] [--ms N] [--names N] [--shape SHAPE]
 *      KIND:PATH...
 *
 * One load generator for all that answers a look-up over a socket: shmd (OP_OPEN by name; shmd2
 * is another one beside it), redis (GET), and the echo servers (epoll, event), which get shmd's
 * frames. All of them are served by the same loop, which keeps `depth` requests in flight on each
 * connection and sends as many new ones, in one go, as it just read replies. A single client blocks
 * in recv(), many wait in epoll. Beside the rate stands the server's own time on a core for a
 * request: load and kernel switches of the client do not dilute that. What a system call costs
 * here is printed to judge both by.
 */
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "bench.h"

#define CLIENTS_MAX 50
#define REQUEST_MAX 192
#define DIGITS 6 /* that end a name */
#define PREFIX BENCH_PREFIX
#define NAMESPACE BENCH_NAMESPACE /* redis is given full names, as shmd looks up */

struct client {
    int fd;
    uint32_t in_flight;
    uint32_t sent, answered;
    size_t have;
    uint8_t in[WIRE_FRAME_MAX];
};

struct target {
    const char *label, *path;
    bool redis;
    int epfd;
    int schedstat; /* of the server */
    uint32_t names, seed;
    char (*digits)[DIGITS + 1];
    size_t request, digits_at; /* bytes of a request, and where the name's digits are in it */
    uint8_t out[BENCH_WINDOW * REQUEST_MAX]; /* so many requests: all but serial and digits */
    struct client *clients;
};

static const struct shape {
    const char *label;
    uint32_t clients, depth;
} shapes[] = {{"1x1", 1, 1}, {"50x1", 50, 1}, {"50x16", CLIENTS_MAX, BENCH_WINDOW}};

/* Only serial and digits differ: the less the generator does, the more is measured. */
static void send_some(struct target *t, struct client *c, uint32_t count)
{
    uint8_t *p = t->out;

    for (uint32_t i = 0; i < count; i++, p += t->request, c->sent++) {
        memcpy(p + t->digits_at, t->digits[bench_random(&t->seed) % t->names], DIGITS);
        if (!t->redis)
            memcpy(p + offsetof(struct wire_header, serial), &c->sent, sizeof(c->sent));
    }
    c->in_flight += count;
    bench_send(c->fd, t->out, (size_t)(p - t->out));
}

/* The bytes of the reply at `p`, or 0 where it is not whole. */
static size_t wire_reply(struct client *c, const uint8_t *p, size_t have)
{
    struct wire_header h;

    if (have < sizeof(h))
        return 0;
    memcpy(&h, p, sizeof(h));
    if (h.status != 0 || h.serial != c->answered ||
        h.size != BENCH_OPENED)
        bench_die("a wrong reply: %u bytes, status %d", h.size, h.status);
    return have < h.size ? 0 : h.size;
}

/* "$5\r\n12345\r\n" */
static size_t redis_reply(const uint8_t *p, size_t have)
{
    size_t len = 0, i = 1;

    if (have > 0 && *p != '$' && *p != '+')
        bench_die("redis: %.*s", (int)have, p);
    if (have > 0 && *p == '+') {
        const uint8_t *end = memchr(p, '\n', have);

        return end ? (size_t)(end - p) + 1 : 0;
    }
    for (; i < have && p[i] >= '0' && p[i] <= '9'; i++)
        len = 10 * len + (p[i] - '0');
    if (i < have && p[i] == '-')
        bench_die("redis: a name is not there");
    return have < i + 2 + len + 2 ? 0 : i + 2 + len + 2;
}

/* Read once and take the whole replies: how many. */
static uint32_t take(struct target *t, struct client *c, int flags)
{
    ssize_t n = recv(c->fd, c->in + c->have, sizeof(c->in) - c->have, flags);

    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        bench_die("%s: %s", t->label, n < 0 ? strerror(errno) : "closed the connection");
    c->have += (size_t)n;

    size_t at = 0, size;
    uint32_t replies = 0;

    while ((size = t->redis ? redis_reply(c->in + at, c->have - at)
                            : wire_reply(c, c->in + at, c->have - at)) > 0) {
        at += size;
        c->answered++;
        replies++;
    }
    if (at < c->have)
        memmove(c->in, c->in + at, c->have - at);
    c->have -= at;
    c->in_flight -= replies;
    return replies;
}

/* Replies to whoever has some now. */
static uint32_t turn(struct target *t, const struct shape *s)
{
    uint32_t done = 0, replies;

    if (s->clients == 1) {
        done = take(t, &t->clients[0], 0);
        send_some(t, &t->clients[0], done);
        return done;
    }

    struct epoll_event events[CLIENTS_MAX];
    int n = epoll_wait(t->epfd, events, CLIENTS_MAX, -1);

    for (int i = 0; i < n; i++) {
        struct client *c = events[i].data.ptr;

        replies = take(t, c, MSG_DONTWAIT);
        if (replies > 0)
            send_some(t, c, replies);
        done += replies;
    }
    return done;
}

struct result {
    double rate; /* requests in a second */
    double cpu;  /* nanoseconds of the server for one */
};

static struct result measure(struct target *t, const struct shape *s, double seconds)
{
    uint64_t done = 0, before = bench_core_time(t->schedstat);

    for (uint32_t i = 0; i < s->clients; i++)
        send_some(t, &t->clients[i], s->depth);

    double start = bench_now(), now;

    do {
        for (int i = 0; i < 16; i++)
            done += turn(t, s);
        now = bench_now();
    } while (now - start < seconds);
    for (uint32_t i = 0; i < s->clients; i++)
        while (t->clients[i].in_flight > 0)
            take(t, &t->clients[i], 0);

    uint64_t in_all = done + (uint64_t)s->clients * s->depth;

    return (struct result){
        .rate = (double)done / (now - start),
        .cpu = (double)(bench_core_time(t->schedstat) - before) / (double)in_all,
    };
}

static void measure_system_call(int round)
{
    enum { TIMES = 20000 };
    double start = bench_now();

    for (int i = 0; i < TIMES; i++)
        syscall(SYS_getppid);
    bench_print("machine", round, "getppid", (bench_now() - start) * 1e9 / TIMES, "ns");
}

/* What a look-up in shmd tells, as text. */
static void redis_set(struct target *t, const char *name, uint32_t n)
{
    char command[256], value[64];

    snprintf(value, sizeof(value), "shmid %u key 0x%08x size %u instance %u", n, 0x53000000 + n,
             BENCH_SEGMENT, n);
    int size = snprintf(command, sizeof(command),
                        "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n", strlen(name), name,
                        strlen(value), value);

    t->clients[0].in_flight++;
    bench_send(t->clients[0].fd, command, (size_t)size);
    while (t->clients[0].in_flight > 0)
        take(t, &t->clients[0], 0);
}

static void prepare(struct target *t)
{
    struct wire_open open = {.target.by = BY_NAME};
    char name[NAME_SIZE], full[NAME_SIZE + sizeof(NAMESPACE)];

    t->digits = calloc(t->names, sizeof(*t->digits));
    if (!t->digits)
        bench_die("out of memory");
    for (uint32_t n = 0; n < t->names; n++) {
        bench_name(name, PREFIX, n);
        memcpy(t->digits[n], name + strlen(name) - DIGITS, DIGITS);
        snprintf(full, sizeof(full), NAMESPACE "%s", name);
        if (t->redis)
            redis_set(t, full, n);
    }
    if (t->redis) {
        t->request = (size_t)snprintf((char *)t->out, REQUEST_MAX,
                                      "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n",
                                      strlen(full), full);
        t->digits_at = t->request - 2 - DIGITS;
    } else {
        t->request = wire_put(t->out, OP_OPEN, 0, &open, sizeof(open), full);
        t->digits_at = sizeof(struct wire_header) + sizeof(open) + strlen(full) - DIGITS;
    }
    for (uint32_t i = 1; i < BENCH_WINDOW; i++)
        memcpy(t->out + i * t->request, t->out, t->request);
}

static void start(struct target *t, char *arg, uint32_t names)
{
    char *colon = strchr(arg, ':');

    if (!colon)
        bench_die("%s: not KIND:PATH", arg);
    *colon = 0;
    t->label = arg;
    t->path = colon + 1;
    t->redis = strcmp(arg, "redis") == 0;
    t->names = names;
    t->seed = 2463534242u;
    t->epfd = epoll_create1(EPOLL_CLOEXEC);
    t->clients = calloc(CLIENTS_MAX, sizeof(*t->clients));
    if (!t->clients)
        bench_die("out of memory");
    for (int i = 0; i < CLIENTS_MAX; i++) {
        struct client *c = &t->clients[i];
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

        if (strncmp(arg, "shmd", 4) == 0) {
            struct wire *w = wire_open_path(t->path);

            if (i == 0)
                wire_fill(w, PREFIX, 0, names);
            c->fd = w->fd;
            free(w);
        } else {
            c->fd = bench_connect(t->path);
        }
        if (epoll_ctl(t->epfd, EPOLL_CTL_ADD, c->fd, &ev) < 0)
            bench_die("epoll_ctl: %s", strerror(errno));
    }
    t->schedstat = bench_schedstat(t->clients[0].fd);
    prepare(t);
}

static void run_shape(struct target *targets, int count, const struct shape *s, const char *place,
                      int round, double seconds)
{
    for (int i = 0; i < count; i++) {
        struct result r = measure(&targets[i], s, round < 0 ? 0.02 : seconds);
        char series[64];

        if (round < 0)
            continue;
        snprintf(series, sizeof(series), "socket/%s/%s", s->label, place);
        bench_print(series, round, targets[i].label, r.rate, "requests/s");
        snprintf(series, sizeof(series), "server-time/%s/%s", s->label, place);
        bench_print(series, round, targets[i].label, r.cpu, "ns/request");
    }
}

int main(int argc, char **argv)
{
    struct target targets[8] = {0};
    int count = 0, rounds = (int)bench_option(argc, argv, "--rounds", 7);
    double seconds = (double)bench_option(argc, argv, "--ms", 150) / 1000;
    uint32_t names = (uint32_t)bench_option(argc, argv, "--names", 4096);
    const char *places[] = {"same", "across"}, *only = bench_text(argc, argv, "--shape");
    int cores[] = {(int)bench_option(argc, argv, "--same", 0),
                   (int)bench_option(argc, argv, "--across", 1)};

    for (int i = 1; i < argc && count < (int)ARRAY_LEN(targets); i++) {
        if (strncmp(argv[i], "--", 2) == 0)
            i++;
        else
            start(&targets[count++], argv[i], names);
    }
    for (int round = -1; round < rounds; round++) { /* the first one warms up */
        if (round >= 0)
            measure_system_call(round);
        for (size_t place = 0; place < ARRAY_LEN(places); place++) {
            bench_pin(cores[place]);
            for (size_t s = 0; s < ARRAY_LEN(shapes); s++)
                if (!only || strcmp(only, shapes[s].label) == 0)
                    run_shape(targets, count, &shapes[s], places[place], round, seconds);
        }
    }
    return 0;
}
