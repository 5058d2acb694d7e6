/* SPDX-License-Identifier: MIT */
#include "futex.h"

#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

int64_t deadline_in(int timeout_ms)
{
    return timeout_ms < 0 ? -1 : clock_ns(CLOCK_MONOTONIC) + timeout_ms * (NS_PER_SECOND / 1000);
}

int deadline_left_ms(int64_t deadline)
{
    if (deadline < 0)
        return -1;

    int64_t left = deadline - clock_ns(CLOCK_MONOTONIC);

    return left <= 0 ? 0 : (int)((left + NS_PER_SECOND / 1000 - 1) / (NS_PER_SECOND / 1000));
}

int words_wait(const struct word_is *words, size_t count, int64_t deadline)
{
    struct futex_waitv waits[4] = {0};
    struct timespec until = {deadline / NS_PER_SECOND, deadline % NS_PER_SECOND};

    if (count > sizeof(waits) / sizeof(waits[0]))
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        waits[i].uaddr = (uintptr_t)words[i].at;
        waits[i].val = words[i].value;
        waits[i].flags = FUTEX_32; /* not private: other processes wake it */
    }

    long r = syscall(SYS_futex_waitv, waits, count, 0, deadline < 0 ? NULL : &until,
                     CLOCK_MONOTONIC);

    if (r < 0 && errno != EAGAIN && errno != EINTR)
        return -errno;
    /* A peer that keeps changing the words does not stretch the time limit. */
    return deadline_left_ms(deadline) == 0 ? -ETIMEDOUT : 0;
}

void word_wake(const word *w)
{
    syscall(SYS_futex, w, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static int robust_set(struct role *r, bool on)
{
    r->node.next = &r->head.list;
    r->head.list.next = on ? &r->node : &r->head.list;
    return syscall(SYS_set_robust_list, &r->head, sizeof(r->head)) < 0 ? -errno : 0;
}

int role_claim(struct role *r, word *at)
{
    uint32_t mine = (uint32_t)gettid() | FUTEX_WAITERS;
    uint32_t seen = atomic_load(at);

    /*
     * The kernel learns of the word before it is taken. It acts only on a word that has this
     * thread's TID, so there is no moment in which death would go unnoticed, or be told of
     * another's role.
     */
    r->head = (struct robust_list_head){.futex_offset = (char *)at - (char *)&r->node};

    int error = robust_set(r, true);

    if (error < 0)
        return error;
    do {
        if (role_held(seen)) {
            robust_set(r, false);
            return -EBUSY;
        }
    } while (!atomic_compare_exchange_strong(at, &seen, mine));
    r->at = at;
    return 0;
}

void role_release(struct role *r)
{
    if (!r->at)
        return;
    atomic_store(r->at, 0);
    robust_set(r, false);
    word_wake(r->at);
    r->at = NULL;
}
