/* SPDX-License-Identifier: MIT */
#include "systemd.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "log.h"
#include "util.h"

bool systemd_listens(void)
{
    return getenv("NOTIFY_SOCKET") != NULL;
}

uint64_t systemd_watchdog_us(void)
{
    uint64_t us = 0;

    return sd_watchdog_enabled(0, &us) > 0 ? us : 0;
}

void systemd_ready(const char *status)
{
    sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void systemd_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
               (long long)clock_ns(CLOCK_MONOTONIC) / 1000);
}

void systemd_stopping(void)
{
    sd_notify(0, "STOPPING=1\nSTATUS=Ending; segments stay");
}

void systemd_alive(const char *status)
{
    sd_notifyf(0, "WATCHDOG=1\nSTATUS=%s", status);
}

static void free_names(char **names)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
}

int systemd_socket(char error[SYSTEMD_ERROR_MAX])
{
    char **names = NULL;
    int n = sd_listen_fds_with_names(1, &names), r;

    if (n < 0) {
        snprintf(error, SYSTEMD_ERROR_MAX, "the sockets that were passed: %s", strerror(-n));
        r = n;
    } else if (n == 0) {
        r = -ENOENT;
    } else if (n > 1) {
        snprintf(error, SYSTEMD_ERROR_MAX, "%d sockets were passed (%.64s, %.64s%s): shmd serves "
                 "one", n, names[0], names[1], n > 2 ? ", ..." : "");
        r = -EINVAL;
    } else if (sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, NULL, 0) <= 0) {
        snprintf(error, SYSTEMD_ERROR_MAX, "what was passed (%.64s) is no listening Unix stream "
                 "socket: a socket unit of shmd has one ListenStream=, with a path", names[0]);
        r = -ENOTSOCK;
    } else {
        r = SD_LISTEN_FDS_START;
    }
    free_names(names);
    return r;
}

/*
 * sd-journal sends without a limit of time: it would stop shmd where journald has stopped reading.
 * A socket that is connected to journald's tells whether there is room. It is made anew each time,
 * as journald may have been started again. Another process may take the last room between this look
 * and the sending; that can happen once while journald hangs, and the watchdog is there for it.
 */
static int journal_room(void)
{
    const struct sockaddr_un to = {.sun_family = AF_UNIX,
                                   .sun_path = "/run/systemd/journal/socket"};
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
        return -errno;
    return poll(&p, 1, 0) > 0 && p.revents & POLLOUT ? 0 : -EAGAIN;
}

int systemd_journal(const struct iovec *fields, int n)
{
    int r = log_is_journal() ? journal_room() : -ENOTCONN;

    return r < 0 ? r : sd_journal_sendv(fields, n);
}
