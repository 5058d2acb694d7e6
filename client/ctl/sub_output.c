/* SPDX-License-Identifier: MIT */
#include "sub_output.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"

#define FLUSH_FROM ((size_t)64 << 10)

int output_open(struct output *o, int signals)
{
    struct stat st;
    bool file = fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode);

    *o = (struct output){.signals = signals, .step = file ? SSIZE_MAX : PIPE_BUF};
    return 0;
}

void output_close(struct output *o)
{
    free(o->bytes);
    o->bytes = NULL;
}

int output_put(struct output *o, const void *bytes, size_t n)
{
    if (n == 0)
        return 0;
    if (o->room - o->used < n) {
        size_t room = MAX(o->room * 2, o->used + n + FLUSH_FROM);
        char *more = realloc(o->bytes, room);

        if (!more)
            return -ENOMEM;
        o->bytes = more;
        o->room = room;
    }
    memcpy(o->bytes + o->used, bytes, n);
    o->used += n;
    return 0;
}

int output_flush(struct output *o)
{
    size_t done = 0;
    int r = 0;

    while (done < o->used && r == 0) {
        r = channel_wait(o->signals, STDOUT_FILENO, POLLOUT, -1);
        if (r != 0)
            break;

        ssize_t n = write(STDOUT_FILENO, o->bytes + done, MIN(o->used - done, o->step));

        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR && errno != EAGAIN)
            r = -errno;
    }
    o->used = 0;
    return r;
}

/* Length of the UTF-8 character at `s`; 0: there is none. */
static size_t utf8(const unsigned char *s, size_t n, uint32_t *c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3
                  : s[0] >> 3 == 30 ? 4 : 0;

    if (length == 0 || length > n)
        return 0;
    *c = length == 1 ? s[0] : s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        *c = *c << 6 | (s[i] & 0x3f);
    }
    return *c < least[length] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000) ? 0 : length;
}

static bool steers(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

int output_visible(struct output *o, const unsigned char *bytes, size_t n)
{
    int r = 0;

    for (size_t i = 0, step; i < n && r == 0; i += step) {
        uint32_t c = 0;
        size_t length = utf8(bytes + i, n - i, &c);

        step = length ? length : 1;
        if (length && (c == '\t' || !steers(c)))
            r = output_put(o, bytes + i, length);
        for (size_t k = 0; k < step && !(length && (c == '\t' || !steers(c))) && r == 0; k++) {
            char text[8];

            r = output_put(o, text, (size_t)snprintf(text, sizeof(text), "\\x%02x", bytes[i + k]));
        }
    }
    return r;
}

static bool is_text(const unsigned char *bytes, size_t n)
{
    uint32_t c;

    for (size_t i = 0, step; i < n; i += step)
        if ((step = utf8(bytes + i, n - i, &c)) == 0)
            return false;
    return true;
}

static int put_text(struct output *o, const unsigned char *bytes, size_t n)
{
    int r = 0;

    for (size_t i = 0, step; i < n && r == 0; i += step) {
        char text[8];
        uint32_t c = 0;

        step = utf8(bytes + i, n - i, &c);
        if (step == 0)
            return -EILSEQ;
        if (steers(c))
            r = output_put(o, text, (size_t)snprintf(text, sizeof(text), "\\u%04x", c));
        else if (c == '"' || c == '\\')
            r = output_put(o, c == '"' ? "\\\"" : "\\\\", 2);
        else
            r = output_put(o, bytes + i, step);
    }
    return r;
}

static int put_base64(struct output *o, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i += 3) {
        size_t left = MIN(n - i, (size_t)3);
        uint32_t v = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                     (left > 2 ? bytes[i + 2] : 0);
        const char text[4] = {digits[v >> 18], digits[v >> 12 & 63],
                              left > 1 ? digits[v >> 6 & 63] : '=',
                              left > 2 ? digits[v & 63] : '='};

        r = output_put(o, text, sizeof(text));
    }
    return r;
}

int output_json(struct output *o, uint64_t sequence, const unsigned char *bytes, size_t n,
                uint64_t lost)
{
    bool text = is_text(bytes, n);
    char head[128];
    int length = snprintf(head, sizeof(head),
                          "{\"sequence\": %llu, \"length\": %zu, \"lost\": %llu, \"%s\": \"",
                          (unsigned long long)sequence, n, (unsigned long long)lost,
                          text ? "text" : "base64");
    int r = output_put(o, head, (size_t)length);

    if (r == 0)
        r = text ? put_text(o, bytes, n) : put_base64(o, bytes, n);
    return r == 0 ? output_put(o, "\"}\n", 3) : r;
}
