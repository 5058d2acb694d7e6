/* SPDX-License-Identifier: MIT */
/* shm_write: write messages into a shared memory segment that shmd brokers. */
#include <fcntl.h>
#include <string.h>

#include "log.h"
#include "session.h"
#include "util.h"
#include "streams.h"

/* Where the messages come from: a file, or one letter after the other. */
struct source {
    int fd; /* -1: letters */
    unsigned char *bytes;
};

static int source_open(struct source *from, const struct options *o)
{
    *from = (struct source){.fd = -1, .bytes = malloc(o->size)};
    if (!from->bytes) {
        log_error("no memory for a message of %u bytes", o->size);
        return EXIT_FAILED;
    }
    if (!o->file)
        return EXIT_OK;
    from->fd = strcmp(o->file, "-") == 0 ? STDIN_FILENO : open(o->file, O_RDONLY | O_CLOEXEC);
    if (from->fd < 0) {
        log_error("cannot open %s: %m", o->file);
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

/* The next message's length; 0 at the end; -errno. */
static int64_t source_next(struct source *from, const struct options *o, uint64_t number)
{
    uint32_t have = 0;

    if (from->fd < 0) {
        memset(from->bytes, 'A' + (int)(number % 26), o->size);
        return o->size;
    }
    while (have < o->size) {
        ssize_t n = read(from->fd, from->bytes + have, o->size - have);

        if (n == 0)
            break;
        if (n > 0)
            have += (uint32_t)n;
        else if (errno != EINTR)
            return -errno;
    }
    return have;
}

static int say_source(const struct options *o, int64_t error)
{
    log_error("cannot read %s: %s", o->file, strerror((int)-error));
    return EXIT_FAILED;
}

/* `length`: of the first message, which has been read already. */
static int write_messages(struct session *s, struct source *from, int64_t length)
{
    const struct options *o = &s->options;
    uint64_t number = 0;

    for (; !o->count || number < o->count; number++) {
        if (number > 0)
            length = source_next(from, o, number);
        if (length < 0)
            return say_source(o, length);
        if (length == 0)
            break;

        int r = shmd_send(s->writer, from->bytes, (size_t)length, o->timeout_ms);

        if (r < 0)
            return session_explain(s, r, "waiting for a reader");
        printf("Writing Process: Shared Memory Write: Wrote %lld bytes\n", (long long)length);
        if (session_flush() != EXIT_OK)
            return EXIT_FAILED;
    }
    printf("Writing Process: Wrote %llu times\n", (unsigned long long)number);
    return session_flush();
}

static int run(struct session *s, struct source *from)
{
    int code = source_open(from, &s->options);
    /* Before there is a channel: a source that cannot be read shall leave none behind. */
    int64_t first = code == EXIT_OK ? source_next(from, &s->options, 0) : 0;

    if (first < 0)
        code = say_source(&s->options, first);
    if (code == EXIT_OK)
        code = session_connect(s);
    if (code == EXIT_OK)
        code = session_open_writer(s);
    if (code == EXIT_OK)
        code = write_messages(s, from, first);
    if (s->writer && code != EXIT_OK)
        return code; /* without closing: readers shall not take it for the end of the messages */
    if (code == EXIT_OK && !s->options.keep)
        code = session_remove_if_over(s);
    session_close(s);
    if (code != EXIT_OK)
        return code;
    printf("Writing Process: Complete\n");
    return session_flush();
}

int main(int argc, char **argv)
{
    static struct session s; /* what is not closed is not lost either */
    struct source from = {.fd = -1};
    int code;

    streams_occupy();
    log_open("shm_write");
    if (options_parse(&s.options, "shm_write", true, argc, argv, &code))
        code = run(&s, &from);
    if (from.fd > STDERR_FILENO)
        close(from.fd);
    free(from.bytes);
    return code;
}
