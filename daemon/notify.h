/* SPDX-License-Identifier: MIT */
/* What the service manager is told; without libsystemd nobody is (notify-none.c). */
#pragma once

void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);
