/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static void choose(struct ctl *ctl, unsigned column)
{
    if (!memchr(ctl->chosen, (int)column, ctl->n_chosen))
        ctl->chosen[ctl->n_chosen++] = (uint8_t)column;
}

static void choose_default(struct ctl *ctl)
{
    for (unsigned i = 0; ctl->command->columns[i].name; i++)
        if (ctl->command->columns[i].shown)
            choose(ctl, i);
}

static void choose_by_name(struct ctl *ctl, const char *name, size_t len)
{
    const struct column *columns = ctl->command->columns;

    for (unsigned i = 0; columns[i].name; i++) {
        if (strlen(columns[i].name) == len && strncasecmp(columns[i].name, name, len) == 0) {
            choose(ctl, i);
            return;
        }
    }
    ctl_usage(ctl, "--output: '%.*s' is not a column", (int)len, name);
}

void table_choose(struct ctl *ctl)
{
    const char *at = ctl->output;

    if (!at || *at == '+')
        choose_default(ctl);
    if (!at)
        return;
    at += *at == '+';
    for (;;) {
        size_t len = strcspn(at, ",");

        choose_by_name(ctl, at, len);
        if (!at[len])
            return;
        at += len + 1;
    }
}

void table_show(struct ctl *ctl, unsigned column)
{
    if (!ctl->output || *ctl->output == '+')
        choose(ctl, column);
}

static void set_flags(const struct ctl *ctl, struct libscols_table *scols)
{
    scols_table_enable_json(scols, ctl->json);
    scols_table_enable_noheadings(scols, ctl->noheadings);
    scols_table_enable_raw(scols, ctl->raw && !ctl->json);
}

static int json_type(enum column_kind kind)
{
    switch (kind) {
    case COLUMN_NUMBER:
    case COLUMN_SIZE:
        return SCOLS_JSON_NUMBER;
    case COLUMN_BOOL:
        return SCOLS_JSON_BOOLEAN;
    default:
        return SCOLS_JSON_STRING;
    }
}

void table_init(struct table *t, const struct ctl *ctl, const char *name)
{
    *t = (struct table){.ctl = ctl, .scols = scols_new_table()};
    memset(t->place, -1, sizeof(t->place));
    if (!t->scols || scols_table_set_name(t->scols, name) < 0) {
        t->error = ENOMEM;
        return;
    }
    set_flags(ctl, t->scols);
    for (size_t i = 0; i < ctl->n_chosen; i++) {
        const struct column *c = &ctl->command->columns[ctl->chosen[i]];
        bool right = c->kind == COLUMN_NUMBER || c->kind == COLUMN_SIZE;
        struct libscols_column *column =
            scols_table_new_column(t->scols, c->name, 0, right ? SCOLS_FL_RIGHT : 0);

        if (!column) {
            t->error = ENOMEM;
            return;
        }
        scols_column_set_json_type(column, json_type(c->kind));
        t->place[ctl->chosen[i]] = (int)i;
    }
}

static void put(struct table *t, int place, const char *text)
{
    if (!t->error && scols_line_set_data(t->line, (size_t)place, text) < 0)
        t->error = ENOMEM;
}

void table_line(struct table *t)
{
    if (t->error)
        return;
    t->line = scols_table_new_line(t->scols, NULL);
    if (!t->line)
        t->error = ENOMEM;
    for (size_t i = 0; i < t->ctl->n_chosen && !t->ctl->json; i++)
        put(t, (int)i, "-");
}

bool table_wants(const struct table *t, unsigned column)
{
    return !t->error && t->place[column] >= 0;
}

void table_text(struct table *t, unsigned column, const char *fmt, ...)
{
    char text[256];
    va_list args;

    if (!table_wants(t, column))
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (*text)
        put(t, t->place[column], text);
}

void table_number(struct table *t, unsigned column, uint64_t number)
{
    table_text(t, column, "%llu", (unsigned long long)number);
}

void table_size(struct table *t, unsigned column, uint64_t bytes)
{
    unsigned power = 0;
    uint64_t unit = 1;

    if (t->ctl->json || t->ctl->bytes) {
        table_number(t, column, bytes);
        return;
    }
    while (power < 6 && bytes / unit >= 1024) {
        unit <<= 10;
        power++;
    }

    /* A tenth, rounded down: a limit is never shown larger than it is. */
    unsigned tenth = (unsigned)(bytes % unit / ((unit + 9) / 10));
    unsigned long long whole = bytes / unit;

    if (tenth)
        table_text(t, column, "%llu.%u%c", whole, tenth, "BKMGTPE"[power]);
    else
        table_text(t, column, "%llu%c", whole, "BKMGTPE"[power]);
}

void table_bool(struct table *t, unsigned column, bool yes)
{
    table_text(t, column, "%s", yes ? "yes" : "no");
}

void time_text(char text[TIME_TEXT_SIZE], int64_t seconds)
{
    time_t when = (time_t)seconds;
    char date[32] = "", zone[8] = "";
    struct tm tm;

    *text = 0;
    if (seconds == 0 || !localtime_r(&when, &tm))
        return;
    if (strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm) == 0 ||
        strftime(zone, sizeof(zone), "%z", &tm) == 0)
        return;
    snprintf(text, TIME_TEXT_SIZE, "%s%.3s:%s", date, zone, zone + 3);
}

void table_time(struct table *t, unsigned column, int64_t seconds)
{
    char text[TIME_TEXT_SIZE];

    if (!table_wants(t, column))
        return;
    time_text(text, seconds);
    table_text(t, column, "%s", text);
}

void table_mode(struct table *t, unsigned column, unsigned mode)
{
    char text[] = "rwxrwxrwx";

    for (unsigned i = 0; i < 9; i++)
        if (!(mode & 0400u >> i))
            text[i] = '-';
    table_text(t, column, "%s", text);
}

void user_text(char text[USER_TEXT_SIZE], uid_t uid)
{
    struct passwd *pw = getpwuid(uid);

    if (pw)
        snprintf(text, USER_TEXT_SIZE, "%s", pw->pw_name);
    else
        snprintf(text, USER_TEXT_SIZE, "%u", (unsigned)uid);
}

void table_user(struct table *t, unsigned column, uid_t uid)
{
    if (!table_wants(t, column))
        return;
    if (!t->user.known || t->user.id != uid) {
        t->user.known = true;
        t->user.id = uid;
        user_text(t->user.text, uid);
    }
    table_text(t, column, "%s", t->user.text);
}

void table_group(struct table *t, unsigned column, gid_t gid)
{
    if (!table_wants(t, column))
        return;
    if (!t->group.known || t->group.id != gid) {
        struct group *gr = getgrgid(gid);

        t->group.known = true;
        t->group.id = gid;
        snprintf(t->group.text, sizeof(t->group.text), "%u", (unsigned)gid);
        if (gr)
            snprintf(t->group.text, sizeof(t->group.text), "%s", gr->gr_name);
    }
    table_text(t, column, "%s", t->group.text);
}

/* It may be anything. */
void table_command(struct table *t, unsigned column, pid_t pid)
{
    char path[64], command[64];

    if (!table_wants(t, column))
        return;
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);

    _cleanup_fclose_ FILE *f = fopen(path, "re");

    if (!f || !fgets(command, sizeof(command), f))
        return;
    command[strcspn(command, "\n")] = 0;
    for (char *c = command; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    table_text(t, column, "%s", command);
}

/* Lay the only row of `from` down: its columns become lines. */
static struct libscols_table *turn(const struct ctl *ctl, struct libscols_table *from)
{
    struct libscols_table *to = scols_new_table();
    bool named = !ctl->noheadings;

    if (!to || (named && !scols_table_new_column(to, "FIELD", 0, 0)) ||
        !scols_table_new_column(to, "VALUE", 0, 0))
        goto fail;
    set_flags(ctl, to);
    scols_table_enable_noheadings(to, 1);
    for (size_t i = 0; i < ctl->n_chosen; i++) {
        struct libscols_line *line = scols_table_new_line(to, NULL);
        struct libscols_line *row = scols_table_get_line(from, 0);
        const char *value = scols_cell_get_data(scols_line_get_cell(row, i));

        if (!line || scols_line_set_data(line, named, value) < 0 ||
            (named && scols_line_set_data(line, 0, ctl->command->columns[ctl->chosen[i]].name) < 0))
            goto fail;
    }
    return to;
fail:
    scols_unref_table(to);
    return NULL;
}

/* libsmartcols prints nothing at all for an empty table, which is no JSON. */
static char *empty_json(const struct table *t)
{
    char *text;

    return asprintf(&text, "{\"%s\": []}\n", scols_table_get_name(t->scols)) < 0 ? NULL : text;
}

char *table_steal(struct table *t)
{
    char *text = NULL;

    if (!t->error && t->ctl->json && scols_table_is_empty(t->scols))
        text = empty_json(t);
    else if (!t->error && scols_print_table_to_string(t->scols, &text) < 0)
        text = NULL;
    scols_unref_table(t->scols);
    t->scols = NULL;
    return text;
}

/* In JSON no string has a newline in it: one ends a line, and the next one is indented. */
int table_print_line(struct table *t)
{
    _cleanup_free_ char *text = table_steal(t);

    if (!text)
        return ctl_fail_errno(t->ctl, NULL, -ENOMEM);
    for (const char *c = text; *c; c++)
        if (*c != '\n') {
            putchar(*c);
        } else {
            if (c > text && c[-1] == ',')
                putchar(' ');
            c += strspn(c + 1, " ");
        }
    putchar('\n');
    return CTL_DONE;
}

int table_print(struct table *t, bool upright)
{
    if (!t->error && upright && !t->ctl->json) {
        struct libscols_table *turned = turn(t->ctl, t->scols);

        if (turned) {
            scols_unref_table(t->scols);
            t->scols = turned;
        } else {
            t->error = ENOMEM;
        }
    }
    if (!t->error && t->ctl->json && scols_table_is_empty(t->scols))
        printf("{\"%s\": []}\n", scols_table_get_name(t->scols)); /* see empty_json() */
    else if (!t->error)
        t->error = -scols_print_table(t->scols);
    scols_unref_table(t->scols);
    return t->error ? ctl_fail_errno(t->ctl, NULL, -t->error) : CTL_DONE;
}
