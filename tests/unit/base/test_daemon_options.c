// SPDX-License-Identifier: Apache-2.0
// The daemons' command line: what is taken, and with what the program ends.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <getopt.h>

#include "base/daemon_options.h"

static int parse(char **argv, struct pawl_daemon_options *ret)
{
    int argc = 0;
    while (argv[argc]) {
        argc++;
    }
    optind = 0; // glibc: begin anew
    return pawl_daemon_options_parse(argc, argv, "pawl-test", "usage\n", ret);
}

#define WORDS(...) ((char *[]){(char[]){"pawl-test"}, __VA_ARGS__, NULL})
#define WORD(text) ((char[]){text})

static void test_options_when_a_configuration_is_named_go_on(void **state)
{
    (void)state;
    struct pawl_daemon_options options;
    assert_int_equal(parse(WORDS(WORD("--config"), WORD("a.yaml")), &options), PAWL_DAEMON_GO_ON);
    assert_string_equal(options.config, "a.yaml");
    assert_false(options.check);
    assert_int_equal(parse(WORDS(WORD("-c"), WORD("b"), WORD("--check-config")), &options),
                     PAWL_DAEMON_GO_ON);
    assert_true(options.check);
}

static void test_options_when_asked_for_help_or_version_end_well(void **state)
{
    (void)state;
    struct pawl_daemon_options options;
    assert_int_equal(parse(WORDS(WORD("--help")), &options), PAWL_DAEMON_EXIT_OK);
    assert_int_equal(parse(WORDS(WORD("--version")), &options), PAWL_DAEMON_EXIT_OK);
}

static void test_options_when_words_are_off_end_as_usage(void **state)
{
    (void)state;
    struct pawl_daemon_options options;
    assert_int_equal(parse(WORDS(WORD("--check-config")), &options), PAWL_DAEMON_EXIT_USAGE);
    assert_int_equal(parse(WORDS(WORD("-c"), WORD("a"), WORD("more")), &options),
                     PAWL_DAEMON_EXIT_USAGE);
    assert_int_equal(parse(WORDS(WORD("--nonsense")), &options), PAWL_DAEMON_EXIT_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_when_a_configuration_is_named_go_on),
        cmocka_unit_test(test_options_when_asked_for_help_or_version_end_well),
        cmocka_unit_test(test_options_when_words_are_off_end_as_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
