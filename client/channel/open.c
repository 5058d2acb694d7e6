/* SPDX-License-Identifier: MIT */
/* What opening a writer and a reader have in common: the memory, the role, and the hooks by which
 * the ring reaches the broker. */
#include "member.h"

#include <string.h>

#define LINE 64 /* bytes of the processor's cache */

static bool poke(void *data)
{
    return member_poke(data);
}

static int changed(void *data)
{
    struct member *m = data;
    int r = member_check(m);

    m->stale = r == -ESTALE;
    return r;
}

int member_make(void **ret, const struct making *how, const struct member_wish *wish,
                int timeout_ms)
{
    static const struct shmd_member_options none = SHMD_MEMBER_INIT;
    const struct shmd_member_options *o = wish->options ? wish->options : &none;
    struct deadline d = {.timeout_ms = timeout_ms};
    void *whole;

    if (posix_memalign(&whole, LINE, how->size) != 0)
        return handle_fail(wish->s, -ENOMEM, "out of memory");
    memset(whole, 0, how->size);

    struct member *m = (struct member *)(void *)((char *)whole + how->member);
    int r = member_open(m, wish->s, wish->name, how->kind, o, &d);

    if (r == 0) {
        r = how->start(whole, &(struct ring_hooks){.poke = poke, .changed = changed, .data = m}, o);
        if (r < 0)
            member_close(m);
    }
    if (r < 0) {
        free(whole);
        return r;
    }
    *ret = whole;
    return 0;
}
