/* SPDX-License-Identifier: MIT */
/*
 * Many writers: the lock, a death of its holder at any step, and a reader that joins meanwhile. One
 * writer dies, another goes on. Each step is seen at once here; room.pml has what fences do.
 *
 * `claimed` may be more than was agreed with the readers where its writer died before its second
 * look. `epoch` tells the others so: whoever takes the lock next agrees first.
 *
 * Bugs: NO_AGREE, EPOCH_LATE (the lock is freed before the epoch is counted), SWALLOWED (who waits
 * for room notes the epoch without agreeing), JOIN_NO_EPOCH, LOCK_STAYS (a dead one's).
 */
#define SIZE 2
#define LAST 4

byte lock, epoch, head, claimed, position, held;
mtype = { ABSENT, JOINING, ACTIVE };
mtype state = ABSENT;
bool dead, joined;

/* How far a writer may go that knows `agreed` as claimed. */
inline room(agreed)
{
    atomic {
        if
        :: state == ACTIVE || (state == JOINING && position + SIZE >= agreed) ->
            end = position + SIZE
        :: else -> end = head + SIZE
        fi
    }
}

proctype write(byte who)
{
    byte end, want, agreed, known;

    do
    :: atomic { lock == 0 -> lock = who };
        agreed = claimed;
        want = head;
        if
        :: who == 1 -> goto died
        :: true
        fi;
#ifndef NO_AGREE
        if
        :: known != epoch ->
            known = epoch;
            room(agreed);
            if
            :: end < agreed && end >= head -> agreed = end; claimed = end
            :: else
            fi
        :: else
        fi;
#endif
        if
        :: head == LAST -> lock = 0; break
        :: else
        fi;
        if
        :: head >= agreed ->
            room(agreed);
            if
            :: end > head ->
                want = (end < head + 2 -> end : head + 2);
                claimed = want;
                if
                :: who == 1 -> goto died
                :: true
                fi;
                room(agreed);
                if
                :: end < want -> want = (end > agreed -> end : agreed); claimed = want
                :: else
                fi;
                agreed = want
            :: else
            fi
        :: else
        fi;
        if
        :: head < agreed ->
            atomic { assert(!joined || head < held + SIZE); head++ };
            if
            :: who == 1 -> goto died
            :: true
            fi;
            lock = 0
        :: else ->
            lock = 0;
            /* For room, or whatever shmd rings for; no lock is held. */
            (state != ACTIVE || position + SIZE > head || known != epoch);
#ifdef SWALLOWED
            known = epoch
#endif
        fi
    od;
    goto done;
died:
    dead = true;
done:
    skip
}

active proctype shmd()
{
end:
    dead;
#ifdef EPOCH_LATE
    lock = 0;
    epoch++
#else
    epoch++;
#ifndef LOCK_STAYS
    lock = 0
#endif
#endif
}

active proctype reader()
{
    byte seen, at;
    bool again;

join:
    do
    :: seen = epoch;
        at = (head > 0 -> head - 1 : 0);
        position = at;
        state = JOINING;
        if
        :: claimed > at + SIZE -> skip
        :: else ->
            state = ACTIVE;
            atomic {
                if
#ifndef JOIN_NO_EPOCH
                :: epoch == seen ->
#else
                :: true ->
#endif
                    joined = true; held = at; break
#ifndef JOIN_NO_EPOCH
                :: else
#endif
                fi
            }
        fi
    od;
    do
    :: at == LAST -> break
    :: !again -> /* leaves, and another one comes */
        again = true;
        joined = false;
        state = ABSENT;
        goto join
    :: head > at -> at++; held = at; position = at
    od
}

init { atomic { run write(1); run write(2) } }
