// SPDX-License-Identifier: Apache-2.0
// doctor's look at TCP: which congestion controls are worth a note.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "cli/doctor.h"

static char said[256];
static bool was_well;

static void take(void *user, const char *check, bool well, const char *found, const char *advice)
{
    (void)user;
    assert_string_equal(check, "tcp congestion");
    assert_true(well || advice[0] != '\0');
    was_well = well;
    snprintf(said, sizeof said, "%s", found);
}

static void test_tcp_when_its_control_sends_by_timers_then_a_note(void **state)
{
    (void)state;
    static const char *const paced[] = {"bbr", "bbr2", "bbr3"};
    static const char *const others[] = {"cubic", "reno", "dctcp", ""};
    struct doctor_report report = {.finding = take};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(paced); i++) {
        doctor_tcp(paced[i], &report);
        assert_false(was_well);
        assert_ptr_equal(strstr(said, paced[i]), said);
    }
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(others); i++) {
        doctor_tcp(others[i], &report);
        assert_true(was_well);
        assert_string_equal(said, others[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp_when_its_control_sends_by_timers_then_a_note),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
