/* SPDX-License-Identifier: MIT */
/*
 * shmctl-client. A command is a row: what it takes, what it prints and a handler. Option parsing,
 * --help, the choice of columns and the bash completion all follow from those rows.
 */
#pragma once

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "log.h"
#include "shmd.h"
#include "util.h"

#define PROGRAM "shmctl-client"

/* Exit codes: a contract with scripts, told in --help and in the manual page. */
enum {
    CTL_DONE = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_NO_SEGMENT = 3,
    CTL_NOT_PERMITTED = 4,
    CTL_NO_BROKER = 5,
    CTL_TIMED_OUT = 6,
    CTL_WRITER_DIED = 7,
};

struct ctl_option {
    const char *name;
    int value;       /* its letter, or from OPTION_LONG on where it has none */
    const char *arg; /* what its argument is called; NULL: it takes none */
    const char *help;
};
#define OPTION_LONG 256

enum column_kind {
    COLUMN_TEXT,
    COLUMN_NUMBER,
    COLUMN_SIZE, /* bytes: for people as 64K, in JSON and with --bytes as a number */
    COLUMN_BOOL,
};

struct column {
    const char *name;
    enum column_kind kind;
    bool shown; /* without --output */
    const char *help;
};
#define COLUMNS_MAX 64

struct ctl;

struct command {
    const char *name;
    const char *synopsis; /* operands and options of its own */
    const char *help;     /* one line */
    const char *details;  /* what else there is to know; may be NULL */
    const struct ctl_option *options; /* ends with an empty one; may be NULL */
    const struct column *columns;     /* ends with an empty one; NULL: prints no table */
    int operands_min, operands_max;   /* max -1: any number */
    bool json_lines;                  /* takes --json, though it prints no table */
    bool raw_lines;                   /* likewise --raw */
    int (*run)(struct ctl *ctl, int argc, char **argv);
};

/* One run of the program. */
struct ctl {
    const struct command *command; /* NULL until it is known */
    const char *socket;
    int timeout_ms;
    bool timeout_given;
    bool json, noheadings, bytes, raw;
    const char *output;       /* the text of --output */
    const char *table_option; /* a table's option that was given: refused where there is no table */
    uint8_t chosen[COLUMNS_MAX]; /* numbers of the columns to print */
    size_t n_chosen;
    struct shmd *shmd;
};

extern const struct command command_create, command_open, command_attach, command_detach,
    command_stat, command_set, command_rm, command_list, command_limits, command_usage,
    command_ping, command_status, command_write, command_read, command_dump, command_who,
    command_watch, command_fsck, command_pub, command_sub, command_top;
extern const struct command *const ctl_commands[]; /* ends with NULL */

/* main.c */

/* Flush and close stdout; false, and said, where what was written did not all get there. */
bool ctl_close_stdout(void);

/* help.c */
void help_general(void);
void help_command(const struct command *command);

/* options.c */
extern const struct ctl_option ctl_general_options[], ctl_table_options[];

/*
 * The next option of the command's own, or -1 when argv[optind] is the first operand. General
 * options are dealt with here. Wrong usage, --help and --version end the program.
 */
int ctl_getopt(struct ctl *ctl, int argc, char **argv);

/* For a command without options of its own: its operands. */
char **ctl_operands(struct ctl *ctl, int argc, char **argv);

/* Say what is wrong, point at --help and exit. */
_Noreturn void ctl_usage(const struct ctl *ctl, const char *fmt, ...) SHMD_PRINTF(2, 3);

/* The argument of the option just returned, or exit. `option` is its name for the message. */
uint64_t arg_size(const struct ctl *ctl, const char *option);
uint64_t arg_offset(const struct ctl *ctl, const char *option);
int arg_mode(const struct ctl *ctl, const char *option);
int32_t arg_key(const struct ctl *ctl, const char *option);
uint32_t arg_duration(const struct ctl *ctl, const char *option);
uint32_t arg_count(const struct ctl *ctl, const char *option);
int64_t arg_user(const struct ctl *ctl, const char *option);
int64_t arg_group(const struct ctl *ctl, const char *option);

/* attach.c */

/* Blocked, a signal is told even where it is ignored, as under nohup. */
void ctl_add_unless_ignored(sigset_t *set, int number);

/* broker.c */

/* Connect. CTL_DONE, or what to exit with: the error has then been told. */
int ctl_connect(struct ctl *ctl);

/* Tell about the failed call (`r`, a negative errno) on `operand`, if not NULL; the exit code. */
int ctl_fail(const struct ctl *ctl, const char *operand, int r);

/* The same about anything else than a call of libshmd. */
int ctl_fail_errno(const struct ctl *ctl, const char *what, int r);
