/* SPDX-License-Identifier: MIT */
/*
 * A peer that may write to the segment and does: each word of header, slots and ring is given each
 * of some values, and random words random ones, while both sides and shmd's part run. They may
 * fail; they may not touch what lies around the segment, or go on for ever.
 */
#include "unit_ring.h"

#include <pthread.h>

#define CALLS 6

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*state >> 33);
}

static const uint32_t kinds[] = {0, RING_BROADCAST, RING_HOLD, RING_MANY};

struct party {
    struct ring_writer w;
    struct ring_reader r, blind;
    bool writes, reads;
};

static void begin(struct fixture *f, struct party *p)
{
    p->writes = fixture_writer(f, &p->w, 0) == 0;
    p->reads = fixture_reader(f, &p->r, 1, -1) == 0 &&
               ring_reader_start(&p->blind, &f->ring, -1, 0, 0, NULL) == 0;
}

static void follow(struct ring_reader *r)
{
    const unsigned char *at;
    uint32_t length = 0, there = 0;
    int got = ring_peek_begun(r, (const void **)&at, &length, &there, now());

    for (int i = 0; i < CALLS && got == 1; i++) {
        assert_true(there <= length && length <= r->ring.max_message);
        assert_true(at >= r->ring.data && at + length <= r->ring.data + r->ring.size);
        for (uint32_t k = 0; k < there; k += 64)
            (void)*(const volatile unsigned char *)(at + k);
        if (there == length)
            break;
        got = ring_peek_more(r, &there, now());
    }
    ring_release(r);
}

static void use(struct fixture *f, struct party *p, uint64_t *random)
{
    static unsigned char bytes[70000];
    uint32_t length;
    const void *at;
    void *to;

    for (int i = 0; i < CALLS; i++) {
        uint32_t n = next_random(random) % (f->ring.max_message + 1);

        if (p->writes && ring_reserve(&p->w, n, &to, now()) == 0) {
            memset(to, i, n);
            ring_progress(&p->w, n / 2);
            if (p->reads)
                follow(&p->r);
            ring_commit(&p->w, n);
        }
        if (p->writes)
            ring_send(&p->w, bytes, n, now());
        if (p->reads) {
            if (ring_peek(&p->r, &at, &length, now()) == 1)
                memcpy(bytes, at, length);
            ring_release(&p->r);
            follow(&p->r);
            follow(&p->blind);
            ring_recv(&p->r, bytes, sizeof(bytes), &length, now());
            ring_recv(&p->blind, bytes, sizeof(bytes), &length, now());
            ring_reader_arm(&p->r);
        }
    }
    if (p->writes)
        ring_writer_arm(&p->w, 1);
}

static void finish(struct fixture *f, struct party *p)
{
    if (p->writes)
        ring_writer_close(&p->w);
    if (p->reads)
        ring_reader_leave(&p->r);
    ring_end_reader(&f->ring, 1, f->role);
    ring_end_writer(&f->ring, 0, f->role - 1);
    ring_new_epoch(&f->ring);
}

static void each_word(void **state)
{
    static const uint64_t values[] = {
        0, 1, 7, 4096, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000001, 0x8000000000000000,
        0x7fffffffffffffff, 0xffffffffffffffff, 0xfffffffffffff000, 0xc0000000, 0xbfffffff,
        0x40000010, 0x80000010, 0xffffffff80000000};
    uint64_t random = 1;

    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        struct fixture f;

        fixture_make(&f, kinds[k], 200, 10);
        for (uint64_t at = 0; at < sizeof(struct ring_header) + 2 * sizeof(struct ring_slot) + 64;
             at += 4)
            for (unsigned v = 0; v < ARRAY_LEN(values); v++) {
                struct ring_options o = {
                    .flags = kinds[k], .max_message = 200, .messages = 10, .slots = 8};
                uint64_t rest = sizeof(struct ring_header) + 2 * sizeof(struct ring_slot);
                uint64_t where = at;
                struct party p;
                struct ring other;

                if (at >= rest)
                    where = (uint64_t)(f.ring.data - (unsigned char *)f.segment) + (at - rest);
                memset(f.segment, 0, f.size);
                assert_int_equal(ring_format(f.segment, f.size, &o), 0);
                begin(&f, &p);
                use(&f, &p, &random);
                memcpy((unsigned char *)f.segment + where, &values[v], where % 8 ? 4 : 8);
                use(&f, &p, &random);
                if (ring_init(&other, f.segment, f.size) == 0) {
                    assert_true(other.size >= RING_SIZE_MIN && other.size <= f.size);
                    assert_true(other.data + other.size <= (unsigned char *)f.segment + f.size);
                }
                memcpy((unsigned char *)f.segment + where, &values[v], where % 8 ? 4 : 8);
                if (p.writes)
                    free(p.w.copy); /* as if it had died here */
                begin(&f, &p);
                use(&f, &p, &random);
                finish(&f, &p);
            }
        fixture_done(&f);
    }
}

struct attack {
    struct fixture *f;
    _Atomic bool stop;
    bool ring_too;
};

static void *attack(void *arg)
{
    struct attack *a = arg;
    uint64_t random = 7, head = sizeof(struct ring_header) + 2 * sizeof(struct ring_slot);
    uint64_t start = (uint64_t)(a->f->ring.data - (unsigned char *)a->f->segment);

    while (!atomic_load(&a->stop)) {
        uint32_t n = next_random(&random);
        uint64_t at = a->ring_too && n % 2 ? start + next_random(&random) % a->f->ring.size
                                           : next_random(&random) % head;
        uint64_t value = (uint64_t)next_random(&random) << 32 | next_random(&random);
        _Atomic uint64_t *word = (void *)((unsigned char *)a->f->segment + (at & ~7ull));

        switch (n / 2 % 4) {
        case 0:
            value &= 0xff;
            break;
        case 1: /* near to what is there */
            value = atomic_load(word) + value % 129 * 8 - 512;
            break;
        case 2:
            value = 1ull << (value % 64);
            break;
        }
        atomic_store(word, value);
    }
    return NULL;
}

static void while_running(void **state)
{
    uint64_t random = 3;

    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++)
        for (int more = 0; more < 4; more++) {
            struct fixture f;
            struct attack a = {.f = &f, .ring_too = more & 1};
            pthread_t id;

            fixture_make(&f, kinds[k], more & 2 ? 66000 : 300, 5);
            assert_int_equal(pthread_create(&id, NULL, attack, &a), 0);
            for (int i = 0; i < (more & 2 ? 300 : 1500); i++) {
                struct party p;

                begin(&f, &p);
                use(&f, &p, &random);
                finish(&f, &p);
            }
            atomic_store(&a.stop, true);
            pthread_join(id, NULL);
            fixture_done(&f);
        }
}

/* A position so far ahead that the end of a record wraps to where every writer may write. */
static void head_that_wraps(void **state)
{
    (void)state;
    for (int by = 0; by < 3; by++) {
        struct fixture f;
        struct ring_writer w;
        void *room;

        fixture_make(&f, RING_MANY, 200, 10);
        assert_int_equal(fixture_writer(&f, &w, 0), 0);
        atomic_store(&f.ring.header->head, UINT64_MAX - 2 * RING_GRAIN + 1);
        if (by == 0)
            assert_int_equal(send_numbered(&w, 1), -EPROTO);
        else if (by == 1)
            assert_int_equal(ring_writer_arm(&w, 8), 1);
        assert_int_equal(ring_reserve(&w, 8, &room, now()), 0);
        assert_ptr_equal(room, w.copy); /* not in the ring: this one does not hold the lock */
        assert_int_equal(ring_commit(&w, 8), -EPROTO);
        ring_writer_close(&w);
        fixture_done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_that_wraps),
        cmocka_unit_test(each_word),
        cmocka_unit_test(while_running),
    };

    alarm(100); /* a loop without an end is a failure too */
    return cmocka_run_group_tests_name("ring_hostile", tests, NULL, NULL);
}
