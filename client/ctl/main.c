/* SPDX-License-Identifier: MIT */
/* shmctl-client(1): every call of System V shared memory, on names, keys and shmids alike. */
#include <fcntl.h>
#include <locale.h>
#include <string.h>

#include "ctl.h"
#include "streams.h"

const struct command *const ctl_commands[] = {
    &command_create, &command_open,   &command_attach, &command_detach, &command_stat,
    &command_set,    &command_rm,     &command_list,   &command_who,    &command_watch,
    &command_limits, &command_usage,  &command_ping,   &command_status, &command_fsck,
    &command_write,  &command_read,   &command_dump,   &command_pub,    &command_sub,
    &command_top,
    NULL,
};

bool ctl_close_stdout(void)
{
    bool earlier = ferror(stdout);
    int error = fflush(stdout) != 0 ? errno : 0;

    /* Some file systems tell of a full disk at the close only. */
    if (fclose(stdout) != 0 && !error)
        error = errno;
    if (error || earlier)
        log_error("standard output: %s", error ? strerror(error) : "could not be written");
    return !error && !earlier;
}

static const struct command *find_command(const char *name)
{
    for (const struct command *const *c = ctl_commands; *c; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.timeout_ms = 10000};

    streams_occupy();
    setlocale(LC_CTYPE, ""); /* not LC_NUMERIC: "1.5" is read and written */
    log_open(PROGRAM);
    if (argc < 1)
        return CTL_USAGE;
    argv[0] = (char[]){PROGRAM};
    ctl_getopt(&ctl, argc, argv);
    if (optind >= argc)
        ctl_usage(&ctl, "a command is missing");

    const struct command *command = find_command(argv[optind]);

    if (!command)
        ctl_usage(&ctl, "'%s' is not a command", argv[optind]);
    ctl.command = command;

    /* getopt names argv[0] in what it says. */
    char title[64];

    snprintf(title, sizeof(title), PROGRAM ": %s", command->name);
    argc -= optind;
    argv += optind;
    argv[0] = title;
    optind = 0;

    int code = command->run(&ctl, argc, argv);

    ctl.shmd = shmd_disconnect(ctl.shmd);
    if (!ctl_close_stdout() && code == CTL_DONE)
        code = CTL_FAILED;
    return code;
}
