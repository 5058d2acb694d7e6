/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "name.h"

static void good_names(void **state)
{
    static const struct {
        const char *name, *full;
    } good[] = {
        {"ticks", "me/ticks"}, {"other/ticks", "other/ticks"},
        {"a", "me/a"},         {"A-b_c.d@e+f$", "me/A-b_c.d@e+f$"},
        {"42/7", "42/7"},      {"_x", "me/_x"},
    };
    char out[NAME_SIZE];
    const char *why = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        memset(out, 'x', sizeof(out));
        assert_int_equal(name_resolve(good[i].name, "me", out, &why), 0);
        assert_string_equal(out, good[i].full);
        for (size_t at = strlen(out); at < sizeof(out); at++)
            assert_int_equal(out[at], 0);
    }
    assert_null(why);
}

static void bad_names(void **state)
{
    static const char *const bad[] = {
        "",   "/",    "//",   "/x",   "x/",   "a/b/c",    "../x", "x/..", "/../", ".",
        "..", ".x",   "-x",   "a/.x", "a/-x", "a b",      "a\tb", "a\nb", "a:b",  "key:1",
        "a*", "a\\b", "\x7f", "\x01", "\xff", "\xc3\xbc", "a,b",  "a=b",  "~",
    };
    char out[NAME_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *why = NULL;

        assert_int_equal(name_resolve(bad[i], "me", out, &why), -EINVAL);
        assert_non_null(why);
    }
}

static void every_byte(void **state)
{
    char out[NAME_SIZE];
    const char *why;

    (void)state;
    for (int c = 1; c < 256; c++) {
        char name[] = {'x', (char)c, 'y', 0};
        const char *legal = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@+$/";

        assert_int_equal(name_resolve(name, "me", out, &why), strchr(legal, c) ? 0 : -EINVAL);
    }
}

static void lengths(void **state)
{
    char name[2 * NAME_SIZE], out[NAME_SIZE];
    const char *why;

    (void)state;
    for (size_t len = 1; len < sizeof(name); len++) {
        memset(name, 'x', len);
        name[len] = 0;
        /* "me/" and the NUL take four bytes. */
        assert_int_equal(name_resolve(name, "me", out, &why), len <= NAME_SIZE - 4 ? 0 : -EINVAL);
        assert_int_equal(name_valid_part(name), len <= NAME_SIZE - 1);
        assert_int_equal(name_valid_namespace(name), len <= NAMESPACE_SIZE - 1);
        if (len + 2 >= sizeof(name))
            continue;
        memcpy(name + len, "/y", 3);
        assert_int_equal(name_resolve(name, "me", out, &why),
                         len <= NAMESPACE_SIZE - 1 ? 0 : -EINVAL);
    }
}

static void namespaces(void **state)
{
    char out[NAMESPACE_SIZE], login[100];

    (void)state;
    name_of_user(1000, "alice", out);
    assert_string_equal(out, "alice");
    name_of_user(1000, "1001", out); /* somebody else's namespace */
    assert_string_equal(out, "1000");
    name_of_user(1000, "1001a", out);
    assert_string_equal(out, "1001a");
    name_of_user(1000, NULL, out);
    assert_string_equal(out, "1000");
    name_of_user(4294967294u, "", out);
    assert_string_equal(out, "4294967294");
    name_of_user(7, "a/b", out);
    assert_string_equal(out, "7");
    name_of_user(7, "..", out);
    assert_string_equal(out, "7");
    memset(login, 'x', sizeof(login) - 1);
    login[sizeof(login) - 1] = 0;
    name_of_user(7, login, out);
    assert_string_equal(out, "7");
    assert_int_equal(name_namespace_len("alice/x"), 5);
    assert_int_equal(name_namespace_len("alice"), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_names), cmocka_unit_test(bad_names),  cmocka_unit_test(every_byte),
        cmocka_unit_test(lengths),    cmocka_unit_test(namespaces),
    };

    return cmocka_run_group_tests_name("name", tests, NULL, NULL);
}
