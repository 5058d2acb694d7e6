/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <sys/stat.h>

#include "log.h"

/* What one line becomes on stderr. */
static const char *logged(int level, bool journal)
{
    static char text[2048];
    FILE *f = tmpfile();
    int saved = dup(STDERR_FILENO);
    struct stat st;
    char stream[64];

    assert_non_null(f);
    fstat(fileno(f), &st);
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    if (journal)
        setenv("JOURNAL_STREAM", stream, 1);
    else
        setenv("JOURNAL_STREAM", "1:2", 1);
    dup2(fileno(f), STDERR_FILENO);
    log_open("it");
    errno = EXFULL;
    log_line(level, "%s %d", "hello", 42);
    assert_int_equal(errno, EXFULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = 0;
    fclose(f);
    unsetenv("JOURNAL_STREAM");
    return text;
}

static void plain_and_journal(void **state)
{
    (void)state;
    log_set_level(LOG_INFO);
    assert_string_equal(logged(LOG_ERR, false), "it: hello 42\n");
    assert_string_equal(logged(LOG_ERR, true), "<3>hello 42\n");
    assert_string_equal(logged(LOG_INFO, true), "<6>hello 42\n");
}

static void levels(void **state)
{
    (void)state;
    log_set_level(LOG_WARNING);
    assert_string_equal(logged(LOG_WARNING, false), "it: hello 42\n");
    assert_string_equal(logged(LOG_NOTICE, false), "");
    assert_true(log_wants(LOG_ERR));
    assert_false(log_wants(LOG_DEBUG));
    log_set_level(LOG_DEBUG);
    assert_string_equal(logged(LOG_DEBUG, false), "it: hello 42\n");
}

static void level_names(void **state)
{
    (void)state;
    assert_int_equal(log_level_from_text("error"), LOG_ERR);
    assert_int_equal(log_level_from_text("warning"), LOG_WARNING);
    assert_int_equal(log_level_from_text("notice"), LOG_NOTICE);
    assert_int_equal(log_level_from_text("info"), LOG_INFO);
    assert_int_equal(log_level_from_text("debug"), LOG_DEBUG);
    assert_int_equal(log_level_from_text("loud"), -EINVAL);
    assert_int_equal(log_level_from_text(""), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_and_journal),
        cmocka_unit_test(levels),
        cmocka_unit_test(level_names),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
