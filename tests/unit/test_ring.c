/* SPDX-License-Identifier: MIT */
/* A ring within one process: what it holds, and who gets what of it. */
#include "unit_ring.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static void limits(void **state)
{
    struct ring_options o = {.max_message = 1023, .messages = 64, .slots = 4};
    struct ring_options bad[] = {o, o, o, o, o, o};
    struct ring r;
    struct fixture f;

    (void)state;
    bad[0].max_message = 0;
    bad[1].max_message = RING_MESSAGE_MAX + 1;
    bad[2].slots = RING_SLOTS_MAX + 1;
    bad[3].flags = RING_FLAGS + 1;
    bad[4].flags = RING_BROADCAST | RING_HOLD;
    memset(bad[5].tag, 'x', sizeof(bad[5].tag));
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(ring_segment_size(&bad[i]), 0);
    o.max_message = RING_MESSAGE_MAX;
    o.messages = UINT32_MAX;
    assert_int_equal(ring_segment_size(&o), 0); /* more than RING_SIZE_MAX */

    fixture_make(&f, 0, 1023, 64);
    assert_int_equal(f.ring.max_message, 1023);
    assert_int_equal((uintptr_t)f.ring.data % 4096, 0);
    for (uint64_t size = 0; size < f.size; size += 64)
        assert_int_equal(ring_init(&r, f.segment, size), -EPROTO);
    f.ring.header->layout++;
    assert_int_equal(ring_init(&r, f.segment, f.size), -EPROTONOSUPPORT);
    fixture_done(&f);
}

/* So many as it was made for fit in at once, whatever was sent before. */
static void room(void **state)
{
    unsigned char bytes[1000] = {0};

    (void)state;
    for (uint32_t size = 1; size <= 1000; size += 37) {
        struct fixture f;
        struct ring_writer w;
        struct ring_reader r;

        fixture_make(&f, 0, size, 16);
        assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
        assert_int_equal(fixture_writer(&f, &w, 0), 0);
        for (int turn = 0; turn < 40; turn++) {
            uint32_t n = 0, length;

            while (ring_send(&w, bytes, size, now()) == 0)
                n++;
            assert_true(n >= 16);
            assert_int_equal(ring_send(&w, bytes, size, now()), -ETIMEDOUT);
            assert_int_equal(ring_send(&w, bytes, size + 1, now()), -EMSGSIZE);
            for (uint32_t i = 0; i < n; i++)
                assert_int_equal(ring_recv(&r, bytes, size, &length, now()), 1);
            assert_int_equal(ring_recv(&r, bytes, size, &length, now()), -ETIMEDOUT);
        }
        ring_writer_close(&w);
        fixture_done(&f);
    }
}

/* Messages of all lengths around the ring many times, by all calls. */
static void wrap(void **state)
{
    static const uint32_t kinds[] = {0, RING_BROADCAST, RING_HOLD, RING_MANY};

    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++)
        for (uint32_t max = 5; max < 2000; max = max * 3 + 1) {
            struct fixture f;
            struct ring_writer w;
            struct ring_reader r;

            fixture_make(&f, kinds[k], max, 4);
            assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
            assert_int_equal(fixture_writer(&f, &w, 0), 0);
            for (uint32_t n = 0; n < 3000; n++) {
                void *at;

                if (n % 2)
                    assert_int_equal(send_numbered(&w, n), 0);
                else {
                    assert_int_equal(ring_reserve(&w, max, &at, now()), 0);
                    memset(at, 0xff, max);
                    if (n % 3 == 0) {
                        ring_abort(&w);
                        assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
                        assert_int_equal(ring_reserve(&w, max, &at, now()), 0);
                    }
                    assert_int_equal(ring_commit(&w, max + 1), -EINVAL);
                    assert_int_equal(ring_commit(&w, numbered(at, max, n)), 0);
                }
                assert_int_equal(recv_numbered(&r), n);
            }
            assert_int_equal(r.received, 3000);
            assert_int_equal(atomic_load(&f.ring.slot[1].received), 3000);
            assert_int_equal(atomic_load(&f.ring.header->sent), 3000);
            assert_int_equal(atomic_load(&f.ring.header->bytes), r.bytes);
            ring_writer_close(&w);
            assert_int_equal(recv_numbered(&r), -ENODATA);
            fixture_done(&f);
        }
}

static void batches(void **state)
{
    struct fixture f;
    struct ring_writer w;
    struct ring_reader r;
    uint32_t read = 0, sent = 0, length;
    const void *at;

    (void)state;
    fixture_make(&f, 0, 100, 40);
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
    assert_int_equal(fixture_writer(&f, &w, 0), 0);
    for (int turn = 0; turn < 300; turn++) {
        ring_hold_back(&w);
        for (int i = 0; i < 16; i++)
            assert_int_equal(send_numbered(&w, sent++), 0);
        assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
        ring_publish(&w);
        for (int i = 0; i < 16; i++, read++) {
            assert_int_equal(ring_peek(&r, &at, &length, now()), 1);
            assert_memory_equal(at, &read, 4);
        }
        assert_int_equal(ring_peek(&r, &at, &length, now()), -ETIMEDOUT);
        assert_true(r.released != r.next);
        assert_int_equal(ring_release(&r), 0);
    }
    /* Where room runs out, what is held back comes out by itself. */
    ring_hold_back(&w);
    while (send_numbered(&w, sent) == 0)
        sent++;
    for (; read < sent; read++)
        assert_int_equal(recv_numbered(&r), read);
    assert_int_equal(send_numbered(&w, sent), 0);
    assert_int_equal(recv_numbered(&r), -ETIMEDOUT); /* and it is still being held back */
    ring_writer_close(&w);
    assert_int_equal(recv_numbered(&r), sent);
    assert_int_equal(recv_numbered(&r), -ENODATA);
    fixture_done(&f);
}

static void history(void **state)
{
    static const uint32_t kinds[] = {0, RING_BROADCAST};

    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        struct fixture f;
        struct ring_writer w;
        struct ring_reader r;
        int64_t first;

        fixture_make(&f, kinds[k], 50, 30);
        assert_int_equal(fixture_writer(&f, &w, 0), 0);
        for (uint32_t n = 0; n < 500; n++) {
            assert_int_equal(send_numbered(&w, n), 0);
            assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
            first = recv_numbered(&r);
            assert_in_range(first, 0, n < 30 ? 0 : n - 29);
            for (uint32_t i = (uint32_t)first + 1; i <= n; i++)
                assert_int_equal(recv_numbered(&r), i);
            assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
            ring_reader_leave(&r);
            ring_end_reader(&f.ring, 1, f.role);

            assert_int_equal(fixture_reader(&f, &r, 1, 5), 0);
            assert_int_equal(recv_numbered(&r), n < 5 ? 0 : n - 4);
            ring_reader_leave(&r);
            ring_end_reader(&f.ring, 1, f.role);

            assert_int_equal(fixture_reader(&f, &r, 1, 0), 0);
            assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
            assert_int_equal(r.lost, 0);
            ring_reader_leave(&r);
            ring_end_reader(&f.ring, 1, f.role);
        }
        ring_writer_close(&w);
        /* also after the writer has gone */
        assert_int_equal(fixture_reader(&f, &r, 1, 3), 0);
        for (uint32_t i = 497; i < 500; i++)
            assert_int_equal(recv_numbered(&r), i);
        assert_int_equal(recv_numbered(&r), -ENODATA);
        fixture_done(&f);
    }
}

static void lapping(void **state)
{
    struct fixture f;
    struct ring_writer w;
    struct ring_reader r, blind;
    struct ring_reader *const both[] = {&r, &blind};
    uint32_t length;
    const void *at;

    (void)state;
    fixture_make(&f, RING_BROADCAST, 50, 30);
    assert_int_equal(fixture_writer(&f, &w, 0), 0);
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
    assert_int_equal(ring_reader_start(&blind, &f.ring, -1, 0, -1, NULL), 0);
    assert_int_equal(send_numbered(&w, 0), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(recv_numbered(both[i]), 0);
        assert_int_equal(both[i]->lost, 0);
    }
    for (uint32_t n = 1; n < 2000; n++)
        assert_int_equal(send_numbered(&w, n), 0);
    for (int i = 0; i < 2; i++) {
        uint32_t got = (uint32_t)recv_numbered(both[i]);

        assert_in_range(got, 1800, 1970);
        assert_int_equal(both[i]->lost, got - 1);
        while (got < 1999)
            assert_int_equal(recv_numbered(both[i]), ++got);
    }
    assert_int_equal(atomic_load(&f.ring.slot[1].lost), r.lost);

    /* overwritten while it is looked at */
    uint64_t lost = r.lost;

    assert_int_equal(send_numbered(&w, 2000), 0);
    assert_int_equal(send_numbered(&w, 2001), 0);
    assert_int_equal(ring_peek(&r, &at, &length, now()), 1);
    assert_int_equal(ring_peek(&r, &at, &length, now()), 1);
    for (uint32_t n = 2002; n < 3000; n++)
        assert_int_equal(send_numbered(&w, n), 0);
    assert_int_equal(ring_release(&r), -EOVERFLOW);
    assert_int_equal(r.lost, lost + 2);

    int64_t got = recv_numbered(&r);

    assert_int_equal(got, 2000 + (int64_t)(r.lost - lost));
    ring_writer_close(&w);
    fixture_done(&f);
}

/* Readers that sleep whenever something is published are known to, whether that is a message, a batch,
 * or one of several writers' in turn: then the writer fences, and lets nobody follow its messages. */
static void sleepers(void **state)
{
    enum { SINGLE, BATCHES, MANY, WAYS };

    (void)state;
    for (int way = 0; way < WAYS; way++) {
        struct fixture f;
        struct ring_writer w[2];

        fixture_make(&f, way == MANY ? RING_MANY : 0, 50, 100);
        for (uint32_t i = 0; i < (way == MANY ? 2 : 1); i++)
            assert_int_equal(fixture_writer(&f, &w[i], i), 0);
        for (uint32_t n = 0; n < 200; n++) {
            atomic_store(&f.ring.header->readers_asleep, ASLEEP_FUTEX);
            if (way == BATCHES)
                ring_hold_back(&w[0]);
            for (int i = 0; i < (way == BATCHES ? 16 : 1); i++)
                assert_int_equal(send_numbered(&w[way == MANY ? n % 2 : 0], n), 0);
            ring_publish(&w[0]);
        }
        assert_true(w[0].sleepy);
        assert_int_equal(f.ring.header->fencing, 1);
        fixture_done(&f);
    }
}

static void run_on(int cpu)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

/* Who moves to another CPU and never waits there tells of it where it wakes who does. */
static void moved(void **state)
{
    cpu_set_t all;
    int cpus[2], found = 0;
    struct fixture f;
    struct ring_writer w;
    struct ring_reader r;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    for (int i = 0; i < CPU_SETSIZE && found < 2; i++)
        if (CPU_ISSET(i, &all))
            cpus[found++] = i;
    if (found < 2)
        cpus[1] = cpus[0]; /* on such a machine nobody moves */
    fixture_make(&f, 0, 50, 30);
    run_on(cpus[0]);
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
    assert_int_equal(fixture_writer(&f, &w, 0), 0);
    run_on(cpus[1]);
    assert_int_equal(send_numbered(&w, 0), 0);
    assert_int_equal(f.ring.header->writer_cpu, cpus[0] + 1); /* which costs nothing */
    assert_int_equal(ring_reader_arm(&r), 1);
    assert_int_equal(send_numbered(&w, 1), 0);
    assert_int_equal(f.ring.header->writer_cpu, cpus[1] + 1);
    while (send_numbered(&w, 2) == 0)
        ;
    assert_int_equal(ring_writer_arm(&w, 50), 0);
    assert_int_equal(r.slot->cpu, cpus[0] + 1);
    while (recv_numbered(&r) >= 0)
        ;
    assert_int_equal(r.slot->cpu, cpus[1] + 1);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
    ring_writer_close(&w);
    fixture_done(&f);
}

/* A spin yields no more where somebody busy takes the CPU for long. */
static void busy_neighbour(void **state)
{
    struct deadline d = {.timeout_ms = 10000};
    struct ring_wait w;
    cpu_set_t all;
    pid_t child;
    int cpu = 0;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    while (!CPU_ISSET((size_t)cpu, &all))
        cpu++;
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run_on(cpu);
        for (;;)
            ring_pause();
    }
    ring_wait_init(&w);
    w.single = false; /* others may be waited for elsewhere */
    run_on(cpu);
    while (w.stays == 0 && deadline_left_ms(&d) > 0) {
        struct ring_spin s;

        w.alone = false;
        assert_true(ring_spin_begin(&w, &s, 0));
        while (ring_spin_turn(&s))
            ;
    }
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
    assert_true(w.stays > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits),  cmocka_unit_test(room),    cmocka_unit_test(wrap),
        cmocka_unit_test(batches), cmocka_unit_test(history), cmocka_unit_test(lapping),
        cmocka_unit_test(sleepers), cmocka_unit_test(moved),
        cmocka_unit_test(busy_neighbour),
    };

    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
