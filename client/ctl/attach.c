/* SPDX-License-Identifier: MIT */
/* attach (shmat): attach, tell where and how, run a command or wait, detach (shmdt). */
#include <poll.h>
#include <spawn.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "parse.h"
#include "table.h"

extern char **environ;

enum { ATT_NAME, ATT_SHMID, ATT_KEY, ATT_ADDRESS, ATT_SIZE, ATT_FLAGS };

static const struct column attach_columns[] = {
    [ATT_NAME] = {"NAME", COLUMN_TEXT, true, "full name"},
    [ATT_SHMID] = {"SHMID", COLUMN_NUMBER, true, "identifier"},
    [ATT_KEY] = {"KEY", COLUMN_TEXT, true, "System V key"},
    [ATT_ADDRESS] = {"ADDRESS", COLUMN_TEXT, true, "where it is attached"},
    [ATT_SIZE] = {"SIZE", COLUMN_SIZE, true, "size asked for at creation"},
    [ATT_FLAGS] = {"FLAGS", COLUMN_TEXT, true, "of shmat(2)"},
    {0},
};

static int print_attachment(struct ctl *ctl, const struct shmd_attachment *a)
{
    static const struct {
        unsigned flag;
        const char *text;
    } names[] = {
        {SHMD_READ_ONLY, "SHM_RDONLY"}, {SHMD_ROUND, "SHM_RND"},
        {SHMD_EXEC, "SHM_EXEC"}, {SHMD_REMAP, "SHM_REMAP"},
    };
    char flags[64] = "";
    struct table t;

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (a->flags & names[i].flag)
            snprintf(flags + strlen(flags), sizeof(flags) - strlen(flags), "%s%s",
                     *flags ? "," : "", names[i].text);
    table_init(&t, ctl, "attachment");
    table_line(&t);
    table_text(&t, ATT_NAME, "%s", a->segment.name);
    table_number(&t, ATT_SHMID, (unsigned)a->segment.shmid);
    table_text(&t, ATT_KEY, "0x%08x", (unsigned)a->segment.key);
    table_text(&t, ATT_ADDRESS, "%p", a->address);
    table_size(&t, ATT_SIZE, a->segment.size);
    table_text(&t, ATT_FLAGS, "%s", flags);

    int code = table_print(&t, false);

    /* Before the command prints, and for who reads a pipe while we wait. */
    if (code == CTL_DONE && fflush(stdout) != 0)
        code = ctl_fail_errno(ctl, "standard output", -errno);
    return code;
}

/* Wait without a command: for the end of stdin, or a signal. */
static int wait_for_end(struct ctl *ctl, int signals)
{
    struct pollfd fds[] = {
        {.fd = STDIN_FILENO, .events = POLLIN},
        {.fd = signals, .events = POLLIN},
    };
    char buffer[4096];

    for (;;) {
        if (poll(fds, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return ctl_fail_errno(ctl, "poll", -errno);
        }
        if (fds[1].revents)
            return CTL_DONE;
        if (!fds[0].revents)
            continue;

        ssize_t n = read(STDIN_FILENO, buffer, sizeof(buffer));

        /* A stdin that cannot be read has nothing to say any more either. */
        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
            return CTL_DONE;
    }
}

static void set_environment(const struct shmd_segment *segment)
{
    char text[32];

    setenv("SHMD_NAME", segment->name, 1);
    snprintf(text, sizeof(text), "%d", segment->shmid);
    setenv("SHMD_SHMID", text, 1);
    snprintf(text, sizeof(text), "%llu", (unsigned long long)segment->size);
    setenv("SHMD_SIZE", text, 1);
    snprintf(text, sizeof(text), "0x%08x", (unsigned)segment->key);
    setenv("SHMD_KEY", text, 1);
}

static int exit_status(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/*
 * Wait for the command, and hand on the signals that were meant for it. One from the terminal has
 * reached it already, as it is in our process group.
 */
static int wait_for_command(struct ctl *ctl, pid_t pid, int signals)
{
    for (;;) {
        struct signalfd_siginfo info;
        ssize_t n = read(signals, &info, sizeof(info));
        int status;

        if (n < 0 && errno != EINTR)
            return ctl_fail_errno(ctl, "signalfd", -errno);
        if (n > 0 && info.ssi_signo != SIGCHLD && info.ssi_code != SI_KERNEL)
            kill(pid, (int)info.ssi_signo);

        pid_t r = waitpid(pid, &status, WNOHANG);

        if (r == pid)
            return exit_status(status);
        if (r < 0 && errno != EINTR)
            return ctl_fail_errno(ctl, "waitpid", -errno);
    }
}

/* posix_spawn and not fork: a fork would attach the segment a second time until its exec. */
static int run_command(struct ctl *ctl, char **command, const sigset_t *mask, int signals)
{
    posix_spawnattr_t attributes;
    pid_t pid;
    int r = posix_spawnattr_init(&attributes);

    if (r == 0) {
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
        posix_spawnattr_setsigmask(&attributes, mask);
        r = posix_spawnp(&pid, command[0], NULL, &attributes, command, environ);
        posix_spawnattr_destroy(&attributes);
    }
    if (r != 0) {
        ctl_fail_errno(ctl, command[0], -r);
        return r == ENOENT ? 127 : 126;
    }
    return wait_for_command(ctl, pid, signals);
}

void ctl_add_unless_ignored(sigset_t *set, int number)
{
    struct sigaction action;

    if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
        sigaddset(set, number);
}

static int use_attachment(struct ctl *ctl, const struct shmd_attachment *a, char **command)
{
    sigset_t wanted, before;

    sigemptyset(&wanted);
    ctl_add_unless_ignored(&wanted, SIGINT);
    ctl_add_unless_ignored(&wanted, SIGTERM);
    ctl_add_unless_ignored(&wanted, SIGHUP);
    sigaddset(&wanted, SIGCHLD);
    signal(SIGCHLD, SIG_DFL); /* ignored, it would take the command's status away */
    sigprocmask(SIG_BLOCK, &wanted, &before);
    if (!*command)
        sigdelset(&wanted, SIGCHLD);

    _cleanup_close_ int signals = signalfd(-1, &wanted, SFD_CLOEXEC);

    if (signals < 0)
        return ctl_fail_errno(ctl, "signalfd", -errno);

    int code = print_attachment(ctl, a);

    if (code != CTL_DONE)
        return code;
    if (!*command)
        return wait_for_end(ctl, signals);
    set_environment(&a->segment);
    return run_command(ctl, command, &before, signals);
}

enum { ATTACH_ADDRESS = OPTION_LONG, ATTACH_READONLY, ATTACH_ROUND, ATTACH_EXEC, ATTACH_REMAP };

static const struct ctl_option attach_options[] = {
    {"read-only", ATTACH_READONLY, NULL, "attach for reading (SHM_RDONLY)"},
    {"address", ATTACH_ADDRESS, "ADDRESS", "attach there, as 0x7f0000000000 (shmaddr)"},
    {"round", ATTACH_ROUND, NULL, "round the address down to a multiple of SHMLBA (SHM_RND)"},
    {"exec", ATTACH_EXEC, NULL, "allow to execute what is in it (SHM_EXEC)"},
    {"remap", ATTACH_REMAP, NULL, "replace what is mapped at the address (SHM_REMAP)"},
    {0},
};

static unsigned flag_of(int option)
{
    switch (option) {
    case ATTACH_READONLY:
        return SHMD_READ_ONLY;
    case ATTACH_ROUND:
        return SHMD_ROUND;
    case ATTACH_EXEC:
        return SHMD_EXEC;
    default:
        return SHMD_REMAP;
    }
}

/* How many words follow the first "--"; getopt moves operands about, but none of these. */
static int words_of_command(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--") == 0)
            return argc - i - 1;
    return 0;
}

static int run_attach(struct ctl *ctl, int argc, char **argv)
{
    struct shmd_attachment a;
    unsigned flags = SHMD_FOREIGN;
    uint64_t address = 0;
    int command = words_of_command(argc, argv);
    int c;

    while ((c = ctl_getopt(ctl, argc, argv)) != -1) {
        if (c == ATTACH_ADDRESS)
            address = arg_offset(ctl, "address");
        else
            flags |= flag_of(c);
    }
    if (argc - optind - command != 1)
        ctl_usage(ctl, "one segment, and then a command only after --");
    if (address > UINTPTR_MAX)
        ctl_usage(ctl, "--address: there is no such address");

    const char *name = argv[optind];
    int code = ctl_connect(ctl);

    if (code)
        return code;

    int r = shmd_attach(ctl->shmd, name, flags, (void *)(uintptr_t)address, &a, ctl->timeout_ms);

    if (r < 0)
        return ctl_fail(ctl, name, r);
    code = use_attachment(ctl, &a, argv + optind + 1);
    r = shmd_detach(ctl->shmd, &a);
    if (r < 0) {
        int failed = ctl_fail(ctl, name, r);

        if (code == CTL_DONE)
            code = failed;
    }
    return code;
}

const struct command command_attach = {
    .name = "attach",
    .synopsis = "SEGMENT [--read-only] [--address ADDRESS] [--round] [--exec] [--remap]\n"
                "       [-- COMMAND [ARGUMENT...]]",
    .help = "Attach a segment (shmat), run a command or wait, detach",
    .details = "COMMAND has SHMD_NAME, SHMD_SHMID, SHMD_KEY and SHMD_SIZE in its environment, and\n"
               "the segment stays attached until it ends. Without one: until standard input is at\n"
               "its end, or SIGINT, SIGTERM or SIGHUP comes. With key: and id: segments that shmd\n"
               "does not broker are attached too.",
    .options = attach_options,
    .columns = attach_columns,
    .operands_min = 1,
    .operands_max = -1,
    .run = run_attach,
};

static int run_detach(struct ctl *ctl, int argc, char **argv)
{
    ctl_operands(ctl, argc, argv);
    printf("A process detaches its own attachments (shmdt), nobody else's: attach detaches when\n"
           "its command, or its standard input, has come to an end. See DTIME, LPID and NATTCH in\n"
           PROGRAM " stat SEGMENT.\n");
    return CTL_DONE;
}

const struct command command_detach = {
    .name = "detach",
    .synopsis = "",
    .help = "Explain how detaching (shmdt) is done: at the end of attach",
    .run = run_detach,
};
