// SPDX-License-Identifier: Apache-2.0
// Tests of the append core where the driver has no way to the primary: nothing was sent, the primary is well.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "client/core/append_core.h"

#define MS 1000000ull

static struct append_core *core;
static uint64_t now_ns;
static const struct append_actions *actions;

static int setup(void **state)
{
    (void)state;
    struct append_core_options options = {
        .file_id = 1, .producer_lo = 7, .random_seed = 1, .alloc = pawl_alloc_heap()};
    now_ns = 1000 * MS;
    return append_core_new(&options, &core);
}

static int teardown(void **state)
{
    (void)state;
    append_core_free(core);
    return 0;
}

static void step(struct append_event event)
{
    event.now_ns = now_ns;
    assert_int_equal(append_core_step(core, &event, &actions), 0);
}

static void submit(void)
{
    step((struct append_event){
        .type = APPEND_EVENT_SUBMIT, .length = 100, .crc = 5, .deadline_ns = now_ns + 10000 * MS});
}

static void tail(uint64_t version, uint64_t primary)
{
    step((struct append_event){
        .type = APPEND_EVENT_TAIL,
        .tail = {
            .handle = 42, .version = version, .chunk_bytes = 64 << 20, .primary_id = primary}});
}

static void reply(const struct append_action *send, int status)
{
    struct append_event event = {.type = APPEND_EVENT_REPLY,
                                 .status = status,
                                 .sequence = send->sequence,
                                 .attempt = send->attempt};
    event.reply.sequence = send->sequence;
    step(event);
}

// The action of a type that has this sequence; 0: any.
static const struct append_action *find(enum append_action_type type, uint64_t sequence)
{
    for (uint32_t i = 0; i < actions->count; i++) {
        const struct append_action *action = &actions->items[i];
        if (action->type == type && (sequence == 0 || action->sequence == sequence)) {
            return action;
        }
    }
    return NULL;
}

static struct append_action sent(uint64_t sequence)
{
    assert_non_null(find(APPEND_ACTION_SEND, sequence));
    return *find(APPEND_ACTION_SEND, sequence);
}

static void expect_done(uint64_t sequence, int status)
{
    assert_non_null(find(APPEND_ACTION_DONE, sequence));
    assert_int_equal(find(APPEND_ACTION_DONE, sequence)->status, status);
}

static void test_appends_when_none_was_sent_end_together_and_give_their_sequences_back(void **state)
{
    (void)state;
    submit();
    submit();
    tail(1, 9);
    struct append_action first = sent(1);
    struct append_action second = sent(2);
    reply(&first, PAWL_EPROVIDER);
    assert_null(
        find(APPEND_ACTION_DONE, 0)); // the second may have been sent, for all that is known
    reply(&second, PAWL_EPROVIDER);
    expect_done(1, PAWL_EPROVIDER);
    expect_done(2, PAWL_EPROVIDER);
    assert_null(find(APPEND_ACTION_DISCONNECT, 0));
    assert_int_equal(append_core_inflight(core), 0);
    assert_int_equal(append_core_next_sequence(core), 1);
}

static void test_next_append_asks_for_the_place_without_a_hint(void **state)
{
    (void)state;
    submit();
    tail(1, 9);
    struct append_action send = sent(1);
    reply(&send, PAWL_EPROVIDER);
    expect_done(1, PAWL_EPROVIDER);
    submit();
    assert_non_null(find(APPEND_ACTION_GET_TAIL, 0));
    assert_int_equal(find(APPEND_ACTION_GET_TAIL, 0)->hint_code, 0);
    tail(1, 8);
    send = sent(1);
    assert_int_equal(send.server, 8);
    reply(&send, 0);
    expect_done(1, 0);
}

static void test_append_that_was_sent_elsewhere_before_stays_in_doubt(void **state)
{
    (void)state;
    submit();
    tail(1, 9);
    step((struct append_event){.type = APPEND_EVENT_DISCONNECTED, .server = 9});
    tail(2, 8);
    struct append_action send = sent(1);
    reply(&send, PAWL_EPROVIDER);
    expect_done(1, PAWL_EUNKNOWN);
}

// One is on its way to a primary that is reached, the next finds its address gone.
static void test_append_that_is_still_on_its_way_is_waited_for(void **state)
{
    (void)state;
    submit();
    tail(1, 9);
    struct append_action first = sent(1);
    submit();
    struct append_action second = sent(2);
    reply(&second, PAWL_EPROVIDER);
    assert_null(find(APPEND_ACTION_DONE, 0));
    reply(&first, 0);
    expect_done(1, 0);
    now_ns = append_core_wake_ns(core);
    step((struct append_event){.type = APPEND_EVENT_TICK});
    assert_non_null(find(APPEND_ACTION_GET_TAIL, 0));
    tail(1, 9);
    second = sent(2);
    reply(&second, PAWL_EPROVIDER);
    expect_done(2, PAWL_EPROVIDER);
    assert_int_equal(append_core_next_sequence(core), 2);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_appends_when_none_was_sent_end_together_and_give_their_sequences_back),
        CASE(test_next_append_asks_for_the_place_without_a_hint),
        CASE(test_append_that_was_sent_elsewhere_before_stays_in_doubt),
        CASE(test_append_that_is_still_on_its_way_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
