/* SPDX-License-Identifier: MIT */
/* What shmd makes of a ring, over a kernel of our own: its shape, its slots, its numbers. */
#include "unit.h"

#include "adopt.h"
#include "broker.h"
#include "fake_sysv.h"
#include "lease.h"
#include "log.h"
#include "segment.h"

static struct broker broker;
static struct caller alice;
static const struct ring_options options = {
    .flags = RING_HOLD, .max_message = 1000, .messages = 20, .slots = 70, .version = 9, .tag = "t"};

static void adopt(void)
{
    const struct adopt_request rq = {.socket = "/x", .capacity = 8, .public_view = true};
    char error[ADOPT_ERROR_MAX];

    broker_init(&broker);
    config_init(&broker.config);
    assert_int_equal(adopt_open(&broker.table, &sysv_fake, &rq, error), 0);
    assert_int_equal(table_charge(&broker.table, &broker.quota, &broker.config), 0);
    assert_int_equal(channels_init(&broker), 0);
    alice = (struct caller){.uid = 1001, .gid = 1001, .pid = getpid(), .home = "alice"};
    TAILQ_INIT(&alice.waits);
    alice.user = users_get(&broker.quota.users, 1001);
    alice.user->connections++;
}

static void end(bool dies)
{
    broker.ending = dies;
    lease_end_all(&broker, &alice);
    alice.user->connections--;
    users_put(&broker.quota.users, alice.user);
    caller_done(&alice);
    broker_done(&broker);
}

static int enter(void **state)
{
    (void)state;
    log_set_level(LOG_EMERG);
    fake_reset();
    adopt();
    return 0;
}

static int leave(void **state)
{
    (void)state;
    end(false);
    assert_int_equal(fake_attachments(), 0);
    fake_reset();
    return 0;
}

static struct reg_entry *make(const char *name)
{
    struct segment_request rq = {.size = ring_segment_size(&options), .mode = 0600, .uid = 1001,
                                 .creator_uid = 1001, .key_first = 1, .key_last = 1000,
                                 .ring = &options};
    struct reg_entry *e;

    snprintf(rq.name, sizeof(rq.name), "%s", name);
    assert_int_equal(segment_create(&broker.table, &rq, &e), 0);
    return e;
}

static struct role *join(struct reg_entry *e, uint32_t lease, uint32_t kind)
{
    struct channel *ch;
    struct role *r;

    assert_int_equal(caller_add_lease(&alice, &broker.table, e, lease, 0), 0);
    broker.leases++;
    assert_int_equal(channel_of(&broker, e, &ch), 0);
    r = role_new(ch, &alice, caller_find_lease(&alice, lease), kind);
    assert_non_null(r);
    assert_int_equal(role_begin(&broker, r), 0);
    return r;
}

/* What shmd knows without the ring is what the ring says. */
static void test_shape(void **state)
{
    struct reg_entry *e = make("a/c");
    struct role *role = join(e, 1, JOIN_READER);
    const struct ring *known = &role->channel->ring;
    struct ring ring;

    (void)state;
    assert_int_equal(ring_init(&ring, table_pin(&broker.table, e), e->size), 0);
    assert_ptr_equal(known->header, ring.header);
    assert_ptr_equal(known->slot, ring.slot);
    assert_ptr_equal(known->data, ring.data);
    assert_int_equal(known->size, ring.size);
    assert_int_equal(known->flags, ring.flags);
    assert_int_equal(known->max_message, ring.max_message);
    assert_int_equal(known->slots, ring.slots);
    assert_true(e->flags & REG_CHANNEL);
    assert_int_equal(ring.header->version, 9);
}

static void test_damaged_entry(void **state)
{
    struct reg_entry e = *make("a/c");
    uint32_t slots = e.channel.shape >> 8;

    (void)state;
    assert_int_equal(slots, 70);
    assert_true(channel_sound(&e));
    e.channel.shape = (RING_SLOTS_MAX + 1) << 8;
    assert_false(channel_sound(&e));
    e.channel.shape = 0;
    assert_false(channel_sound(&e));
    e.channel.shape = 70 << 8;
    e.size = 4096;
    assert_false(channel_sound(&e));
    e.flags &= ~(uint32_t)REG_CHANNEL;
    assert_true(channel_sound(&e));
}

static void test_slots_and_numbers(void **state)
{
    struct reg_entry *e = make("a/c");
    uint32_t last = 0;

    (void)state;
    broker.table.header->next_role = 0xffffffffull - 35;
    for (uint32_t i = 0; i < options.slots; i++) {
        struct role *r = join(e, i + 1, i == 0 ? JOIN_WRITER : JOIN_READER);

        assert_int_equal(r->slot, i);
        assert_int_not_equal(r->number, 0);
        assert_int_not_equal(r->number, last);
        last = r->number;
    }
    assert_int_equal(broker.table.header->next_role >> 32, 1); /* never twice in its life */

    struct channel *ch = caller_find_lease(&alice, 1)->role->channel;
    const struct role *who;

    assert_true(channel_is_taken(ch, JOIN_WRITER, &who));
    assert_int_equal(who->slot, 0);
    assert_int_equal(caller_add_lease(&alice, &broker.table, e, 99, 0), 0);
    broker.leases++;

    struct role *more = role_new(ch, &alice, caller_find_lease(&alice, 99), JOIN_READER);

    assert_int_equal(role_begin(&broker, more), -EUSERS);
    role_drop(more);
    role_end(&broker, caller_find_lease(&alice, 66)->role, false);
    assert_int_equal(join(e, 100, JOIN_READER)->slot, 65);
}

/* Known again by what stands in the slots alone; who lives keeps its place. */
static void test_left(void **state)
{
    struct reg_entry *e = make("a/c");
    const char name[NAME_SIZE] = "a/c";
    struct ring ring;
    uint32_t number = join(e, 1, JOIN_WRITER)->number;

    (void)state;
    join(e, 2, JOIN_READER);
    join(e, 3, JOIN_BLIND);
    end(true);
    adopt();
    e = table_find(&broker.table, name, NAME_SIZE);
    assert_non_null(e);
    assert_int_equal(ring_init(&ring, table_pin(&broker.table, e), e->size), 0);
    assert_int_equal(ring.header->blind, 1);
    ring.slot[1].pid = 0x7fffffff; /* nobody's */
    assert_int_not_equal(channels_run(&broker), 0); /* the writer is there still */
    assert_int_equal(ring.header->blind, 0);
    assert_int_equal(ring.slot[0].role, number);
    assert_int_equal(ring.slot[1].role, 0);

    struct channel *ch;
    struct role *r;

    assert_int_equal(caller_add_lease(&alice, &broker.table, e, 1, 0), 0);
    broker.leases++;
    assert_int_equal(channel_of(&broker, e, &ch), 0);
    r = role_new(ch, &alice, caller_find_lease(&alice, 1), JOIN_WRITER);
    assert_false(role_resume(r, number, 1));
    assert_false(role_resume(r, number + 1, 0));
    assert_false(role_resume(r, number, RING_SLOTS_MAX));
    assert_true(role_resume(r, number, 0));
    assert_int_equal(channels_run(&broker), 0); /* nobody is left to look after */
}

/* A role whose answer was lost gives way to the next one of its handle. Of processes that live in
 * other pid namespaces shmd knows no number: it is not to take one for the other. */
static void lose_answer(bool seen)
{
    const char name[NAME_SIZE] = "a/c";
    struct reg_entry *e = make("a/c");
    struct ring ring;
    uint32_t number;
    struct role *r;

    alice.pid = seen ? getpid() : 0;
    number = join(e, 1, JOIN_READER)->number; /* and does not begin */
    end(true);
    adopt();
    alice.pid = seen ? getpid() : 0;
    e = table_find(&broker.table, name, NAME_SIZE);
    assert_non_null(e);
    assert_int_equal(ring_init(&ring, table_pin(&broker.table, e), e->size), 0);
    channels_run(&broker);
    assert_int_equal(ring.slot[0].role, number);
    r = join(e, 1, JOIN_READER);
    assert_int_equal(r->slot, 1);
    channel_drop_lost(&broker, r);
    assert_int_equal(ring.slot[0].role, seen ? 0 : number);
}

static void test_lost_answer(void **state)
{
    (void)state;
    lose_answer(true);
}

static void test_lost_answer_unseen(void **state)
{
    (void)state;
    lose_answer(false);
}

/* Who writes into all slots that a process which never ends has them is looked after for ever, but
 * at leisure. */
static void test_forged(void **state)
{
    struct reg_entry *e = make("a/c");
    struct role *r = join(e, 1, JOIN_READER);
    const struct ring ring = r->channel->ring;
    int64_t next = 0;

    (void)state;
    for (uint32_t i = 0; i < ring.slots; i++) {
        atomic_store(&ring.slot[i].role, i + 1);
        atomic_store(&ring.slot[i].pid, (uint32_t)getpid());
    }
    end(true);
    adopt();
    for (uint32_t pass = broker.channels.pass; broker.channels.pass == pass;) {
        next = clock_ns(CLOCK_MONOTONIC) + NS_PER_SECOND / 1000; /* a moment for the others */
        assert_true(channels_run(&broker) > next);
    }
    for (int64_t turns = 0, least; turns < 3; turns++) {
        least = clock_ns(CLOCK_MONOTONIC) + NS_PER_SECOND / 20;
        assert_true(channels_run(&broker) > least);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shape, enter, leave),
        cmocka_unit_test_setup_teardown(test_damaged_entry, enter, leave),
        cmocka_unit_test_setup_teardown(test_slots_and_numbers, enter, leave),
        cmocka_unit_test_setup_teardown(test_left, enter, leave),
        cmocka_unit_test_setup_teardown(test_lost_answer, enter, leave),
        cmocka_unit_test_setup_teardown(test_lost_answer_unseen, enter, leave),
        cmocka_unit_test_setup_teardown(test_forged, enter, leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
