/* SPDX-License-Identifier: MIT */
/* The connection, and what failures of the library mean to whoever called the program. */
#include <string.h>

#include "ctl.h"

static int exit_code(int r)
{
    switch (r) {
    case -ENOENT:
    case -EIDRM:
        return CTL_NO_SEGMENT;
    case -EPERM:
    case -EACCES:
        return CTL_NOT_PERMITTED;
    case -ECONNREFUSED:
    case -ECONNRESET:
    case -EPIPE:
    case -EPROTO:
    case -EPROTONOSUPPORT:
    case -EXDEV:
        return CTL_NO_BROKER;
    case -ETIMEDOUT:
        return CTL_TIMED_OUT;
    default:
        return CTL_FAILED;
    }
}

static void tell(const struct ctl *ctl, const char *operand, const char *sentence)
{
    if (operand)
        log_error("%s: %s: %s", ctl->command->name, operand, sentence);
    else
        log_error("%s: %s", ctl->command->name, sentence);
}

int ctl_connect(struct ctl *ctl)
{
    int r = shmd_connect(&ctl->shmd, ctl->socket, ctl->timeout_ms);

    if (r >= 0)
        return CTL_DONE;
    ctl_fail(ctl, NULL, r);
    /* What is missing here is the socket. */
    return r == -ENOENT ? CTL_NO_BROKER : exit_code(r);
}

int ctl_fail(const struct ctl *ctl, const char *operand, int r)
{
    const char *sentence = ctl->shmd ? shmd_error(ctl->shmd) : NULL;

    tell(ctl, operand, sentence && *sentence ? sentence : strerror(-r));
    return exit_code(r);
}

int ctl_fail_errno(const struct ctl *ctl, const char *what, int r)
{
    tell(ctl, what, strerror(-r));
    return CTL_FAILED;
}
