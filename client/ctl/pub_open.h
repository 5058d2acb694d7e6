/* SPDX-License-Identifier: MIT */
/* pub's channel: made as the options say, or held against them, and its writer's role. */
#pragma once

#include "channel.h"
#include "create_options.h"

struct pub_channel {
    struct shmd_channel_options options;
    struct create_given given;
    bool described; /* an option says what the channel, not its segment, is to be like */
    bool no_create, wait;
};

/* Become the writer of channel `name`. CTL_DONE, or what to exit with: the error has been told. */
int pub_open(const struct ctl *ctl, const char *name, const struct pub_channel *c,
             struct shmd_writer **ret);
