/* SPDX-License-Identifier: MIT */
/*
 * What the programs of the bench share: time, cores, and the broker's protocol without libshmd.
 *
 * Each program prints lines of SERIES, ROUND, SUBJECT, VALUE and UNIT, with tabs between them, for
 * report.py. Subjects of a series are measured one after the other in every round, so that a ratio
 * is only ever made of two neighbours in time.
 */
#pragma once

#include <stdint.h>

#include "protocol.h"
#include "util.h"

#define BENCH_SEGMENT 4096u /* bytes of the segments that only have to be there */
#define BENCH_WINDOW 16u    /* requests in flight where they are pipelined */

/* Names that are looked up, and with them the bytes of a look-up's frames. */
#define BENCH_NAMESPACE "root/"
#define BENCH_PREFIX "load"
#define BENCH_TEXT ((sizeof(BENCH_NAMESPACE BENCH_PREFIX "-123456") + 7) / 8 * 8)
#define BENCH_OPEN (sizeof(struct wire_header) + sizeof(struct wire_open) + BENCH_TEXT)
#define BENCH_OPENED (sizeof(struct wire_header) + sizeof(struct wire_opened) + BENCH_TEXT)

_Noreturn void bench_die(const char *fmt, ...) SHMD_PRINTF(1, 2);
double bench_now(void);      /* seconds */
double bench_own_time(void); /* seconds of this thread on a core */
void bench_pin(int core);
uint32_t bench_random(uint32_t *state);
void bench_print(const char *series, int round, const char *subject, double value,
                 const char *unit);

/* The number behind option `name`, or `fallback`; and its text. */
long bench_option(int argc, char **argv, const char *name, long fallback);
const char *bench_text(int argc, char **argv, const char *name);

int bench_connect(const char *path);
/* Listen at `path` and say so with a byte on `ready_fd`, as shmd does. */
int bench_listen(const char *path, int ready_fd);
void bench_send(int fd, const void *data, size_t size);

/* The schedstat of the process that listens where `fd` is connected to, and from it the nanoseconds
 * that this process has been on a core. */
int bench_schedstat(int fd);
uint64_t bench_core_time(int schedstat);

/* A connection to shmd that has shaken hands. */
struct wire {
    int fd;
    uint32_t sent, answered; /* requests: the serials of them too */
    size_t have;
    struct wire_welcome welcome;
    uint8_t in[2 * WIRE_FRAME_MAX];
};

struct wire *wire_open_path(const char *path);
void wire_close(struct wire *w);

/* The n-th name of the bench, without a namespace. */
void bench_name(char out[NAME_SIZE], const char *prefix, uint32_t n);

/* Write a frame to `out`, which has the room, and return its bytes. */
size_t wire_put(void *out, uint16_t opcode, uint32_t serial, const void *body, size_t size,
                const char *name);
size_t wire_put_create(void *out, uint32_t serial, const char *name);
size_t wire_put_remove(void *out, uint32_t serial, const char *name);

/*
 * Wait for data and take all whole replies: how many. An error in one ends the program, but for a
 * create that found the name there.
 */
uint32_t wire_take(struct wire *w);

/* Create names `from` to `to` - 1 of the prefix, pipelined. */
void wire_fill(struct wire *w, const char *prefix, uint32_t from, uint32_t to);

/* Create and remove, pipelined, until `seconds` have passed or (with fd >= 0) there is something
 * to read on `fd`. Returns pairs made in a second. */
double wire_churn(struct wire *w, const char *prefix, double seconds, int fd);
