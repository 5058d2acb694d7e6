/* SPDX-License-Identifier: MIT */
/* Messages out of standard input: its lines, or blocks of a fixed size. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct input {
    char *bytes;
    size_t from, to, room;
    size_t seen;  /* up to here no end of a line is */
    size_t block; /* bytes of a message; 0: lines */
    size_t most;
    bool ended;
};

/* `most`: bytes of the longest message. */
int input_open(struct input *in, size_t block, size_t most);
void input_close(struct input *in);

/* The next whole message that is there: 1; 0: none; -EMSGSIZE. It stays until input_read(). */
int input_next(struct input *in, const char **message, size_t *length);

/* Read what there is, once input_next() has given 0. Blocks. 0, or a negative errno. */
int input_read(struct input *in);
