/* SPDX-License-Identifier: MIT */
#include "quota.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

static const struct config_namespace *declared(const struct quota *q, const char *name)
{
    return config_namespace(q->config, name, name_namespace_len(name));
}

static struct usage *usage_of(const struct quota *q, const struct config_namespace *ns)
{
    return ns ? &q->namespaces[ns - q->config->namespaces] : NULL;
}

static int SHMD_PRINTF(2, 3) over(char error[QUOTA_ERROR_MAX], const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(error, QUOTA_ERROR_MAX, fmt, args);
    va_end(args);
    return -EDQUOT;
}

static bool fits(uint64_t used, uint64_t wanted, uint64_t limit)
{
    return used <= limit && wanted <= limit - used;
}

static int check_user(const struct quota *q, uid_t uid, uint64_t pages, char error[QUOTA_ERROR_MAX])
{
    const struct config *c = q->config;
    const struct user *user = users_find(&q->users, uid);
    uint32_t segments = user ? user->segments : 0;
    uint64_t used = user ? user->pages : 0;

    if (segments >= c->segments_per_user)
        return over(error, "user %u has %u segments, and segments_per_user allows %u",
                    (unsigned)uid, segments, c->segments_per_user);
    if (!fits(used, pages, c->size_per_user / quota_page()))
        return over(error,
                    "user %u has %llu bytes and asks for %llu more, and size_per_user allows %llu",
                    (unsigned)uid, (unsigned long long)used * quota_page(),
                    (unsigned long long)pages * quota_page(), (unsigned long long)c->size_per_user);
    return 0;
}

static int check_namespace(const struct quota *q, const char *name, uint64_t pages,
                           char error[QUOTA_ERROR_MAX])
{
    const struct config_namespace *ns = declared(q, name);
    const struct usage *u = usage_of(q, ns);

    if (!ns)
        return 0;
    if (u->segments >= ns->max_segments)
        return over(error, "namespace %s has %u segments, and its max_segments allows %u", ns->name,
                    u->segments, ns->max_segments);
    if (!fits(u->pages, pages, ns->max_size / quota_page()))
        return over(error,
                    "namespace %s has %llu bytes and %llu more are asked for, and its max_size "
                    "allows %llu",
                    ns->name, (unsigned long long)u->pages * quota_page(),
                    (unsigned long long)pages * quota_page(), (unsigned long long)ns->max_size);
    return 0;
}

int quota_check(const struct quota *q, uid_t uid, const char *name, uint64_t size,
                char error[QUOTA_ERROR_MAX])
{
    const struct config *c = q->config;
    uint64_t pages = quota_pages(size);
    int r = uid == (uid_t)-1 ? 0 : check_user(q, uid, pages, error);

    if (r == 0)
        r = check_namespace(q, name, pages, error);
    if (r == 0 && !fits(q->host.pages, pages, c->total_size / quota_page()))
        r = over(error,
                 "all users together have %llu bytes and %llu more are asked for, and total_size "
                 "allows %llu",
                 (unsigned long long)q->host.pages * quota_page(),
                 (unsigned long long)pages * quota_page(), (unsigned long long)c->total_size);
    return r;
}

/* Declared segments are nobody's: shmd.conf asked for them. */
static bool has_user(const struct reg_entry *e)
{
    return !(e->flags & REG_DECLARED);
}

int quota_charge(struct quota *q, const struct reg_entry *e)
{
    uint64_t pages = quota_pages(e->size);
    struct usage *ns = usage_of(q, declared(q, e->name));

    if (has_user(e)) {
        struct user *user = users_get(&q->users, e->creator_uid);

        if (!user)
            return -ENOMEM;
        user->segments++;
        user->pages += pages;
    }
    if (ns) {
        ns->segments++;
        ns->pages += pages;
    }
    q->host.segments++;
    q->host.pages += pages;
    return 0;
}

void quota_release(struct quota *q, const struct reg_entry *e)
{
    uint64_t pages = quota_pages(e->size);
    struct usage *ns = usage_of(q, declared(q, e->name));

    if (has_user(e)) {
        struct user *user = users_find(&q->users, e->creator_uid);

        user->segments--;
        user->pages -= pages;
        users_put(&q->users, user);
    }
    if (ns) {
        ns->segments--;
        ns->pages -= pages;
    }
    q->host.segments--;
    q->host.pages -= pages;
}

static void forget_segments(struct users *u)
{
    for (unsigned i = 0; i < USERS_BUCKETS; i++)
        for (struct user *user = u->bucket[i], *next; user; user = next) {
            next = user->next;
            user->segments = 0;
            user->pages = 0;
            users_put(u, user);
        }
}

int quota_restart(struct quota *q, const struct config *config)
{
    struct usage *namespaces = calloc(config->n_namespaces + 1, sizeof(*namespaces));

    if (!namespaces)
        return -ENOMEM;
    free(q->namespaces);
    q->namespaces = namespaces;
    q->config = config;
    q->host = (struct usage){0};
    forget_segments(&q->users);
    return 0;
}

void quota_done(struct quota *q)
{
    forget_segments(&q->users);
    users_done(&q->users);
    free(q->namespaces);
    q->namespaces = NULL;
}
