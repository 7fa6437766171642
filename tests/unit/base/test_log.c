// SPDX-License-Identifier: Apache-2.0
// Tests of base/log.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <regex.h>
#include <string.h>
#include <unistd.h>

#define PAWL_LOG_SUBSYSTEM "test"
#include "base/log.h"

// Where the lines go in these tests.
static int log_ends[2];

static int setup(void **state)
{
    (void)state;
    return pipe(log_ends);
}

static int teardown(void **state)
{
    (void)state;
    pawl_log_init(PAWL_LOG_WARN, STDERR_FILENO);
    close(log_ends[0]);
    close(log_ends[1]);
    return 0;
}

// What was logged so far; a last line of our own keeps read from waiting for ever.
static const char *logged(void)
{
    static char text[8192];
    assert_int_equal(write(log_ends[1], ".", 1), 1);
    ssize_t got = read(log_ends[0], text, sizeof(text) - 1);
    assert_true(got > 0);
    text[got - 1] = 0;
    return text;
}

static void test_log_when_written_then_time_level_subsystem_text(void **state)
{
    (void)state;
    pawl_log_init(PAWL_LOG_INFO, log_ends[1]);
    errno = EAGAIN;
    pawl_log_info("chunk %d version %d sealed", 42, 7);
    assert_int_equal(errno, EAGAIN);
    regex_t line;
    assert_int_equal(regcomp(&line,
                             "^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "
                             "info test chunk 42 version 7 sealed\n$",
                             REG_EXTENDED | REG_NOSUB),
                     0);
    assert_int_equal(regexec(&line, logged(), 0, NULL, 0), 0);
    regfree(&line);
}

static void test_log_when_below_level_then_nothing_and_arguments_unused(void **state)
{
    (void)state;
    int evaluated = 0;
    pawl_log_init(PAWL_LOG_WARN, log_ends[1]);
    pawl_log_info("number %d", ++evaluated);
    pawl_log_debug("number %d", ++evaluated);
    assert_string_equal(logged(), "");
    assert_int_equal(evaluated, 0);
    pawl_log_error("number %d", ++evaluated);
    assert_non_null(strstr(logged(), "error test number 1\n"));
}

static void test_log_when_control_bytes_then_one_line(void **state)
{
    (void)state;
    pawl_log_init(PAWL_LOG_WARN, log_ends[1]);
    pawl_log_warn("name %s", "a\nb\x1b[2J");
    assert_non_null(strstr(logged(), "warn test name a?b?[2J\n"));
}

static void test_log_when_too_long_then_cut_but_ended(void **state)
{
    (void)state;
    static char huge[6000];
    memset(huge, 'x', sizeof(huge) - 1);
    pawl_log_init(PAWL_LOG_WARN, log_ends[1]);
    pawl_log_warn("%s", huge);
    const char *text = logged();
    size_t length = strlen(text);
    assert_in_range(length, 1900, 2048);
    assert_int_equal(text[length - 1], '\n');
    assert_int_equal(text[length - 2], 'x');
}

static void test_log_level_when_parsed_then_name_round_trips(void **state)
{
    (void)state;
    for (int level = PAWL_LOG_ERROR; level <= PAWL_LOG_TRACE; level++) {
        enum pawl_log_level got;
        const char *name = pawl_log_level_name((enum pawl_log_level)level);
        assert_int_equal(pawl_log_level_parse(name, &got), 0);
        assert_int_equal(got, level);
    }
    enum pawl_log_level untouched = PAWL_LOG_TRACE;
    assert_int_equal(pawl_log_level_parse("loud", &untouched), -EINVAL);
    assert_int_equal(untouched, PAWL_LOG_TRACE);
}

static void test_log_limit_when_burst_is_used_then_held_back_until_next_interval(void **state)
{
    (void)state;
    struct pawl_log_limit limit = {.burst = 2, .interval_ms = 1000};
    uint32_t held_back;
    assert_true(pawl_log_limit_pass(&limit, 5000, &held_back));
    assert_true(pawl_log_limit_pass(&limit, 5001, &held_back));
    for (int i = 0; i < 7; i++) {
        assert_false(pawl_log_limit_pass(&limit, 5999, &held_back));
        assert_int_equal(held_back, 0);
    }
    assert_true(pawl_log_limit_pass(&limit, 6000, &held_back));
    assert_int_equal(held_back, 7);
    assert_true(pawl_log_limit_pass(&limit, 6001, &held_back));
    assert_int_equal(held_back, 0);
    assert_false(pawl_log_limit_pass(&limit, 6002, &held_back));
}

static void test_log_limited_when_flooded_then_only_the_burst_is_written(void **state)
{
    (void)state;
    static struct pawl_log_limit limit = {.burst = 3, .interval_ms = 3600000};
    pawl_log_init(PAWL_LOG_WARN, log_ends[1]);
    for (int i = 0; i < 50; i++) {
        pawl_log_limited(&limit, PAWL_LOG_WARN, "flood %d", i);
    }
    const char *text = logged();
    assert_non_null(strstr(text, "flood 2\n"));
    assert_null(strstr(text, "flood 3\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_log_when_written_then_time_level_subsystem_text, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_log_when_below_level_then_nothing_and_arguments_unused,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_when_control_bytes_then_one_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_when_too_long_then_cut_but_ended, setup, teardown),
        cmocka_unit_test(test_log_level_when_parsed_then_name_round_trips),
        cmocka_unit_test(test_log_limit_when_burst_is_used_then_held_back_until_next_interval),
        cmocka_unit_test_setup_teardown(
            test_log_limited_when_flooded_then_only_the_burst_is_written, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
