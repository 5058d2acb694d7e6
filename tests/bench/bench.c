/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

void bench_die(const char *fmt, ...)
{
    va_list ap;

    fputs("bench: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

static double clock_seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double bench_now(void)
{
    return clock_seconds(CLOCK_MONOTONIC);
}

double bench_own_time(void)
{
    return clock_seconds(CLOCK_THREAD_CPUTIME_ID);
}

int bench_schedstat(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    char path[64];

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        bench_die("SO_PEERCRED: %s", strerror(errno));
    snprintf(path, sizeof(path), "/proc/%d/schedstat", peer.pid);

    int schedstat = open(path, O_RDONLY | O_CLOEXEC);

    if (schedstat < 0)
        bench_die("%s: %s", path, strerror(errno));
    return schedstat;
}

uint64_t bench_core_time(int schedstat)
{
    char text[64] = "";

    if (pread(schedstat, text, sizeof(text) - 1, 0) <= 0)
        bench_die("schedstat: %s", strerror(errno));
    return strtoull(text, NULL, 10);
}

void bench_pin(int core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        bench_die("core %d: %s", core, strerror(errno));
}

uint32_t bench_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

void bench_print(const char *series, int round, const char *subject, double value,
                 const char *unit)
{
    printf("%s\t%d\t%s\t%.6g\t%s\n", series, round, subject, value, unit);
    fflush(stdout);
}

const char *bench_text(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return NULL;
}

long bench_option(int argc, char **argv, const char *name, long fallback)
{
    const char *text = bench_text(argc, argv, name);
    char *end;

    if (!text)
        return fallback;
    errno = 0;

    long value = strtol(text, &end, 10);

    if (errno || end == text || *end || value < 0)
        bench_die("%s: not a number: %s", name, text);
    return value;
}

static struct sockaddr_un address(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(a.sun_path))
        bench_die("%s: the path is too long", path);
    memcpy(a.sun_path, path, strlen(path));
    return a;
}

int bench_connect(const char *path)
{
    struct sockaddr_un a = address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        bench_die("%s: %s", path, strerror(errno));
    return fd;
}

int bench_listen(const char *path, int ready_fd)
{
    struct sockaddr_un a = address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 128) < 0)
        bench_die("%s: %s", path, strerror(errno));
    if (ready_fd >= 0 && (write(ready_fd, "\n", 1) != 1 || close(ready_fd) < 0))
        bench_die("fd %d: %s", ready_fd, strerror(errno));
    return fd;
}

void bench_send(int fd, const void *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

        if (n < 0)
            bench_die("send: %s", strerror(errno));
        data = (const uint8_t *)data + n;
        size -= (size_t)n;
    }
}

void bench_name(char out[NAME_SIZE], const char *prefix, uint32_t n)
{
    memset(out, 0, NAME_SIZE);
    snprintf(out, NAME_SIZE, "%s-%06u", prefix, n);
}

size_t wire_put(void *out, uint16_t opcode, uint32_t serial, const void *body, size_t size,
                const char *name)
{
    uint32_t text = name ? wire_text_size(strlen(name)) : 0;
    struct wire_header h = {
        .size = (uint32_t)(sizeof(h) + size) + text,
        .opcode = opcode,
        .serial = serial,
    };

    memcpy(out, &h, sizeof(h));
    memcpy((uint8_t *)out + sizeof(h), body, size);
    memset((uint8_t *)out + sizeof(h) + size, 0, text);
    if (name)
        memcpy((uint8_t *)out + sizeof(h) + size, name, strlen(name));
    return h.size;
}

size_t wire_put_create(void *out, uint32_t serial, const char *name)
{
    struct wire_create c = {
        .size = BENCH_SEGMENT,
        .request_id = (uint64_t)(uint32_t)getpid() << 32 | serial,
    };

    return wire_put(out, OP_CREATE, serial, &c, sizeof(c), name);
}

size_t wire_put_remove(void *out, uint32_t serial, const char *name)
{
    struct wire_target t = {.by = BY_NAME};

    return wire_put(out, OP_REMOVE, serial, &t, sizeof(t), name);
}

/* The bytes of the reply at `data`, or 0 where it is not whole. */
static size_t take_one(struct wire *w, const uint8_t *data, size_t have)
{
    struct wire_header h;

    if (have < sizeof(h))
        return 0;
    memcpy(&h, data, sizeof(h));
    if (h.size < sizeof(h) || h.size > WIRE_FRAME_MAX)
        bench_die("a reply of %u bytes", h.size);
    if (have < h.size)
        return 0;
    if (h.serial != w->answered)
        bench_die("reply %u comes where %u is due", h.serial, w->answered);
    if (h.status < 0)
        bench_die("request %u (opcode %u): %s: %.*s", h.serial, h.opcode, strerror(-h.status),
                  (int)(h.size - sizeof(h)), data + sizeof(h));
    w->answered++;
    return h.size;
}

uint32_t wire_take(struct wire *w)
{
    ssize_t n = recv(w->fd, w->in + w->have, sizeof(w->in) - w->have, 0);

    if (n <= 0)
        bench_die("shmd: %s", n < 0 ? strerror(errno) : "closed the connection");
    w->have += (size_t)n;

    size_t at = 0;
    uint32_t replies = 0;

    for (size_t size; (size = take_one(w, w->in + at, w->have - at)) > 0; replies++)
        at += size;
    memmove(w->in, w->in + at, w->have - at);
    w->have -= at;
    return replies;
}

struct wire *wire_open_path(const char *path)
{
    struct wire *w = calloc(1, sizeof(*w));
    struct wire_hello hello = {WIRE_MAGIC, WIRE_VERSION, WIRE_VERSION, 0};
    uint8_t out[sizeof(struct wire_header) + sizeof(hello)];
    uint8_t in[sizeof(struct wire_header) + sizeof(struct wire_welcome)];
    struct wire_header h;

    if (!w)
        bench_die("out of memory");
    w->fd = bench_connect(path);
    bench_send(w->fd, out, wire_put(out, OP_HELLO, w->sent++, &hello, sizeof(hello), NULL));
    if (recv(w->fd, in, sizeof(in), MSG_WAITALL) != sizeof(in))
        bench_die("%s: no welcome", path);
    memcpy(&h, in, sizeof(h));
    if (h.status != 0 || h.size != sizeof(in))
        bench_die("%s: not welcome: %s", path, strerror(-h.status));
    memcpy(&w->welcome, in + sizeof(h), sizeof(w->welcome));
    w->answered = w->sent;
    return w;
}

void wire_close(struct wire *w)
{
    close(w->fd);
    free(w);
}

void wire_fill(struct wire *w, const char *prefix, uint32_t from, uint32_t to)
{
    uint8_t out[BENCH_WINDOW * WIRE_REQUEST_MAX];
    char name[NAME_SIZE];

    for (uint32_t n = from; n < to || w->answered != w->sent;) {
        size_t size = 0;

        for (; n < to && w->sent - w->answered < BENCH_WINDOW; n++) {
            bench_name(name, prefix, n);
            size += wire_put_create(out + size, w->sent++, name);
        }
        bench_send(w->fd, out, size);
        wire_take(w);
    }
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return fd >= 0 && poll(&p, 1, 0) > 0;
}

double wire_churn(struct wire *w, const char *prefix, double seconds, int fd)
{
    enum { NAMES = 64 };
    uint8_t out[BENCH_WINDOW * WIRE_REQUEST_MAX];
    char names[NAMES][NAME_SIZE];
    uint32_t first = w->sent, next = 0;

    for (uint32_t i = 0; i < NAMES; i++)
        bench_name(names[i], prefix, i);

    double start = bench_now();

    for (bool more = true; more || w->answered != w->sent;) {
        size_t size = 0;

        more = more && bench_now() - start < seconds && !readable(fd);
        /* A pair once begun is ended. */
        for (; (more || next % 2) && w->sent - w->answered < BENCH_WINDOW; next++) {
            const char *name = names[next / 2 % NAMES];

            size += next % 2 ? wire_put_remove(out + size, w->sent++, name)
                             : wire_put_create(out + size, w->sent++, name);
        }
        bench_send(w->fd, out, size);
        if (w->answered != w->sent)
            wire_take(w);
    }
    return (w->sent - first) / 2.0 / (bench_now() - start);
}
