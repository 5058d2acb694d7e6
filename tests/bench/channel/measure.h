/* SPDX-License-Identifier: MIT */
/* Processes on their cores, and what is measured between them. */
#pragma once

#include "peer.h"

#define READERS_MAX 8

struct place {
    int cores[2]; /* of the writer, of the readers */
    bool fifo;    /* SCHED_FIFO where it is permitted */
};

/* What the processes of one measurement share. */
struct meeting;
struct meeting *meeting_new(int members);
void meeting_come(struct meeting *m); /* and wait until all have come */
void meeting_free(struct meeting *m);

/* Part: in the child, on its core and with its scheduling, 0. */
int measure_fork(const struct place *p, int which);
/* Wait for them: false where one has failed. */
bool measure_wait(int children);

int64_t measure_now(void); /* nanoseconds */

/* Nanoseconds a message, or one way; 0: it cannot be measured. Of n messages, and some before. */
double measure_stream(const struct peer *p, const struct setup *s, const struct place *at, long n);
double measure_latency(const struct peer *p, const struct setup *s, const struct place *at, long n);

/* limits.c: ns one way of a bounced line; of a message behind a flag, as bare as it goes; ns for
 * `size` bytes written, and read across the cores in a bare ring of `room` bytes; ns for copying
 * them on one core. */
double limit_line(const struct place *at);
double limit_message(const struct place *at, size_t room, size_t size, long n);
double limit_bare(const struct place *at, size_t room, size_t block, size_t size);
double limit_memcpy(const struct place *at, size_t size);
double limit_share(const struct place *at); /* of a core's speed while both work: about 1, or a half */
