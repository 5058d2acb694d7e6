/* SPDX-License-Identifier: MIT */
#include "dispatch.h"

#include <stdarg.h>
#include <string.h>

#include "lease.h"
#include "log.h"
#include "ops.h"
#include "tell.h"
#include "watch.h"

/* It only ever goes the other way. */
static int op_event(struct request *rq)
{
    return request_fail(rq, -EPROTO, "an event is nothing that shmd can be asked");
}

static const struct {
    uint16_t size;       /* of the struct */
    bool text;           /* a text may follow */
    bool before_hello;   /* allowed before the handshake */
    bool may_be_silent;  /* FRAME_NOREPLY makes sense */
    int (*handle)(struct request *rq);
} table[OP_END] = {
    [OP_HELLO] = {sizeof(struct wire_hello), false, true, false, op_hello},
    [OP_PING] = {0, false, false, false, op_ping},
    [OP_CREATE] = {sizeof(struct wire_create), true, false, false, op_create},
    [OP_OPEN] = {sizeof(struct wire_open), true, false, false, op_open},
    [OP_ATTACH] = {sizeof(struct wire_attach), true, false, true, op_attach},
    [OP_DETACH] = {sizeof(struct wire_detach), false, false, true, op_detach},
    [OP_STAT] = {sizeof(struct wire_target), true, false, false, op_stat},
    [OP_SET] = {sizeof(struct wire_set), true, false, false, op_set},
    [OP_REMOVE] = {sizeof(struct wire_target), true, false, false, op_remove},
    [OP_LIST] = {sizeof(struct wire_list), false, false, false, op_list},
    [OP_INFO] = {0, false, false, false, op_info},
    [OP_WHO] = {sizeof(struct wire_who), true, false, false, op_who},
    [OP_WATCH] = {sizeof(struct wire_watch), true, false, false, op_watch},
    [OP_EVENT] = {0, false, false, false, op_event},
    [OP_FSCK] = {sizeof(struct wire_fsck), false, false, false, op_fsck},
    [OP_CHANNEL] = {sizeof(struct wire_channel), true, false, false, op_channel},
    [OP_JOIN] = {sizeof(struct wire_join), false, false, false, op_join},
    [OP_POLLFD] = {sizeof(struct wire_pollfd), false, false, false, op_pollfd},
    [OP_POKE] = {sizeof(struct wire_poke), false, false, true, op_poke},
    [OP_DISBAND] = {sizeof(struct wire_target), true, false, false, op_disband},
};

int request_fail(struct request *rq, int error, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(rq->reply, WIRE_TEXT_MAX, fmt, args);
    va_end(args);
    n = n < 0 ? 0 : MIN(n, (int)WIRE_TEXT_MAX - 1);
    rq->reply_size = wire_text_size((size_t)n);
    memset((char *)rq->reply + n, 0, rq->reply_size - (uint32_t)n);
    return error;
}

void *request_reply(struct request *rq, size_t size)
{
    rq->reply_size = (uint32_t)size;
    return memset(rq->reply, 0, size);
}

/* What is wrong with the frame itself; after it nobody knows where the next one starts. */
static int check_frame(struct request *rq, const struct wire_header *h)
{
    if (h->size < sizeof(*h) || h->size > WIRE_REQUEST_MAX)
        return request_fail(rq, -EPROTO, "a request of %u bytes: %zu to %u are possible", h->size,
                            sizeof(*h), WIRE_REQUEST_MAX);
    if (h->opcode == 0 || h->opcode >= OP_END)
        return request_fail(rq, -EPROTO, "opcode %u is unknown to shmd " SHMD_VERSION, h->opcode);

    uint32_t least = (uint32_t)sizeof(*h) + table[h->opcode].size;
    uint32_t most = least + (table[h->opcode].text ? NAME_SIZE : 0);

    if (h->size < least || h->size > most || h->size % 8 != 0)
        return request_fail(rq, -EPROTO, "a request of opcode %u has %u to %u bytes in eights, not "
                            "%u", h->opcode, least, most, h->size);
    if (h->flags & ~FRAME_KNOWN || h->status != 0 ||
        (h->flags & FRAME_NOREPLY && !table[h->opcode].may_be_silent))
        return request_fail(rq, -EPROTO, "flags 0x%x, status %d: not in a request of opcode %u",
                            h->flags, h->status, h->opcode);
    if (!rq->caller->ready && !table[h->opcode].before_hello)
        return request_fail(rq, -EPROTO, "the first request is the handshake");
    return 0;
}

static int check_rate(struct request *rq)
{
    uint32_t limit = rq->broker->config.requests_per_second;
    struct user *user = rq->caller->user;

    if (limit == 0)
        return 0;
    user_tick(user, rq->broker->now);
    if (user->requests++ < limit)
        return 0;
    return request_fail(rq, -EDQUOT, "user %u has made %u requests within a second, as many as "
                        "requests_per_second allows", (unsigned)rq->caller->uid, limit);
}

static void finish(const struct request *rq, const struct wire_header *h, int status, uint8_t *out,
                   size_t *out_len)
{
    struct wire_header reply = {
        .size = (uint32_t)sizeof(reply) + rq->reply_size,
        .opcode = h->opcode,
        .serial = h->serial,
        .status = status,
    };

    memcpy(out, &reply, sizeof(reply));
    *out_len = reply.size;
}

enum dispatch_result dispatch(struct broker *b, struct caller *c, const uint8_t *in, size_t len,
                              size_t *used, uint8_t *out, size_t *out_len)
{
    struct wire_header h;
    struct request rq = {
        .broker = b, .caller = c, .body = in + sizeof(h), .reply = out + sizeof(h)};

    *used = *out_len = 0;
    if (len < sizeof(h))
        return DISPATCH_MORE;
    memcpy(&h, in, sizeof(h));
    rq.serial = h.serial;
    b->requests++;

    int r = check_frame(&rq, &h);

    if (r < 0) {
        b->refused++;
        log_debug("uid %u pid %d: malformed frame: %s", (unsigned)c->uid, c->pid, (char *)rq.reply);
        finish(&rq, &h, r, out, out_len);
        return DISPATCH_CLOSE;
    }
    if (len < h.size) {
        b->requests--;
        return DISPATCH_MORE;
    }
    *used = h.size;
    rq.text = (const char *)in + sizeof(h) + table[h.opcode].size;
    rq.text_size = h.size - (uint32_t)sizeof(h) - table[h.opcode].size;
    if (rq.text_size > 0 && rq.text[rq.text_size - 1] != 0)
        r = request_fail(&rq, -EINVAL, "a name without its end");
    else
        r = check_rate(&rq);
    if (r == 0)
        r = table[h.opcode].handle(&rq);
    if (r < 0) {
        b->refused++;
        tell_refused(&rq, r);
    }
    if (r != REQUEST_E_LATER && !(h.flags & FRAME_NOREPLY))
        finish(&rq, &h, r, out, out_len);
    return r == -EPROTO ? DISPATCH_CLOSE : DISPATCH_DONE;
}
