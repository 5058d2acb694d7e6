/* SPDX-License-Identifier: MIT */
/* From the command line to a broker that serves, and to its end. */
#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "adopt.h"
#include "listen.h"
#include "log.h"
#include "options.h"
#include "parse.h"
#include "privilege.h"
#include "server.h"
#include "service.h"
#include "systemd.h"
#include "util.h"

enum { EXIT_SERVED = 3 };

struct shmd {
    struct options options;
    struct broker broker;
    struct listen listen;
    struct server server;
    struct service service;
    struct event_base *base;
    struct event *term, *intr, *hup;
    bool failed;
};

/* One user has all: the host's limits are the only ones. */
static void make_private(struct config *c)
{
    c->socket_mode = 0600;
    c->segments_per_user = c->capacity;
    c->size_per_user = c->total_size;
    c->connections_per_user = c->connections;
    c->leases_per_user = UINT32_MAX;
    c->watches_per_user = c->connections;
}

/* The file, then what the command line says over it. */
static int load_config(const struct options *o, struct config *c)
{
    char error[CONFIG_ERROR_MAX];
    int r = 0;

    if (o->config || !o->user)
        r = config_load(c, o->config ? o->config : SHMD_CONFIG_FILE, o->config != NULL, error);
    else
        config_init(c);
    if (r < 0) {
        log_error("%s", error);
        return r;
    }
    if (o->log_level >= 0)
        c->log_level = o->log_level;
    if (o->socket && strlen(o->socket) >= LISTEN_PATH_MAX) {
        log_error("--socket: a path has at most %d bytes", LISTEN_PATH_MAX - 1);
        return -ENAMETOOLONG;
    }
    if (o->socket) {
        snprintf(c->socket, sizeof(c->socket), "%s", o->socket);
    } else if (o->user && strcmp(c->socket, SOCKET_SYSTEM) == 0) {
        r = socket_private(c->socket, true);
        if (r == -EPERM)
            log_error("the folder of %s must be a real one, yours, and closed to others (0700)",
                      c->socket);
        else if (r < 0)
            log_error("%s: %s", c->socket, strerror(-r));
    }
    if (o->user)
        make_private(c);
    return r;
}

static void on_end(evutil_socket_t signum, short what, void *data)
{
    struct shmd *s = data;

    (void)what;
    log_info("%s: ending; segments stay", strsignal((int)signum));
    systemd_stopping();
    event_base_loopbreak(s->base);
}

/* What holds for life is not taken over, and it is said so. */
static void keep_fixed(struct config *new, const struct config *old)
{
#define KEEP(field, name) \
    do { \
        if (memcmp(&new->field, &old->field, sizeof(new->field)) != 0) { \
            log_warning("%s takes effect at the next start", name); \
            memcpy(&new->field, &old->field, sizeof(new->field)); \
        } \
    } while (0)
    KEEP(user, "user");
    KEEP(socket, "socket");
    KEEP(socket_mode, "socket_mode");
    KEEP(socket_group, "socket_group");
    KEEP(capacity, "capacity");
    KEEP(public_view, "public");
#undef KEEP
}

/* A limit beyond the descriptors would let one user take them all before it is reached. */
static void fit_connections(struct config *c, bool is_private)
{
    unsigned possible = privilege_raise_files(c->connections);

    if (possible == c->connections)
        return;
    log_warning("RLIMIT_NOFILE allows %u connections, not %u", possible, c->connections);
    c->connections = possible;
    c->connections_per_user =
        MIN(c->connections_per_user, is_private ? possible : MAX(possible / 4, 1u));
}

static void on_reload(evutil_socket_t signum, short what, void *data)
{
    struct shmd *s = data;
    struct config new = {0};
    int r;

    (void)signum;
    (void)what;
    systemd_reloading();
    r = load_config(&s->options, &new);
    if (r < 0) {
        config_done(&new);
        log_error("the configuration in force stays");
    } else {
        keep_fixed(&new, &s->broker.config);
        fit_connections(&new, s->options.user);
        log_set_level(new.log_level);
        r = broker_reload(&s->broker, &new);
        if (r < 0) {
            s->failed = true;
            event_base_loopbreak(s->base);
        } else {
            server_reloaded(&s->server);
            log_info("configuration read again");
        }
    }
    service_reloaded(&s->service, r < 0);
}

static struct event *on_signal(struct shmd *s, int signum, event_callback_fn callback)
{
    struct event *e = evsignal_new(s->base, signum, callback, s);

    if (e && event_add(e, NULL) < 0) {
        event_free(e);
        e = NULL;
    }
    return e;
}

static int start_loop(struct shmd *s)
{
    struct event_config *config = event_config_new();

    if (config) {
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
        event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
        s->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (s->base) {
        s->term = on_signal(s, SIGTERM, on_end);
        s->intr = on_signal(s, SIGINT, on_end);
        s->hup = on_signal(s, SIGHUP, on_reload);
    }
    if (s->hup && s->intr && s->term)
        return 0;
    log_error("cannot start the event loop: %s", strerror(errno));
    return -ENOMEM;
}

static int become_user(struct shmd *s)
{
    const char *user = s->broker.config.user;
    char error[PRIVILEGE_ERROR_MAX];
    int r;

    if (geteuid() == 0 && !*user && !s->options.user)
        log_warning("running as root, which shmd needs not and should not: set user in shmd.conf");
    if (!*user)
        return 0;
    r = privilege_drop(user, s->broker.config.socket, error);
    if (r < 0)
        log_error("%s", error);
    return r;
}

static int serve(struct shmd *s)
{
    const struct config *c = &s->broker.config;
    char error[LISTEN_ERROR_MAX];
    gid_t gid = (gid_t)-1;
    int r = *c->socket_group ? parse_group(c->socket_group, &gid) : 0;

    if (r == 0)
        r = listen_open(&s->listen, c->socket_mode, gid, error);
    else
        snprintf(error, sizeof(error), "socket_group = %s: there is no such group",
                 c->socket_group);
    if (r == 0) {
        r = server_init(&s->server, s->base, &s->broker, s->listen.fd);
        if (r == 0 && s->options.idle_exit >= 0)
            r = server_exit_when_idle(&s->server, s->options.idle_exit);
        if (r < 0)
            snprintf(error, sizeof(error), "%s", strerror(-r));
    }
    if (r == 0)
        r = listen_publish(&s->listen, error);
    if (r < 0) {
        log_error("%s", error);
        return r;
    }
    log_info("serving %s as uid %u, registry shmid %d, %u segments", s->listen.path,
             (unsigned)geteuid(), s->broker.table.shmid, s->broker.table.header->used);
    if (service_ready(&s->service, s->base, &s->broker) < 0)
        return -ENOMEM;
    if (s->options.ready_fd >= 0 && write(s->options.ready_fd, "\n", 1) < 0)
        log_warning("--ready-fd: %s", strerror(errno));
    cleanup_close(&s->options.ready_fd);
    s->options.ready_fd = -1;
    return event_base_dispatch(s->base) < 0 || s->failed ? -EIO : 0;
}

/* A socket from the service manager counts before the configured one. */
static int take_lock(struct shmd *s)
{
    char error[MAX(LISTEN_ERROR_MAX, SYSTEMD_ERROR_MAX)], path[SOCKET_PATH_MAX];
    int r = systemd_socket(error);

    if (r >= 0)
        r = listen_take(&s->listen, r, path, error);
    else if (r == -ENOENT)
        r = snprintf(path, sizeof(path), "%s", s->broker.config.socket) < 0 ? -EIO : 0;
    if (r == 0)
        r = listen_lock(&s->listen, path, error);
    if (r < 0)
        log_error("%s", error);
    return r;
}

static int run(struct shmd *s)
{
    int r = load_config(&s->options, &s->broker.config);

    if (r < 0)
        return EXIT_FAILURE;
    log_set_level(s->broker.config.log_level);
    if (s->options.check_config)
        return EXIT_SUCCESS;
    umask(022);
    signal(SIGPIPE, SIG_IGN);
    s->broker.started = clock_ns(CLOCK_REALTIME);
    s->broker.started_mono = clock_ns(CLOCK_MONOTONIC);
    s->broker.is_private = s->options.user;
    fit_connections(&s->broker.config, s->options.user);
    if (become_user(s) < 0)
        return EXIT_FAILURE;
    sweep_look_at_kernel(&s->broker.sweep);
    r = take_lock(s);
    if (r < 0)
        return r == -EBUSY ? EXIT_SERVED : EXIT_FAILURE;
    r = broker_start(&s->broker, s->listen.path);
    if (r == -EBUSY)
        return EXIT_SERVED;
    return r < 0 || start_loop(s) < 0 || serve(s) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void finish(struct shmd *s)
{
    service_done(&s->service);
    server_done(&s->server);
    if (s->term)
        event_free(s->term);
    if (s->intr)
        event_free(s->intr);
    if (s->hup)
        event_free(s->hup);
    if (s->base)
        event_base_free(s->base);
    if (s->options.idle_exit >= 0 && s->broker.table.header)
        adopt_discard(&s->broker.table);
    broker_done(&s->broker);
    listen_done(&s->listen);
    libevent_global_shutdown();
}

int main(int argc, char **argv)
{
    static struct shmd s = {.listen = LISTEN_INIT};
    int r;

    log_open("shmd");
    broker_init(&s.broker);
    s.server.broker = &s.broker;
    TAILQ_INIT(&s.server.peers);
    r = options_parse(&s.options, argc, argv);
    if (r >= 0)
        return r;
    r = run(&s);
    finish(&s);
    return r;
}
