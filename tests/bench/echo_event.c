/* SPDX-License-Identifier: MIT */
/* echo_event --socket PATH [--ready-fd N]: as echo_epoll, in shmd's shape, on libevent's events. */
#include <event2/event.h>
#include <sys/socket.h>

#include "echo.h"

struct client {
    struct event *event;
    struct echo echo;
};

static void on_readable(evutil_socket_t fd, short what, void *data)
{
    struct client *c = data;

    (void)what;
    if (echo_serve(&c->echo))
        return;
    event_free(c->event);
    close(fd);
    free(c);
}

static void on_connection(evutil_socket_t listener, short what, void *data)
{
    struct event_base *base = data;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *c = fd >= 0 ? calloc(1, sizeof(*c)) : NULL;

    (void)what;
    if (!c)
        return;
    c->echo.fd = fd;
    c->event = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
    if (!c->event || event_add(c->event, NULL) < 0)
        bench_die("event_add: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    const char *path = bench_text(argc, argv, "--socket");

    if (!path)
        bench_die("usage: echo_event --socket PATH [--ready-fd N]");

    struct event_base *base = event_base_new();
    int listener = bench_listen(path, (int)bench_option(argc, argv, "--ready-fd", -1));
    struct event *accepting =
        event_new(base, listener, EV_READ | EV_PERSIST, on_connection, base);

    if (!accepting || event_add(accepting, NULL) < 0)
        bench_die("event_add: %s", strerror(errno));
    return event_base_dispatch(base) < 0;
}
