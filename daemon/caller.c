/* SPDX-License-Identifier: MIT */
#include "caller.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "privilege.h"
#include "protocol.h"
#include "table.h"
#include "util.h"

static int read_groups(struct caller *c, int fd)
{
    for (unsigned room = 16;; room *= 4) {
        socklen_t size = room * (socklen_t)sizeof(gid_t);
        gid_t *groups = malloc(size);

        if (!groups)
            return -ENOMEM;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0) {
            c->groups = groups;
            c->n_groups = (unsigned)(size / sizeof(gid_t));
            return 0;
        }
        int r = -errno;

        free(groups);
        if (r != -ERANGE)
            return r;
    }
}

/* Reading the user database costs more than all the rest of a connection: remember the last
 * ones. */
static int home_of(uid_t uid, char home[NAMESPACE_SIZE])
{
    static struct {
        uid_t uid;
        int64_t until; /* CLOCK_MONOTONIC, seconds */
        char home[NAMESPACE_SIZE];
    } cache[64];
    int64_t now = clock_ns(CLOCK_MONOTONIC_COARSE) / NS_PER_SECOND;
    __auto_type slot = &cache[uid % ARRAY_LEN(cache)];

    if (slot->uid != uid || slot->until <= now) {
        struct passwd *pw = (errno = 0, getpwuid(uid));

        /* A data base that cannot be read knows nothing; a wrong namespace would be worse than
         * none. */
        if (!pw && (errno == EIO || errno == ENOMEM || errno == EMFILE || errno == ENFILE ||
                    errno == EAGAIN || errno == ETIMEDOUT || errno == ECONNREFUSED))
            return -EAGAIN;
        name_of_user(uid, pw ? pw->pw_name : NULL, slot->home);
        slot->uid = uid;
        slot->until = now + 60;
    }
    memcpy(home, slot->home, NAMESPACE_SIZE);
    return 0;
}

int caller_init(struct caller *c, int fd)
{
    struct ucred cred;
    socklen_t size = sizeof(cred);

    *c = (struct caller){0};
    TAILQ_INIT(&c->waits);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
        return -errno;
    c->uid = cred.uid;
    c->gid = cred.gid;
    c->pid = cred.pid;
    c->since = clock_ns(CLOCK_BOOTTIME);
    if (cred.uid == OVERFLOW_ID || cred.gid == OVERFLOW_ID)
        return -EOVERFLOW;
    int r = home_of(cred.uid, c->home);

    return r < 0 ? r : read_groups(c, fd);
}

void caller_done(struct caller *c)
{
    free(c->leases);
    free(c->groups);
    *c = (struct caller){0};
}

/* In ticks, as /proc has it: what began within the tick of `when` is not after it. */
static bool started_after(pid_t pid, int64_t when)
{
    uint64_t ticks = process_start(pid), second = (uint64_t)sysconf(_SC_CLK_TCK);

    return ticks > (uint64_t)when / NS_PER_SECOND * second +
                       (uint64_t)when % NS_PER_SECOND * second / NS_PER_SECOND;
}

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

int caller_pidfd(const struct caller *c, int fd)
{
    int pidfd;
    socklen_t size = sizeof(pidfd);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
        return pidfd;
    if (errno != ENOPROTOOPT)
        return errno == EINVAL ? -ESRCH : -errno;
    pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    if (pidfd < 0)
        return -errno;
    if (started_after(c->pid, c->since)) {
        close(pidfd);
        return -ESRCH;
    }
    return pidfd;
}

bool caller_in_group(const struct caller *c, gid_t gid)
{
    if (c->gid == gid)
        return true;
    for (unsigned i = 0; i < c->n_groups; i++)
        if (c->groups[i] == gid)
            return true;
    return false;
}

bool caller_is_one_of(const struct caller *c, const struct config_ids *ids)
{
    for (unsigned i = 0; i < ids->n; i++)
        if (ids->list[i].is_group ? caller_in_group(c, ids->list[i].id) : c->uid == ids->list[i].id)
            return true;
    return false;
}

/* Newest first: what was attached last is mostly detached first. */
struct lease *caller_find_lease(struct caller *c, uint32_t id)
{
    for (unsigned i = c->n_leases; i-- > 0;)
        if (c->leases[i].id == id)
            return &c->leases[i];
    return NULL;
}

struct lease *caller_find_hold(struct caller *c, const struct table *t, const struct reg_entry *e)
{
    for (unsigned i = c->n_leases; i-- > 0;)
        if (c->leases[i].flags & HOLDER_CREATOR && c->leases[i].index == table_index(t, e) &&
            c->leases[i].instance == e->instance)
            return &c->leases[i];
    return NULL;
}

int caller_add_lease(struct caller *c, struct table *t, struct reg_entry *e, uint32_t id,
                     uint32_t flags)
{
    if (c->n_leases == c->room) {
        unsigned room = c->room ? c->room * 2 : 8;
        struct lease *leases = reallocarray(c->leases, room, sizeof(*leases));

        if (!leases)
            return -ENOMEM;
        c->leases = leases;
        c->room = room;
    }
    c->leases[c->n_leases++] = (struct lease){
        .id = id, .index = table_index(t, e), .instance = e->instance,
        .since = clock_ns(CLOCK_REALTIME_COARSE), .flags = flags};
    table_lease(e, 1);
    c->user->leases++;
    return 0;
}

struct reg_entry *caller_drop_lease(struct caller *c, struct table *t, struct lease *l)
{
    struct reg_entry *e = &t->entry[l->index];
    bool same = e->instance == l->instance && table_state(e) == REG_LIVE;

    *l = c->leases[--c->n_leases];
    c->user->leases--;
    if (same)
        table_lease(e, -1);
    return same ? e : NULL;
}
