/* SPDX-License-Identifier: MIT */
/* Waking readers, and whether a fence after each message or the readers' membarrier is cheaper. */
#include "ring_publish.h"

/* Readers sleep, or cannot say so. */
static void wake(struct ring_writer *w)
{
    struct ring_header *h = w->ring.header;
    uint32_t asleep = atomic_exchange(&h->readers_asleep, 0), blind = ring_load(&h->blind);

    ring_stored();
    if (!asleep && !blind)
        return;
    ring_note_cpu(&h->writer_cpu);
    w->woken++;
    ring_store(&h->wakes, ++w->wakes);
    ring_ring(&h->bell);
    if ((asleep & ASLEEP_POLL || blind >= RING_POLLED) && w->hooks.poke &&
        !w->hooks.poke(w->hooks.data)) /* with the next message, then */
        atomic_fetch_or(&h->readers_asleep, ASLEEP_POLL);
}

/* Do readers sleep most of the time? Then a fence here is cheaper than their membarrier. */
static void weigh(struct ring_writer *w)
{
    struct ring_header *h = w->ring.header;

    if (w->woken > 32)
        w->sleepy = true;
    else if (w->woken < 8)
        w->sleepy = false;
    w->woken = 0;
    w->weigh_in = RING_WEIGHED;

    bool fencing = w->sleepy || w->must_fence;

    if (fencing == w->fencing)
        return;
    w->fencing = fencing;
    ring_store_release(&h->fencing, fencing);
    if (!fencing) {
        ring_fence();
        if (ring_load(&h->readers_asleep))
            wake(w);
    }
}

int ring_doorbell_seldom(struct ring_writer *w)
{
    const struct ring_header *h = w->ring.header;

    if (ring_load(&h->readers_asleep) | ring_load(&h->blind))
        wake(w);
    if (w->weigh_in == 0)
        weigh(w);
    return 0;
}
