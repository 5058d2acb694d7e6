/* SPDX-License-Identifier: MIT */
#include "users.h"

#include <stdbool.h>
#include <stdlib.h>

struct user *users_find(const struct users *u, uid_t uid)
{
    struct user *user = u->bucket[uid % USERS_BUCKETS];

    while (user && user->uid != uid)
        user = user->next;
    return user;
}

static bool idle(const struct user *user)
{
    return user->connections == 0 && user->segments == 0;
}

static void free_idle(struct user **link)
{
    while (*link) {
        struct user *user = *link;

        if (idle(user)) {
            *link = user->next;
            free(user);
        } else {
            link = &user->next;
        }
    }
}

struct user *users_get(struct users *u, uid_t uid)
{
    struct user *user = users_find(u, uid);
    struct user **bucket = &u->bucket[uid % USERS_BUCKETS];

    if (user)
        return user;
    free_idle(bucket); /* so that they do not become more and more */
    user = calloc(1, sizeof(*user));
    if (!user)
        return NULL;
    user->uid = uid;
    user->next = *bucket;
    *bucket = user;
    return user;
}

void users_put(struct users *u, struct user *user)
{
    struct user **link = &u->bucket[user->uid % USERS_BUCKETS];

    if (!idle(user) || user->requests > 0 || user->told > 0)
        return;
    while (*link != user)
        link = &(*link)->next;
    *link = user->next;
    free(user);
}

void users_done(struct users *u)
{
    for (unsigned i = 0; i < USERS_BUCKETS; i++)
        free_idle(&u->bucket[i]);
}

void user_tick(struct user *user, int64_t second)
{
    if (user->second == second)
        return;
    user->second = second;
    user->requests = user->told = 0;
}
