/* SPDX-License-Identifier: MIT */
/*
 * Death at every store: a writer is stopped after its first, second, third... store, and another
 * takes over. Readers get all that was committed, in order, once, and then the new one's.
 */
#include "unit_ring.h"

#include <setjmp.h>

extern void (*ring_failpoint)(void);

static jmp_buf died;
static int stores_left;

static void count_down(void)
{
    if (stores_left-- == 0) {
        ring_failpoint = NULL;
        longjmp(died, 1);
    }
}

struct scene {
    uint32_t flags, max, messages;
    bool batch;
    bool sleeper; /* a flag is up, so that there is somebody to wake */
    uint32_t before; /* messages ahead of the death */
};

/* What the doomed one does: three messages. *done counts those whose call has returned. */
static void act(struct ring_writer *w, const struct scene *s, volatile uint32_t *done)
{
    if (s->batch)
        ring_hold_back(w);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(send_numbered(w, s->before + i), 0);
        if (!s->batch)
            (*done)++;
    }
    if (s->batch) {
        ring_publish(w);
        *done += 3;
    }
}

/* False: it came to its end before so many stores. */
static bool die_after(const struct scene *s, int stores)
{
    static struct ring_writer w; /* static: unharmed by longjmp */
    static struct ring_reader r, early;
    static struct fixture f;
    static volatile uint32_t done;
    static volatile bool whole;
    bool lossy = s->flags & RING_BROADCAST;
    volatile uint32_t next = 0;
    int64_t got;

    fixture_make(&f, s->flags, s->max, s->messages);
    done = 0;
    whole = false;
    assert_int_equal(fixture_reader(&f, &early, 2, -1), 0);
    assert_int_equal(fixture_writer(&f, &w, 0), 0);
    for (uint32_t i = 0; i < s->before; i++) {
        assert_int_equal(send_numbered(&w, i), 0);
        if (!lossy)
            assert_int_equal(recv_numbered(&early), i);
    }
    if (s->sleeper)
        atomic_store(&f.ring.header->readers_asleep, ASLEEP_FUTEX);
    stores_left = stores;
    ring_failpoint = count_down;
    if (setjmp(died) == 0) {
        act(&w, s, &done);
        whole = true;
    }
    ring_failpoint = NULL;
    assert_true(ring_end_writer(&f.ring, 0, f.role));

    /* One that comes after the death sees the same as one that was there. */
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
    while ((got = recv_numbered(&r)) >= 0)
        next = (uint32_t)got + 1;
    assert_int_equal(got, -EOWNERDEAD);
    if (next == 0) /* where everything kept was given up */
        next = s->before;
    assert_in_range(next, s->before + done, s->before + 3);
    for (uint32_t i = lossy ? next : s->before; i < next; i++)
        assert_int_equal(recv_numbered(&early), i);
    if (lossy)
        while ((got = recv_numbered(&early)) >= 0)
            ;
    else
        got = recv_numbered(&early);
    assert_int_equal(got, -EOWNERDEAD);

    assert_int_equal(fixture_writer(&f, &w, 3), 0);
    if (!(s->flags & RING_MANY))
        assert_int_equal(w.sequence, next);
    for (uint32_t i = 0; i < 12; i++) {
        assert_int_equal(send_numbered(&w, next + i), 0);
        assert_int_equal(recv_numbered(&r), next + i);
        assert_int_equal(recv_numbered(&early), next + i);
    }
    ring_writer_close(&w);
    assert_int_equal(recv_numbered(&r), -ENODATA);
    assert_int_equal(recv_numbered(&early), -ENODATA);
    fixture_done(&f);
    return !whole;
}

static void play(const struct scene *s)
{
    int stores = 0;

    while (die_after(s, stores))
        assert_true(++stores < 1000);
    assert_true(stores > 5);
}

static void at_every_store(void **state)
{
    static const uint32_t kinds[] = {0, RING_BROADCAST, RING_HOLD, RING_MANY};

    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++)
        for (unsigned more = 0; more < 4; more++)
            /* so many before that the deaths fall on pads and claims, too */
            for (uint32_t before = 0; before < 120; before += 13) {
                struct scene s = {.flags = kinds[k], .max = 100, .messages = 30,
                                  .batch = more & 1, .sleeper = more & 2, .before = before};

                if (s.batch && kinds[k] & RING_MANY)
                    s.batch = false;
                play(&s);
            }
}

static void in_pieces(void **state)
{
    static const uint32_t kinds[] = {0, RING_BROADCAST, RING_HOLD, RING_MANY};

    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++)
        for (uint32_t before = 0; before < 8; before++) {
            struct scene s = {
                .flags = kinds[k], .max = 100000, .messages = 3, .before = before};

            play(&s);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_every_store),
        cmocka_unit_test(in_pieces),
    };

    return cmocka_run_group_tests_name("ring_death", tests, NULL, NULL);
}
