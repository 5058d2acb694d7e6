/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "paths.h"

static char runtime[64], folder[96];

static int enter(void **state)
{
    (void)state;
    snprintf(runtime, sizeof(runtime), "/tmp/shmd-unit-XXXXXX");
    if (!mkdtemp(runtime))
        return -1;
    snprintf(folder, sizeof(folder), "%s/shmd", runtime);
    unsetenv("SHMD_SOCKET");
    return setenv("XDG_RUNTIME_DIR", runtime, 1);
}

static int leave(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof(path), "%s/shmd.sock", folder);
    unlink(path);
    unlink(folder);
    rmdir(folder);
    return rmdir(runtime);
}

static void private_folder(void **state)
{
    char path[SOCKET_PATH_MAX], expected[128];
    struct stat st;

    (void)state;
    snprintf(expected, sizeof(expected), "%s/shmd.sock", folder);
    assert_int_equal(socket_private(path, false), -ENOENT);
    assert_string_equal(path, expected);
    assert_int_equal(socket_private(path, true), 0);
    assert_string_equal(path, expected);
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(socket_private(path, true), 0);
}

static void folder_of_a_wrong_mode(void **state)
{
    static const mode_t bad[] = {0701, 0710, 0770, 0755, 0777, 01777};
    char path[SOCKET_PATH_MAX];

    (void)state;
    assert_int_equal(mkdir(folder, 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(chmod(folder, bad[i]), 0);
        assert_int_equal(socket_private(path, false), -EPERM);
        assert_int_equal(socket_private(path, true), -EPERM);
    }
    assert_int_equal(chmod(folder, 0700), 0);
    assert_int_equal(socket_private(path, false), 0);
}

static void folder_of_another(void **state)
{
    char path[SOCKET_PATH_MAX];

    (void)state;
    if (geteuid() != 0)
        skip(); /* only root can give a folder away */
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(chown(folder, 12345, 12345), 0);
    assert_int_equal(socket_private(path, true), -EPERM);
}

static void link_in_place_of_the_folder(void **state)
{
    char path[SOCKET_PATH_MAX];

    (void)state;
    assert_int_equal(symlink(runtime, folder), 0);
    assert_int_equal(socket_private(path, true), -EPERM);
    assert_int_equal(unlink(folder), 0);
    close(open(folder, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(socket_private(path, true), -EPERM);
}

static void without_a_runtime_folder(void **state)
{
    char path[SOCKET_PATH_MAX], expected[64], longer[300];

    (void)state;
    snprintf(expected, sizeof(expected), "/tmp/shmd-%u/shmd.sock", (unsigned)geteuid());
    unsetenv("XDG_RUNTIME_DIR");
    socket_private(path, false);
    assert_string_equal(path, expected);
    setenv("XDG_RUNTIME_DIR", "relative", 1);
    socket_private(path, false);
    assert_string_equal(path, expected);
    memset(longer, 'x', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = 0;
    setenv("XDG_RUNTIME_DIR", longer, 1);
    assert_int_equal(socket_private(path, true), -ENAMETOOLONG);
}

static void order_of_finding(void **state)
{
    char path[SOCKET_PATH_MAX], own[SOCKET_PATH_MAX], longer[300];

    (void)state;
    assert_int_equal(socket_find(path, NULL), 0);
    assert_string_equal(path, SOCKET_SYSTEM);
    assert_int_equal(socket_private(own, true), 0);
    assert_int_equal(socket_find(path, NULL), 0);
    assert_string_equal(path, SOCKET_SYSTEM); /* the folder, and no broker in it */
    close(open(own, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(socket_find(path, NULL), 0);
    assert_string_equal(path, own);
    setenv("SHMD_SOCKET", "/from/the/environment", 1);
    assert_int_equal(socket_find(path, NULL), 0);
    assert_string_equal(path, "/from/the/environment");
    assert_int_equal(socket_find(path, "/asked"), 0);
    assert_string_equal(path, "/asked");
    setenv("SHMD_SOCKET", "", 1);
    assert_int_equal(socket_find(path, NULL), 0);
    assert_string_equal(path, own);
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    assert_int_equal(socket_find(path, longer), -ENAMETOOLONG);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(private_folder),           CASE(folder_of_a_wrong_mode),
        CASE(folder_of_another),        CASE(link_in_place_of_the_folder),
        CASE(without_a_runtime_folder), CASE(order_of_finding),
    };

    return cmocka_run_group_tests_name("paths", tests, NULL, NULL);
}
