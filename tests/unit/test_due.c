/* SPDX-License-Identifier: MIT */
/* The heap of what is due, against an array that is searched. */
#include "unit.h"

#include "due.h"

#define CAPACITY 257u

struct model {
    bool there[CAPACITY];
    int64_t when[CAPACITY];
    uint32_t n;
};

/* The soonest of the model. */
static bool model_first(const struct model *m, int64_t *when)
{
    bool found = false;

    for (uint32_t i = 0; i < CAPACITY; i++)
        if (m->there[i] && (!found || m->when[i] < *when)) {
            *when = m->when[i];
            found = true;
        }
    return found;
}

static void check(const struct due *d, const struct model *m)
{
    uint32_t entry = CAPACITY;
    int64_t when = 0, expected = 0;
    bool some = model_first(m, &expected);

    assert_int_equal(d->n, m->n);
    assert_int_equal(due_first(d, &entry, &when), some);
    if (!some)
        return;
    assert_int_equal(when, expected);
    assert_true(entry < CAPACITY && m->there[entry]);
    assert_int_equal(m->when[entry], expected);
}

static void check_all(const struct due *d, const struct model *m)
{
    check(d, m);
    for (uint32_t i = 0; i < CAPACITY; i++)
        assert_int_equal(due_when(d, i), m->there[i] ? m->when[i] : 0);
}

static void set(struct due *d, struct model *m, uint32_t entry, int64_t when)
{
    int64_t first = 0;

    m->n += !m->there[entry];
    m->there[entry] = false;

    bool soonest = !model_first(m, &first) || when < first;
    bool told = due_set(d, entry, when);

    m->there[entry] = true;
    m->when[entry] = when;
    /* Among equals either may be on top, and nobody need be told. */
    if (soonest || when > first)
        assert_int_equal(told, soonest);
}

static void clear(struct due *d, struct model *m, uint32_t entry)
{
    m->n -= m->there[entry];
    m->there[entry] = false;
    due_clear(d, entry);
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*state >> 33);
}

/* Take out what is due, as lifetime.c does: in order of time. */
static void drain(struct due *d, struct model *m)
{
    int64_t when, last = INT64_MIN;
    uint32_t entry;

    while (due_first(d, &entry, &when)) {
        assert_true(when >= last);
        last = when;
        clear(d, m, entry);
        check(d, m);
    }
    assert_int_equal(m->n, 0);
}

/* Few different times make many equal ones; a `fill` of 3 in 4 fills it up, of 1 in 4 keeps it
 * empty. */
static void random_walk(uint64_t seed, uint32_t times, unsigned fill)
{
    struct model m = {.n = 0};
    uint64_t state = seed;
    struct due d;

    assert_int_equal(due_init(&d, CAPACITY), 0);
    check_all(&d, &m);
    for (int i = 0; i < 20000; i++) {
        uint32_t entry = next_random(&state) % CAPACITY;

        if (next_random(&state) % 4 < fill)
            set(&d, &m, entry, 1 + next_random(&state) % times);
        else
            clear(&d, &m, entry);
        check(&d, &m);
        if (i % 500 == 0)
            check_all(&d, &m);
    }
    drain(&d, &m);
    check_all(&d, &m);
    due_done(&d);
}

static void against_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++)
        for (unsigned fill = 1; fill <= 3; fill++) {
            random_walk(seed, 5, fill);
            random_walk(seed, 1u << 30, fill);
        }
}

static void in_order(void **state)
{
    struct model m = {.n = 0};
    struct due d;

    (void)state;
    assert_int_equal(due_init(&d, CAPACITY), 0);
    for (uint32_t i = 0; i < CAPACITY; i++)
        set(&d, &m, i, 1000 + i);
    drain(&d, &m);
    for (uint32_t i = 0; i < CAPACITY; i++)
        set(&d, &m, i, 1000 - i);
    for (uint32_t i = 0; i < CAPACITY; i++) /* moved, each from the end to the top and back */
        set(&d, &m, i, i % 2 ? 1 : 5000);
    check_all(&d, &m);
    drain(&d, &m);
    due_done(&d);
}

static void one_entry(void **state)
{
    struct due d;
    uint32_t entry = 7;
    int64_t when = 7;

    (void)state;
    assert_int_equal(due_init(&d, 1), 0);
    assert_false(due_first(&d, &entry, &when));
    due_clear(&d, 0);
    assert_true(due_set(&d, 0, 5));
    assert_true(due_set(&d, 0, 3));
    assert_true(due_set(&d, 0, 9));
    assert_true(due_first(&d, &entry, &when));
    assert_int_equal(entry, 0);
    assert_int_equal(when, 9);
    assert_int_equal(due_when(&d, 0), 9);
    due_clear(&d, 0);
    due_clear(&d, 0);
    assert_int_equal(due_when(&d, 0), 0);
    assert_false(due_first(&d, &entry, &when));
    due_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_the_model),
        cmocka_unit_test(in_order),
        cmocka_unit_test(one_entry),
    };

    return cmocka_run_group_tests_name("due", tests, NULL, NULL);
}
