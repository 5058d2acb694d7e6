/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

static const char *log_name = "shmd";
static int log_max = LOG_INFO;
static bool log_prefix;
static unsigned long log_lost;

/* systemd tells device and inode of the journal's stream, so that a redirected stderr is known. */
static bool stderr_is_journal(void)
{
    const char *env = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;

    return env && sscanf(env, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
           st.st_dev == dev && st.st_ino == ino;
}

void log_open(const char *name)
{
    log_name = name;
    log_prefix = stderr_is_journal();
}

bool log_is_journal(void)
{
    return log_prefix;
}

void log_set_level(int level)
{
    log_max = level;
}

int log_level_from_text(const char *text)
{
    static const struct {
        const char *text;
        int level;
    } levels[] = {
        {"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
        {"info", LOG_INFO}, {"debug", LOG_DEBUG},
    };

    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (strcmp(text, levels[i].text) == 0)
            return levels[i].level;
    return -EINVAL;
}

bool log_wants(int level)
{
    return level <= log_max;
}

/* A reader that has stopped reading must not stop who logs: lines are dropped, and counted. */
static bool would_block(void)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

    return poll(&p, 1, 0) == 0;
}

/*
 * In one write, so that lines of several processes do not mix; and not by dprintf, which asks
 * whether a character device is a terminal: a system call that the unit does not allow.
 */
static void write_line(int level, const char *text)
{
    char lost[64] = "", prefix[16], line[LINE_MAX];
    int n;

    if (log_lost > 0)
        snprintf(lost, sizeof(lost), " (%lu lines before this one were lost)", log_lost);
    log_lost = 0;
    snprintf(prefix, sizeof(prefix), "<%d>", level);
    n = snprintf(line, sizeof(line), "%s%s%s%s\n", log_prefix ? prefix : log_name,
                 log_prefix ? "" : ": ", text, lost);
    if (n < 0 || write(STDERR_FILENO, line, MIN((size_t)n, sizeof(line) - 1)) < 0)
        log_lost++;
}

void log_line(int level, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    int saved = errno;

    if (!log_wants(level))
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (!would_block())
        write_line(level, text);
    else
        log_lost++;
    errno = saved;
}
