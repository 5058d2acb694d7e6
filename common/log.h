/* SPDX-License-Identifier: MIT */
/* Lines for people on stderr. With prefixes on, each starts with "<N>", which the journal reads. */
#pragma once

#include <stdbool.h>
#include <syslog.h>

#include "util.h"

/* Start with `name` ("shmd"); prefixes are on where stderr is the journal's (JOURNAL_STREAM). */
void log_open(const char *name);
bool log_is_journal(void);

/* Drop what is less urgent than `level` (LOG_ERR to LOG_DEBUG). */
void log_set_level(int level);
int log_level_from_text(const char *text); /* error, warning, notice, info, debug; or -EINVAL */
bool log_wants(int level);

void log_line(int level, const char *fmt, ...) SHMD_PRINTF(2, 3);

#define log_error(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
