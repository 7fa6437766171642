// SPDX-License-Identifier: Apache-2.0
// Tests of base/host.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/host.h"
#include "base/util.h"

static void test_host_is_loopback_when_given_hosts_knows_them(void **state)
{
    (void)state;
    assert_true(pawl_host_is_loopback("127.0.0.1"));
    assert_true(pawl_host_is_loopback("127.1.2.3"));
    assert_true(pawl_host_is_loopback("::1"));
    assert_true(pawl_host_is_loopback("localhost"));
    static const char *const others[] = {
        "0.0.0.0", "128.0.0.1", "::", "10.0.0.1", "127.example.org", "localhost.example.org", ""};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(others); i++) {
        assert_false(pawl_host_is_loopback(others[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_is_loopback_when_given_hosts_knows_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
