/* SPDX-License-Identifier: MIT */
/*
 * What both programs do with the broker and the channel.
 *
 * The channel holds what nobody has read (SHMD_HOLD) and has one writer and one reader at a time.
 * shmd says who that is, who has died, and whether somebody else is a member when it is to be
 * removed. So nobody removes what another one has entered, and who enters what was removed is told.
 *
 * A channel that is over, its writer through or dead and all of it read, is removed by whoever
 * meets it. Its last user is the reader that takes its end; or, where the reader left before
 * (--count), the last to go of both: each looks after it has closed.
 */
#pragma once

#include <stdint.h>

#include "options.h"
#include "shmd-channel.h"

struct session {
    struct options options;
    struct shmd *shmd;
    struct shmd_segment segment;       /* the channel's */
    struct shmd_channel_status status; /* as last looked at */
    struct shmd_writer *writer;
    struct shmd_reader *reader;
};

/* All that give an int return EXIT_OK, or the exit code after a line on stderr. */
int session_connect(struct session *s);

/* Become the writer of a channel with nothing in it. */
int session_open_writer(struct session *s);

/* Wait for a channel that is not over yet, and become its reader. */
int session_open_reader(struct session *s);

/* Remove the very channel of this session, unless others are in it. It may be gone already. */
int session_remove(struct session *s);

/* Leave the channel; remove it if it is over. */
int session_remove_if_over(struct session *s);

/* Look at the channel: 0, -EIDRM (it was removed), -errno. */
int session_look(struct session *s);

/* Tell about a failed call. */
int session_explain(const struct session *s, int error, const char *doing);

void session_close(struct session *s);

/* Flush standard output. */
int session_flush(void);
