/* SPDX-License-Identifier: MIT */
/* A ring within one process: who waits for whom, and what ends that. */
#include "unit_ring.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* A reader that has not read holds the writer up until it goes, however it goes. */
static void slow_readers(void **state)
{
    (void)state;
    for (int dies = 0; dies < 2; dies++) {
        struct fixture f;
        struct ring_writer w;
        struct ring_reader a, b;
        uint32_t sent = 0;

        fixture_make(&f, 0, 50, 30);
        assert_int_equal(fixture_reader(&f, &a, 1, -1), 0);
        assert_int_equal(fixture_reader(&f, &b, 2, -1), 0);
        assert_int_equal(fixture_writer(&f, &w, 0), 0);
        while (send_numbered(&w, sent) == 0) {
            assert_int_equal(recv_numbered(&a), sent);
            sent++;
        }
        assert_int_equal(ring_writer_arm(&w, 50), 0);
        if (!dies)
            ring_reader_leave(&b);
        assert_int_equal(ring_end_reader(&f.ring, 2, f.role), dies);
        assert_int_equal(ring_writer_arm(&w, 50), 1);
        assert_int_equal(send_numbered(&w, sent), 0);
        ring_writer_close(&w);
        fixture_done(&f);
    }
}

static void hold(void **state)
{
    struct fixture f;
    struct ring_writer w;
    struct ring_reader r;
    uint32_t sent = 0, read = 0;

    (void)state;
    fixture_make(&f, RING_HOLD, 50, 30);
    assert_int_equal(fixture_writer(&f, &w, 0), 0);
    for (int turn = 0; turn < 20; turn++) {
        while (send_numbered(&w, sent) == 0) /* with nobody there */
            sent++;
        assert_true(sent - read >= 30);
        assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
        for (int i = 0; i < 17; i++)
            assert_int_equal(recv_numbered(&r), read++);
        if (turn % 2)
            ring_reader_leave(&r);
        ring_end_reader(&f.ring, 1, f.role);
    }
    ring_writer_close(&w);
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
    while (read < sent)
        assert_int_equal(recv_numbered(&r), read++);
    assert_int_equal(recv_numbered(&r), -ENODATA);
    fixture_done(&f);
}

static void ends(void **state)
{
    struct fixture f;
    struct ring_writer w, other;
    struct ring_reader r;

    (void)state;
    fixture_make(&f, 0, 50, 30);
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
    assert_int_equal(recv_numbered(&r), -ETIMEDOUT); /* nobody has come yet */
    assert_int_equal(fixture_writer(&f, &w, 0), 0);
    assert_int_equal(send_numbered(&w, 0), 0);
    assert_true(ring_end_writer(&f.ring, 0, f.role));
    assert_int_equal(recv_numbered(&r), 0);
    assert_int_equal(recv_numbered(&r), -EOWNERDEAD);
    assert_int_equal(recv_numbered(&r), -ETIMEDOUT); /* it is told once */
    assert_int_equal(fixture_writer(&f, &other, 0), 0);
    assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
    assert_int_equal(send_numbered(&other, 1), 0);
    ring_writer_close(&other);
    assert_false(ring_end_writer(&f.ring, 0, f.role));
    assert_int_equal(recv_numbered(&r), 1);
    assert_int_equal(recv_numbered(&r), -ENODATA);
    assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
    fixture_done(&f);
}

/* An end that comes between a look and the poll that follows it is told by the next look. */
static void ends_under_poll(void **state)
{
    struct fixture f;
    struct ring_writer w;
    struct ring_reader r;

    (void)state;
    fixture_make(&f, 0, 50, 30);
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
    for (int dies = 0; dies < 2; dies++) {
        assert_int_equal(fixture_writer(&f, &w, 0), 0);
        assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
        if (!dies)
            ring_writer_close(&w);
        assert_int_equal(ring_end_writer(&f.ring, 0, f.role), dies);
        assert_int_equal(ring_reader_arm(&r), 1);
        assert_int_equal(recv_numbered(&r), dies ? -EOWNERDEAD : -ENODATA);
        assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
        assert_int_equal(ring_reader_arm(&r), 0);
    }
    fixture_done(&f);
}

/* Where the channel was removed nobody waits for who cannot come, and nobody misses what did. */
static void removed(void **state)
{
    static const uint32_t kinds[] = {RING_HOLD, RING_HOLD | RING_MANY};

    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        struct fixture f;
        struct ring_writer w;
        struct ring_reader r;
        uint32_t writer, sent = 0, got = 0;

        fixture_make(&f, kinds[k], 50, 30);
        assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
        assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
        assert_int_equal(ring_reader_arm(&r), 0);
        ring_note_removed(&f.ring);
        assert_int_equal(ring_reader_arm(&r), 1);
        assert_int_equal(recv_numbered(&r), -EIDRM);
        writer = fixture_take(&f, 0, MEMBER_WRITER); /* who was about to begin */
        assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
        assert_int_equal(ring_writer_start(&w, &f.ring, 0, writer, NULL), 0);
        while (send_numbered(&w, sent) == 0)
            sent++;
        assert_int_equal(send_numbered(&w, sent), -ETIMEDOUT);
        assert_int_equal(ring_writer_arm(&w, 50), 0);
        ring_reader_leave(&r);
        ring_end_reader(&f.ring, 1, r.role);
        assert_int_equal(ring_writer_arm(&w, 50), 1);
        assert_int_equal(send_numbered(&w, sent), -EIDRM);
        assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
        assert_true(ring_end_writer(&f.ring, 0, writer));
        while (got < sent)
            assert_int_equal(recv_numbered(&r), got++);
        assert_int_equal(recv_numbered(&r), -EOWNERDEAD);
        assert_int_equal(recv_numbered(&r), -EIDRM);
        assert_int_equal(recv_numbered(&r), -EIDRM);
        fixture_done(&f);
    }
}

/* The end of many writers is that of the last one; one that holds the lock and dies frees it. */
static void many(void **state)
{
    struct fixture f;
    struct ring_writer a, b;
    struct ring_reader r;
    uint32_t role_a, role_b;

    (void)state;
    fixture_make(&f, RING_MANY, 50, 30);
    assert_int_equal(fixture_reader(&f, &r, 2, -1), 0);
    assert_int_equal(fixture_writer(&f, &a, 0), 0);
    role_a = f.role;
    assert_int_equal(fixture_writer(&f, &b, 1), 0);
    role_b = f.role;
    for (uint32_t n = 0; n < 500; n++) {
        assert_int_equal(send_numbered(n % 3 ? &a : &b, n), 0);
        assert_int_equal(recv_numbered(&r), n);
    }
    atomic_store(&f.ring.header->lock, (uint64_t)role_b << 32);
    assert_int_equal(send_numbered(&a, 500), -ETIMEDOUT);
    assert_true(ring_end_writer(&f.ring, 1, role_b));
    assert_int_equal(send_numbered(&a, 500), 0);
    assert_int_equal(recv_numbered(&r), 500);
    assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
    assert_int_equal(fixture_writer(&f, &b, 1), 0);
    role_b = f.role;
    ring_writer_close(&a);
    assert_false(ring_end_writer(&f.ring, 0, role_a));
    assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
    assert_int_equal(send_numbered(&b, 501), 0);
    ring_writer_close(&b);
    assert_int_equal(recv_numbered(&r), 501);
    assert_int_equal(recv_numbered(&r), -ENODATA);
    fixture_done(&f);
}

static bool count(void *data)
{
    ++*(int *)data;
    return true;
}

static bool count_in_vain(void *data)
{
    ++*(int *)data;
    return false;
}

static int count_changes(void *data)
{
    ++*(int *)data;
    return 0;
}

static int count_failures(void *data)
{
    ++*(int *)data;
    return -EAGAIN;
}

/* Who is in poll is told once; nobody is told for nothing. */
static void poll_flags(void **state)
{
    struct fixture f;
    struct ring_writer w;
    struct ring_reader r;
    int poked = 0, changed = 0;
    uint32_t sent = 0, read = 0;

    (void)state;
    fixture_make(&f, 0, 50, 30);
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
    assert_int_equal(fixture_writer(&f, &w, 0), 0);
    w.hooks.poke = r.hooks.poke = count;
    w.hooks.data = r.hooks.data = &poked;
    assert_int_equal(send_numbered(&w, sent++), 0);
    assert_int_equal(poked, 0);
    assert_int_equal(recv_numbered(&r), read++);
    assert_int_equal(ring_reader_arm(&r), 0);
    assert_int_equal(send_numbered(&w, sent++), 0);
    assert_int_equal(poked, 1);
    assert_int_equal(send_numbered(&w, sent++), 0);
    assert_int_equal(poked, 1);
    assert_int_equal(ring_reader_arm(&r), 1);
    while (send_numbered(&w, sent) == 0)
        sent++;
    poked = 0;
    assert_int_equal(ring_writer_arm(&w, 50), 0);
    while (read < sent)
        assert_int_equal(recv_numbered(&r), read++);
    assert_int_equal(poked, 1);
    assert_int_equal(ring_writer_arm(&w, 50), 1);

    /* Where shmd could not be told, it is to be with what comes next. */
    poked = 0;
    w.hooks.poke = r.hooks.poke = count_in_vain;
    assert_int_equal(ring_reader_arm(&r), 0);
    for (int i = 1; i < 4; i++) {
        assert_int_equal(send_numbered(&w, sent++), 0);
        assert_int_equal(poked, i);
    }
    w.hooks.poke = count;
    assert_int_equal(send_numbered(&w, sent++), 0);
    assert_int_equal(send_numbered(&w, sent++), 0);
    assert_int_equal(poked, 4);
    while (send_numbered(&w, sent) == 0)
        sent++;
    assert_int_equal(ring_writer_arm(&w, 50), 0);
    poked = 0;
    while (read < sent)
        assert_int_equal(recv_numbered(&r), read++);
    assert_true(poked > 1);
    w.hooks.poke = r.hooks.poke = count;

    /* A shmd that came anew is noticed by who has to wait. */
    struct deadline d = {.timeout_ms = 1};
    unsigned char bytes[50];
    uint32_t length;

    r.hooks.changed = count_changes;
    r.hooks.data = &changed;
    while (ring_recv(&r, bytes, sizeof(bytes), &length, &d) == 1)
        ;
    changed = 0;
    ring_new_epoch(&f.ring);
    for (int i = 0; i < 3; i++) {
        d = (struct deadline){.timeout_ms = 1};
        assert_int_equal(ring_recv(&r, bytes, sizeof(bytes), &length, &d), -ETIMEDOUT);
    }
    assert_int_equal(changed, 1);
    ring_new_epoch(&f.ring); /* and where it could not be told, tried again */
    r.hooks.changed = count_failures;
    for (int i = 0; i < 3; i++) {
        d = (struct deadline){.timeout_ms = 1};
        assert_int_equal(ring_recv(&r, bytes, sizeof(bytes), &length, &d), -ETIMEDOUT);
    }
    assert_true(changed >= 4);
    ring_writer_close(&w);
    fixture_done(&f);
}

/* A writer tells of itself with its next message where shmd could not be told with this one. */
static void told_again(void **state)
{
    static const uint32_t kinds[] = {0, RING_MANY};

    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        struct fixture f;
        struct ring_writer w;
        int changed = 0;
        void *room;

        fixture_make(&f, kinds[k], 50, 30);
        assert_int_equal(fixture_writer(&f, &w, 0), 0);
        w.hooks.changed = count_failures;
        w.hooks.data = &changed;
        assert_int_equal(send_numbered(&w, 0), 0);
        assert_int_equal(changed, 0);
        ring_new_epoch(&f.ring);
        for (int i = 1; i < 4; i++) {
            assert_int_equal(send_numbered(&w, 0), 0);
            assert_int_equal(changed, i);
        }
        assert_int_equal(ring_reserve(&w, 8, &room, now()), 0);
        assert_int_equal(ring_commit(&w, 8), 0);
        assert_true(changed > 3);
        changed = 0;
        w.hooks.changed = count_changes;
        for (int i = 0; i < 3; i++)
            assert_int_equal(send_numbered(&w, 0), 0);
        assert_int_equal(changed, 1);
        ring_writer_close(&w);
        fixture_done(&f);
    }
}

/* As in a container that denies membarrier(2). */
static int deny_barriers(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* the call's number */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = {ARRAY_LEN(code), code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
                   prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0
               ? -1 : 0;
}

/* Who polls and cannot make sure that its flag is seen knows that it has to look again by itself. */
static void polls_unseen(void **state)
{
    struct fixture f;
    struct ring_writer w;
    struct ring_reader r;
    uint32_t sent = 0;
    int status;

    (void)state;
    fixture_make(&f, 0, 50, 30);
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
    assert_int_equal(fixture_writer(&f, &w, 0), 0);
    assert_int_equal(send_numbered(&w, sent++), 0);
    assert_int_equal(recv_numbered(&r), 0);
    assert_int_equal(f.ring.header->fencing, !ring_wait_register());
    if (f.ring.header->fencing)
        skip(); /* where membarrier is denied already, writers fence */

    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        bool right = deny_barriers() == 0 && ring_reader_arm(&r) == -EAGAIN;

        while (send_numbered(&w, sent) == 0)
            sent++;
        right = right && ring_writer_arm(&w, 50) == -EAGAIN && ring_reader_arm(&r) == 1;
        _exit(right ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_readers), cmocka_unit_test(hold), cmocka_unit_test(ends),
        cmocka_unit_test(many),         cmocka_unit_test(poll_flags), cmocka_unit_test(removed),
        cmocka_unit_test(ends_under_poll), cmocka_unit_test(told_again),
        cmocka_unit_test(polls_unseen),
    };

    return cmocka_run_group_tests_name("ring_ends", tests, NULL, NULL);
}
