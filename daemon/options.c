/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>

#include "log.h"
#include "parse.h"

static const char help[] =
    "Usage: shmd [OPTION]...\n"
    "Broker System V shared memory segments over a Unix socket, in the foreground.\n"
    "\n"
    "  -c, --config FILE      read FILE instead of " SHMD_CONFIG_FILE "\n"
    "  -s, --socket PATH      serve PATH instead of the configured socket\n"
    "  -u, --user             be the private broker of one user; reads no file unless --config\n"
    "  -l, --log-level LEVEL  error, warning, notice, info or debug\n"
    "      --check-config     check the configuration and exit\n"
    "      --idle-exit SECS   end, and leave nothing, once without clients and segments for SECS\n"
    "      --ready-fd FD      write a newline to FD when serving\n"
    "  -h, --help             show this help\n"
    "  -V, --version          show the version\n"
    "\n"
    "SIGTERM and SIGINT end it, segments stay; SIGHUP reads the configuration again.\n"
    "Exit status: 0 ended as asked, 1 failed, 2 wrong usage, 3 another shmd serves the socket.\n"
    "See shmd(8), shmd.conf(5), and shmd(7) for an overview.\n";

static int wrong(const char *what, const char *value)
{
    log_error("--%s %s: not possible; see shmd --help", what, value);
    return 2;
}

int options_parse(struct options *o, int argc, char **argv)
{
    enum { CHECK = 256, IDLE, READY };
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},    {"socket", required_argument, NULL, 's'},
        {"user", no_argument, NULL, 'u'},            {"log-level", required_argument, NULL, 'l'},
        {"check-config", no_argument, NULL, CHECK},  {"idle-exit", required_argument, NULL, IDLE},
        {"ready-fd", required_argument, NULL, READY}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},         {0},
    };
    uint64_t v;
    int opt;

    *o = (struct options){.log_level = -1, .idle_exit = -1, .ready_fd = -1};
    while ((opt = getopt_long(argc, argv, "c:s:ul:hV", longs, NULL)) != -1) {
        switch (opt) {
        case 'c':
            o->config = optarg;
            break;
        case 's':
            o->socket = optarg;
            break;
        case 'u':
            o->user = true;
            break;
        case 'l':
            o->log_level = log_level_from_text(optarg);
            if (o->log_level < 0)
                return wrong("log-level", optarg);
            break;
        case CHECK:
            o->check_config = true;
            break;
        case IDLE:
            if (parse_u64(optarg, 86400, &v) < 0)
                return wrong("idle-exit", optarg);
            o->idle_exit = (int)v;
            break;
        case READY:
            if (parse_u64(optarg, INT_MAX, &v) < 0 || fcntl((int)v, F_SETFD, FD_CLOEXEC) < 0)
                return wrong("ready-fd", optarg);
            o->ready_fd = (int)v;
            break;
        case 'h':
            fputs(help, stdout);
            return fflush(stdout) ? 1 : 0;
        case 'V':
            puts("shmd " SHMD_VERSION);
            return fflush(stdout) ? 1 : 0;
        default:
            fputs("See shmd --help.\n", stderr);
            return 2;
        }
    }
    if (optind < argc) {
        log_error("%s: shmd takes options only; see shmd --help", argv[optind]);
        return 2;
    }
    return -1;
}
