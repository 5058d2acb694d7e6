/* SPDX-License-Identifier: MIT */
/* The command line of shmd. */
#pragma once

#include <stdbool.h>

struct options {
    const char *config; /* NULL: not named */
    const char *socket; /* NULL: as configured */
    int log_level;      /* -1: as configured */
    int idle_exit;      /* seconds; -1: never */
    int ready_fd;       /* -1: none */
    bool user;
    bool check_config;
};

/* Returns -1 to go on, else the status to exit with (after --help, --version, wrong usage). */
int options_parse(struct options *o, int argc, char **argv);
