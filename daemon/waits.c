/* SPDX-License-Identifier: MIT */
#include "waits.h"

#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "ops.h"
#include "policy.h"
#include "protocol.h"

struct wait {
    struct caller *caller;
    uint32_t serial;
    char name[NAME_SIZE];
    TAILQ_ENTRY(wait) of_caller, of_name;
};

void waits_init(struct waits *w)
{
    for (unsigned i = 0; i < WAITS_BUCKETS; i++)
        TAILQ_INIT(&w->bucket[i]);
}

static struct wait_queue *bucket(struct broker *b, const char name[NAME_SIZE])
{
    struct reg_key key;

    reg_key_init(&key, b->table.view.hash_seed, name);
    return &b->waits.bucket[key.hash % WAITS_BUCKETS];
}

static void forget(struct broker *b, struct wait *w)
{
    TAILQ_REMOVE(bucket(b, w->name), w, of_name);
    TAILQ_REMOVE(&w->caller->waits, w, of_caller);
    w->caller->n_waits--;
    w->caller->user->waits--;
    free(w);
}

static void cancel_oldest(struct broker *b, struct caller *c)
{
    static const char text[] = "too many names waited for on one connection: this was the oldest";
    struct wait *w = TAILQ_FIRST(&c->waits);
    struct {
        struct wire_header header;
        char text[(sizeof(text) + 7) & ~7u];
    } frame = {.header = {.size = sizeof(frame), .opcode = OP_OPEN, .serial = w->serial,
                          .status = -ECANCELED}};

    memcpy(frame.text, text, sizeof(text));
    b->send(c, &frame, sizeof(frame));
    forget(b, w);
}

int waits_add(struct broker *b, struct caller *c, uint32_t serial, const char name[NAME_SIZE])
{
    struct wait *w;

    if (c->n_waits >= WIRE_WAITS_MAX)
        cancel_oldest(b, c);
    if (c->user->waits >= WAITS_USER_MAX)
        return -EDQUOT;
    w = malloc(sizeof(*w));
    if (!w)
        return -ENOMEM;
    *w = (struct wait){.caller = c, .serial = serial};
    memcpy(w->name, name, NAME_SIZE);
    TAILQ_INSERT_TAIL(bucket(b, name), w, of_name);
    TAILQ_INSERT_TAIL(&c->waits, w, of_caller);
    c->n_waits++;
    c->user->waits++;
    return 0;
}

void waits_created(struct broker *b, const struct reg_entry *e)
{
    struct wait *next;

    for (struct wait *w = TAILQ_FIRST(bucket(b, e->name)); w; w = next) {
        next = TAILQ_NEXT(w, of_name);
        if (memcmp(w->name, e->name, NAME_SIZE) != 0 ||
            !policy_may_see_entry(b, w->caller, e))
            continue;

        struct {
            struct wire_header header;
            uint64_t body[(sizeof(struct wire_opened) + NAME_SIZE) / 8];
        } frame = {.header = {.opcode = OP_OPEN, .serial = w->serial}};
        struct request rq = {.broker = b, .reply = frame.body};

        ops_opened(&rq, e, 0);
        frame.header.size = (uint32_t)sizeof(frame.header) + rq.reply_size;
        b->send(w->caller, &frame, frame.header.size);
        forget(b, w);
    }
}

void waits_drop_caller(struct broker *b, struct caller *c)
{
    struct wait *w;

    while ((w = TAILQ_FIRST(&c->waits)))
        forget(b, w);
}
