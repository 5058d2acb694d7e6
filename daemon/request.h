/* SPDX-License-Identifier: MIT */
/* One request on its way through dispatch, ops and policy: none of them sees a socket. */
#pragma once

#include <string.h>

#include "broker.h"
#include "protocol.h"
#include "util.h"

/* A handler's verdicts: 0, a negative errno (its sentence stands in the reply), or this. */
enum { REQUEST_E_LATER = 1 }; /* the reply comes when what is waited for has come */

struct request {
    struct broker *broker;
    struct caller *caller;
    const void *body; /* of exactly the size that the opcode has */
    const char
        *text; /* what follows it: `text_size` bytes, a multiple of 8, the last of them a NUL */
    uint32_t text_size;
    void *reply;      /* room of WIRE_FRAME_MAX less the header */
    uint32_t reply_size;
    uint32_t serial;
};

/* Put a refusal's sentence into the reply; returns `error`. */
int request_fail(struct request *rq, int error, const char *fmt, ...) SHMD_PRINTF(3, 4);

/* Room for a reply, zeroed. */
void *request_reply(struct request *rq, size_t size);

/* Put a name of `size` bytes, NULs and all, behind the reply. */
static inline void request_reply_name(struct request *rq, const char *name, uint32_t size)
{
    memcpy((char *)rq->reply + rq->reply_size, name, size);
    rq->reply_size += size;
}
