/* SPDX-License-Identifier: MIT */
#include "move.h"

#include <string.h>

#include "failpoint.h"
#include "layout.h"
#include "log.h"

static uint32_t count(const struct layout *l)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < l->capacity; i++)
        n += reg_word_state(layout_word(l, i)) != REG_FREE;
    return n;
}

/* All but what is derived. The pid is of the daemon that died: roll-backs go by it. */
static void copy(const struct layout *from, struct reg_header *to)
{
    const struct reg_header *old = from->header;
    struct reg_entry *entry = (struct reg_entry *)(void *)((char *)(to + 1) +
                                                           to->buckets * sizeof(uint32_t));
    uint32_t n = 0;

    to->hash_seed = old->hash_seed;
    to->generation = old->generation;
    to->daemon_pid = old->daemon_pid;
    to->daemon_uid = old->daemon_uid;
    to->next_instance = old->next_instance;
    to->next_role = old->next_role;
    for (uint32_t i = 0; i < from->capacity; i++) {
        if (reg_word_state(layout_word(from, i)) == REG_FREE)
            continue;
        layout_entry(from, i, &entry[n++]);
        failpoint();
    }
}

int move_registry(const struct sysv_ops *sysv, const char *socket, uint32_t capacity,
                  struct located *l, char error[LOCATE_ERROR_MAX])
{
    struct layout old;
    struct located new;
    int r = layout_open(&old, l->segment, l->size);

    if (r < 0 || (old.version == REG_LAYOUT && old.capacity == capacity))
        return r;

    uint32_t used = count(&old);

    if (used > capacity) {
        log_warning("capacity = %u: the registry holds %u segments and stays at %u", capacity, used,
                    old.capacity);
        capacity = old.capacity;
        if (old.version == REG_LAYOUT)
            return 0;
    }
    r = locate_make(sysv, socket, capacity, old.header->epoch + 1, &new, error);
    if (r < 0 && old.version == REG_LAYOUT) {
        log_warning("capacity = %u: %s; the registry stays at %u", capacity, error, old.capacity);
        return 0;
    }
    if (r < 0)
        return r;
    copy(&old, new.segment);
    locate_finish(&new);
    if (old.version != REG_LAYOUT)
        log_notice(
            "the registry of an earlier shmd (layout %u) was moved to layout %u: %u segments",
            old.version, (unsigned)REG_LAYOUT, used);
    locate_retire(sysv, l);
    *l = new;
    return 0;
}
