/* SPDX-License-Identifier: MIT */
/*
 * Numbers of handles. A handle that asks for a role tells shmd which one of its process it is: by
 * that shmd knows a role whose answer was lost from one that another thread is just being given.
 * The lowest free number is taken, so that who gives a handle up and makes another one is the same
 * again. Only the lowest ones are kept account of: what a process takes beyond them is counted on.
 */
#include <stdatomic.h>

#include "handle.h"

#define KEPT 64u

static _Atomic uint64_t taken;
static _Atomic uint32_t beyond;

uint32_t number_take(void)
{
    uint64_t seen = atomic_load(&taken);

    while (~seen) {
        uint32_t lowest = (uint32_t)__builtin_ctzll(~seen);

        if (atomic_compare_exchange_weak(&taken, &seen, seen | 1ull << lowest))
            return lowest + 1;
    }
    return KEPT + 1 + atomic_fetch_add(&beyond, 1) % (UINT32_MAX - KEPT);
}

void number_give(uint32_t number)
{
    if (number > 0 && number <= KEPT)
        atomic_fetch_and(&taken, ~(1ull << (number - 1)));
}
