/* SPDX-License-Identifier: MIT */
/* What both programs do with the broker: connect, find the channel, remove it. */
#pragma once

#include "channel.h"
#include "options.h"
#include "shmd.h"

struct session {
    struct options options;
    struct shmd *shmd;
    struct shmd_attachment at;
    struct channel channel;
};

/* All return EXIT_OK, or the exit code after a line on stderr. */
int session_connect(struct session *s);

/* Attach a channel, a new one or one that nobody has begun, and become its writer. */
int session_open_writer(struct session *s);

/* Wait for a channel that is not over yet, and become its reader. */
int session_open_reader(struct session *s);

/* Remove the very segment that is attached; that it is gone already is as good. */
int session_remove(struct session *s);

/* Tell about a failed channel call. */
int session_explain(const struct session *s, int error, const char *doing);

void session_close(struct session *s);

/* Flush standard output. */
int session_flush(void);
