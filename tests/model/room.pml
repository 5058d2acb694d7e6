/* SPDX-License-Identifier: MIT */
/*
 * Room, and waiting for it. A ring of two records, a reader that joins at the oldest one, then
 * releases one by one, and a writer that sleeps while there is none. The reader may leave out what
 * is old right after it joined, and then has to ring as well.
 *
 * Bugs: CLAIM_NO_FENCE, JOIN_NO_FENCE, NO_SECOND_LOOK, NO_BARRIER, RELEASE_NO_RING,
 * JOIN_NO_RING.
 */
#define WORDS 8
#define STORERS 2
#include "tso.h"
#define CLAIMED 0 /* the writer's */
#define HEAD 1
#define ACTIVE 2 /* the reader's */
#define POSITION 3
#define FLAG 4
#define BELL 5
#define SIZE 2
#define LAST 5

bool safe;   /* the reader has joined */
byte held;   /* and this is what it has not released */

/* How far the writer may go. */
inline room()
{
    if
    :: mem[ACTIVE] -> end = mem[POSITION] + SIZE
    :: else -> end = head + SIZE
    fi
}

active proctype writer()
{
    byte head, claimed, end, bell, want;

    do
    :: head == LAST -> break
    :: head < LAST && head < claimed ->
        atomic { assert(!safe || head < held + SIZE); head++ };
        STORE(0, HEAD, head)
    :: head < LAST && head >= claimed ->
        bell = mem[BELL];
        atomic { EMPTY(0) -> mem[FLAG] = 1 };
#ifndef NO_BARRIER
        EMPTY(1);
#endif
        room();
        if
        :: end > head ->
            want = head + 1;
            STORE(0, CLAIMED, want);
#ifndef CLAIM_NO_FENCE
            FENCE(0);
#endif
#ifndef NO_SECOND_LOOK
            room();
            if
            :: end < want -> STORE(0, CLAIMED, claimed)
            :: else -> claimed = want
            fi
#else
            claimed = want
#endif
        :: else -> mem[BELL] != bell
        fi;
        end = 0; bell = 0; want = 0
    od
}

inline ring()
{
    if
    :: mem[FLAG] ->
        atomic { EMPTY(1) -> mem[FLAG] = 0 };
        atomic { EMPTY(1) -> mem[BELL]++ }
    :: else
    fi
}

active proctype reader()
{
    byte at, seen;

    do
    :: at = mem[HEAD]; if :: at > 0 -> at-- :: else fi;
        STORE(1, POSITION, at);
        STORE(1, ACTIVE, 1);
#ifndef JOIN_NO_FENCE
        FENCE(1);
#endif
        atomic {
            seen = mem[CLAIMED];
            if
            :: seen <= at + SIZE -> safe = true; held = at
            :: else
            fi
        };
        if
        :: safe -> break
        :: else
        fi
    od;
    if /* leave out what is old */
    :: mem[HEAD] > at ->
        at = mem[HEAD];
        held = at;
        STORE(1, POSITION, at);
#ifndef JOIN_NO_RING
        ring()
#endif
    :: true
    fi;
    do
    :: at == LAST -> break
    :: mem[HEAD] > at ->
        at++;
        held = at;
        STORE(1, POSITION, at);
#ifndef RELEASE_NO_RING
        ring()
#endif
    od
}
