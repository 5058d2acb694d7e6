/* SPDX-License-Identifier: MIT */
/* shm_read: print the messages that shm_write writes, then remove the segment. */
#include <string.h>

#include "log.h"
#include "session.h"
#include "util.h"
#include "streams.h"

static int print_message(const void *bytes, uint32_t length)
{
    fputs("segment contains : \n\"", stdout);
    fwrite(bytes, 1, length, stdout);
    printf("\"\nReading Process: Shared Memory: Read %u bytes\n", length);
    return session_flush();
}

/* Print all there is. EXIT_OK; *over: by the end, or the writer's death, not by --count. */
static int read_messages(struct session *s, bool *over)
{
    const struct options *o = &s->options;
    struct channel *c = &s->channel;
    _cleanup_free_ char *bytes = malloc(c->slot_size);

    *over = false;
    if (!bytes) {
        log_error("no memory for a message of %u bytes", c->slot_size);
        return EXIT_FAILED;
    }
    for (uint64_t number = 0; !o->count || number < o->count; number++) {
        uint32_t length;
        int r = channel_peek(c, bytes, &length, deadline_in(o->timeout_ms));

        if (r == 0 || r == -EOWNERDEAD)
            *over = true;
        if (r == 0)
            return EXIT_OK;
        if (r == -EOWNERDEAD) {
            bool died = atomic_load(&c->header->writer) & FUTEX_OWNER_DIED;

            log_error("the writer of %s %s after %u message%s", s->at.segment.name,
                      died ? "died" : "gave up", c->cursor, c->cursor == 1 ? "" : "s");
            return EXIT_FAILED;
        }
        if (r < 0)
            return session_explain(s, r, "waiting for a message");
        if (print_message(bytes, length) != EXIT_OK)
            return EXIT_FAILED;
        channel_take(c);
    }
    return EXIT_OK;
}

/* The channel is over: nobody else may take its end. */
static int end_channel(struct session *s)
{
    channel_step(&s->channel, CHANNEL_CLOSED, CHANNEL_DONE);
    channel_step(&s->channel, CHANNEL_READY, CHANNEL_DROPPED);
    return s->options.keep ? EXIT_OK : session_remove(s);
}

static int run(struct session *s)
{
    bool over = false;
    int code = session_connect(s), end = EXIT_OK;

    if (code == EXIT_OK)
        code = session_open_reader(s);
    if (code == EXIT_OK)
        code = read_messages(s, &over);
    if (code == EXIT_OK) {
        puts("Reading Process: Reading Done, Detaching Shared Memory");
        code = session_flush();
    }
    if (over)
        end = end_channel(s);
    else if (code == EXIT_OK && channel_leave(&s->channel, s->options.keep))
        end = session_remove(s);
    session_close(s);
    if (code != EXIT_OK || end != EXIT_OK)
        return code != EXIT_OK ? code : end;
    puts("Reading Process: Complete");
    return session_flush();
}

int main(int argc, char **argv)
{
    struct session s = {0};
    int code;

    streams_occupy();
    log_open("shm_read");
    if (options_parse(&s.options, "shm_read", false, argc, argv, &code))
        code = run(&s);
    return code;
}
