/* SPDX-License-Identifier: MIT */
#include "tell.h"

#include <stdarg.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#include "log.h"
#include "messages.h"
#include "policy.h"
#include "systemd.h"
#include "watch.h"

#define FIELDS_MAX 16
#define HEARD_A_SECOND 5 /* of what one user is refused, or does behind the broker's back */

struct record {
    struct iovec field[FIELDS_MAX];
    int n;
    char text[2048]; /* of all fields */
    size_t used;
};

static void SHMD_PRINTF(2, 3) add(struct record *r, const char *fmt, ...)
{
    char *at = r->text + r->used;
    size_t room = sizeof(r->text) - r->used;
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(at, room, fmt, args);
    va_end(args);
    if (n <= 0 || (size_t)n >= room || r->n == FIELDS_MAX)
        return;
    r->field[r->n++] = (struct iovec){.iov_base = at, .iov_len = (size_t)n};
    r->used += (size_t)n + 1;
}

/* The user's own name, where they have one: it is how their namespace is called. */
static void add_caller(struct record *r, const struct caller *by)
{
    if (!by)
        return;
    add(r, "SHMD_USER=%s", by->home);
    add(r, "SHMD_UID=%u", (unsigned)by->uid);
    add(r, "SHMD_PID=%d", by->pid);
}

static void add_segment(struct record *r, const struct reg_entry *e)
{
    add(r, "SHMD_SEGMENT=%s", e->name);
    add(r, "SHMD_SHMID=%d", table_shmid(e));
    add(r, "SHMD_SIZE=%llu", (unsigned long long)e->size);
}

static void write_record(struct record *r, int level, const char *id, const char *message)
{
    add(r, "MESSAGE=%s", message);
    add(r, "PRIORITY=%d", level);
    add(r, "MESSAGE_ID=%s", id);
    if (systemd_journal(r->field, r->n) < 0)
        log_line(level, "%s", message);
}

static void SHMD_PRINTF(6, 7) record(int level, const char *id, const struct caller *by,
                                     const struct reg_entry *e, const char *reason, const char *fmt,
                                     ...)
{
    struct record r = {.n = 0};
    char what[256], message[512];
    va_list args;

    if (!log_wants(level))
        return;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    if (by)
        snprintf(message, sizeof(message), "%s %s, by %s (uid %u, pid %d)", e->name, what, by->home,
                 (unsigned)by->uid, by->pid);
    else
        snprintf(message, sizeof(message), "%s %s", e->name, what);
    add_caller(&r, by);
    add_segment(&r, e);
    add(&r, "SHMD_REASON=%s", reason);
    write_record(&r, level, id, message);
}

static void event(struct broker *b, const struct caller *by, const struct reg_entry *e,
                  enum wire_event_kind kind, uint32_t reason)
{
    const struct wire_event ev = {
        .instance = e->instance,
        .size = e->size,
        .kind = kind,
        .reason = reason,
        .shmid = table_shmid(e),
        .key = e->key,
        .uid = by ? by->uid : b->table.uid,
        .pid = by ? (uint32_t)by->pid : 0,
        .owner = e->uid,
        .gid = e->gid,
        .mode = e->mode,
    };

    if (b->watches > 0)
        watch_tell(b, &ev, e, NULL);
}

static const char *lifetime(const struct reg_entry *e)
{
    return e->flags & REG_EPHEMERAL ? ", ephemeral" : e->ttl > 0 ? ", with a ttl" : "";
}

void tell_created(struct broker *b, const struct caller *by, const struct reg_entry *e)
{
    record(LOG_INFO, MESSAGE_CREATED, by, e, by ? "asked" : "config",
           "created: shmid %d, key 0x%08x, %llu bytes, owner %u, group %u, mode %04o%s",
           table_shmid(e), (unsigned)e->key, (unsigned long long)e->size, e->uid, e->gid, e->mode,
           lifetime(e));
    event(b, by, e, EVENT_CREATED, by ? REASON_ASKED : REASON_CONFIG);
}

/*
 * A user can do without end what the log is to hear of. What is too much is counted, and the count
 * is told with the next refusal. A sweep is nobody's turn, so the second is looked at here.
 */
static bool log_may_hear(struct user *user)
{
    user_tick(user, clock_ns(CLOCK_MONOTONIC_COARSE) / NS_PER_SECOND);
    if (user->told++ < HEARD_A_SECOND)
        return true;
    user->untold++;
    return false;
}

/* A declared segment is charged to nobody: who has it counts. */
static bool log_may_hear_behind(const struct broker *b, const struct reg_entry *e)
{
    struct user *user =
        users_find(&b->quota.users, e->flags & REG_DECLARED ? e->uid : e->creator_uid);

    return !user || log_may_hear(user);
}

void tell_removed(struct broker *b, const struct caller *by, const struct reg_entry *e,
                  enum wire_event_reason reason)
{
    if (reason == REASON_BEHIND) {
        if (log_may_hear_behind(b, e))
            record(LOG_NOTICE, MESSAGE_VANISHED, by, e, "behind",
                   "was removed behind the broker's back (shmid %d, key 0x%08x): its name is free",
                   table_shmid(e), (unsigned)e->key);
    } else if (reason == REASON_UNUSED) {
        record(LOG_INFO, MESSAGE_REMOVED, by, e, "unused", "removed: shmid %d, %s", table_shmid(e),
               e->flags & REG_EPHEMERAL ? "its last user has gone" : "unused for its ttl");
    } else {
        record(LOG_INFO, MESSAGE_REMOVED, by, e, "asked", "removed: shmid %d", table_shmid(e));
    }
    event(b, by, e, EVENT_REMOVED, reason);
}

void tell_missing(const struct reg_entry *e)
{
    record(LOG_NOTICE, MESSAGE_VANISHED, NULL, e, "away",
           "(shmid %d) was removed while shmd was away: its name is free", table_shmid(e));
}

void tell_changed(struct broker *b, const struct caller *by, const struct reg_entry *e,
                  enum wire_event_reason reason)
{
    bool behind = reason == REASON_BEHIND;

    if (!behind || log_may_hear_behind(b, e))
        record(behind ? LOG_NOTICE : LOG_INFO, MESSAGE_CHANGED, by, e,
               behind ? "behind" : by ? "asked" : "config", "%s: owner %u, group %u, mode %04o",
               behind ? "was changed behind the broker's back" : "set", e->uid, e->gid, e->mode);
    event(b, by, e, EVENT_CHANGED, reason);
}

void tell_lease(struct broker *b, const struct caller *by, const struct reg_entry *e,
                enum wire_event_kind kind)
{
    event(b, by, e, kind, REASON_ASKED);
}

static bool worth_telling(int error)
{
    return error == -EPERM || error == -EACCES || error == -EDQUOT || error == -EXFULL;
}

static void record_refusal(struct request *rq, const char *name)
{
    struct caller *c = rq->caller;
    struct record r = {.n = 0};
    char message[WIRE_TEXT_MAX + 256], more[64] = "";

    if (c->user->untold > 0)
        snprintf(more, sizeof(more), " (%u lines about this user were left out)", c->user->untold);
    c->user->untold = 0;
    snprintf(message, sizeof(message), "refused to %s (uid %u, pid %d): %s%s", c->home,
             (unsigned)c->uid, c->pid, (const char *)rq->reply, more);
    add_caller(&r, c);
    if (*name)
        add(&r, "SHMD_SEGMENT=%s", name);
    add(&r, "SHMD_REASON=%s", (const char *)rq->reply);
    write_record(&r, LOG_NOTICE, MESSAGE_REFUSED, message);
}

void tell_refused(struct request *rq, int error)
{
    struct broker *b = rq->broker;
    char name[NAME_SIZE] = "";
    const char *why;

    if (!worth_telling(error))
        return;
    if (rq->text_size == 0 || rq->text[rq->text_size - 1] != 0 ||
        name_resolve(rq->text, rq->caller->home, name, &why) < 0)
        name[0] = 0;
    if (log_wants(LOG_NOTICE) && log_may_hear(rq->caller->user))
        record_refusal(rq, name);
    if (error == -EDQUOT && b->watches > 0) {
        const struct wire_event ev = {
            .kind = EVENT_REFUSED, .reason = (uint32_t)-error, .shmid = -1, .uid = rq->caller->uid,
            .pid = (uint32_t)rq->caller->pid, .owner = rq->caller->uid,
        };

        watch_tell(b, &ev, NULL, name);
    }
}

/* An ephemeral one that nobody held by a lease goes without asking us: that is its way. */
static void on_gone(void *data, const struct reg_entry *e)
{
    tell_removed(data, NULL, e, e->flags & REG_EPHEMERAL ? REASON_UNUSED : REASON_BEHIND);
}

static void on_changed(void *data, const struct reg_entry *e)
{
    tell_changed(data, NULL, e, REASON_BEHIND);
}

void tell_observe(struct broker *b)
{
    b->table.observer =
        (struct table_observer){.gone = on_gone, .changed = on_changed, .data = b};
}
