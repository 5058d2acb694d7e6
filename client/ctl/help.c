/* SPDX-License-Identifier: MIT */
/* --help, printed from the rows that the program works with. */
#include "ctl.h"

static void print_options(const char *title, const struct ctl_option *options)
{
    if (!options || !options->name)
        return;
    printf("\n%s\n", title);
    for (const struct ctl_option *o = options; o->name; o++) {
        char left[64];

        if (o->value < OPTION_LONG)
            snprintf(left, sizeof(left), "-%c, --%s%s%s", o->value, o->name, o->arg ? " " : "",
                     o->arg ? o->arg : "");
        else
            snprintf(left, sizeof(left), "    --%s%s%s", o->name, o->arg ? " " : "",
                     o->arg ? o->arg : "");
        printf("  %-24s %s\n", left, o->help);
    }
}

static void print_codes(void)
{
    printf("\nExit codes:\n"
           "  0 done             3 no such segment     5 no broker to talk to\n"
           "  1 failed           4 not permitted       6 timed out\n"
           "  2 wrong usage      7 sub: the writer died\n"
           "  attach with a command: what that exits with\n");
}

void help_general(void)
{
    printf("Usage: " PROGRAM " [options] COMMAND [options] [operands]\n\n"
           "Named System V shared memory, brokered by shmd.\n\nCommands:\n");
    for (const struct command *const *c = ctl_commands; *c; c++)
        printf("  %-8s %s\n", (*c)->name, (*c)->help);
    printf("\nA segment is NAME (your own), NAMESPACE/NAME, key:0x1234 or id:42 (a shmid).\n");
    print_options("General options, before or after the command:", ctl_general_options);
    print_options("Options of the commands that print a table:", ctl_table_options);
    print_codes();
    printf("\nMore: " PROGRAM " COMMAND --help, " PROGRAM "(1), shmd(7).\n");
}

void help_command(const struct command *command)
{
    printf("Usage: " PROGRAM " %s%s%s\n\n%s.\n", command->name, *command->synopsis ? " " : "",
           command->synopsis, command->help);
    if (command->details)
        printf("\n%s\n", command->details);
    print_options("Options:", command->options);
    print_options("General options:", ctl_general_options);
    if (command->columns) {
        print_options("Table options:", ctl_table_options);
        printf("\nColumns (* shown by default):\n");
        for (const struct column *c = command->columns; c->name; c++)
            printf("  %-20s %c %s\n", c->name, c->shown ? '*' : ' ', c->help);
    }
    print_codes();
}
