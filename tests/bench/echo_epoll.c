/* SPDX-License-Identifier: MIT */
/* echo_epoll --socket PATH [--ready-fd N]: the least that a server on epoll can do. */
#include <sys/epoll.h>
#include <sys/socket.h>

#include "echo.h"

static void watch(int epfd, int fd, void *data)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = data};

    if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
        bench_die("epoll_ctl: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    const char *path = bench_text(argc, argv, "--socket");

    if (!path)
        bench_die("usage: echo_epoll --socket PATH [--ready-fd N]");

    int epfd = epoll_create1(EPOLL_CLOEXEC);
    int listener = bench_listen(path, (int)bench_option(argc, argv, "--ready-fd", -1));

    watch(epfd, listener, NULL);
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epfd, events, ARRAY_LEN(events), -1);

        for (int i = 0; i < n; i++) {
            struct echo *e = events[i].data.ptr;

            if (!e) {
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (fd < 0 || !(e = calloc(1, sizeof(*e))))
                    continue;
                e->fd = fd;
                watch(epfd, fd, e);
            } else if (!echo_serve(e)) {
                close(e->fd);
                free(e);
            }
        }
    }
}
