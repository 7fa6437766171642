// SPDX-License-Identifier: Apache-2.0
// Unit tests of the store when the disk refuses: writes beyond RLIMIT_FSIZE fail like a broken disk's.
#include "store_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <pawl/error.h>

static struct rlimit saved_limit;

static void limit_files(uint64_t bytes)
{
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved_limit), 0);
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = saved_limit.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void unlimit_files(void)
{
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved_limit), 0);
}

// Ten records are durable; then everything that needs the disk fails, and reads go on.
static void check_out_of_service(struct fixture *f, uint32_t failing_length, uint64_t limit_bytes)
{
    void *payloads[4];
    uint64_t tokens[4];

    fixture_open(f);
    fixture_create(f, 1, 1);
    for (int i = 0; i < 10; i++) {
        fixture_append(f, 1, 1000);
    }
    limit_files(limit_bytes);
    for (uint64_t i = 0; i < 4; i++) {
        tokens[i] = fixture_append_start(f, 1, 10 + i, 10000 + i * failing_length, failing_length,
                                         &payloads[i]);
    }
    uint64_t promise = fixture_token(f);
    assert_int_equal(store_promise(f->store, 1, 5, promise), 0);
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(fixture_wait(f, tokens[i]), -EFBIG);
        free(payloads[i]);
    }
    assert_int_equal(fixture_wait(f, promise), -EFBIG);
    assert_int_equal(store_failed(f->store), -EFBIG);
    unlimit_files(); // the disk seems to be well again: it is not trusted any more
    struct store_chunk chunk = fixture_new_chunk(2, 1);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_create(f->store, &chunk, token), 0);
    assert_int_equal(fixture_wait(f, token), -EFBIG);
    assert_int_equal(fixture_check_chunk(f, 1), 10);
    assert_false(store_busy(f->store));
    fixture_reopen(f);
    assert_int_equal(store_failed(f->store), 0);
    assert_int_equal(fixture_find(f, 1).chunk.version, 1);
    assert_false(fixture_find(f, 2).found);
    assert_int_equal(fixture_check_chunk(f, 1), 10);
    fixture_append(f, 1, 1000);
    fixture_append(f, 1, 100000);
    assert_int_equal(fixture_check_chunk(f, 1), 12);
}

static void test_store_when_the_journal_fails_then_is_out_of_service(void **state)
{
    check_out_of_service(*state, 1000, 8192);
}

static void test_store_when_a_chunk_file_fails_then_is_out_of_service(void **state)
{
    check_out_of_service(*state, 100000, 4u << 20);
}

static void test_store_when_it_fails_without_io_uring_then_is_out_of_service(void **state)
{
    struct fixture *f = *state;

    f->options.no_uring = true;
    check_out_of_service(f, 100000, 4u << 20);
}

static void test_store_when_closed_while_failing_then_gives_everything_back(void **state)
{
    struct fixture *f = *state;
    void *payloads[20];

    fixture_open(f);
    fixture_create(f, 1, 1);
    limit_files(8192);
    for (uint64_t i = 0; i < 20; i++) {
        uint32_t length = i % 2 == 0 ? 1000 : 50000;
        fixture_append_start(f, 1, i, i / 2 * 51000 + i % 2 * 1000, length, &payloads[i]);
    }
    fixture_step(f);
    fixture_close(f);
    unlimit_files();
    for (int i = 0; i < 20; i++) {
        free(payloads[i]);
    }
    fixture_open(f);
    assert_true(fixture_check_chunk(f, 1) <= 20);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_store_when_the_journal_fails_then_is_out_of_service),
        FIXTURE_TEST(test_store_when_a_chunk_file_fails_then_is_out_of_service),
        FIXTURE_TEST(test_store_when_it_fails_without_io_uring_then_is_out_of_service),
        FIXTURE_TEST(test_store_when_closed_while_failing_then_gives_everything_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
