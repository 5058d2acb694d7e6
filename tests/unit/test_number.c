/* SPDX-License-Identifier: MIT */
/* Which of its process a handle of libshmd is. */
#include "unit.h"

#include "../../client/lib/handle.h"

/* No two at a time have the same, and who comes anew is who went. */
static void test_lowest_free(void **state)
{
    uint32_t second;

    (void)state;
    assert_int_equal(number_take(), 1);
    second = number_take();
    assert_int_equal(second, 2);
    assert_int_equal(number_take(), 3);
    number_give(second);
    assert_int_equal(number_take(), second);
    for (uint32_t i = 4; i <= 64; i++)
        assert_int_equal(number_take(), i);
    number_give(0);
    assert_int_equal(number_take(), 65);
    assert_int_equal(number_take(), 66);
    number_give(64);
    number_give(65);
    assert_int_equal(number_take(), 64);
    assert_int_equal(number_take(), 67);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lowest_free)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
