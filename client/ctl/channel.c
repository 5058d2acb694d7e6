/* SPDX-License-Identifier: MIT */
#include "channel.h"

#include <poll.h>
#include <sys/signalfd.h>

int channel_fail(const struct ctl *ctl, const char *name, int r)
{
    int code = ctl_fail(ctl, name, r);

    return r == -EPROTO ? CTL_FAILED : code;
}

int channel_signals(void)
{
    sigset_t wanted;

    sigemptyset(&wanted);
    ctl_add_unless_ignored(&wanted, SIGINT);
    ctl_add_unless_ignored(&wanted, SIGTERM);
    sigprocmask(SIG_BLOCK, &wanted, NULL);

    int fd = signalfd(-1, &wanted, SFD_CLOEXEC);

    return fd < 0 ? -errno : fd;
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
