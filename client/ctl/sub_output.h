/* SPDX-License-Identifier: MIT */
/* Bytes to standard output, so that a signal ends the wait for whoever reads them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct output {
    char *bytes;
    size_t used, room;
    size_t step; /* written at once: what a pipe that has room takes without blocking */
    int signals;
};

int output_open(struct output *o, int signals);
void output_close(struct output *o);
int output_put(struct output *o, const void *bytes, size_t n);

/* 0; CHANNEL_STOPPED; a negative errno. */
int output_flush(struct output *o);

/* What to print of a message: its bytes, those that steer a terminal as \xNN. */
int output_visible(struct output *o, const unsigned char *bytes, size_t n);

/* As a JSON object on a line. */
int output_json(struct output *o, uint64_t sequence, const unsigned char *bytes, size_t n,
                uint64_t lost);
