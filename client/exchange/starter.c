/* SPDX-License-Identifier: MIT */
#include "starter.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "exchange/install_dirs.h"
#include "log.h"

#define READY_FD 3
#define EXIT_ANOTHER_SERVES 3 /* shmd(8) */
#define EXIT_NOT_RUN 127

/* The program's path; "shmd" where only $PATH is left. */
static void find_daemon(char path[PATH_MAX])
{
    const char *asked = getenv("SHMD_DAEMON");
    char self[PATH_MAX];

    if (asked && *asked) {
        if (!realpath(asked, path))
            snprintf(path, PATH_MAX, "%s", asked);
        return;
    }

    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n > 0) {
        self[n] = '\0';

        char *slash = strrchr(self, '/');

        if (slash) {
            *slash = '\0';
            if (snprintf(path, PATH_MAX, "%s/../daemon/shmd", self) < PATH_MAX &&
                access(path, X_OK) == 0)
                return;
        }
    }
    snprintf(path, PATH_MAX, "%s", INSTALLED_SHMD);
    if (access(path, X_OK) < 0)
        snprintf(path, PATH_MAX, "shmd");
}

/* In the child. Its log goes nowhere: the terminal belongs to whoever started the program. */
static _Noreturn void become_daemon(const char *path, int ready)
{
    char *argv[] = {(char *)"shmd", (char *)"--user", (char *)"--idle-exit", (char *)"1",
                    (char *)"--ready-fd", (char *)"3", NULL};

    ready = fcntl(ready, F_DUPFD, READY_FD + 1); /* out of the way of what follows */

    int null = open("/dev/null", O_RDWR);

    setsid();
    /* Nothing of the caller's: its folder may be unmounted, its manager is not the broker's. */
    unsetenv("NOTIFY_SOCKET");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (chdir("/") < 0)
        _exit(EXIT_NOT_RUN);
    if (ready < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(null, STDERR_FILENO) < 0)
        _exit(EXIT_NOT_RUN);
    if (dup2(ready, READY_FD) < 0)
        _exit(EXIT_NOT_RUN);
    close_range(READY_FD + 1, ~0u, 0);
    execvp(path, argv);
    _exit(EXIT_NOT_RUN);
}

/* The child has closed the pipe without a word. */
static int explain_failure(pid_t pid, const char *path)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_ANOTHER_SERVES)
        return -EAGAIN;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_RUN)
        log_error("cannot start a private broker: cannot run %s; name it in $SHMD_DAEMON", path);
    else if (WIFEXITED(status))
        log_error("cannot start a private broker: %s ended with code %d; to see why: %s --user",
                  path, WEXITSTATUS(status), path);
    else
        log_error("cannot start a private broker: %s was ended by signal %d", path,
                  WTERMSIG(status));
    return -ECHILD;
}

int starter_run(struct deadline *d)
{
    char path[PATH_MAX];
    int ends[2];

    find_daemon(path);
    if (pipe2(ends, O_CLOEXEC) < 0) {
        log_error("cannot make a pipe: %m");
        return -errno;
    }

    _cleanup_close_ int from = ends[0];
    int to = ends[1];
    pid_t pid = fork();

    if (pid == 0)
        become_daemon(path, to);
    close(to);
    if (pid < 0) {
        log_error("cannot start a private broker: fork: %m");
        return -ECHILD;
    }

    int r = deadline_poll(from, POLLIN, d);
    char byte;

    if (r == -ETIMEDOUT)
        log_error("the private broker %s does not get ready", path);
    if (r < 0)
        return r;

    ssize_t n = read(from, &byte, 1);

    return n == 1 ? 0 : n < 0 ? -errno : explain_failure(pid, path);
}
