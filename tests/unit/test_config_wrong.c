/* SPDX-License-Identifier: MIT */
/* Every mistake in a shmd.conf has its line and its reason, and nothing is taken over. */
#include "config_file.h"

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
    wrong("[shmd]\nsweep = 0\n", 2, "1s to 1h");
    wrong("[shmd]\nsweep = 3601\n", 2, "1s to 1h");
    wrong("[shmd]\nsweep = 1.5\n", 2, "sweep");
    wrong("[limits]\nsegments_per_user = 0\n", 2, "segments_per_user");
    wrong("[limits]\nsize_per_user = 0\n", 2, "size_per_user");
    wrong("[limits]\nleases_per_user = -1\n", 2, "leases_per_user");
    wrong("[limits]\nwatches_per_user = 1000001\n", 2, "watches_per_user");
    wrong("[limits]\nrequests_per_second = many\n", 2, "requests_per_second");
    wrong("[shmd]\n[limits]\n[shmd]\n", 3, "[shmd] is there a second time");
    wrong("[limits]\n[limits]\n", 2, "second time");
    wrong("[registry]\n\n[registry]\n", 3, "second time");
    wrong("[policy]\n[policy]\n", 2, "second time");
    wrong("[shmd\n", 1, "neither");
    wrong("[shmd] x\n", 1, "neither");
    wrong("[shmd];x\n", 1, "neither");
    wrong("[]\n", 1, "there is no section []");
    wrong("[shmd x]\n", 1, "shmd x");
    wrong("[SHMD]\n", 1, "SHMD");
    memset(text, 'x', sizeof(text) - 1);
    memcpy(text, "[shmd]\n#", 8);
    text[sizeof(text) - 2] = '\n';
    text[sizeof(text) - 1] = 0;
    wrong(text, 2, "");
}

static void wrong_namespaces(void **state)
{
    (void)state;
    wrong("[namespace]\n", 1, "namespace");
    wrong("[namespace ]\n", 1, "namespace");
    wrong("[namespace .x]\n", 1, "letters");
    wrong("[namespace a/b]\n", 1, "letters");
    wrong("[namespace a b]\n", 1, "letters");
    wrong("[namespace a]\n[namespace b]\n[namespace a]\n", 3, "[namespace a] is there a second");
    wrong("[namespace a]\ngroup = 1\n"
          "[namespace b]\ngroup = 1\ngroup = 1\n", 5, "group is set a second");
    wrong("[namespace a]\nsize = 1\n", 2, "no setting size in [namespace a]");
    wrong("[namespace a]\nusers = root no-such-login\n", 2, "users");
    wrong("[namespace a]\nusers = @no-such-group\n", 2, "users");
    wrong("[namespace a]\ngroup = no-such-group\n", 2, "an existing group");
    wrong("[namespace a]\ndefault_mode = 1600\n", 2, "permission bits");
    wrong("[namespace a]\nmax_mode = rw\n", 2, "permission bits");
    wrong("[namespace a]\nmax_segments = -1\n", 2, "max_segments");
    wrong("[namespace a]\nmax_size = 0\n", 2, "max_size");
    wrong("[namespace a]\nlifetime = forever\n", 2, "persistent, ephemeral or ttl");
    wrong("[namespace a]\nlifetime = ttl\nttl = 1w\n", 3, "a time");
    wrong("[namespace a]\nlifetime = ephemeral\nlinger = soon\n", 3, "a time");
    wrong("[namespace a]\nlifetime = ttl\nttl = 3651d\n", 3, "3650d");
    wrong("[namespace a]\nlifetime = ephemeral\nlinger = 8d\n", 3, "7d");
    wrong("\n[namespace a]\nlifetime = ttl\n", 2, "ttl");
    wrong("\n[namespace a]\nlifetime = ttl\nttl = 0\n", 2, "ttl");
    wrong("\n[namespace a]\nttl = 5\n", 2, "ttl");
    wrong("\n[namespace a]\nlifetime = ephemeral\nttl = 5\n", 2, "ttl");
    wrong("\n[namespace a]\nlinger = 5\n", 2, "linger");
    wrong("\n[namespace a]\nlifetime = ttl\nttl = 5\nlinger = 5\n", 2, "linger");
    wrong("\n[namespace a]\ndefault_mode = 0640\nmax_mode = 0600\n[shmd]\n", 2, "max_mode 0600");
    wrong("[namespace a]\ndefault_mode = 0640\n[policy]\nmax_mode = 0600\n", 1, "max_mode 0600");
}

static void wrong_segments(void **state)
{
    (void)state;
    wrong("[segment]\n", 1, "segment");
    wrong("[segment ]\n", 1, "NAMESPACE/NAME");
    wrong("[segment x]\nsize = 1\n", 1, "NAMESPACE/NAME");
    wrong("[segment /x]\nsize = 1\n", 1, "letters");
    wrong("[segment a/]\nsize = 1\n", 1, "letters");
    wrong("[segment a/b/c]\nsize = 1\n", 1, "letters");
    wrong("[segment a/.b]\nsize = 1\n", 1, "'.'");
    wrong("[segment a/b]\nsize = 1\n"
          "[segment a/b]\nsize = 1\n", 3, "[segment a/b] is there a second time");
    wrong("[segment a/b]\nsize = 1\n"
          "[segment a/c]\nsize = 1\nsize = 2\n", 5, "size is set a second");
    wrong("[shmd]\n[segment a/b]\n[limits]\n", 2, "its size is missing");
    wrong("[segment a/b]\nsize = 0\n", 2, "size");
    wrong("[segment a/b]\nsize = 1\nlifetime = ephemeral\n", 3, "no setting lifetime");
    wrong("[segment a/b]\nsize = 1\nowner = no-such-login\n", 3, "an existing user");
    wrong("[segment a/b]\nsize = 1\ngroup = no-such-group\n", 3, "an existing group");
    wrong("[segment a/b]\nsize = 1\nmode = 2000\n", 3, "permission bits");
    wrong("[segment a/b]\nsize = 1\nmode = 0666\n", 1, "max_mode 0660");
    wrong("[segment a/b]\nsize = 1\nmode = 0640\n"
          "[namespace a]\nmax_mode = 0600\n", 1, "max_mode 0600");
    wrong("[segment a/b]\nsize = 1\nkey = 0\n", 3, "a System V key");
    wrong("[segment a/b]\nsize = 2G\n[limits]\nmax_size = 1G\n", 1, "max_size");
    wrong("[segment a/b]\nsize = 1\nkey = 0x53000000\n", 1, "key 0x53000000");
    wrong("[segment a/b]\nsize = 1\nkey = 0x53ffffff\n", 1, "key 0x53ffffff");
    wrong("[segment a/b]\nsize = 1\nkey = 0x52000000\n", 1, "registries");
    wrong("[segment a/b]\nsize = 1\nkey = 0x52ffffff\n", 1, "registries");
    wrong("[segment a/b]\nsize = 1\nkey = 5\n[registry]\nkey_range = 1-0x10000\n", 1, "key");
    wrong("[segment a/b]\nsize = 1\nkey = 5\n"
          "[segment a/c]\nsize = 1\nkey = 5\n", 4, "key 0x00000005");
}

/* As many as there may be, and one more. */
static void bounds(void **state)
{
    static char text[(CONFIG_SEGMENTS_MAX + 1) * 40];
    char error[CONFIG_ERROR_MAX];
    struct config c;
    int at = 0;

    (void)state;
    for (int i = 0; i < CONFIG_NAMESPACES_MAX; i++)
        at += snprintf(text + at, 40, "[namespace n%d]\n", i);
    assert_int_equal(load(&c, text, error), 0);
    assert_int_equal(c.n_namespaces, CONFIG_NAMESPACES_MAX);
    config_done(&c);
    snprintf(text + at, 40, "[namespace more]\n");
    wrong(text, CONFIG_NAMESPACES_MAX + 1, "at most 256");
    at = 0;
    for (int i = 0; i < CONFIG_SEGMENTS_MAX; i++)
        at += snprintf(text + at, 40, "[segment a/s%d]\nsize = 1\n", i);
    assert_int_equal(load(&c, text, error), 0);
    assert_int_equal(c.n_segments, CONFIG_SEGMENTS_MAX);
    config_done(&c);
    snprintf(text + at, 40, "[segment a/more]\nsize = 1\n");
    wrong(text, 2 * CONFIG_SEGMENTS_MAX + 1, "at most 1024");
}

static void many_ids(void **state)
{
    char text[400], error[CONFIG_ERROR_MAX];
    int at = snprintf(text, sizeof(text), "[policy]\nadministrators = ");
    struct config c;

    (void)state;
    for (int i = 0; i < CONFIG_IDS_MAX; i++)
        at += snprintf(text + at, sizeof(text) - (size_t)at, "1 ");
    assert_int_equal(load(&c, text, error), 0);
    assert_int_equal(c.admins.n, CONFIG_IDS_MAX);
    snprintf(text + at, sizeof(text) - (size_t)at, "1\n");
    wrong(text, 2, "up to 64");
}

static void modes_that_contradict(void **state)
{
    (void)state;
    wrong("[policy]\ndefault_mode = 0666\nmax_mode = 0660\n[limits]\n", 3, "max_mode 0660");
    wrong("[policy]\nmax_mode = 0400\nfixed_keys = yes\n", 2, "default_mode 0600");
    wrong("[policy]\nmax_mode = 0660\ndefault_mode = 0666\n\n", 3, "default_mode 0666");
}

#define CASE(f) cmocka_unit_test(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(wrong_lines), CASE(wrong_namespaces), CASE(wrong_segments), CASE(bounds),
        CASE(many_ids), CASE(modes_that_contradict),
    };

    return cmocka_run_group_tests_name("config_wrong", tests, enter, leave);
}
