/* SPDX-License-Identifier: MIT */
#include "create_options.h"

#include <string.h>

static uint32_t arg_lifetime(const struct ctl *ctl)
{
    if (strcmp(optarg, "persistent") == 0)
        return SHMD_PERSISTENT;
    if (strcmp(optarg, "ephemeral") == 0)
        return SHMD_EPHEMERAL;
    if (strcmp(optarg, "ttl") == 0)
        return SHMD_TTL;
    ctl_usage(ctl, "--lifetime: '%s' is not persistent, ephemeral or ttl", optarg);
}

bool create_option(const struct ctl *ctl, int c, struct shmd_create_options *o,
                   struct create_given *given)
{
    switch (c) {
    case NEW_MODE:
        o->mode = arg_mode(ctl, "mode");
        break;
    case NEW_GROUP:
        o->gid = arg_group(ctl, "group");
        break;
    case NEW_LIFETIME:
        o->lifetime = arg_lifetime(ctl);
        break;
    case NEW_TTL:
        o->ttl = arg_duration(ctl, "ttl");
        given->ttl = true;
        break;
    case NEW_LINGER:
        o->linger = arg_duration(ctl, "linger");
        given->linger = true;
        break;
    default:
        return false;
    }
    given->any = true;
    return true;
}

/* --ttl and --linger say which lifetime is meant, as only one has each. */
void create_options_check(const struct ctl *ctl, struct shmd_create_options *o,
                          const struct create_given *given)
{
    if (o->lifetime == SHMD_LIFETIME_DEFAULT && (given->ttl || given->linger))
        o->lifetime = given->ttl ? SHMD_TTL : SHMD_EPHEMERAL;
    if (given->ttl && o->lifetime != SHMD_TTL)
        ctl_usage(ctl, "--ttl is for --lifetime ttl");
    if (given->linger && o->lifetime != SHMD_EPHEMERAL)
        ctl_usage(ctl, "--linger is for --lifetime ephemeral");
    if (o->lifetime == SHMD_TTL && o->ttl == 0)
        ctl_usage(ctl, given->ttl ? "--ttl is at least one second" : "--lifetime ttl needs --ttl");
}
