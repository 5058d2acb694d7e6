/* SPDX-License-Identifier: MIT */
/*
 * top on a terminal. Signals are waited for with the keys, so that the terminal is always given
 * back as it was. Of names only printable ASCII is shown: nothing in them may steer the terminal.
 */
#include <ncurses.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termcap.h>
#include <unistd.h>

#include "top.h"

struct screen {
    struct top *top;
    size_t first; /* row shown at the top */
    bool paused;
    int signals, code;
};

static const char *const titles[] = {
    "NAME", "OWNER", "SIZE", "NATTCH", "LEASES", "MSGRATE", "BYTERATE", "LOSTRATE", "READERS",
    "WRITERS", "WAITING",
};
_Static_assert(ARRAY_LEN(titles) == TOP_COUNT, "a column is missing");

static const char *plain(char *text)
{
    for (char *c = text; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    return text;
}

static void unit(char text[16], double v)
{
    unsigned i = 0;

    while (v >= 10000 && i < 5) {
        v /= 1000;
        i++;
    }
    snprintf(text, 16, "%.0f%.1s", v, &" kMGTP"[i]);
}

static void row(int y, const struct top_row *r)
{
    static const char *const waiting[] = {"none", "readers", "writers", "both"};
    char line[512], name[256], user[USER_TEXT_SIZE], size[16], rate[3][16] = {"-", "-", "-"};
    char readers[16] = "-", writers[16] = "-";

    snprintf(name, sizeof(name), "%s", r->status.segment.name);
    user_text(user, r->status.uid);
    unit(size, (double)r->status.segment.size);
    if (r->is_channel) {
        for (int i = 0; i < 3 && r->measured; i++)
            unit(rate[i], r->rate[i]);
        snprintf(readers, sizeof(readers), "%u", r->channel.readers + r->channel.blind);
        snprintf(writers, sizeof(writers), "%u", r->channel.writers);
    }
    snprintf(line, sizeof(line), "%-24s %-10.10s %7s %6llu %6u %8s %8s %8s %7s %7s %s",
             plain(name), plain(user), size, (unsigned long long)r->status.nattch,
             r->status.leases, rate[0], rate[1], rate[2], readers, writers,
             r->is_channel ? waiting[r->channel.waiting & 3] : "-");
    mvaddnstr(y, 0, line, COLS);
}

static void draw(const struct screen *s)
{
    const struct top *t = s->top;
    char line[256];

    erase();
    snprintf(line, sizeof(line), "shmd top: %zu segments, by %s%s   (q s space j k)", t->n,
             titles[t->sort], s->paused ? ", halted" : "");
    mvaddnstr(0, 0, line, COLS);
    snprintf(line, sizeof(line), "%-24s %-10s %7s %6s %6s %8s %8s %8s %7s %7s %s", titles[0],
             titles[1], titles[2], titles[3], titles[4], titles[5], titles[6], titles[7],
             titles[8], titles[9], titles[10]);
    attron(A_REVERSE);
    mvaddnstr(1, 0, line, COLS);
    attroff(A_REVERSE);
    for (size_t i = s->first; i < t->n && (int)(i - s->first) + 2 < LINES; i++)
        row((int)(i - s->first) + 2, &t->rows[i]);
    refresh();
}

/* False: it is over. */
static bool key(struct screen *s, int c)
{
    struct top *t = s->top;

    switch (c) {
    case 'q':
        return false;
    case 's':
        t->sort = (t->sort + 1) % TOP_COUNT;
        top_sort(t);
        break;
    case ' ':
        s->paused = !s->paused;
        break;
    case 'j':
    case KEY_DOWN:
        s->first += s->first + 1 < t->n;
        break;
    case 'k':
    case KEY_UP:
        s->first -= s->first > 0;
        break;
    }
    return true;
}

static void fit(void)
{
    struct winsize w;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row && w.ws_col)
        resizeterm(w.ws_row, w.ws_col);
}

/* Keys and signals until the time comes. False: it is over. */
static bool pass_time(struct screen *s, int64_t until)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = s->signals, .events = POLLIN},
                               {.fd = STDIN_FILENO, .events = POLLIN}};
        int64_t left = until - clock_ns(CLOCK_MONOTONIC);
        const struct timespec t = {left / NS_PER_SECOND, left % NS_PER_SECOND};
        struct signalfd_siginfo info;

        if (left <= 0)
            return true;

        int n = ppoll(fds, 2, &t, NULL), c;

        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0 && fds[0].revents) {
            if (read(s->signals, &info, sizeof(info)) < 0 || info.ssi_signo != SIGWINCH)
                return false;
            fit();
        }
        if (n > 0 && fds[1].revents) {
            if ((c = getch()) == ERR && fds[1].revents & (POLLHUP | POLLERR))
                return false;
            for (; c != ERR; c = getch())
                if (!key(s, c))
                    return false;
        }
        draw(s);
    }
}

static int run(struct screen *s)
{
    struct top *t = s->top;
    uint64_t rounds = 0;
    int r = 0;

    for (;;) {
        if (!s->paused && (r = top_look(t)) < 0)
            return r;
        s->first = MIN(s->first, t->n ? t->n - 1 : 0);
        draw(s);
        if (!pass_time(s, clock_ns(CLOCK_MONOTONIC) + t->delay))
            return 0;
        if (t->count && ++rounds >= t->count)
            return 0;
    }
}

/* newterm() says so too, but leaves memory behind. */
static bool is_known(const char *terminal)
{
    return terminal && tgetent(NULL, terminal) == 1;
}

int top_screen(struct top *t)
{
    struct screen s = {.top = t};
    sigset_t wanted;
    SCREEN *screen;

    if (!is_known(getenv("TERM")))
        return -ENOTTY;

    sigemptyset(&wanted);
    ctl_add_unless_ignored(&wanted, SIGINT);
    ctl_add_unless_ignored(&wanted, SIGTERM);
    ctl_add_unless_ignored(&wanted, SIGHUP);
    sigaddset(&wanted, SIGWINCH);
    sigprocmask(SIG_BLOCK, &wanted, NULL);

    _cleanup_close_ int signals = signalfd(-1, &wanted, SFD_CLOEXEC);

    screen = signals < 0 ? NULL : newterm(NULL, stdout, stdin);
    if (!screen)
        return -ENOTTY;
    s.signals = signals;
    cbreak();
    noecho();
    nodelay(stdscr, TRUE);
    keypad(stdscr, TRUE);
    set_escdelay(25);
    curs_set(0);

    int r = run(&s);

    endwin();
    delscreen(screen);
    return r < 0 ? ctl_fail(t->ctl, NULL, r) : CTL_DONE;
}
