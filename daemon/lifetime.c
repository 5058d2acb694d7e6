/* SPDX-License-Identifier: MIT */
#include "lifetime.h"

#include "segment.h"
#include "tell.h"
#include "util.h"

#define RUN_MAX 64    /* segments looked at before others are served */
#define RECLAIM_S 10u /* after a restart, for clients to come back and announce their leases */

static void set_due(struct broker *b, const struct reg_entry *e, int64_t seconds)
{
    int64_t when = clock_ns(CLOCK_MONOTONIC) + seconds * NS_PER_SECOND;

    if (due_set(&b->due, table_index(&b->table, e), when) && b->arm)
        b->arm(b, when);
}

/* Nobody holds it any more. Who has it attached without a lease keeps it, and shmd need not
 * know. */
static void let_go(struct broker *b, struct reg_entry *e)
{
    struct table *t = &b->table;
    struct shmid_ds ds;

    if (segment_check(t, e, &ds) < 0)
        return;
    if (ds.shm_nattch > (table_pin(t, e) ? 1u : 0u)) {
        segment_unpin(t, e);
        return;
    }
    tell_removed(b, NULL, e, REASON_UNUSED);
    segment_remove(t, e);
}

static void look_at_ttl(struct broker *b, struct reg_entry *e)
{
    struct table *t = &b->table;
    struct shmid_ds ds;

    if (segment_check(t, e, &ds) < 0)
        return;

    int64_t last = MAX(ds.shm_atime, ds.shm_dtime);
    int64_t used = MAX(last, e->created / NS_PER_SECOND);
    int64_t left = used + e->ttl - clock_ns(CLOCK_REALTIME) / NS_PER_SECOND;
    bool in_use = ds.shm_nattch > (table_pin(t, e) ? 1u : 0u) || e->leases > 0 ||
                  e->flags & REG_DECLARED; /* it had its ttl before */

    if (in_use || left > 0) {
        set_due(b, e, in_use ? e->ttl : MIN(left, (int64_t)e->ttl));
        return;
    }
    tell_removed(b, NULL, e, REASON_UNUSED);
    if (segment_remove(t, e) < 0)
        set_due(b, e, e->ttl);
}

void lifetime_begin(struct broker *b, struct reg_entry *e)
{
    due_clear(&b->due, table_index(&b->table, e)); /* of the segment that had this entry before */
    if (e->ttl > 0)
        set_due(b, e, e->ttl);
    else if (e->flags & REG_EPHEMERAL && e->leases == 0)
        set_due(b, e, (int64_t)MAX(e->linger, RECLAIM_S));
}

void lifetime_held(struct broker *b, struct reg_entry *e)
{
    if (!(e->flags & REG_EPHEMERAL))
        return;
    due_clear(&b->due, table_index(&b->table, e));
    segment_pin(&b->table, e); /* where the mode does not let us, whoever is attached keeps it */
}

void lifetime_released(struct broker *b, struct reg_entry *e)
{
    if (!(e->flags & REG_EPHEMERAL) || e->leases > 0)
        return;
    if (e->linger > 0)
        set_due(b, e, e->linger);
    else
        let_go(b, e);
}

int64_t lifetime_expires(const struct broker *b, const struct reg_entry *e)
{
    int64_t when = due_when(&b->due, table_index(&b->table, e));

    return when ? when - clock_ns(CLOCK_MONOTONIC) + clock_ns(CLOCK_REALTIME) : 0;
}

int64_t lifetime_run(struct broker *b)
{
    int64_t now = clock_ns(CLOCK_MONOTONIC), when = 0;
    uint32_t index;

    for (int i = 0; due_first(&b->due, &index, &when) && when <= now && i < RUN_MAX; i++) {
        struct reg_entry *e = &b->table.entry[index];

        due_clear(&b->due, index);
        if (table_state(e) != REG_LIVE)
            continue;
        if (e->flags & REG_EPHEMERAL)
            let_go(b, e);
        else if (e->ttl > 0)
            look_at_ttl(b, e);
    }
    return due_first(&b->due, &index, &when) ? when : 0;
}
