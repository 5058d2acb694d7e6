/* SPDX-License-Identifier: MIT */
/* Reading a registry, also one that is damaged or hostile: every walk ends, and stays inside. */
#include "unit.h"

#include "registry.h"

#define CAPACITY 64u
#define SEED 0x1234567890abcdefull

struct registry {
    struct reg_header *header;
    _Atomic uint32_t *bucket;
    struct reg_entry *entry;
    uint64_t size;
};

static int build(void **state)
{
    static struct registry r;

    r.size = reg_segment_size(CAPACITY);
    r.header = aligned_alloc(4096, (r.size + 4095) / 4096 * 4096); /* as shmat gives it */
    memset(r.header, 0, r.size);
    *r.header = (struct reg_header){
        .magic = REG_MAGIC,
        .layout = REG_LAYOUT,
        .entry_size = sizeof(struct reg_entry),
        .capacity = CAPACITY,
        .buckets = reg_buckets_for(CAPACITY),
        .hash_seed = SEED,
    };
    r.bucket = (_Atomic uint32_t *)(r.header + 1);
    r.entry = (struct reg_entry *)(void *)(r.bucket + reg_buckets_for(CAPACITY));
    *state = &r;
    return 0;
}

static int drop(void **state)
{
    free(((struct registry *)*state)->header);
    return 0;
}

static struct reg_key key_of(const char *name)
{
    char padded[NAME_SIZE] = {0};
    struct reg_key key;

    memcpy(padded, name, strlen(name));
    reg_key_init(&key, SEED, padded);
    return key;
}

static uint32_t *head(struct registry *r, const char *name)
{
    return (uint32_t *)&r->bucket[key_of(name).hash & (reg_buckets_for(CAPACITY) - 1)];
}

static void put(struct registry *r, uint32_t index, const char *name, int shmid)
{
    struct reg_entry *e = &r->entry[index];

    memset(e, 0, sizeof(*e));
    memcpy(e->name, name, strlen(name));
    e->hash = key_of(name).hash;
    e->word = reg_word(REG_LIVE, shmid);
    e->size = 4096 + index;
    e->instance = 1000 + index;
    e->key = 0x5000 + (int)index;
    e->next = *head(r, name);
    *head(r, name) = index + 1;
}

static int look(struct registry *r, const char *name, struct reg_found *found)
{
    struct reg_key key = key_of(name);
    struct reg_view view;

    assert_int_equal(reg_view_init(&view, r->header, r->size), 0);
    return reg_lookup(&view, &key, found);
}

static void view_checks(void **state)
{
    struct registry *r = *state;
    struct reg_view v;

    assert_int_equal(reg_view_init(&v, r->header, r->size), 0);
    assert_int_equal(reg_view_init(&v, r->header, r->size - 1), -EPROTO);
    assert_int_equal(reg_view_init(&v, r->header, sizeof(struct reg_header) - 1), -EPROTO);
    assert_int_equal(reg_view_init(&v, r->header, 0), -EPROTO);

    struct reg_header good = *r->header;

    r->header->magic = 0; /* half made */
    assert_int_equal(reg_view_init(&v, r->header, r->size), -EPROTO);
    *r->header = good;
    r->header->layout++;
    assert_int_equal(reg_view_init(&v, r->header, r->size), -EPROTONOSUPPORT);
    *r->header = good;
    r->header->entry_size = 0;
    assert_int_equal(reg_view_init(&v, r->header, r->size), -EPROTO);

    static const uint32_t bad[] = {0, CAPACITY * 4, REG_CAPACITY_MAX, REG_CAPACITY_MAX + 1,
                                   UINT32_MAX};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        *r->header = good;
        r->header->capacity = bad[i];
        assert_int_equal(reg_view_init(&v, r->header, r->size), -EPROTO);
        r->header->buckets = bad[i];
        assert_int_equal(reg_view_init(&v, r->header, r->size), -EPROTO);
        *r->header = good;
        r->header->buckets = bad[i];
        assert_int_equal(reg_view_init(&v, r->header, r->size), -EPROTO);
    }
    *r->header = good;
}

static void geometry(void **state)
{
    (void)state;
    for (uint32_t capacity = 1; capacity <= REG_CAPACITY_MAX; capacity = capacity * 2 + 1) {
        uint32_t n = reg_buckets_for(capacity);

        assert_int_equal(n & (n - 1), 0);
        assert_true(n >= 2 * capacity);
        assert_int_equal((sizeof(struct reg_header) + n * 4ull) % 64, 0); /* entries are aligned */
    }
}

static void finds(void **state)
{
    struct registry *r = *state;
    struct reg_found f;
    char name[NAME_SIZE] = {0};

    for (uint32_t i = 0; i < CAPACITY; i++) {
        snprintf(name, sizeof(name), "ns/name-%u", i);
        put(r, i, name, (int)i * 3);
    }
    for (uint32_t i = 0; i < CAPACITY; i++) {
        snprintf(name, sizeof(name), "ns/name-%u", i);
        assert_int_equal(look(r, name, &f), 0);
        assert_int_equal(f.shmid, i * 3);
        assert_int_equal(f.size, 4096 + i);
        assert_int_equal(f.instance, 1000 + i);
        assert_int_equal(f.key, 0x5000 + i);
    }
    assert_int_equal(look(r, "ns/name-64", &f), -ENOENT);
    assert_int_equal(look(r, "ns/name-", &f), -ENOENT);
    assert_int_equal(look(r, "ns/name-1", &f), 0);
}

static void names_of_every_length(void **state)
{
    struct registry *r = *state;
    struct reg_found f;
    char name[NAME_SIZE] = {0};

    for (uint32_t len = 1; len < NAME_SIZE; len++) {
        memset(name, 'x', len);
        put(r, 0, name, (int)len);
        assert_int_equal(look(r, name, &f), 0);
        assert_int_equal(f.shmid, len);
        name[len - 1] = 'y';
        assert_int_equal(look(r, name, &f), -ENOENT);
        *head(r, name) = 0;
        memset(name, 'x', len);
        *head(r, name) = 0;
    }
}

static void only_live_ones(void **state)
{
    struct registry *r = *state;
    struct reg_found f;
    struct reg_entry copy;
    struct reg_view view;

    put(r, 3, "ns/x", 7);
    assert_int_equal(reg_view_init(&view, r->header, r->size), 0);
    assert_int_equal(reg_snapshot(&view, 3, &copy), 0);
    assert_string_equal(copy.name, "ns/x");
    for (int s = REG_FREE; s <= REG_REMOVING + 1; s++) {
        r->entry[3].word = reg_word((enum reg_state)s, 7);
        assert_int_equal(look(r, "ns/x", &f), s == REG_LIVE ? 0 : -ENOENT);
        assert_int_equal(reg_snapshot(&view, 3, &copy), s == REG_LIVE ? 0 : -ENOENT);
    }
}

static void writer_died_in_the_middle(void **state)
{
    struct registry *r = *state;
    struct reg_found f;
    struct reg_entry copy;
    struct reg_view view;

    put(r, 3, "ns/x", 7);
    r->entry[3].seq = 5;
    assert_int_equal(look(r, "ns/x", &f), -EAGAIN);
    assert_int_equal(reg_view_init(&view, r->header, r->size), 0);
    assert_int_equal(reg_snapshot(&view, 3, &copy), -EAGAIN);
    r->entry[3].seq = 6;
    assert_int_equal(look(r, "ns/x", &f), 0);
}

static void hostile_chains(void **state)
{
    struct registry *r = *state;
    struct reg_found f;

    put(r, 0, "ns/x", 7);
    put(r, 1, "ns/y", 8);

    /* Loops: of one, of two, and a whole ring. */
    *head(r, "ns/z") = 1;
    r->entry[0].next = 1;
    assert_int_equal(look(r, "ns/z", &f), -ENOENT);
    r->entry[0].next = 2;
    r->entry[1].next = 1;
    assert_int_equal(look(r, "ns/z", &f), -ENOENT);
    for (uint32_t i = 0; i < CAPACITY; i++)
        r->entry[i].next = (i + 1) % CAPACITY + 1;
    assert_int_equal(look(r, "ns/z", &f), -ENOENT);

    /* Numbers that lead out. */
    static const uint32_t out[] = {CAPACITY + 1, 1u << 20, 0x7fffffff, 0x80000000, UINT32_MAX};

    for (size_t i = 0; i < ARRAY_LEN(out); i++) {
        *head(r, "ns/z") = out[i];
        assert_int_equal(look(r, "ns/z", &f), -ENOENT);
        *head(r, "ns/z") = 1;
        r->entry[0].next = out[i];
        assert_int_equal(look(r, "ns/z", &f), -ENOENT);
    }
    *head(r, "ns/z") = CAPACITY; /* the last one is inside */
    assert_int_equal(look(r, "ns/z", &f), -ENOENT);
}

static void name_without_end(void **state)
{
    struct registry *r = *state;
    struct reg_entry copy;
    struct reg_view view;

    put(r, 0, "ns/x", 7);
    memset(r->entry[0].name, 'x', NAME_SIZE);
    assert_int_equal(reg_view_init(&view, r->header, r->size), 0);
    assert_int_equal(reg_snapshot(&view, 0, &copy), 0);
    assert_int_equal(strlen(copy.name), NAME_SIZE - 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, build, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(view_checks),           CASE(geometry),         CASE(finds),
        CASE(names_of_every_length), CASE(only_live_ones),   CASE(writer_died_in_the_middle),
        CASE(hostile_chains),        CASE(name_without_end),
    };

    return cmocka_run_group_tests_name("registry", tests, NULL, NULL);
}
