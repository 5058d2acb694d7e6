/* SPDX-License-Identifier: MIT */
/* watch: a line for everything that happens to segments. */
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>

#include "table.h"

#define RECONNECT_MS 200 /* at a time, between two looks at the signals */

static const char *event_name(unsigned kind)
{
    static const char *const names[] = {
        [SHMD_EVENT_CREATED] = "created",   [SHMD_EVENT_REMOVED] = "removed",
        [SHMD_EVENT_ATTACHED] = "attached", [SHMD_EVENT_DETACHED] = "detached",
        [SHMD_EVENT_CHANGED] = "changed",   [SHMD_EVENT_DIED] = "died",
        [SHMD_EVENT_REFUSED] = "refused",   [SHMD_EVENT_LOST] = "lost",
        [SHMD_EVENT_RESTARTED] = "restarted",
    };

    return kind < ARRAY_LEN(names) && names[kind] ? names[kind] : "unknown";
}

static bool has_reason(const struct shmd_event *ev)
{
    return ev->kind == SHMD_EVENT_REMOVED || ev->kind == SHMD_EVENT_CHANGED;
}

static const char *reason_name(unsigned reason)
{
    static const char *const names[] = {
        [SHMD_REASON_ASKED] = "asked", [SHMD_REASON_BEHIND] = "behind",
        [SHMD_REASON_UNUSED] = "unused", [SHMD_REASON_CONFIG] = "config",
    };

    return reason < ARRAY_LEN(names) ? names[reason] : "unknown";
}

/* What happened to the watch itself is about no segment and of nobody. */
static bool is_own(const struct shmd_event *ev)
{
    return ev->kind == SHMD_EVENT_LOST || ev->kind == SHMD_EVENT_RESTARTED;
}

static void print_text(const struct shmd_event *ev)
{
    char when[TIME_TEXT_SIZE], user[USER_TEXT_SIZE];

    time_text(when, ev->when / 1000000000);
    printf("%s %-9s", when, event_name(ev->kind));
    if (ev->kind == SHMD_EVENT_LOST)
        printf(" %u events, which were read too slowly", ev->reason);
    if (ev->kind == SHMD_EVENT_RESTARTED)
        printf(" shmd; what happened meanwhile is not known");
    if (!is_own(ev)) {
        printf(" %s", *ev->segment.name ? ev->segment.name : "-");
        if (ev->segment.shmid >= 0)
            printf(" shmid %d", ev->segment.shmid);
    }
    if (ev->pid) {
        user_text(user, ev->uid);
        printf(" by %s pid %d", user, (int)ev->pid);
    }
    if (has_reason(ev) && ev->reason != SHMD_REASON_ASKED)
        printf(" %s", reason_name(ev->reason));
    if (ev->kind == SHMD_EVENT_CHANGED) {
        user_text(user, ev->owner);
        printf(" owner %s group %u mode %04o", user, (unsigned)ev->gid, ev->mode);
    }
    if (ev->kind == SHMD_EVENT_REFUSED)
        printf(": %s", strerror((int)ev->reason));
    printf("\n");
}

static void print_string(const char *name, const char *text)
{
    printf(", \"%s\": \"", name);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else if (*c < ' ')
            printf("\\u%04x", *c);
        else
            printf("%c", *c);
    printf("\"");
}

static void print_user(const char *name, uid_t uid)
{
    char user[USER_TEXT_SIZE];

    user_text(user, uid);
    print_string(name, user);
}

static void print_segment(const struct shmd_event *ev)
{
    if (*ev->segment.name)
        print_string("name", ev->segment.name);
    if (ev->segment.shmid < 0)
        return;
    printf(", \"shmid\": %d, \"key\": \"0x%08x\", \"size\": %llu, \"instance\": %llu",
           ev->segment.shmid, (unsigned)ev->segment.key, (unsigned long long)ev->segment.size,
           (unsigned long long)ev->segment.instance);
    print_user("owner", ev->owner);
    printf(", \"gid\": %u, \"mode\": \"%04o\"", (unsigned)ev->gid, ev->mode);
}

/* Only what is known of it. */
static void print_json(const struct shmd_event *ev)
{
    char when[TIME_TEXT_SIZE];

    time_text(when, ev->when / 1000000000);
    printf("{\"event\": \"%s\"", event_name(ev->kind));
    print_string("time", when);
    printf(", \"when\": %lld", (long long)ev->when);
    if (!is_own(ev))
        print_segment(ev);
    if (has_reason(ev))
        print_string("reason", reason_name(ev->reason));
    if (ev->kind == SHMD_EVENT_REFUSED)
        print_string("reason", strerror((int)ev->reason));
    if (ev->kind == SHMD_EVENT_LOST)
        printf(", \"lost\": %u", ev->reason);
    if (ev->pid) {
        printf(", \"pid\": %d, \"uid\": %u", (int)ev->pid, (unsigned)ev->uid);
        print_user("user", ev->uid);
    }
    printf("}\n");
}

enum { STOPPED = -1 };

/* CTL_DONE: ask shmd_watch_next(); STOPPED: by a signal; else the exit code. */
static int wait_for_event(struct ctl *ctl, const struct shmd_watch *w, int signals)
{
    int fd = shmd_watch_fd(w);
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    int n;

    /* Without a connection there is nothing to poll: shmd_watch_next() waits for one. */
    do
        n = poll(fds, 2, fd < 0 ? 0 : ctl->timeout_given ? ctl->timeout_ms : -1);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return ctl_fail_errno(ctl, "poll", -errno);
    if (fds[0].revents)
        return STOPPED;
    if (n == 0 && fd >= 0) {
        log_error("watch: nothing happened within %d ms", ctl->timeout_ms);
        return CTL_TIMED_OUT;
    }
    return CTL_DONE;
}

static int print_events(struct ctl *ctl, struct shmd_watch *w, uint32_t count, int signals)
{
    bool counted = count > 0;

    for (;;) {
        struct shmd_event ev;
        bool connected = shmd_watch_fd(w) >= 0;
        int r = shmd_watch_next(w, &ev, connected ? 0 : RECONNECT_MS);

        if (r == -ETIMEDOUT) {
            int code = wait_for_event(ctl, w, signals);

            if (code != CTL_DONE)
                return code == STOPPED ? CTL_DONE : code;
            continue;
        }
        if (r < 0) {
            log_error("watch: %s", shmd_watch_error(w));
            return CTL_FAILED;
        }
        if (ctl->json)
            print_json(&ev);
        else
            print_text(&ev);
        if (fflush(stdout) != 0)
            return ctl_fail_errno(ctl, "standard output", -errno);
        if (counted && --count == 0)
            return CTL_DONE;
    }
}

static const struct ctl_option watch_options[] = {
    {"count", OPTION_LONG, "N", "end after so many events"},
    {"json", 'J', NULL, "print a JSON object a line"},
    {0},
};

static int run_watch(struct ctl *ctl, int argc, char **argv)
{
    struct shmd_watch *w = NULL;
    uint32_t count = 0;
    sigset_t wanted;

    while (ctl_getopt(ctl, argc, argv) != -1)
        count = arg_count(ctl, "count");

    const char *pattern = argv[optind];
    int code = ctl_connect(ctl);

    if (code)
        return code;
    sigemptyset(&wanted);
    ctl_add_unless_ignored(&wanted, SIGINT);
    ctl_add_unless_ignored(&wanted, SIGTERM);
    sigprocmask(SIG_BLOCK, &wanted, NULL);

    _cleanup_close_ int signals = signalfd(-1, &wanted, SFD_CLOEXEC);

    if (signals < 0)
        return ctl_fail_errno(ctl, "signalfd", -errno);

    int r = shmd_watch_open(&w, ctl->shmd, pattern, ctl->timeout_ms);

    if (r < 0)
        return ctl_fail(ctl, pattern, r);
    ctl->shmd = shmd_disconnect(ctl->shmd);
    code = print_events(ctl, w, count, signals);
    shmd_watch_close(w);
    return code;
}

const struct command command_watch = {
    .name = "watch",
    .synopsis = "[PATTERN] [--count N] [--json]",
    .help = "Print what happens to segments, a line an event",
    .details =
        "A PATTERN is a name in which * stands for any letters and ? for one, of a slash too;\n"
        "without a slash it is of your own namespace. Without one: all that you may see. Ends at\n"
        "SIGINT and SIGTERM, and with --timeout when nothing happened for so long.",
    .options = watch_options,
    .json_lines = true,
    .operands_max = 1,
    .run = run_watch,
};
