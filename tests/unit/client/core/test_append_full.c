// SPDX-License-Identifier: Apache-2.0
// Tests of the append core where a chunk is full.
#include "append_bench.h"

static void test_full_chunk_asks_for_the_next_one_with_a_hint(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    submit(b, 2);
    tail(b, 0, 42, 5, 9);
    struct append_action s1 = expect_send(b, 1, 9);
    struct append_action s2 = expect_send(b, 2, 9);
    reply(b, &s1, PAWL_ECHUNKFULL, 0);
    struct append_action ask = expect(b, APPEND_ACTION_GET_TAIL);
    assert_int_equal(ask.hint_handle, 42);
    assert_int_equal(ask.hint_version, 5);
    assert_int_equal(ask.hint_code, PAWL_ECHUNKFULL);
    reply(b, &s2, PAWL_EEXPECT, 1);
    expect_none(b, APPEND_ACTION_GET_TAIL); // one question at a time
    tail(b, PAWL_EBUSY, 0, 0, 0);
    expect_none(b, APPEND_ACTION_GET_TAIL);
    wake(b);
    expect(b, APPEND_ACTION_GET_TAIL);
    tail(b, 0, 43, 1, 8);
    expect_send(b, 1, 8);
    expect_send(b, 2, 8);
    assert_int_equal(append_core_counters(b->core)->chunks_count, 2);
    assert_int_equal(append_core_counters(b->core)->failovers_count, 0);
    assert_int_equal(append_core_counters(b->core)->retries_count, 2);
}

// Nothing is left of them, so they may travel in a run again.
static void test_what_a_full_chunk_refused_may_go_in_a_run(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    submit(b, 2);
    tail(b, 0, 42, 5, 9);
    struct append_action s1 = expect_send(b, 1, 9);
    struct append_action s2 = expect_send(b, 2, 9);
    assert_true(s1.fresh && s2.fresh);
    reply(b, &s1, PAWL_ECHUNKFULL, 0);
    reply(b, &s2, PAWL_EEXPECT, 1);
    tail(b, 0, 43, 1, 9);
    assert_true(expect_send(b, 1, 9).fresh);
    assert_true(expect_send(b, 2, 9).fresh);
}

// The answer to a run that can't be taken whole: its records come one by one.
static void test_what_was_put_off_goes_alone(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 5, 9);
    struct append_action s1 = expect_send(b, 1, 9);
    reply(b, &s1, PAWL_EBUSY, 0);
    wake(b);
    assert_false(expect_send(b, 1, 9).fresh);
}

static void test_what_may_be_in_the_file_goes_alone_in_the_next_chunk_too(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 5, 9);
    struct append_action s1 = expect_send(b, 1, 9);
    reply(b, &s1, PAWL_ESTALE, 0); // a fence's answer
    tail(b, 0, 42, 6, 9);
    s1 = expect_send(b, 1, 9);
    assert_false(s1.fresh);
    reply(b, &s1, PAWL_ECHUNKFULL, 0);
    wake(b);
    tail(b, 0, 43, 1, 9);
    assert_false(expect_send(b, 1, 9).fresh);
}

static void small_tail(struct bench *b, uint64_t handle, uint64_t base_offset)
{
    struct append_tail t = {.handle = handle,
                            .version = 1,
                            .base_offset = base_offset,
                            .chunk_bytes = 250,
                            .primary_id = 9};
    assert_int_equal(step(b, (struct append_event){.type = APPEND_EVENT_TAIL, .tail = t}), 0);
}

// Records of 100 bytes, chunks of 250.
static void test_what_is_behind_a_full_chunk_is_held_back(void **state)
{
    struct bench *b = *state;
    for (uint32_t i = 1; i <= 4; i++) {
        submit(b, i);
    }
    small_tail(b, 42, 1000);
    struct append_action s1 = expect_send(b, 1, 9);
    struct append_action s2 = expect_send(b, 2, 9);
    struct append_action s3 =
        expect_send(b, 3, 9); // does not fit: the primary learns that it is full
    assert_null(nth(b, APPEND_ACTION_SEND, 3));
    submit(b, 5);
    expect_none(b, APPEND_ACTION_SEND);
    reply(b, &s1, 0, 1000);
    expect_none(b, APPEND_ACTION_SEND);
    reply(b, &s2, 0, 1100);
    expect_none(b, APPEND_ACTION_SEND);
    reply(b, &s3, PAWL_ECHUNKFULL, 0);
    expect(b, APPEND_ACTION_GET_TAIL);
    small_tail(b, 43, 1200);
    for (uint64_t sequence = 3; sequence <= 5; sequence++) {
        expect_send(b, sequence, 9);
    }
    assert_int_equal(append_core_counters(b->core)->retries_count, 1);
}

// What turns out to be elsewhere takes no room here.
static void test_what_was_held_back_for_a_duplicate_is_sent(void **state)
{
    struct bench *b = *state;
    for (uint32_t i = 1; i <= 5; i++) {
        submit(b, i);
    }
    small_tail(b, 42, 1000);
    struct append_action s1 = expect_send(b, 1, 9);
    struct append_action s2 = expect_send(b, 2, 9);
    expect_send(b, 3, 9);
    reply(b, &s1, 0, 500);
    expect_send(b, 4, 9);
    assert_null(nth(b, APPEND_ACTION_SEND, 1));
    reply(b, &s2, PAWL_EEARLIER, 41);
    expect_send(b, 5, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_CASE(test_full_chunk_asks_for_the_next_one_with_a_hint),
        BENCH_CASE(test_what_a_full_chunk_refused_may_go_in_a_run),
        BENCH_CASE(test_what_was_put_off_goes_alone),
        BENCH_CASE(test_what_may_be_in_the_file_goes_alone_in_the_next_chunk_too),
        BENCH_CASE(test_what_is_behind_a_full_chunk_is_held_back),
        BENCH_CASE(test_what_was_held_back_for_a_duplicate_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
