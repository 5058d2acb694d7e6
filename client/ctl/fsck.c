/* SPDX-License-Identifier: MIT */
/* fsck: the registry held against the kernel. */
#include "table.h"

enum { BAD_PROBLEM, BAD_NAME, BAD_SHMID, BAD_KEY, BAD_SIZE, BAD_NATTCH, BAD_MENDED };

static const struct column fsck_columns[] = {
    [BAD_PROBLEM] = {"PROBLEM", COLUMN_TEXT, true, "gone, changed, unpinned or orphan"},
    [BAD_NAME] = {"NAME", COLUMN_TEXT, true, "full name"},
    [BAD_SHMID] = {"SHMID", COLUMN_NUMBER, true, "identifier"},
    [BAD_KEY] = {"KEY", COLUMN_TEXT, true, "System V key"},
    [BAD_SIZE] = {"SIZE", COLUMN_SIZE, true, "size asked for at creation"},
    [BAD_NATTCH] = {"NATTCH", COLUMN_NUMBER, true, "attachments"},
    [BAD_MENDED] = {"MENDED", COLUMN_BOOL, true, "is it no problem any more?"},
    {0},
};

static const char *problem_name(unsigned kind)
{
    switch (kind) {
    case SHMD_PROBLEM_GONE:
        return "gone";
    case SHMD_PROBLEM_CHANGED:
        return "changed";
    case SHMD_PROBLEM_UNPINNED:
        return "unpinned";
    case SHMD_PROBLEM_ORPHAN:
        return "orphan";
    default:
        return "unknown";
    }
}

struct problems {
    struct table table;
    unsigned told;
};

static int add(const struct shmd_problem *problem, void *data)
{
    struct problems *p = data;
    struct table *t = &p->table;

    p->told++;
    table_line(t);
    table_text(t, BAD_PROBLEM, "%s", problem_name(problem->kind));
    table_text(t, BAD_NAME, "%s", problem->segment.name);
    table_number(t, BAD_SHMID, (unsigned)problem->segment.shmid);
    table_text(t, BAD_KEY, "0x%08x", (unsigned)problem->segment.key);
    table_size(t, BAD_SIZE, problem->segment.size);
    table_number(t, BAD_NATTCH, problem->nattch);
    table_bool(t, BAD_MENDED, problem->mended);
    return 0;
}

static const struct ctl_option fsck_options[] = {
    {"repair", OPTION_LONG, NULL,
     "remove orphans that nobody has attached, pin what is not pinned"},
    {0},
};

static int run_fsck(struct ctl *ctl, int argc, char **argv)
{
    struct problems p = {0};
    struct shmd_fsck found;
    unsigned flags = 0;

    while (ctl_getopt(ctl, argc, argv) != -1)
        flags |= SHMD_REPAIR;

    int code = ctl_connect(ctl);

    if (code)
        return code;
    table_init(&p.table, ctl, "problems");

    int r = shmd_fsck(ctl->shmd, flags, &found, add, &p, ctl->timeout_ms);

    if (r < 0) {
        scols_unref_table(p.table.scols);
        return ctl_fail(ctl, NULL, r);
    }
    code = table_print(&p.table, false);
    if (found.problems > p.told)
        log_notice("fsck: %u more problems were found than are shown", found.problems - p.told);
    return code == CTL_DONE && found.mended < found.problems ? CTL_FAILED : code;
}

const struct command command_fsck = {
    .name = "fsck",
    .synopsis = "[--repair]",
    .help = "Hold the registry against the kernel (administrators), and mend it",
    .details =
        "Prints nothing where all is well. Names whose segments have gone are let go, and changes\n"
        "behind the broker's back are noted, also without --repair. Exits with 1 where problems\n"
        "are left.",
    .options = fsck_options,
    .columns = fsck_columns,
    .run = run_fsck,
};
