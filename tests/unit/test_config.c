/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <fcntl.h>

#include "config.h"
#include "log.h"

static char path[] = "/tmp/shmd-unit-config-XXXXXX";

static int enter(void **state)
{
    (void)state;
    close(mkstemp(path));
    return 0;
}

static int leave(void **state)
{
    (void)state;
    return unlink(path);
}

static int load(struct config *c, const char *text, char error[CONFIG_ERROR_MAX])
{
    FILE *f = fopen(path, "we");

    fputs(text, f);
    fclose(f);
    *error = 0;
    return config_load(c, path, true, error);
}

/* Wrong at `line`, saying `word`, with nothing taken over. */
static void wrong(const char *text, int line, const char *word)
{
    char error[CONFIG_ERROR_MAX], place[100];
    struct config c, kept;

    config_init(&c);
    c.capacity = 77;
    kept = c;
    assert_true(load(&c, text, error) < 0);
    snprintf(place, sizeof(place), "%s:%d: ", path, line);
    if (strncmp(error, place, strlen(place)) != 0 || !strstr(error, word))
        fail_msg("%s\n-> %s (expected line %d, %s)", text, error, line, word);
    assert_memory_equal(&c, &kept, sizeof(c));
}

static void all_settings(void **state)
{
    char error[CONFIG_ERROR_MAX];
    struct config c;

    (void)state;
    assert_int_equal(
        load(&c,
             "# a comment\n; another\n\n"
             "[shmd]\nuser = root\nsocket = /x/y.sock\nsocket_mode = 0600\n"
             "socket_group = root\nlog_level = debug\n"
             "[registry]\ncapacity = 17\npublic = no\nkey_range = 0x1000000-0x2000000\n"
             "[policy]\nadministrators = root @root 12345\ndefault_mode = 0640\n"
             "max_mode = 0666\nfixed_keys = no\n"
             "[limits]\nmax_size = 64M\ntotal_size = 1G\nconnections = 11\nconnections_per_user = "
             "12\n"
             "leases_per_connection = 13\n",
             error),
        0);
    assert_string_equal(c.user, "root");
    assert_string_equal(c.socket, "/x/y.sock");
    assert_int_equal(c.socket_mode, 0600);
    assert_string_equal(c.socket_group, "root");
    assert_int_equal(c.log_level, LOG_DEBUG);
    assert_int_equal(c.capacity, 17);
    assert_false(c.public_view);
    assert_int_equal(c.key_first, 0x1000000);
    assert_int_equal(c.key_last, 0x2000000);
    assert_int_equal(c.admins.n, 3);
    assert_true(c.admins.list[1].is_group);
    assert_int_equal(c.admins.list[2].id, 12345);
    assert_int_equal(c.default_mode, 0640);
    assert_int_equal(c.max_mode, 0666);
    assert_false(c.fixed_keys);
    assert_int_equal(c.max_size, 64 << 20);
    assert_int_equal(c.total_size, 1 << 30);
    assert_int_equal(c.connections, 11);
    assert_int_equal(c.connections_per_user, 12);
    assert_int_equal(c.leases_per_connection, 13);
}

static void empty_is_the_default(void **state)
{
    char error[CONFIG_ERROR_MAX];
    struct config c, built_in;

    (void)state;
    memset(&c, 0, sizeof(c));
    config_init(&built_in);
    assert_int_equal(load(&c, "", error), 0);
    assert_memory_equal(&c, &built_in, sizeof(c));
    assert_int_equal(load(&c, "[shmd]\n[registry]\n[policy]\n[limits]\n", error), 0);
}

static void wrong_lines(void **state)
{
    char text[1000];

    (void)state;
    wrong("[shmd]\nsokcet = /x\n", 2, "sokcet");
    wrong("[shmd]\n\n# c\ncapacity = 3\n", 4, "capacity");
    wrong("[registry]\ncapacity = 0\n", 2, "1 to 32768");
    wrong("[registry]\ncapacity = 32769\n", 2, "capacity");
    wrong("[registry]\ncapacity = 5x\n", 2, "capacity");
    wrong("[registry]\ncapacity =\n", 2, "capacity");
    wrong("[registry]\ncapacity = 5\ncapacity = 5\n", 3, "second");
    wrong("[registry]\nkey_range = 0x5\n", 2, "key_range");
    wrong("[registry]\nkey_range = 0x53ffffff-0x53000000\n", 2, "key_range");
    wrong("[registry]\nkey_range = 0-0x53000000\n", 2, "key_range");
    wrong("[registry]\npublic = maybe\n", 2, "yes or no");
    wrong("[policy]\nmax_mode = 1777\n", 2, "max_mode");
    wrong("[policy]\nadministrators = no-such-login\n", 2, "administrators");
    wrong("[limits]\nmax_size = 0\n", 2, "max_size");
    wrong("[limits]\nmax_size = lots\n", 2, "max_size");
    wrong("[limits]\nconnections = 0\n", 2, "connections");
    wrong("[shmd]\nlog_level = loud\n", 2, "log_level");
    wrong("[shmd]\nsocket = relative\n", 2, "socket");
    wrong("[shmd]\nuser = no-such-login\n", 2, "user");
    wrong("[quota]\nx = 1\n", 1, "quota");
    wrong("capacity = 5\n", 1, "section");
    wrong("[registry]\ncapacity = 5\nnonsense\n", 3, "");
    memset(text, 'x', sizeof(text) - 1);
    memcpy(text, "[shmd]\n#", 8);
    text[sizeof(text) - 2] = '\n';
    text[sizeof(text) - 1] = 0;
    wrong(text, 2, "");
}

static void modes_that_contradict(void **state)
{
    char error[CONFIG_ERROR_MAX];
    struct config c;

    (void)state;
    assert_true(load(&c, "[policy]\ndefault_mode = 0666\nmax_mode = 0660\n", error) < 0);
    assert_non_null(strstr(error, "max_mode"));
}

static void files(void **state)
{
    char error[CONFIG_ERROR_MAX] = "";
    struct config c;

    (void)state;
    assert_int_equal(config_load(&c, "/no/such/file", true, error), -ENOENT);
    assert_non_null(strstr(error, "/no/such/file"));
    assert_int_equal(config_load(&c, "/no/such/file", false, error), 0);
    assert_true(config_load(&c, "/", true, error) < 0);
}

#define CASE(f) cmocka_unit_test(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(all_settings), CASE(empty_is_the_default),
        CASE(wrong_lines),  CASE(modes_that_contradict),
        CASE(files),
    };

    return cmocka_run_group_tests_name("config", tests, enter, leave);
}
