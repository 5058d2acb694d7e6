/* SPDX-License-Identifier: MIT */
/* top: what goes through channels, measured a round at a time. */
#include "top.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "channel.h"
#include "parse.h"

static const struct column top_columns[] = {
    [TOP_NAME] = {"NAME", COLUMN_TEXT, true, "full name"},
    [TOP_OWNER] = {"OWNER", COLUMN_TEXT, true, "owner"},
    [TOP_SIZE] = {"SIZE", COLUMN_SIZE, true, "size asked for at creation"},
    [TOP_NATTCH] = {"NATTCH", COLUMN_NUMBER, true, "attachments, shmd's own among them"},
    [TOP_LEASES] = {"LEASES", COLUMN_NUMBER, true, "attachments announced to the broker"},
    [TOP_MSGRATE] = {"MSGRATE", COLUMN_NUMBER, true, "messages a second"},
    [TOP_BYTERATE] = {"BYTERATE", COLUMN_SIZE, true, "bytes a second"},
    [TOP_LOSTRATE] = {"LOSTRATE", COLUMN_NUMBER, true, "messages lost a second"},
    [TOP_READERS] = {"READERS", COLUMN_NUMBER, true, "readers"},
    [TOP_WRITERS] = {"WRITERS", COLUMN_NUMBER, true, "writers"},
    [TOP_WAITING] = {"WAITING", COLUMN_TEXT, true, "who sleeps: readers, writers, both or none"},
    [TOP_COUNT] = {0},
};

static void print_row(struct table *t, const struct top_row *r)
{
    static const char *const waiting[] = {"none", "readers", "writers", "both"};

    table_line(t);
    table_text(t, TOP_NAME, "%s", r->status.segment.name);
    table_user(t, TOP_OWNER, r->status.uid);
    table_size(t, TOP_SIZE, r->status.segment.size);
    table_number(t, TOP_NATTCH, r->status.nattch);
    table_number(t, TOP_LEASES, r->status.leases);
    if (!r->is_channel)
        return;
    if (r->measured) {
        table_number(t, TOP_MSGRATE, (uint64_t)(r->rate[0] + 0.5));
        table_size(t, TOP_BYTERATE, (uint64_t)(r->rate[1] + 0.5));
        table_number(t, TOP_LOSTRATE, (uint64_t)(r->rate[2] + 0.5));
    }
    table_number(t, TOP_READERS, (uint64_t)r->channel.readers + r->channel.blind);
    table_number(t, TOP_WRITERS, r->channel.writers);
    table_text(t, TOP_WAITING, "%s", waiting[r->channel.waiting & 3]);
}

static int print_round(struct top *t)
{
    struct table table;

    table_init(&table, t->ctl, "top");
    for (size_t i = 0; i < t->n; i++)
        print_row(&table, &t->rows[i]);

    int code = t->ctl->json ? table_print_line(&table) : table_print(&table, false);

    if (code == CTL_DONE && fflush(stdout) != 0)
        code = ctl_fail_errno(t->ctl, "standard output", -errno);
    return code;
}

/* A rate needs two looks: the first one shows nothing. */
static int print_rounds(struct top *t)
{
    for (uint64_t round = 0;; round++) {
        int r = top_look(t);
        int code = r < 0 ? ctl_fail(t->ctl, NULL, r) : CTL_DONE;

        if (code == CTL_DONE && round > 0)
            code = print_round(t);
        if (code != CTL_DONE || (t->count && round == t->count))
            return code;
        r = channel_wait(t->signals, -1, 0, t->delay);
        if (r == CHANNEL_STOPPED)
            return CTL_DONE;
        if (r != -ETIMEDOUT)
            return ctl_fail_errno(t->ctl, "poll", r);
    }
}

static unsigned arg_sort(const struct ctl *ctl)
{
    for (unsigned i = 0; i < TOP_COUNT; i++)
        if (strcasecmp(top_columns[i].name, optarg) == 0)
            return i;
    ctl_usage(ctl, "--sort: '%s' is not a column", optarg);
}

static int64_t arg_delay(const struct ctl *ctl)
{
    int ms;

    if (parse_timeout(optarg, &ms) < 0 || ms <= 0)
        ctl_usage(ctl, "--delay: '%s' is not a number of seconds", optarg);
    return ms * (NS_PER_SECOND / 1000);
}

/* Without a slash it is of one's own namespace. */
static void set_pattern(struct top *t, const char *pattern)
{
    bool full = strchr(pattern, '/');

    snprintf(t->pattern, sizeof(t->pattern), "%s%s%s", full ? "" : shmd_namespace(t->ctl->shmd),
             full ? "" : "/", pattern);
}

enum { TOP_SORT = OPTION_LONG, TOP_ROUNDS };

static const struct ctl_option top_options[] = {
    {"sort", TOP_SORT, "COLUMN", "the largest of this column first (default: MSGRATE)"},
    {"delay", 'd', "SECONDS", "between two rounds (default: 1)"},
    {"count", TOP_ROUNDS, "N", "end after so many rounds"},
    {0},
};

static int run_top(struct ctl *ctl, int argc, char **argv)
{
    struct top t = {.ctl = ctl, .sort = TOP_MSGRATE, .delay = NS_PER_SECOND};
    int c;

    while ((c = ctl_getopt(ctl, argc, argv)) != -1) {
        if (c == TOP_SORT)
            t.sort = arg_sort(ctl);
        else if (c == 'd')
            t.delay = arg_delay(ctl);
        else
            t.count = arg_count(ctl, "count");
    }

    const char *pattern = argv[optind];
    int code = ctl_connect(ctl);

    if (code)
        return code;
    if (pattern)
        set_pattern(&t, pattern);

    _cleanup_close_ int signals = channel_signals();

    t.signals = signals;
    if (signals < 0)
        return ctl_fail_errno(ctl, "signalfd", signals);

    bool screen = !ctl->table_option && isatty(STDOUT_FILENO) == 1 && isatty(STDIN_FILENO) == 1;

    code = screen ? top_screen(&t) : -ENOTTY;
    if (code < 0)
        code = print_rounds(&t);
    free(t.rows);
    free(t.before);
    return code;
}

const struct command command_top = {
    .name = "top",
    .synopsis = "[PATTERN] [--sort COLUMN] [--delay SECONDS] [--count N]",
    .help = "Show what goes through channels, a round a second",
    .details =
        "On a terminal: full screen; q ends it, up, down, k and j move, s sorts by the next\n"
        "column, the space bar halts it. Elsewhere, and with a table option: a table a round, or\n"
        "a JSON object on a line. Of what you may not read only the broker's part is known.\n"
        "Patterns are those of watch.",
    .options = top_options,
    .columns = top_columns,
    .operands_max = 1,
    .run = run_top,
};
