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
#include "log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void swallow(struct caller *c, const void *frame, size_t size)
{
    (void)c;
    if (size < sizeof(struct wire_header) || ((const struct wire_header *)frame)->size != size)
        abort();
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

static void check_table(const struct table *t)
{
    unsigned live = 0;

    for (uint32_t i = 0; i < t->view.capacity; i++)
        if (table_state(&t->entry[i]) == REG_LIVE)
            live++;
        else if (table_state(&t->entry[i]) != REG_FREE)
            abort();
    if (live != t->header->used || fake_count() != live + 1)
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
        check_table(&b->table);
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
    b = (struct broker){.group_is_private = true, .send = swallow};
    waits_init(&b.waits);
    TAILQ_INIT(&c.waits);
    config_init(&b.config);
    b.config.max_size = 1 << 16; /* its memory is ours */
    name_of_user(c.uid, NULL, c.home);
    if (adopt_open(&b.table, &sysv_fake, &rq, error) < 0)
        abort();
    if (size) {
        uint8_t *in = malloc(size > 1 ? size - 1 : 1); /* aligned, and its end is known to the sanitizer */

        memcpy(in, data + 1, size - 1);
        serve(&b, &c, in, size - 1);
        free(in);
    }
    waits_drop_caller(&b, &c);
    caller_done(&c, &b.table);
    table_done(&b.table);
    if (fake_attachments() != 0)
        abort();
    return 0;
}
