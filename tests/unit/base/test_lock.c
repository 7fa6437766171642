// SPDX-License-Identifier: Apache-2.0
// Tests of base/lock.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/lock.h"

struct fixture {
    char path[32];
    int holder_fd; // has the lock
    int fd;
};

// How many naps of another until the holder lets go; 0: never.
static int naps_left;
static int naps_count;
static int holder_fd = -1;

int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left);

int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left)
{
    (void)wanted;
    (void)left;
    naps_count++;
    if (naps_left > 0 && --naps_left == 0) {
        close(holder_fd);
    }
    return 0;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    strcpy(f->path, "/tmp/pawl-lock-XXXXXX");
    f->holder_fd = mkstemp(f->path);
    assert_true(f->holder_fd >= 0);
    f->fd = open(f->path, O_RDWR | O_CLOEXEC);
    assert_true(f->fd >= 0);
    assert_int_equal(flock(f->holder_fd, LOCK_EX | LOCK_NB), 0);
    holder_fd = f->holder_fd;
    naps_left = naps_count = 0;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close(f->fd);
    unlink(f->path);
    free(f);
    return 0;
}

static void test_lock_when_nobody_has_it_is_taken(void **state)
{
    struct fixture *f = *state;
    close(f->holder_fd);
    assert_int_equal(pawl_lock(f->fd, 0), 0);
    int other = open(f->path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pawl_lock(other, 0), -EBUSY);
    close(other);
    assert_int_equal(naps_count, 0);
}

static void test_lock_when_its_holder_lets_go_in_time_is_taken(void **state)
{
    struct fixture *f = *state;
    naps_left = 3;
    assert_int_equal(pawl_lock(f->fd, 60000), 0);
    assert_int_equal(naps_count, 3);
}

static void test_lock_when_its_holder_stays_is_busy(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(pawl_lock(f->fd, 200), -EBUSY);
    assert_true(naps_count > 0);
    close(f->holder_fd);
}

static void test_lock_when_there_is_no_file_says_so(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(pawl_lock(-1, 60000), -EBADF);
    assert_int_equal(naps_count, 0);
    close(f->holder_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lock_when_nobody_has_it_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock_when_its_holder_lets_go_in_time_is_taken, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_lock_when_its_holder_stays_is_busy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock_when_there_is_no_file_says_so, setup, teardown),
    };
    return cmocka_run_group_tests_name("base/lock", tests, NULL, NULL);
}
