/* SPDX-License-Identifier: MIT */
/* The daemon: ping and status. */
#include <time.h>

#include "table.h"

static int run_ping(struct ctl *ctl, int argc, char **argv)
{
    struct shmd_broker broker;

    ctl_operands(ctl, argc, argv);

    int r = ctl_connect(ctl);

    if (r)
        return r;
    r = shmd_broker(ctl->shmd, &broker, ctl->timeout_ms);
    if (r < 0)
        return ctl_fail(ctl, NULL, r);

    int64_t start = clock_ns(CLOCK_MONOTONIC);

    r = shmd_ping(ctl->shmd, ctl->timeout_ms);
    if (r < 0)
        return ctl_fail(ctl, NULL, r);
    printf("shmd %d answered in %lld us\n", (int)broker.pid,
           (long long)(clock_ns(CLOCK_MONOTONIC) - start) / 1000);
    return CTL_DONE;
}

const struct command command_ping = {
    .name = "ping",
    .synopsis = "",
    .help = "Ask whether the broker answers",
    .run = run_ping,
};

enum {
    ST_VERSION, ST_PID, ST_USER, ST_SOCKET, ST_NAMESPACE, ST_STARTED, ST_UPTIME, ST_GENERATION,
    ST_SEGMENTS, ST_BYTES, ST_LEASES, ST_CONNECTIONS, ST_REQUESTS, ST_REFUSED, ST_MAXSIZE,
    ST_MAXSEGMENTS, ST_MAXCONNECTIONS, ST_MAXCONNECTIONSUSER, ST_MAXLEASES, ST_MAXMODE,
    ST_REGISTRY, ST_KEYS, ST_TOTALSIZE, ST_YOURSEGMENTS, ST_MAXYOURSEGMENTS, ST_YOURBYTES,
    ST_MAXYOURBYTES, ST_YOURCONNECTIONS, ST_YOURLEASES, ST_MAXYOURLEASES, ST_MAXYOURREQUESTS,
    ST_WATCHES, ST_MAXYOURWATCHES, ST_COUNT
};

static const struct column status_columns[] = {
    [ST_VERSION] = {"VERSION", COLUMN_TEXT, true, "of shmd"},
    [ST_PID] = {"PID", COLUMN_NUMBER, true, "its process"},
    [ST_USER] = {"USER", COLUMN_TEXT, true, "who runs it: the creator of all its segments"},
    [ST_SOCKET] = {"SOCKET", COLUMN_TEXT, true, "where it was asked"},
    [ST_NAMESPACE] = {"NAMESPACE", COLUMN_TEXT, true, "your own namespace"},
    [ST_STARTED] = {"STARTED", COLUMN_TEXT, true, "when it was started"},
    [ST_UPTIME] = {"UPTIME", COLUMN_NUMBER, true, "seconds since then"},
    [ST_GENERATION] = {"GENERATION", COLUMN_NUMBER, true, "starts of shmd on this registry"},
    [ST_SEGMENTS] = {"SEGMENTS", COLUMN_NUMBER, true, "brokered now"},
    [ST_BYTES] = {"BYTES", COLUMN_SIZE, true, "size of them"},
    [ST_LEASES] = {"LEASES", COLUMN_NUMBER, true, "announced attachments"},
    [ST_CONNECTIONS] = {"CONNECTIONS", COLUMN_NUMBER, true, "now, this one among them"},
    [ST_REQUESTS] = {"REQUESTS", COLUMN_NUMBER, true, "since its start"},
    [ST_REFUSED] = {"REFUSED", COLUMN_NUMBER, true, "of them, answered with an error"},
    [ST_MAXSIZE] = {"MAXSIZE", COLUMN_SIZE, true, "limit: of one segment"},
    [ST_MAXSEGMENTS] = {"MAXSEGMENTS", COLUMN_NUMBER, true, "limit: segments"},
    [ST_MAXCONNECTIONS] = {"MAXCONNECTIONS", COLUMN_NUMBER, true, "limit: connections"},
    [ST_MAXCONNECTIONSUSER] = {"MAXCONNECTIONSUSER", COLUMN_NUMBER, true, "limit: of one user"},
    [ST_MAXLEASES] = {"MAXLEASES", COLUMN_NUMBER, true, "limit: leases of one connection"},
    [ST_MAXMODE] = {"MAXMODE", COLUMN_TEXT, true, "limit: permissions that may be asked for"},
    [ST_REGISTRY] = {"REGISTRY", COLUMN_NUMBER, true, "shmid of the public registry"},
    [ST_KEYS] = {"KEYS", COLUMN_TEXT, true, "range that keys are taken from"},
    [ST_TOTALSIZE] = {"TOTALSIZE", COLUMN_SIZE, true, "limit: of all segments"},
    [ST_YOURSEGMENTS] = {"YOURSEGMENTS", COLUMN_NUMBER, true, "charged to you"},
    [ST_MAXYOURSEGMENTS] = {"MAXYOURSEGMENTS", COLUMN_NUMBER, true, "limit: of them"},
    [ST_YOURBYTES] = {"YOURBYTES", COLUMN_SIZE, true, "charged to you, in whole pages"},
    [ST_MAXYOURBYTES] = {"MAXYOURBYTES", COLUMN_SIZE, true, "limit: of them"},
    [ST_YOURCONNECTIONS] = {"YOURCONNECTIONS", COLUMN_NUMBER, true, "connections of your user now"},
    [ST_YOURLEASES] = {"YOURLEASES", COLUMN_NUMBER, true, "announced attachments of your user"},
    [ST_MAXYOURLEASES] = {"MAXYOURLEASES", COLUMN_NUMBER, true, "limit: of them"},
    [ST_MAXYOURREQUESTS] = {"MAXYOURREQUESTS", COLUMN_NUMBER, true,
                            "limit: requests of your user a second"},
    [ST_WATCHES] = {"WATCHES", COLUMN_NUMBER, true, "now, of all users"},
    [ST_MAXYOURWATCHES] = {"MAXYOURWATCHES", COLUMN_NUMBER, true, "limit: of one user"},
    [ST_COUNT] = {0},
};
_Static_assert(ST_COUNT < COLUMNS_MAX, "too many columns");

static void put_uptime(struct table *t, uint64_t seconds)
{
    if (t->ctl->json)
        table_number(t, ST_UPTIME, seconds);
    else
        table_text(t, ST_UPTIME, "%llud %02u:%02u:%02u", (unsigned long long)(seconds / 86400),
                   (unsigned)(seconds / 3600 % 24), (unsigned)(seconds / 60 % 60),
                   (unsigned)(seconds % 60));
}

static void put_limits(struct table *t, const struct shmd_broker *b)
{
    table_size(t, ST_MAXSIZE, b->max_size);
    table_number(t, ST_MAXSEGMENTS, b->max_segments);
    table_number(t, ST_MAXCONNECTIONS, b->max_connections);
    table_number(t, ST_MAXCONNECTIONSUSER, b->max_connections_user);
    table_number(t, ST_MAXLEASES, b->max_leases);
    table_text(t, ST_MAXMODE, "%04o", b->max_mode);
}

static void put_quota(struct table *t, const struct shmd_broker *b)
{
    table_size(t, ST_TOTALSIZE, b->total_size);
    table_number(t, ST_YOURSEGMENTS, b->user_segments);
    table_number(t, ST_MAXYOURSEGMENTS, b->max_user_segments);
    table_size(t, ST_YOURBYTES, b->user_bytes);
    table_size(t, ST_MAXYOURBYTES, b->max_user_bytes);
    table_number(t, ST_YOURCONNECTIONS, b->user_connections);
    table_number(t, ST_YOURLEASES, b->user_leases);
    table_number(t, ST_MAXYOURLEASES, b->max_user_leases);
    if (b->max_user_requests > 0)
        table_number(t, ST_MAXYOURREQUESTS, b->max_user_requests);
    table_number(t, ST_WATCHES, b->watches);
    table_number(t, ST_MAXYOURWATCHES, b->max_user_watches);
}

static int run_status(struct ctl *ctl, int argc, char **argv)
{
    struct shmd_broker b;
    struct table t;

    ctl_operands(ctl, argc, argv);

    int r = ctl_connect(ctl);

    if (r)
        return r;
    r = shmd_broker(ctl->shmd, &b, ctl->timeout_ms);
    if (r < 0)
        return ctl_fail(ctl, NULL, r);

    table_init(&t, ctl, "broker");
    table_line(&t);
    table_text(&t, ST_VERSION, "%s", b.version);
    table_number(&t, ST_PID, (unsigned)b.pid);
    table_user(&t, ST_USER, b.uid);
    table_text(&t, ST_SOCKET, "%s", shmd_socket(ctl->shmd));
    table_text(&t, ST_NAMESPACE, "%s", shmd_namespace(ctl->shmd));
    table_time(&t, ST_STARTED, b.started / 1000000000);
    put_uptime(&t, b.uptime / 1000000000);
    table_number(&t, ST_GENERATION, b.generation);
    table_number(&t, ST_SEGMENTS, b.segments);
    table_size(&t, ST_BYTES, b.bytes);
    table_number(&t, ST_LEASES, b.leases);
    table_number(&t, ST_CONNECTIONS, b.connections);
    table_number(&t, ST_REQUESTS, b.requests);
    table_number(&t, ST_REFUSED, b.refused);
    put_limits(&t, &b);
    put_quota(&t, &b);
    if (b.registry_shmid >= 0)
        table_number(&t, ST_REGISTRY, (unsigned)b.registry_shmid);
    table_text(&t, ST_KEYS, "0x%08x-0x%08x", (unsigned)b.key_first, (unsigned)b.key_last);
    return table_print(&t, true);
}

const struct command command_status = {
    .name = "status",
    .synopsis = "",
    .help = "Show the broker: version, process, counts, limits, and your quota",
    .columns = status_columns,
    .run = run_status,
};
