/* SPDX-License-Identifier: MIT */
/* The listening side: accepts, counts, and ends when nobody needs a private broker any more. */
#pragma once

#include <sys/queue.h>

#include "broker.h"
#include "peer.h"

struct event;
struct event_base;
struct evconnlistener;

#define SERVER_IN 16384u  /* bytes taken from one connection at a time */
#define SERVER_OUT 65536u /* bytes of replies to one connection at a time */

struct server {
    struct event_base *base;
    struct broker *broker;
    struct evconnlistener *listener;
    struct event *retry; /* accepts again, after a turn or when the descriptors had run out */
    unsigned accepted;
    struct event *idle;  /* NULL: never end by itself */
    int idle_ms;
    struct event *due;   /* something in the broker's own time */
    struct event *left;  /* the next look at members that joined an earlier shmd */
    struct event *sweep; /* the next slice of looking at everything, or the next pass */
    TAILQ_HEAD(, peer) peers;

    /* One connection is served at a time, so one pair of buffers serves all. */
    uint8_t in[SERVER_IN] __attribute__((aligned(8)));
    uint8_t out[SERVER_OUT] __attribute__((aligned(8)));
    size_t out_len;
};

/* Serve the listening socket `fd`, which stays the caller's. -ENOMEM. */
int server_init(struct server *s, struct event_base *base, struct broker *b, int fd);
void server_done(struct server *s);

/* End the loop once no client and no segment has been there for `seconds`. -ENOMEM. */
int server_exit_when_idle(struct server *s, int seconds);

/* The interval of the sweep has changed. */
void server_reloaded(struct server *s);

/* A peer has gone. */
void server_peer_gone(struct server *s);
