/* SPDX-License-Identifier: MIT */
/* All that shmd and systemd(1) say to each other. Without libsystemd: nothing (systemd-none.c). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define SYSTEMD_ERROR_MAX 256

/* Does a service manager want to hear of us? */
bool systemd_listens(void);

/* Within how many microseconds it wants to hear systemd_alive() each time; 0: never. */
uint64_t systemd_watchdog_us(void);

/* `status` is a line for "systemctl status". */
void systemd_ready(const char *status);
void systemd_reloading(void);
void systemd_stopping(void);
void systemd_alive(const char *status);

/*
 * The listening socket that was passed to us, with FD_CLOEXEC set; -ENOENT where none was. Other
 * errors, with a sentence: more than one, or something else than a listening Unix stream socket.
 */
int systemd_socket(char error[SYSTEMD_ERROR_MAX]);

/*
 * A record of fields ("NAME=value"). Nothing is done, and shmd never waits: -ENOTCONN where stderr
 * is no journal, -EAGAIN where journald has stopped reading.
 */
int systemd_journal(const struct iovec *fields, int n);
