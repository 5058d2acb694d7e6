/* SPDX-License-Identifier: MIT */
/* The life of a segment: create and open (shmget), set (IPC_SET), rm (IPC_RMID). */
#include <string.h>
#include <sys/ipc.h>

#include "columns.h"
#include "create_options.h"
#include "parse.h"

enum {
    OPENED_NAME, OPENED_SHMID, OPENED_KEY, OPENED_SIZE, OPENED_MEMORY, OPENED_NEW, OPENED_INSTANCE,
};

static const struct column opened_columns[] = {
    [OPENED_NAME] = {"NAME", COLUMN_TEXT, true, "full name"},
    [OPENED_SHMID] = {"SHMID", COLUMN_NUMBER, true, "identifier"},
    [OPENED_KEY] = {"KEY", COLUMN_TEXT, true, "System V key"},
    [OPENED_SIZE] = {"SIZE", COLUMN_SIZE, true, "size asked for at creation"},
    [OPENED_MEMORY] = {"MEMORY", COLUMN_SIZE, true, "size in memory: whole pages"},
    [OPENED_NEW] = {"NEW", COLUMN_BOOL, false, "was it created by this very command?"},
    [OPENED_INSTANCE] = {"INSTANCE", COLUMN_NUMBER, false, "the broker's number, never used twice"},
    {0},
};

static int print_opened(struct ctl *ctl, const struct shmd_segment *segment)
{
    struct table t;

    table_init(&t, ctl, "segment");
    table_line(&t);
    table_text(&t, OPENED_NAME, "%s", segment->name);
    table_number(&t, OPENED_SHMID, (unsigned)segment->shmid);
    table_text(&t, OPENED_KEY, "0x%08x", (unsigned)segment->key);
    table_size(&t, OPENED_SIZE, segment->size);
    table_size(&t, OPENED_MEMORY, segment_memory(segment->size));
    table_bool(&t, OPENED_NEW, segment->created);
    table_number(&t, OPENED_INSTANCE, segment->instance);
    return table_print(&t, false);
}

/* PATH:ID, where ID is the number or the character that the C program gives to ftok(3). */
static int32_t arg_ftok(const struct ctl *ctl)
{
    char *colon = strrchr(optarg, ':');
    uint64_t id = 0;

    if (!colon || colon == optarg || !colon[1])
        ctl_usage(ctl, "--ftok: '%s' is not PATH:ID", optarg);
    if (parse_u64(colon + 1, 255, &id) < 0 && !colon[2])
        id = (unsigned char)colon[1];
    if (id == 0)
        ctl_usage(ctl, "--ftok: '%s' is no ID: a character, or a number from 1 to 255", colon + 1);
    *colon = 0;

    key_t key = ftok(optarg, (int)id);

    if (key == -1)
        exit(ctl_fail_errno(ctl, optarg, -errno));
    return key;
}

enum {
    NEW_SIZE = OPTION_LONG, NEW_EXCLUSIVE, NEW_KEY, NEW_FTOK, NEW_NORESERVE,
};

static const struct ctl_option create_options[] = {
    {"size", NEW_SIZE, "SIZE", "bytes, as 4096, 64K or 1GiB; needed"},
    {"exclusive", NEW_EXCLUSIVE, NULL, "fail where the name exists (IPC_EXCL)"},
    {"key", NEW_KEY, "KEY", "a fixed System V key, as 0x1234"},
    {"ftok", NEW_FTOK, "PATH:ID", "the key that ftok(3) makes of a file and an ID"},
    {"noreserve", NEW_NORESERVE, NULL, "commit memory page by page as touched (SHM_NORESERVE)"},
    CREATE_OPTIONS,
    {0},
};

static int run_create(struct ctl *ctl, int argc, char **argv)
{
    struct shmd_create_options options = SHMD_CREATE_INIT;
    struct shmd_segment segment;
    uint64_t size = 0;
    struct create_given given = {0};
    bool sized = false;
    int c;

    while ((c = ctl_getopt(ctl, argc, argv)) != -1) {
        int32_t key = options.key;

        switch (c) {
        case NEW_SIZE:
            size = arg_size(ctl, "size");
            sized = true;
            break;
        case NEW_EXCLUSIVE:
            options.flags |= SHMD_EXCLUSIVE;
            break;
        case NEW_NORESERVE:
            options.flags |= SHMD_NORESERVE;
            break;
        case NEW_KEY:
        case NEW_FTOK:
            options.key = c == NEW_KEY ? arg_key(ctl, "key") : arg_ftok(ctl);
            if (key && key != options.key)
                ctl_usage(ctl, "two different keys are asked for");
            break;
        default:
            create_option(ctl, c, &options, &given);
        }
    }
    if (!sized)
        ctl_usage(ctl, "--size is missing");
    create_options_check(ctl, &options, &given);

    const char *name = argv[optind];
    int r = ctl_connect(ctl);

    if (r)
        return r;
    r = shmd_create(ctl->shmd, name, size, &options, &segment, ctl->timeout_ms);
    return r < 0 ? ctl_fail(ctl, name, r) : print_opened(ctl, &segment);
}

const struct command command_create = {
    .name = "create",
    .synopsis = "NAME --size SIZE [--mode MODE] [--group GROUP] [--exclusive]\n"
                "       [--key KEY | --ftok PATH:ID] [--noreserve]\n"
                "       [--lifetime LIFETIME] [--ttl TIME] [--linger TIME]",
    .help = "Create a segment (shmget with IPC_CREAT), or open the one that is there",
    .details =
        "The memory is zeroed; the kernel rounds it up to whole pages. One that exists is\n"
        "opened if it is large enough. A persistent one stays until it is removed; one with a\n"
        "ttl also goes once it was unused for so long; an ephemeral one goes with its last\n"
        "holder, and at the end of this very command if nobody holds it by then: --linger.",
    .options = create_options,
    .columns = opened_columns,
    .operands_min = 1,
    .operands_max = 1,
    .run = run_create,
};

static const struct ctl_option open_options[] = {
    {"wait", 'w', NULL, "wait until the name is created, as long as --timeout allows"},
    {0},
};

static int run_open(struct ctl *ctl, int argc, char **argv)
{
    struct shmd_segment segment;
    unsigned flags = SHMD_VERIFY;

    while (ctl_getopt(ctl, argc, argv) != -1)
        flags |= SHMD_WAIT;

    const char *name = argv[optind];
    int r = ctl_connect(ctl);

    if (r)
        return r;
    r = shmd_open(ctl->shmd, name, flags, &segment, ctl->timeout_ms);
    return r < 0 ? ctl_fail(ctl, name, r) : print_opened(ctl, &segment);
}

const struct command command_open = {
    .name = "open",
    .synopsis = "SEGMENT [--wait]",
    .help = "Look a segment up (shmget)",
    .details = "This does not check permission: attaching does.",
    .options = open_options,
    .columns = opened_columns,
    .operands_min = 1,
    .operands_max = 1,
    .run = run_open,
};

enum { SET_MODE_OPTION = OPTION_LONG, SET_OWNER_OPTION, SET_GROUP_OPTION };

static const struct ctl_option set_options[] = {
    {"mode", SET_MODE_OPTION, "MODE", "permissions in octal"},
    {"owner", SET_OWNER_OPTION, "USER", "give it away (administrators of the broker only)"},
    {"group", SET_GROUP_OPTION, "GROUP", "the group that the group's permissions are for"},
    {0},
};

static int run_set(struct ctl *ctl, int argc, char **argv)
{
    struct shmd_set_options options = SHMD_SET_INIT;
    int c;

    while ((c = ctl_getopt(ctl, argc, argv)) != -1) {
        if (c == SET_MODE_OPTION)
            options.mode = arg_mode(ctl, "mode");
        else if (c == SET_OWNER_OPTION)
            options.uid = arg_user(ctl, "owner");
        else
            options.gid = arg_group(ctl, "group");
    }
    if (options.mode < 0 && options.uid < 0 && options.gid < 0)
        ctl_usage(ctl, "nothing to change: give --mode, --owner or --group");

    const char *name = argv[optind];
    int r = ctl_connect(ctl);

    if (r)
        return r;
    r = shmd_set(ctl->shmd, name, &options, NULL, ctl->timeout_ms);
    return r < 0 ? ctl_fail(ctl, name, r) : CTL_DONE;
}

const struct command command_set = {
    .name = "set",
    .synopsis = "SEGMENT [--mode MODE] [--owner USER] [--group GROUP]",
    .help = "Change permissions, owner or group (IPC_SET)",
    .details = "What is attached stays attached.",
    .options = set_options,
    .operands_min = 1,
    .operands_max = 1,
    .run = run_set,
};

static int remove_one(struct ctl *ctl, const char *name)
{
    struct shmd_status status;
    int r = shmd_remove(ctl->shmd, name, &status, ctl->timeout_ms);

    if (r < 0)
        return ctl_fail(ctl, name, r);

    uint64_t users = status.nattch - (status.nattch && status.flags & SHMD_PINNED ? 1 : 0);

    if (users)
        printf("%s: %llu still attached; its memory goes with the last\n",
               *status.segment.name ? status.segment.name : name, (unsigned long long)users);
    return CTL_DONE;
}

static int run_rm(struct ctl *ctl, int argc, char **argv)
{
    char **names = ctl_operands(ctl, argc, argv);
    int code = ctl_connect(ctl);

    if (code)
        return code;
    for (; *names; names++) {
        int r = remove_one(ctl, *names);

        if (code == CTL_DONE)
            code = r;
    }
    return code;
}

const struct command command_rm = {
    .name = "rm",
    .synopsis = "SEGMENT...",
    .help = "Remove segments (IPC_RMID)",
    .details = "A name is free at once; the memory goes with the last attachment. After an error\n"
               "the others are removed all the same; the exit code is the first error's.",
    .operands_min = 1,
    .operands_max = -1,
    .run = run_rm,
};
