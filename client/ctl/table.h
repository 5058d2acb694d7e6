/* SPDX-License-Identifier: MIT */
/*
 * Tables, by libsmartcols: rows of cells that are set by column number. A cell that is never set,
 * or set to an empty text, is "-", and null in JSON. Failures are kept until table_print().
 */
#pragma once

#include <libsmartcols/libsmartcols.h>

#include "ctl.h"

#define USER_TEXT_SIZE 64

struct table {
    const struct ctl *ctl;
    struct libscols_table *scols;
    struct libscols_line *line; /* being filled */
    int place[COLUMNS_MAX];     /* of a column among those printed; -1: not printed */
    int error;
    /* The last user and group looked up: neighbours in a list are mostly of the same. */
    struct {
        bool known;
        id_t id;
        char text[USER_TEXT_SIZE];
    } user, group;
};

/* Read --output, or take the command's default columns. Ends the program where one is unknown. */
void table_choose(struct ctl *ctl);

/* One column more, unless it is there or the user has chosen. */
void table_show(struct ctl *ctl, unsigned column);

/* `name` is the table's in JSON. */
void table_init(struct table *t, const struct ctl *ctl, const char *name);
void table_line(struct table *t);
bool table_wants(const struct table *t, unsigned column);

/* "" where it is 0: never. */
#define TIME_TEXT_SIZE 40
void time_text(char text[TIME_TEXT_SIZE], int64_t seconds);

/* The login, or the number. */
void user_text(char text[USER_TEXT_SIZE], uid_t uid);

void table_text(struct table *t, unsigned column, const char *fmt, ...) SHMD_PRINTF(3, 4);
void table_number(struct table *t, unsigned column, uint64_t number);
void table_size(struct table *t, unsigned column, uint64_t bytes);
void table_bool(struct table *t, unsigned column, bool yes);
void table_time(struct table *t, unsigned column, int64_t seconds); /* ISO 8601; 0: never */
void table_mode(struct table *t, unsigned column, unsigned mode);   /* rw-r----- */
void table_user(struct table *t, unsigned column, uid_t uid);       /* the login, or the number */
void table_group(struct table *t, unsigned column, gid_t gid);
void table_command(struct table *t, unsigned column, pid_t pid);    /* what it calls itself */

/* Free it, and make a text of it that the caller frees. NULL: there is no memory for that. */
char *table_steal(struct table *t);

/* Print as JSON on one line, and free. Returns the exit code. */
int table_print_line(struct table *t);

/*
 * Print and free. `upright`: the only row as lines of a column's name and its value; without
 * headings the values alone. Returns the exit code.
 */
int table_print(struct table *t, bool upright);
