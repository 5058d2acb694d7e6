/* SPDX-License-Identifier: MIT */
/* Bytes in, bytes out, without a socket. What the end-to-end tests show over one is not repeated.
 */
#include "unit.h"

#include "adopt.h"
#include "dispatch.h"
#include "fake_sysv.h"
#include "lease.h"
#include "log.h"
#include "tell.h"
#include "watch.h"

static struct broker broker;
static struct caller alice, root;
static uint8_t out[WIRE_FRAME_MAX];
static unsigned pushed; /* frames to callers that were not being served */
static int pushed_status;

static void push(struct caller *c, const void *frame, size_t size)
{
    const struct wire_header *h = frame;

    (void)c;
    assert_int_equal(h->size, size);
    pushed_status = h->status;
    pushed++;
}

static bool push_soon(struct caller *c, const void *frame, size_t size)
{
    push(c, frame, size);
    return true;
}

static void join(struct caller *c)
{
    TAILQ_INIT(&c->waits);
    TAILQ_INSERT_TAIL(&broker.callers, c, link);
    c->user = users_get(&broker.quota.users, c->uid);
    c->user->connections++;
    c->ready = true;
}

static void part(struct caller *c)
{
    watch_end(&broker, c);
    waits_drop_caller(&broker, c);
    lease_end_all(&broker, c);
    TAILQ_REMOVE(&broker.callers, c, link);
    c->user->connections--;
    users_put(&broker.quota.users, c->user);
    caller_done(c);
}

static int enter(void **state)
{
    const struct adopt_request rq = {.socket = "/x", .capacity = 8, .public_view = true};
    char error[ADOPT_ERROR_MAX];

    (void)state;
    log_set_level(LOG_EMERG);
    fake_reset();
    broker_init(&broker);
    broker.group_is_private = true;
    broker.send = push;
    broker.push = push_soon;
    config_init(&broker.config);
    if (adopt_open(&broker.table, &sysv_fake, &rq, error) < 0 ||
        due_init(&broker.due, broker.table.view.capacity) < 0 ||
        table_charge(&broker.table, &broker.quota, &broker.config) < 0)
        return -1;
    tell_observe(&broker);
    if (channels_init(&broker) < 0)
        return -1;
    alice = (struct caller){.uid = 1001, .gid = 1001, .pid = 1, .home = "alice"};
    root = (struct caller){.pid = 1, .home = "root"};
    join(&alice);
    join(&root);
    pushed = 0;
    return 0;
}

static int leave(void **state)
{
    (void)state;
    part(&alice);
    part(&root);
    broker_done(&broker);
    fake_reset();
    return 0;
}

/* One request; its status. */
static int ask_flags(struct caller *c, uint16_t op, uint16_t flags, const void *body, size_t size,
                     const char *name, enum dispatch_result expected)
{
    uint8_t in[WIRE_REQUEST_MAX] __attribute__((aligned(8))) = {0};
    uint32_t text = name ? wire_text_size(strlen(name)) : 0;
    struct wire_header h = {
        .size = (uint32_t)(sizeof(h) + size) + text, .opcode = op, .flags = flags, .serial = 99};
    size_t used, len;

    memcpy(in, &h, sizeof(h));
    if (size)
        memcpy(in + sizeof(h), body, size);
    if (name)
        memcpy(in + sizeof(h) + size, name, strlen(name));
    for (size_t n = 0; n < sizeof(h); n++)
        assert_int_equal(dispatch(&broker, c, in, n, &used, out, &len), DISPATCH_MORE);
    assert_int_equal(dispatch(&broker, c, in, h.size, &used, out, &len), expected);
    if (len == 0)
        return 1;
    memcpy(&h, out, sizeof(h));
    assert_int_equal(h.size, len);
    assert_int_equal(h.serial, 99);
    assert_int_equal(h.opcode, op);
    return h.status;
}

static int ask(struct caller *c, uint16_t op, const void *body, size_t size)
{
    return ask_flags(c, op, 0, body, size, NULL, DISPATCH_DONE);
}

static int ask_of(struct caller *c, uint16_t op, const void *body, size_t size, const char *name)
{
    return ask_flags(c, op, 0, body, size, name, DISPATCH_DONE);
}

static int create(struct caller *c, const char *name, uint64_t size)
{
    struct wire_create w = {.size = size, .request_id = 1};

    return ask_of(c, OP_CREATE, &w, sizeof(w), name);
}

static void counts(void **state)
{
    uint64_t before = broker.requests;

    (void)state;
    assert_int_equal(ask(&alice, OP_PING, NULL, 0), 0);
    assert_int_equal(broker.requests, before + 1);
    assert_int_equal(create(&alice, "../x", 1), -EINVAL);
    assert_int_equal(broker.refused, 1);
}

static void handshake_first(void **state)
{
    struct wire_hello hello = {.magic = WIRE_MAGIC, .version_min = 1, .version_max = 1};

    (void)state;
    alice.ready = false;
    assert_int_equal(ask_flags(&alice, OP_PING, 0, NULL, 0, NULL, DISPATCH_CLOSE), -EPROTO);
    assert_int_equal(ask(&alice, OP_HELLO, &hello, sizeof(hello)), 0);
    assert_true(alice.ready);
    assert_int_equal(ask(&alice, OP_PING, NULL, 0), 0);
}

static void ownership(void **state)
{
    const struct wire_target t = {.by = BY_NAME};
    struct wire_set set = {.mask = SET_UID, .uid = 5};

    (void)state;
    assert_int_equal(create(&alice, "root/x", 1), -EPERM);
    assert_int_equal(create(&root, "x", 1), 0);
    assert_int_equal(ask_of(&alice, OP_STAT, &t, sizeof(t), "root/x"), 0);
    assert_int_equal(ask_of(&alice, OP_REMOVE, &t, sizeof(t), "root/x"), -EPERM);
    assert_int_equal(create(&alice, "y", 1), 0);
    assert_int_equal(ask_of(&alice, OP_SET, &set, sizeof(set), "alice/y"), -EPERM);
    assert_int_equal(ask_of(&root, OP_SET, &set, sizeof(set), "alice/y"), 0);
    broker.config.admins.list[0].id = 1001;
    broker.config.admins.n = 1;
    assert_int_equal(ask_of(&alice, OP_REMOVE, &t, sizeof(t), "root/x"), 0);
}

static void leases(void **state)
{
    struct wire_attach attach = {.lease = 1};
    struct wire_detach detach = {.lease = 1};
    const struct wire_target t = {.by = BY_NAME};

    (void)state;
    broker.config.leases_per_connection = 2;
    assert_int_equal(create(&alice, "x", 1), 0);
    assert_int_equal(ask_of(&alice, OP_ATTACH, &attach, sizeof(attach), "alice/x"), 0);
    assert_int_equal(ask_of(&alice, OP_ATTACH, &attach, sizeof(attach), "alice/x"), -EEXIST);
    attach.lease = 2;
    assert_int_equal(ask_of(&alice, OP_ATTACH, &attach, sizeof(attach), "alice/x"), 0);
    attach.lease = 3;
    assert_int_equal(ask_of(&alice, OP_ATTACH, &attach, sizeof(attach), "alice/x"), -EDQUOT);
    assert_int_equal(broker.leases, 2);
    assert_int_equal(ask(&alice, OP_DETACH, &detach, sizeof(detach)), 0);
    assert_int_equal(ask(&alice, OP_DETACH, &detach, sizeof(detach)), -ENOENT);
    /* The segment goes, its name comes again: the old lease is not the new segment's. */
    assert_int_equal(ask_of(&alice, OP_REMOVE, &t, sizeof(t), "alice/x"), 0);
    assert_int_equal(create(&alice, "x", 1), 0);
    detach.lease = 2;
    assert_int_equal(ask(&alice, OP_DETACH, &detach, sizeof(detach)), 0);
    assert_int_equal(broker.table.entry[0].leases, 0);
}

static void silent_requests(void **state)
{
    struct wire_detach detach = {.lease = 1};

    (void)state;
    assert_int_equal(
        ask_flags(&alice, OP_DETACH, FRAME_NOREPLY, &detach, sizeof(detach), NULL,
                  DISPATCH_DONE), 1);
}

static void waits(void **state)
{
    const struct wire_open open = {.flags = OPEN_WAIT};

    (void)state;
    assert_int_equal(ask_of(&alice, OP_OPEN, &open, sizeof(open), "alice/x"), 1);
    assert_int_equal(pushed, 0);
    assert_int_equal(create(&root, "alice/x", 1), 0);
    assert_int_equal(pushed, 1);
    for (int i = 0; i < WIRE_WAITS_MAX; i++)
        assert_int_equal(ask_of(&alice, OP_OPEN, &open, sizeof(open), "alice/never"), 1);
    assert_int_equal(pushed, 1);
    assert_int_equal(ask_of(&alice, OP_OPEN, &open, sizeof(open), "alice/never"), 1);
    assert_int_equal(pushed, 2);
    assert_int_equal(pushed_status, -ECANCELED);
    assert_int_equal(alice.n_waits, WIRE_WAITS_MAX);
}

static void shared_primary_group(void **state)
{
    struct wire_create w = {.size = 1, .flags = CREATE_MODE, .mode = 0640};

    (void)state;
    broker.group_is_private = false;
    assert_int_equal(ask_of(&alice, OP_CREATE, &w, sizeof(w), "x"), -EPERM);
    w.mode = 0600;
    assert_int_equal(ask_of(&alice, OP_CREATE, &w, sizeof(w), "x"), 0);
}

static void groups(void **state)
{
    struct wire_create w = {.size = 1, .flags = CREATE_GID, .gid = 1002};
    gid_t more[] = {50, 1002};

    (void)state;
    assert_int_equal(ask_of(&alice, OP_CREATE, &w, sizeof(w), "x"), -EPERM);
    alice.groups = malloc(sizeof(more));
    memcpy(alice.groups, more, sizeof(more));
    alice.n_groups = 2;
    assert_int_equal(ask_of(&alice, OP_CREATE, &w, sizeof(w), "x"), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(counts),
        CASE(handshake_first),
        CASE(ownership),
        CASE(leases),
        CASE(silent_requests),
        CASE(waits),
        CASE(shared_primary_group),
        CASE(groups),
    };

    return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
