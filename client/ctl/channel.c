/* SPDX-License-Identifier: MIT */
#include "channel.h"

#include <poll.h>
#include <sys/signalfd.h>

int channel_fail(const struct ctl *ctl, const char *name, int r)
{
    int code = ctl_fail(ctl, name, r);

    return r == -EPROTO ? CTL_FAILED : code;
}

static sigset_t ending(void)
{
    sigset_t set;

    sigemptyset(&set);
    ctl_add_unless_ignored(&set, SIGINT);
    ctl_add_unless_ignored(&set, SIGTERM);
    return set;
}

int channel_signals(void)
{
    const sigset_t set = ending();

    sigprocmask(SIG_BLOCK, &set, NULL);

    int fd = signalfd(-1, &set, SFD_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

void channel_signals_let(void)
{
    const sigset_t set = ending();

    sigprocmask(SIG_UNBLOCK, &set, NULL);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

int channel_wait(int signals, int fd, short events, int64_t ns)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = fd, .events = events}};
    const struct timespec t = {ns / NS_PER_SECOND, ns % NS_PER_SECOND};
    int n;

    do
        n = ppoll(fds, 2, ns < 0 ? NULL : &t, NULL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (fds[0].revents)
        return CHANNEL_STOPPED;
    return n == 0 ? -ETIMEDOUT : 0;
}

int64_t channel_until(const struct ctl *ctl)
{
    if (!ctl->timeout_given || ctl->timeout_ms < 0)
        return -1;
    return clock_ns(CLOCK_MONOTONIC) + ctl->timeout_ms * (NS_PER_SECOND / 1000);
}

int channel_wait_until(int signals, int fd, int64_t until)
{
    int64_t left = until < 0 ? -1 : MAX(until - clock_ns(CLOCK_MONOTONIC), (int64_t)0);

    return channel_wait(signals, fd, POLLIN, left);
}

int channel_code(const struct ctl *ctl, const char *what, int r)
{
    if (r == CHANNEL_STOPPED)
        return CHANNEL_STOP;
    return r < 0 ? ctl_fail_errno(ctl, what, r) : CTL_DONE;
}
