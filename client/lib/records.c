/* SPDX-License-Identifier: MIT */
/* The calls whose answers are records, page by page: list, who, fsck. */
#include "handle.h"

#include <string.h>

_Static_assert((int)SHMD_HOLDER_READ_ONLY == HOLDER_READ_ONLY &&
                   (int)SHMD_HOLDER_CREATOR == HOLDER_CREATOR, "flags of holders differ");
_Static_assert((int)SHMD_PROBLEM_GONE == PROBLEM_GONE &&
                   (int)SHMD_PROBLEM_CHANGED == PROBLEM_CHANGED &&
                   (int)SHMD_PROBLEM_UNPINNED == PROBLEM_UNPINNED &&
                   (int)SHMD_PROBLEM_ORPHAN == PROBLEM_ORPHAN,
               "kinds of problems differ");

/* Where an answer goes: a struct that ends with the number of the records behind it. */
struct page {
    void *head;
    size_t head_size;
    void *records;
    size_t record_size;
    uint32_t max;
};

/* To the caller's own memory: `each` may use the handle, and so its buffer, meanwhile. */
static int fetch(struct shmd *s, const struct question *q, const struct page *page, uint32_t *count,
                 struct deadline *d)
{
    struct reply reply;
    int r = call_reply(s, q, &reply, NULL, d);

    if (r < 0)
        return r;
    if (reply.header.status < 0)
        return reply_take(s, &reply, NULL, 0);
    if (reply.size < page->head_size)
        return link_broken(s, "a page of the wrong size");
    memcpy(page->head, reply.body, page->head_size);
    memcpy(count, reply.body + page->head_size - sizeof(*count), sizeof(*count));

    size_t bytes = *count * page->record_size;

    if (*count > page->max || reply.size != page->head_size + bytes)
        return link_broken(s, "a page of the wrong size");
    memcpy(page->records, reply.body + page->head_size, bytes);
    return 0;
}

/* Else a walk might never end. */
static int check_cursor(struct shmd *s, uint32_t before, uint32_t after)
{
    return after != 0 && after <= before ? link_broken(s, "pages without an end") : 0;
}

EXPORT int shmd_list(struct shmd *s, int (*each)(const struct shmd_status *status, void *data),
                     void *data, int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    struct wire_list request = {0};
    struct wire_segment records[WIRE_PAGE_RECORDS];
    struct wire_page head;
    const struct page page = {&head, sizeof(head), records, sizeof(records[0]), WIRE_PAGE_RECORDS};
    struct shmd_status status;
    uint32_t count;

    do {
        int r =
            fetch(s, &(struct question){.op = OP_LIST, .body = &request, .size = sizeof(request)},
                  &page, &count, &d);

        if (r == 0)
            r = check_cursor(s, request.cursor, head.cursor);
        for (uint32_t i = 0; r == 0 && i < count; i++) {
            segment_status(&records[i], &status);
            r = each(&status, data);
        }
        if (r != 0)
            return r;
        request.cursor = head.cursor;
    } while (request.cursor != 0);
    return 0;
}

EXPORT int shmd_who(struct shmd *s, const char *name,
                    int (*each)(const struct shmd_holder *holder, void *data), void *data,
                    int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    struct wire_who request = {0};
    struct wire_holder records[WIRE_PAGE_HOLDERS];
    struct wire_holders head;
    const struct page page = {&head, sizeof(head), records, sizeof(records[0]), WIRE_PAGE_HOLDERS};
    struct target target;
    uint32_t count;
    int r = handle_target(s, name, &target);

    if (r < 0)
        return r;
    request.target = target.wire;
    do {
        r = fetch(s, &(struct question){OP_WHO, &request, sizeof(request), target.name}, &page,
                  &count, &d);
        if (r == 0)
            r = check_cursor(s, request.cursor, head.cursor);
        for (uint32_t i = 0; r == 0 && i < count; i++)
            r = each(&(struct shmd_holder){
                         .pid = (pid_t)records[i].pid, .uid = records[i].uid,
                         .gid = records[i].gid, .flags = records[i].flags,
                         .since = records[i].since}, data);
        if (r != 0)
            return r;
        request.cursor = head.cursor;
    } while (request.cursor != 0);
    return 0;
}

static void problem_of_wire(const struct wire_problem *wire, struct shmd_problem *ret)
{
    *ret = (struct shmd_problem){
        .kind = wire->kind,
        .mended = wire->mended != 0,
        .segment = {.size = wire->size, .shmid = wire->shmid, .key = wire->key},
        .nattch = wire->nattch,
    };
    segment_name(ret->segment.name, wire->name, sizeof(wire->name));
}

EXPORT int shmd_fsck(struct shmd *s, unsigned flags, struct shmd_fsck *ret,
                     int (*each)(const struct shmd_problem *problem, void *data), void *data,
                     int timeout_ms)
{
    struct deadline d = {.timeout_ms = timeout_ms};
    const struct wire_fsck request = {.flags = flags & SHMD_REPAIR ? FSCK_REPAIR : 0};
    struct wire_problem records[WIRE_REPORT_PROBLEMS];
    struct wire_report head;
    const struct page page = {&head, sizeof(head), records, sizeof(records[0]),
                              WIRE_REPORT_PROBLEMS};
    struct shmd_problem problem;
    uint32_t count;

    if (flags & ~(unsigned)SHMD_REPAIR)
        return handle_fail(s, -EINVAL, "unknown flags for checking: %#x", flags);

    int r = fetch(s, &(struct question){.op = OP_FSCK, .body = &request, .size = sizeof(request)},
                  &page, &count, &d);

    for (uint32_t i = 0; r == 0 && each && i < count; i++) {
        problem_of_wire(&records[i], &problem);
        r = each(&problem, data);
    }
    if (r == 0 && ret)
        *ret = (struct shmd_fsck){head.checked, head.problems, head.mended};
    return r;
}
