/* SPDX-License-Identifier: MIT */
#include "privilege.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "log.h"
#include "util.h"

#define FILES_BESIDE 32u /* descriptors that are no connections */
/* Of a connection: its socket, its process where it holds something, and as many that channels'
 * members poll as there are connections. */
#define FILES_EACH 3u

/* Given away only where it is the folder that was just made, not what somebody put in its place. */
static void make_folder(const char *folder, const struct passwd *pw)
{
    struct stat st;

    if (mkdir(folder, 0755) < 0)
        return;

    _cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != 0 || st.st_nlink > 2 ||
        fchown(fd, pw->pw_uid, pw->pw_gid) < 0)
        log_warning("%s: cannot be given to %s", folder, pw->pw_name);
}

int privilege_drop(const char *login, const char *socket, char error[PRIVILEGE_ERROR_MAX])
{
    struct passwd *pw = getpwnam(login);
    const char *slash = strrchr(socket, '/');
    char folder[256];

    if (geteuid() != 0)
        return 0;
    if (!pw || pw->pw_uid == 0) {
        snprintf(error, PRIVILEGE_ERROR_MAX, "user = %s: not a plain user of this host", login);
        return -EINVAL;
    }
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - socket) : 0, socket);
    if (*folder)
        make_folder(folder, pw);
    if (initgroups(login, pw->pw_gid) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
        setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0) {
        int r = -errno;

        snprintf(error, PRIVILEGE_ERROR_MAX, "cannot become %s: %s", login, strerror(-r));
        return r;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        log_warning("no_new_privs: %s", strerror(errno));
    return 0;
}

bool privilege_group_is_private(uid_t uid, gid_t gid)
{
    struct passwd *pw = getpwuid(uid);
    struct group *gr = getgrgid(gid);
    _cleanup_free_ char *login = pw ? strdup(pw->pw_name) : NULL;
    bool shared = false;

    for (char **m = gr ? gr->gr_mem : NULL; m && *m; m++)
        shared |= !login || strcmp(*m, login) != 0;
    setpwent();
    while (!shared && (pw = getpwent()))
        shared = pw->pw_gid == gid && pw->pw_uid != uid;
    endpwent();
    return !shared;
}

uint64_t process_start(pid_t pid)
{
    char path[64], text[1024];
    unsigned long long start = 0;
    char state = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);

    _cleanup_fclose_ FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

    text[n] = 0;

    /* The command may hold anything, so what follows it is found from the end. */
    const char *rest = strrchr(text, ')');

    if (!rest ||
        sscanf(rest,
               ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
               "%*d %*d %llu",
               &state, &start) != 2 ||
        state == 'Z' || state == 'X')
        return 0;
    return start;
}

bool process_lives(pid_t pid, uint64_t start)
{
    return pid > 0 && pid != getpid() && start != 0 && process_start(pid) == start;
}

unsigned privilege_raise_files(unsigned connections)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)connections * FILES_EACH + FILES_BESIDE;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return connections;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = MIN(wanted, limit.rlim_max);
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= wanted)
        return connections;
    return (unsigned)(MAX(limit.rlim_cur, FILES_BESIDE + FILES_EACH) - FILES_BESIDE) / FILES_EACH;
}
