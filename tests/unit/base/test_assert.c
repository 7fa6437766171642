// SPDX-License-Identifier: Apache-2.0
// Tests of base/assert.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"

// Runs the assertion in a child; returns how the child ended and what it said.
static int run_assert(int value, char *said, size_t bytes)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        pawl_assert(value == 1);
        _exit(0);
    }
    close(ends[1]);
    ssize_t got = read(ends[0], said, bytes - 1);
    said[got > 0 ? got : 0] = 0;
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_assert_when_true_then_goes_on(void **state)
{
    (void)state;
    char said[512];
    int status = run_assert(1, said, sizeof(said));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_string_equal(said, "");
}

static void test_assert_when_false_then_says_where_and_aborts(void **state)
{
    (void)state;
    char said[512];
    int status = run_assert(2, said, sizeof(said));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(said, "assertion failed: value == 1"));
    assert_non_null(strstr(said, "test_assert.c:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assert_when_true_then_goes_on),
        cmocka_unit_test(test_assert_when_false_then_says_where_and_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
