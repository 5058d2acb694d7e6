/* SPDX-License-Identifier: MIT */
/*
 * The table of what is attached through a handle: what disconnecting has to detach, and which
 * leases a new connection has to announce again. Leases are announced by shmid: it cannot recur
 * while the segment is attached, whatever became of the name meanwhile.
 */
#include "handle.h"

#include <string.h>

#define ROWS_FIRST 8u
#define ROWS_MAX 65535u
#define BATCH 32

struct attach_frame {
    struct wire_header header;
    struct wire_attach body;
};

static uint32_t row_of(uint32_t number)
{
    return number & ROWS_MAX;
}

static void free_row(struct shmd *s, struct holding *row)
{
    *row = (struct holding){.number = row->number, .next_free = s->row_free};
    s->row_free = row_of(row->number);
}

static int grow(struct shmd *s)
{
    uint32_t size = s->rows_size ? MIN(s->rows_size * 2, ROWS_MAX) : ROWS_FIRST;

    if (size == s->rows_size)
        return handle_fail(s, -EDQUOT, "a handle holds at most %u attachments", ROWS_MAX);

    struct holding *rows = realloc(s->rows, size * sizeof(*rows));

    if (!rows)
        return handle_fail(s, -ENOMEM, "out of memory");
    s->rows = rows;
    while (s->rows_size < size) {
        struct holding *row = &rows[s->rows_size++];

        row->number = s->rows_size;
        free_row(s, row);
    }
    return 0;
}

int lease_reserve(struct shmd *s, struct holding **ret)
{
    if (s->row_free == 0) {
        int r = grow(s);

        if (r < 0)
            return r;
    }

    struct holding *row = &s->rows[s->row_free - 1];

    s->row_free = row->next_free;
    row->number += ROWS_MAX + 1;
    *ret = row;
    return 0;
}

void lease_release(struct shmd *s, struct holding *row)
{
    if (row->leased)
        s->leases--;
    free_row(s, row);
}

/* An announcement gets no reply, so the limit is kept here; the broker's may have been raised. */
int lease_check_limit(struct shmd *s, struct deadline *d)
{
    struct wire_info info;

    if (s->leases < s->max_leases)
        return 0;

    int r = call(s, &(struct question){.op = OP_INFO}, &info, sizeof(info), d);

    if (r < 0)
        return r;
    s->max_leases = info.max_leases;
    if (s->leases < s->max_leases)
        return 0;
    return handle_fail(s, -EDQUOT, "the broker's limit of %u attachments of one connection "
                       "(leases_per_connection) is reached", s->max_leases);
}

static void announcement(struct shmd *s, const struct holding *row, struct attach_frame *ret)
{
    *ret = (struct attach_frame){
        .header = link_header(s, OP_ATTACH, FRAME_NOREPLY, sizeof(ret->body)),
        .body = {
            .target = {.by = BY_SHMID, .id = row->shmid},
            .lease = row->number,
            .flags = row->read_only ? ATTACH_READ_ONLY : 0,
        },
    };
}

int lease_announce(struct shmd *s, struct holding *row, struct deadline *d)
{
    struct attach_frame frame;

    int r = s->fd < 0 ? LINK_LOST : lease_flush(s, d);

    if (r != 0)
        return r;
    announcement(s, row, &frame);
    return link_send(s, &frame, sizeof(frame), d);
}

int lease_announce_all(struct shmd *s, struct deadline *d)
{
    struct attach_frame batch[BATCH];
    size_t n = 0;
    int r = 0;

    for (uint32_t i = 0; i < s->rows_size && r == 0; i++) {
        if (!s->rows[i].address || !s->rows[i].leased)
            continue;
        announcement(s, &s->rows[i], &batch[n++]);
        if (n == BATCH) {
            r = link_send(s, batch, sizeof(batch), d);
            n = 0;
        }
    }
    return r == 0 && n > 0 ? link_send(s, batch, n * sizeof(batch[0]), d) : r;
}

static int send_end(struct shmd *s, const struct holding *row, struct deadline *d)
{
    struct {
        struct wire_header header;
        struct wire_detach body;
    } frame = {
        .header = link_header(s, OP_DETACH, FRAME_NOREPLY, sizeof(frame.body)),
        .body = {.lease = row->number},
    };

    return link_send(s, &frame, sizeof(frame), d);
}

void lease_end(struct shmd *s, struct holding *row)
{
    struct deadline at_once = {.timeout_ms = 0};

    row->address = NULL;
    if (!row->leased || s->fd < 0) {
        lease_release(s, row);
        return;
    }

    int r = send_end(s, row, &at_once);

    if (r < 0 && s->fd >= 0) {
        row->ending = true;
        s->ending++;
        return;
    }
    lease_release(s, row);
    if (r == LINK_LOST)
        link_close(s);
}

int lease_flush(struct shmd *s, struct deadline *d)
{
    for (uint32_t i = 0; i < s->rows_size && s->ending > 0; i++) {
        if (!s->rows[i].ending)
            continue;

        int r = send_end(s, &s->rows[i], d);

        if (r != 0)
            return r;
        s->ending--;
        lease_release(s, &s->rows[i]);
    }
    return 0;
}

void lease_forget_ended(struct shmd *s)
{
    for (uint32_t i = 0; i < s->rows_size && s->ending > 0; i++)
        if (s->rows[i].ending) {
            s->ending--;
            lease_release(s, &s->rows[i]);
        }
}

struct holding *lease_find(struct shmd *s, uint32_t number, const void *address)
{
    if (number != 0) {
        uint32_t row = row_of(number);
        struct holding *h = row > 0 && row <= s->rows_size ? &s->rows[row - 1] : NULL;

        return h && h->number == number && h->address == address ? h : NULL;
    }
    for (uint32_t i = 0; i < s->rows_size; i++)
        if (!s->rows[i].leased && s->rows[i].address == address)
            return &s->rows[i];
    return NULL;
}
