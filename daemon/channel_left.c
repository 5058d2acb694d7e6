/* SPDX-License-Identifier: MIT */
/* Members that joined an earlier shmd: found in their slots, and held while their process lives. */
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>

#include "broker.h"
#include "privilege.h"
#include "util.h"

#define LOOKS_A_TURN 64
#define UNSEEN_PASSES 10 /* that a process is held which no number of ours is of */
#define PAUSE_NS (NS_PER_SECOND / 500) /* between two turns, for the others */
/* Likewise, once all have been looked at: what is left then may be forged by the thousand, with the
 * numbers of processes that never end. */
#define LONG_PAUSE_NS (NS_PER_SECOND / 16)

static uint32_t load(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

/* All are woken, see that shmd has come anew, and announce themselves. Blind readers do so before
 * they sleep again, and are counted from nothing. */
void channel_scan(struct channel *ch)
{
    struct ring *r = &ch->ring;

    if (ch->scanned)
        return;
    ch->scanned = true;
    for (uint32_t i = 0; i < r->slots; i++) {
        uint32_t kind = load(&r->slot[i].kind);

        if (load(&r->slot[i].role) == 0)
            continue;
        bit_set(ch->left, i);
        if (kind == MEMBER_WRITER)
            bit_set(ch->writers, i);
    }
    atomic_store_explicit(&r->header->blind, 0, memory_order_relaxed);
    ring_new_epoch(r);
}

static bool has_ended(const struct broker *b, uint32_t pid, uint64_t start)
{
    if (pid == 0) /* in another pid namespace */
        return b->channels.pass > UNSEEN_PASSES;

    struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0), .events = POLLIN};

    if (p.fd < 0)
        return errno == ESRCH || errno == EINVAL; /* EINVAL: no process's number */

    bool ended = poll(&p, 1, 0) > 0;
    uint64_t now = ended ? 0 : process_start((pid_t)pid);

    close(p.fd);
    return ended || (start != 0 && now != 0 && now != start);
}

static void end_left(struct broker *b, struct channel *ch, uint32_t slot)
{
    bool writer = bit_is(ch->writers, slot);
    uint32_t role = load(&ch->ring.slot[slot].role);

    bit_clear(ch->left, slot);
    bit_clear(ch->writers, slot);
    ring_end(&ch->ring, slot, role, writer ? MEMBER_WRITER : MEMBER_READER);
    channel_ended(b, ch, writer ? JOIN_WRITER : JOIN_READER);
}

/* A handle joins one channel after the other: one that had got its role would have begun before it
 * joins again. Processes of other pid namespaces have no number here by which to know them apart. */
void channel_drop_lost(struct broker *b, const struct role *joining)
{
    struct channel *ch = joining->channel;
    uint32_t pid = (uint32_t)joining->caller->pid;

    if (pid == 0)
        return;
    for (uint32_t i = 0; i < ch->ring.slots && bit_first(ch->left) >= 0; i++) {
        const struct ring_slot *s = &ch->ring.slot[i];

        if (bit_is(ch->left, i) && load(&s->pid) == pid && load(&s->handle) == joining->handle &&
            load(&s->state) == SLOT_TAKEN)
            end_left(b, ch, i);
    }
}

/* Go on with one channel: what is left of `looks`. */
static int look(struct broker *b, struct channel *ch, int looks)
{
    while (looks > 0 && ch->next < ch->ring.slots) {
        uint32_t slot = ch->next++;
        const struct ring_slot *s = &ch->ring.slot[slot];

        if (!bit_is(ch->left, slot))
            continue;
        looks--;
        if (load(&s->state) == SLOT_LEFT || /* closed while there was no shmd to be told */
            has_ended(b, load(&s->pid), atomic_load_explicit(&s->start, memory_order_relaxed)))
            end_left(b, ch, slot);
    }
    return looks;
}

/* It has been looked at in this pass; it comes again as long as somebody is left. */
static void looked(struct broker *b, struct channel *ch)
{
    ch->next = 0;
    ch->pass = b->channels.pass;
    TAILQ_REMOVE(&b->channels.found, ch, link);
    ch->found = channel_has_left(b, ch);
    if (ch->found)
        TAILQ_INSERT_TAIL(&b->channels.found, ch, link);
    else
        channel_put(b, ch);
}

int64_t channels_run(struct broker *b)
{
    struct channels *all = &b->channels;
    struct channel *ch;
    int looks = LOOKS_A_TURN;

    while (looks > 0 && (ch = TAILQ_FIRST(&all->found)) && ch->pass != all->pass) {
        looks--;
        if (!ch->scanned && channel_find(b, ch))
            looks -= (int)ch->ring.slots / 64;
        if (ch->scanned)
            looks = look(b, ch, looks);
        if (!ch->scanned || ch->next >= ch->ring.slots)
            looked(b, ch);
    }
    channels_poke(b);
    ch = TAILQ_FIRST(&all->found);
    if (!ch)
        return 0;
    if (ch->pass != all->pass)
        return clock_ns(CLOCK_MONOTONIC) + (all->pass == 1 ? PAUSE_NS : LONG_PAUSE_NS);
    all->pass++;
    return clock_ns(CLOCK_MONOTONIC) + NS_PER_SECOND;
}
