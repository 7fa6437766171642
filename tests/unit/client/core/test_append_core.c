// SPDX-License-Identifier: Apache-2.0
// Tests of the append core: order, retries, unknown outcomes, in virtual time.
#include "append_bench.h"

static void test_append_when_answered_is_done_with_its_offset(void **state)
{
    struct bench *b = *state;
    submit(b, 5);
    assert_int_equal(expect(b, APPEND_ACTION_GET_TAIL).hint_code, 0);
    tail(b, 0, 42, 3, 9);
    struct append_action send = expect_send(b, 1, 9);
    assert_int_equal(send.tail.handle, 42);
    assert_int_equal(send.crc, 5);
    reply(b, &send, 0, 4096);
    struct append_action done = expect(b, APPEND_ACTION_DONE);
    assert_int_equal(done.status, 0);
    assert_int_equal(done.file_offset, 4096);
    assert_int_equal(done.user, 1005);
    assert_int_equal(append_core_inflight(b->core), 0);
    assert_int_equal(append_core_next_sequence(b->core), 2);
    assert_true(append_core_wake_ns(b->core) == UINT64_MAX);
    submit(b, 6); // the tail is remembered
    expect_none(b, APPEND_ACTION_GET_TAIL);
    expect_send(b, 2, 9);
}

static void test_appends_are_sent_in_order_up_to_depth(void **state)
{
    struct bench *b = *state;
    for (uint32_t i = 1; i <= 32; i++) {
        submit(b, i);
    }
    assert_int_equal(submit_at(b, 0, 33, 1000), -EAGAIN);
    tail(b, 0, 42, 1, 9);
    for (uint32_t i = 0; i < 32; i++) {
        assert_int_equal(nth(b, APPEND_ACTION_SEND, i)->sequence, i + 1);
    }
}

static void test_reply_to_older_attempt_is_ignored(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 1, 9);
    struct append_action first = expect_send(b, 1, 9);
    disconnected(b, 9);
    tail(b, 0, 42, 2, 8);
    struct append_action second = expect_send(b, 1, 8);
    reply(b, &first, 0, 1);
    expect_none(b, APPEND_ACTION_DONE);
    reply(b, &second, 0, 2);
    assert_int_equal(expect(b, APPEND_ACTION_DONE).file_offset, 2);
}

static void test_busy_pauses_and_sends_again_to_the_same_place(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 1, 9);
    struct append_action send = expect_send(b, 1, 9);
    uint64_t previous_ns = 0;
    for (int i = 0; i < 12; i++) {
        reply(b, &send, PAWL_EBUSY, 0);
        expect_none(b, APPEND_ACTION_SEND);
        uint64_t before_ns = b->now_ns;
        wake(b);
        expect_none(b, APPEND_ACTION_GET_TAIL);
        send = expect_send(b, 1, 9);
        assert_true(b->now_ns - before_ns <= 200 * MS);
        previous_ns = b->now_ns - before_ns;
    }
    assert_true(previous_ns >= 100 * MS); // has grown to the upper half of retry_max_ms
}

// A primary that was cut off and replaced says BUSY for as long as its lease lasts.
static void test_busy_for_long_asks_for_the_tail(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 1, 9);
    struct append_action send = expect_send(b, 1, 9);
    uint64_t since_ns = b->now_ns;
    for (;;) {
        reply(b, &send, PAWL_EBUSY, 0);
        wake(b);
        if (b->actions->items[0].type == APPEND_ACTION_GET_TAIL) {
            break;
        }
        send = expect_send(b, 1, 9);
        assert_true(b->now_ns - since_ns < 2200 * MS);
    }
    assert_true(b->now_ns - since_ns >= 2000 * MS);
    struct append_action ask = expect(b, APPEND_ACTION_GET_TAIL);
    assert_int_equal(ask.hint_code, PAWL_EBUSY);
    assert_int_equal(ask.hint_handle, 42);
    tail(b, 0, 43, 1, 8);
    send = expect_send(b, 1, 8);
    reply(b, &send, 0, 5);
    expect_done(b, 1, 0);
}

// Being busy now and then is no reason to doubt the place.
static void test_busy_patience_begins_anew_after_a_success(void **state)
{
    struct bench *b = *state;
    tail(b, 0, 42, 1, 9);
    for (uint32_t i = 1; i <= 3; i++) {
        submit(b, i);
        struct append_action send = expect_send(b, i, 9);
        reply(b, &send, PAWL_EBUSY, 0);
        tick_after(b, 1500);
        expect_none(b, APPEND_ACTION_GET_TAIL);
        send = expect_send(b, i, 9);
        reply(b, &send, 0, i);
        expect_done(b, i, 0);
    }
}

// Found in a stall: a program that submits until it is refused, while a pause goes by, took the wake-up from
// what waited, until the deadline.
static void test_refused_submit_when_a_pause_is_over_keeps_the_wake_up(void **state)
{
    struct bench *b = *state;
    append_core_free(b->core);
    bench_init(b, (struct append_core_options){.depth_max = 2});
    submit(b, 1);
    submit(b, 2);
    tail(b, 0, 42, 1, 9);
    struct append_action s1 = expect_send(b, 1, 9);
    reply(b, &s1, PAWL_EBUSY, 0);
    uint64_t wake_ns = append_core_wake_ns(b->core);
    b->now_ns = wake_ns + MS;
    assert_int_equal(submit_at(b, 0, 3, 10000), -EAGAIN);
    assert_int_equal(append_core_wake_ns(b->core), wake_ns);
    assert_int_equal(step(b, (struct append_event){.type = APPEND_EVENT_TICK}), 0);
    expect_send(b, 1, 9);
}

static void test_expect_sends_again_from_there(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    submit(b, 2);
    submit(b, 3);
    tail(b, 0, 42, 1, 9);
    struct append_action s1 = expect_send(b, 1, 9);
    struct append_action s2 = expect_send(b, 2, 9);
    struct append_action s3 = expect_send(b, 3, 9);
    reply(b, &s3, PAWL_EEXPECT, 1); // answers in any order
    reply(b, &s1, PAWL_EBUSY, 0);
    reply(b, &s2, PAWL_EEXPECT, 1);
    expect_none(b, APPEND_ACTION_SEND);
    wake(b);
    assert_int_equal(nth(b, APPEND_ACTION_SEND, 0)->sequence, 1);
    assert_int_equal(nth(b, APPEND_ACTION_SEND, 1)->sequence, 2);
    assert_int_equal(nth(b, APPEND_ACTION_SEND, 2)->sequence, 3);
}

static void test_expect_of_committed_sequence_ends_the_producer(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 1, 9);
    struct append_action send = expect_send(b, 1, 9);
    reply(b, &send, 0, 0);
    submit(b, 2);
    send = expect_send(b, 2, 9);
    reply(b, &send, PAWL_EEXPECT, 1);
    expect_done(b, 2, PAWL_EPROTOCOL);
    assert_int_equal(submit_at(b, 0, 3, 1000), PAWL_EPROTOCOL);
}

static void test_silent_primary_is_disconnected_and_reported(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 5, 9);
    tick_after(b, 1999);
    expect_none(b, APPEND_ACTION_DISCONNECT);
    wake(b);
    assert_int_equal(expect(b, APPEND_ACTION_DISCONNECT).server, 9);
    struct append_action ask = expect(b, APPEND_ACTION_GET_TAIL);
    assert_int_equal(ask.hint_code, PAWL_EDEADLINE);
    assert_int_equal(ask.hint_server, 9);
    tail(b, 0, 42, 6, 9); // the same server again: not before the old endpoint is gone
    expect_none(b, APPEND_ACTION_SEND);
    disconnected(b, 9);
    expect_send(b, 1, 9);
}

static void test_later_sequence_waits_for_answer_from_older_place(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    submit(b, 2);
    submit(b, 3);
    tail(b, 0, 42, 5, 9);
    struct append_action s1 = expect_send(b, 1, 9);
    struct append_action s2 = expect_send(b, 2, 9);
    struct append_action s3 = expect_send(b, 3, 9);
    reply(b, &s1, PAWL_ESTALE, 0);
    reply(b, &s3, PAWL_ESTALE, 0);
    tail(b, 0, 43, 1, 8);
    expect_send(b, 1, 8);
    assert_null(nth(b, APPEND_ACTION_SEND, 1));
    reply(b, &s2, PAWL_ESTALE, 0);
    expect_send(b, 2, 8);
    expect_send(b, 3, 8);
}

static void test_earlier_is_followed_chunk_by_chunk(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    submit(b, 2);
    tail(b, 0, 44, 1, 9);
    struct append_action s1 = expect_send(b, 1, 9);
    struct append_action s2 = expect_send(b, 2, 9);
    reply(b, &s1, PAWL_EEARLIER, 43);
    struct append_action ask = expect(b, APPEND_ACTION_LOOKUP);
    assert_int_equal(ask.chunk, 43);
    assert_int_equal(ask.sequence, 1);
    reply(b, &s2, 0, 900); // is not held up
    expect_done(b, 2, 0);
    looked_up(b, &ask, PAWL_EEARLIER, 42);
    ask = expect(b, APPEND_ACTION_LOOKUP);
    assert_int_equal(ask.chunk, 42);
    looked_up(b, &ask, PAWL_EABSENT, 0); // a stale replica
    expect_none(b, APPEND_ACTION_DONE);
    wake(b);
    ask = expect(b, APPEND_ACTION_LOOKUP);
    looked_up(b, &ask, 0, 512);
    struct append_action done = expect(b, APPEND_ACTION_DONE);
    assert_int_equal(done.file_offset, 512);
    assert_true(done.duplicate);
}

static void test_deadline_of_unsent_ends_it_and_what_follows(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit_at(b, 0, 1, 100), 0);
    assert_int_equal(submit_at(b, 0, 2, 900), 0);
    tail(b, PAWL_ENOSERVERS, 0, 0, 0);
    tick_after(b, 100);
    expect_done(b, 1, PAWL_ENOSERVERS); // it says why nobody could be asked
    expect_done(b, 2, PAWL_ENOSERVERS);
    assert_int_equal(append_core_next_sequence(b->core), 1);
    submit(b, 3);
    tail(b, 0, 42, 1, 9);
    expect_send(b, 1, 9); // the sequence is used again: nobody has seen it
}

static void test_deadline_of_unsent_while_the_master_is_silent_is_a_deadline(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit_at(b, 0, 1, 100), 0);
    tail(b, PAWL_ENOSPACE, 0, 0, 0);
    wake(b);
    tail(b, PAWL_EDISCONNECTED, 0, 0, 0); // the newest answer counts
    tick_after(b, 100);
    expect_done(b, 1, PAWL_EDEADLINE);
}

static void test_deadline_of_refused_is_no_unknown(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit_at(b, 0, 1, 100), 0);
    tail(b, 0, 42, 1, 9);
    struct append_action send = expect_send(b, 1, 9);
    reply(b, &send, PAWL_EBUSY, 0);
    b->now_ns += 200 * MS;
    assert_int_equal(step(b, (struct append_event){.type = APPEND_EVENT_TICK}), 0);
    expect_done(b, 1, PAWL_EDEADLINE);
}

static void test_deadline_of_sent_is_unknown_until_repeated(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit_at(b, 0, 1, 100), 0);
    tail(b, 0, 42, 1, 9);
    tick_after(b, 100);
    expect_done(b, 1, PAWL_EUNKNOWN);
    assert_int_equal(submit_at(b, 0, 2, 100), PAWL_EUNKNOWN);
    assert_int_equal(submit_at(b, 1, 99, 100), PAWL_EINVALID); // another payload
    assert_int_equal(submit_at(b, 3, 3, 100), PAWL_EINVALID);  // a gap
    assert_int_equal(submit_at(b, 1, 1, 1000), 0);
    struct append_action send = expect_send(b, 1, 9);
    assert_int_equal(submit_at(b, 0, 2, 1000), 0); // goes behind it
    reply(b, &send, 0, 77);
    expect_done(b, 1, 0);
    assert_int_equal(append_core_next_sequence(b->core), 3);
}

static void test_unknown_is_resolved_by_a_later_commit(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit_at(b, 0, 1, 100), 0);
    assert_int_equal(submit_at(b, 0, 2, 1000), 0);
    tail(b, 0, 42, 1, 9);
    struct append_action s2 = expect_send(b, 2, 9);
    tick_after(b, 100);
    expect_done(b, 1, PAWL_EUNKNOWN);
    reply(b, &s2, 0, 100); // sequences commit in order, so 1 is there
    assert_int_equal(submit_at(b, 0, 3, 100), 0);
}

static void test_unknown_is_resolved_by_the_caller(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit_at(b, 0, 1, 100), 0);
    tail(b, 0, 42, 1, 9);
    tick_after(b, 100);
    append_core_resolved(b->core, 1);
    assert_int_equal(submit_at(b, 0, 2, 100), 0);
    expect_send(b, 2, 9);
}

static void test_later_in_flight_waits_behind_unknown(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit_at(b, 0, 1, 100), 0);
    assert_int_equal(submit_at(b, 0, 2, 1000), 0);
    tail(b, 0, 42, 1, 9);
    struct append_action s2 = expect_send(b, 2, 9);
    tick_after(b, 100);
    reply(b, &s2, PAWL_EEXPECT, 1); // 1 never arrived
    expect_none(b, APPEND_ACTION_SEND);
    wake(b);
    expect_send(b, 2, 9); // keeps trying
    assert_int_equal(submit_at(b, 1, 1, 1000), 0);
    expect_send(b, 1, 9);
    tick_after(b, 1000);
    expect_done(b, 1, PAWL_EUNKNOWN);
    expect_done(b, 2, PAWL_EUNKNOWN);
    assert_int_equal(submit_at(b, 0, 3, 100), PAWL_EUNKNOWN);
}

static void test_given_up_in_doubt_is_unknown(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    submit(b, 2);
    tail(b, 0, 42, 1, 9);
    disconnected(b, 9);
    submit(b, 3);
    tail(b, 0, 42, 2, 8);
    struct append_action s1 = expect_send(b, 1, 8);
    reply(b, &s1, PAWL_EFENCED, 0); // but the first attempt may have worked
    expect_done(b, 1, PAWL_EUNKNOWN);
    expect_done(b, 2, PAWL_EUNKNOWN);
    expect_done(b, 3, PAWL_EUNKNOWN);
    assert_int_equal(submit_at(b, 0, 4, 100), PAWL_EFENCED);
}

static void test_fenced_without_doubt_is_fenced(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 1, 9);
    struct append_action s1 = expect_send(b, 1, 9);
    reply(b, &s1, PAWL_EFENCED, 0);
    expect_done(b, 1, PAWL_EFENCED);
}

// A chunk that refuses the producer refuses all of it: what is on its way there is not in the file; what an
// older place may have taken is unknown.
static void test_ended_session_leaves_only_older_places_in_doubt(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 1, 9);
    (void)expect_send(b, 1, 9);
    disconnected(b, 9); // it may have arrived
    tail(b, 0, 43, 1, 8);
    (void)expect_send(b, 1, 8);
    submit(b, 2);
    struct append_action s2 = expect_send(b, 2, 8);
    submit(b, 3);
    reply(b, &s2, PAWL_ESESSION, 0);
    expect_done(b, 1, PAWL_EUNKNOWN);
    expect_done(b, 2, PAWL_ESESSION);
    expect_done(b, 3, PAWL_ESESSION);
    assert_int_equal(submit_at(b, 0, 4, 100), PAWL_ESESSION);
    assert_int_equal(append_core_final(b->core), PAWL_ESESSION);
    assert_true(append_core_is_clear(b->core));
}

// A file with all the producers that it can have puts nothing of a new one in: that may go on elsewhere.
static void test_file_without_room_for_the_producer_leaves_no_doubt(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 1, 9);
    struct append_action s1 = expect_send(b, 1, 9);
    submit(b, 2);
    (void)expect_send(b, 2, 9);
    reply(b, &s1, PAWL_ELIMIT, 0);
    expect_done(b, 1, PAWL_ELIMIT);
    expect_done(b, 2, PAWL_ELIMIT);
    assert_true(append_core_is_clear(b->core));
    assert_int_equal(append_core_next_sequence(b->core), 1);
    submit(b, 3);
    (void)expect_send(b, 1, 9);
}

// Several in flight, and the chunk is sealed under them: the first was stored there, the others were not;
// the next chunk's table tells them apart.
static void test_full_chunk_under_several_in_flight_keeps_their_order(void **state)
{
    struct bench *b = *state;
    for (uint32_t crc = 1; crc <= 4; crc++) {
        submit(b, crc);
    }
    tail(b, 0, 42, 1, 9);
    struct append_action s[5];
    for (uint64_t i = 1; i <= 4; i++) {
        s[i] = expect_send(b, i, 9);
    }
    reply(b, &s[3], PAWL_ECHUNKFULL, 0); // 1 and 2 are under way, 3 and 4 did not fit
    tail(b, 0, 43, 1, 8);
    expect_none(b, APPEND_ACTION_SEND); // not past those whose answers are awaited
    reply(b, &s[4], PAWL_ECHUNKFULL, 0);
    reply(b, &s[1], 0, 100);
    reply(b, &s[2], PAWL_ESTALE, 0); // fenced: perhaps in the file
    for (uint64_t i = 2; i <= 4; i++) {
        s[i] = expect_send(b, i, 8);
    }
    reply(b, &s[2], PAWL_EEARLIER, 42); // it was
    struct append_action lookup = expect(b, APPEND_ACTION_LOOKUP);
    assert_int_equal(lookup.chunk, 42);
    reply(b, &s[3], 0, 300);
    expect_done(b, 3, 0);
    reply(b, &s[4], 0, 400);
    looked_up(b, &lookup, 0, 200);
    expect_done(b, 2, 0);
    assert_int_equal(append_core_next_sequence(b->core), 5);
    assert_true(append_core_is_clear(b->core));
}

static void test_deleted_file_ends_everything(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 1, 9);
    disconnected(b, 9);
    submit(b, 2);
    tail(b, PAWL_EDELETED, 0, 0, 0);
    expect_done(b, 1, PAWL_EDELETED);
    expect_done(b, 2, PAWL_EDELETED);
    assert_int_equal(submit_at(b, 0, 3, 100), PAWL_EDELETED);
}

static void test_reused_id_ends_one_append_only(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit_at(b, 1, 1, 1000), 0);
    submit(b, 2);
    tail(b, 0, 42, 1, 9);
    struct append_action s1 = expect_send(b, 1, 9);
    struct append_action s2 = expect_send(b, 2, 9);
    reply(b, &s1, PAWL_EIDREUSED, 0);
    expect_done(b, 1, PAWL_EIDREUSED);
    reply(b, &s2, 0, 1);
    expect_done(b, 2, 0);
}

static void test_repeat_of_old_sequence_is_sent_to_the_tail(void **state)
{
    struct append_core_options options = {.last_sequence = 10};
    struct bench other;
    bench_init(&other, options);
    struct bench *b = &other;
    (void)state;
    assert_int_equal(submit_at(b, 4, 4, 1000), 0);
    assert_int_equal(submit_at(b, 4, 4, 1000), PAWL_EINVALID); // is under way
    submit(b, 11);
    tail(b, 0, 42, 1, 9);
    struct append_action s4 = expect_send(b, 4, 9);
    expect_send(b, 11, 9);
    reply(b, &s4, 0, 5);
    assert_int_equal(append_core_next_sequence(b->core), 12);
    append_core_free(b->core);
}

static void test_named_sequence_unsent_at_deadline_is_unknown(void **state)
{
    struct bench *b = *state;
    assert_int_equal(submit_at(b, 1, 1, 100), 0); // an earlier life may have sent it
    tick_after(b, 100);
    expect_done(b, 1, PAWL_EUNKNOWN);
}

static int submit_epoch(struct bench *b)
{
    return step(b, (struct append_event){.type = APPEND_EVENT_SUBMIT,
                                         .record_flags = WIRE_RECORD_EPOCH,
                                         .user = 5,
                                         .deadline_ns = b->now_ns + 1000 * MS});
}

static void test_epoch_record_goes_alone_and_tells_the_last_sequence(void **state)
{
    struct append_core_options options = {.epoch = 3};
    struct bench other;
    bench_init(&other, options);
    struct bench *b = &other;
    (void)state;
    assert_int_equal(submit_epoch(b), 0);
    assert_int_equal(submit_at(b, 0, 1, 1000), -EAGAIN);
    assert_int_equal(submit_epoch(b), -EAGAIN);
    assert_int_equal(step(b, (struct append_event){.type = APPEND_EVENT_TICK}), 0);
    tail(b, 0, 42, 1, 9);
    struct append_action send = expect(b, APPEND_ACTION_SEND);
    assert_int_equal(send.record_flags, WIRE_RECORD_EPOCH);
    assert_int_equal(send.length, 0);
    struct append_event event = {.type = APPEND_EVENT_REPLY, .attempt = send.attempt};
    event.reply.sequence = 17;
    assert_int_equal(step(b, event), 0);
    assert_int_equal(expect(b, APPEND_ACTION_DONE).reply_sequence, 17);
    assert_int_equal(append_core_next_sequence(b->core), 18);
    submit(b, 1);
    expect_send(b, 18, 9);
    append_core_free(b->core);
}

static void test_epoch_record_needs_a_named_producer(void **state)
{
    assert_int_equal(submit_epoch(*state), PAWL_EINVALID);
}

static void test_lost_master_is_asked_again_with_the_hint(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 1, 9);
    disconnected(b, 9);
    expect(b, APPEND_ACTION_GET_TAIL);
    tail(b, PAWL_EDISCONNECTED, 0, 0, 0);
    wake(b);
    assert_int_equal(expect(b, APPEND_ACTION_GET_TAIL).hint_handle, 42);
    tail(b, PAWL_EDEADLINE, 0, 0, 0);
    expect_none(b, APPEND_ACTION_DONE);
    wake(b);
    assert_int_equal(expect(b, APPEND_ACTION_GET_TAIL).hint_code, PAWL_EDISCONNECTED);
}

static void test_idle_disconnect_does_not_drop_the_tail(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 1, 9);
    struct append_action send = expect_send(b, 1, 9);
    reply(b, &send, 0, 0);
    disconnected(b, 9);
    submit(b, 2);
    expect_send(b, 2, 9);
}

static void test_reply_of_another_sequence_is_a_protocol_error(void **state)
{
    struct bench *b = *state;
    submit(b, 1);
    tail(b, 0, 42, 1, 9);
    struct append_action send = expect_send(b, 1, 9);
    struct append_event event = {.type = APPEND_EVENT_REPLY, .attempt = send.attempt};
    event.reply.sequence = 8;
    assert_int_equal(step(b, event), 0);
    expect_done(b, 1, PAWL_EUNKNOWN);
    assert_int_equal(submit_at(b, 0, 2, 100), PAWL_EPROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_CASE(test_append_when_answered_is_done_with_its_offset),
        BENCH_CASE(test_appends_are_sent_in_order_up_to_depth),
        BENCH_CASE(test_reply_to_older_attempt_is_ignored),
        BENCH_CASE(test_busy_pauses_and_sends_again_to_the_same_place),
        BENCH_CASE(test_busy_for_long_asks_for_the_tail),
        BENCH_CASE(test_busy_patience_begins_anew_after_a_success),
        BENCH_CASE(test_refused_submit_when_a_pause_is_over_keeps_the_wake_up),
        BENCH_CASE(test_expect_sends_again_from_there),
        BENCH_CASE(test_expect_of_committed_sequence_ends_the_producer),
        BENCH_CASE(test_silent_primary_is_disconnected_and_reported),
        BENCH_CASE(test_later_sequence_waits_for_answer_from_older_place),
        BENCH_CASE(test_earlier_is_followed_chunk_by_chunk),
        BENCH_CASE(test_deadline_of_unsent_ends_it_and_what_follows),
        BENCH_CASE(test_deadline_of_unsent_while_the_master_is_silent_is_a_deadline),
        BENCH_CASE(test_deadline_of_refused_is_no_unknown),
        BENCH_CASE(test_deadline_of_sent_is_unknown_until_repeated),
        BENCH_CASE(test_unknown_is_resolved_by_a_later_commit),
        BENCH_CASE(test_unknown_is_resolved_by_the_caller),
        BENCH_CASE(test_later_in_flight_waits_behind_unknown),
        BENCH_CASE(test_given_up_in_doubt_is_unknown),
        BENCH_CASE(test_fenced_without_doubt_is_fenced),
        BENCH_CASE(test_ended_session_leaves_only_older_places_in_doubt),
        BENCH_CASE(test_file_without_room_for_the_producer_leaves_no_doubt),
        BENCH_CASE(test_full_chunk_under_several_in_flight_keeps_their_order),
        BENCH_CASE(test_deleted_file_ends_everything),
        BENCH_CASE(test_reused_id_ends_one_append_only),
        BENCH_CASE(test_repeat_of_old_sequence_is_sent_to_the_tail),
        BENCH_CASE(test_named_sequence_unsent_at_deadline_is_unknown),
        BENCH_CASE(test_epoch_record_goes_alone_and_tells_the_last_sequence),
        BENCH_CASE(test_epoch_record_needs_a_named_producer),
        BENCH_CASE(test_lost_master_is_asked_again_with_the_hint),
        BENCH_CASE(test_idle_disconnect_does_not_drop_the_tail),
        BENCH_CASE(test_reply_of_another_sequence_is_a_protocol_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
