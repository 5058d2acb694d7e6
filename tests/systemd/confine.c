/* SPDX-License-Identifier: MIT */
/*
 * The filters of system calls that systemd has put on a unit's process, taken from there and put on
 * a command, so that tests of all kinds run under exactly what the unit runs under:
 *
 *   confine take PID FILE
 *   confine run FILE COMMAND [ARGUMENT...]
 *   confine try FILE          (under them, do what shmd never does, and say what the kernel says)
 */
#include <err.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NO_FILE 126

/* Each is its length and its instructions, the one that was installed first at the front. */
static int take(pid_t pid, const char *path)
{
    struct sock_filter code[BPF_MAXINSNS];
    FILE *f = fopen(path, "we");
    unsigned n = 0;

    if (!f)
        err(1, "%s", path);
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0 ||
        waitpid(pid, NULL, __WALL) != pid)
        err(1, "process %d", (int)pid);
    for (;; n++) {
        long length = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, (void *)(unsigned long)n, code);

        if (length < 0)
            break;
        if (fwrite(&length, sizeof(length), 1, f) != 1 ||
            fwrite(code, sizeof(code[0]), (size_t)length, f) != (size_t)length)
            err(1, "%s", path);
    }
    if (ptrace(PTRACE_DETACH, pid, 0, 0) < 0 || fclose(f) != 0)
        err(1, "%s", path);
    printf("%u filters\n", n);
    return n > 0 ? 0 : 1;
}

static void put_on(const char *path)
{
    struct sock_filter code[BPF_MAXINSNS];
    FILE *f = fopen(path, "re");
    long length;

    if (!f || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        err(NO_FILE, "%s", path);
    while (fread(&length, sizeof(length), 1, f) == 1) {
        struct sock_fprog program = {.len = (unsigned short)length, .filter = code};

        if (length > BPF_MAXINSNS ||
            fread(code, sizeof(code[0]), (size_t)length, f) != (size_t)length ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
            err(NO_FILE, "%s", path);
    }
    fclose(f);
}

static int run(const char *path, char **command)
{
    put_on(path);
    execv(command[0], command);
    err(NO_FILE, "%s", command[0]);
}

static int try(const char *path)
{
    static const struct {
        const char *name;
        long number;
    } calls[] = {
        {"mount", SYS_mount},   {"ptrace", SYS_ptrace}, {"unshare", SYS_unshare},
        {"setuid", SYS_setuid}, {"msgget", SYS_msgget}, {"kill", SYS_kill},
        {"execveat", SYS_execveat},
    };

    if (*path)
        put_on(path);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        errno = 0;
        syscall(calls[i].number, 0, 0, 0, 0, 0, 0);
        printf("%s %s\n", calls[i].name, strerrorname_np(errno));
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "take") == 0)
        return take((pid_t)strtol(argv[2], NULL, 10), argv[3]);
    if (argc >= 4 && strcmp(argv[1], "run") == 0)
        return run(argv[2], argv + 3);
    if (argc == 3 && strcmp(argv[1], "try") == 0)
        return try(argv[2]);
    errx(2, "usage: confine take PID FILE, or confine run FILE COMMAND..., or confine try FILE");
}
