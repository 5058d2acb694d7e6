/* SPDX-License-Identifier: MIT */
/* getopt_long over the rows of options: the general ones, a table's and the command's own. */
#include <stdarg.h>
#include <string.h>

#include "ctl.h"
#include "parse.h"
#include "table.h"

enum { OPTION_TIMEOUT = OPTION_LONG + 100 };

const struct ctl_option ctl_general_options[] = {
    {"socket", 's', "PATH", "the broker's socket (else $SHMD_SOCKET, yours, the system's)"},
    {"timeout", OPTION_TIMEOUT, "SECONDS", "longest wait for the broker, or none (default: 10)"},
    {"help", 'h', NULL, "show this help"},
    {"version", 'V', NULL, "show the version"},
    {0},
};

const struct ctl_option ctl_table_options[] = {
    {"json", 'J', NULL, "print JSON"},
    {"noheadings", 'n', NULL, "print no headings"},
    {"output", 'o', "COLUMNS", "columns, separated by commas; +COLUMNS: besides the default"},
    {"bytes", 'b', NULL, "print sizes in bytes"},
    {"raw", 'r', NULL, "print columns separated by one blank"},
    {0},
};

_Noreturn static void point_at_help(const struct ctl *ctl)
{
    const char *name = ctl->command ? ctl->command->name : "";

    fprintf(stderr, "Try '" PROGRAM " %s%s--help'.\n", name, *name ? " " : "");
    exit(CTL_USAGE);
}

void ctl_usage(const struct ctl *ctl, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (ctl->command)
        log_error("%s: %s", ctl->command->name, text);
    else
        log_error("%s", text);
    point_at_help(ctl);
}

_Noreturn static void exit_after_output(void)
{
    exit(ctl_close_stdout() ? CTL_DONE : CTL_FAILED);
}

_Noreturn static void bad_value(const struct ctl *ctl, const char *option, int r,
                                const char *wanted)
{
    if (r == -ERANGE)
        ctl_usage(ctl, "--%s: '%s' is too large", option, optarg);
    ctl_usage(ctl, "--%s: '%s' is not %s", option, optarg, wanted);
}

/* Deal with a general option; false where it is none. */
static bool general_option(struct ctl *ctl, int c)
{
    int r;

    switch (c) {
    case 's':
        if (!*optarg)
            bad_value(ctl, "socket", -EINVAL, "a path");
        ctl->socket = optarg;
        return true;
    case OPTION_TIMEOUT:
        r = parse_timeout(optarg, &ctl->timeout_ms);
        if (r < 0)
            bad_value(ctl, "timeout", r, "a number of seconds");
        ctl->timeout_given = true;
        return true;
    case 'h':
        if (ctl->command)
            help_command(ctl->command);
        else
            help_general();
        exit_after_output();
    case 'V':
        printf(PROGRAM " %s\n", shmd_version());
        exit_after_output();
    }
    return false;
}

static bool table_option(struct ctl *ctl, int c)
{
    switch (c) {
    case 'J':
        ctl->json = true;
        break;
    case 'n':
        ctl->noheadings = true;
        break;
    case 'o':
        ctl->output = optarg;
        break;
    case 'b':
        ctl->bytes = true;
        break;
    case 'r':
        ctl->raw = true;
        break;
    default:
        return false;
    }
    for (const struct ctl_option *o = ctl_table_options; o->name; o++)
        if (o->value == c)
            ctl->table_option = o->name;
    return true;
}

/* What getopt_long wants, made of our rows. */
struct getopt_input {
    char letters[64];
    struct option longs[32];
    size_t n_letters, n_longs;
};

static void add_options(struct getopt_input *in, const struct ctl_option *options)
{
    for (const struct ctl_option *o = options; o && o->name; o++) {
        if (in->n_longs + 1 >= ARRAY_LEN(in->longs) || in->n_letters + 2 >= sizeof(in->letters))
            abort();
        in->longs[in->n_longs++] = (struct option){
            o->name, o->arg ? required_argument : no_argument, NULL, o->value};
        if (o->value < OPTION_LONG) {
            in->letters[in->n_letters++] = (char)o->value;
            if (o->arg)
                in->letters[in->n_letters++] = ':';
        }
    }
}

/* Of a table's options, does the command take all that were given? */
static bool takes(const struct ctl *ctl)
{
    return (!ctl->json || ctl->command->json_lines) && (!ctl->raw || ctl->command->raw_lines) &&
           !ctl->noheadings && !ctl->output && !ctl->bytes;
}

static void check_command_line(struct ctl *ctl, int argc)
{
    const struct command *command = ctl->command;
    int operands = argc - optind;

    if (ctl->table_option && !command->columns && !takes(ctl))
        ctl_usage(ctl, "--%s has no meaning here", ctl->table_option);
    if (operands < command->operands_min)
        ctl_usage(ctl, "an operand is missing");
    if (command->operands_max >= 0 && operands > command->operands_max)
        ctl_usage(ctl, "too many operands");
    if (command->columns)
        table_choose(ctl);
}

int ctl_getopt(struct ctl *ctl, int argc, char **argv)
{
    struct getopt_input in = {0};

    /* Before the command no option may be looked for beyond it. */
    if (!ctl->command)
        in.letters[in.n_letters++] = '+';
    add_options(&in, ctl_general_options);
    add_options(&in, ctl_table_options);
    if (ctl->command)
        add_options(&in, ctl->command->options);

    for (;;) {
        int c = getopt_long(argc, argv, in.letters, in.longs, NULL);

        if (c == '?')
            point_at_help(ctl); /* getopt has said what is wrong */
        if (c == -1) {
            if (ctl->command)
                check_command_line(ctl, argc);
            return -1;
        }
        if (!general_option(ctl, c) && !table_option(ctl, c))
            return c;
    }
}

char **ctl_operands(struct ctl *ctl, int argc, char **argv)
{
    while (ctl_getopt(ctl, argc, argv) != -1)
        ;
    return argv + optind;
}

uint64_t arg_size(const struct ctl *ctl, const char *option)
{
    uint64_t v;
    int r = parse_size(optarg, &v);

    if (r < 0)
        bad_value(ctl, option, r, "a number of bytes (4096, 64K, 1GiB)");
    return v;
}

/* As a size, or as debuggers and dumps have it: 0x1000. */
uint64_t arg_offset(const struct ctl *ctl, const char *option)
{
    uint64_t v;
    bool hex = optarg[0] == '0' && (optarg[1] == 'x' || optarg[1] == 'X');
    int r = hex ? parse_u64(optarg, UINT64_MAX, &v) : parse_size(optarg, &v);

    if (r < 0)
        bad_value(ctl, option, r, "a number (4096, 64K, 0x1000)");
    return v;
}

int arg_mode(const struct ctl *ctl, const char *option)
{
    uint32_t v;

    if (parse_mode(optarg, &v) < 0)
        bad_value(ctl, option, -EINVAL, "a mode in octal (0640)");
    return (int)v;
}

int32_t arg_key(const struct ctl *ctl, const char *option)
{
    int32_t v;
    int r = parse_key(optarg, &v);

    if (r < 0)
        bad_value(ctl, option, r, "a key (0x1234; not 0, which is IPC_PRIVATE)");
    return v;
}

uint32_t arg_duration(const struct ctl *ctl, const char *option)
{
    uint32_t v;
    int r = parse_duration(optarg, &v);

    if (r < 0)
        bad_value(ctl, option, r, "a time (90, 30s, 10m, 2h, 7d)");
    return v;
}

uint32_t arg_count(const struct ctl *ctl, const char *option)
{
    uint64_t v;
    int r = parse_u64(optarg, UINT32_MAX, &v);

    if (r < 0 || v == 0)
        bad_value(ctl, option, r, "a number from 1 on");
    return (uint32_t)v;
}

int64_t arg_user(const struct ctl *ctl, const char *option)
{
    uid_t v;

    if (parse_user(optarg, &v) < 0)
        bad_value(ctl, option, -EINVAL, "a user");
    return v;
}

int64_t arg_group(const struct ctl *ctl, const char *option)
{
    gid_t v;

    if (parse_group(optarg, &v) < 0)
        bad_value(ctl, option, -EINVAL, "a group");
    return v;
}
