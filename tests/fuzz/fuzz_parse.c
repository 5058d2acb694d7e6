/* SPDX-License-Identifier: MIT */
/* Texts that people write: no crash, nothing stored on failure, and names that are names. */
#include <stdlib.h>
#include <string.h>

#include "name.h"
#include "parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

static void names(const char *text)
{
    char once[NAME_SIZE], twice[NAME_SIZE], ns[NAMESPACE_SIZE];
    const char *why = NULL;
    int r = name_resolve(text, "me", once, &why);

    CHECK(r == 0 ? !why : why != NULL);
    if (r == 0) {
        CHECK(once[NAME_SIZE - 1] == 0 && once[0] != '.' &&
              strchr(once, '/') == strrchr(once, '/'));
        CHECK(name_resolve(once, "other", twice, &why) == 0);
        CHECK(memcmp(once, twice, NAME_SIZE) == 0);
    }
    name_of_user(7, text, ns);
    CHECK(name_valid_namespace(ns));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct wire_target target;
    uint64_t v = 4711;
    uint32_t mode = 4711;
    int32_t key = 0;
    int ms = 4711;
    bool b;

    memcpy(text, data, size);
    text[size] = 0;
    CHECK(parse_u64(text, 1000, &v) == 0 ? v <= 1000 : v == 4711);
    v = 4711;
    CHECK(parse_size(text, &v) == 0 || v == 4711);
    CHECK(parse_mode(text, &mode) == 0 ? mode <= 0777 : mode == 4711);
    mode = 4711;
    CHECK(parse_duration(text, &mode) == 0 || mode == 4711);
    CHECK((parse_key(text, &key) == 0) == (key != 0));
    CHECK(parse_timeout(text, &ms) == 0 ? ms >= -1 : ms == 4711);
    parse_bool(text, &b);
    if (parse_target(text, &target) == 0)
        CHECK(target.by <= BY_SHMID);
    names(text);
    free(text);
    return 0;
}
