/* SPDX-License-Identifier: MIT */
/* What the kernel has: stat (IPC_STAT) and list (SHM_STAT_ANY). */
#include <string.h>
#include <sys/shm.h>

#include "columns.h"
#include "members.h"

static const struct column stat_columns[] = SEGMENT_COLUMNS(true, true);
static const struct column list_columns[] = SEGMENT_COLUMNS(true, false);

/* With --output only what it names. */
static bool shows_members(const struct ctl *ctl, const struct shmd_status *status)
{
    return status->flags & SHMD_CHANNEL && (!ctl->output || *ctl->output == '+');
}

static int run_stat(struct ctl *ctl, int argc, char **argv)
{
    const char *name = *ctl_operands(ctl, argc, argv);
    struct shmd_status status;
    struct table t;
    int r = ctl_connect(ctl);

    if (r)
        return r;
    r = shmd_stat(ctl->shmd, name, &status, ctl->timeout_ms);
    if (r < 0)
        return ctl_fail(ctl, name, r);
    for (unsigned i = SEG_RING; i <= SEG_LOST && status.flags & SHMD_CHANNEL; i++)
        table_show(ctl, i);
    table_init(&t, ctl, "segment");
    segment_line(&t, &status, *status.segment.name ? "yes" : "no");
    segment_channel(&t, ctl->shmd, &status);
    return shows_members(ctl, &status) ? members_print(ctl, &t, status.segment.name)
                                       : table_print(&t, true);
}

const struct command command_stat = {
    .name = "stat",
    .synopsis = "SEGMENT",
    .help = "Show all that kernel and broker know of a segment (IPC_STAT)",
    .details =
        "With --noheadings only the values are printed, one on a line. Of a channel that may be\n"
        "read its columns, from RING on, are shown too, and unless --output says what to show,\n"
        "its members: one a line, below an empty one. In JSON they are \"members\".",
    .columns = stat_columns,
    .operands_min = 1,
    .operands_max = 1,
    .run = run_stat,
};

struct listing {
    struct shmd_status *segments;
    size_t n, size;
    size_t brokered; /* the first so many, sorted by name */
};

static int add(const struct shmd_status *status, void *data)
{
    struct listing *l = data;

    if (l->n == l->size) {
        size_t size = MAX(l->size * 2, (size_t)64);
        struct shmd_status *segments = reallocarray(l->segments, size, sizeof(*segments));

        if (!segments)
            return -ENOMEM;
        l->segments = segments;
        l->size = size;
    }
    l->segments[l->n++] = *status;
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    const struct shmd_status *x = a, *y = b;

    return strcmp(x->segment.name, y->segment.name);
}

static int compare_ids(const void *a, const void *b)
{
    const int *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Add what the kernel has and the broker did not name. */
static int add_others(struct ctl *ctl, struct listing *l)
{
    struct shmd_status status;
    struct shmid_ds ds;
    char id[32];
    int highest = shmctl(0, SHM_INFO, &ds);

    if (highest < 0)
        return -errno;

    _cleanup_free_ int *known = calloc(l->n + 1, sizeof(*known));

    if (!known)
        return -ENOMEM;
    for (size_t i = 0; i < l->n; i++)
        known[i] = l->segments[i].segment.shmid;
    qsort(known, l->brokered, sizeof(*known), compare_ids);

    for (int i = 0; i <= highest; i++) {
        int shmid = shmctl(i, SHM_STAT_ANY, &ds);

        /* An empty place, or one that was emptied meanwhile. */
        if (shmid < 0 || bsearch(&shmid, known, l->brokered, sizeof(*known), compare_ids))
            continue;

        snprintf(id, sizeof(id), "id:%d", shmid);

        int r = shmd_stat(ctl->shmd, id, &status, ctl->timeout_ms);

        if (r == 0)
            r = add(&status, l);
        if (r < 0 && r != -ENOENT && r != -EIDRM)
            return r;
    }
    return 0;
}

static int print_listing(struct ctl *ctl, const struct listing *l, int registry_shmid)
{
    struct table t;

    table_init(&t, ctl, "segments");
    for (size_t i = 0; i < l->n; i++) {
        const struct shmd_status *st = &l->segments[i];
        const char *other = st->segment.shmid == registry_shmid ? "registry" : "no";

        segment_line(&t, st, i < l->brokered ? "yes" : other);
        segment_channel(&t, ctl->shmd, st);
    }
    return table_print(&t, false);
}

static const struct ctl_option list_options[] = {
    {"all", 'a', NULL, "also the host's segments that shmd does not broker"},
    {0},
};

static int list(struct ctl *ctl, bool all, struct listing *l)
{
    struct shmd_broker broker = {.registry_shmid = -1};
    int r = ctl_connect(ctl);

    if (r)
        return r;
    r = shmd_list(ctl->shmd, add, l, ctl->timeout_ms);
    if (r >= 0 && all)
        r = shmd_broker(ctl->shmd, &broker, ctl->timeout_ms);
    if (r < 0)
        return ctl_fail(ctl, NULL, r);
    l->brokered = l->n;
    if (l->n)
        qsort(l->segments, l->n, sizeof(*l->segments), compare_names);
    if (all && (r = add_others(ctl, l)) < 0)
        return ctl_fail_errno(ctl, NULL, r);
    return print_listing(ctl, l, broker.registry_shmid);
}

static int run_list(struct ctl *ctl, int argc, char **argv)
{
    struct listing l = {0};
    bool all = false;

    while (ctl_getopt(ctl, argc, argv) != -1)
        all = true;
    if (all)
        table_show(ctl, SEG_BROKERED);

    int code = list(ctl, all, &l);

    free(l.segments);
    return code;
}

const struct command command_list = {
    .name = "list",
    .synopsis = "[--all]",
    .help = "List the brokered segments, and the host's others",
    .options = list_options,
    .columns = list_columns,
    .run = run_list,
};
