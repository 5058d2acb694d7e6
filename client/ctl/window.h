/* SPDX-License-Identifier: MIT */
/* A part of a segment, attached: what write, read and dump work on. */
#pragma once

#include "ctl.h"

struct window {
    struct shmd_attachment attachment;
    const char *name; /* of the segment, as the user wrote it */
    unsigned char *at;
    uint64_t offset, length;
};

enum { WINDOW_OFFSET = OPTION_LONG, WINDOW_LENGTH };

/*
 * Read the command line, connect, attach and check the part against the size. CTL_DONE, or what to
 * exit with: the error has then been told and nothing is attached.
 */
int window_open(struct window *w, struct ctl *ctl, int argc, char **argv, unsigned flags);
int window_close(struct window *w, struct ctl *ctl, int code);
