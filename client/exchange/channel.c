/* SPDX-License-Identifier: MIT */
#include "channel.h"

#include <errno.h>
#include <string.h>
#include <sys/shm.h>

#include "util.h"

#define RING_BYTES_MAX (64ull << 20) /* larger messages get fewer slots, but two */
#define LOOK_MS 2000 /* with no peer: look this often whether somebody removed the segment */

struct slot {
    uint32_t length;
    unsigned char bytes[];
};

static uint64_t slot_stride(uint32_t slot_size)
{
    return ((uint64_t)sizeof(struct slot) + slot_size + 7) & ~7ull;
}

uint64_t channel_bytes(uint32_t slot_size, uint32_t slot_count)
{
    return sizeof(struct channel_header) + slot_count * slot_stride(slot_size);
}

uint32_t channel_slots(uint32_t slot_size, uint64_t messages)
{
    uint32_t slots = 1;

    while (slots < CHANNEL_SLOTS_MAX && (!messages || slots < messages) &&
           (slots < 2 || 2 * slots * slot_stride(slot_size) <= RING_BYTES_MAX))
        slots *= 2;
    return slots;
}

static struct slot *slot_at(const struct channel *c, uint32_t cursor)
{
    uint64_t at = sizeof(struct channel_header) +
                  (cursor & (c->slot_count - 1)) * slot_stride(c->slot_size);

    return (struct slot *)(void *)((char *)c->header + at);
}

int channel_bind(struct channel *c, void *address, uint64_t size, int shmid)
{
    *c = (struct channel){.header = address, .size = size, .shmid = shmid};
    if (size < sizeof(struct channel_header))
        return -EPROTO;
    switch (channel_state(c)) {
    case CHANNEL_NEW:
    case CHANNEL_READY:
    case CHANNEL_CLOSED:
    case CHANNEL_DONE:
    case CHANNEL_DROPPED:
        return 0;
    default:
        return -EPROTO;
    }
}

bool channel_step(struct channel *c, uint32_t from, uint32_t to)
{
    if (!atomic_compare_exchange_strong(&c->header->state, &from, to))
        return false;
    word_wake(&c->header->state);
    return true;
}

bool channel_removed(const struct channel *c)
{
    struct shmid_ds ds;

    return shmctl(c->shmid, IPC_STAT, &ds) == 0 && (ds.shm_perm.mode & SHM_DEST);
}

uint32_t channel_unread(const struct channel *c)
{
    uint32_t read = atomic_load(&c->header->read);

    return atomic_load(&c->header->written) - read;
}

/* While nobody is at the other end, no kernel tells of a removal: end the wait in time to look. */
static int wait_lonely(const struct channel *c, const struct word_is *words, size_t count,
                       int64_t deadline)
{
    int64_t look = deadline_in(LOOK_MS);
    bool last = deadline >= 0 && deadline <= look;
    int r = words_wait(words, count, last ? deadline : look);

    if (r != -ETIMEDOUT)
        return r;
    if (channel_removed(c))
        return -EIDRM;
    return last ? -ETIMEDOUT : 0;
}

int channel_start(struct channel *c, uint32_t slot_size, uint32_t slots)
{
    struct channel_header *h = c->header;
    int r = role_claim(&c->role, &h->writer);

    if (r < 0)
        return r;
    while (slots && channel_bytes(slot_size, slots) > c->size)
        slots /= 2;
    if (channel_state(c) != CHANNEL_NEW)
        r = -ESTALE;
    else if (atomic_load(&h->written) || atomic_load(&h->read))
        r = -EPROTO;
    else if (!slots)
        r = -ENOSPC;
    if (r < 0) {
        role_release(&c->role);
        return r;
    }
    c->slot_size = h->slot_size = slot_size;
    c->slot_count = h->slot_count = slots;
    if (channel_step(c, CHANNEL_NEW, CHANNEL_READY))
        return 0;
    role_release(&c->role);
    return -ESTALE;
}

static int wait_room(struct channel *c, int64_t deadline)
{
    struct channel_header *h = c->header;
    int r;

    atomic_store(&h->writer_waits, 1);
    do {
        uint32_t reader = atomic_load(&h->reader), read = atomic_load(&h->read);
        struct word_is words[] = {{&h->read, read}, {&h->reader, reader}};

        if (c->cursor - read != c->slot_count) {
            r = 0;
            break;
        }
        r = role_held(reader) ? words_wait(words, 2, deadline) : wait_lonely(c, words, 2, deadline);
    } while (r == 0);
    atomic_store(&h->writer_waits, 0);
    return r;
}

int channel_write(struct channel *c, const void *bytes, uint32_t length, int64_t deadline)
{
    struct channel_header *h = c->header;
    uint32_t used = c->cursor - atomic_load(&h->read);

    if (length > c->slot_size)
        return -EINVAL;
    if (used == c->slot_count) {
        int r = wait_room(c, deadline);

        if (r < 0)
            return r;
        used = c->cursor - atomic_load(&h->read);
    }
    if (used >= c->slot_count)
        return -EPROTO;

    struct slot *slot = slot_at(c, c->cursor);

    slot->length = length;
    memcpy(slot->bytes, bytes, length);
    atomic_store(&h->written, ++c->cursor);
    if (atomic_load(&h->reader_waits))
        word_wake(&h->written);
    return 0;
}

bool channel_close(struct channel *c)
{
    struct channel_header *h = c->header;

    channel_step(c, CHANNEL_READY, CHANNEL_CLOSED);
    role_release(&c->role);

    /* The last reader may have left before it could know of the end: see channel_leave(). */
    uint32_t left = atomic_load(&h->left);

    return !role_held(atomic_load(&h->reader)) && left != LEFT_NOT && channel_unread(c) == 0 &&
           channel_step(c, CHANNEL_CLOSED, CHANNEL_DONE) && left == LEFT_REMOVE;
}

int channel_join(struct channel *c)
{
    struct channel_header *h = c->header;
    int r = role_claim(&c->role, &h->reader);

    if (r < 0)
        return r;
    atomic_store(&h->left, LEFT_NOT);
    atomic_store(&h->reader_waits, 0);
    c->cursor = atomic_load(&h->read);
    return 0;
}

static int load_geometry(struct channel *c)
{
    uint32_t size = *(volatile uint32_t *)&c->header->slot_size;
    uint32_t count = *(volatile uint32_t *)&c->header->slot_count;

    if (!size || !count || count > CHANNEL_SLOTS_MAX || (count & (count - 1)) ||
        channel_bytes(size, count) > c->size)
        return -EPROTO;
    c->slot_size = size;
    c->slot_count = count;
    return 0;
}

int channel_wait_ready(struct channel *c, int64_t deadline)
{
    struct channel_header *h = c->header;

    for (;;) {
        uint32_t writer = atomic_load(&h->writer), state = channel_state(c);
        struct word_is words[] = {{&h->state, state}, {&h->writer, writer}};

        if (state == CHANNEL_READY || state == CHANNEL_CLOSED)
            return load_geometry(c);
        if (state == CHANNEL_DONE || state == CHANNEL_DROPPED)
            return -ESTALE;
        if (state != CHANNEL_NEW)
            return -EPROTO;
        if (writer & FUTEX_OWNER_DIED)
            return -EOWNERDEAD;

        int r = role_held(writer) ? words_wait(words, 2, deadline)
                                  : wait_lonely(c, words, 2, deadline);

        if (r < 0)
            return r == -EIDRM ? -ESTALE : r;
    }
}

/* Is there a message, an end, or nothing yet (-EAGAIN)? *words is what to wait on then. */
static int look(const struct channel *c, struct word_is words[2])
{
    struct channel_header *h = c->header;
    uint32_t writer = atomic_load(&h->writer);
    uint32_t state = channel_state(c);
    uint32_t written = atomic_load(&h->written); /* last: see channel.h */
    uint32_t unread = written - c->cursor;

    words[0] = (struct word_is){&h->written, written};
    words[1] = (struct word_is){&h->writer, writer};
    if (unread > c->slot_count)
        return -EPROTO;
    if (unread)
        return 1;
    if (state == CHANNEL_CLOSED || state == CHANNEL_DONE)
        return 0;
    return state == CHANNEL_READY && role_held(writer) ? -EAGAIN : -EOWNERDEAD;
}

int channel_peek(struct channel *c, void *bytes, uint32_t *length, int64_t deadline)
{
    struct channel_header *h = c->header;
    struct word_is words[2];
    int r = look(c, words);

    if (r == -EAGAIN) {
        atomic_store(&h->reader_waits, 1);
        while ((r = look(c, words)) == -EAGAIN) {
            int waited = words_wait(words, 2, deadline);

            if (waited < 0) {
                r = waited;
                break;
            }
        }
        atomic_store(&h->reader_waits, 0);
    }
    if (r <= 0)
        return r;

    const struct slot *slot = slot_at(c, c->cursor);
    uint32_t n = *(const volatile uint32_t *)&slot->length;

    if (n > c->slot_size)
        return -EPROTO;
    memcpy(bytes, slot->bytes, n);
    *length = n;
    return 1;
}

void channel_take(struct channel *c)
{
    struct channel_header *h = c->header;

    atomic_store(&h->read, ++c->cursor);
    if (atomic_load(&h->writer_waits))
        word_wake(&h->read);
}

bool channel_leave(struct channel *c, bool keep)
{
    struct channel_header *h = c->header;

    /* Either this sees the writer's CLOSED, or its channel_close() sees that the role is free. */
    atomic_store(&h->left, keep ? LEFT_KEEP : LEFT_REMOVE);
    role_release(&c->role);
    return channel_state(c) == CHANNEL_CLOSED && channel_unread(c) == 0 &&
           channel_step(c, CHANNEL_CLOSED, CHANNEL_DONE) && !keep;
}

int channel_wait_done(struct channel *c, uint32_t reader, int64_t deadline)
{
    struct channel_header *h = c->header;
    struct word_is words[] = {{&h->state, CHANNEL_CLOSED}, {&h->reader, reader}};

    return words_wait(words, 2, deadline);
}
