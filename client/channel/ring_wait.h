/* SPDX-License-Identifier: MIT */
/*
 * Waiting: a spin that learns, then a futex.
 *
 * Spinning pays where the other side runs on another CPU and is quick. Each time a spin was for
 * nothing, the next one may take half as long; each time it paid, twice as long, up to 50 us. Where
 * this thread may run on one CPU only and the peer was last seen there, or there is but one, a spin
 * could only keep the peer from running. Several members may share one CPU: one that spins lets the
 * others run now and then, without whom the peer cannot go on. Not where those who run then keep the
 * CPU for long: who sleeps is put before them when it is woken, who has yielded is not.
 *
 * The fence that a sleeper needs in the publisher is put there by membarrier(2), for which the
 * publisher's process is registered.
 */
#pragma once

#include "../lib/deadline.h"
#include "ring_mem.h"

struct ring_wait {
    uint32_t budget;    /* nanoseconds of the next spin */
    uint32_t stays;     /* spins that are not to yield, as a yield took long */
    uint32_t stays_next; /* how many if that is so again */
    uint32_t looks;     /* waits in vain until the CPUs are asked for anew */
    bool single;        /* this thread may run on one CPU only */
    bool alone;         /* there is one only */
    bool always;        /* spin until the time limit, never sleep */
    bool never;         /* sleep at once */
};

/* One spin. */
struct ring_spin {
    struct ring_wait *wait;
    int64_t start; /* 0: the clock was not asked yet */
    uint32_t turns;
    uint32_t limit;
    bool yields; /* now and then, to who is ready to run on this CPU */
};

/* The caller's, called with `data`. */
struct ring_hooks {
    bool (*poke)(void *data); /* shmd is to tell those of the other side who poll; false: not now */
    /* Members are to make themselves known again. 0; -EAGAIN: not possible now; -ESTALE: this one
     * is none any more. */
    int (*changed)(void *data);
    void *data;
};

void ring_wait_init(struct ring_wait *w);

/* The process of a publisher: may sleepers reach it by membarrier? Asked for once a process. */
bool ring_wait_register(void);

/* A sleeper: put a fence into every publisher that runs. False: none could be put there. */
bool ring_wait_barrier(void);

/* Tell the other side where this thread runs: who begins to wait, or has to wake who waits. */
void ring_note_cpu(_Atomic uint32_t *at);

/* Begin; false: do not spin. peer_cpu: + 1, 0 where unknown. */
bool ring_spin_begin(struct ring_wait *w, struct ring_spin *s, uint32_t peer_cpu);
bool ring_spin_clock(struct ring_spin *s);
/* A spin was for nothing: is there to be another one, not a sleep? */
static inline bool ring_spin_again(const struct ring_wait *w, struct deadline *d)
{
    return w->always && deadline_left_ms(d) != 0;
}
/* It paid, or not. */
void ring_spin_end(struct ring_wait *w, bool paid);

static inline void ring_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

/* One turn; false: it has been long enough. Two looks for each pause, which may take longer than a
 * line takes to come. */
static inline bool ring_spin_turn(struct ring_spin *s)
{
    if (s->turns % 2)
        ring_pause();
    return ++s->turns % 64 || ring_spin_clock(s);
}

/* Sleep while *bell is `value`, for no longer than step_ms (-1: no bound) and the time limit.
 * 0: look again; -ETIMEDOUT. */
int ring_sleep(_Atomic uint32_t *bell, uint32_t value, struct deadline *d, int step_ms);

/* Ring a bell and wake all who sleep on it. */
void ring_ring(_Atomic uint32_t *bell);
