/* SPDX-License-Identifier: MIT */
/*
 * who: the leases that the broker knows of, and beside them the processes that have the segment
 * attached and did not tell, as far as /proc lets us see them.
 *
 * An attachment is a mapping whose file is called /SYSV and the key in hex, and whose inode is the
 * shmid. A shmid means something within its IPC namespace, and cannot recur while it is attached.
 */
#include <ctype.h>
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "parse.h"
#include "table.h"

enum { WHO_PID, WHO_USER, WHO_UID, WHO_COMMAND, WHO_SINCE, WHO_ACCESS, WHO_TOLD };

static const struct column who_columns[] = {
    [WHO_PID] = {"PID", COLUMN_NUMBER, true, "process"},
    [WHO_USER] = {"USER", COLUMN_TEXT, true, "who runs it"},
    [WHO_UID] = {"UID", COLUMN_NUMBER, false, "the same as a number"},
    [WHO_COMMAND] = {"COMMAND", COLUMN_TEXT, true, "name of the program"},
    [WHO_SINCE] = {"SINCE", COLUMN_TEXT, true, "when the broker was told of it"},
    [WHO_ACCESS] = {"ACCESS", COLUMN_TEXT, true,
                    "read, write, or none: its creator, not attached yet"},
    [WHO_TOLD] = {"TOLD", COLUMN_BOOL, true, "does the broker know of it?"},
    {0},
};

struct holders {
    struct table table;
    pid_t *told; /* of the broker's leases */
    size_t n_told, size;
    uint64_t leases;   /* of processes that cannot be looked into */
    uint64_t mappings; /* of those that can */
};

static void put_holder(struct holders *h, pid_t pid, uid_t uid, const char *access, bool told)
{
    struct table *t = &h->table;

    table_line(t);
    table_number(t, WHO_PID, (unsigned)pid);
    table_user(t, WHO_USER, uid);
    table_number(t, WHO_UID, uid);
    table_command(t, WHO_COMMAND, pid);
    table_text(t, WHO_ACCESS, "%s", access);
    table_bool(t, WHO_TOLD, told);
}

static int add_lease(const struct shmd_holder *holder, void *data)
{
    struct holders *h = data;
    bool creator = holder->flags & SHMD_HOLDER_CREATOR;

    if (h->n_told == h->size) {
        size_t size = MAX(h->size * 2, (size_t)64);
        pid_t *told = reallocarray(h->told, size, sizeof(*told));

        if (!told)
            return -ENOMEM;
        h->told = told;
        h->size = size;
    }
    h->told[h->n_told++] = holder->pid;
    put_holder(h, holder->pid, holder->uid,
               creator ? "none" : holder->flags & SHMD_HOLDER_READ_ONLY ? "read" : "write", true);
    table_time(&h->table, WHO_SINCE, holder->since / 1000000000);
    return 0;
}

struct seen {
    unsigned mappings;
    bool writes;
};

/* One line of maps: "FROM-TO rw-s OFFSET MAJOR:MINOR INODE   /SYSV0000abcd (deleted)". */
static bool is_mapping(const char *line, int shmid, bool *writes)
{
    unsigned long long inode;
    unsigned major;
    char perms[5], path[8];

    if (sscanf(line, "%*x-%*x %4s %*x %x:%*x %llu %5s", perms, &major, &inode, path) != 4)
        return false;
    *writes = perms[1] == 'w';
    return major == 0 && inode == (unsigned)shmid && strcmp(path, "/SYSV") == 0;
}

/* False where we may not look. */
static bool look_into(pid_t pid, int shmid, ino_t ipc_namespace, struct seen *seen)
{
    char path[64];
    struct stat st;
    _cleanup_free_ char *line = NULL;
    size_t size = 0;
    bool writes;

    *seen = (struct seen){0};
    snprintf(path, sizeof(path), "/proc/%d/ns/ipc", (int)pid);
    if (stat(path, &st) < 0)
        return false;
    if (st.st_ino != ipc_namespace)
        return true;
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);

    _cleanup_fclose_ FILE *f = fopen(path, "re");

    if (!f)
        return false;
    while (getline(&line, &size, f) > 0)
        if (is_mapping(line, shmid, &writes)) {
            seen->mappings++;
            seen->writes |= writes;
        }
    return true;
}

static size_t leases_of(const struct holders *h, pid_t pid)
{
    size_t n = 0;

    for (size_t i = 0; i < h->n_told; i++)
        n += h->told[i] == pid;
    return n;
}

static void look_at(struct holders *h, pid_t pid, int shmid, ino_t ipc_namespace)
{
    size_t leases = leases_of(h, pid);
    struct seen seen;
    struct stat st;
    char path[32];

    if (!look_into(pid, shmid, ipc_namespace, &seen)) {
        h->leases += leases;
        return;
    }
    h->mappings += seen.mappings;
    snprintf(path, sizeof(path), "/proc/%d", (int)pid);
    if (seen.mappings > 0 && leases == 0 && stat(path, &st) == 0)
        put_holder(h, pid, st.st_uid, seen.writes ? "write" : "read", false);
}

static int look_around(struct holders *h, int shmid, pid_t daemon)
{
    struct stat self;
    DIR *proc = opendir("/proc");

    if (!proc)
        return -errno;

    int r = stat("/proc/self/ns/ipc", &self) < 0 ? -errno : 0;

    for (struct dirent *e; r == 0 && (e = readdir(proc));) {
        uint64_t pid;

        if (isdigit((unsigned char)e->d_name[0]) && parse_u64(e->d_name, INT32_MAX, &pid) == 0 &&
            (pid_t)pid != daemon)
            look_at(h, (pid_t)pid, shmid, self.st_ino);
    }
    closedir(proc);
    return r;
}

static void tell_of_hidden(const struct holders *h, const struct shmd_status *st)
{
    uint64_t known = h->leases + h->mappings + (st->flags & SHMD_PINNED ? 1 : 0);

    if (st->nattch > known)
        log_notice("who: %llu more attachments are of processes that you may not look into",
                   (unsigned long long)(st->nattch - known));
}

static int who(struct ctl *ctl, struct holders *h, const char *name)
{
    struct shmd_broker broker;
    struct shmd_status status;
    int r = shmd_broker(ctl->shmd, &broker, ctl->timeout_ms);

    if (r == 0)
        r = shmd_stat(ctl->shmd, name, &status, ctl->timeout_ms);
    if (r == 0 && *status.segment.name)
        r = shmd_who(ctl->shmd, name, add_lease, h, ctl->timeout_ms);
    if (r == -ENOMEM)
        return ctl_fail_errno(ctl, name, r);
    if (r < 0)
        return ctl_fail(ctl, name, r);
    r = look_around(h, status.segment.shmid, broker.pid);
    if (r < 0)
        return ctl_fail_errno(ctl, "/proc", r);
    tell_of_hidden(h, &status);
    return CTL_DONE;
}

static int run_who(struct ctl *ctl, int argc, char **argv)
{
    const char *name = *ctl_operands(ctl, argc, argv);
    struct holders h = {0};
    int code = ctl_connect(ctl);

    if (code)
        return code;
    table_init(&h.table, ctl, "holders");
    code = who(ctl, &h, name);
    if (code == CTL_DONE)
        code = table_print(&h.table, false);
    else
        scols_unref_table(h.table.scols);
    free(h.told);
    return code;
}

const struct command command_who = {
    .name = "who",
    .synopsis = "SEGMENT",
    .help = "Show who holds a segment",
    .details =
        "Also those who attached it without telling the broker, where /proc lets you see them.\n"
        "shmd's own attachment is not shown.",
    .columns = who_columns,
    .operands_min = 1,
    .operands_max = 1,
    .run = run_who,
};
