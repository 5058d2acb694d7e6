/* SPDX-License-Identifier: MIT */
#include "ring_wait.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

#define BUDGET_MAX 50000u /* ns */
#define BUDGET_MIN 800u
#define ALWAYS 1000000u /* ns between two looks at the time limit, of who never sleeps */
#define LONG_YIELD 500000 /* ns that others run who are not members, but busy */
#define STAYS_MIN 16u   /* spins that yield to nobody thereafter, */
#define STAYS_MAX 4096u /* more each time that it is so again */
#define LOOKS 1024u /* waits in vain between two questions after the CPUs: some microseconds */

#ifdef RING_TSAN
_Atomic uint32_t ring_fences;
#endif
#ifdef SHMD_FAILPOINTS
void (*ring_failpoint)(void);
#endif

static int membarrier(int command)
{
    return (int)syscall(SYS_membarrier, command, 0, 0);
}

bool ring_wait_register(void)
{
    static _Atomic int registered; /* 1: yes, -1: cannot be */
    int is = atomic_load(&registered);

    if (is == 0) {
        is = membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0 ? 1 : -1;
        atomic_store(&registered, is);
    }
    return is > 0;
}

bool ring_wait_barrier(void)
{
#ifdef RING_TSAN
    ring_fence();
#endif
    return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0;
}

/* + 1 */
static uint32_t ring_wait_cpu(void)
{
    int cpu = sched_getcpu();

    return cpu < 0 ? 0 : (uint32_t)cpu + 1;
}

void ring_note_cpu(_Atomic uint32_t *at)
{
    uint32_t cpu = ring_wait_cpu();

    if (ring_load(at) != cpu)
        ring_store(at, cpu);
}

static void look_at_cpus(struct ring_wait *w)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    w->looks = LOOKS;
    w->alone = sysconf(_SC_NPROCESSORS_ONLN) == 1;
    w->single = sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1;
}

static void in_vain(struct ring_wait *w)
{
    if (w->looks-- == 0)
        look_at_cpus(w);
}

void ring_wait_init(struct ring_wait *w)
{
    *w = (struct ring_wait){.budget = BUDGET_MAX, .stays_next = STAYS_MIN};
    look_at_cpus(w);
}

bool ring_spin_begin(struct ring_wait *w, struct ring_spin *s, uint32_t peer_cpu)
{
    if (w->stays > 0)
        w->stays--;
    *s = (struct ring_spin){.wait = w, .limit = w->always ? ALWAYS : w->budget,
                            .yields = !w->always && w->stays == 0};
    if (w->always)
        return true;
    if (!w->never && !w->alone && !(w->single && peer_cpu && peer_cpu == ring_wait_cpu()))
        return true;
    in_vain(w);
    return false;
}

/* Who else is ready runs; false: for so long that it is better to stay for some spins. */
static bool yield(struct ring_wait *w, int64_t now)
{
    sched_yield();
    if (clock_ns(CLOCK_MONOTONIC) - now <= LONG_YIELD) {
        w->stays_next = STAYS_MIN;
        return true;
    }
    w->stays = w->stays_next;
    w->stays_next = MIN(w->stays_next * 2, STAYS_MAX);
    return false;
}

bool ring_spin_clock(struct ring_spin *s)
{
    int64_t now = clock_ns(CLOCK_MONOTONIC);

    if (s->start == 0)
        s->start = now;
    else if (s->yields)
        s->yields = yield(s->wait, now);
    return now - s->start < s->limit;
}

void ring_spin_end(struct ring_wait *w, bool paid)
{
    if (paid)
        w->budget = MIN(w->budget * 2, BUDGET_MAX);
    else {
        w->budget = MAX(w->budget / 2, BUDGET_MIN);
        in_vain(w);
    }
}

int ring_sleep(_Atomic uint32_t *bell, uint32_t value, struct deadline *d, int step_ms)
{
    int left = deadline_left_ms(d);
    int ms = step_ms >= 0 && (left < 0 || step_ms < left) ? step_ms : left;
    struct timespec t = {ms / 1000, ms % 1000 * (NS_PER_SECOND / 1000)};

    if (left == 0)
        return -ETIMEDOUT;
    /* Neither EAGAIN nor EINTR is anything but a reason to look again. */
    if (syscall(SYS_futex, bell, FUTEX_WAIT, value, ms < 0 ? NULL : &t, NULL, 0) == 0)
        return 0;
    return errno == ETIMEDOUT && ms == left ? -ETIMEDOUT : 0;
}

void ring_ring(_Atomic uint32_t *bell)
{
    atomic_fetch_add(bell, 1);
    ring_stored();
    syscall(SYS_futex, bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
