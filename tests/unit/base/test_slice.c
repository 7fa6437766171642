// SPDX-License-Identifier: Apache-2.0
// Unit tests of base/slice.c: what the kernel says of a thread afterwards.
#include "base/slice.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <cmocka.h>

struct told {
    int code;
    int policy;
    int nice;
    uint64_t before_ns;
    uint64_t after_ns;
    bool idle; // to have the policy SCHED_IDLE
};

static void *slice_thread(void *user)
{
    struct told *told = user;
    if (told->idle) {
        (void)sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0});
    }
    told->before_ns = pawl_slice_ns();
    told->code = pawl_slice_shorten();
    told->after_ns = pawl_slice_ns();
    told->policy = sched_getscheduler(0);
    told->nice = getpriority(PRIO_PROCESS, 0);
    return NULL;
}

static void run_thread(struct told *told)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, slice_thread, told), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static bool kernel_knows_slices(void)
{
    struct utsname name;
    int major = 0;
    int minor = 0;
    return uname(&name) == 0 && sscanf(name.release, "%d.%d", &major, &minor) == 2 &&
           (major > 6 || (major == 6 && minor >= 12));
}

static void test_slice_is_of_the_thread_that_asked(void **state)
{
    (void)state;
    uint64_t mine_ns = pawl_slice_ns();
    struct told told = {0};
    run_thread(&told);
    if (told.code == -EPERM || told.code == -ENOSYS) {
        skip(); // a sandbox that forbids it
    }
    assert_int_equal(told.code, 0);
    assert_int_equal(told.policy, sched_getscheduler(0));
    assert_int_equal(told.nice, getpriority(PRIO_PROCESS, 0));
    assert_int_equal(told.after_ns, kernel_knows_slices() ? PAWL_SLICE_NS : told.before_ns);
    assert_int_equal(pawl_slice_ns(), mine_ns);
}

static void test_slice_of_another_policy_is_left_alone(void **state)
{
    (void)state;
    struct told told = {.idle = true};
    run_thread(&told);
    assert_int_equal(told.code, 0);
    assert_int_equal(told.policy, SCHED_IDLE);
    assert_int_equal(told.after_ns, told.before_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slice_is_of_the_thread_that_asked),
        cmocka_unit_test(test_slice_of_another_policy_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
