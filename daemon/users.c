/* SPDX-License-Identifier: MIT */
#include "users.h"

#include <stdlib.h>

static struct user **find(struct users *u, uid_t uid)
{
    struct user **link = &u->bucket[uid % USERS_BUCKETS];

    while (*link && (*link)->uid != uid)
        link = &(*link)->next;
    return link;
}

struct user *users_find(const struct users *u, uid_t uid)
{
    struct user *user = u->bucket[uid % USERS_BUCKETS];

    while (user && user->uid != uid)
        user = user->next;
    return user;
}

struct user *users_get(struct users *u, uid_t uid)
{
    struct user **link = find(u, uid);

    if (!*link) {
        *link = calloc(1, sizeof(**link));
        if (*link)
            (*link)->uid = uid;
    }
    return *link;
}

void users_put(struct users *u, struct user *user)
{
    struct user **link;

    if (user->connections > 0 || user->segments > 0)
        return;
    link = find(u, user->uid);
    *link = user->next;
    free(user);
}

void user_tick(struct user *user, int64_t second)
{
    if (user->second == second)
        return;
    user->second = second;
    user->requests = user->refusals = 0;
}
