/* SPDX-License-Identifier: MIT */
/* Detaching in a thread: every address exactly once, also when more come than can wait. */
#include "unit.h"

#include <pthread.h>
#include <stdbool.h>

#include "reaper.h"
#include "sysv.h"

#define MANY 100000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t one_more = PTHREAD_COND_INITIALIZER;
static unsigned times[MANY], n_detached;
static pthread_t main_thread;
static bool elsewhere;

static int detach(const void *address)
{
    pthread_mutex_lock(&lock);
    times[(uintptr_t)address]++;
    n_detached++;
    elsewhere = elsewhere || !pthread_equal(pthread_self(), main_thread);
    pthread_cond_signal(&one_more);
    pthread_mutex_unlock(&lock);
    return 0;
}

static void each_once(void **state)
{
    static const struct sysv_ops ops = {.detach = detach};

    (void)state;
    main_thread = pthread_self();
    for (uintptr_t i = 0; i < MANY; i++)
        reaper_detach(&ops, (void *)i);
    pthread_mutex_lock(&lock);
    while (n_detached < MANY)
        pthread_cond_wait(&one_more, &lock);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(times[i], 1);
    assert_true(elsewhere);
    pthread_mutex_unlock(&lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_once),
    };

    return cmocka_run_group_tests_name("reaper", tests, NULL, NULL);
}
