/* SPDX-License-Identifier: MIT */
#include "users.h"

#include <errno.h>
#include <stdlib.h>

struct user {
    struct user *next;
    uid_t uid;
    unsigned connections;
};

static struct user **find(struct users *u, uid_t uid)
{
    struct user **link = &u->bucket[uid % USERS_BUCKETS];

    while (*link && (*link)->uid != uid)
        link = &(*link)->next;
    return link;
}

int users_enter(struct users *u, uid_t uid, unsigned limit)
{
    struct user **link = find(u, uid);

    if (!*link) {
        *link = calloc(1, sizeof(**link));
        if (!*link)
            return -ENOMEM;
        (*link)->uid = uid;
    }
    if ((*link)->connections >= limit)
        return -EUSERS;
    (*link)->connections++;
    return 0;
}

void users_leave(struct users *u, uid_t uid)
{
    struct user **link = find(u, uid), *user = *link;

    if (user && --user->connections == 0) {
        *link = user->next;
        free(user);
    }
}
