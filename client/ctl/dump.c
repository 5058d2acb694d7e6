/* SPDX-License-Identifier: MIT */
/* dump: a segment's bytes in hex, laid out as by hexdump -C. */
#include <string.h>

#include "window.h"

#define WIDTH 16

static void print_line(uint64_t offset, const unsigned char *bytes, size_t n)
{
    char text[WIDTH + 1] = "";

    printf("%08llx ", (unsigned long long)offset);
    for (size_t i = 0; i < WIDTH; i++) {
        if (i == WIDTH / 2)
            putchar(' ');
        if (i >= n) {
            fputs("   ", stdout);
            continue;
        }
        printf(" %02x", bytes[i]);
        text[i] = bytes[i] >= 0x20 && bytes[i] < 0x7f ? (char)bytes[i] : '.';
    }
    printf("  |%s|\n", text);
}

static void dump(const struct window *w)
{
    unsigned char line[WIDTH], before[WIDTH];
    bool folded = false;

    for (uint64_t done = 0; done < w->length && !ferror(stdout); done += WIDTH) {
        size_t n = (size_t)MIN(w->length - done, (uint64_t)WIDTH);

        /* A copy: others may write meanwhile, and hex and text shall tell the same. */
        memcpy(line, w->at + done, n);

        bool same = done > 0 && memcmp(line, before, n) == 0;

        if (!same)
            print_line(w->offset + done, line, n);
        else if (!folded)
            puts("*");
        folded = same;
        memcpy(before, line, n);
    }
    if (w->length)
        printf("%08llx\n", (unsigned long long)(w->offset + w->length));
}

static const struct ctl_option dump_options[] = {
    {"offset", WINDOW_OFFSET, "OFFSET", "begin at this byte of the segment (default: 0)"},
    {"length", WINDOW_LENGTH, "LENGTH", "so many bytes (default: all to its end)"},
    {0},
};

static int run_dump(struct ctl *ctl, int argc, char **argv)
{
    struct window w;
    int code = window_open(&w, ctl, argc, argv, SHMD_READ_ONLY);

    if (code)
        return code;
    dump(&w);
    return window_close(&w, ctl, CTL_DONE);
}

const struct command command_dump = {
    .name = "dump",
    .synopsis = "SEGMENT [--offset OFFSET] [--length LENGTH]",
    .help = "Print a segment's bytes in hex and text",
    .details = "Laid out as by hexdump -C: lines that repeat the one before are printed as one *.",
    .options = dump_options,
    .operands_min = 1,
    .operands_max = 1,
    .run = run_dump,
};
