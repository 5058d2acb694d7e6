/* SPDX-License-Identifier: MIT */
/*
 * sub: a channel's messages to standard output. Whatever is printed is flushed before it waits for
 * more, so that a pipe is never behind.
 */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "parse.h"
#include "sub_output.h"

#define FLUSH_FROM ((size_t)64 << 10) /* even while more is there */

struct sub {
    struct ctl *ctl;
    const char *name;
    struct shmd_member_options options;
    bool wait, follow, visible;
    uint64_t count;
    struct shmd_reader *reader;
    struct output output;
    int signals, fd;
    unsigned char *message;
    size_t most;
    uint64_t received, lost;
    uint64_t untold; /* of the lost ones */
    int64_t tell_at;
    int64_t until; /* it waits for the message to come; 0: it does not wait */
};

static int output_code(struct sub *b, int r)
{
    return r == -EPIPE ? CHANNEL_STOP : channel_code(b->ctl, "standard output", r);
}

/* The descriptor may be ready for nothing, often where there is no shmd: the time goes on. */
static int wait_for_more(struct sub *b)
{
    int r;

    if (b->until == 0)
        b->until = channel_until(b->ctl);
    r = channel_wait_until(b->signals, b->fd, b->until);
    if (r == -ETIMEDOUT) {
        log_error("sub: %s: no message came in time", b->name);
        return CTL_TIMED_OUT;
    }
    return channel_code(b->ctl, "poll", r);
}

/* Once a second at most: telling of it must not lose more. */
static void tell_lost(struct sub *b, bool now)
{
    int64_t when;

    if (!b->untold || ((when = clock_ns(CLOCK_MONOTONIC)) < b->tell_at && !now))
        return;
    log_warning("sub: %s: %llu messages were lost", b->name, (unsigned long long)b->untold);
    b->untold = 0;
    b->tell_at = when + NS_PER_SECOND;
}

static int print(struct sub *b, size_t n)
{
    uint64_t all = shmd_lost(b->reader), lost = all - b->lost;
    struct output *o = &b->output;
    int r;

    b->lost = all;
    b->until = 0;
    b->received++;
    b->untold += lost;
    tell_lost(b, false);
    if (b->ctl->json)
        r = output_json(o, b->received + all, b->message, n, lost);
    else
        r = b->visible ? output_visible(o, b->message, n) : output_put(o, b->message, n);
    if (r == 0 && !b->ctl->raw && !b->ctl->json)
        r = output_put(o, "\n", 1);
    if (r == 0 && o->used >= FLUSH_FROM)
        r = output_flush(o);
    return output_code(b, r);
}

/* Its end, or its death: the exit code, or CTL_DONE to go on. */
static int writer_left(struct sub *b, int r)
{
    if (r == -EOWNERDEAD && b->follow)
        log_warning("sub: %s: the writer died", b->name);
    if (b->follow)
        return CTL_DONE;
    if (r == 0)
        return CHANNEL_STOP;
    log_error("sub: %s: the writer died", b->name);
    return CTL_WRITER_DIED;
}

static int receive(struct sub *b)
{
    for (;;) {
        size_t n = 0;
        int code, r = shmd_recv(b->reader, b->message, b->most, &n, 0);

        if (r > 0)
            code = print(b, n);
        else if (r == 0 || r == -EOWNERDEAD)
            code = writer_left(b, r);
        else if (r == -ETIMEDOUT && b->output.used)
            code = output_code(b, output_flush(&b->output));
        else
            code = r == -ETIMEDOUT ? wait_for_more(b) : channel_fail(b->ctl, b->name, r);
        if (code != CTL_DONE)
            return code;
        if (b->count && b->received == b->count)
            return CHANNEL_STOP;
    }
}

static int subscribe(struct sub *b)
{
    struct shmd_channel_status st;
    int r = shmd_channel_stat(b->ctl->shmd, b->name, &st, NULL, NULL, b->ctl->timeout_ms);

    if (r == 0)
        r = b->fd = shmd_reader_fd(b->reader, b->ctl->timeout_ms);
    if (r < 0)
        return channel_fail(b->ctl, b->name, r);

    _cleanup_free_ unsigned char *message = malloc(MAX(st.options.max_message, 1u));

    if (!message)
        return ctl_fail_errno(b->ctl, NULL, -ENOMEM);
    b->message = message;
    b->most = st.options.max_message;
    output_open(&b->output, b->signals);

    int code = receive(b), last = output_code(b, output_flush(&b->output));

    output_close(&b->output);
    tell_lost(b, true);
    if (code == CHANNEL_STOP)
        code = CTL_DONE;
    return code == CTL_DONE && last != CHANNEL_STOP ? last : code;
}

static int run(struct sub *b)
{
    int code = ctl_connect(b->ctl);

    if (code)
        return code;
    if (b->wait)
        b->options.flags |= SHMD_MEMBER_WAIT;

    int r = shmd_reader_open(&b->reader, b->ctl->shmd, b->name, &b->options,
                             b->wait && !b->ctl->timeout_given ? -1 : b->ctl->timeout_ms);

    if (r < 0)
        return channel_fail(b->ctl, b->name, r);

    _cleanup_close_ int signals = channel_signals();

    b->signals = signals;
    signal(SIGPIPE, SIG_IGN);
    code = signals < 0 ? ctl_fail_errno(b->ctl, "signalfd", signals) : subscribe(b);
    b->reader = shmd_reader_close(b->reader);
    return code;
}

enum { SUB_COUNT = OPTION_LONG, SUB_HISTORY, SUB_TAG, SUB_TYPE_VERSION };

static const struct ctl_option sub_options[] = {
    {"count", SUB_COUNT, "N", "end after so many messages"},
    {"history", SUB_HISTORY, "N", "begin with so many of the kept messages, all or none (all)"},
    {"follow", 'f', NULL, "go on behind the end and the writer's death with the next writer"},
    {"wait", 'w', NULL, "wait until the channel is created"},
    {"json", 'J', NULL, "print a JSON object a message"},
    {"raw", 'r', NULL, "print the bytes of messages only, without newlines"},
    {"tag", SUB_TAG, "TAG", "fail unless the messages are of this type"},
    {"type-version", SUB_TYPE_VERSION, "N", "and version"},
    {0},
};

static int64_t arg_history(const struct ctl *ctl)
{
    uint64_t v;

    if (strcmp(optarg, "all") == 0)
        return -1;
    if (strcmp(optarg, "none") == 0)
        return 0;
    if (parse_u64(optarg, INT64_MAX, &v) < 0)
        ctl_usage(ctl, "--history: '%s' is not a number, all or none", optarg);
    return (int64_t)v;
}

static int run_sub(struct ctl *ctl, int argc, char **argv)
{
    struct sub b = {.ctl = ctl, .options = SHMD_MEMBER_INIT};
    int c;

    while ((c = ctl_getopt(ctl, argc, argv)) != -1) {
        switch (c) {
        case SUB_COUNT:
            b.count = arg_count(ctl, "count");
            break;
        case SUB_HISTORY:
            b.options.history = arg_history(ctl);
            break;
        case SUB_TAG:
            b.options.tag = optarg;
            break;
        case SUB_TYPE_VERSION:
            b.options.version = arg_count(ctl, "type-version");
            break;
        case 'f':
            b.follow = true;
            break;
        case 'w':
            b.wait = true;
            break;
        }
    }
    if (ctl->json && ctl->raw)
        ctl_usage(ctl, "--json and --raw do not go together");
    if (b.options.version && !b.options.tag)
        ctl_usage(ctl, "--type-version needs --tag");
    b.visible = !ctl->raw && isatty(STDOUT_FILENO) == 1;
    b.name = argv[optind];
    return run(&b);
}

const struct command command_sub = {
    .name = "sub",
    .synopsis = "NAME [--count N] [--history N|all|none] [--follow] [--wait] [--json | --raw]\n"
                "       [--tag TAG [--type-version N]]",
    .help = "Print a channel's messages, a line a message",
    .details =
        "Ends with status 0 at the writer's end, after --count messages, at SIGINT and SIGTERM\n"
        "and when its output is closed; with 7 when the writer died; with 6 when no message came\n"
        "for the time of --timeout. Without that, and with --wait, it waits for ever.",
    .options = sub_options,
    .operands_min = 1,
    .operands_max = 1,
    .json_lines = true,
    .raw_lines = true,
    .run = run_sub,
};
