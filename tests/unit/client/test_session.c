// SPDX-License-Identifier: Apache-2.0
// Tests of client/session.c: a session that is kept, that ends, and what becomes of files and records.
#include "cluster.h"

#include <errno.h>

#include "base/clock.h"
#include "client/client_private.h"

#define LONG_MS 10000u

struct place {
    struct cluster cluster;
    struct pawl *pawl;
    struct pawl_file *file;
    unsigned char data[64];
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    cluster_start(&place->cluster, 0, 0);
    place->pawl = cluster_connect(&place->cluster, LONG_MS);
    place->file = cluster_open(place->pawl);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    pawl_file_close(place->file);
    pawl_close(place->pawl);
    cluster_stop(&place->cluster);
    free(place);
    return 0;
}

static uint64_t session_of(const struct pawl_record_id *id)
{
    struct wire_record_id wire = {.producer_hi = id->producer_hi, .epoch = id->epoch};
    return wire_session_of(&wire);
}

static int append(struct place *place, uint64_t sequence, struct pawl_append_result *ret)
{
    struct pawl_append_options options = {
        .size = sizeof options, .sequence = sequence, .deadline_ms = LONG_MS};
    return pawl_append(place->file, place->data, sizeof place->data, &options, ret);
}

static void refuse(struct place *place, unsigned count)
{
    cluster_lock(&place->cluster);
    place->cluster.servers[0].faults.append_status = PAWL_ESESSION;
    place->cluster.servers[0].faults.append_status_left = count;
    cluster_unlock(&place->cluster);
}

static void test_connect_then_one_question_opens_the_session(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.master.sessions_count), 1);
    assert_int_equal(append(place, 0, &result), 0);
    assert_int_equal(session_of(&result.id), 1);
    assert_int_equal(result.id.producer_lo, 1);
}

static void test_file_when_another_is_opened_then_it_has_another_producer(void **state)
{
    struct place *place = *state;
    struct pawl_append_result first;
    struct pawl_append_result second;
    struct pawl_file *other = cluster_open(place->pawl);
    assert_int_equal(append(place, 0, &first), 0);
    assert_int_equal(pawl_append(other, place->data, 10, NULL, &second), 0);
    assert_int_equal(session_of(&second.id), session_of(&first.id));
    assert_int_not_equal(second.id.producer_lo, first.id.producer_lo);
    pawl_file_close(other);
}

static void wait_session(struct place *place, uint64_t session)
{
    while (place->pawl->session != session || !place->pawl->session_here) {
        client_turn(place->pawl, pawl_clock_ns() + PAWL_NS_PER_MS);
    }
}

static void lose_master(struct place *place)
{
    cluster_set(&place->cluster, master.drop_left, 1);
    struct pawl_stat stat;
    assert_int_equal(pawl_stat_sealed(place->pawl, "/f", &stat), 0); // by another connection
}

static void test_session_when_the_connection_is_lost_then_it_is_taken_up_again(void **state)
{
    struct place *place = *state;
    struct pawl_append_result first;
    struct pawl_append_result second;
    assert_int_equal(append(place, 0, &first), 0);
    lose_master(place);
    wait_session(place, 1);
    cluster_lock(&place->cluster);
    assert_int_equal(place->cluster.master.last_session, 1);
    cluster_unlock(&place->cluster);
    assert_int_equal(append(place, 0, &second), 0);
    assert_int_equal(second.id.producer_lo, first.id.producer_lo);
    assert_int_equal(second.id.sequence, 2);
}

static void test_session_when_it_has_ended_then_an_idle_file_changes_over(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    assert_int_equal(append(place, 0, &result), 0);
    cluster_set(&place->cluster, master.session_ended, 1);
    lose_master(place);
    wait_session(place, 2);
    assert_int_equal(append(place, 0, &result), 0);
    assert_int_equal(session_of(&result.id), 2);
    assert_int_equal(result.id.sequence, 1);
    assert_false(result.duplicate);
}

static void test_append_when_the_chunk_refuses_the_session_then_it_goes_by_another(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    assert_int_equal(append(place, 0, &result), 0);
    cluster_set(&place->cluster, master.session_ended, 1);
    refuse(place, 1);
    assert_int_equal(append(place, 0, &result),
                     0); // refused, so not in the file: stored by session 2
    assert_int_equal(session_of(&result.id), 2);
    assert_int_equal(result.offset, sizeof place->data);
}

static void test_append_when_its_sequence_is_named_then_the_refusal_is_told(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    assert_int_equal(append(place, 1, &result), 0);
    cluster_set(&place->cluster, master.session_ended, 1);
    refuse(place, 1);
    // The caller may have sent it before: in doubt.
    assert_int_equal(append(place, 2, &result), PAWL_EUNKNOWN);
    assert_int_equal(append(place, 2, &result), PAWL_ESESSION); // the producer is over
    assert_int_equal(append(place, 0, &result), 0);
    assert_int_equal(session_of(&result.id), 2);
}

struct heard {
    unsigned count;
    unsigned over_count;
};

static void on_done(void *user, const struct pawl_append_result *result)
{
    struct heard *heard = user;
    heard->count++;
    heard->over_count += result->status == PAWL_ESESSION;
}

// All were sent to the chunk that refused the first of them: none is in the file.
static void test_submit_when_the_session_is_over_then_none_is_unknown(void **state)
{
    struct place *place = *state;
    struct heard heard = {0};
    struct pawl_append_result result;
    assert_int_equal(append(place, 0, &result), 0);
    refuse(place, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pawl_append_submit(place->file, place->data, 10, NULL, on_done, &heard),
                         0);
    }
    while (heard.count < 4) {
        assert_true(pawl_poll(place->pawl, 1000) >= 0);
    }
    assert_int_equal(heard.over_count, 4);
    cluster_set(&place->cluster, master.session_ended, 1);
    int code = pawl_append_submit(place->file, place->data, 10, NULL, on_done, &heard);
    while (code == -EAGAIN) { // until the master has given another session
        assert_true(pawl_poll(place->pawl, 10) >= 0);
        code = pawl_append_submit(place->file, place->data, 10, NULL, on_done, &heard);
    }
    assert_int_equal(code, 0);
    while (heard.count < 5) {
        assert_true(pawl_poll(place->pawl, 1000) >= 0);
    }
    assert_int_equal(heard.over_count, 4);
}

static void test_producer_set_when_the_id_is_a_sessions_then_einvalid(void **state)
{
    struct place *place = *state;
    assert_int_equal(pawl_producer_set(place->file, WIRE_SESSION_BIT | 5, 1, 0), PAWL_EINVALID);
    assert_int_equal(pawl_producer_set(place->file, 5, 1, 0), 0);
}

// The record lies in the first of several chunks; those from ended_from on know nothing of its session.
static void
test_resolve_when_the_session_has_ended_then_the_last_chunk_that_knows_is_found(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    struct pawl_append_result found;
    assert_int_equal(append(place, 0, &result), 0);
    for (int i = 0; i < 3; i++) {
        cluster_seal_tail(&place->cluster);
    }
    for (unsigned from = 1; from <= 3; from++) {
        cluster_set_all(&place->cluster, faults.ended_from, from);
        assert_int_equal(pawl_resolve(place->file, &result.id, &found), 0);
        assert_int_equal(found.offset, 0);
    }
    assert_true(cluster_get(&place->cluster, &place->cluster.servers[0].lookups_count) > 0);
}

static void test_resolve_when_the_session_never_stored_it_then_it_is_absent(void **state)
{
    struct place *place = *state;
    struct pawl_append_result found;
    struct pawl_record_id never = {
        .producer_hi = WIRE_SESSION_BIT | 77, .producer_lo = 99, .sequence = 1};
    assert_int_equal(pawl_producer_set(place->file, 3, 4, 0), 0);
    for (int i = 0; i < 3; i++) {
        cluster_seal_tail(&place->cluster);
    }
    cluster_set_all(&place->cluster, faults.ended_from, 2);
    assert_int_equal(pawl_resolve(place->file, &never, &found), PAWL_EABSENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_connect_then_one_question_opens_the_session),
        TEST(test_file_when_another_is_opened_then_it_has_another_producer),
        TEST(test_session_when_the_connection_is_lost_then_it_is_taken_up_again),
        TEST(test_session_when_it_has_ended_then_an_idle_file_changes_over),
        TEST(test_append_when_the_chunk_refuses_the_session_then_it_goes_by_another),
        TEST(test_append_when_its_sequence_is_named_then_the_refusal_is_told),
        TEST(test_submit_when_the_session_is_over_then_none_is_unknown),
        TEST(test_producer_set_when_the_id_is_a_sessions_then_einvalid),
        TEST(test_resolve_when_the_session_has_ended_then_the_last_chunk_that_knows_is_found),
        TEST(test_resolve_when_the_session_never_stored_it_then_it_is_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
