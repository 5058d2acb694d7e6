/* SPDX-License-Identifier: MIT */
#include "reaper.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include "registry.h"
#include "sysv.h"

#define PENDING_MAX REG_CAPACITY_MAX /* beyond it the caller does the work */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static struct {
    const struct sysv_ops *sysv;
    void *address;
} pending[PENDING_MAX];
static unsigned n_pending;
static bool running;

static void *reap(void *unused)
{
    pthread_mutex_lock(&lock);
    for (;;) {
        while (n_pending == 0)
            pthread_cond_wait(&filled, &lock);

        __auto_type next = pending[--n_pending];

        pthread_mutex_unlock(&lock);
        next.sysv->detach(next.address);
        pthread_mutex_lock(&lock);
    }
    return unused;
}

/* Signals belong to the event loop's thread. */
static bool start(void)
{
    sigset_t all, old;
    pthread_t thread;
    bool started;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    started = pthread_create(&thread, NULL, reap, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (started)
        pthread_detach(thread);
    return started;
}

void reaper_detach(const struct sysv_ops *sysv, void *address)
{
    bool taken = false;

    pthread_mutex_lock(&lock);
    running = running || start();
    if (running && n_pending < PENDING_MAX) {
        pending[n_pending].sysv = sysv;
        pending[n_pending++].address = address;
        pthread_cond_signal(&filled);
        taken = true;
    }
    pthread_mutex_unlock(&lock);
    if (!taken)
        sysv->detach(address);
}
