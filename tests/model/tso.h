/* SPDX-License-Identifier: MIT */
/*
 * Memory as x86 has it: what a process stores goes through a buffer of its own, in order, and
 * anybody else sees it once it has come out, at any later time. A fence, and any atomic read and
 * write in one, waits until the buffer is empty; membarrier(2) waits for everybody's. No process
 * here loads what it stores itself, so loads go past the buffer.
 *
 * WORDS is how many words there are, STORERS how many processes store.
 */
byte mem[WORDS];
chan buffer[STORERS] = [4] of { byte, byte };

#define STORE(who, at, value) buffer[who]!at, value
#define EMPTY(who) (len(buffer[who]) == 0)
#define FENCE(who) EMPTY(who)

active [STORERS] proctype drain()
{
    byte at, value;
end:
    do
    :: atomic { buffer[_pid]?at, value -> mem[at] = value; at = 0; value = 0 }
    od
}
