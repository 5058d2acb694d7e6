/* SPDX-License-Identifier: MIT */
/* Charging and releasing: sums, limits, and what a new configuration makes of them. */
#include "unit.h"

#include "quota.h"

#define PAGE quota_page()

struct fixture {
    struct config config;
    struct config_namespace ns[2];
    struct quota quota;
    char error[QUOTA_ERROR_MAX];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    if (!f)
        return -1;
    config_init(&f->config);
    for (int i = 0; i < 2; i++) {
        snprintf(f->ns[i].name, NAMESPACE_SIZE, "ns%d", i);
        f->ns[i].max_segments = UINT32_MAX;
        f->ns[i].max_size = UINT64_MAX;
    }
    f->config.namespaces = f->ns;
    f->config.n_namespaces = 2;
    *state = f;
    return quota_restart(&f->quota, &f->config);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    quota_done(&f->quota);
    for (unsigned i = 0; i < USERS_BUCKETS; i++)
        if (f->quota.users.bucket[i])
            return -1;
    free(f);
    return 0;
}

static struct reg_entry entry(const char *name, uid_t uid, uint64_t size, uint32_t flags)
{
    struct reg_entry e = {.size = size, .creator_uid = uid, .flags = flags};

    snprintf(e.name, NAME_SIZE, "%s", name);
    return e;
}

static void charge(struct fixture *f, const char *name, uid_t uid, uint64_t size)
{
    const struct reg_entry e = entry(name, uid, size, 0);

    assert_int_equal(quota_check(&f->quota, uid, name, size, f->error), 0);
    assert_int_equal(quota_charge(&f->quota, &e), 0);
}

static void release(struct fixture *f, const char *name, uid_t uid, uint64_t size)
{
    const struct reg_entry e = entry(name, uid, size, 0);

    quota_release(&f->quota, &e);
}

/* Refused, for a reason that has all these words. */
static void refuse(struct fixture *f, const char *name, uid_t uid, uint64_t size, const char *limit,
                   const char *who, const char *used)
{
    assert_int_equal(quota_check(&f->quota, uid, name, size, f->error), -EDQUOT);
    assert_non_null(strstr(f->error, limit));
    assert_non_null(strstr(f->error, who));
    assert_non_null(strstr(f->error, used));
}

static void expect_user(const struct fixture *f, uid_t uid, uint32_t segments, uint64_t pages)
{
    const struct user *user = users_find(&f->quota.users, uid);

    assert_int_equal(user ? user->segments : 0, segments);
    assert_int_equal(user ? user->pages : 0, pages);
    assert_int_equal(!!user, segments > 0);
}

static void expect(const struct usage *u, uint32_t segments, uint64_t pages)
{
    assert_int_equal(u->segments, segments);
    assert_int_equal(u->pages, pages);
}

static void whole_pages(void **state)
{
    (void)state;
    assert_int_equal(quota_pages(1), 1);
    assert_int_equal(quota_pages(PAGE), 1);
    assert_int_equal(quota_pages(PAGE + 1), 2);
    assert_int_equal(quota_pages(UINT64_MAX), (UINT64_MAX / PAGE) + 1);
}

static void sums(void **state)
{
    struct fixture *f = *state;
    const struct reg_entry declared = entry("ns0/declared", 7, 3 * PAGE, REG_DECLARED);

    charge(f, "ns0/a", 1, 1);
    charge(f, "ns1/a", 1, PAGE + 1);
    charge(f, "1/a", 1 + USERS_BUCKETS, PAGE); /* in the bucket of user 1 */
    charge(f, "ns00/a", 2, PAGE); /* not the namespace whose name it begins with */
    assert_int_equal(quota_charge(&f->quota, &declared), 0);
    expect_user(f, 1, 2, 3);
    expect_user(f, 1 + USERS_BUCKETS, 1, 1);
    expect_user(f, 2, 1, 1);
    expect_user(f, 7, 0, 0);
    expect(&f->quota.namespaces[0], 2, 4);
    expect(&f->quota.namespaces[1], 1, 2);
    expect(&f->quota.host, 5, 8);
    release(f, "ns0/a", 1, 1);
    release(f, "ns1/a", 1, PAGE + 1);
    quota_release(&f->quota, &declared);
    expect_user(f, 1, 0, 0);
    expect_user(f, 1 + USERS_BUCKETS, 1, 1);
    expect(&f->quota.namespaces[0], 0, 0);
    expect(&f->quota.namespaces[1], 0, 0);
    expect(&f->quota.host, 2, 2);
}

static void limits_of_a_user(void **state)
{
    struct fixture *f = *state;

    f->config.segments_per_user = 2;
    f->config.size_per_user = 4 * PAGE + 100; /* of which 4 pages can be used */
    charge(f, "1/a", 1, 3 * PAGE);
    refuse(f, "1/b", 1, PAGE + 1, "size_per_user", "user 1 ", "12288");
    refuse(f, "1/b", 1, UINT64_MAX, "size_per_user", "user 1 ", "12288");
    charge(f, "1/b", 1, PAGE);
    refuse(f, "1/c", 1, 1, "segments_per_user", "user 1 ", "2 segments");
    charge(f, "2/a", 2, 4 * PAGE);
    assert_int_equal(quota_check(&f->quota, (uid_t)-1, "1/c", PAGE, f->error), 0); /* nobody's */
    release(f, "1/b", 1, PAGE);
    charge(f, "1/c", 1, PAGE);
}

static void limits_of_a_namespace(void **state)
{
    struct fixture *f = *state;

    f->ns[0].max_segments = 2;
    f->ns[0].max_size = 4 * PAGE;
    charge(f, "ns0/a", 1, 3 * PAGE);
    refuse(f, "ns0/b", 2, 2 * PAGE, "max_size", "namespace ns0 ", "12288");
    charge(f, "ns0/b", 2, PAGE);
    refuse(f, "ns0/c", 3, 1, "max_segments", "namespace ns0 ", "2 segments");
    refuse(f, "ns0/c", (uid_t)-1, 1, "max_segments", "namespace ns0 ", "2 segments");
    charge(f, "ns1/c", 3, 100 * PAGE);
    charge(f, "ns/c", 3, 100 * PAGE);
    release(f, "ns0/a", 1, 3 * PAGE);
    charge(f, "ns0/c", 3, 3 * PAGE);
}

static void limits_of_the_host(void **state)
{
    struct fixture *f = *state;

    f->config.total_size = 4 * PAGE;
    charge(f, "1/a", 1, 2 * PAGE);
    charge(f, "ns0/a", 2, PAGE);
    refuse(f, "3/a", 3, PAGE + 1, "total_size", "all users", "12288");
    refuse(f, "3/a", (uid_t)-1, PAGE + 1, "total_size", "all users", "12288");
    charge(f, "3/a", 3, PAGE);
    refuse(f, "3/b", 3, 1, "total_size", "all users", "16384");
}

/* A limit below what is used refuses all, and underflows nowhere. */
static void lowered(void **state)
{
    struct fixture *f = *state;

    charge(f, "ns0/a", 1, 10 * PAGE);
    charge(f, "ns0/b", 1, 10 * PAGE);
    f->config.segments_per_user = 1;
    refuse(f, "1/c", 1, 1, "segments_per_user", "user 1 ", "2 segments");
    f->config.segments_per_user = 9;
    f->config.size_per_user = PAGE;
    refuse(f, "1/c", 1, 1, "size_per_user", "user 1 ", "81920");
    f->config.size_per_user = UINT64_MAX;
    f->ns[0].max_size = PAGE;
    refuse(f, "ns0/c", 1, 1, "max_size", "namespace ns0 ", "81920");
    f->config.total_size = PAGE;
    refuse(f, "1/c", 1, 1, "total_size", "all users", "81920");
}

static void restarted(void **state)
{
    struct fixture *f = *state;
    struct config other = f->config;
    struct user *connected = users_get(&f->quota.users, 1);

    connected->connections = 1;
    charge(f, "ns0/a", 1, PAGE);
    charge(f, "ns1/a", 2, PAGE);
    other.namespaces = &f->ns[1]; /* the first section is gone, the second has its place */
    other.n_namespaces = 1;
    assert_int_equal(quota_restart(&f->quota, &other), 0);
    assert_ptr_equal(users_find(&f->quota.users, 1), connected); /* whom its connection keeps */
    assert_int_equal(connected->segments + connected->pages, 0);
    assert_null(users_find(&f->quota.users, 2));
    expect(&f->quota.host, 0, 0);
    expect(&f->quota.namespaces[0], 0, 0);
    charge(f, "ns0/a", 1, PAGE);
    charge(f, "ns1/a", 2, 2 * PAGE);
    expect(&f->quota.namespaces[0], 1, 2);
    expect(&f->quota.host, 2, 3);
    other.n_namespaces = 0;
    assert_int_equal(quota_restart(&f->quota, &other), 0);
    charge(f, "ns1/a", 2, 2 * PAGE);
    release(f, "ns1/a", 2, 2 * PAGE);
    expect(&f->quota.host, 0, 0);
    connected->connections = 0;
    users_put(&f->quota.users, connected);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_pages),
        TEST(sums),
        TEST(limits_of_a_user),
        TEST(limits_of_a_namespace),
        TEST(limits_of_the_host),
        TEST(lowered),
        TEST(restarted),
    };

    return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
