// SPDX-License-Identifier: Apache-2.0
// Tests of the error codes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include <pawl/error.h>

#include "base/util.h"

#define ERROR_NUMBER(name, number, text, reaction) number,
static const int error_numbers[] = {PAWL_ERRORS(ERROR_NUMBER)};

static void test_strerror_when_any_code_then_own_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(error_numbers); i++) {
        const char *text = pawl_strerror(error_numbers[i]);
        assert_non_null(text);
        assert_memory_equal(text, "PAWL_E", 6);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(text, pawl_strerror(error_numbers[j]));
        }
    }
}

static void test_strerror_when_errno_or_unknown_then_never_null(void **state)
{
    (void)state;
    assert_string_equal(pawl_strerror(0), "success");
    assert_string_equal(pawl_strerror(-ENOENT), "No such file or directory");
    assert_string_equal(pawl_strerror(-99999), "unknown error code");
    assert_string_equal(pawl_strerror(7), "unknown error code");
    assert_string_equal(pawl_strerror(-2147483647 - 1), "unknown error code");
}

static void test_reaction_when_listed_then_of_the_list(void **state)
{
    (void)state;
    assert_int_equal(pawl_error_reaction(PAWL_EBUSY), PAWL_REACTION_RETRY);
    assert_int_equal(pawl_error_reaction(PAWL_ESTALE), PAWL_REACTION_REFRESH);
    assert_int_equal(pawl_error_reaction(PAWL_ECHUNKFULL), PAWL_REACTION_NEXT_CHUNK);
    assert_int_equal(pawl_error_reaction(PAWL_EDISCONNECTED), PAWL_REACTION_FAILOVER);
    assert_int_equal(pawl_error_reaction(PAWL_EIDREUSED), PAWL_REACTION_GIVE_UP);
    assert_int_equal(pawl_error_reaction(0), PAWL_REACTION_GIVE_UP);
    assert_int_equal(pawl_error_reaction(-EIO), PAWL_REACTION_GIVE_UP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strerror_when_any_code_then_own_text),
        cmocka_unit_test(test_strerror_when_errno_or_unknown_then_never_null),
        cmocka_unit_test(test_reaction_when_listed_then_of_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
