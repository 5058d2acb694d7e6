/* SPDX-License-Identifier: MIT */
/* What both echo servers do with what they read: a frame as long as shmd's answer for each frame as
 * long as the request for a look-up, and nothing else. */
#pragma once

#include <string.h>

#include "bench.h"

#define ECHO_REQUEST BENCH_OPEN
#define ECHO_REPLY BENCH_OPENED
#define ECHO_FRAMES 48 /* in one read */

struct echo {
    int fd;
    size_t have; /* bytes of a frame not yet whole */
    uint8_t in[ECHO_FRAMES * ECHO_REQUEST];
};

/* Read, and answer all whole frames. False where the client has gone. */
static inline bool echo_serve(struct echo *e)
{
    uint8_t out[ECHO_FRAMES * ECHO_REPLY];
    size_t size = 0, at = 0;
    ssize_t n = recv(e->fd, e->in + e->have, sizeof(e->in) - e->have, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    e->have += (size_t)n;
    for (; e->have - at >= ECHO_REQUEST; at += ECHO_REQUEST, size += ECHO_REPLY) {
        struct wire_header h;

        memcpy(&h, e->in + at, sizeof(h));
        h.size = ECHO_REPLY;
        memcpy(out + size, &h, sizeof(h));
        memset(out + size + sizeof(h), 0, ECHO_REPLY - sizeof(h));
    }
    e->have -= at;
    memmove(e->in, e->in + at, e->have);
    /* The load generator has never more on its way than a socket holds. */
    return size == 0 || send(e->fd, out, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}
