/* SPDX-License-Identifier: MIT */
#include "pub_input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

#define ROOM ((size_t)64 << 10)

int input_open(struct input *in, size_t block, size_t most)
{
    /* A line that is too long is told by one byte more than would fit, and a newline is one. */
    size_t room = MAX(MAX(block, most) + 2, ROOM);

    *in = (struct input){.block = block, .most = most, .room = room, .bytes = malloc(room)};
    return in->bytes ? 0 : -ENOMEM;
}

void input_close(struct input *in)
{
    free(in->bytes);
    in->bytes = NULL;
}

static int take(struct input *in, size_t length, size_t skip, const char **message, size_t *ret)
{
    *message = in->bytes + in->from;
    *ret = length;
    in->from += length + skip;
    in->seen = in->from;
    return length > in->most ? -EMSGSIZE : 1;
}

int input_next(struct input *in, const char **message, size_t *length)
{
    size_t there = in->to - in->from;

    if (in->block) {
        if (there >= in->block)
            return take(in, in->block, 0, message, length);
    } else {
        const char *end = memchr(in->bytes + in->seen, '\n', in->to - in->seen);

        if (end)
            return take(in, (size_t)(end - in->bytes) - in->from, 1, message, length);
        in->seen = in->to;
        if (there > in->most)
            return -EMSGSIZE;
    }
    return in->ended && there ? take(in, there, 0, message, length) : 0;
}

int input_read(struct input *in)
{
    ssize_t n;

    memmove(in->bytes, in->bytes + in->from, in->to - in->from);
    in->to -= in->from;
    in->seen -= in->from;
    in->from = 0;
    do
        n = read(STDIN_FILENO, in->bytes + in->to, in->room - in->to);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    in->to += (size_t)n;
    in->ended = n == 0;
    return 0;
}
