/* SPDX-License-Identifier: MIT */
#include "paths.h"

#include <string.h>
#include <sys/stat.h>

#include "util.h"

static int check_folder(const char *folder)
{
    struct stat st;

    if (lstat(folder, &st) < 0)
        return -errno;
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
        return -EPERM;
    return 0;
}

int socket_private(char path[SOCKET_PATH_MAX], bool create)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char folder[SOCKET_PATH_MAX];
    int n;

    if (runtime && *runtime == '/')
        n = snprintf(folder, sizeof(folder), "%s/shmd", runtime);
    else
        n = snprintf(folder, sizeof(folder), "/tmp/shmd-%u", (unsigned)geteuid());
    if (n < 0 || (size_t)n >= sizeof(folder) ||
        snprintf(path, SOCKET_PATH_MAX, "%s/shmd.sock", folder) >= SOCKET_PATH_MAX)
        return -ENAMETOOLONG;
    if (create && mkdir(folder, 0700) < 0 && errno != EEXIST)
        return -errno;
    return check_folder(folder);
}

int socket_find(char path[SOCKET_PATH_MAX], const char *asked)
{
    if (!asked)
        asked = getenv("SHMD_SOCKET");
    if (!asked || !*asked) {
        if (socket_private(path, false) == 0 && access(path, F_OK) == 0)
            return 0;
        asked = SOCKET_SYSTEM;
    }
    if (strlen(asked) >= SOCKET_PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(path, asked, strlen(asked) + 1);
    return 0;
}
