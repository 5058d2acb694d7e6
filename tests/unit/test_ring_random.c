/* SPDX-License-Identifier: MIT */
/*
 * Random calls of several writers and readers, who join, leave, die and follow each other, held
 * against what a channel promises: a list of messages, and for each reader the number of its next
 * one. A failure prints its seed: test_ring_random SEED repeats it.
 */
#include "unit_ring.h"

#include <inttypes.h>
#include <stdlib.h>

#define WRITERS 2
#define READERS 3
#define STEPS 3000

struct writer {
    struct ring_writer w;
    bool here;
    uint32_t role, held; /* messages that are held back */
};

struct reader {
    struct ring_reader r;
    bool here, begun; /* begun: `next` is sure */
    uint32_t least, most, next; /* numbers; until it has begun its first one is between these */
    uint32_t role, told, peeked, skipped;
    const unsigned char *oldest; /* of what is peeked, */
    uint32_t number;             /* and its number */
};

static struct fixture f;
static struct writer writers[WRITERS];
static struct reader readers[READERS];
static uint32_t flags, max;
static uint32_t published; /* messages */
static uint32_t taken;     /* the furthest that a reader has released */
static uint32_t last_role; /* of the last writer that ended, */
static bool last_died;
static uint64_t random_state, seed = 1, seeds = 300;

static uint32_t any(uint32_t below)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(random_state >> 33) % below;
}

static uint32_t slot_of_writer(const struct writer *w)
{
    return (uint32_t)(w - writers);
}

static uint32_t slot_of_reader(const struct reader *r)
{
    return WRITERS + (uint32_t)(r - readers);
}

static bool any_writer(void)
{
    for (int i = 0; i < WRITERS; i++)
        if (writers[i].here)
            return true;
    return false;
}

/* May a writer be told that there is no room? Only where somebody has not released something. */
static bool may_be_full(void)
{
    bool reads = false;

    if (flags & RING_BROADCAST)
        return false;
    for (int i = 0; i < READERS; i++) {
        const struct reader *r = &readers[i];

        reads |= r->here;
        if (r->here && (!r->begun || r->peeked || r->next < published))
            return true;
    }
    return flags & RING_HOLD && taken < published;
}

static void come_writer(struct writer *w)
{
    if (w->here || (!(flags & RING_MANY) && any_writer()))
        return;
    assert_int_equal(fixture_writer(&f, &w->w, slot_of_writer(w)), 0);
    w->w.wait.alone = any(2) == 0; /* long messages are sent whole, or in pieces */
    w->here = true;
    w->role = f.role;
    w->held = 0;
}

static void end_writer(struct writer *w, bool dies)
{
    if (!w->here)
        return;
    if (!dies) {
        ring_writer_close(&w->w);
        published += w->held;
    } else
        free(w->w.copy);
    assert_int_equal(ring_end_writer(&f.ring, slot_of_writer(w), w->role), dies);
    w->here = false;
    w->held = 0;
    if (!any_writer()) {
        last_role = w->role;
        last_died = dies;
    }
}

/* What a call has made of messages that were held back, whose first one stood at `first`. */
static void see_held(struct writer *w, uint64_t first)
{
    if (w->w.held && w->w.first == first)
        return;
    published += w->held;
    w->held = 0;
}

static int reserve_and_commit(struct writer *w, uint32_t number)
{
    static unsigned char bytes[1 << 17];
    uint32_t length = numbered(bytes, max, number), some;
    void *room;
    int got = ring_reserve(&w->w, any(2) ? length : max, &room, now());

    if (got < 0)
        return got;
    some = any(length + 1);
    memcpy(room, bytes, some);
    if (any(2))
        assert_int_equal(ring_progress(&w->w, some), 0);
    if (any(8) == 0) {
        ring_abort(&w->w);
        return 1;
    }
    memcpy((unsigned char *)room + some, bytes + some, length - some);
    return ring_commit(&w->w, length);
}

static void write_one(struct writer *w)
{
    uint32_t number = published + w->held;
    uint64_t first = w->w.first;
    int got = 1; /* nothing was sent */

    if (!w->here)
        return;
    switch (any(6)) {
    case 0:
        ring_hold_back(&w->w);
        break;
    case 1:
        ring_publish(&w->w);
        break;
    case 2:
    case 3:
        got = reserve_and_commit(w, number);
        if (got < 0 && w->w.is_reserved) /* of many writers */
            ring_abort(&w->w);
        break;
    default:
        got = send_numbered(&w->w, number);
    }
    see_held(w, first);
    if (got == 0 && w->w.holding)
        w->held++;
    else if (got == 0)
        published++;
    else if (got < 0) {
        assert_int_equal(got, -ETIMEDOUT);
        assert_true(may_be_full());
    }
}

static void come_reader(struct reader *r)
{
    int64_t history = (int64_t)any(12) - 1;

    if (r->here)
        return;
    *r = (struct reader){.here = true, .most = published};
    assert_int_equal(fixture_reader(&f, &r->r, slot_of_reader(r), history), 0);
    r->role = f.role;
    r->least = history < 0 || history > published ? 0 : published - (uint32_t)history;
    if (flags & RING_HOLD) {
        r->most = MAX(taken, r->least);
        taken = r->most; /* it has left out what was before */
    } else if (flags & RING_BROADCAST)
        r->most = UINT32_MAX;
}

static void released(struct reader *r)
{
    r->peeked = 0;
    if (r->begun && !(flags & RING_BROADCAST))
        taken = MAX(taken, r->next);
}

static void end_reader(struct reader *r, bool dies)
{
    if (!r->here)
        return;
    if (!dies)
        ring_reader_leave(&r->r);
    assert_int_equal(ring_end_reader(&f.ring, slot_of_reader(r), r->role), dies);
    r->here = false;
}

/* The number of a message that was got. */
static void take(struct reader *r, uint32_t number)
{
    assert_true(number < published);
    if (!r->begun)
        assert_in_range(number, r->least, r->most);
    else if (flags & RING_BROADCAST) {
        assert_true(number >= r->next);
        r->skipped += number - r->next;
    } else
        assert_int_equal(number, r->next);
    r->begun = true;
    r->next = number + 1;
}

/* None was got. Was there none, and was it told an end that it had not been told yet? */
static void missed(struct reader *r, int64_t got)
{
    bool ended = !any_writer() && last_role != 0 && r->told != last_role;

    if (r->begun && !(flags & RING_BROADCAST)) /* else what is there may be too old */
        assert_int_equal(r->next, published);
    if (!r->begun && r->most != UINT32_MAX)
        assert_true(r->most >= published);
    assert_int_equal(got, !ended ? -ETIMEDOUT : last_died ? -EOWNERDEAD : -ENODATA);
    r->told = last_role;
}

static void check(const unsigned char *at, uint32_t number)
{
    static unsigned char expected[1 << 17];
    uint32_t length = numbered(expected, max, number);

    assert_memory_equal(at, expected, length);
}

static void peek_one(struct reader *r)
{
    const void *at;
    uint32_t length, number;
    int got = ring_peek(&r->r, &at, &length, now());

    if (got != 1) {
        missed(r, got == 0 ? -ENODATA : got);
        return;
    }
    memcpy(&number, at, 4);
    check(at, number);
    take(r, number);
    if (r->peeked++ == 0) {
        r->oldest = at;
        r->number = number;
    }
}

static void release_all(struct reader *r)
{
    int got;

    if (r->peeked && !(flags & RING_BROADCAST)) /* the writer has waited for it */
        check(r->oldest, r->number);
    got = ring_release(&r->r);
    if (got == -EOVERFLOW) {
        assert_true(flags & RING_BROADCAST && r->peeked > 0);
        r->skipped += r->peeked;
    } else
        assert_int_equal(got, 0);
    released(r);
}

static void read_one(struct reader *r)
{
    int64_t got;

    if (!r->here)
        return;
    switch (any(5)) {
    case 0:
        release_all(r);
        break;
    case 1:
    case 2:
        peek_one(r);
        break;
    default:
        if (r->peeked)
            release_all(r);
        got = recv_numbered(&r->r);
        if (got < 0)
            missed(r, got);
        else {
            take(r, (uint32_t)got);
            released(r);
        }
    }
    assert_int_equal(r->r.lost, r->skipped);
}

static void step(void)
{
    struct writer *w = &writers[any(WRITERS)];
    struct reader *r = &readers[any(READERS)];

    switch (any(64)) {
    case 0:
        end_writer(w, any(2));
        break;
    case 1:
        end_reader(r, any(2));
        break;
    case 2:
    case 3:
        come_reader(r);
        break;
    case 4:
    case 5:
        come_writer(w);
        break;
    default:
        if (any(20) < 9)
            write_one(w);
        else
            read_one(r);
    }
}

static void run(void)
{
    static const uint32_t kinds[] = {0, RING_BROADCAST, RING_HOLD, RING_MANY, RING_MANY | RING_HOLD,
                                     RING_MANY | RING_BROADCAST};
    static const uint32_t sizes[] = {12, 100, 900, 70000};

    random_state = seed;
    any(1);
    flags = kinds[any(ARRAY_LEN(kinds))];
    max = sizes[any(ARRAY_LEN(sizes))];
    published = taken = last_role = 0;
    memset(writers, 0, sizeof(writers));
    memset(readers, 0, sizeof(readers));
    fixture_make(&f, flags, max, 2 + any(20));
    for (int i = 0; i < (max > 10000 ? STEPS / 10 : STEPS); i++)
        step();
    for (int i = 0; i < 100 * READERS; i++)
        read_one(&readers[i % READERS]);
    for (int i = 0; i < WRITERS; i++)
        end_writer(&writers[i], false);
    fixture_done(&f);
}


static void random_calls(void **state)
{
    (void)state;
    for (; seeds > 0; seeds--, seed++)
        run();
}

static int tell_seed(void **state)
{
    (void)state;
    if (seeds > 0)
        print_message("seed %" PRIu64 "\n", seed);
    return 0;
}

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(random_calls, tell_seed)};

    if (argc > 1) {
        seed = strtoull(argv[1], NULL, 10);
        seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    }
    return cmocka_run_group_tests_name("ring_random", tests, NULL, NULL);
}
