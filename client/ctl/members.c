/* SPDX-License-Identifier: MIT */
#include "members.h"

#include <string.h>
#include <sys/stat.h>

#include "shmd-channel.h"

enum {
    MEM_ROLE, MEM_PID, MEM_USER, MEM_COMMAND, MEM_MESSAGES, MEM_BYTES, MEM_LOST, MEM_UNREAD,
    MEM_WAITS, MEM_WAKES,
};

static const struct column member_columns[] = {
    [MEM_ROLE] = {"ROLE", COLUMN_TEXT, true, "writer or reader"},
    [MEM_PID] = {"PID", COLUMN_NUMBER, true, "process"},
    [MEM_USER] = {"USER", COLUMN_TEXT, true, "who runs it"},
    [MEM_COMMAND] = {"COMMAND", COLUMN_TEXT, true, "name of the program"},
    [MEM_MESSAGES] = {"MESSAGES", COLUMN_NUMBER, true, "received; a writer's: of the channel"},
    [MEM_BYTES] = {"BYTES", COLUMN_SIZE, true, "likewise"},
    [MEM_LOST] = {"LOST", COLUMN_NUMBER, true, "messages that it was too slow for"},
    [MEM_UNREAD] = {"UNREAD", COLUMN_SIZE, true, "bytes that wait for it"},
    [MEM_WAITS] = {"WAITS", COLUMN_NUMBER, true, "times it slept"},
    [MEM_WAKES] = {"WAKES", COLUMN_NUMBER, true, "times it woke others"},
    {0},
};
static const struct command rows = {.name = "stat", .columns = member_columns};

/* The pid is what stands in the channel: whoever may write there can put any number. */
static void put_user(struct table *t, pid_t pid)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%d", (int)pid);
    if (stat(path, &st) == 0)
        table_user(t, MEM_USER, st.st_uid);
}

static int add(const struct shmd_channel_member *m, void *data)
{
    struct table *t = data;

    table_line(t);
    table_text(t, MEM_ROLE, "%s", m->is_writer ? "writer" : "reader");
    table_number(t, MEM_PID, (unsigned)m->pid);
    put_user(t, m->pid);
    table_command(t, MEM_COMMAND, m->pid);
    table_number(t, MEM_MESSAGES, m->messages);
    table_size(t, MEM_BYTES, m->bytes);
    if (!m->is_writer) {
        table_number(t, MEM_LOST, m->lost);
        table_size(t, MEM_UNREAD, m->unread);
    }
    table_number(t, MEM_WAITS, m->waits);
    table_number(t, MEM_WAKES, m->wakes);
    return 0;
}

/* {A} and {B} are printed as {A, B}. */
static int print_json(const struct ctl *ctl, struct table *segment, struct table *members)
{
    _cleanup_free_ char *a = table_steal(segment), *b = table_steal(members);
    char *end = a ? strrchr(a, '}') : NULL, *begin = b ? strchr(b, '{') : NULL;

    if (!end || !begin)
        return ctl_fail_errno(ctl, NULL, -ENOMEM);
    while (end > a && end[-1] == '\n')
        end--;
    printf("%.*s,%s", (int)(end - a), a, begin + 1);
    return CTL_DONE;
}

int members_print(const struct ctl *ctl, struct table *segment, const char *name)
{
    struct shmd_channel_status st;
    struct ctl own = *ctl; /* with columns of its own */
    struct table t;

    own.command = &rows;
    own.output = NULL;
    own.n_chosen = 0;
    table_choose(&own);
    table_init(&t, &own, "members");

    int r = shmd_channel_stat(ctl->shmd, name, &st, add, &t, ctl->timeout_ms);

    if (ctl->json && r == 0)
        return print_json(ctl, segment, &t);

    int code = table_print(segment, true);

    if (code == CTL_DONE && r == 0 && !scols_table_is_empty(t.scols)) {
        printf("\n");
        return table_print(&t, false);
    }
    free(table_steal(&t));
    return code;
}
