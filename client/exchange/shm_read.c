/* SPDX-License-Identifier: MIT */
/* shm_read: print the messages that shm_write writes, then remove the segment. */
#include <string.h>

#include "log.h"
#include "session.h"
#include "util.h"
#include "streams.h"

static int print_message(const void *bytes, size_t length)
{
    fputs("segment contains : \n\"", stdout);
    fwrite(bytes, 1, length, stdout);
    printf("\"\nReading Process: Shared Memory: Read %zu bytes\n", length);
    return session_flush();
}

static int say_died(struct session *s, uint64_t printed)
{
    unsigned long long n = session_look(s) == 0 ? s->status.sent : printed;

    log_error("the writer of %s died after %llu message%s", s->segment.name, n, n == 1 ? "" : "s");
    return EXIT_FAILED;
}

/* Print all there is. EXIT_OK; *over: by the end, or the writer's death, not by --count. */
static int read_messages(struct session *s, bool *over)
{
    const struct options *o = &s->options;

    for (uint64_t number = 0; !o->count || number < o->count; number++) {
        const void *bytes;
        size_t length;
        int r = shmd_peek(s->reader, &bytes, &length, o->timeout_ms);

        if (r == 0 || r == -EOWNERDEAD)
            *over = true;
        if (r == 0)
            return EXIT_OK;
        if (r == -EOWNERDEAD)
            return say_died(s, number);
        if (r < 0)
            return session_explain(s, r, "waiting for a message");
        if (print_message(bytes, length) != EXIT_OK)
            return EXIT_FAILED;
        shmd_release(s->reader); /* printed and flushed: from now on it counts as read */
    }
    return EXIT_OK;
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
    if (over && !s->options.keep)
        end = session_remove(s);
    else if (code == EXIT_OK && !s->options.keep)
        end = session_remove_if_over(s);
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
