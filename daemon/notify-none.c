/* SPDX-License-Identifier: MIT */
#include "notify.h"

void notify_ready(void)
{
}

void notify_reloading(void)
{
}

void notify_stopping(void)
{
}
