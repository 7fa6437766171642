// SPDX-License-Identifier: Apache-2.0
// A process that writes to a store is killed, again and again: what was completed must be there.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "crash_writer.h"

#define WRITER_MS 120000u // a disk may need seconds for a flush

static pid_t writer_start(const struct fixture *f, struct told *told, uint64_t seed)
{
    fflush(NULL);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct store *store;
        if (store_open(&f->options, &store) != 0) {
            abort();
        }
        struct writer *writer = writer_new(store, told, seed);
        for (;;) {
            writer_step(writer);
        }
    }
    return pid;
}

static void writer_wait_for(const struct told *told, uint64_t completed_count)
{
    const struct timespec pause = {.tv_nsec = 50000};
    uint64_t end_ms = pawl_clock_ms() + WRITER_MS;

    while (told->completed_count < completed_count) {
        assert_true(pawl_clock_ms() < end_ms);
        nanosleep(&pause, NULL);
    }
}

static void writer_kill(pid_t pid)
{
    int status;

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); // it had not aborted before
}

static struct told *told_new(void)
{
    struct told *told =
        mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(told != MAP_FAILED);
    return told;
}

static void crash_rounds(struct fixture *f, int rounds)
{
    struct told *told = told_new();
    struct pawl_random random;

    pawl_random_seed(&random, 11);
    f->options.journal_segment_bytes = 256u << 10;
    f->options.journal_segments_count = 3;
    for (int round = 0; round < rounds; round++) {
        uint64_t goal = told->completed_count + 1 + pawl_random_below(&random, 120);
        pid_t pid = writer_start(f, told, 100 + (uint64_t)round);
        writer_wait_for(told, goal);
        writer_kill(pid);
        fixture_open(f);
        assert_string_equal(told_broken(f, told) ?: "", "");
        fixture_close(f);
    }
    munmap(told, sizeof(*told));
}

static void test_crash_when_writer_is_killed_then_completed_changes_are_there(void **state)
{
    crash_rounds(*state, 24);
}

static void test_crash_when_killed_without_io_uring_then_completed_changes_are_there(void **state)
{
    struct fixture *f = *state;

    f->options.no_uring = true;
    f->options.no_direct = true;
    crash_rounds(f, 8);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_crash_when_writer_is_killed_then_completed_changes_are_there),
        FIXTURE_TEST(test_crash_when_killed_without_io_uring_then_completed_changes_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
