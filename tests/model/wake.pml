/* SPDX-License-Identifier: MIT */
/*
 * Publish and wake. One writer, two readers that may sleep; `fencing` is switched at any time. A
 * reader that sleeps although all has been published and the writer is done is an invalid end.
 *
 * Bugs: NO_BARRIER, NO_LOOK (before sleeping), FLAG_LATE (raised after the look), BELL_LATE (read
 * after the look), NO_FENCE (while fencing), SWITCH_NO_FENCE, NO_RING (the flag is lowered only).
 * The look at the flag behind a switch is not among them: the fence is what is needed, as the next
 * message looks anyway. So the model leaves the look out, which is the harder case.
 */
#define WORDS 4
#define STORERS 1
#include "tso.h"
#define SENT 0
#define FLAG 1
#define BELL 2
#define FENCING 3
#define MESSAGES 2

inline wake()
{
    if
    :: mem[FLAG] ->
        atomic { EMPTY(0) -> asleep = mem[FLAG]; mem[FLAG] = 0 }
#ifndef NO_RING
        if
        :: asleep -> atomic { EMPTY(0) -> mem[BELL]++; asleep = 0 }
        :: else
        fi
#endif
    :: else
    fi
}

active proctype writer()
{
    byte n, asleep, switches;
    bool fencing;

    do
    :: n < MESSAGES ->
        n++;
        STORE(0, SENT, n);
        if
#ifndef NO_FENCE
        :: fencing -> FENCE(0)
        :: else
#else
        :: true
#endif
        fi;
        wake()
    :: n < MESSAGES && !fencing && switches < 1 -> switches++; fencing = true; STORE(0, FENCING, 1)
    :: n < MESSAGES && fencing ->
        fencing = false;
        STORE(0, FENCING, 0)
#ifndef SWITCH_NO_FENCE
        ; FENCE(0)
#endif
    :: n == MESSAGES -> break
    od
}

active [2] proctype reader()
{
    byte got, bell, now;

    do
    :: got == MESSAGES -> break
    :: else ->
#ifndef BELL_LATE
        bell = mem[BELL];
#endif
#ifndef FLAG_LATE
        mem[FLAG] = 1;
        if
        :: mem[FENCING]
#ifdef NO_BARRIER
        :: else
#else
        :: else -> EMPTY(0)
#endif
        fi;
#endif
#ifdef NO_LOOK
        now = got;
#else
        now = mem[SENT];
#endif
#ifdef BELL_LATE
        bell = mem[BELL];
#endif
#ifdef FLAG_LATE
        mem[FLAG] = 1;
        if
        :: mem[FENCING]
        :: else -> EMPTY(0)
        fi;
#endif
        if
        :: now != got -> got = now
        :: else -> mem[BELL] != bell; got = mem[SENT]
        fi;
        bell = 0;
        now = 0
    od
}
