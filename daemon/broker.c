/* SPDX-License-Identifier: MIT */
#include "broker.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adopt.h"
#include "declared.h"
#include "lifetime.h"
#include "log.h"
#include "privilege.h"
#include "tell.h"

void broker_init(struct broker *b)
{
    *b = (struct broker){.config = {.capacity = 0}, .pass = -1};
    waits_init(&b->waits);
    TAILQ_INIT(&b->callers);
    TAILQ_INIT(&b->watchers);
}

/* The kernel lets the members of a creator's group use the group bits of every segment. */
static int check_group(struct broker *b)
{
    b->group_is_private = privilege_group_is_private(geteuid(), getegid());
    if (b->group_is_private)
        return 0;
    if (b->is_private) {
        log_info(
            "group %u has other members, whom the kernel would let into every segment with group "
            "bits: such modes are refused",
            (unsigned)getegid());
        return 0;
    }
    log_error(
        "group %u, the primary group of uid %u, has other members: the kernel would let them into "
        "every segment with group bits, as it counts the creator's group too. Run shmd as a user "
        "whose group is its own, and let another group open the socket (socket_group)",
        (unsigned)getegid(), (unsigned)geteuid());
    return -EPERM;
}

static int count(struct broker *b)
{
    declared_mark(b);

    int r = table_charge(&b->table, &b->quota, &b->config);

    if (r < 0)
        log_error("out of memory");
    return r;
}

int broker_start(struct broker *b, const char *socket)
{
    struct table *t = &b->table;
    char error[ADOPT_ERROR_MAX] = "";
    struct stat ns;

    b->ipc_namespace = stat("/proc/self/ns/ipc", &ns) == 0 ? ns.st_ino : 0;

    const struct adopt_request rq = {
        .socket = socket,
        .capacity = b->config.capacity,
        .public_view = b->config.public_view,
        .ipc_namespace = b->ipc_namespace,
    };
    int r = check_group(b);

    if (r < 0)
        return r;
    r = adopt_open(t, &sysv_kernel, &rq, error);
    if (r < 0) {
        log_error("%s", error);
        return r;
    }
    tell_observe(b);
    r = channels_init(b);
    if (r == 0)
        r = due_init(&b->due, t->view.capacity);
    if (r == 0)
        r = count(b);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < t->view.capacity; i++)
        if (table_state(&t->entry[i]) == REG_LIVE)
            lifetime_begin(b, &t->entry[i]);
    declared_make(b);
    return 0;
}

int broker_reload(struct broker *b, struct config *new)
{
    config_done(&b->config);
    b->config = *new;
    *new = (struct config){.capacity = 0};

    int r = count(b);

    if (r == 0)
        declared_make(b);
    return r;
}

void broker_done(struct broker *b)
{
    sweep_done(b, &b->sweep);
    channels_done(b);
    table_done(&b->table);
    due_done(&b->due);
    quota_done(&b->quota);
    config_done(&b->config);
}
