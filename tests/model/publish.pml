/* SPDX-License-Identifier: MIT */
/*
 * Publish and take over. A writer publishes a message at once, one in pieces, or two as a batch, and
 * may die before any store; what it had stored still comes out of its buffer. The next one goes on
 * over what is ready and publishes up to LAST messages in all. The reader must get each of them in
 * order, whole, and none that was not finished: the two bytes of a message name the one who wrote it.
 * The ring holds old bytes that look like records.
 *
 * A place is three words: a head (0, or kind + sequence) and two bytes. HEAD, SENT and the head
 * words are what a writer that takes over goes by, PIECE (turn * 4 + bytes) what a reader follows.
 *
 * Bugs: NO_CLEAR (the next word), HEAD_FIRST (before the bytes), TURN_STAYS, NO_TURN_LOOK (by the
 * reader), NO_SETTLE (go on at `head` without a look), HEAD_BEFORE_SENT.
 */
#define WORDS 15
#define STORERS 2
#include "tso.h"
#define PLACE(n) ((n) * 3)
#define PIECE 12
#define HEAD 13
#define SENT 14
#define OPEN 16
#define READY 32
#define LAST 2

bool dead, finished; /* the first writer */

#define PUT(at, value) if :: STORE(who, at, value) :: who == 0 -> goto died fi

inline put_bytes(place)
{
    PUT(PLACE(place) + 1, who + 1);
    PUT(PLACE(place) + 2, who + 1)
}

inline put_clear(place)
{
#ifndef NO_CLEAR
    PUT(PLACE(place), 0)
#else
    skip
#endif
}

inline put_hints()
{
#ifndef HEAD_BEFORE_SENT
    PUT(SENT, n);
    PUT(HEAD, n)
#else
    PUT(HEAD, n);
    PUT(SENT, n)
#endif
}

proctype write(byte who)
{
    byte n, turn, word;

    if
    :: who == 1 -> /* shmd hands on what a dead one had once that has happened */
        if
        :: dead && EMPTY(0)
        :: finished -> goto done
        fi;
        n = mem[HEAD];
        turn = mem[PIECE] / 4;
        /* A record there says its sequence itself. */
        assert(mem[PLACE(n)] || mem[SENT] == n);
#ifndef NO_SETTLE
        do
        :: word = mem[PLACE(n)];
            if
            :: word >= READY -> assert(word == READY + n); n++
            :: word && word < READY ->
#ifndef TURN_STAYS
                turn++;
                PUT(PIECE, turn * 4);
#endif
                PUT(PLACE(n), 0);
                break
            :: else -> break
            fi
        od;
        word = 0;
#endif
        assert(n <= LAST)
    :: else
    fi;
    do
    :: n == LAST -> break
    :: n < LAST -> /* at once */
#ifdef HEAD_FIRST
        put_clear(n + 1);
        PUT(PLACE(n), READY + n);
        put_bytes(n);
#else
        put_bytes(n);
        put_clear(n + 1);
        PUT(PLACE(n), READY + n);
#endif
        n++;
        put_hints()
    :: n < LAST -> /* in pieces */
        put_clear(n + 1);
        PUT(PIECE, turn * 4);
        PUT(PLACE(n), OPEN + n);
        PUT(PLACE(n) + 1, who + 1);
        PUT(PIECE, turn * 4 + 1);
        PUT(PLACE(n) + 2, who + 1);
        PUT(PIECE, turn * 4 + 2);
        PUT(PLACE(n), READY + n);
        n++;
        put_hints()
    :: n == 0 -> /* two in a batch */
        put_bytes(0);
        put_clear(1);
        put_bytes(1);
        put_clear(2);
        PUT(PLACE(1), READY + 1);
        PUT(PLACE(0), READY);
        n = 2;
        put_hints()
    od;
    finished = true;
    goto done;
died:
    dead = true;
done:
    skip
}

active proctype reader()
{
    byte n, first, second, turn, word, piece;

    do
    :: n == LAST -> break
    :: n < LAST ->
        mem[PLACE(n)] != 0;
        first = 0; second = 0;
        turn = mem[PIECE] / 4;
follow:
        word = mem[PLACE(n)];
        piece = mem[PIECE];
        if
#ifndef NO_TURN_LOOK
        :: piece / 4 != turn -> goto again
        :: piece / 4 == turn && word == 0 -> goto again
        :: piece / 4 == turn && word >= READY ->
#else
        :: word == 0 -> goto again
        :: word >= READY ->
#endif
            assert(word == READY + n);
            if :: first == 0 -> first = mem[PLACE(n) + 1] :: else fi;
            if :: second == 0 -> second = mem[PLACE(n) + 2] :: else fi;
            assert(first && first == second && first < 9);
            n++
#ifndef NO_TURN_LOOK
        :: piece / 4 == turn && word && word < READY ->
#else
        :: word && word < READY ->
#endif
            assert(word == OPEN + n);
            if :: piece % 4 >= 1 && first == 0 -> first = mem[PLACE(n) + 1] :: else fi;
            if :: piece % 4 == 2 && second == 0 -> second = mem[PLACE(n) + 2] :: else fi;
            mem[PLACE(n)] != word || mem[PIECE] != piece;
            goto follow
        fi;
again:
        word = 0; piece = 0; turn = 0; first = 0; second = 0
    od
}

init {
    byte i;

    atomic {
        i = 3;
        do /* old bytes: ready as they come, of another writer */
        :: i < 12 -> mem[i] = (i % 3 -> 9 : READY + i / 3); i++
        :: else -> break
        od;
        mem[1] = 9; mem[2] = 9;
        i = 0;
        run write(0);
        run write(1)
    }
}
