/* SPDX-License-Identifier: MIT */
#include "waits.h"

#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "ops.h"
#include "protocol.h"

static void forget(struct broker *b, struct wait *w)
{
    TAILQ_REMOVE(&b->waits, w, link);
    w->caller->n_waits--;
    free(w);
}

static void cancel_oldest(struct broker *b, struct caller *c)
{
    static const char text[] = "too many names waited for on one connection: this was the oldest";
    struct wait *w;

    TAILQ_FOREACH(w, &b->waits, link) {
        struct {
            struct wire_header header;
            char text[sizeof(text)];
        } frame = {.header = {.size = sizeof(frame.header) + sizeof(text),
                              .opcode = OP_OPEN,
                              .serial = w->serial,
                              .status = -ECANCELED}};

        if (w->caller != c)
            continue;
        memcpy(frame.text, text, sizeof(text));
        b->send(c, &frame, frame.header.size);
        forget(b, w);
        return;
    }
}

int waits_add(struct broker *b, struct caller *c, uint32_t serial, const char name[NAME_SIZE])
{
    struct wait *w = malloc(sizeof(*w));

    if (!w)
        return -ENOMEM;
    if (c->n_waits >= WIRE_WAITS_MAX)
        cancel_oldest(b, c);
    *w = (struct wait){.caller = c, .serial = serial};
    memcpy(w->name, name, NAME_SIZE);
    TAILQ_INSERT_TAIL(&b->waits, w, link);
    c->n_waits++;
    return 0;
}

void waits_created(struct broker *b, const struct reg_entry *e)
{
    struct wait *next;

    for (struct wait *w = TAILQ_FIRST(&b->waits); w; w = next) {
        next = TAILQ_NEXT(w, link);
        if (memcmp(w->name, e->name, NAME_SIZE) != 0)
            continue;

        struct {
            struct wire_header header;
            struct wire_opened opened;
        } frame = {.header = {.size = sizeof(frame), .opcode = OP_OPEN, .serial = w->serial}};

        ops_fill_opened(&frame.opened, e, 0);
        b->send(w->caller, &frame, sizeof(frame));
        forget(b, w);
    }
}

void waits_drop_caller(struct broker *b, const struct caller *c)
{
    struct wait *next;

    for (struct wait *w = TAILQ_FIRST(&b->waits); w && c->n_waits; w = next) {
        next = TAILQ_NEXT(w, link);
        if (w->caller == c)
            forget(b, w);
    }
}
