/* SPDX-License-Identifier: MIT */
/* Small helpers that every part uses: ownership you can see, and the time in one number. */
#pragma once

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SHMD_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Hand an owned value on and leave the empty one behind, so that its cleanup does nothing. */
#define STEAL_FD(fd) ({ int *_f = &(fd); int _v = *_f; *_f = -1; _v; })
#define STEAL_PTR(p) ({ __auto_type _p = &(p); __auto_type _v = *_p; *_p = NULL; _v; })

#define NS_PER_SECOND 1000000000ll

/* Nanoseconds. */
static inline int64_t clock_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return ts.tv_sec * NS_PER_SECOND + ts.tv_nsec;
}

static inline void cleanup_close(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
}

static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_fclose(FILE **f)
{
    if (*f)
        fclose(*f);
}

#define _cleanup_close_ __attribute__((cleanup(cleanup_close)))
#define _cleanup_free_ __attribute__((cleanup(cleanup_free)))
#define _cleanup_fclose_ __attribute__((cleanup(cleanup_fclose)))
