/* SPDX-License-Identifier: MIT */
/*
 * What is measured: shmd's ring and its peers, each behind the same few calls.
 *
 * make() is called before the processes part, writer() and reader() in their processes, on the core
 * and under the scheduling that they are measured with. Where a peer can write in place, reserve()
 * gives the place; else it gives a buffer of its own, and commit() copies. receive() likewise.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum mode {
    POLL,  /* who waits spins */
    YIELD, /* who waits spins, but gives the core to its like in between */
    BLOCK, /* who waits sleeps, as the peer does it by itself */
    MODES
};

struct setup {
    enum mode mode;
    size_t size;  /* of each message */
    size_t room;  /* bytes that the channel has room for, about */
    int readers;
    int number; /* of this channel, to be put in names */
};

/* Messages `from` to `to` - 1; there and back. See loops.h. */
struct loops {
    void (*send)(void *c, size_t size, long from, long to);
    void (*receive)(void *c, size_t size, long from, long to);
    void (*ask)(void *there, void *back, size_t size, long from, long to);
    void (*answer)(void *there, void *back, size_t size, long from, long to);
};

struct peer {
    const char *name;
    const struct loops *loops;
    unsigned modes; /* bits: 1 << enum mode */
    bool same_core; /* blocking, both on one core, makes sense */
    bool many;      /* readers */
    int batch;      /* messages published at once */
    void *(*make)(const struct peer *p, const struct setup *s); /* NULL: it cannot be, see errno */
    void (*writer)(void *c);
    void (*reader)(void *c, int number);
    void *(*reserve)(void *c);
    void (*commit)(void *c);
    const void *(*receive)(void *c);
    void (*release)(void *c);
    void (*close)(void *c); /* in writer and readers, when all is done */
    void (*destroy)(void *c);
    /* Or NULL: what is written may be read in pieces. `there` bytes of it are written; the next
     * message with *there bytes of it; how many there are, more than `had`. */
    void (*progress)(void *c, size_t there);
    const void *(*begun)(void *c, size_t *there);
    size_t (*more)(void *c, size_t had);
};

/* Those whose libraries were there when this was built; the others are NULL. */
extern const struct peer peer_shmd, peer_shmd_16, peer_shmd_copy, peer_shmd_pieces, peer_pipe, peer_stream,
    peer_seqpacket, peer_mq;
extern const struct peer peer_zmq __attribute__((weak));
extern const struct peer peer_boost __attribute__((weak));
extern const struct peer peer_libqb __attribute__((weak));
extern const struct peer peer_iceoryx __attribute__((weak));

void peer_die(const char *what) __attribute__((noreturn, cold)); /* with errno */
void peer_wrong(const struct peer *p, long i) __attribute__((noreturn, cold));
void peer_wait(enum mode mode);  /* one turn of a spin */

#ifdef __cplusplus
}
#endif
