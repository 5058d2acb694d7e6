/* SPDX-License-Identifier: MIT */
/*
 * A member of a channel that does line by line what its stdin says, for the tests. Answers "ok ..."
 * or "error CODE sentence". Each message holds its number and a checksum over bytes that follow from
 * it, so that none can be lost, torn, twice or out of order unseen.
 */
#include <shmd-channel.h>

#include "answer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT 20000
#define ROOM (4u << 20)

struct head {
    uint64_t number;
    uint64_t sum;
    uint64_t writer; /* its pid: where there are many, each counts for itself */
};

/* What is expected next of each of many writers. */
#define WRITERS 4096
static struct {
    uint64_t writer, number;
} of_writer[WRITERS];
static int many;
static uint64_t self;

static struct shmd_writer *writer;
static struct shmd_reader *reader;
static uint64_t sent, received, expected, lost;
static int any = 1; /* the first message may have any number */
static unsigned char bytes[ROOM];

static uint64_t sum_of(const unsigned char *p, size_t n)
{
    uint64_t sum = 14695981039346656037ull;

    for (size_t i = 0; i < n; i++)
        sum = (sum ^ p[i]) * 1099511628211ull;
    return sum;
}

static void fill(unsigned char *to, size_t size, uint64_t number)
{
    struct head h = {.number = number, .writer = self};

    for (size_t i = sizeof(h); i < size; i++)
        to[i] = (unsigned char)(number * 31 + i);
    h.sum = sum_of(to + sizeof(h), size - sizeof(h)) ^ number;
    memcpy(to, &h, sizeof(h));
}

/* 0: -EBADMSG where the message is not the one that comes next. */
static int check(const unsigned char *from, size_t size)
{
    struct head h;

    if (size < sizeof(h))
        return -EBADMSG;
    memcpy(&h, from, sizeof(h));
    if (h.sum != (sum_of(from + sizeof(h), size - sizeof(h)) ^ h.number))
        return -EBADMSG;
    if (many) {
        __auto_type w = &of_writer[h.writer % WRITERS];
        int right = w->writer != h.writer || h.number == w->number;

        w->writer = h.writer;
        w->number = h.number + 1;
        return right ? 0 : -EILSEQ;
    }
    /* What is missing is what was told to be lost, neither more nor less. */
    return any || h.number - expected == shmd_lost(reader) - lost ? 0 : -EILSEQ;
}

static void took(const unsigned char *from)
{
    struct head h;

    memcpy(&h, from, sizeof(h));
    expected = h.number + 1;
    lost = shmd_lost(reader);
    any = 0;
    received++;
}

/* A size of 0: another one for each message, from the least that there can be to `most`. */
static size_t size_of(size_t size, size_t most, uint64_t number)
{
    uint64_t x = number * 6364136223846793005ull + 1442695040888963407ull;

    return size ? size : sizeof(struct head) + (x >> 33) % (most - sizeof(struct head) + 1);
}

static int send_some(uint64_t count, size_t size, size_t most, int timeout)
{
    for (uint64_t i = 0; i < count; i++) {
        size_t n = size_of(size, most, sent);
        int r;

        if (sent % 3 == 0) { /* without a copy */
            void *to;

            r = shmd_reserve(writer, n, &to, timeout);
            if (r == 0) {
                fill(to, n, sent);
                shmd_progress(writer, n / 2);
                r = shmd_commit(writer, n);
                if (r < 0)
                    shmd_abort(writer);
            }
        } else {
            fill(bytes, n, sent);
            r = shmd_send(writer, bytes, n, timeout);
        }
        if (r < 0)
            return r;
        sent++;
    }
    return 0;
}

/* 1, 0 at the end, -errno. */
static int receive_one(int timeout)
{
    size_t n;
    int r;

    if (received % 3 == 1) { /* while it is written */
        const void *at;
        size_t there;

        do {
            r = shmd_peek_begun(reader, &at, &n, &there, timeout);
            while (r > 0 && there < n)
                r = shmd_peek_more(reader, &there, timeout);
        } while (r == -ECANCELED);
        if (r > 0) {
            memcpy(bytes, at, n < ROOM ? n : ROOM);
            if (shmd_release(reader) < 0)
                return 1;
            if (n > ROOM)
                return -EBADMSG;
        }
    } else if (received % 3 == 0) {
        const void *at;

        r = shmd_peek(reader, &at, &n, timeout);
        if (r > 0) {
            memcpy(bytes, at, n < ROOM ? n : ROOM);
            if (shmd_release(reader) < 0)
                return 1; /* it was overwritten, and counts as lost */
            if (n > ROOM)
                return -EBADMSG;
        }
    } else {
        r = shmd_recv(reader, bytes, ROOM, &n, timeout);
    }
    if (r <= 0)
        return r;
    r = check(bytes, n);
    if (r < 0) {
        fprintf(stderr, "message %llu of %zu bytes: %s, expected %llu\n",
                (unsigned long long)((struct head *)(void *)bytes)->number, n, strerror(-r),
                (unsigned long long)expected);
        return r;
    }
    took(bytes);
    return 1;
}

static int receive_some(uint64_t count, int timeout)
{
    int r = 1;

    for (uint64_t i = 0; i < count && r > 0; i++)
        r = receive_one(timeout);
    return r;
}

static int64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000ll + ts.tv_nsec / 1000;
}

static int obey(char *line)
{
    char command[32] = "", name[SHMD_NAME_SIZE] = "";
    long long a = 0, b = 0, c = 0, d = 0;
    struct shmd_member_options member = SHMD_MEMBER_INIT;
    int r;

    if (sscanf(line, "%31s %127s %lli %lli %lli %lli", command, name, &a, &b, &c, &d) < 1)
        return 0;
    if (strcmp(command, "create") == 0) { /* NAME FLAGS MAX MESSAGES MEMBERS */
        struct shmd_channel_options o = SHMD_CHANNEL_INIT;
        int mode;

        o.flags = (unsigned)a;
        o.max_message = (uint32_t)b;
        o.messages = (uint32_t)c;
        o.members = (uint32_t)d;
        if (sscanf(line, "%*s %*s %*i %*i %*i %*i %i", &mode) == 1)
            o.segment.mode = mode;
        return answer(shmd_channel_create(broker, name, &o, NULL, TIMEOUT), "created");
    }
    if (strcmp(command, "writer") == 0) { /* NAME FLAGS [FIRST] */
        member.flags = (unsigned)a;
        sent = (uint64_t)b;
        r = shmd_writer_open(&writer, broker, name, &member, TIMEOUT);
        if (r == 0 && b < 0) { /* go on where the last one came to */
            struct shmd_channel_status s;

            r = shmd_channel_stat(broker, name, &s, NULL, NULL, TIMEOUT);
            sent = s.sent;
        }
        return answer(r, "writer %llu", (unsigned long long)sent);
    }
    if (strcmp(command, "reader") == 0) { /* NAME FLAGS HISTORY MANY */
        member.flags = (unsigned)a;
        member.history = b;
        any = 1;
        many = (int)c;
        received = 0;
        return answer(shmd_reader_open(&reader, broker, name, &member, TIMEOUT), "reader");
    }

    /* The rest: COMMAND A B C, where `name` is A. */
    d = c, c = b, b = a, a = strtoll(name, NULL, 0);
    if (strcmp(command, "send") == 0) { /* COUNT SIZE TIMEOUT [MOST] */
        r = send_some((uint64_t)a, (size_t)b, (size_t)(d ? d : b), (int)c);
        return answer(r, "%llu", (unsigned long long)sent);
    }
    if (strcmp(command, "recv") == 0) { /* COUNT TIMEOUT: count, next number, lost */
        r = receive_some((uint64_t)a, (int)b);
        return answer(r, "%d %llu %llu %llu", r, (unsigned long long)received,
                      (unsigned long long)expected, (unsigned long long)shmd_lost(reader));
    }
    if (strcmp(command, "drain") == 0) { /* TIMEOUT: until there is no more, and say why */
        r = receive_some(UINT64_MAX, (int)a);
        printf("ok %d %llu %llu %llu %lld\n", r, (unsigned long long)received,
               (unsigned long long)expected, (unsigned long long)shmd_lost(reader),
               (long long)now_us());
        return 0;
    }
    if (strcmp(command, "stream") == 0) { /* SIZE MOST: until killed */
        puts("ok");
        r = send_some(UINT64_MAX, (size_t)a, (size_t)(b ? b : a), -1);
        return answer(r, "%llu", (unsigned long long)sent);
    }
    if (strcmp(command, "poll") == 0) { /* TIMEOUT, of the reader's descriptor or the writer's */
        struct pollfd p = {.events = POLLIN};

        p.fd = reader ? shmd_reader_fd(reader, TIMEOUT) : shmd_writer_fd(writer, TIMEOUT);
        return answer(p.fd, "%d", p.fd < 0 ? 0 : poll(&p, 1, (int)a));
    }
    if (strcmp(command, "cork") == 0) {
        a ? shmd_cork(writer) : shmd_uncork(writer);
        return answer(0, "corked");
    }
    if (strcmp(command, "close") == 0) {
        writer = shmd_writer_close(writer);
        reader = shmd_reader_close(reader);
        return answer(0, "closed");
    }
    if (strcmp(command, "await") == 0) /* NAME TIMEOUT: that it is created */
        return answer(shmd_open(broker, name, SHMD_WAIT, NULL, (int)b), "there");
    if (strcmp(command, "remove") == 0)
        return answer(shmd_remove(broker, name, NULL, TIMEOUT), "removed");
    if (strcmp(command, "stat") == 0) {
        struct shmd_channel_status s;

        r = shmd_channel_stat(broker, name, &s, NULL, NULL, TIMEOUT);
        return answer(r, "%u %u %u %u %llu %llu %llu", s.state, s.readers, s.writers, s.blind,
                      (unsigned long long)s.sent, (unsigned long long)s.received,
                      (unsigned long long)s.lost);
    }
    printf("error 22 what is %s?\n", command);
    return 0;
}

int main(int argc, char **argv)
{
    char line[512];

    setvbuf(stdout, NULL, _IOLBF, 0);
    self = (uint64_t)getpid();
    answer(shmd_connect(&broker, argc > 1 ? argv[1] : NULL, TIMEOUT), "connected");
    while (fgets(line, sizeof(line), stdin))
        obey(line);
    shmd_writer_close(writer);
    shmd_reader_close(reader);
    shmd_disconnect(broker);
    return 0;
}
