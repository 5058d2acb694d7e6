/* SPDX-License-Identifier: MIT */
/*
 * Test builds die here on demand: SHMD_FAILPOINT=OP:N kills shmd by SIGKILL at the Nth point that
 * it passes inside operation OP (create, remove, set, join, adopt). Other builds hold nothing of
 * it.
 */
#pragma once

#ifdef SHMD_FAILPOINTS
void failpoint_enter(const char *op); /* NULL: outside */
void failpoint(void);
#else
static inline void failpoint_enter(const char *op)
{
    (void)op;
}
static inline void failpoint(void)
{
}
#endif
