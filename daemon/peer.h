/* SPDX-License-Identifier: MIT */
/*
 * One connection. Requests are read into the server's buffer and answered into its other one, then
 * sent at once; what a full socket leaves over waits in an evbuffer, and until it is gone nothing
 * more is read. So a peer that never reads costs SERVER_OUT + SERVER_IN bytes, and time of nobody.
 */
#pragma once

#include <sys/queue.h>

#include "caller.h"
#include "protocol.h"

struct server;
struct event;
struct evbuffer;

struct peer {
    struct server *server;
    struct caller caller;
    struct event *readable, *writable;
    struct event *death; /* of its process: readable pidfd; NULL until it holds something */
    struct evbuffer *left; /* not sent yet; NULL until the socket was full */
    uint8_t *held;         /* read, but not a whole frame or not served yet */
    size_t held_len;
    struct wire_header passing; /* the answer that `pass` goes with, once all before it is sent */
    int pass;                   /* descriptor; -1 */
    unsigned passed;            /* descriptors since the other side had last read all */
    int fd;
    TAILQ_ENTRY(peer) link;
};

/* Takes `fd` and `caller` over when it returns 0. -ENOMEM. */
int peer_new(struct server *s, int fd, struct caller *caller);
void peer_free(struct peer *p);

/* Send to a peer at once: before the answers that it is being given just now. */
void peer_send(struct caller *c, const void *frame, size_t size);

/* Send to a peer in its next turn, unless PEER_BACKLOG bytes would be waiting for it then:
 * false. */
#define PEER_BACKLOG 65536u
bool peer_push(struct caller *c, const void *frame, size_t size);

/* Has a peer read enough of what it was sent to be given another descriptor? Those on their way
 * count against what shmd's user may have. */
bool peer_may_pass(struct caller *c);
