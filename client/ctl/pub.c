/* SPDX-License-Identifier: MIT */
/*
 * pub: standard input into a channel. Messages that are there already go out in batches; before it
 * waits for anything, all that was sent is shown to the readers.
 */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "pub_input.h"
#include "pub_open.h"

#define BATCH 16
#define LATE (NS_PER_SECOND / 10) /* behind this, --rate begins anew instead of catching up */

struct pub {
    struct ctl *ctl;
    const char *name;
    struct pub_channel channel;
    bool shaped; /* an option beside its messages' type says what it is to be like */
    bool pattern;
    uint64_t size, count, rate;
    struct shmd_writer *writer;
    struct input input;
    char *text; /* of a test message */
    int signals, fd;
    uint64_t sent, bytes, waits;
    int64_t began, due; /* of the first message; of message number `paced` the time is due */
    uint64_t paced;
    unsigned batch;
};

static void show(struct pub *p)
{
    shmd_uncork(p->writer);
    p->batch = 0;
}

/* The times are counted from a beginning, so that no error adds up. */
static int pace(struct pub *p)
{
    int64_t now = clock_ns(CLOCK_MONOTONIC);

    if (p->paced == 0)
        p->due = now;

    int64_t at = p->due + (int64_t)((double)p->paced * (double)NS_PER_SECOND / (double)p->rate);

    if (now - at > LATE) {
        p->due = at = now;
        p->paced = 0;
    }
    p->paced++;
    if (at <= now)
        return CTL_DONE;
    show(p);

    int r = channel_wait(p->signals, -1, 0, at - now);

    return r == -ETIMEDOUT ? CTL_DONE : channel_code(p->ctl, "poll", r);
}

/* The descriptor may be ready for nothing, often where there is no shmd: the time goes on. */
static int wait_for_room(struct pub *p, int64_t until)
{
    int r = channel_wait_until(p->signals, p->fd, until);

    if (r == -ETIMEDOUT) {
        log_error("pub: %s: its readers have made no room in time", p->name);
        return CTL_TIMED_OUT;
    }
    return channel_code(p->ctl, "poll", r);
}

static int send_one(struct pub *p, const char *message, size_t length)
{
    int code = p->rate ? pace(p) : CTL_DONE;
    int64_t until = 0;

    if (code != CTL_DONE)
        return code;
    if (p->batch == 0)
        shmd_cork(p->writer);
    for (;;) {
        int r = shmd_send(p->writer, message, length, 0);

        if (r == 0)
            break;
        if (r != -ETIMEDOUT)
            return channel_fail(p->ctl, p->name, r);
        show(p);
        if (until == 0) {
            p->waits++;
            until = channel_until(p->ctl);
        }
        code = wait_for_room(p, until);
        if (code != CTL_DONE)
            return code;
        shmd_cork(p->writer);
    }
    p->sent++;
    p->bytes += length;
    if (++p->batch == BATCH)
        show(p);
    return p->count && p->sent == p->count ? CHANNEL_STOP : CTL_DONE;
}

static int send_input(struct pub *p)
{
    for (;;) {
        const char *message;
        size_t length;
        int code, r;

        while ((r = input_next(&p->input, &message, &length)) > 0)
            if ((code = send_one(p, message, length)) != CTL_DONE)
                return code;
        show(p);
        if (r < 0) {
            log_error("pub: %s: message %llu is longer than the %zu bytes that the channel carries",
                      p->name, (unsigned long long)p->sent + 1, p->input.most);
            return CTL_FAILED;
        }
        if (p->input.ended)
            return CTL_DONE;
        code = channel_code(p->ctl, "poll", channel_wait_until(p->signals, STDIN_FILENO, -1));
        if (code != CTL_DONE)
            return code;
        if ((r = input_read(&p->input)) < 0)
            return ctl_fail_errno(p->ctl, "standard input", r);
    }
}

/* Numbered texts, of --size bytes where that is given. */
static int send_pattern(struct pub *p)
{
    char number[48];
    int code = CTL_DONE;

    while (code == CTL_DONE) {
        size_t n = (size_t)snprintf(number, sizeof(number), "message %llu",
                                    (unsigned long long)p->sent + 1);
        size_t length = p->size ? p->size : n;

        memset(p->text, '.', length);
        memcpy(p->text, number, MIN(n, length));
        code = send_one(p, p->text, length);
        if (code == CTL_DONE && p->sent % 1024 == 0 &&
            channel_wait(p->signals, -1, 0, 0) == CHANNEL_STOPPED)
            code = CHANNEL_STOP;
    }
    return code;
}

static int publish(struct pub *p)
{
    struct shmd_channel_status st;
    int r = shmd_channel_stat(p->ctl->shmd, p->name, &st, NULL, NULL, p->ctl->timeout_ms);

    if (r == 0)
        r = p->fd = shmd_writer_fd(p->writer, p->ctl->timeout_ms);
    if (r < 0)
        return channel_fail(p->ctl, p->name, r);
    if (p->size > st.options.max_message) {
        log_error("pub: %s: --size is more than the %u bytes that the channel carries", p->name,
                  st.options.max_message);
        return CTL_FAILED;
    }
    p->began = clock_ns(CLOCK_MONOTONIC);
    if (p->pattern) {
        _cleanup_free_ char *text = malloc(MAX(p->size, (uint64_t)64));

        p->text = text;
        return text ? send_pattern(p) : ctl_fail_errno(p->ctl, NULL, -ENOMEM);
    }
    if ((r = input_open(&p->input, p->size, st.options.max_message)) < 0)
        return ctl_fail_errno(p->ctl, NULL, r);

    int code = send_input(p);

    input_close(&p->input);
    return code;
}

static int summary(const struct pub *p, int code)
{
    double seconds = (double)(clock_ns(CLOCK_MONOTONIC) - p->began) / (double)NS_PER_SECOND;

    if (p->ctl->json)
        printf("{\"messages\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"waits\": %llu}\n",
               (unsigned long long)p->sent, (unsigned long long)p->bytes, seconds,
               (unsigned long long)p->waits);
    return code;
}

static int run(struct pub *p)
{
    int code = ctl_connect(p->ctl);

    if (code)
        return code;

    _cleanup_close_ int signals = channel_signals();

    if (signals < 0)
        return ctl_fail_errno(p->ctl, "signalfd", signals);
    p->signals = signals;

    code = pub_open(p->ctl, p->name, &p->channel, &p->writer);
    if (code != CTL_DONE)
        return code;
    code = publish(p);
    shmd_uncork(p->writer);
    p->writer = shmd_writer_close(p->writer);
    return p->began ? summary(p, code == CHANNEL_STOP ? CTL_DONE : code) : code;
}

enum {
    PUB_SIZE = OPTION_LONG, PUB_COUNT, PUB_RATE, PUB_PATTERN, PUB_NO_CREATE, PUB_BROADCAST,
    PUB_MANY, PUB_HOLD, PUB_MESSAGES, PUB_MAX_MESSAGE, PUB_TAG, PUB_TYPE_VERSION,
};

static const struct ctl_option pub_options[] = {
    {"size", PUB_SIZE, "SIZE", "messages are blocks of so many bytes (default: lines)"},
    {"count", PUB_COUNT, "N", "end after so many messages"},
    {"rate", PUB_RATE, "N", "at most so many messages a second"},
    {"pattern", PUB_PATTERN, NULL, "send test messages; also where standard input is a terminal"},
    {"wait", 'w', NULL, "for another writer to end, or with --no-create for the channel"},
    {"json", 'J', NULL, "print a summary at the end, as JSON"},
    {"no-create", PUB_NO_CREATE, NULL, "fail where there is no such channel"},
    {"broadcast", PUB_BROADCAST, NULL, "do not wait for slow readers: they lose messages"},
    {"many", PUB_MANY, NULL, "the channel has many writers at a time"},
    {"hold", PUB_HOLD, NULL, "wait for a reader rather than overwrite what none has taken"},
    {"messages", PUB_MESSAGES, "N", "room for so many of the longest messages (default: 128)"},
    {"max-message", PUB_MAX_MESSAGE, "SIZE", "the longest message (default: 4K)"},
    {"tag", PUB_TAG, "TAG", "name of the messages' type, which readers may ask for"},
    {"type-version", PUB_TYPE_VERSION, "N", "and its version"},
    CREATE_OPTIONS,
    {0},
};

static bool channel_option(struct pub *p, int c)
{
    const struct ctl *ctl = p->ctl;
    struct shmd_channel_options *o = &p->channel.options;
    uint64_t most;

    switch (c) {
    case PUB_BROADCAST:
        o->flags |= SHMD_BROADCAST;
        break;
    case PUB_MANY:
        o->flags |= SHMD_WRITERS_MANY;
        break;
    case PUB_HOLD:
        o->flags |= SHMD_HOLD;
        break;
    case PUB_MESSAGES:
        o->messages = arg_count(ctl, "messages");
        break;
    case PUB_MAX_MESSAGE:
        most = arg_size(ctl, "max-message");
        if (most < 1 || most > 512u << 20)
            ctl_usage(ctl, "--max-message is from 1 to 512M");
        o->max_message = (uint32_t)most;
        break;
    case PUB_TAG:
        if (!*optarg || strlen(optarg) >= sizeof(o->tag))
            ctl_usage(ctl, "--tag has 1 to %zu characters", sizeof(o->tag) - 1);
        snprintf(o->tag, sizeof(o->tag), "%s", optarg);
        break;
    case PUB_TYPE_VERSION:
        o->version = arg_count(ctl, "type-version");
        break;
    default:
        return create_option(ctl, c, &o->segment, &p->channel.given);
    }
    p->channel.described = true;
    p->shaped |= c != PUB_TAG && c != PUB_TYPE_VERSION;
    return true;
}

static void own_option(struct pub *p, int c)
{
    switch (c) {
    case PUB_SIZE:
        p->size = arg_size(p->ctl, "size");
        if (p->size < 1 || p->size > 512u << 20)
            ctl_usage(p->ctl, "--size is from 1 to 512M");
        break;
    case PUB_COUNT:
        p->count = arg_count(p->ctl, "count");
        break;
    case PUB_RATE:
        p->rate = arg_count(p->ctl, "rate");
        break;
    case PUB_PATTERN:
        p->pattern = true;
        break;
    case PUB_NO_CREATE:
        p->channel.no_create = true;
        break;
    case 'w':
        p->channel.wait = true;
        break;
    }
}

static int run_pub(struct ctl *ctl, int argc, char **argv)
{
    struct pub p = {.ctl = ctl, .channel.options = SHMD_CHANNEL_INIT};
    const struct pub_channel *ch = &p.channel;
    int c;

    while ((c = ctl_getopt(ctl, argc, argv)) != -1)
        if (!channel_option(&p, c))
            own_option(&p, c);
    create_options_check(ctl, &p.channel.options.segment, &ch->given);
    if (ch->no_create && (ch->given.any || p.shaped))
        ctl_usage(ctl, "--no-create leaves nothing to say about a new channel");
    if (ch->options.version && !*ch->options.tag)
        ctl_usage(ctl, "--type-version needs --tag");
    p.pattern |= isatty(STDIN_FILENO) == 1;
    p.name = argv[optind];
    return run(&p);
}

const struct command command_pub = {
    .name = "pub",
    .synopsis = "NAME [--size SIZE] [--count N] [--rate N] [--pattern] [--wait] [--json]\n"
                "       [--no-create | options of a new channel] < FILE",
    .help = "Send standard input to a channel, a line a message",
    .details =
        "Creates the channel if it is not there. At the end of the input, after --count messages\n"
        "and at SIGINT and SIGTERM the readers get all that was sent and then the end. --timeout\n"
        "is also the longest wait for room; without it, and with --wait, it waits for ever.",
    .options = pub_options,
    .operands_min = 1,
    .operands_max = 1,
    .json_lines = true,
    .run = run_pub,
};
