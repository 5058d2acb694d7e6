/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "parse.h"

static void numbers(void **state)
{
    static const struct {
        const char *text;
        uint64_t max;
        int r;
        uint64_t value;
    } cases[] = {
        {"0", 10, 0, 0},
        {"10", 10, 0, 10},
        {"11", 10, -ERANGE, 0},
        {"0x1f", 100, 0, 31},
        {"010", 100, 0, 8},
        {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, -ERANGE, 0},
        {"", 10, -EINVAL, 0},
        {" 1", 10, -EINVAL, 0},
        {"1 ", 10, -EINVAL, 0},
        {"-1", 10, -EINVAL, 0},
        {"+1", 10, -EINVAL, 0},
        {"1x", 10, -EINVAL, 0},
        {"0x", 10, -EINVAL, 0},
        {"09", 10, -EINVAL, 0},
        {"1.5", 10, -EINVAL, 0},
        {"1e3", 10000, -EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t v = 4711;

        assert_int_equal(parse_u64(cases[i].text, cases[i].max, &v), cases[i].r);
        assert_int_equal(v, cases[i].r ? 4711 : cases[i].value);
    }
}

static void errno_left_over(void **state)
{
    uint64_t v;

    (void)state;
    errno = ERANGE;
    assert_int_equal(parse_u64("5", 10, &v), 0);
    errno = ERANGE;
    assert_int_equal(parse_size("5", &v), 0);
}

static void sizes(void **state)
{
    static const struct {
        const char *text;
        int r;
        uint64_t value;
    } cases[] = {
        {"0", 0, 0},
        {"1", 0, 1},
        {"4096", 0, 4096},
        {"512B", 0, 512},
        {"64K", 0, 65536},
        {"64k", 0, 65536},
        {"64KiB", 0, 65536},
        {"64kib", 0, 65536},
        {"64KB", 0, 64000},
        {"1M", 0, 1 << 20},
        {"1MiB", 0, 1 << 20},
        {"1MB", 0, 1000000},
        {"2GiB", 0, 2ull << 30},
        {"2GB", 0, 2000000000ull},
        {"1TiB", 0, 1ull << 40},
        {"1TB", 0, 1000000000000ull},
        {"9223372036854775808", 0, 1ull << 63},
        {"16777215T", 0, 16777215ull << 40},
        {"16777216T", -ERANGE, 0},
        {"18446744073709551616", -ERANGE, 0},
        {"18014398509481984K", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"K", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"1 K", -EINVAL, 0},
        {"1KK", -EINVAL, 0},
        {"1P", -EINVAL, 0},
        {"1.5K", -EINVAL, 0},
        {"1Ki", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t v = 4711;

        assert_int_equal(parse_size(cases[i].text, &v), cases[i].r);
        assert_int_equal(v, cases[i].r ? 4711 : cases[i].value);
    }
}

static void modes(void **state)
{
    static const struct {
        const char *text;
        int r;
        uint32_t value;
    } cases[] = {
        {"0", 0, 0},         {"600", 0, 0600},      {"0640", 0, 0640},
        {"777", 0, 0777},    {"1000", -ERANGE, 0},  {"0777777777777777777777777", -ERANGE, 0},
        {"8", -EINVAL, 0},   {"0x1ff", -EINVAL, 0}, {"", -EINVAL, 0},
        {"u+r", -EINVAL, 0}, {"-600", -EINVAL, 0},  {"600 ", -EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t v = 4711;

        assert_int_equal(parse_mode(cases[i].text, &v), cases[i].r);
        assert_int_equal(v, cases[i].r ? 4711 : cases[i].value);
    }
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        int r;
        uint32_t value;
    } cases[] = {
        {"0", 0, 0},
        {"90", 0, 90},
        {"030", 0, 30},
        {"30s", 0, 30},
        {"10m", 0, 600},
        {"2h", 0, 7200},
        {"7d", 0, 604800},
        {"0d", 0, 0},
        {"4294967295", 0, UINT32_MAX},
        {"4294967296", -ERANGE, 0},
        {"71582788m", 0, 4294967280u},
        {"71582789m", -ERANGE, 0},
        {"1193047h", -ERANGE, 0},
        {"49711d", -ERANGE, 0},
        {"18446744073709551616", -ERANGE, 0},
        {"18446744073709551616s", -ERANGE, 0},
        {"18446744073709551616x", -EINVAL, 0},
        {"", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1 s", -EINVAL, 0},
        {"1S", -EINVAL, 0},
        {"1ms", -EINVAL, 0},
        {"1sm", -EINVAL, 0},
        {"1m30s", -EINVAL, 0},
        {"1.5h", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"1w", -EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t v = 4711;

        errno = ERANGE; /* left over from somebody else */
        assert_int_equal(parse_duration(cases[i].text, &v), cases[i].r);
        assert_int_equal(v, cases[i].r ? 4711 : cases[i].value);
    }
}

static void keys(void **state)
{
    int32_t key = 4711;

    (void)state;
    assert_int_equal(parse_key("0x1234", &key), 0);
    assert_int_equal(key, 0x1234);
    assert_int_equal(parse_key("0xffffffff", &key), 0);
    assert_int_equal(key, -1);
    assert_int_equal(parse_key("4294967295", &key), 0);
    assert_int_equal(parse_key("0x100000000", &key), -ERANGE);
    assert_int_equal(parse_key("0", &key), -EINVAL);
    assert_int_equal(parse_key("0x0", &key), -EINVAL);
    assert_int_equal(parse_key("-1", &key), -EINVAL);
    assert_int_equal(parse_key("", &key), -EINVAL);
    assert_int_equal(key, -1);
}

static void timeouts(void **state)
{
    static const struct {
        const char *text;
        int r, ms;
    } cases[] = {
        {"0", 0, 0},
        {"1", 0, 1000},
        {"1.5", 0, 1500},
        {".25", 0, 250},
        {"none", 0, -1},
        {"0.001", 0, 1},
        {"2147483", 0, 2147483000},
        {"2147484", -ERANGE, 0},
        {"1e300", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"nan", -EINVAL, 0},
        {"inf", -EINVAL, 0},
        {"1s", -EINVAL, 0},
        {"None", -EINVAL, 0},
        {".", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1e999", -EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int ms = 4711;

        assert_int_equal(parse_timeout(cases[i].text, &ms), cases[i].r);
        assert_int_equal(ms, cases[i].r ? 4711 : cases[i].ms);
    }
}

static void bools(void **state)
{
    static const char *const yes[] = {"yes", "true", "on", "1", "YES", "On"};
    static const char *const no[] = {"no", "false", "off", "0", "No"};
    static const char *const bad[] = {"", "y", "2", "yes ", "enable"};
    bool b = false;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        b = false;
        assert_int_equal(parse_bool(yes[i], &b), 0);
        assert_true(b);
    }
    for (size_t i = 0; i < ARRAY_LEN(no); i++) {
        b = true;
        assert_int_equal(parse_bool(no[i], &b), 0);
        assert_false(b);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(parse_bool(bad[i], &b), -EINVAL);
}

static void users_and_groups(void **state)
{
    uid_t uid = 4711;
    gid_t gid = 4711;

    (void)state;
    assert_int_equal(parse_user("root", &uid), 0);
    assert_int_equal(uid, 0);
    assert_int_equal(parse_user("12345", &uid), 0);
    assert_int_equal(uid, 12345);
    assert_int_equal(parse_group("root", &gid), 0);
    assert_int_equal(gid, 0);
    assert_int_equal(parse_user("4294967295", &uid), -ENOENT); /* (uid_t)-1 is nobody */
    assert_int_equal(parse_group("4294967295", &gid), -ENOENT);
    assert_int_equal(parse_user("no-such-login", &uid), -ENOENT);
    assert_int_equal(parse_user("", &uid), -ENOENT);
    assert_int_equal(parse_user("-1", &uid), -ENOENT);
    assert_int_equal(uid, 12345);
}

static void targets(void **state)
{
    struct wire_target t;

    (void)state;
    assert_int_equal(parse_target("ns/x", &t), 0);
    assert_int_equal(t.by, BY_NAME);
    assert_int_equal(parse_target("key:0x1234", &t), 0);
    assert_int_equal(t.by, BY_KEY);
    assert_int_equal(t.id, 0x1234);
    assert_int_equal(parse_target("id:42", &t), 0);
    assert_int_equal(t.by, BY_SHMID);
    assert_int_equal(t.id, 42);
    assert_int_equal(parse_target("id:0", &t), 0);
    assert_int_equal(parse_target("id:2147483647", &t), 0);

    struct wire_target kept = t;

    assert_int_equal(parse_target("id:2147483648", &t), -ERANGE);
    assert_int_equal(parse_target("id:-1", &t), -EINVAL);
    assert_int_equal(parse_target("id:", &t), -EINVAL);
    assert_int_equal(parse_target("key:", &t), -EINVAL);
    assert_int_equal(parse_target("key:0", &t), -EINVAL);
    assert_memory_equal(&t, &kept, sizeof(t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers), cmocka_unit_test(errno_left_over),
        cmocka_unit_test(sizes),   cmocka_unit_test(modes),
        cmocka_unit_test(keys),    cmocka_unit_test(timeouts),
        cmocka_unit_test(bools),   cmocka_unit_test(users_and_groups),
        cmocka_unit_test(targets), cmocka_unit_test(durations),
    };

    return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
