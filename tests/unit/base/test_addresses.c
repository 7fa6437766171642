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

static void test_range_when_it_is_one_tells_each_reactor_its_port(void **state)
{
    (void)state;
    char text[PAWL_ADDRESS_BYTES_MAX];
    assert_int_equal(pawl_address_range("tcp://my-host-1:7500", 4, text), 0);
    assert_string_equal(text, "tcp://my-host-1:7500-7503");
    assert_int_equal(pawl_address_reactors(text), 4);
    assert_int_equal(pawl_address_of_reactor("tcp://my-host-1:7500-7503", 0, text), 0);
    assert_string_equal(text, "tcp://my-host-1:7500");
    assert_int_equal(pawl_address_of_reactor("tcp://[fe80::1]:9-72", 63, text), 0);
    assert_string_equal(text, "tcp://[fe80::1]:72");
    assert_int_equal(pawl_address_of_reactor("fake://100001-100002", 1, text), 0);
    assert_string_equal(text, "fake://100002");
    assert_int_equal(pawl_address_of_reactor("fake://100001-100002", 2, text), PAWL_EINVALID);
}

static void test_range_when_there_is_one_reactor_is_the_address_itself(void **state)
{
    (void)state;
    char text[PAWL_ADDRESS_BYTES_MAX];
    assert_int_equal(pawl_address_range("tcp://127.0.0.1:7500", 1, text), 0);
    assert_string_equal(text, "tcp://127.0.0.1:7500");
    assert_int_equal(pawl_address_reactors(text), 1);
    assert_int_equal(pawl_address_of_reactor("tcp://127.0.0.1:7500", 0, text), 0);
    assert_string_equal(text, "tcp://127.0.0.1:7500");
    assert_int_equal(pawl_address_of_reactor("tcp://127.0.0.1:7500", 1, text), PAWL_EINVALID);
}

static void test_range_when_it_makes_no_sense_is_no_range(void **state)
{
    (void)state;
    char text[PAWL_ADDRESS_BYTES_MAX];
    static const char *const odd[] = {
        "",
        "tcp",
        ":",
        "tcp://",
        "tcp://a:-",
        "tcp://a:1-",
        "tcp://a:-1",
        "a:1-65",
        "a:2-1",
        "a:1-1",
        "a:1--2",
        "a:01-2",
        "a:1-02",
        "a:1-2-3",
        "a:1 -2",
        "a:1-2 ",
        "a:+1-2",
        "a:1-9999999999",
        "a:4294967295-4294967296",
        "a-b:x",
    };
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(odd); i++) {
        assert_int_equal(pawl_address_reactors(odd[i]), 1);
        assert_int_equal(pawl_address_of_reactor(odd[i], 1, text), PAWL_EINVALID);
    }
    assert_int_equal(pawl_address_range("tcp://a", 2, text), PAWL_EINVALID);
    assert_int_equal(pawl_address_range("tcp://a:1-2", 2, text), PAWL_EINVALID);
    assert_int_equal(pawl_address_range("tcp://a:1", 0, text), PAWL_EINVALID);
    assert_int_equal(pawl_address_range("tcp://a:1", PAWL_ADDRESS_REACTORS_MAX + 1, text),
                     PAWL_EINVALID);
    char longest[PAWL_ADDRESS_BYTES_MAX];
    memset(longest, 'x', sizeof(longest));
    memcpy(longest + sizeof(longest) - 5, ":100", 5); // no room for "-101"
    assert_int_equal(pawl_address_range(longest, 2, text), PAWL_EINVALID);
    assert_int_equal(pawl_address_range(longest + 4, 2, text), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_when_the_provider_is_offered_gives_its_address),
        cmocka_unit_test(test_find_when_there_is_none_says_so),
        cmocka_unit_test(test_add_when_it_fits_makes_a_list_and_refuses_the_rest),
        cmocka_unit_test(test_range_when_it_is_one_tells_each_reactor_its_port),
        cmocka_unit_test(test_range_when_there_is_one_reactor_is_the_address_itself),
        cmocka_unit_test(test_range_when_it_makes_no_sense_is_no_range),
        cmocka_unit_test(test_providers_when_asked_for_people_reads_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
