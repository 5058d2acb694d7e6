/* SPDX-License-Identifier: MIT */
/* Life of segments and adoption of a registry over a kernel that fails on demand. */
#include "unit.h"

#include "adopt.h"
#include "fake_sysv.h"
#include "log.h"
#include "segment.h"

#define KEY_FIRST 0x53000000u
#define KEY_LAST 0x5300ffffu

static struct table table;

static int open_table(uint32_t capacity, char error[ADOPT_ERROR_MAX])
{
    const struct adopt_request rq = {
        .socket = "/run/x.sock", .capacity = capacity, .public_view = true, .ipc_namespace = 1};

    return adopt_open(&table, &sysv_fake, &rq, error);
}

static void reopen(uint32_t capacity)
{
    char error[ADOPT_ERROR_MAX] = "";

    table_done(&table);
    assert_int_equal(fake_attachments(), 0);
    assert_int_equal(open_table(capacity, error), 0);
    assert_string_equal(error, "");
}

static int enter(void **state)
{
    char error[ADOPT_ERROR_MAX];

    (void)state;
    log_set_level(LOG_EMERG);
    fake_reset();
    return open_table(8, error);
}

static int leave(void **state)
{
    (void)state;
    table_done(&table);
    assert_int_equal(fake_attachments(), 0);
    fake_reset();
    return 0;
}

static struct segment_request request(const char *name)
{
    struct segment_request rq = {.size = 5000,
                                 .request_id = 7,
                                 .uid = 1001,
                                 .gid = 1002,
                                 .mode = 0640,
                                 .key_first = KEY_FIRST,
                                 .key_last = KEY_LAST,
                                 .creator_uid = 1001};

    memcpy(rq.name, name, strlen(name));
    return rq;
}

static struct reg_entry *create(const char *name)
{
    struct segment_request rq = request(name);
    struct reg_entry *e = NULL;

    assert_int_equal(segment_create(&table, &rq, &e), 0);
    assert_non_null(e);
    return e;
}

static struct reg_entry *find(const char *name)
{
    char full[NAME_SIZE] = {0};

    memcpy(full, name, strlen(name));
    return table_find(&table, full, NAME_SIZE);
}

static void whole_life(void **state)
{
    struct shmid_ds ds;

    (void)state;
    struct reg_entry *e = create("me/x");

    assert_ptr_equal(find("me/x"), e);
    assert_ptr_equal(table_find_shmid(&table, table_shmid(e)), e);
    assert_int_equal(table_state(e), REG_LIVE);
    assert_in_range((uint32_t)e->key, KEY_FIRST, KEY_LAST);
    assert_int_equal(segment_check(&table, e, &ds), 0);
    assert_int_equal(ds.shm_perm.uid, 1001);
    assert_int_equal(ds.shm_perm.gid, 1002);
    assert_int_equal(ds.shm_perm.mode, 0640);
    assert_int_equal(ds.shm_nattch, 1);
    assert_int_equal(segment_set(&table, e, 1, 2, 0600, &ds), 0);
    assert_int_equal(ds.shm_perm.mode, 0600);
    assert_int_equal(e->mode, 0600);
    segment_remove(&table, e);
    assert_null(find("me/x"));
    assert_int_equal(fake_count(), 1); /* the registry */
    assert_int_equal(table.header->used, 0);
    assert_int_equal(table.bytes, 0);
}

static void full(void **state)
{
    struct segment_request rq = request("me/too-many");
    struct reg_entry *e = NULL;
    char name[8];

    (void)state;
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "me/%d", i);
        create(name);
    }
    assert_int_equal(segment_create(&table, &rq, &e), -EXFULL);
    assert_int_equal(fake_count(), 9);
    segment_remove(&table, find("me/3"));
    assert_int_equal(segment_create(&table, &rq, &e), 0);
}

static void create_fails(int error)
{
    struct segment_request rq = request("me/x");
    struct reg_entry *e = NULL;

    for (int i = 0; i < 20; i++) /* no entry leaks either */
        assert_int_equal(segment_create(&table, &rq, &e), error);
    assert_null(e);
    assert_null(find("me/x"));
    assert_int_equal(fake_count(), 1);
    fake.fail_create = fake.fail_attach = fake.fail_set = 0;
    assert_int_equal(segment_create(&table, &rq, &e), 0);
}

static void kernel_refuses(void **state)
{
    static const int errors[] = {-ENOSPC, -ENOMEM, -EINVAL};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        fake.fail_create = errors[i];
        create_fails(errors[i]);
        segment_remove(&table, find("me/x"));
    }
}

static void pin_fails(void **state)
{
    (void)state;
    fake.fail_attach = -ENOMEM;
    create_fails(-ENOMEM);
}

static void set_fails(void **state)
{
    (void)state;
    fake.fail_set = -EPERM;
    create_fails(-EPERM);
}

static void keys_collide(void **state)
{
    struct segment_request rq = request("me/x");
    struct reg_entry *e = NULL;

    (void)state;
    rq.key = 0x1234;
    fake_foreign(0x1234, 10, 99);
    assert_int_equal(segment_create(&table, &rq, &e), -EADDRINUSE);
    rq.key = 0;
    rq.key_first = rq.key_last = 0x1234;
    fake.creates = 0;
    assert_int_equal(segment_create(&table, &rq, &e), -EADDRINUSE);
    assert_in_range(fake.creates, 2, 1000); /* more than one try, and an end of it */
    assert_int_equal(fake_count(), 2);
}

static void gone_behind_the_back(void **state)
{
    struct shmid_ds ds;
    struct reg_entry *e = create("me/x");

    (void)state;
    sysv_fake.remove(table_shmid(e));
    assert_int_equal(segment_check(&table, e, &ds), -EIDRM);
    assert_null(find("me/x"));
    create("me/x");
}

static void replaced_behind_the_back(void **state)
{
    struct shmid_ds ds;
    struct reg_entry *e = create("me/x");
    int id = table_shmid(e);

    (void)state;
    fake.segment[id].ds.shm_perm.cuid = 4242;
    assert_int_equal(segment_check(&table, e, &ds), -EIDRM);
    assert_true(fake.segment[id].there); /* another's: not touched */
    e = create("me/x");
    id = table_shmid(e);
    fake.segment[id].ds.shm_segsz++;
    assert_int_equal(segment_check(&table, e, &ds), -EIDRM);
    assert_true(fake.segment[id].there);
}

static void adopted(void **state)
{
    uint64_t instance, generation = table.header->generation;
    int id;

    (void)state;
    id = table_shmid(create("me/x"));
    instance = find("me/x")->instance;
    find("me/x")->leases = 5; /* of clients that are gone */
    create("me/y");
    segment_remove(&table, create("me/z"));
    reopen(8);
    assert_int_equal(table_shmid(find("me/x")), id);
    assert_int_equal(find("me/x")->instance, instance);
    assert_int_equal(find("me/x")->leases, 0);
    assert_int_equal(table.header->used, 2);
    assert_int_equal(table.bytes, 10000);
    assert_int_equal(table.header->generation, generation + 1);
    for (int i = 0; i < 6; i++) {
        char name[8];

        snprintf(name, sizeof(name), "me/%d", i);
        create(name);
    }
    assert_int_equal(fake_count(), 9);
}

static void other_capacities(void **state)
{
    static const uint32_t to[] = {64, 2, 1000, 1, 8};

    (void)state;
    create("me/x");
    create("me/y");
    for (size_t i = 0; i < ARRAY_LEN(to); i++) {
        reopen(to[i]);
        assert_non_null(find("me/x"));
        assert_non_null(find("me/y"));
        assert_int_equal(fake_count(), 3);
        /* Never fewer than what is there needs. */
        assert_int_equal(table.view.capacity, to[i] == 1 ? 1000 : to[i]);
    }
}

static void dead_in_the_middle(void **state)
{
    struct reg_entry *e = create("me/x"), *gone = create("me/y"), *never = create("me/z");

    (void)state;
    /* As if shmd had died before it published x, before it removed y, and before it made z. */
    e->word = reg_word(REG_CREATING, -1);
    gone->word = reg_word(REG_REMOVING, table_shmid(gone));
    sysv_fake.remove(table_shmid(never));
    never->word = reg_word(REG_CREATING, -1);
    never->seq |= 1;
    reopen(8);
    assert_null(find("me/x"));
    assert_null(find("me/y"));
    assert_null(find("me/z"));
    assert_int_equal(fake_count(), 1);
    assert_int_equal(table.header->used, 0);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(table.entry[i].seq & 1, 0);
}

/* The kernel takes ctime from a clock that lags by up to a tick: it may still be in the second
 * before. */
static void made_as_a_second_began(void **state)
{
    struct reg_entry *e = create("me/x");
    int id = table_shmid(e);

    (void)state;
    e->word = reg_word(REG_CREATING, -1);
    fake.segment[id].ds.shm_ctime = e->created / 1000000000 - 1;
    reopen(8);
    assert_null(find("me/x"));
    assert_int_equal(fake_count(), 1);
}

static void roll_back_by_nobodys_key(void **state)
{
    struct reg_entry *e = create("me/x");
    int id = table_shmid(e);

    (void)state;
    /* The key was taken by another before our shmget: his segment is not ours to remove. */
    e->word = reg_word(REG_CREATING, -1);
    fake.segment[id].ds.shm_perm.cuid = 4242;
    reopen(8);
    assert_true(fake.segment[id].there);
    assert_null(find("me/x"));
}

static void taken_registry_keys(void **state)
{
    int old = table.shmid;
    int32_t key = fake.segment[old].ds.shm_perm.__key;
    char error[ADOPT_ERROR_MAX] = "";

    (void)state;
    table_done(&table);
    sysv_fake.remove(old);

    int foreign = fake_foreign(key, 100000, 4242);

    assert_int_equal(open_table(8, error), 0);
    assert_int_not_equal(table.shmid, foreign);
    create("me/x");
    reopen(8);
    assert_non_null(find("me/x"));
    assert_true(fake.segment[foreign].there);
}

static void newer_registry(void **state)
{
    char error[ADOPT_ERROR_MAX] = "";
    int id = table.shmid;

    (void)state;
    create("me/x");
    table_done(&table);

    struct reg_header *h = fake.segment[id].memory;

    h->layout++;
    assert_int_equal(open_table(8, error), -EPROTONOSUPPORT);
    assert_string_not_equal(error, "");
    assert_int_equal(fake_count(), 2);
    h->layout--;
    assert_int_equal(open_table(8, error), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(whole_life),
        CASE(full),
        CASE(kernel_refuses),
        CASE(pin_fails),
        CASE(set_fails),
        CASE(keys_collide),
        CASE(gone_behind_the_back),
        CASE(replaced_behind_the_back),
        CASE(adopted),
        CASE(other_capacities),
        CASE(dead_in_the_middle),
        CASE(made_as_a_second_began),
        CASE(roll_back_by_nobodys_key),
        CASE(taken_registry_keys),
        CASE(newer_registry),
    };

    return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
