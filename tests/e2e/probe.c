/* SPDX-License-Identifier: MIT */
/*
 * A program on libshmd that does line by line what its stdin says, for the tests: it stays attached
 * while shmd comes and goes. Answers "ok ..." or "error CODE sentence".
 */
#include <shmd.h>

#include "answer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TIMEOUT 20000

static struct shmd_attachment held[8]; /* by the number in "attach N NAME" */

static int number(const char *text)
{
    return (int)strtol(text, NULL, 0);
}

static struct shmd_watch *watch;

static int count_holders(const struct shmd_holder *holder, void *data)
{
    ++*(int *)data;
    return holder->pid == getpid() ? holder->pid : 0;
}

static int count_problems(const struct shmd_problem *problem, void *data)
{
    *(int *)data += 1 << (8 * (problem->kind - 1));
    return 0;
}

/* What only some tests ask for; false where it is none of these. */
static int obey_more(const char *command, const char *name, const char *arg)
{
    struct shmd_create_options options = SHMD_CREATE_INIT;
    struct shmd_fsck found = {0};
    struct shmd_event ev = {0};
    struct shmd_segment s = {0};
    int r, n = 0;

    if (strcmp(command, "create-ephemeral") == 0 || strcmp(command, "create-ttl") == 0) {
        options.lifetime = command[7] == 'e' ? SHMD_EPHEMERAL : SHMD_TTL;
        options.ttl = options.lifetime == SHMD_TTL ? (unsigned)number(arg) : 0;
        options.linger = options.lifetime == SHMD_TTL ? 0 : (unsigned)number(arg);
        r = shmd_create(broker, name, 4096, &options, &s, TIMEOUT);
        answer(r, "%d", s.shmid);
    } else if (strcmp(command, "who") == 0) {
        r = shmd_who(broker, name, count_holders, &n, TIMEOUT);
        answer(r, "%d %d", n, r == getpid());
    } else if (strcmp(command, "watch") == 0) {
        r = shmd_watch_open(&watch, broker, *name ? name : NULL, TIMEOUT);
        answer(r, "watching");
    } else if (strcmp(command, "event") == 0) {
        r = shmd_watch_next(watch, &ev, *name ? number(name) : TIMEOUT);
        if (r < 0)
            printf("error %d %s\n", -r, shmd_watch_error(watch));
        else
            answer(r, "%u %u %d %s", ev.kind, ev.reason, ev.pid, ev.segment.name);
    } else if (strcmp(command, "fsck") == 0) {
        r = shmd_fsck(broker, *name ? SHMD_REPAIR : 0, &found, count_problems, &n, TIMEOUT);
        answer(r, "%u %u %u %x", found.checked, found.problems, found.mended, n);
    } else {
        return 0;
    }
    return 1;
}

static int count(const struct shmd_status *status, void *data)
{
    (void)status;
    ++*(int *)data;
    return 0;
}

/* Look-ups between two system calls that strace shows and that nothing else here makes. */
static void loop(const char *name, int n)
{
    struct shmd_segment s = {0};
    int r = shmd_open(broker, name, 0, &s, TIMEOUT), found = 0;

    if (r < 0) {
        answer(r, "-");
        return;
    }
    syscall(SYS_getpgid, 0);
    for (int i = 0; i < n; i++)
        found += shmd_open(broker, name, 0, &s, TIMEOUT) == 0;
    syscall(SYS_getpgid, 0);
    answer(0, "%d %d", found, s.shmid);
}

static void attached(const char *command, int slot, const char *arg)
{
    struct shmd_attachment *a = &held[slot];

    if (strcmp(command, "attach") == 0) {
        int r = shmd_attach(broker, arg, 0, NULL, a, TIMEOUT);
        answer(r, "%d", a->segment.shmid);
    } else if (strcmp(command, "attach-ro") == 0) {
        int r = shmd_attach(broker, arg, SHMD_READ_ONLY, NULL, a, TIMEOUT);
        answer(r, "%d", a->segment.shmid);
    } else if (strcmp(command, "detach") == 0) {
        int r = shmd_detach(broker, a);
        answer(r, "detached");
    } else if (strcmp(command, "put") == 0) {
        memcpy(a->address, arg, strlen(arg) + 1);
        answer(0, "put");
    } else if (strcmp(command, "get") == 0) {
        answer(0, "%s", (const char *)a->address);
    } else {
        printf("error 0 what is %s?\n", command);
    }
}

static void obey(const char *command, const char *name, const char *arg)
{
    struct shmd_segment s = {0};
    struct shmd_status st = {0};
    struct shmd_broker info = {0};
    int n = 0;

    if (strcmp(command, "create") == 0) {
        int r = shmd_create(broker, name, strtoull(arg, NULL, 0), NULL, &s, TIMEOUT);
        answer(r, "%d %d", s.shmid, s.created);
    } else if (strcmp(command, "open") == 0) {
        int r = shmd_open(broker, name, 0, &s, TIMEOUT);
        answer(r, "%d %s", s.shmid, s.name);
    } else if (strcmp(command, "wait") == 0) {
        int r = shmd_open(broker, name, SHMD_WAIT, &s, *arg ? number(arg) : TIMEOUT);
        answer(r, "%d %s", s.shmid, s.name);
    } else if (strcmp(command, "stat") == 0) {
        int r = shmd_stat(broker, name, &st, TIMEOUT);
        answer(r, "%d %o %u %llu", st.segment.shmid, st.mode, st.leases,
               (unsigned long long)st.nattch);
    } else if (strcmp(command, "remove") == 0) {
        int r = shmd_remove(broker, name, &st, TIMEOUT);
        answer(r, "%d", st.segment.shmid);
    } else if (strcmp(command, "list") == 0) {
        int r = shmd_list(broker, count, &n, TIMEOUT);
        answer(r, "%d", n);
    } else if (strcmp(command, "ping") == 0) {
        int r = shmd_ping(broker, *name ? number(name) : TIMEOUT);
        answer(r, "pong");
    } else if (strcmp(command, "broker") == 0) {
        int r = shmd_broker(broker, &info, TIMEOUT);
        answer(r, "%d %llu %u", info.pid, (unsigned long long)info.generation, info.leases);
    } else if (strcmp(command, "loop") == 0) {
        loop(name, number(arg));
    } else if (!obey_more(command, name, arg)) {
        attached(command, number(name) & 7, arg);
    }
}

int main(int argc, char **argv)
{
    char line[512], command[32], name[200], arg[200];

    setvbuf(stdout, NULL, _IOLBF, 0);
    int r = shmd_connect(&broker, argc > 1 ? argv[1] : NULL, TIMEOUT);
    if (answer(r, "%s", r == 0 ? shmd_namespace(broker) : "") < 0) {
        shmd_disconnect(broker);
        return 1;
    }
    while (fgets(line, sizeof(line), stdin)) {
        *command = *name = *arg = 0;
        if (sscanf(line, "%31s %199s %199s", command, name, arg) > 0)
            obey(command, name, arg);
    }
    watch = shmd_watch_close(watch);
    broker = shmd_disconnect(broker);
    return 0;
}
