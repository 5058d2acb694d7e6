/* SPDX-License-Identifier: MIT */
#include "stress_member.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring_reader.h"
#include "ring_writer.h"
#include "util.h"

static uint64_t word_of(uint64_t number, uint32_t role, uint32_t i)
{
    return (number * 0x9e3779b97f4a7c15ull) ^ ((uint64_t)role << 40) ^ i;
}

static uint32_t length_of(const struct run *run, uint64_t number)
{
    uint32_t spread = run->size > 64 ? (uint32_t)(number * 2654435761u) % (run->size / 2) : 0;

    return MAX((uint32_t)sizeof(struct message), (run->size - spread) & ~7u);
}

static void fill(const struct run *run, struct message *m, uint64_t number, uint32_t role)
{
    uint32_t n;

    *m = (struct message){.number = number, .role = role, .length = length_of(run, number)};
    n = (m->length - (uint32_t)sizeof(*m)) / 8;
    for (uint32_t i = 0; i < n; i++)
        m->words[i] = word_of(number, role, i);
}

static const char *wrong(const struct run *run, const struct message *m, uint32_t length)
{
    if (length < sizeof(*m) || m->length != length || length != length_of(run, m->number))
        return "length";
    for (uint32_t i = 0; i < (length - sizeof(*m)) / 8; i++)
        if (m->words[i] != word_of(m->number, m->role, i))
            return "bytes";
    return NULL;
}

static int fail(const struct member *me, const char *what, uint64_t a, uint64_t b)
{
    printf("# member %d, role %u: %s (%" PRIu64 ", %" PRIu64 ")\n", me->index, me->role, what, a,
           b);
    fflush(stdout);
    return 1;
}

static void fill_in(struct ring_writer *w, unsigned char *to, const unsigned char *from, uint32_t n)
{
    for (uint32_t done = 0, some; done < n; done += some) {
        some = MIN(n - done, 5000u);
        ring_copy(to + done, from + done, some);
        ring_progress(w, done + some);
    }
}

/* As ring_recv(), but by following it in place. */
static int read_begun(struct ring_reader *r, unsigned char *to, uint32_t room, uint32_t *length,
                      struct deadline *d)
{
    const unsigned char *at;
    uint32_t there, done = 0;
    int got = ring_peek_begun(r, (const void **)&at, length, &there, d);

    while (got == 1) {
        if (*length > room || there > *length || (there < *length && there < done))
            return -EBADMSG;
        ring_copy(to + done, at + done, there - done);
        done = there;
        if (done == *length)
            return ring_release(r) < 0 ? -EBADMSG : 1;
        got = ring_peek_more(r, &there, d);
    }
    return got;
}

static int write_all(struct member *me)
{
    struct run *run = me->run;
    struct ring_writer w;
    struct message *m = malloc(run->size + sizeof(*m));
    struct deadline d = {.timeout_ms = -1};
    bool many = run->flags & RING_MANY;
    int r = ring_writer_start(&w, &run->ring, me->index, me->role, NULL);

    if (r < 0)
        return fail(me, strerror(-r), 1, 0);
    for (uint64_t n = 0; many ? atomic_load(&run->ring.header->sent) < run->messages
                              : w.sequence < run->messages; n++) {
        uint64_t number = many ? n : w.sequence;

        fill(run, m, number, me->role);
        if (number % 7 == 0) {
            struct message *in;

            r = ring_reserve(&w, number % 2 ? run->size + 8 : m->length, (void **)&in, &d);
            if (r == 0 && number % 3 == 0) { /* who follows it is to forget it */
                fill_in(&w, (unsigned char *)in, (const unsigned char *)m, m->length / 2);
                ring_abort(&w);
                r = ring_reserve(&w, m->length, (void **)&in, &d);
            }
            if (r == 0) {
                fill_in(&w, (unsigned char *)in, (const unsigned char *)m, m->length);
                r = ring_commit(&w, m->length);
            }
        } else {
            if (number % 64 == 16)
                ring_hold_back(&w);
            r = ring_send(&w, m, m->length, &d);
            if (number % 64 == 32)
                ring_publish(&w);
        }
        if (r < 0)
            return fail(me, strerror(-r), 2, number);
    }
    ring_writer_close(&w);
    free(m);
    return 0;
}

static int read_all(struct member *me)
{
    struct run *run = me->run;
    struct ring_reader r;
    uint32_t room = run->size + 64, length;
    struct message *m = malloc(room);
    uint64_t next = 0, lost = 0, per_role[4096] = {0}; /* by role, + 1 */
    bool first = true;
    int got = ring_reader_start(&r, &run->ring, me->index, me->role, -1, NULL);

    if (got < 0)
        return fail(me, strerror(-got), 3, 0);
    for (;;) {
        struct deadline d = {.timeout_ms = -1};
        const char *what;

        if (next % 5 == 0 && !(run->flags & RING_BROADCAST)) {
            const void *at;

            got = ring_peek(&r, &at, &length, &d);
            if (got == 1) {
                memcpy(m, at, MIN(length, room));
                ring_release(&r);
            }
        } else if (next % 5 < 3 && !(run->flags & RING_BROADCAST)) {
            got = read_begun(&r, (unsigned char *)m, room, &length, &d);
            if (got == -ECANCELED)
                continue;
        } else
            got = ring_recv(&r, m, room, &length, &d);
        if (got == -EOWNERDEAD)
            continue;
        if (got < 0)
            return fail(me, strerror(-got), 4, next);
        if (got == 0)
            break;
        what = wrong(run, m, length);
        if (what)
            return fail(me, what, length, m->number);
        if (run->flags & RING_MANY) {
            uint64_t *seen = &per_role[m->role % 4096];

            if (*seen && m->number != *seen)
                return fail(me, "order", m->number, *seen);
            *seen = m->number + 1;
        } else {
            lost = r.lost - lost;
            if (!first && m->number != next + lost)
                return fail(me, "order", m->number, next + lost);
            lost = r.lost;
        }
        next = m->number + 1;
        first = false;
    }
    /* Where a reader was through and went, the next one need not get anything. */
    if (!(run->flags & RING_MANY) && !(run->flags & RING_HOLD && first) && next != run->messages)
        return fail(me, "the last ones are missing", next, run->messages);
    if (r.lost && !(run->flags & RING_BROADCAST))
        return fail(me, "lost", r.lost, 0);
    atomic_fetch_add(&run->lost, r.lost);
    atomic_fetch_add(&run->received, r.received);
    ring_reader_leave(&r);
    free(m);
    return 0;
}

int member_run(struct member *me)
{
    return me->index >= FIRST_READER ? read_all(me) : write_all(me);
}
