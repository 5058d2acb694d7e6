/* SPDX-License-Identifier: MIT */
/* A shmd.conf for a test, and what config_load() makes of it. */
#pragma once

#include "unit.h"

#include "config.h"

static char path[] = "/tmp/shmd-unit-config-XXXXXX";

static int enter(void **state)
{
    (void)state;
    close(mkstemp(path));
    return 0;
}

static int leave(void **state)
{
    (void)state;
    return unlink(path);
}

static inline int load(struct config *c, const char *text, char error[CONFIG_ERROR_MAX])
{
    FILE *f = fopen(path, "we");

    fputs(text, f);
    fclose(f);
    *error = 0;
    return config_load(c, path, true, error);
}

/* Wrong at `line`, saying `word`, with nothing taken over. */
static inline void wrong(const char *text, int line, const char *word)
{
    char error[CONFIG_ERROR_MAX], place[100];
    struct config c, kept;

    config_init(&c);
    c.capacity = 77;
    kept = c;
    assert_true(load(&c, text, error) < 0);
    snprintf(place, sizeof(place), "%s:%d: ", path, line);
    if (strncmp(error, place, strlen(place)) != 0 || !strstr(error, word))
        fail_msg("%s\n-> %s (expected line %d, %s)", text, error, line, word);
    assert_memory_equal(&c, &kept, sizeof(c));
}
