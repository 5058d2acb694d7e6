/* SPDX-License-Identifier: MIT */
/*
 * Bytes of a connection, over a kernel of our own. The first byte says who sends them and whether
 * they have shaken hands. Afterwards every segment has an entry, and every entry a segment.
 */
#include <stdlib.h>
#include <string.h>

#include "adopt.h"
#include "dispatch.h"
#include "fake_sysv.h"
#include "lease.h"
#include "log.h"
#include "tell.h"
#include "watch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void swallow(struct caller *c, const void *frame, size_t size)
{
    (void)c;
    if (size < sizeof(struct wire_header) || ((const struct wire_header *)frame)->size != size)
        abort();
}

static bool swallow_soon(struct caller *c, const void *frame, size_t size)
{
    swallow(c, frame, size);
    return size % 3 != 0; /* some are lost */
}

static void check_answer(const uint8_t *out, size_t len)
{
    struct wire_header h;

    if (len == 0)
        return;
    memcpy(&h, out, sizeof(h));
    if (h.size != len || len > WIRE_FRAME_MAX || h.status > 0)
        abort();
    if (h.status < 0 && (len == sizeof(h) || out[len - 1] != 0))
        abort();
}

static void check_table(const struct broker *b, const struct caller *c)
{
    const struct table *t = &b->table;
    unsigned live = 0;
    uint64_t pages = 0;

    for (uint32_t i = 0; i < t->view.capacity; i++)
        if (table_state(&t->entry[i]) == REG_LIVE) {
            live++;
            pages += quota_pages(t->entry[i].size);
        } else if (table_state(&t->entry[i]) != REG_FREE)
            abort();
    if (live != t->header->used || fake_count() != live + 1 + b->channels.n_removed)
        abort();
    if (b->quota.host.pages != pages || b->quota.host.segments != live || c->user->pages != pages ||
        c->user->segments != live || c->user->leases != c->n_leases || b->leases != c->n_leases)
        abort();
}

static void serve(struct broker *b, struct caller *c, const uint8_t *data, size_t size)
{
    static uint8_t out[WIRE_FRAME_MAX] __attribute__((aligned(8)));
    enum dispatch_result r = DISPATCH_DONE;

    while (r == DISPATCH_DONE) {
        size_t used, len;

        r = dispatch(b, c, data, size, &used, out, &len);
        if (used > size || (r == DISPATCH_DONE && used == 0))
            abort();
        check_answer(out, len);
        if (b->pass >= 0)
            close(STEAL_FD(b->pass));
        check_table(b, c);
        data += used;
        size -= used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct broker b;
    struct caller c = {
        .pid = 1, .ready = size && data[0] & 1, .uid = size && data[0] & 2 ? 0 : 1001};
    const struct adopt_request rq = {.socket = "/x", .capacity = 4, .public_view = true};
    char error[ADOPT_ERROR_MAX];

    log_set_level(LOG_EMERG);
    fake_reset();
    broker_init(&b);
    b.group_is_private = true;
    b.send = swallow;
    b.push = swallow_soon;
    config_init(&b.config);
    b.config.max_size = 1 << 16; /* its memory is ours */
    b.config.public_view = !(size && data[0] & 4);
    name_of_user(c.uid, NULL, c.home);
    if (adopt_open(&b.table, &sysv_fake, &rq, error) < 0 ||
        due_init(&b.due, b.table.view.capacity) < 0 ||
        table_charge(&b.table, &b.quota, &b.config) < 0)
        abort();
    tell_observe(&b);
    if (channels_init(&b) < 0)
        abort();
    TAILQ_INIT(&c.waits);
    TAILQ_INSERT_TAIL(&b.callers, &c, link);
    c.user = users_get(&b.quota.users, c.uid);
    c.user->connections++;
    if (size) {
        uint8_t *in =
            malloc(size > 1 ? size - 1 : 1); /* aligned, and its end is known to the sanitizer */

        memcpy(in, data + 1, size - 1);
        serve(&b, &c, in, size - 1);
        free(in);
    }
    watch_end(&b, &c);
    waits_drop_caller(&b, &c);
    lease_end_all(&b, &c);
    check_table(&b, &c);
    c.user->connections--;
    users_put(&b.quota.users, c.user);
    caller_done(&c);
    broker_done(&b);
    if (fake_attachments() != 0)
        abort();
    return 0;
}
