// SPDX-License-Identifier: Apache-2.0
// Tests of perf/syscalls. Where the kernel doesn't let us count, that must be what is said.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include <errno.h>

#include <pawl/error.h>

#include "base/util.h"
#include "perf/syscalls.h"

#define CALLS 1000u

// Whether the kernel lets us: root may look at every tracepoint where tracefs is mounted.
static bool may_count(void)
{
    return geteuid() == 0 &&
           access("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", R_OK) == 0;
}

static bool is_refusal(const char *why)
{
    static const int codes[] = {EPERM, EACCES, ENOSYS};

    for (size_t i = 0; i < PAWL_ARRAY_COUNT(codes); i++) {
        if (strstr(why, pawl_strerror(-codes[i])) != NULL) {
            return true;
        }
    }
    return false;
}

static void test_syscalls_when_made_then_counted_or_refused(void **state)
{
    (void)state;
    struct perf_syscalls syscalls;
    uint64_t counts[PERF_PROCESSES_COUNT] = {7, 7, 7};
    perf_syscalls_init(&syscalls);
    perf_syscalls_add(&syscalls, getpid(), PERF_PROCESS_CLIENT);
    for (unsigned i = 0; i < CALLS; i++) {
        (void)syscall(SYS_getppid);
    }
    if (perf_syscalls_read(&syscalls, counts)) {
        assert_in_range(counts[PERF_PROCESS_CLIENT], CALLS, CALLS + 100);
        assert_int_equal(counts[PERF_PROCESS_MASTER] | counts[PERF_PROCESS_SERVER], 0);
    } else {
        print_message("not counted: %s\n", syscalls.why);
        assert_true(!may_count() || is_refusal(syscalls.why));
        assert_true(strlen(syscalls.why) > 0);
        assert_int_equal(counts[PERF_PROCESS_CLIENT], 7);
    }
    perf_syscalls_fini(&syscalls);
}

static void test_syscalls_when_process_is_gone_then_unknown(void **state)
{
    (void)state;
    struct perf_syscalls syscalls;
    uint64_t counts[PERF_PROCESSES_COUNT];
    perf_syscalls_init(&syscalls);
    perf_syscalls_add(&syscalls, 0, PERF_PROCESS_SERVER); // local_pid() of one that doesn't run
    assert_false(perf_syscalls_read(&syscalls, counts));
    assert_true(strlen(syscalls.why) > 0);
    perf_syscalls_fini(&syscalls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syscalls_when_made_then_counted_or_refused),
        cmocka_unit_test(test_syscalls_when_process_is_gone_then_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
