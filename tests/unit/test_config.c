/* SPDX-License-Identifier: MIT */
#include "config_file.h"

#include "log.h"
#include "protocol.h"

static void all_settings(void **state)
{
    char error[CONFIG_ERROR_MAX];
    struct config c;

    (void)state;
    assert_int_equal(
        load(&c,
             "# a comment\n; another\n\n"
             "[shmd]\nuser = root\nsocket = /x/y.sock\nsocket_mode = 0600\n"
             "socket_group = root\nlog_level = debug\nsweep = 2m\n"
             "[registry]\ncapacity = 17\npublic = no\nkey_range = 0x1000000-0x2000000\n"
             "[policy]\nadministrators = root @root 12345\ndefault_mode = 0640\n"
             "max_mode = 0666\nfixed_keys = no\n"
             "[limits]\nmax_size = 64M\ntotal_size = 1G\nconnections = 11\n"
             "connections_per_user = 12\n"
             "leases_per_connection = 13\nleases_per_user = 14\nwatches_per_user = 15\n"
             "requests_per_second = 16\nsegments_per_user = 17\nsize_per_user = 2T\n",
             error),
        0);
    assert_string_equal(c.user, "root");
    assert_string_equal(c.socket, "/x/y.sock");
    assert_int_equal(c.socket_mode, 0600);
    assert_string_equal(c.socket_group, "root");
    assert_int_equal(c.log_level, LOG_DEBUG);
    assert_int_equal(c.sweep, 120);
    assert_int_equal(c.capacity, 17);
    assert_false(c.public_view);
    assert_true(c.key_first == 0x1000000 && c.key_last == 0x2000000);
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
    assert_int_equal(c.leases_per_user, 14);
    assert_int_equal(c.watches_per_user, 15);
    assert_int_equal(c.requests_per_second, 16);
    assert_int_equal(c.segments_per_user, 17);
    assert_true(c.size_per_user == 2ull << 40);
    assert_int_equal(c.n_namespaces + c.n_segments, 0);
    config_done(&c);
}

static void namespaces(void **state)
{
    char error[CONFIG_ERROR_MAX];
    struct config c;

    (void)state;
    assert_int_equal(load(&c,
                          "[namespace all]\nusers = root, @12, 34\ngroup = 77\n"
                          "default_mode = 0640\nmax_mode = 0644\nmax_segments = 3\n"
                          "max_size = 1M\nlifetime = ttl\nttl = 2h\n"
                          "[namespace bare]\n"
                          "[namespace short]\nlifetime = ephemeral\nlinger = 30s\n"
                          "[namespace strict]\nmax_mode = 0440\n"
                          "[namespace stays]\nlifetime = persistent\n"
                          "[policy]\ndefault_mode = 0620\nmax_mode = 0666\n",
                          error),
                     0);
    assert_int_equal(c.n_namespaces, 5);

    const struct config_namespace *ns = config_namespace(&c, "all/x", 3);

    assert_non_null(ns);
    assert_int_equal(ns->users.n, 3);
    assert_true(ns->users.list[1].is_group && ns->users.list[1].id == 12);
    assert_true(!ns->users.list[2].is_group && ns->users.list[2].id == 34);
    assert_int_equal(ns->group, 77);
    assert_int_equal(ns->default_mode, 0640);
    assert_int_equal(ns->max_mode, 0644);
    assert_int_equal(ns->max_segments, 3);
    assert_int_equal(ns->max_size, 1 << 20);
    assert_int_equal(ns->lifetime, LIFETIME_TTL);
    assert_int_equal(ns->ttl, 7200);
    assert_int_equal(ns->linger, 0);
    ns = config_namespace(&c, "bare", 4);
    assert_int_equal(ns->users.n, 0);
    assert_true(ns->group == (gid_t)-1);
    assert_true(ns->max_segments == UINT32_MAX && ns->max_size == UINT64_MAX);
    assert_int_equal(ns->default_mode, 0620);
    assert_int_equal(ns->max_mode, 0666);
    assert_int_equal(ns->lifetime, LIFETIME_PERSISTENT);
    ns = config_namespace(&c, "short", 5);
    assert_int_equal(ns->lifetime, LIFETIME_EPHEMERAL);
    assert_int_equal(ns->linger, 30);
    assert_int_equal(config_namespace(&c, "strict", 6)->default_mode, 0400);
    assert_int_equal(config_namespace(&c, "stays", 5)->lifetime, LIFETIME_PERSISTENT);
    assert_null(config_namespace(&c, "al", 2));
    assert_null(config_namespace(&c, "allx", 4));
    assert_null(config_namespace(&c, "", 0));
    config_done(&c);
    assert_true(!c.namespaces && c.n_namespaces == 0);
}

static void segments(void **state)
{
    char error[CONFIG_ERROR_MAX];
    struct config c;

    (void)state;
    assert_int_equal(load(&c,
                          "[segment ns/full]\nsize = 5000\nowner = 12\ngroup = 34\n"
                          "mode = 0644\nkey = 0x77\n"
                          "[segment ns/bare]\nsize = 1G\n"
                          "[segment other/bare]\nsize = 1\nkey = 0x78\n"
                          "[namespace ns]\ngroup = 56\nmax_mode = 0644\ndefault_mode = 0640\n"
                          "[limits]\nmax_size = 1G\n[policy]\ndefault_mode = 0400\n",
                          error),
                     0);
    assert_int_equal(c.n_segments, 3);

    const struct config_segment *s = c.segments;
    const char padded[NAME_SIZE] = "ns/full";

    assert_memory_equal(s->name, padded, NAME_SIZE);
    assert_int_equal(s->size, 5000);
    assert_int_equal(s->owner, 12);
    assert_int_equal(s->group, 34);
    assert_int_equal(s->mode, 0644);
    assert_int_equal(s->key, 0x77);
    s++;
    assert_string_equal(s->name, "ns/bare");
    assert_int_equal(s->size, 1 << 30);
    assert_true(s->owner == (uid_t)-1 && s->group == 56 && s->mode == 0640 && s->key == 0);
    s++;
    assert_string_equal(s->name, "other/bare");
    assert_true(s->owner == (uid_t)-1 && s->group == (gid_t)-1 && s->mode == 0400);
    config_done(&c);
    assert_true(!c.segments && c.n_segments == 0);
}

/* Blanks, a byte order mark, comments after a section, and names longer than inih's 49 letters. */
static void ways_to_write(void **state)
{
    char error[CONFIG_ERROR_MAX], text[1000], ns[NAMESPACE_SIZE], part[NAME_SIZE];
    struct config c;

    (void)state;
    wrong(" [ policy]\n", 1, "there is no section [ policy]");
    assert_int_equal(load(&c,
                          "\xef\xbb\xbf[shmd]\r\nsweep = 1h\r\n  [limits] ; why\n"
                          "\tconnections = 5 ; so\n   leases_per_user = 6",
                          error),
                     0);
    assert_true(c.sweep == 3600 && c.connections == 5 && c.leases_per_user == 6);
    memset(ns, 'n', sizeof(ns) - 1);
    ns[sizeof(ns) - 1] = 0;
    memset(part, 'p', sizeof(part));
    part[NAME_SIZE - 1 - sizeof(ns)] = 0;
    snprintf(text, sizeof(text), "[namespace %s]\n[segment %s/%s]\nsize = 1\n", ns, ns, part);
    assert_int_equal(load(&c, text, error), 0);
    assert_string_equal(c.namespaces[0].name, ns);
    assert_int_equal(strlen(c.segments[0].name), NAME_SIZE - 1);
    config_done(&c);
    snprintf(text, sizeof(text), "[namespace %sn]\n", ns);
    wrong(text, 1, "namespace");
    snprintf(text, sizeof(text), "[segment %s/%sp]\nsize = 1\n", ns, part);
    wrong(text, 1, "127");
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
        CASE(all_settings), CASE(empty_is_the_default), CASE(namespaces), CASE(segments),
        CASE(ways_to_write), CASE(files),
    };

    return cmocka_run_group_tests_name("config", tests, enter, leave);
}
