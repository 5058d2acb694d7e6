/* SPDX-License-Identifier: MIT */
/*
 * What somebody else does between two stores: each test stops one side behind each of its stores in
 * turn, lets the other side run there, and goes on.
 */
#include "unit_ring.h"

extern void (*ring_failpoint)(void);

static int stores_left;
static void (*meanwhile)(void);
static struct fixture f;
static struct ring_writer w, heir;
static struct ring_reader r, second;
static uint32_t sent;
static bool joined, copied; /* what was to be done meanwhile was done */

static void count_down(void)
{
    if (stores_left-- == 0) {
        ring_failpoint = NULL;
        meanwhile();
    }
}

static void begin(int stores, void (*what)(void))
{
    stores_left = stores;
    meanwhile = what;
    ring_failpoint = count_down;
}

/* False: the point was never passed. */
static bool passed(void)
{
    bool was = ring_failpoint == NULL;

    ring_failpoint = NULL;
    return was;
}

static void join(void)
{
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
    joined = true;
}

/* A reader that joins, whenever it does, is not overwritten. */
static void joins_a_writer(void **state)
{
    static const uint32_t kinds[] = {0, RING_MANY};

    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        bool more = true;

        for (int stores = 0; more; stores++) {
            fixture_make(&f, kinds[k], 50, 10);
            joined = false;
            assert_int_equal(fixture_writer(&f, &w, 0), 0);
            begin(stores, join);
            for (sent = 0; sent < 600 && !joined; sent++)
                assert_int_equal(send_numbered(&w, sent), 0);
            more = passed();
            if (more) {
                int64_t got;
                uint32_t first;

                while (send_numbered(&w, sent) == 0)
                    assert_true(++sent < 2000);
                first = (uint32_t)recv_numbered(&r);
                assert_true(first < sent);
                while (first + 1 < sent)
                    assert_int_equal(recv_numbered(&r), ++first);
                got = recv_numbered(&r);
                assert_int_equal(got, -ETIMEDOUT);
                assert_int_equal(r.lost, 0);
            }
            ring_writer_close(&w);
            fixture_done(&f);
        }
    }
}

static void fill_up(void)
{
    for (int i = 0; i < 400 && send_numbered(&w, sent) == 0; i++)
        sent++;
}

/* The same from the reader's side; a writer that is full then is rung by who moves on. */
static void writes_while_one_joins(void **state)
{
    bool more = true;

    (void)state;
    for (int stores = 0; more; stores++) {
        fixture_make(&f, 0, 50, 10);
        assert_int_equal(fixture_writer(&f, &w, 0), 0);
        for (sent = 0; sent < 100; sent++)
            assert_int_equal(send_numbered(&w, sent), 0);
        begin(stores, fill_up);
        assert_int_equal(fixture_reader(&f, &r, 1, stores % 2 ? -1 : 3), 0);
        more = passed();

        int64_t got = recv_numbered(&r), next;

        if (got >= 0) {
            while ((next = recv_numbered(&r)) >= 0)
                assert_int_equal(next, ++got);
            assert_int_equal(got + 1, sent);
        }
        assert_int_equal(r.lost, 0);
        assert_int_equal(send_numbered(&w, sent), 0);
        assert_int_equal(recv_numbered(&r), sent);
        ring_writer_close(&w);
        fixture_done(&f);
    }
}

static jmp_buf died;

static void die(void)
{
    longjmp(died, 1);
}

static unsigned char old[90000], new[90000], got[90000];

static void succeed(void)
{
    assert_true(ring_end_writer(&f.ring, 0, f.role - 1));
    assert_int_equal(fixture_writer(&f, &heir, 2), 0);
    assert_int_equal(ring_send(&heir, new, sizeof(new), now()), 0);
    copied = true;
}

/* A writer dies in the middle of a long message, and while a reader follows it another one writes a
 * message of the same length in its place: the reader gets that one, whole. */
static void follows_a_dead_writer(void **state)
{
    (void)state;
    memset(old, 'o', sizeof(old));
    memset(new, 'n', sizeof(new));
    for (volatile int stores = 0; stores < 40; stores++) {
        uint32_t length;
        int had;

        fixture_make(&f, 0, sizeof(old), 3);
        copied = false;
        assert_int_equal(fixture_writer(&f, &w, 0), 0);
        assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
        /* so that it counts as one whose readers are awake, which sends in pieces */
        begin(stores, die);
        if (setjmp(died) == 0)
            ring_send(&w, old, sizeof(old), now());
        if (!passed()) {
            fixture_done(&f);
            break;
        }
        begin(0, succeed); /* at the first piece that is copied */
        had = ring_recv(&r, got, sizeof(got), &length, now());
        ring_failpoint = NULL;
        if (copied && had == 1) {
            assert_int_equal(length, sizeof(new));
            if (got[0] == 'n')
                assert_memory_equal(got, new, sizeof(new));
            else
                assert_memory_equal(got, old, sizeof(old));
        } else if (had < 0)
            assert_int_equal(had, -ETIMEDOUT);
        fixture_done(&f);
    }
}

/* One that is to be waited for goes while the writer looks: it goes on. */
static void leave(void)
{
    ring_reader_leave(&second);
    joined = true;
}

static void leaves_a_writer(void **state)
{
    bool more = true;

    (void)state;
    for (int stores = 0; more; stores++) {
        fixture_make(&f, RING_HOLD, 50, 10);
        joined = false;
        assert_int_equal(fixture_writer(&f, &w, 0), 0);
        assert_int_equal(fixture_reader(&f, &second, 1, -1), 0);
        for (sent = 0; sent < 10; sent++) {
            assert_int_equal(send_numbered(&w, sent), 0);
            assert_int_equal(recv_numbered(&second), sent);
        }
        begin(stores, leave);
        fill_up();
        more = passed();
        fill_up();
        if (!joined)
            leave();
        assert_int_equal(fixture_reader(&f, &r, 2, -1), 0);
        for (uint32_t i = 10; i < sent; i++)
            assert_int_equal(recv_numbered(&r), i);
        assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
        ring_writer_close(&w);
        fixture_done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_a_writer),
        cmocka_unit_test(writes_while_one_joins),
        cmocka_unit_test(follows_a_dead_writer),
        cmocka_unit_test(leaves_a_writer),
    };

    return cmocka_run_group_tests_name("ring_race", tests, NULL, NULL);
}
