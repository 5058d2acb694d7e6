/* SPDX-License-Identifier: MIT */
/* write and read: bytes between a segment and the standard streams, without a copy of our own. */
#include <sys/stat.h>

#include "window.h"

static int too_much(const struct window *w, const struct ctl *ctl, const char *so)
{
    log_error("%s: %s: the input is larger than the %llu bytes from offset %llu on: %s",
              ctl->command->name, w->name, (unsigned long long)w->length,
              (unsigned long long)w->offset, so);
    return CTL_FAILED;
}

/* A file tells its size before anything is overwritten. */
static bool file_is_larger(uint64_t room)
{
    struct stat st;
    off_t at = lseek(STDIN_FILENO, 0, SEEK_CUR);

    return fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode) && at >= 0 && st.st_size > at &&
           (uint64_t)(st.st_size - at) > room;
}

static int copy_in(const struct window *w, const struct ctl *ctl)
{
    uint64_t done = 0;
    unsigned char more;

    if (file_is_larger(w->length))
        return too_much(w, ctl, "nothing was written");
    for (;;) {
        bool full = done == w->length;
        ssize_t n = read(STDIN_FILENO, full ? &more : w->at + done,
                         full ? 1 : MIN(w->length - done, (uint64_t)1 << 30));

        if (n == 0)
            return CTL_DONE;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ctl_fail_errno(ctl, "standard input", -errno);
        if (full)
            return too_much(w, ctl, "they were written, the rest was not");
        done += (uint64_t)n;
    }
}

static const struct ctl_option write_options[] = {
    {"offset", WINDOW_OFFSET, "OFFSET", "begin at this byte of the segment (default: 0)"},
    {0},
};

static int run_write(struct ctl *ctl, int argc, char **argv)
{
    struct window w;
    int code = window_open(&w, ctl, argc, argv, 0);

    return code ? code : window_close(&w, ctl, copy_in(&w, ctl));
}

const struct command command_write = {
    .name = "write",
    .synopsis = "SEGMENT [--offset OFFSET] < FILE",
    .help = "Write standard input into a segment",
    .details = "Input that does not fit is an error: from a file nothing is then written, from a\n"
               "pipe what fits. What the input does not reach in the segment stays as it is.",
    .options = write_options,
    .operands_min = 1,
    .operands_max = 1,
    .run = run_write,
};

static int copy_out(const struct window *w, const struct ctl *ctl)
{
    for (uint64_t done = 0; done < w->length;) {
        ssize_t n = write(STDOUT_FILENO, w->at + done, MIN(w->length - done, (uint64_t)1 << 30));

        if (n >= 0)
            done += (uint64_t)n;
        else if (errno != EINTR)
            return ctl_fail_errno(ctl, "standard output", -errno);
    }
    return CTL_DONE;
}

static const struct ctl_option read_options[] = {
    {"offset", WINDOW_OFFSET, "OFFSET", "begin at this byte of the segment (default: 0)"},
    {"length", WINDOW_LENGTH, "LENGTH", "so many bytes (default: all to its end)"},
    {0},
};

static int run_read(struct ctl *ctl, int argc, char **argv)
{
    struct window w;
    int code = window_open(&w, ctl, argc, argv, SHMD_READ_ONLY);

    return code ? code : window_close(&w, ctl, copy_out(&w, ctl));
}

const struct command command_read = {
    .name = "read",
    .synopsis = "SEGMENT [--offset OFFSET] [--length LENGTH] > FILE",
    .help = "Write a segment's bytes to standard output",
    .options = read_options,
    .operands_min = 1,
    .operands_max = 1,
    .run = run_read,
};
