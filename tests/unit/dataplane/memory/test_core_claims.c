// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/memory/core_claims.c.
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/memory/core_claims.h"

// Not those of this machine: daemons may run beside the test.
#define FILE_OF_ALL "/proc/self/exe"

static void test_claims_when_two_take_a_core_then_each_sees_the_other(void **state)
{
    (void)state;
    struct core_claims one;
    struct core_claims other;
    assert_int_equal(core_claims_open(FILE_OF_ALL, &one), 0);
    assert_int_equal(core_claims_open(FILE_OF_ALL, &other), 0);
    assert_int_equal(core_claims_take(&one, 3), 0);
    assert_int_equal(core_claims_take(&one, 3), 0);
    assert_false(core_claims_others(&one, 3)); // its own claim is none of others
    assert_true(core_claims_others(&other, 3));
    assert_int_equal(core_claims_take(&other, 3), 0);
    assert_int_equal(core_claims_take(&other, 4), 0);
    assert_true(core_claims_others(&one, 3));
    assert_true(core_claims_others(&other, 3));
    assert_true(core_claims_others(&one, 4));
    assert_false(core_claims_others(&other, 4));
    assert_false(core_claims_others(&one, 2));
    core_claims_close(&other);
    assert_false(core_claims_others(&one, 3)); // it has the core to itself again
    assert_false(core_claims_others(&one, 4));
    core_claims_close(&one);
    core_claims_close(&one);
}

static void test_claims_when_the_other_process_is_killed_then_they_are_gone(void **state)
{
    (void)state;
    struct core_claims claims;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        int code = core_claims_open(FILE_OF_ALL, &claims);
        code = code != 0 ? code : core_claims_take(&claims, 1);
        byte = (char)code;
        (void)!write(ready[1], &byte, 1);
        pause();
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 0);
    assert_int_equal(core_claims_open(FILE_OF_ALL, &claims), 0);
    assert_true(core_claims_others(&claims, 1));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_false(core_claims_others(&claims, 1));
    core_claims_close(&claims);
    close(ready[0]);
    close(ready[1]);
}

static void test_claims_when_on_this_machines_cores_then_can_be_taken(void **state)
{
    (void)state;
    struct core_claims one;
    struct core_claims other;
    assert_int_equal(core_claims_open(CORE_CLAIMS_FILE, &one), 0);
    assert_int_equal(core_claims_open(CORE_CLAIMS_FILE, &other), 0);
    assert_int_equal(core_claims_take(&one, 0), 0);
    assert_true(core_claims_others(&other, 0));
    core_claims_close(&one);
    core_claims_close(&other);
}

static void test_claims_when_there_is_no_file_then_nobody_is_seen(void **state)
{
    (void)state;
    struct core_claims claims;
    assert_int_equal(core_claims_open("/nowhere/possible", &claims), -ENOENT);
    assert_int_equal(core_claims_take(&claims, 0), -EBADF);
    assert_false(core_claims_others(&claims, 0));
    core_claims_close(&claims);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims_when_two_take_a_core_then_each_sees_the_other),
        cmocka_unit_test(test_claims_when_the_other_process_is_killed_then_they_are_gone),
        cmocka_unit_test(test_claims_when_on_this_machines_cores_then_can_be_taken),
        cmocka_unit_test(test_claims_when_there_is_no_file_then_nobody_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
