/* SPDX-License-Identifier: MIT */
/*
 * A writer and a reader of a channel in libevent's loop. Each has one event, on the descriptor that
 * shmd_writer_fd() or shmd_reader_fd() gave, and one rule:
 *
 *     call with a time limit of 0 until that says -ETIMEDOUT, then go back to the loop.
 *
 * The first such call also arms the descriptor, so it is made before the loop is entered.
 *
 *     cc channel-event.c $(pkg-config --cflags --libs libshmd libevent) -o channel-event
 *     ./channel-event write NAME COUNT & ./channel-event read NAME COUNT
 */
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <shmd-channel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 5000
#define BATCH 64 /* messages until others in the loop get their turn */

struct side {
    struct event_base *base;
    struct event *event;
    struct shmd *shmd;
    struct shmd_writer *writer;
    struct shmd_reader *reader;
    uint64_t count, done, wakes;
    int failed;
};

static void fail(struct side *s, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, shmd_error(s->shmd));
    s->failed = 1;
    event_base_loopbreak(s->base);
}

/* 1: go on; 0: nothing now; -1: no more. */
static int write_one(struct side *s)
{
    int r;

    if (s->done == s->count)
        return -1;
    r = shmd_send(s->writer, &s->done, sizeof(s->done), 0);
    if (r == -ETIMEDOUT)
        return 0; /* full: the descriptor will tell when there is room */
    if (r < 0) {
        fail(s, "send");
        return -1;
    }
    s->done++;
    return 1;
}

static int read_one(struct side *s)
{
    uint64_t number;
    size_t length;
    int r = shmd_recv(s->reader, &number, sizeof(number), &length, 0);

    if (r == -ETIMEDOUT)
        return 0; /* empty: the descriptor will tell of the next message, end or death */
    if (r == -EOWNERDEAD)
        return 1; /* a new writer may come; calling again arms the descriptor for it */
    if (r < 0) {
        fail(s, "recv");
        return -1;
    }
    if (r == 0)
        return -1; /* the writer has closed */
    if (length != sizeof(number) || number != s->done) {
        fprintf(stderr, "message %" PRIu64 " is not what was sent\n", s->done);
        s->failed = 1;
        return -1;
    }
    s->done++;
    return 1;
}

static void work(evutil_socket_t fd, short what, void *data)
{
    struct side *s = (struct side *)data;
    int r = 1;

    (void)fd;
    s->wakes += what != 0;
    for (int i = 0; i < BATCH && r > 0; i++)
        r = s->writer ? write_one(s) : read_one(s);
    if (r < 0)
        event_base_loopbreak(s->base);
    else if (r > 0) /* more to do: behind whatever else is ready */
        event_active(s->event, 0, 0);
}

static int open_side(struct side *s, const char *role, const char *name)
{
    struct shmd_channel_options channel = SHMD_CHANNEL_INIT;
    struct shmd_member_options member = SHMD_MEMBER_INIT;
    int r;

    channel.max_message = sizeof(uint64_t);
    channel.flags = SHMD_HOLD;
    member.flags = SHMD_MEMBER_WAIT;
    r = shmd_connect(&s->shmd, NULL, CONNECT_MS);
    if (r == 0)
        r = shmd_channel_create(s->shmd, name, &channel, NULL, CONNECT_MS);
    if (r == 0 && strcmp(role, "write") == 0)
        r = shmd_writer_open(&s->writer, s->shmd, name, &member, CONNECT_MS);
    else if (r == 0)
        r = shmd_reader_open(&s->reader, s->shmd, name, &member, CONNECT_MS);
    if (r == 0)
        r = s->writer ? shmd_writer_fd(s->writer, CONNECT_MS)
                      : shmd_reader_fd(s->reader, CONNECT_MS);
    return r;
}

int main(int argc, char **argv)
{
    struct side s;
    int fd;

    if (argc != 4) {
        fprintf(stderr, "usage: %s write|read NAME COUNT\n", argv[0]);
        return 2;
    }
    memset(&s, 0, sizeof(s));
    s.count = strtoull(argv[3], NULL, 10);
    fd = open_side(&s, argv[1], argv[2]);
    if (fd < 0) {
        fprintf(stderr, "%s: %s\n", argv[2], shmd_error(s.shmd));
        shmd_disconnect(s.shmd);
        return 1;
    }
    puts("open");
    fflush(stdout);
    s.base = event_base_new();
    s.event = event_new(s.base, fd, EV_READ | EV_PERSIST, work, &s); /* EV_READ, of a writer too */
    event_add(s.event, NULL);
    event_active(s.event, 0, 0); /* the first call */
    event_base_dispatch(s.base);
    event_free(s.event); /* before the descriptor goes with its owner */
    event_base_free(s.base);
    shmd_writer_close(s.writer);
    shmd_reader_close(s.reader);
    shmd_disconnect(s.shmd);
    printf("%" PRIu64 " messages, %" PRIu64 " wake-ups\n", s.done, s.wakes);
    return s.failed || s.done != s.count;
}
