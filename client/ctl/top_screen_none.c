/* SPDX-License-Identifier: MIT */
/* Built without ncurses: plain tables. */
#include "top.h"

int top_screen(struct top *t)
{
    (void)t;
    return -ENOTTY;
}
