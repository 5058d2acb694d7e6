/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <getopt.h>
#include <string.h>

#include "log.h"
#include "parse.h"
#include "shmd.h"

#define LETTER_COUNT 5
#define LETTER_SIZE 1023

enum { OPT_NAME = 1, OPT_COUNT, OPT_SIZE, OPT_FILE, OPT_KEEP, OPT_TIMEOUT };

static const char help_head[] =
    "  -s, --socket PATH      socket of the broker\n"
    "  -u, --user             use the private broker of this user; start it where none runs\n"
    "      --name NAME        name of the channel (default: shm_demo)\n";
static const char help_writer[] =
    "      --count N          write at most N messages (default: 5; with --file: all)\n"
    "      --size BYTES       bytes of a message (default: 1023)\n"
    "      --file FILE        take the messages from FILE (\"-\": standard input)\n"
    "      --keep             do not remove the channel, if the last reader has left before\n";
static const char help_reader[] =
    "      --count N          stop after N messages\n"
    "      --keep             do not remove the channel\n";
static const char help_tail[] =
    "      --timeout SECONDS  wait no longer than this for the other side (default: none)\n"
    "  -V, --version          print the version\n"
    "  -h, --help             print this help\n";

static void print_help(const char *program, bool writer)
{
    printf("Usage: %s [OPTION]...\n%s\n\n%s%s%s", program,
           writer ? "Write messages into a shared memory segment that shmd brokers, for shm_read."
                  : "Read the messages that shm_write writes, then remove the segment.",
           help_head, writer ? help_writer : help_reader, help_tail);
}

static const struct option writer_options[] = {
    {"socket", required_argument, NULL, 's'},
    {"user", no_argument, NULL, 'u'},
    {"name", required_argument, NULL, OPT_NAME},
    {"count", required_argument, NULL, OPT_COUNT},
    {"size", required_argument, NULL, OPT_SIZE},
    {"file", required_argument, NULL, OPT_FILE},
    {"keep", no_argument, NULL, OPT_KEEP},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static const struct option reader_options[] = {
    {"socket", required_argument, NULL, 's'},
    {"user", no_argument, NULL, 'u'},
    {"name", required_argument, NULL, OPT_NAME},
    {"count", required_argument, NULL, OPT_COUNT},
    {"keep", no_argument, NULL, OPT_KEEP},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

/* NULL, or what is wrong with the option's value; "" where getopt has said so. */
static const char *take_value(struct options *o, int opt)
{
    uint64_t v;

    switch (opt) {
    case 's':
        o->socket = optarg;
        return *optarg ? NULL : "--socket: the path is empty";
    case 'u':
        o->user = true;
        return NULL;
    case OPT_NAME:
        o->name = optarg;
        return NULL;
    case OPT_KEEP:
        o->keep = true;
        return NULL;
    case OPT_FILE:
        o->file = optarg;
        return NULL;
    case OPT_COUNT:
        if (parse_u64(optarg, UINT64_MAX, &v) < 0 || !v)
            return "--count: not a number of 1 or more";
        o->count = v;
        return NULL;
    case OPT_SIZE:
        if (parse_size(optarg, &v) < 0 || !v || v > MESSAGE_SIZE_MAX)
            return "--size: not a number of bytes from 1 to 512MiB";
        o->size = (uint32_t)v;
        return NULL;
    case OPT_TIMEOUT:
        if (parse_timeout(optarg, &o->timeout_ms) < 0)
            return "--timeout: not a number of seconds";
        return NULL;
    default:
        return "";
    }
}

bool options_parse(struct options *o, const char *program, bool writer, int argc, char **argv,
                   int *code)
{
    const struct option *known = writer ? writer_options : reader_options;
    const char *wrong = NULL;
    int opt;

    *o = (struct options){
        .program = program, .name = "shm_demo", .timeout_ms = -1, .size = LETTER_SIZE};
    *code = EXIT_OK;
    while (!wrong && (opt = getopt_long(argc, argv, "s:uVh", known, NULL)) != -1) {
        if (opt == 'h' || opt == 'V') {
            if (opt == 'h')
                print_help(program, writer);
            else
                printf("%s %s\n", program, shmd_version());
            if (fflush(stdout) != 0)
                *code = EXIT_FAILED;
            return false;
        }
        wrong = take_value(o, opt);
    }
    if (!wrong && optind < argc)
        wrong = "it takes no arguments but options";
    if (!wrong && o->user && o->socket)
        wrong = "--user and --socket exclude each other";
    if (!wrong) {
        if (!o->count && writer && !o->file)
            o->count = LETTER_COUNT;
        return true;
    }
    if (*wrong)
        log_error("%s", wrong);
    dprintf(STDERR_FILENO, "Try \"%s --help\".\n", program);
    *code = EXIT_USAGE;
    return false;
}
