/* SPDX-License-Identifier: MIT */
/*
 * Waiting on words of a shared segment, and role words: who is the writer, who is the reader.
 *
 * A role word is a robust futex: its holder's TID with FUTEX_WAITERS always set. When the holder
 * ends in whatever way, the kernel puts FUTEX_OWNER_DIED in place of the TID and wakes one waiter.
 * Only the list node that tells the kernel of it lies in private memory; nothing in the segment is
 * followed.
 */
#pragma once

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef _Atomic uint32_t word;

/* A moment on CLOCK_MONOTONIC in nanoseconds; -1: never. */
int64_t deadline_in(int timeout_ms);
int deadline_left_ms(int64_t deadline);

struct word_is {
    const word *at;
    uint32_t value;
};

/*
 * Wait while all words have these values. 0: one differs, or there was a wake-up (perhaps for
 * nothing: look again); -ETIMEDOUT; -ENOSYS (needs Linux 5.16).
 */
int words_wait(const struct word_is *words, size_t count, int64_t deadline);

/* Wake all who wait on `w`. */
void word_wake(const word *w);

struct role {
    struct robust_list_head head;
    struct robust_list node;
    word *at; /* NULL: not held */
};

/* Does a role word of this value have a living holder? */
static inline bool role_held(uint32_t value)
{
    return value & FUTEX_TID_MASK;
}

/*
 * Take the role: 0, -EBUSY (somebody living holds it), -errno. *r must stay where it is while the
 * role is held. A thread can hold one role at a time.
 */
int role_claim(struct role *r, word *at);

/* Give the role up and wake who waits on it. Nothing happens where none is held. */
void role_release(struct role *r);
