/* SPDX-License-Identifier: MIT */
#include "listen.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util.h"

static int SHMD_PRINTF(3, 4) fail(char error[LISTEN_ERROR_MAX], int r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(error, LISTEN_ERROR_MAX, fmt, args);
    va_end(args);
    return r;
}

static int resolve(struct listen *l, const char *path, char error[LISTEN_ERROR_MAX])
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX], real[PATH_MAX];

    if (strlen(path) >= LISTEN_PATH_MAX)
        return fail(error, -ENAMETOOLONG, "%s: a socket's path has at most %d bytes", path,
                    LISTEN_PATH_MAX - 1);
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 2,
             slash ? path : "./");
    if (mkdir(folder, 0755) < 0 && errno != EEXIST)
        return fail(error, -errno, "cannot make %s: %s", folder, strerror(errno));
    if (!realpath(folder, real))
        return fail(error, -errno, "%s: %s", folder, strerror(errno));
    slash = slash ? slash + 1 : path;
    if (!*slash)
        return fail(error, -EINVAL, "%s: not the path of a socket", path);

    int n = snprintf(l->path, sizeof(l->path), "%s/%s", strcmp(real, "/") ? real : "", slash);

    if (n < 0 || n >= LISTEN_PATH_MAX)
        return fail(error, -ENAMETOOLONG, "%.128s...: a socket's path has at most %d bytes",
                    l->path, LISTEN_PATH_MAX - 1);
    return 0;
}

int listen_take(struct listen *l, int fd, char path[SOCKET_PATH_MAX], char error[LISTEN_ERROR_MAX])
{
    struct sockaddr_un a = {0};
    socklen_t size = sizeof(a);

    l->fd = fd;
    l->passed = true;
    if (getsockname(fd, (struct sockaddr *)&a, &size) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return fail(error, -errno, "the socket that was passed: %s", strerror(errno));
    if (a.sun_family != AF_UNIX || a.sun_path[0] != '/')
        return fail(error, -EINVAL, "the socket that was passed has no path (ListenStream=/...)");
    snprintf(path, SOCKET_PATH_MAX, "%.*s", (int)sizeof(a.sun_path) - 1, a.sun_path);
    return 0;
}

int listen_lock(struct listen *l, const char *path, char error[LISTEN_ERROR_MAX])
{
    char lock[PATH_MAX + 8];
    struct stat st;
    int r = resolve(l, path, error);

    if (r < 0)
        return r;
    snprintf(lock, sizeof(lock), "%s.lock", l->path);
    l->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (l->lock < 0 || fstat(l->lock, &st) < 0)
        return fail(error, -errno, "cannot open %.200s: %s", lock, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1)
        return fail(error, -EPERM, "%.200s is not a file of ours: somebody else put it there",
                    lock);
    if (flock(l->lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return fail(error, -EBUSY, "another shmd serves %.200s", l->path);
    return fail(error, -errno, "cannot lock %.200s: %s", lock, strerror(errno));
}

static void set_address(struct sockaddr_un *address, const struct listen *l)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof(address->sun_path), "%.103s.new", l->path);
}

int listen_open(struct listen *l, mode_t mode, gid_t gid, char error[LISTEN_ERROR_MAX])
{
    struct sockaddr_un a;
    mode_t old;
    int r;

    if (l->passed)
        return 0;
    set_address(&a, l);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return fail(error, -errno, "socket: %s", strerror(errno));
    /* Only by descriptor: in a folder that others write to, the path may be a link by now. */
    if (fchmod(l->fd, mode) < 0)
        return fail(error, -errno, "socket: %s", strerror(errno));
    unlink(a.sun_path);
    old = umask(0);
    r = bind(l->fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
    umask(old);
    if (r < 0)
        return fail(error, r, "cannot make %s: %s", a.sun_path, strerror(-r));
    if (gid != (gid_t)-1 && lchown(a.sun_path, (uid_t)-1, gid) < 0)
        return fail(error, -errno,
                    "cannot give %s to group %u: %s (the daemon's user must be in it)", a.sun_path,
                    (unsigned)gid, strerror(errno));
    if (listen(l->fd, SOMAXCONN) < 0)
        return fail(error, -errno, "%s: %s", a.sun_path, strerror(errno));
    return 0;
}

int listen_publish(struct listen *l, char error[LISTEN_ERROR_MAX])
{
    struct sockaddr_un a;
    struct stat st;

    if (l->passed)
        return 0;
    set_address(&a, l);
    if (lstat(l->path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return fail(error, -EEXIST, "%.200s is there and is no socket: not replaced", l->path);
    if (rename(a.sun_path, l->path) < 0)
        return fail(error, -errno, "cannot make %.200s: %s", l->path, strerror(errno));
    l->published = true;
    return 0;
}

void listen_done(struct listen *l)
{
    struct sockaddr_un a;

    set_address(&a, l);
    if (l->fd >= 0 && !l->passed)
        unlink(l->published ? l->path : a.sun_path);
    cleanup_close(&l->fd);
    cleanup_close(&l->lock);
    l->fd = l->lock = -1;
}
