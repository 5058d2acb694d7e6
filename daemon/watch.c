/* SPDX-License-Identifier: MIT */
#include "watch.h"

#include <string.h>
#include <time.h>

#include "policy.h"

/* The full pattern: one without a slash is of the caller's own namespace, none at all is of
 * everything. */
static int take_pattern(struct request *rq, char pattern[NAME_SIZE])
{
    size_t len = rq->text_size > 0 ? strlen(rq->text) : 0;

    memset(pattern, 0, NAME_SIZE);
    if (len == 0 || strcmp(rq->text, "*") == 0)
        pattern[0] = '*';
    else if (name_complete(rq->text, rq->caller->home, pattern) < 0)
        return request_fail(rq, -EINVAL, "a pattern has at most %d characters", NAME_SIZE - 1);
    return 0;
}

int op_watch(struct request *rq)
{
    const struct wire_watch *w = rq->body;
    struct broker *b = rq->broker;
    struct caller *c = rq->caller;
    unsigned limit = b->config.watches_per_user;
    char pattern[NAME_SIZE];

    if (w->flags != 0)
        return request_fail(rq, -EINVAL, "flags 0x%x of watch are unknown here", w->flags);
    if (c->watch.on)
        return request_fail(rq, -EBUSY, "this connection watches already");
    if (take_pattern(rq, pattern) < 0)
        return -EINVAL;
    if (c->user->watches >= limit)
        return request_fail(rq, -EDQUOT, "user %u has %u watches, and watches_per_user allows %u",
                            (unsigned)c->uid, c->user->watches, limit);
    c->user->watches++;
    b->watches++;
    c->watch.on = true;
    c->watch.serial = rq->serial;
    memcpy(c->watch.pattern, pattern, NAME_SIZE);
    TAILQ_INSERT_TAIL(&b->watchers, c, watch.link);
    return 0;
}

void watch_end(struct broker *b, struct caller *c)
{
    if (!c->watch.on)
        return;
    TAILQ_REMOVE(&b->watchers, c, watch.link);
    c->watch.on = false;
    c->user->watches--;
    b->watches--;
}

struct event_frame {
    struct wire_header header;
    struct wire_event event;
    char name[NAME_SIZE];
};

static void fill(struct event_frame *f, const struct wire_event *ev, const char *name)
{
    uint32_t text = wire_text_size(strlen(name));

    memset(f, 0, sizeof(*f));
    f->header = (struct wire_header){
        .size = (uint32_t)(sizeof(f->header) + sizeof(f->event)) + text, .opcode = OP_EVENT};
    f->event = *ev;
    f->event.when = clock_ns(CLOCK_REALTIME);
    memcpy(f->name, name, strlen(name));
}

static bool may_see(const struct broker *b, const struct caller *c, const struct wire_event *ev,
                    const struct reg_entry *e)
{
    return e ? policy_may_see_entry(b, c, e)
             : c->uid == ev->uid || policy_is_admin(b, c);
}

void watch_tell(struct broker *b, const struct wire_event *ev, const struct reg_entry *e,
                const char *name)
{
    struct event_frame f;
    struct caller *c;

    fill(&f, ev, e ? e->name : name);
    TAILQ_FOREACH(c, &b->watchers, watch.link) {
        b->looks++;
        if (!name_matches(c->watch.pattern, f.name) || !may_see(b, c, ev, e))
            continue;
        watch_catch_up(b, c);
        f.header.serial = c->watch.serial;
        if (c->watch.lost > 0 || !b->push(c, &f, f.header.size))
            c->watch.lost++;
    }
}

void watch_catch_up(struct broker *b, struct caller *c)
{
    const struct wire_event ev = {.kind = EVENT_LOST, .reason = c->watch.lost, .shmid = -1};
    struct event_frame f;

    if (!c->watch.on || c->watch.lost == 0)
        return;
    fill(&f, &ev, "");
    f.header.serial = c->watch.serial;
    if (b->push(c, &f, f.header.size))
        c->watch.lost = 0;
}
