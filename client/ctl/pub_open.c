/* SPDX-License-Identifier: MIT */
#include "pub_open.h"

#define TURN_MS 250 /* of waiting for the role, between two looks at the signals */

static int unlike(const char *name, const char *what)
{
    log_error("pub: %s is there already, with another %s than asked for", name, what);
    return CTL_FAILED;
}

/* The broker compares what belongs to the channel; the segment's part would be ignored. */
static int compare(const char *name, const struct shmd_create_options *o,
                   const struct shmd_status *st)
{
    if (o->mode >= 0 && (unsigned)o->mode != st->mode)
        return unlike(name, "mode");
    if (o->gid >= 0 && o->gid != (int64_t)st->gid)
        return unlike(name, "group");
    if (o->lifetime != SHMD_LIFETIME_DEFAULT && o->lifetime != st->lifetime)
        return unlike(name, "lifetime");
    if (o->lifetime == SHMD_TTL && o->ttl != st->ttl)
        return unlike(name, "time to live");
    if (o->lifetime == SHMD_EPHEMERAL && o->linger != st->linger)
        return unlike(name, "time to linger");
    return CTL_DONE;
}

static int create(const struct ctl *ctl, const char *name, const struct pub_channel *c)
{
    return shmd_channel_create(ctl->shmd, name, &c->options, NULL, ctl->timeout_ms);
}

/* What is there is opened as it is, unless the options say what it is to be like. */
static int make(const struct ctl *ctl, const char *name, const struct pub_channel *c)
{
    struct shmd_status st;
    int r = c->described ? create(ctl, name, c) : 0;

    if (r == 0 && c->given.any) {
        r = shmd_stat(ctl->shmd, name, &st, ctl->timeout_ms);
        if (r == -ENOENT && (r = create(ctl, name, c)) == 0)
            r = shmd_stat(ctl->shmd, name, &st, ctl->timeout_ms);
        if (r == 0)
            return compare(name, &c->options.segment, &st);
    }
    return r < 0 ? channel_fail(ctl, name, r) : CTL_DONE;
}

/*
 * As signals are blocked, so that none ends a writer that has just got its role, they are looked at
 * between two turns of waiting. One that came does then what it does by itself.
 */
static int wait_for_role(const struct ctl *ctl, const char *name,
                         const struct shmd_member_options *o, int limit, struct shmd_writer **ret)
{
    int64_t until = clock_ns(CLOCK_MONOTONIC) + limit * (NS_PER_SECOND / 1000);

    for (;;) {
        int64_t left = limit < 0 ? TURN_MS + 1
            : (until - clock_ns(CLOCK_MONOTONIC)) / (NS_PER_SECOND / 1000);
        int turn = (int)MAX(MIN(left, (int64_t)TURN_MS), (int64_t)0);
        int r = shmd_writer_open(ret, ctl->shmd, name, o, turn);

        if (r != -ETIMEDOUT || left <= turn)
            return r;
        channel_signals_let();
    }
}

static int take_role(const struct ctl *ctl, const char *name, const struct pub_channel *c,
                     struct shmd_writer **ret)
{
    int limit = c->wait && !ctl->timeout_given ? -1 : ctl->timeout_ms;
    struct shmd_member_options o = SHMD_MEMBER_INIT;
    int r;

    if (*c->options.tag) {
        o.tag = c->options.tag;
        o.version = c->options.version;
    }
    if (c->wait && c->no_create) {
        o.flags |= SHMD_MEMBER_WAIT;
        return wait_for_role(ctl, name, &o, limit, ret);
    }
    r = shmd_writer_open(ret, ctl->shmd, name, &o, ctl->timeout_ms);
    if (r == -ENOENT && !c->no_create) {
        r = create(ctl, name, c);
        if (r == 0)
            r = shmd_writer_open(ret, ctl->shmd, name, &o, ctl->timeout_ms);
    }
    if (r == -EBUSY && c->wait) {
        o.flags |= SHMD_MEMBER_WAIT;
        r = wait_for_role(ctl, name, &o, limit, ret);
    }
    return r;
}

int pub_open(const struct ctl *ctl, const char *name, const struct pub_channel *c,
             struct shmd_writer **ret)
{
    int code = c->no_create ? CTL_DONE : make(ctl, name, c);

    if (code != CTL_DONE)
        return code;

    int r = take_role(ctl, name, c, ret);

    return r < 0 ? channel_fail(ctl, name, r) : CTL_DONE;
}
