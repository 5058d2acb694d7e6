/* SPDX-License-Identifier: MIT */
/* The command line of shm_write and shm_read, and their exit codes: those of shmctl-client. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MESSAGE_SIZE_MAX (512u << 20)

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NO_BROKER = 5,
    EXIT_TIMEOUT = 6,
};

struct options {
    const char *program;
    const char *socket; /* NULL: as libshmd finds it */
    const char *name;
    const char *file;   /* writer: NULL: letters; "-": stdin */
    bool user;          /* talk to the private broker, and start it where none runs */
    bool keep;          /* do not remove the channel */
    int timeout_ms;     /* of each wait for the other side; -1: none */
    uint64_t count;     /* 0: as many as there are */
    uint32_t size;      /* writer: bytes of a message */
};

/* True: go on; false: end with *code (after --help, --version or a usage error). */
bool options_parse(struct options *o, const char *program, bool writer, int argc, char **argv,
                   int *code);
