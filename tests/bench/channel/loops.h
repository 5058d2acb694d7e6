/* SPDX-License-Identifier: MIT */
/*
 * The loops that are measured, compiled into each peer's own file: there the compiler knows which
 * functions it calls, and nobody pays for a call through a pointer that programs would not make.
 */
#pragma once

#include "payload.h"
#include "peer.h"

#define LOOPS_PIECE ((size_t)32 << 10) /* bytes, of who writes in pieces */
#define LOOPS_INLINE static inline __attribute__((always_inline))

LOOPS_INLINE uint64_t loops_seed(long i)
{
    return (uint64_t)i * 0x9e3779b97f4a7c15u;
}

/* In pieces; sizes are multiples of 8, and so are the places that pieces end at. */
LOOPS_INLINE void loops_send_pieces(const struct peer *p, void *c, size_t size, uint64_t seed)
{
    unsigned char *to = (unsigned char *)p->reserve(c);

    for (size_t done = 0, n; done < size; done += n) {
        n = size - done < LOOPS_PIECE ? size - done : LOOPS_PIECE;
        payload_fill(to + done, n, seed + done / 8);
        p->progress(c, done + n);
    }
    p->commit(c);
}

LOOPS_INLINE uint64_t loops_receive_pieces(const struct peer *p, void *c, size_t size)
{
    size_t there, done = 0;
    const unsigned char *from = (const unsigned char *)p->begun(c, &there);
    uint64_t sum = 0;

    for (;; there = p->more(c, done)) {
        sum += payload_sum(from + done, there - done);
        done = there;
        if (done == size)
            return sum;
    }
}

LOOPS_INLINE void loops_send_one(const struct peer *p, void *c, size_t size, long i)
{
    if (p->progress) {
        loops_send_pieces(p, c, size, loops_seed(i));
        return;
    }
    payload_fill(p->reserve(c), size, loops_seed(i));
    p->commit(c);
}

LOOPS_INLINE void loops_receive_one(const struct peer *p, void *c, size_t size, long i)
{
    uint64_t sum = p->begun ? loops_receive_pieces(p, c, size) : payload_sum(p->receive(c), size);

    if (__builtin_expect(sum != payload_expected(size, loops_seed(i)), 0))
        peer_wrong(p, i);
    p->release(c);
}

LOOPS_INLINE void loops_send(const struct peer *p, void *c, size_t size, long from, long to)
{
    for (long i = from; i < to; i++)
        loops_send_one(p, c, size, i);
}

LOOPS_INLINE void loops_receive(const struct peer *p, void *c, size_t size, long from, long to)
{
    for (long i = from; i < to; i++)
        loops_receive_one(p, c, size, i);
}

LOOPS_INLINE void loops_ask(const struct peer *p, void *there, void *back, size_t size, long from,
                            long to)
{
    for (long i = from; i < to; i++) {
        loops_send_one(p, there, size, i);
        loops_receive_one(p, back, size, i);
    }
}

LOOPS_INLINE void loops_answer(const struct peer *p, void *there, void *back, size_t size, long from,
                               long to)
{
    for (long i = from; i < to; i++) {
        loops_receive_one(p, there, size, i);
        loops_send_one(p, back, size, i);
    }
}

/* Define the loops of a peer. The compiler knows the short sizes, as it would in a program: what it
 * makes of loops over any size takes longer than short messages do. */
#define LOOPS(peer)                                                                                \
    static void peer##_send(void *c, size_t size, long from, long to)                              \
    {                                                                                              \
        if (size == 64)                                                                            \
            loops_send(&peer, c, 64, from, to);                                                    \
        else if (size == 1023)                                                                     \
            loops_send(&peer, c, 1023, from, to);                                                  \
        else                                                                                       \
            loops_send(&peer, c, size, from, to);                                                  \
    }                                                                                              \
    static void peer##_receive(void *c, size_t size, long from, long to)                           \
    {                                                                                              \
        if (size == 64)                                                                            \
            loops_receive(&peer, c, 64, from, to);                                                 \
        else if (size == 1023)                                                                     \
            loops_receive(&peer, c, 1023, from, to);                                               \
        else                                                                                       \
            loops_receive(&peer, c, size, from, to);                                               \
    }                                                                                              \
    static void peer##_ask(void *there, void *back, size_t size, long from, long to)               \
    {                                                                                              \
        if (size == 64)                                                                            \
            loops_ask(&peer, there, back, 64, from, to);                                           \
        else if (size == 1023)                                                                     \
            loops_ask(&peer, there, back, 1023, from, to);                                         \
        else                                                                                       \
            loops_ask(&peer, there, back, size, from, to);                                         \
    }                                                                                              \
    static void peer##_answer(void *there, void *back, size_t size, long from, long to)            \
    {                                                                                              \
        if (size == 64)                                                                            \
            loops_answer(&peer, there, back, 64, from, to);                                        \
        else if (size == 1023)                                                                     \
            loops_answer(&peer, there, back, 1023, from, to);                                      \
        else                                                                                       \
            loops_answer(&peer, there, back, size, from, to);                                      \
    }                                                                                              \
    static const struct loops peer##_loops = {peer##_send, peer##_receive, peer##_ask,             \
                                              peer##_answer}
