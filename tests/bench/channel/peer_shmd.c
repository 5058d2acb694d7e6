/* SPDX-License-Identifier: MIT */
/* shmd's ring in a mapping of its own: no broker takes part. In place; by 16; copying; in
 * place, in pieces. */
#include "loops.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ring_reader.h"
#include "ring_writer.h"

struct channel {
    const struct peer *peer;
    struct setup setup;
    struct ring ring;
    uint64_t bytes;
    void *segment;
    struct ring_writer w;
    struct ring_reader r;
    struct deadline deadline;
    void *buffer;
    void *room;
    const void *at; /* of what was received, of `length` */
    uint32_t length;
    bool is_writer;
    int batch, done;
};

static void *make(const struct peer *p, const struct setup *s)
{
    struct channel *c = calloc(1, sizeof(*c));
    struct ring_options o = {.max_message = (uint32_t)s->size, .slots = 8};

    if (!c)
        peer_die("shmd");
    for (o.messages = 1; o.messages < 1u << 20; o.messages++) { /* the largest within the room */
        struct ring_options more = o;

        more.messages++;
        if (ring_segment_size(&more) > s->room + (64u << 10))
            break;
    }
    c->peer = p;
    c->setup = *s;
    c->batch = p->batch;
    c->bytes = ring_segment_size(&o);
    c->segment = mmap(NULL, c->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->segment == MAP_FAILED || ring_format(c->segment, c->bytes, &o) < 0 ||
        ring_init(&c->ring, c->segment, c->bytes) < 0)
        peer_die("shmd");
    memset(c->ring.data, 0, c->ring.size);
    ring_take_slot(&c->ring, 0, 1, MEMBER_WRITER, 1, 1);
    for (int i = 0; i < s->readers; i++)
        ring_take_slot(&c->ring, (uint32_t)i + 1, (uint32_t)i + 2, MEMBER_READER, 1, 1);
    c->deadline.timeout_ms = s->mode == YIELD ? 0 : -1;
    if (posix_memalign(&c->buffer, 64, s->size + 64) != 0)
        peer_die("shmd");
    memset(c->buffer, 0, s->size);
    return c;
}

static inline int checked(int r)
{
    if (__builtin_expect(r < 0 && r != -ETIMEDOUT, 0)) {
        errno = -r;
        peer_die("shmd");
    }
    return r;
}

static void writer(void *p)
{
    struct channel *c = p;

    checked(ring_writer_start(&c->w, &c->ring, 0, 1, NULL));
    c->is_writer = true;
    c->w.wait.always = c->setup.mode != BLOCK;
    c->deadline.timeout_ms = -1;
}

static void reader(void *p, int number)
{
    struct channel *c = p;

    checked(ring_reader_start(&c->r, &c->ring, number + 1, (uint32_t)number + 2, -1, NULL));
    c->r.wait.always = c->setup.mode != BLOCK;
}

static void *reserve(void *p)
{
    struct channel *c = p;

    if (c->batch > 1 && c->done == 0)
        ring_hold_back(&c->w);
    checked(ring_reserve(&c->w, (uint32_t)c->setup.size, &c->room, &c->deadline));
    return c->room;
}

static void commit(void *p)
{
    struct channel *c = p;

    ring_commit(&c->w, (uint32_t)c->setup.size);
    if (c->batch > 1 && ++c->done == c->batch) {
        ring_publish(&c->w);
        c->done = 0;
    }
}

static void *reserve_copy(void *p)
{
    return ((struct channel *)p)->buffer;
}

static void commit_copy(void *p)
{
    struct channel *c = p;

    checked(ring_send(&c->w, c->buffer, (uint32_t)c->setup.size, &c->deadline));
}

static const void *receive(void *p)
{
    struct channel *c = p;

    while (checked(ring_peek(&c->r, &c->at, &c->length, &c->deadline)) <= 0)
        sched_yield();
    return c->at;
}

static const void *receive_copy(void *p)
{
    struct channel *c = p;
    const uint32_t size = (uint32_t)c->setup.size;

    while (checked(ring_recv(&c->r, c->buffer, size, &c->length, &c->deadline)) <= 0)
        sched_yield();
    return c->buffer;
}

static void progress(void *p, size_t there)
{
    struct channel *c = p;

    ring_progress(&c->w, (uint32_t)there);
}

static const void *begun(void *p, size_t *there)
{
    struct channel *c = p;
    const void *at = NULL;
    uint32_t length, some = 0;

    checked(ring_peek_begun(&c->r, &at, &length, &some, &c->deadline));
    *there = some;
    return at;
}

static size_t more(void *p, size_t had)
{
    struct channel *c = p;
    uint32_t there = (uint32_t)had;

    checked(ring_peek_more(&c->r, &there, &c->deadline));
    return there;
}

static void release(void *p)
{
    struct channel *c = p;

    if (++c->done >= c->batch) {
        ring_release(&c->r);
        c->done = 0;
    }
}

static void release_copy(void *p)
{
    (void)p;
}

static void end(void *p)
{
    struct channel *c = p;

    if (c->is_writer)
        ring_writer_close(&c->w);
    else
        ring_reader_leave(&c->r);
}

static void destroy(void *p)
{
    struct channel *c = p;

    munmap(c->segment, c->bytes);
    free(c->buffer);
    free(c);
}

#define CALLS                                                                                      \
    .modes = 1 << POLL | 1 << YIELD | 1 << BLOCK, .same_core = true, .many = true, .make = make,   \
    .writer = writer, .reader = reader, .close = end, .destroy = destroy
#define IN_PLACE                                                                                   \
    .reserve = reserve, .commit = commit, .receive = receive, .release = release

LOOPS(peer_shmd);
LOOPS(peer_shmd_16);
LOOPS(peer_shmd_copy);
LOOPS(peer_shmd_pieces);

const struct peer peer_shmd = {.name = "shmd", .loops = &peer_shmd_loops, .batch = 1, CALLS, IN_PLACE};
const struct peer peer_shmd_16 = {.name = "shmd/16", .loops = &peer_shmd_16_loops, .batch = 16, CALLS, IN_PLACE};
const struct peer peer_shmd_copy = {
    .name = "shmd/copy", .loops = &peer_shmd_copy_loops, .batch = 1, CALLS, .reserve = reserve_copy, .commit = commit_copy,
    .receive = receive_copy, .release = release_copy};
const struct peer peer_shmd_pieces = {
    .name = "shmd/pieces", .loops = &peer_shmd_pieces_loops, .batch = 1, CALLS, IN_PLACE, .progress = progress, .begun = begun, .more = more};
