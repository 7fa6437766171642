// SPDX-License-Identifier: Apache-2.0
// Tests of base/addresses.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "base/addresses.h"

static void test_find_when_the_provider_is_offered_gives_its_address(void **state)
{
    (void)state;
    char address[PAWL_ADDRESS_BYTES_MAX];
    const char *list = "verbs://10.0.0.1:7500,tcp://[fe80::1]:7501";
    assert_int_equal(pawl_addresses_find(list, "tcp", address), 0);
    assert_string_equal(address, "tcp://[fe80::1]:7501");
    assert_int_equal(pawl_addresses_find(list, "verbs", address), 0);
    assert_string_equal(address, "verbs://10.0.0.1:7500");
    assert_int_equal(pawl_addresses_find("tcp://127.0.0.1:1", "tcp", address), 0);
    assert_string_equal(address, "tcp://127.0.0.1:1");
}

static void test_find_when_there_is_none_says_so(void **state)
{
    (void)state;
    char address[PAWL_ADDRESS_BYTES_MAX];
    char longest[200] = "tcp://";
    memset(longest + 6, '9', 100);
    static const char *const lists[] = {"",
                                        ",",
                                        ",,,",
                                        "tcp",
                                        "tcp:",
                                        "tcp:/",
                                        "xtcp://a:1",
                                        "tcp2://a:1",
                                        "verbs://tcp://a:1",
                                        "verbs://a:1,://b:2"};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(lists); i++) {
        assert_int_equal(pawl_addresses_find(lists[i], "tcp", address), PAWL_EPROVIDER);
    }
    assert_int_equal(pawl_addresses_find(longest, "tcp", address), PAWL_EPROVIDER);
    longest[PAWL_ADDRESS_BYTES_MAX - 1] = '\0'; // the longest that fits
    assert_int_equal(pawl_addresses_find(longest, "tcp", address), 0);
}

static void test_add_when_it_fits_makes_a_list_and_refuses_the_rest(void **state)
{
    (void)state;
    char list[PAWL_ADDRESSES_BYTES_MAX] = "";
    assert_int_equal(pawl_addresses_add(list, "verbs://10.0.0.1:7500"), 0);
    assert_string_equal(list, "verbs://10.0.0.1:7500");
    assert_int_equal(pawl_addresses_add(list, "tcp://10.0.0.1:7501"), 0);
    assert_string_equal(list, "verbs://10.0.0.1:7500,tcp://10.0.0.1:7501");
    assert_int_equal(pawl_addresses_add(list, ""), PAWL_EINVALID);
    assert_int_equal(pawl_addresses_add(list, "a://b:1,c://d:2"), PAWL_EINVALID);
    char longest[200];
    memset(longest, 'x', sizeof(longest));
    longest[PAWL_ADDRESS_BYTES_MAX] = '\0';
    assert_int_equal(pawl_addresses_add(list, longest), PAWL_EINVALID);
    longest[PAWL_ADDRESS_BYTES_MAX - 1] = '\0';
    assert_int_equal(pawl_addresses_add(list, longest), 0);
    assert_int_equal(pawl_addresses_add(list, longest), PAWL_EINVALID); // no more room
    longest[PAWL_ADDRESSES_BYTES_MAX - 2 - strlen(list)] = '\0';        // to the last byte
    assert_int_equal(pawl_addresses_add(list, longest), 0);
    assert_int_equal(strlen(list), PAWL_ADDRESSES_BYTES_MAX - 1);
}

static void test_providers_when_asked_for_people_reads_well(void **state)
{
    (void)state;
    char text[PAWL_ADDRESSES_BYTES_MAX];
    assert_string_equal(pawl_addresses_providers("tcp://a:1", text), "tcp");
    assert_string_equal(pawl_addresses_providers("verbs://a:1,tcp://a:2", text), "verbs and tcp");
    assert_string_equal(pawl_addresses_providers("a://,b://,c://", text), "a, b and c");
    assert_string_equal(pawl_addresses_providers("", text), "nothing");
    assert_string_equal(pawl_addresses_providers("no provider", text), "nothing");
    char hostile[4096];
    for (size_t i = 0; i + 8 < sizeof(hostile); i += 4) {
        memcpy(hostile + i, "://,", 5);
    }
    assert_true(strlen(pawl_addresses_providers(hostile, text)) < sizeof(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_when_the_provider_is_offered_gives_its_address),
        cmocka_unit_test(test_find_when_there_is_none_says_so),
        cmocka_unit_test(test_add_when_it_fits_makes_a_list_and_refuses_the_rest),
        cmocka_unit_test(test_providers_when_asked_for_people_reads_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
