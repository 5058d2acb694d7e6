/* SPDX-License-Identifier: MIT */
#include "sweep.h"

#include <string.h>

#include "broker.h"
#include "log.h"
#include "segment.h"
#include "util.h"

#define ENTRIES_A_SLICE 256
#define LOOKS_A_SLICE 256

static void look_at(struct table *t, struct reg_entry *e)
{
    struct shmid_ds ds;

    /* Its owner may have kept us from pinning it, and lets us now; ephemeral ones are
     * lifetime.c's. */
    if (segment_check(t, e, &ds) == 0 && !(e->flags & REG_EPHEMERAL) && !table_pin(t, e))
        segment_pin(t, e);
}

static void look_at_entries(struct broker *b, struct sweep *s)
{
    struct table *t = &b->table;
    uint32_t end = MIN(s->entry + ENTRIES_A_SLICE, t->view.capacity);

    for (; s->entry < end; s->entry++)
        if (table_state(&t->entry[s->entry]) == REG_LIVE)
            look_at(t, &t->entry[s->entry]);
    if (s->entry == t->view.capacity) {
        s->entries_done = true;
        orphans_begin(&s->scan, b->config.key_first, b->config.key_last);
    }
}

static void tell(struct broker *b, struct sweep *s, int error)
{
    if (error != 0 && error != s->error)
        log_warning("whether segments of no registry are left cannot be told: %s",
                    strerror(-error));
    s->error = error;
    if (error != 0 || s->scan.n == s->told)
        return;
    s->told = s->scan.n;
    if (s->told > 0)
        log_warning("%u segments that uid %u created are in no registry (the first: shmid %d, key "
                    "0x%08x): see shmctl-client fsck", s->told, (unsigned)b->table.uid,
                    s->scan.orphan[0].shmid, (unsigned)s->scan.orphan[0].key);
    else
        log_notice("all segments that uid %u created are in a registry again",
                   (unsigned)b->table.uid);
}

void sweep_look_at_kernel(struct sweep *s)
{
    _cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/shm_rmid_forced", "re");
    bool forced = f && fgetc(f) == '1';

    if (forced && !s->forced)
        log_warning("kernel.shm_rmid_forced is 1: the kernel removes segments that nobody has "
                    "attached; they live here only as long as shmd pins them");
    s->forced = forced;
}

bool sweep_step(struct broker *b, struct sweep *s)
{
    if (!s->entries_done) {
        look_at_entries(b, s);
        return false;
    }

    int r = orphans_step(&b->table, &s->scan, LOOKS_A_SLICE);

    if (r > 0)
        return false;
    if (r != -EAGAIN) /* a registry is being moved: the next pass will tell */
        tell(b, s, r);
    sweep_done(b, s);
    sweep_look_at_kernel(s);
    return true;
}

void sweep_done(struct broker *b, struct sweep *s)
{
    if (s->entries_done)
        orphans_end(&b->table, &s->scan);
    s->entries_done = false;
    s->entry = 0;
}
