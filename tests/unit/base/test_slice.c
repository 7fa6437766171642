// SPDX-License-Identifier: Apache-2.0
// Unit tests of base/slice.c: what the kernel says of a thread afterwards.
#include "base/slice.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <cmocka.h>

struct told {
    int policy_before; // to have
    int code;
    int policy;
    int nice;
    uint64_t before_ns;
    uint64_t after_ns;
};

static void *slice_thread(void *user)
{
    struct told *told = user;
    told->code = sched_setscheduler(0, told->policy_before, &(struct sched_param){0});
    (void)setpriority(PRIO_PROCESS, 0, 7); // on Linux of this thread only
    told->before_ns = pawl_slice_ns();
    told->code = told->code != 0 ? -errno : pawl_slice_shorten();
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
    if (told->code == -EPERM || told->code == -ENOSYS) {
        skip(); // a sandbox that forbids it, or a policy that can't be left
    }
    assert_int_equal(told->code, 0);
    assert_int_equal(told->policy, told->policy_before);
    assert_true(told->nice >= 7);
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
    const int policies[] = {SCHED_OTHER, SCHED_BATCH};
    uint64_t mine_ns = pawl_slice_ns();
    for (int i = 0; i < 2; i++) {
        struct told told = {.policy_before = policies[i]};
        run_thread(&told);
        if (kernel_knows_slices()) { // an older one may, too, or not
            assert_int_equal(told.after_ns, PAWL_SLICE_NS);
        }
        assert_int_equal(pawl_slice_ns(), mine_ns);
    }
}

static void test_slice_of_another_policy_is_left_alone(void **state)
{
    (void)state;
    struct told told = {.policy_before = SCHED_IDLE};
    run_thread(&told);
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
