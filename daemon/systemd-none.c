/* SPDX-License-Identifier: MIT */
#include "systemd.h"

#include <errno.h>
#include <stddef.h>

bool systemd_listens(void)
{
    return false;
}

uint64_t systemd_watchdog_us(void)
{
    return 0;
}

void systemd_ready(const char *status)
{
    (void)status;
}

void systemd_reloading(void)
{
}

void systemd_stopping(void)
{
}

void systemd_alive(const char *status)
{
    (void)status;
}

int systemd_socket(char error[SYSTEMD_ERROR_MAX])
{
    (void)error;
    return -ENOENT;
}

int systemd_journal(const struct iovec *fields, int n)
{
    (void)fields;
    (void)n;
    return -ENOTCONN;
}
