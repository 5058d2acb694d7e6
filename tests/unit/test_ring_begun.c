/* SPDX-License-Identifier: MIT */
/*
 * Messages that are followed while they are filled in: what is seen is there, and what came to
 * nothing is never taken for a message, at whichever store the writer stops.
 */
#include "unit_ring.h"

#include <setjmp.h>

#define LENGTH 100000u
#define STEP 20000u

extern void (*ring_failpoint)(void);

static const uint32_t kinds[] = {0, RING_BROADCAST, RING_HOLD};
static struct fixture f;
static struct ring_writer w;
static struct ring_reader r;
static jmp_buf died;
static int stores_left;

static void start(uint32_t flags)
{
    fixture_make(&f, flags, LENGTH, 3);
    assert_int_equal(fixture_writer(&f, &w, 0), 0);
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
}

static void fill(unsigned char *to, uint32_t from, uint32_t n, unsigned char c)
{
    memset(to + from, c, n);
}

/* One message of LENGTH times c, in steps. */
static void write_in_steps(unsigned char c)
{
    void *to;

    assert_int_equal(ring_reserve(&w, LENGTH, &to, now()), 0);
    for (uint32_t n = 0; n < LENGTH; n += STEP) {
        fill(to, n, STEP, c);
        assert_int_equal(ring_progress(&w, n + STEP), 0);
    }
    assert_int_equal(ring_commit(&w, LENGTH), 0);
}

static int peek_begun(const unsigned char **at, uint32_t *there)
{
    uint32_t length = 0;
    int got = ring_peek_begun(&r, (const void **)at, &length, there, now());

    if (got == 1)
        assert_int_equal(length, LENGTH);
    return got;
}

static void assert_all(const unsigned char *at, uint32_t n, unsigned char c)
{
    for (uint32_t i = 0; i < n; i++)
        if (at[i] != c)
            assert_int_equal(at[i], c);
}

static void goes_along(void **state)
{
    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        start(kinds[k]);
        for (unsigned char turn = 1; turn < 20; turn++) { /* around the ring: pads too */
            const unsigned char *at;
            uint32_t there = 7;
            void *to;

            assert_int_equal(peek_begun(&at, &there), -ETIMEDOUT);
            assert_int_equal(ring_reserve(&w, LENGTH, &to, now()), 0);
            assert_int_equal(ring_progress(&w, LENGTH + 1), -EINVAL);
            assert_int_equal(peek_begun(&at, &there), -ETIMEDOUT);
            for (uint32_t n = STEP; n <= LENGTH; n += STEP) {
                fill(to, n - STEP, STEP, turn);
                assert_int_equal(ring_progress(&w, n), 0);
                if (n == STEP)
                    assert_int_equal(peek_begun(&at, &there), 1);
                else
                    assert_int_equal(ring_peek_more(&r, &there, now()), 1);
                assert_int_equal(there, MIN(n, LENGTH - 1) & ~63u);
                assert_all(at, there, turn);
                assert_int_equal(ring_peek_more(&r, &there, now()), -ETIMEDOUT);
                assert_int_equal(r.peeked, 0);
            }
            assert_int_equal(ring_commit(&w, LENGTH), 0);
            assert_int_equal(ring_peek_more(&r, &there, now()), 1);
            assert_int_equal(there, LENGTH);
            assert_all(at, LENGTH, turn);
            assert_int_equal(ring_peek_more(&r, &there, now()), -EINVAL);
            assert_int_equal(r.peeked, 1);
            assert_int_equal(ring_release(&r), 0);
        }
        assert_int_equal(r.received, 19);
        assert_int_equal(r.lost, 0);
        ring_writer_close(&w);
        fixture_done(&f);
    }
}

/* Given up, or shorter than it was to be: told, and never read. */
static void comes_to_nothing(void **state)
{
    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++)
        for (int how = 0; how < 4; how++) {
            start(kinds[k]);
            for (unsigned char turn = 1; turn < 20; turn++) {
                const unsigned char *at;
                const void *whole;
                uint32_t there, length;
                void *to;

                assert_int_equal(ring_reserve(&w, LENGTH, &to, now()), 0);
                fill(to, 0, STEP, 0xff);
                assert_int_equal(ring_progress(&w, STEP), 0);
                assert_int_equal(peek_begun(&at, &there), 1);
                assert_int_equal(ring_peek(&r, &whole, &length, now()), -ETIMEDOUT);
                length = how == 3 ? LENGTH - 8 : LENGTH;
                if (how == 3) {
                    fill(to, 0, length, turn);
                    assert_int_equal(ring_commit(&w, length), 0);
                } else {
                    ring_abort(&w);
                    if (how > 0) /* one as long comes to stand there before the reader looks */
                        write_in_steps(turn);
                }
                assert_int_equal(ring_peek_more(&r, &there, now()), -ECANCELED);
                assert_int_equal(ring_peek_more(&r, &there, now()), -EINVAL);
                if (how == 0)
                    write_in_steps(turn);
                assert_int_equal(ring_peek(&r, &whole, &length, now()), 1);
                assert_int_equal(length, how == 3 ? LENGTH - 8 : LENGTH);
                assert_all(whole, length, turn);
                assert_int_equal(ring_release(&r), 0);
            }
            assert_int_equal(r.received, 19);
            assert_int_equal(r.lost, 0);
            /* The end comes in the middle of one. */
            const unsigned char *at;
            uint32_t there;
            void *to;

            assert_int_equal(ring_reserve(&w, LENGTH, &to, now()), 0);
            assert_int_equal(ring_progress(&w, STEP), 0);
            assert_int_equal(peek_begun(&at, &there), 1);
            ring_writer_close(&w);
            assert_int_equal(ring_peek_more(&r, &there, now()), -ECANCELED);
            assert_int_equal(peek_begun(&at, &there), 0);
            fixture_done(&f);
        }
}

static void count_down(void)
{
    if (stores_left-- == 0) {
        ring_failpoint = NULL;
        longjmp(died, 1);
    }
}

/* Dies after so many stores of a message that is followed; another one writes as long a one. */
static void dies(void **state)
{
    static unsigned char bytes[LENGTH];
    static volatile bool whole;

    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++)
        for (volatile int before = 0; before < 6; before++)
            for (volatile int late = 0; late < 2; late++) {
                whole = false;
                for (volatile int stores = 0; !whole; stores++) {
                    const unsigned char *at;
                    uint32_t there = 0, length;
                    volatile int got, sent = 0;

                    assert_true(stores < 200);
                    start(kinds[k]);
                    for (int i = 0; i < before; i++) {
                        write_in_steps('b');
                        assert_int_equal(ring_recv(&r, bytes, LENGTH, &length, now()), 1);
                    }
                    stores_left = stores;
                    ring_failpoint = count_down;
                    if (setjmp(died) == 0) {
                        write_in_steps('o');
                        whole = true;
                    }
                    ring_failpoint = NULL;
                    got = peek_begun(&at, &there);
                    if (got == 1 && there == LENGTH) { /* it was whole when its writer died */
                        assert_all(at, LENGTH, 'o');
                        sent = 1;
                    } else if (got == 1) {
                        assert_all(at, there, 'o');
                    } else
                        assert_int_equal(got, -ETIMEDOUT);
                    assert_int_equal(ring_release(&r), 0);
                    assert_true(ring_end_writer(&f.ring, 0, f.role - 1));
                    if (!late) {
                        if (got == 1 && !sent) {
                            static struct deadline soon;

                            soon = (struct deadline){.timeout_ms = 20000};
                            assert_int_equal(ring_peek_more(&r, &there, &soon), -ECANCELED);
                        }
                        assert_int_equal(peek_begun(&at, &there), -EOWNERDEAD);
                    }
                    assert_int_equal(fixture_writer(&f, &w, 2), 0);
                    write_in_steps('n');
                    if (late && got == 1 && !sent)
                        assert_int_equal(ring_peek_more(&r, &there, now()), -ECANCELED);
                    assert_int_equal(peek_begun(&at, &there), 1);
                    assert_int_equal(there, LENGTH);
                    assert_all(at, LENGTH, 'n');
                    assert_int_equal(ring_release(&r), 0);
                    assert_int_equal(r.lost, 0);
                    ring_writer_close(&w);
                    fixture_done(&f);
                }
            }
}

/* The writer of a broadcast goes around while one of its messages is followed. */
static void is_lapped(void **state)
{
    const unsigned char *at;
    uint32_t there;
    void *to;

    (void)state;
    start(RING_BROADCAST);
    write_in_steps('x');
    assert_int_equal(peek_begun(&at, &there), 1);
    assert_int_equal(ring_release(&r), 0);
    assert_int_equal(ring_reserve(&w, LENGTH, &to, now()), 0);
    assert_int_equal(ring_progress(&w, STEP), 0);
    assert_int_equal(peek_begun(&at, &there), 1);
    assert_int_equal(ring_commit(&w, LENGTH), 0);
    for (int i = 0; i < 40; i++)
        write_in_steps('x');
    assert_int_equal(ring_peek_more(&r, &there, now()), -ECANCELED);
    assert_int_equal(peek_begun(&at, &there), 1);
    assert_int_equal(there, LENGTH);
    assert_all(at, LENGTH, 'x');
    assert_int_equal(ring_release(&r), 0);
    assert_in_range(r.lost, 30, 40);
    ring_writer_close(&w);
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_along),
        cmocka_unit_test(comes_to_nothing),
        cmocka_unit_test(dies),
        cmocka_unit_test(is_lapped),
    };

    return cmocka_run_group_tests_name("ring_begun", tests, NULL, NULL);
}
