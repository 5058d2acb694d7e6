/* SPDX-License-Identifier: MIT */
#include "window.h"

int window_open(struct window *w, struct ctl *ctl, int argc, char **argv, unsigned flags)
{
    bool limited = false;
    int c;

    *w = (struct window){0};
    while ((c = ctl_getopt(ctl, argc, argv)) != -1) {
        if (c == WINDOW_OFFSET) {
            w->offset = arg_offset(ctl, "offset");
        } else {
            w->length = arg_offset(ctl, "length");
            limited = true;
        }
    }
    w->name = argv[optind];

    int code = ctl_connect(ctl);

    if (code)
        return code;

    int r = shmd_attach(ctl->shmd, w->name, flags | SHMD_FOREIGN, NULL, &w->attachment,
                        ctl->timeout_ms);

    if (r < 0)
        return ctl_fail(ctl, w->name, r);

    uint64_t size = w->attachment.segment.size;

    if (w->offset > size || (limited && w->length > size - w->offset)) {
        log_error("%s: %s: --offset%s beyond the %llu bytes that it has", ctl->command->name,
                  w->name, limited ? " and --length reach" : " is", (unsigned long long)size);
        return window_close(w, ctl, CTL_FAILED);
    }
    if (!limited)
        w->length = size - w->offset;
    w->at = (unsigned char *)w->attachment.address + w->offset;
    return CTL_DONE;
}

int window_close(struct window *w, struct ctl *ctl, int code)
{
    int r = shmd_detach(ctl->shmd, &w->attachment);

    if (r >= 0)
        return code;
    r = ctl_fail(ctl, w->name, r);
    return code == CTL_DONE ? r : code;
}
