/* SPDX-License-Identifier: MIT */
/*
 * limits (IPC_INFO) and usage (SHM_INFO): the kernel's numbers, and beside them the broker's. The
 * kernel's are worth having without a broker too, so its absence is a note and no error.
 */
#include <sys/shm.h>

#include "columns.h"

static bool ask_broker(struct ctl *ctl, struct shmd_broker *broker)
{
    int r = shmd_connect(&ctl->shmd, ctl->socket, ctl->timeout_ms);

    if (r >= 0)
        r = shmd_broker(ctl->shmd, broker, ctl->timeout_ms);
    if (r < 0)
        log_notice("%s: only the kernel's part: %s", ctl->command->name,
                   ctl->shmd ? shmd_error(ctl->shmd) : "out of memory");
    return r >= 0;
}

/* The two structs are not shmid_ds, but the kernel's call is one and the same. */
static int kernel_limits(struct shminfo *ret)
{
    return shmctl(0, IPC_INFO, (struct shmid_ds *)(void *)ret) < 0 ? -errno : 0;
}

static int kernel_usage(struct shm_info *ret)
{
    return shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)ret) < 0 ? -errno : 0;
}

enum { LIM_SCOPE, LIM_RESOURCE, LIM_DESCRIPTION, LIM_LIMIT, LIM_USED, LIM_USE };

static const struct column limits_columns[] = {
    [LIM_SCOPE] = {"SCOPE", COLUMN_TEXT, true, "whose limit: kernel, broker, or yours (user)"},
    [LIM_RESOURCE] = {"RESOURCE", COLUMN_TEXT, true, "its name (the broker's: in shmd.conf)"},
    [LIM_DESCRIPTION] = {"DESCRIPTION", COLUMN_TEXT, true, "what it limits"},
    [LIM_LIMIT] = {"LIMIT", COLUMN_NUMBER, true, "the limit"},
    [LIM_USED] = {"USED", COLUMN_NUMBER, true, "used now"},
    [LIM_USE] = {"USE%", COLUMN_TEXT, true, "the same in percent of the limit"},
    {0},
};

static void limit(struct table *t, const char *scope, const char *resource, const char *description)
{
    table_line(t);
    table_text(t, LIM_SCOPE, "%s", scope);
    table_text(t, LIM_RESOURCE, "%s", resource);
    table_text(t, LIM_DESCRIPTION, "%s", description);
}

static void put_use(struct table *t, uint64_t used, uint64_t max)
{
    if (max)
        table_text(t, LIM_USE, "%.2f%%", 100.0 * (double)used / (double)max);
}

static void put_used(struct table *t, uint64_t used, uint64_t max)
{
    table_number(t, LIM_LIMIT, max);
    table_number(t, LIM_USED, used);
    put_use(t, used, max);
}

static void put_used_size(struct table *t, uint64_t used, uint64_t max)
{
    table_size(t, LIM_LIMIT, max);
    table_size(t, LIM_USED, used);
    put_use(t, used, max);
}

static void put_host(struct table *t, const struct shmd_broker *b)
{
    limit(t, "broker", "max_size", "Bytes of one segment, at most");
    table_size(t, LIM_LIMIT, b->max_size);
    limit(t, "broker", "total_size", "Bytes of all brokered segments");
    put_used_size(t, b->bytes, b->total_size);
    limit(t, "broker", "capacity", "Brokered segments");
    put_used(t, b->segments, b->max_segments);
    limit(t, "broker", "connections", "Connections");
    put_used(t, b->connections, b->max_connections);
    limit(t, "broker", "leases_per_connection", "Attachments one connection can announce");
    table_number(t, LIM_LIMIT, b->max_leases);
}

static void put_user(struct table *t, const struct shmd_broker *b)
{
    limit(t, "user", "segments_per_user", "Segments charged to you");
    put_used(t, b->user_segments, b->max_user_segments);
    limit(t, "user", "size_per_user", "Bytes charged to you, in whole pages");
    put_used_size(t, b->user_bytes, b->max_user_bytes);
    limit(t, "user", "connections_per_user", "Connections of your user");
    put_used(t, b->user_connections, b->max_connections_user);
    limit(t, "user", "leases_per_user", "Announced attachments of your user");
    put_used(t, b->user_leases, b->max_user_leases);
    limit(t, "user", "watches_per_user", "Watches of your user");
    table_number(t, LIM_LIMIT, b->max_user_watches);
    limit(t, "user", "requests_per_second", "Requests of your user a second");
    if (b->max_user_requests > 0)
        table_number(t, LIM_LIMIT, b->max_user_requests);
}

static int run_limits(struct ctl *ctl, int argc, char **argv)
{
    struct shminfo info;
    struct shm_info used;
    struct shmd_broker b;
    struct table t;

    ctl_operands(ctl, argc, argv);

    int r = kernel_limits(&info);

    if (r == 0)
        r = kernel_usage(&used);
    if (r < 0)
        return ctl_fail_errno(ctl, NULL, r);

    table_init(&t, ctl, "limits");
    limit(&t, "kernel", "shmmax", "Bytes of one segment, at most");
    table_size(&t, LIM_LIMIT, info.shmmax);
    limit(&t, "kernel", "shmmin", "Bytes of one segment, at least");
    table_size(&t, LIM_LIMIT, info.shmmin);
    limit(&t, "kernel", "shmmni", "Segments");
    put_used(&t, (uint64_t)used.used_ids, info.shmmni);
    limit(&t, "kernel", "shmseg", "Segments of one process (not enforced)");
    table_number(&t, LIM_LIMIT, info.shmseg);
    limit(&t, "kernel", "shmall", "Pages of all segments");
    put_used(&t, used.shm_tot, info.shmall);

    if (ask_broker(ctl, &b)) {
        put_host(&t, &b);
        put_user(&t, &b);
    }
    return table_print(&t, false);
}

const struct command command_limits = {
    .name = "limits",
    .synopsis = "",
    .help = "Show the limits of kernel (IPC_INFO) and broker, and what is used of them",
    .details = "Without a broker the kernel's part alone is shown.",
    .columns = limits_columns,
    .run = run_limits,
};

enum { USE_SCOPE, USE_RESOURCE, USE_DESCRIPTION, USE_USED, USE_SIZE };

static const struct column usage_columns[] = {
    [USE_SCOPE] = {"SCOPE", COLUMN_TEXT, true,
                   "who counts: kernel, broker, or what is yours (user)"},
    [USE_RESOURCE] = {"RESOURCE", COLUMN_TEXT, true, "its name (the kernel's: in struct shm_info)"},
    [USE_DESCRIPTION] = {"DESCRIPTION", COLUMN_TEXT, true, "what it is"},
    [USE_USED] = {"USED", COLUMN_NUMBER, true, "how many"},
    [USE_SIZE] = {"SIZE", COLUMN_SIZE, true, "bytes of them"},
    {0},
};

static void usage(struct table *t, const char *scope, const char *resource, const char *description,
                  uint64_t n)
{
    table_line(t);
    table_text(t, USE_SCOPE, "%s", scope);
    table_text(t, USE_RESOURCE, "%s", resource);
    table_text(t, USE_DESCRIPTION, "%s", description);
    table_number(t, USE_USED, n);
}

static void usage_pages(struct table *t, const char *resource, const char *description, uint64_t n)
{
    usage(t, "kernel", resource, description, n);
    table_size(t, USE_SIZE, n * (uint64_t)sysconf(_SC_PAGESIZE));
}

static int run_usage(struct ctl *ctl, int argc, char **argv)
{
    struct shm_info info;
    struct shmd_broker b;
    struct table t;

    ctl_operands(ctl, argc, argv);

    int r = kernel_usage(&info);

    if (r < 0)
        return ctl_fail_errno(ctl, NULL, r);

    table_init(&t, ctl, "usage");
    usage(&t, "kernel", "used_ids", "Segments", (uint64_t)info.used_ids);
    usage_pages(&t, "shm_tot", "Pages of all segments", info.shm_tot);
    usage_pages(&t, "shm_rss", "Pages in memory", info.shm_rss);
    usage_pages(&t, "shm_swp", "Pages in swap", info.shm_swp);
    usage(&t, "kernel", "swap_attempts", "Swaps tried (no longer counted)", info.swap_attempts);
    usage(&t, "kernel", "swap_successes", "Successes of them", info.swap_successes);

    if (ask_broker(ctl, &b)) {
        usage(&t, "broker", "segments", "Brokered segments", b.segments);
        table_size(&t, USE_SIZE, b.bytes);
        usage(&t, "broker", "leases", "Announced attachments", b.leases);
        usage(&t, "broker", "connections", "Connections, this one among them", b.connections);
        usage(&t, "broker", "requests", "Requests since its start", b.requests);
        usage(&t, "broker", "refused", "Requests answered with an error", b.refused);
        usage(&t, "broker", "watches", "Watches", b.watches);
        usage(&t, "user", "user_segments", "Segments charged to you", b.user_segments);
        table_size(&t, USE_SIZE, b.user_bytes);
        usage(&t, "user", "user_leases", "Announced attachments of your user", b.user_leases);
        usage(&t, "user", "user_connections", "Connections of your user", b.user_connections);
    }
    return table_print(&t, false);
}

const struct command command_usage = {
    .name = "usage",
    .synopsis = "",
    .help = "Show what kernel (SHM_INFO) and broker have in use",
    .details = "Without a broker the kernel's part alone is shown.",
    .columns = usage_columns,
    .run = run_usage,
};
