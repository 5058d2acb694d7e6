/* SPDX-License-Identifier: MIT */
#include "../shmd.h"

__attribute__((visibility("default"))) const char *shmd_version(void)
{
    return SHMD_VERSION;
}
