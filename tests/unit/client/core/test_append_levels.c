// SPDX-License-Identifier: Apache-2.0
// Tests of the append core: acknowledgements of two levels, and being told of a loss.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "client/core/append_core.h"

#define MS 1000000ull

struct bench {
    struct append_core *core;
    uint64_t now_ns;
    const struct append_actions *actions;
    struct append_action sends[8]; // by sequence
};

static int setup(void **state)
{
    static struct bench bench;
    bench = (struct bench){.now_ns = 1000 * MS};
    struct append_core_options options = {
        .file_id = 1, .producer_lo = 7, .random_seed = 1, .alloc = pawl_alloc_heap()};
    assert_int_equal(append_core_new(&options, &bench.core), 0);
    *state = &bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    append_core_free(b->core);
    return 0;
}

static int step(struct bench *b, struct append_event event)
{
    event.now_ns = b->now_ns;
    int code = append_core_step(b->core, &event, &b->actions);
    for (uint32_t i = 0; code == 0 && i < b->actions->count; i++) {
        const struct append_action *action = &b->actions->items[i];
        if (action->type == APPEND_ACTION_SEND) {
            b->sends[action->sequence] = *action;
        }
    }
    return code;
}

static int submit(struct bench *b, bool replicated)
{
    return step(b, (struct append_event){.type = APPEND_EVENT_SUBMIT,
                                         .length = 100,
                                         .crc = 5,
                                         .replicated = replicated,
                                         .deadline_ns = b->now_ns + 10000 * MS});
}

static void tail(struct bench *b, uint64_t version)
{
    assert_int_equal(step(b, (struct append_event){.type = APPEND_EVENT_TAIL,
                                                   .tail = {.handle = 3,
                                                            .version = version,
                                                            .chunk_bytes = 64 << 20,
                                                            .primary_id = 9}}),
                     0);
}

static void reply(struct bench *b, uint64_t sequence, int status, uint64_t value, uint32_t flags)
{
    struct append_event event = {.type = APPEND_EVENT_REPLY,
                                 .status = status,
                                 .sequence = sequence,
                                 .attempt = b->sends[sequence].attempt};
    event.reply.sequence = status == 0 ? sequence : value;
    event.reply.file_offset = value;
    event.reply.flags = flags;
    assert_int_equal(step(b, event), 0);
}

static struct append_action ended(const struct bench *b, uint64_t sequence)
{
    for (uint32_t i = 0; i < b->actions->count; i++) {
        const struct append_action *action = &b->actions->items[i];
        if (action->type == APPEND_ACTION_DONE && action->sequence == sequence) {
            return *action;
        }
    }
    fail_msg("it did not end");
    return (struct append_action){0};
}

static void lose_connection(struct bench *b, uint64_t version)
{
    assert_int_equal(step(b, (struct append_event){.type = APPEND_EVENT_DISCONNECTED, .server = 9}),
                     0);
    tail(b, version);
}

static void test_append_when_replicated_says_so_and_tells_what_it_got(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit(b, true), 0);
    tail(b, 1);
    assert_true(b->sends[1].replicated);
    reply(b, 1, 0, 0, WIRE_APPENDED_REPLICATED);
    assert_true(ended(b, 1).replicated);
    assert_int_equal(submit(b, true), 0);
    reply(b, 2, 0, 100, 0); // it was durable already
    assert_false(ended(b, 2).replicated);
    assert_int_equal(submit(b, false), 0);
    assert_false(b->sends[3].replicated);
}

static void test_append_when_durable_is_answered_from_memory_is_a_broken_protocol(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit(b, false), 0);
    tail(b, 1);
    reply(b, 1, 0, 0, WIRE_APPENDED_REPLICATED);
    assert_int_equal(ended(b, 1).status, PAWL_EUNKNOWN);
    assert_int_equal(append_core_final(b->core), PAWL_EPROTOCOL);
}

static void test_append_when_an_acknowledged_one_is_expected_is_told_of_the_loss(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit(b, false), 0);
    tail(b, 1);
    reply(b, 1, 0, 0, 0);
    for (uint64_t sequence = 2; sequence < 4; sequence++) {
        assert_int_equal(submit(b, true), 0);
        reply(b, sequence, 0, sequence * 100, WIRE_APPENDED_REPLICATED);
    }
    assert_int_equal(submit(b, true), 0);
    assert_int_equal(submit(b, false), 0);
    lose_connection(b, 2);
    reply(b, 4, PAWL_EEXPECT, 2, 0);
    for (uint64_t sequence = 4; sequence < 6; sequence++) { // surely absent, sent or not
        assert_int_equal(ended(b, sequence).status, PAWL_ELOST);
        assert_int_equal(ended(b, sequence).lost_sequence, 2);
    }
    assert_int_equal(submit(b, false), PAWL_ELOST);
    assert_int_equal(append_core_lost_sequence(b->core), 2);
}

static void test_append_when_a_durable_one_is_expected_is_a_broken_protocol(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit(b, true), 0);
    tail(b, 1);
    reply(b, 1, 0, 0, WIRE_APPENDED_REPLICATED);
    assert_int_equal(submit(b, false), 0);
    reply(b, 2, 0, 100, 0); // with it the first is durable
    assert_int_equal(submit(b, true), 0);
    lose_connection(b, 2);
    reply(b, 3, PAWL_EEXPECT, 1, 0);
    assert_int_equal(append_core_final(b->core), PAWL_EPROTOCOL);
}

static void test_append_when_an_earlier_durable_one_is_in_flight_is_unknown_at_a_loss(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit(b, false), 0);
    tail(b, 1);
    assert_int_equal(submit(b, true), 0);
    reply(b, 2, 0, 100, WIRE_APPENDED_REPLICATED);
    assert_int_equal(submit(b, true), 0);
    lose_connection(b, 2);
    reply(b, 3, PAWL_EEXPECT, 2, 0); // the first is there, durable or not
    assert_int_equal(ended(b, 1).status, PAWL_EUNKNOWN);
    assert_int_equal(ended(b, 3).status, PAWL_ELOST);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_append_when_replicated_says_so_and_tells_what_it_got),
        TEST(test_append_when_durable_is_answered_from_memory_is_a_broken_protocol),
        TEST(test_append_when_an_acknowledged_one_is_expected_is_told_of_the_loss),
        TEST(test_append_when_a_durable_one_is_expected_is_a_broken_protocol),
        TEST(test_append_when_an_earlier_durable_one_is_in_flight_is_unknown_at_a_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
