/* SPDX-License-Identifier: MIT */
/* A role that shmd has ended while its holder lives: the place is another one's by then. */
#include "unit_ring.h"

/* What a shmd that was killed in the middle of it had begun, the next one brings to its end. */
static void ended_again(void **state)
{
    struct fixture f;
    struct ring_writer w;
    struct ring_reader r;
    struct ring_slot *slot;

    (void)state;
    fixture_make(&f, RING_MANY, 50, 30);
    slot = &f.ring.slot[0];
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
    assert_int_equal(fixture_writer(&f, &w, 0), 0);
    atomic_store(&f.ring.header->lock, (uint64_t)f.role << 32);
    for (int i = 0; i < 2; i++) {
        atomic_store(&slot->state, SLOT_FREE); /* as far as it had got */
        atomic_store(&slot->kind, MEMBER_WRITER);
        atomic_store(&slot->role, f.role);
        ring_end_writer(&f.ring, 0, f.role);
        assert_int_equal(f.ring.header->lock, 0);
        assert_int_equal(f.ring.header->writer, (uint64_t)f.role << 32 | RING_DIED);
        assert_int_equal(slot->role, 0);
    }
    assert_int_equal(recv_numbered(&r), -EOWNERDEAD);
    assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
    fixture_done(&f);
}

static int gone(void *data)
{
    ++*(int *)data;
    return -ESTALE;
}

/* Whose role shmd has ended learns of it without ever waiting, writes nothing more, and leaves its
 * slot's next holder alone. */
static void ended_by_shmd(void **state)
{
    static const uint32_t kinds[] = {0, RING_BROADCAST, RING_MANY};

    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        const struct ring_hooks hooks = {.changed = gone, .data = &(int){0}};
        struct fixture f;
        struct ring_writer w;
        struct ring_reader r, following;
        uint32_t sent = 0, roles[2];
        uint64_t word;
        void *room;

        fixture_make(&f, kinds[k], 50, 30);
        roles[0] = fixture_take(&f, 0, MEMBER_WRITER);
        assert_int_equal(ring_writer_start(&w, &f.ring, 0, roles[0], &hooks), 0);
        roles[1] = fixture_take(&f, 1, MEMBER_READER);
        assert_int_equal(ring_reader_start(&r, &f.ring, 1, roles[1], -1, NULL), 0);
        assert_int_equal(send_numbered(&w, sent++), 0);
        ring_hold_back(&w);
        assert_int_equal(ring_reserve(&w, 8, &room, now()), 0);
        assert_true(ring_end_reader(&f.ring, 1, roles[1]));
        assert_true(ring_end_writer(&f.ring, 0, roles[0]));
        assert_int_equal(fixture_reader(&f, &following, 0, -1), 0);
        assert_int_equal(fixture_reader(&f, &following, 1, -1), 0);
        word = atomic_load(ring_word(&f.ring, w.position));
        assert_int_equal(ring_progress(&w, 8), kinds[k] & RING_MANY ? 0 : -ESTALE);
        assert_int_equal(ring_commit(&w, 8), -ESTALE);
        ring_abort(&w);
        assert_int_equal(send_numbered(&w, sent), -ESTALE);
        assert_int_equal(ring_reserve(&w, 8, &room, now()), kinds[k] & RING_MANY ? 0 : -ESTALE);
        assert_int_equal(atomic_load(ring_word(&f.ring, w.position)), word);
        atomic_store(&f.ring.slot[1].position, 8);
        assert_int_equal(recv_numbered(&r), -ESTALE); /* nobody waited for it */
        assert_int_equal(f.ring.slot[1].position, 8);
        ring_reader_leave(&r);
        ring_writer_close(&w);
        assert_int_equal(f.ring.slot[0].state, SLOT_ACTIVE);
        assert_int_equal(f.ring.slot[1].state, SLOT_ACTIVE);
        assert_int_equal((uint32_t)f.ring.header->writer, RING_DIED);
        fixture_done(&f);
    }
}

/* One that had begun a message takes nothing back where its successor writes by now. */
static void ended_while_begun(void **state)
{
    struct fixture f;
    struct ring_writer w, heir;
    struct ring_reader r;
    void *room;

    (void)state;
    fixture_make(&f, 0, 100000, 3);
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
    assert_int_equal(fixture_writer(&f, &w, 0), 0);
    w.wait.alone = false;
    assert_int_equal(ring_reserve(&w, 90000, &room, now()), 0);
    assert_int_equal(ring_progress(&w, 65536), 0);
    assert_true(w.is_begun);
    assert_true(ring_end_writer(&f.ring, 0, f.role));
    assert_int_equal(fixture_writer(&f, &heir, 0), 0);
    assert_int_equal(send_numbered(&heir, 7), 0);
    ring_writer_close(&w);
    assert_int_equal(recv_numbered(&r), 7);
    ring_writer_close(&heir);
    assert_int_equal(recv_numbered(&r), -ENODATA);
    fixture_done(&f);
}

/* Messages that were held back are not published in the place of who writes there now, whatever it
 * is that would publish them. */
static void held_when_lost(void **state)
{
    enum { BY_PUBLISH, BY_ARM, BY_CLOSE, BY_ROOM, BY_SEND, WAYS };

    (void)state;
    for (int way = 0; way < WAYS; way++) {
        const struct ring_hooks hooks = {.changed = gone, .data = &(int){0}};
        static unsigned char bytes[1000];
        struct fixture f;
        struct ring_writer w, heir;
        struct ring_reader r;

        fixture_make(&f, RING_BROADCAST, sizeof(bytes), 10);
        assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
        assert_int_equal(ring_writer_start(&w, &f.ring, 0, fixture_take(&f, 0, MEMBER_WRITER),
                                           &hooks), 0);
        ring_hold_back(&w);
        assert_int_equal(ring_send(&w, "abcd", 4, now()), 0);
        assert_true(ring_end_writer(&f.ring, 0, f.role));
        assert_int_equal(fixture_writer(&f, &heir, 0), 0);
        for (uint32_t n = 1; n < 4; n++)
            assert_int_equal(send_numbered(&heir, n), 0);
        switch (way) {
        case BY_ARM:
            ring_writer_arm(&w, 8);
            break;
        case BY_CLOSE:
            ring_writer_close(&w);
            break;
        case BY_ROOM:
            for (int i = 0; i < 20; i++)
                assert_int_equal(ring_send(&w, bytes, sizeof(bytes), now()), -ESTALE);
            break;
        case BY_SEND:
            assert_int_equal(ring_send(&w, "efgh", 4, now()), -ESTALE);
            break;
        }
        if (way != BY_CLOSE)
            ring_publish(&w);
        for (uint32_t n = 1; n < 4; n++)
            assert_int_equal(recv_numbered(&r), n);
        assert_int_equal(recv_numbered(&r), -ETIMEDOUT);
        fixture_done(&f);
    }
}

/* A reader that has not waited learns of it from the very message that it may not have got. */
static void reader_lost(void **state)
{
    struct fixture f;
    struct ring_writer w;
    struct ring_reader r;

    (void)state;
    fixture_make(&f, 0, 50, 30);
    assert_int_equal(fixture_reader(&f, &r, 1, -1), 0);
    assert_int_equal(fixture_writer(&f, &w, 0), 0);
    for (uint32_t n = 0; n < 2; n++)
        assert_int_equal(send_numbered(&w, n), 0);
    assert_int_equal(recv_numbered(&r), 0);
    assert_true(ring_end_reader(&f.ring, 1, r.role));
    assert_int_equal(recv_numbered(&r), -ESTALE); /* nothing is behind it */
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ended_again),       cmocka_unit_test(ended_by_shmd),
        cmocka_unit_test(ended_while_begun), cmocka_unit_test(held_when_lost),
        cmocka_unit_test(reader_lost),
    };

    return cmocka_run_group_tests_name("ring_lost", tests, NULL, NULL);
}
