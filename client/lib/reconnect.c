/* SPDX-License-Identifier: MIT */
/*
 * Connections: made once by shmd_connect(), and made again by any call that finds its own gone.
 * Calls are asked again over the new one; the broker knows a create that it has already done.
 */
#include "handle.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKOFF_MAX_MS 100
#define LOST_MAX 8 /* new connections in a row that may end before an answer */

static int wait_backoff(struct backoff *b, struct deadline *d)
{
    int left = deadline_left_ms(d);
    int wait = left < 0 ? b->wait_ms : MIN(left, b->wait_ms);

    b->wait_ms = b->wait_ms ? MIN(b->wait_ms * 2, BACKOFF_MAX_MS) : 1;
    if (wait > 0)
        poll(NULL, 0, wait);
    return left == 0 ? -ETIMEDOUT : 0;
}

static int dial_failed(struct shmd *s, int error)
{
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
        return handle_fail(s, -error, "no shmd serves %s; start it (systemctl start shmd), or "
                           "a private one (shmd --user)", s->socket);
    case EACCES:
        return handle_fail(s, -error, "%s is closed to you: join the group shmd-users (as root: "
                           "usermod -aG shmd-users LOGIN) and log in again", s->socket);
    default:
        return handle_fail(s, -error, "cannot connect to %s: %s", s->socket, strerror(error));
    }
}

/* A full backlog is -EAGAIN: the broker is there and will come to us. */
static int dial(struct shmd *s)
{
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (fd < 0)
        return handle_fail(s, -errno, "cannot make a socket: %s", strerror(errno));
    memcpy(address.sun_path, s->socket, sizeof(address.sun_path));
    while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        if (errno != EINTR)
            return dial_failed(s, errno);
    s->fd = STEAL_FD(fd);
    s->links++;
    return 0;
}

static int check_namespace(struct shmd *s, const struct wire_welcome *w)
{
    struct stat st;

    if (w->ipc_namespace == 0 || stat("/proc/self/ns/ipc", &st) < 0 ||
        st.st_ino == w->ipc_namespace)
        return 0;
    return handle_fail(s, -EXDEV, "shmd at %s lives in another IPC namespace: its segments cannot "
                       "be attached from here; run a shmd in this container, or share the host's "
                       "IPC namespace", s->socket);
}

static int take_welcome(struct shmd *s, const struct wire_welcome *w)
{
    if (w->magic != WIRE_MAGIC || !memchr(w->home, 0, sizeof(w->home)) ||
        !name_valid_namespace(w->home))
        return link_broken(s, "its welcome makes no sense");
    if (w->version != WIRE_VERSION)
        return handle_fail(s, -EPROTONOSUPPORT, "shmd at %s speaks version %u of the protocol, "
                           "this library version %d", s->socket, w->version, WIRE_VERSION);

    int r = check_namespace(s, w);

    if (r < 0)
        return r;
    memcpy(s->home, w->home, sizeof(s->home));
    s->daemon_uid = w->daemon_uid;
    return 0;
}

/* Greeting and limits in one exchange: both requests go out together. */
static int handshake(struct shmd *s, struct wire_welcome *w, struct deadline *d)
{
    struct {
        struct wire_header hello;
        struct wire_hello body;
        struct wire_header info;
    } out = {
        .hello = link_header(s, OP_HELLO, 0, sizeof(out.body)),
        .body = {.magic = WIRE_MAGIC, .version_min = WIRE_VERSION, .version_max = WIRE_VERSION},
    };
    struct wire_info info;
    struct reply reply;

    out.info = link_header(s, OP_INFO, 0, 0);

    /* Where the broker has hung up already, its reason may still be there to read. */
    int r = link_send(s, &out, sizeof(out), d);

    if (r < 0)
        return r;
    r = link_receive(s, &out.hello, &reply, d);
    if (r == 0)
        r = reply_take(s, &reply, w, sizeof(*w));
    if (r == 0)
        r = take_welcome(s, w);
    if (r == 0)
        r = link_receive(s, &out.info, &reply, d);
    if (r == 0)
        r = reply_take(s, &reply, &info, sizeof(info));
    if (r == 0) {
        s->max_leases = info.max_leases;
        s->welcomed = true;
    }
    return r;
}

static int link_try(struct shmd *s, struct deadline *d)
{
    struct wire_welcome welcome;
    int r = dial(s);

    if (r < 0)
        return r;
    r = handshake(s, &welcome, d);
    if (r == 0) {
        directory_refresh(s, &welcome);
        r = lease_announce_all(s, d);
    }
    if (r == 0)
        r = members_announce(s, d);
    if (r != 0)
        link_close(s);
    return r;
}

int link_open(struct shmd *s, struct deadline *d)
{
    struct backoff b = {.wait_ms = 1};
    unsigned lost = 0;
    int r;

    /* Where the service manager holds the socket, the next shmd is on its way. */
    do
        r = link_try(s, d);
    while ((r == -EAGAIN || (r == LINK_LOST && lost++ < LOST_MAX)) && wait_backoff(&b, d) == 0);
    if (r == -EAGAIN)
        return handle_fail(s, -ETIMEDOUT,
                           "shmd at %s did not take the connection within %d ms: too "
                           "many others wait for it",
                           s->socket, d->timeout_ms);
    if (r == LINK_LOST)
        return handle_fail(s, -ECONNREFUSED, "%s was closed before it answered: shmd may be "
                           "stopping; try again", s->socket);
    return r;
}

int link_once(struct shmd *s, struct deadline *d)
{
    return s->established ? link_try(s, d) : handle_not_connected(s);
}

static bool may_come_back(int r)
{
    return r == LINK_LOST || r == -EAGAIN || r == -ENOENT || r == -ECONNREFUSED;
}

int link_restore(struct shmd *s, struct backoff *b, struct deadline *d)
{
    if (!s->established)
        return handle_not_connected(s);
    for (;;) {
        if (b->wait_ms > 0 && wait_backoff(b, d) < 0)
            return handle_fail(s, -ETIMEDOUT, "the connection to shmd at %s was lost, and within "
                               "%d ms it did not come back", s->socket, d->timeout_ms);
        if (b->wait_ms == 0)
            b->wait_ms = 1;

        int r = link_try(s, d);

        if (!may_come_back(r))
            return r;
    }
}

static int ask(struct shmd *s, const struct question *q, struct reply *reply, bool *sent,
               struct deadline *d)
{
    struct {
        struct wire_header header;
        uint8_t body[WIRE_REQUEST_MAX - sizeof(struct wire_header)];
    } out;
    size_t name = q->name ? strlen(q->name) : 0;
    size_t text = name > 0 ? wire_text_size(name) : 0;
    int r = lease_flush(s, d);

    if (r != 0)
        return r;
    out.header = link_header(s, q->op, 0, q->size + text);
    if (q->size > 0)
        memcpy(out.body, q->body, q->size);
    if (text > 0)
        memcpy(out.body + q->size, q->name, name);
    memset(out.body + q->size + name, 0, text - name);
    r = link_send(s, &out, out.header.size, d);
    if (r != 0)
        return r;
    *sent = true;
    return link_receive(s, &out.header, reply, d);
}

int call_reply(struct shmd *s, const struct question *q, struct reply *reply, bool *resent,
               struct deadline *d)
{
    struct backoff b = {0};
    bool sent = false;

    for (;;) {
        int r = s->fd < 0 ? link_restore(s, &b, d) : 0;

        if (r < 0)
            return r;
        if (resent)
            *resent = sent;
        r = ask(s, q, reply, &sent, d);
        if (r != LINK_LOST)
            return r;
        link_close(s);
    }
}

int call(struct shmd *s, const struct question *q, void *ret, size_t size, struct deadline *d)
{
    struct reply reply;
    int r = call_reply(s, q, &reply, NULL, d);

    return r < 0 ? r : reply_take(s, &reply, ret, size);
}

int call_opened(struct shmd *s, const struct question *q, struct shmd_segment *ret,
                struct deadline *d)
{
    struct reply reply;
    int r = call_reply(s, q, &reply, NULL, d);

    return r < 0 ? r : segment_of_reply(s, &reply, ret);
}
