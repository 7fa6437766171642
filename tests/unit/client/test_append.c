// SPDX-License-Identifier: Apache-2.0
// Tests of client/append.c and client/file.c: submits, outcomes, producers, resolving.
#include "cluster.h"

#include <errno.h>

#include "client/client_private.h"

#define LONG_MS 10000u
#define SHORT_MS 1000u

struct place {
    struct cluster cluster;
    struct pawl *pawl;
    struct pawl_file *file;
    unsigned char data[1u << 20];
};

// Whoever sleeps while an answer waits to be taken loses CLIENT_TURN_MAX_MS with each change of chunk.
static struct pawl *watched;

int __real_fabric_try_wait(struct fabric *fabric);
int __wrap_fabric_try_wait(struct fabric *fabric);

// Asked before each sleep, and then only.
int __wrap_fabric_try_wait(struct fabric *fabric)
{
    if (watched && watched->fabric == fabric) {
        pawl_list_for_each (node, &watched->files) {
            assert_true(
                pawl_list_is_empty(&pawl_container_of(node, struct pawl_file, node)->events));
        }
    }
    return __real_fabric_try_wait(fabric);
}

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    cluster_start(&place->cluster, 0, 0);
    place->pawl = cluster_connect(&place->cluster, LONG_MS);
    watched = place->pawl;
    place->file = cluster_open(place->pawl);
    for (size_t i = 0; i < sizeof place->data; i++) {
        place->data[i] = cluster_byte(i);
    }
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    pawl_file_close(place->file);
    watched = NULL;
    pawl_close(place->pawl);
    cluster_stop(&place->cluster);
    free(place);
    return 0;
}

static int append(struct place *place, size_t bytes, uint64_t sequence, uint32_t deadline_ms,
                  struct pawl_append_result *ret)
{
    struct pawl_append_options options = {
        .size = sizeof options, .sequence = sequence, .deadline_ms = deadline_ms};
    return pawl_append(place->file, place->data, bytes, &options, ret);
}

static struct cluster_server *primary(struct place *place)
{
    return &place->cluster.servers[0];
}

// ---- the normal way -----------------------------------------------------------------------------

static void test_append_when_all_is_well_then_offsets_follow_each_other(void **state)
{
    struct place *place = *state;
    static const size_t sizes[] = {1, 8192, 8193, 262144, 262145, 1 << 20};
    uint64_t offset = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct pawl_append_result result;
        assert_int_equal(append(place, sizes[i], 0, LONG_MS, &result), 0);
        assert_int_equal(result.offset, offset);
        assert_int_equal(result.id.sequence, i + 1);
        assert_false(result.duplicate);
        assert_int_equal(result.stages.prepare_ns, 1);
        assert_int_equal(result.stages.flush_ns, 2);
        assert_int_equal(result.stages.commit_ns, 3);
        assert_int_equal(result.stages.answer_ns, 4);
        assert_true(result.stages.push_ns > 0); // the fake servers take longer than they say
        offset += sizes[i];
    }
    assert_int_equal(cluster_bytes(&place->cluster), offset);
}

static void test_append_when_its_level_is_unknown_then_is_refused(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    struct pawl_append_options options = {.size = sizeof options, .ack = (enum pawl_ack)2};
    assert_int_equal(pawl_append(place->file, place->data, 10, &options, &result), PAWL_EINVALID);
    options.ack = PAWL_ACK_REPLICATED;
    assert_int_equal(pawl_append(place->file, place->data, 10, &options, &result), 0);
    assert_true(result.durable); // an answer may be better than what was asked for
}

// ---- servers that offer other fabrics -------------------------------------------------------------

static void offer(struct place *place, const char *before)
{
    cluster_lock(&place->cluster);
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        struct cluster_server *server = &place->cluster.servers[i];
        snprintf(server->addresses, sizeof server->addresses, "%s%s", before,
                 strchr(before, ',') != NULL ? fabric_address(server->fabric) : "");
    }
    cluster_unlock(&place->cluster);
}

static void test_append_when_the_primary_has_several_fabrics_then_ours_is_taken(void **state)
{
    struct place *place = *state;
    offer(place, "verbs://10.0.0.1:7500,");
    assert_int_equal(append(place, 5000, 0, LONG_MS, NULL), 0);
    assert_int_equal(append(place, 300000, 0, LONG_MS, NULL), 0);
    assert_int_equal(cluster_bytes(&place->cluster), 305000);
}

static void
test_append_when_the_primary_lacks_our_fabric_then_nothing_is_sent_or_reported(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    offer(place, "verbs://10.0.0.1:7500");
    assert_int_equal(append(place, 5000, 0, LONG_MS, &result), PAWL_EPROVIDER);
    assert_int_equal(result.status, PAWL_EPROVIDER);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.master.hints_count), 0);
    assert_int_equal(cluster_get(&place->cluster, &primary(place)->hellos_count), 0);
    offer(place, "verbs://10.0.0.1:7500,"); // it was configured anew: the next append finds out
    assert_int_equal(append(place, 5000, 0, LONG_MS, &result), 0);
    assert_int_equal(result.id.sequence, 1);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.master.hints_count), 0);
}

struct heard {
    unsigned count;
    unsigned in_submit;
    bool submitting;
    uint64_t last_sequence;
    int last_status;
};

static void on_done(void *user, const struct pawl_append_result *result)
{
    struct heard *heard = user;
    heard->count++;
    heard->in_submit += heard->submitting;
    heard->last_status = result->status;
    if (result->status == 0) {
        assert_int_equal(result->id.sequence, heard->last_sequence + 1);
        heard->last_sequence = result->id.sequence;
    }
}

static void test_submit_when_many_are_in_flight_then_each_is_called_once_in_order(void **state)
{
    struct place *place = *state;
    struct heard heard = {0};
    unsigned submitted = 0;
    unsigned refused = 0;
    while (submitted < 100) {
        heard.submitting = true;
        int code = pawl_append_submit(place->file, place->data, 20000, NULL, on_done, &heard);
        heard.submitting = false;
        submitted += code == 0;
        refused += code == -EAGAIN;
        assert_true(code == 0 || code == -EAGAIN);
        if (code == -EAGAIN) {
            assert_true(submitted - heard.count == 32);
            assert_true(pawl_poll(place->pawl, 1000) >= 0);
        }
    }
    while (heard.count < 100) {
        assert_true(pawl_poll(place->pawl, 1000) >= 0);
    }
    assert_true(refused > 0);
    assert_int_equal(heard.in_submit, 0);
    assert_int_equal(heard.last_sequence, 100);
    assert_int_equal(pawl_poll(place->pawl, 0), 0);
}

static void test_append_when_arguments_are_wrong_then_nothing_is_sent(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    struct pawl_append_options wrong = {.size = 1};
    assert_int_equal(pawl_append(NULL, "x", 1, NULL, &result), PAWL_EINVALID);
    assert_int_equal(result.status, PAWL_EINVALID);
    assert_int_equal(pawl_append(place->file, NULL, 1, NULL, NULL), PAWL_EINVALID);
    assert_int_equal(append(place, 0, 0, LONG_MS, &result), PAWL_EINVALID);
    assert_int_equal(append(place, (1 << 20) + 1, 0, LONG_MS, &result), PAWL_ETOOLARGE);
    assert_int_equal(append(place, 10, 2, LONG_MS, &result), PAWL_EINVALID); // a gap
    assert_int_equal(pawl_append(place->file, "x", 1, &wrong, NULL), PAWL_EINVALID);
    assert_int_equal(pawl_append_submit(place->file, "x", 1, NULL, NULL, NULL), PAWL_EINVALID);
    assert_int_equal(cluster_get(&place->cluster, &primary(place)->hellos_count), 0);
    assert_int_equal(append(place, 10, 1, LONG_MS, &result), 0);
}

// ---- refusals and failures ----------------------------------------------------------------------

static void test_append_when_it_is_refused_in_a_bare_header_then_it_is_tried_again(void **state)
{
    struct place *place = *state;
    static const int codes[] = {PAWL_EBUSY,  PAWL_EBADPAYLOAD, PAWL_ENOTPRIMARY,
                                PAWL_ESTALE, PAWL_ECHUNKFULL,  PAWL_ENOCHUNK};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct pawl_append_result result;
        cluster_set(&place->cluster, servers[0].faults.append_status, codes[i]);
        cluster_set(&place->cluster, servers[0].faults.append_status_left, 1);
        assert_int_equal(append(place, 10, 0, LONG_MS, &result), 0);
        assert_int_equal(result.offset, 10 * i);
    }
    struct pawl_counters counters;
    pawl_counters(place->file, &counters);
    assert_int_equal(counters.retries_count, 6);
}

static void
test_append_when_the_answer_is_lost_then_the_outcome_is_unknown_until_resolved(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    cluster_set(&place->cluster, servers[0].faults.forget_left, 1);
    assert_int_equal(append(place, 10, 0, SHORT_MS, &result), PAWL_EUNKNOWN);
    assert_int_equal(result.id.sequence, 1);
    struct pawl_append_result next;
    assert_int_equal(append(place, 10, 0, SHORT_MS, &next), PAWL_EUNKNOWN); // stands in the way
    assert_int_equal(next.id.sequence, 0);
    assert_int_equal(pawl_resolve(place->file, &result.id, &next), 0);
    assert_int_equal(next.offset, 0);
    assert_true(next.duplicate);
    assert_int_equal(append(place, 20, 0, LONG_MS, &next), 0);
    assert_int_equal(next.id.sequence, 2);
    assert_int_equal(cluster_bytes(&place->cluster), 30);
}

static void test_append_when_it_never_arrived_then_a_repeat_stores_it_once(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    struct pawl_append_result again;
    cluster_set(&place->cluster, servers[0].faults.mute_left, 1);
    assert_int_equal(append(place, 10, 0, SHORT_MS, &result), PAWL_EUNKNOWN);
    assert_int_equal(pawl_resolve(place->file, &result.id, &again), PAWL_EABSENT);
    assert_int_equal(append(place, 11, result.id.sequence, LONG_MS, &again), PAWL_EINVALID);
    assert_int_equal(append(place, 10, result.id.sequence, LONG_MS, &again), 0);
    assert_false(again.duplicate);
    assert_int_equal(cluster_bytes(&place->cluster), 10);
}

static void
test_append_when_an_earlier_chunk_is_not_named_then_the_server_is_not_believed(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    cluster_set(&place->cluster, servers[0].faults.expect_nonsense, true);
    assert_int_equal(append(place, 10, 0, LONG_MS, &result), PAWL_EUNKNOWN);
    assert_int_equal(append(place, 10, 0, LONG_MS, &result), PAWL_EPROTOCOL); // for good
}

static void test_append_when_the_primary_is_out_of_reach_then_it_ends_by_its_deadline(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    cluster_set(&place->cluster, master.no_replicas, true); // its address is told by nobody
    assert_int_equal(append(place, 10, 0, SHORT_MS, &result), PAWL_EUNKNOWN);
    assert_true(cluster_get(&place->cluster, &place->cluster.master.hints_count) > 0);
}

static void test_append_when_the_tail_is_no_tail_then_eprotocol(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    cluster_set(&place->cluster, master.wrong_body, true);
    assert_int_equal(append(place, 10, 0, LONG_MS, &result), PAWL_EPROTOCOL);
}

static void test_append_when_the_file_was_deleted_then_edeleted(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    cluster_set(&place->cluster, master.code, PAWL_EDELETED);
    cluster_set(&place->cluster, master.code_left, 100);
    assert_int_equal(append(place, 10, 0, LONG_MS, &result), PAWL_EDELETED);
    assert_int_equal(append(place, 10, 0, LONG_MS, &result), PAWL_EDELETED);
}

// ---- repeating and resolving --------------------------------------------------------------------

static void test_append_when_an_id_is_used_again_then_the_first_offset_is_told(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    assert_int_equal(pawl_producer_set(place->file, 5, 6, 0), 0);
    assert_int_equal(append(place, 10, 1, LONG_MS, &result), 0);
    assert_int_equal(append(place, 20, 2, LONG_MS, &result), 0);
    assert_int_equal(append(place, 10, 1, LONG_MS, &result), 0);
    assert_int_equal(result.offset, 0);
    assert_true(result.duplicate);
    assert_int_equal(append(place, 11, 1, LONG_MS, &result), PAWL_EIDREUSED);
    struct pawl_file *other = cluster_open(place->pawl);
    assert_int_equal(pawl_producer_set(other, 5, 6, 0), 0);
    assert_int_equal(pawl_append(other, place->data, 10, NULL, &result), 0);
    assert_true(result.duplicate);
    pawl_file_close(other);
}

// An old message may still bring a lost record: its id is for nothing else.
static void test_producer_set_when_records_of_the_id_are_lost_then_refused(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    struct pawl_append_options options = {
        .size = sizeof options, .deadline_ms = LONG_MS, .ack = PAWL_ACK_REPLICATED};
    assert_int_equal(pawl_producer_set(place->file, 5, 6, 0), 0);
    cluster_set_all(&place->cluster, faults.from_memory, true);
    assert_int_equal(pawl_append(place->file, place->data, 10, &options, &result), 0);
    assert_false(result.durable);
    cluster_set(&place->cluster, chunks[0].records_count, 0); // all replicas crash
    assert_int_equal(pawl_append(place->file, place->data, 20, &options, &result), PAWL_ELOST);
    assert_int_equal(result.lost_sequence, 1);
    assert_int_equal(pawl_producer_set(place->file, 5, 6, 0), PAWL_ELOST);
    assert_int_equal(pawl_append(place->file, place->data, 20, &options, &result), PAWL_ELOST);
    assert_int_equal(pawl_producer_set(place->file, 5, 7, 0), 0);
    assert_int_equal(pawl_append(place->file, place->data, 20, &options, &result), 0);
    assert_int_equal(pawl_producer_set(place->file, 5, 6, 0), PAWL_ELOST); // still
    cluster_set_all(&place->cluster, faults.from_memory, false);
    struct pawl_file *other = cluster_open(place->pawl);
    assert_int_equal(pawl_producer_set(other, 5, 6, 0), 0);
    assert_int_equal(pawl_append(other, place->data, 10, NULL, &result), 0);
    assert_int_equal(result.id.sequence, 1);
    pawl_file_close(other);
}

static void test_resolve_when_the_record_is_in_an_older_chunk_then_it_is_found(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    struct pawl_append_result found;
    assert_int_equal(append(place, 10, 0, LONG_MS, &result), 0);
    cluster_seal_tail(&place->cluster);
    assert_int_equal(pawl_resolve(place->file, &result.id, &found), 0);
    assert_int_equal(found.offset, 0);
    cluster_set_all(&place->cluster, faults.expect_nonsense, true);
    assert_int_equal(pawl_resolve(place->file, &result.id, &found), PAWL_EPROTOCOL);
}

static void test_resolve_when_every_replica_may_have_lost_it_then_edamaged(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    struct pawl_append_result found;
    assert_int_equal(append(place, 10, 0, LONG_MS, &result), 0);
    cluster_seal_tail(&place->cluster);
    cluster_set(&place->cluster, servers[0].faults.lost_to, 1);
    assert_int_equal(pawl_resolve(place->file, &result.id, &found), 0); // others know
    cluster_set_all(&place->cluster, faults.lost_to, 1);
    assert_int_equal(pawl_resolve(place->file, &result.id, &found), PAWL_EDAMAGED);
}

static void test_resolve_when_the_master_answers_with_something_else_then_eprotocol(void **state)
{
    struct place *place = *state;
    struct pawl_record_id id = {.producer_lo = 1, .sequence = 1};
    struct pawl_append_result found;
    cluster_set(&place->cluster, master.wrong_body, true);
    assert_int_equal(pawl_resolve(place->file, &id, &found), PAWL_EPROTOCOL);
}

// ---- named producers ----------------------------------------------------------------------------

static void test_producer_when_it_is_opened_then_its_last_sequence_is_told(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    uint64_t last = 99;
    assert_int_equal(pawl_producer_open(place->file, "p", &last), 0);
    assert_int_equal(last, 0);
    assert_int_equal(append(place, 10, 0, LONG_MS, &result), 0);
    assert_int_equal(result.id.epoch, 1);
    assert_int_equal(pawl_producer_open(place->file, "p", &last), 0);
    assert_int_equal(last, 1);
    assert_int_equal(append(place, 10, 0, LONG_MS, &result), 0);
    assert_int_equal(result.id.sequence, 2);
    assert_int_equal(result.id.epoch, 2);
}

static void test_producer_when_opening_failed_then_the_file_takes_no_appends(void **state)
{
    struct place *place = *state;
    struct pawl *hasty = cluster_connect(&place->cluster, LONG_MS);
    struct pawl_file *file = cluster_open(hasty);
    uint64_t last = 99;
    cluster_set(&place->cluster, servers[0].faults.mute, true);
    hasty->deadline_ms = SHORT_MS;
    assert_int_not_equal(pawl_producer_open(file, "p", &last), 0);
    hasty->deadline_ms = LONG_MS;
    assert_int_equal(last, 99);
    cluster_set(&place->cluster, servers[0].faults.mute, false);
    assert_int_equal(pawl_append(file, "x", 1, NULL, NULL), PAWL_EINVALID);
    cluster_set(&place->cluster, master.code, PAWL_ELIMIT);
    cluster_set(&place->cluster, master.code_left, 1);
    assert_int_equal(pawl_producer_open(file, "p", &last), PAWL_ELIMIT);
    assert_int_equal(pawl_append(file, "x", 1, NULL, NULL), PAWL_EINVALID);
    assert_int_equal(pawl_producer_set(file, 1, 1, 0), 0);
    assert_int_equal(pawl_append(file, "x", 1, NULL, NULL), 0);
    pawl_close(hasty);
}

static void test_producer_when_the_name_is_bad_then_einvalid(void **state)
{
    struct place *place = *state;
    uint64_t last;
    char name[300];
    memset(name, 'x', sizeof name);
    name[256] = '\0';
    assert_int_equal(pawl_producer_open(place->file, "", &last), PAWL_EINVALID);
    assert_int_equal(pawl_producer_open(place->file, name, &last), PAWL_EINVALID);
    assert_int_equal(pawl_producer_open(place->file, NULL, &last), PAWL_EINVALID);
    assert_int_equal(pawl_producer_set(place->file, 0, 0, 0), PAWL_EINVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_append_when_all_is_well_then_offsets_follow_each_other),
        TEST(test_append_when_its_level_is_unknown_then_is_refused),
        TEST(test_append_when_the_primary_has_several_fabrics_then_ours_is_taken),
        TEST(test_append_when_the_primary_lacks_our_fabric_then_nothing_is_sent_or_reported),
        TEST(test_submit_when_many_are_in_flight_then_each_is_called_once_in_order),
        TEST(test_append_when_arguments_are_wrong_then_nothing_is_sent),
        TEST(test_append_when_it_is_refused_in_a_bare_header_then_it_is_tried_again),
        TEST(test_append_when_the_answer_is_lost_then_the_outcome_is_unknown_until_resolved),
        TEST(test_append_when_it_never_arrived_then_a_repeat_stores_it_once),
        TEST(test_append_when_an_earlier_chunk_is_not_named_then_the_server_is_not_believed),
        TEST(test_append_when_the_primary_is_out_of_reach_then_it_ends_by_its_deadline),
        TEST(test_append_when_the_tail_is_no_tail_then_eprotocol),
        TEST(test_append_when_the_file_was_deleted_then_edeleted),
        TEST(test_append_when_an_id_is_used_again_then_the_first_offset_is_told),
        TEST(test_producer_set_when_records_of_the_id_are_lost_then_refused),
        TEST(test_resolve_when_the_record_is_in_an_older_chunk_then_it_is_found),
        TEST(test_resolve_when_every_replica_may_have_lost_it_then_edamaged),
        TEST(test_resolve_when_the_master_answers_with_something_else_then_eprotocol),
        TEST(test_producer_when_it_is_opened_then_its_last_sequence_is_told),
        TEST(test_producer_when_opening_failed_then_the_file_takes_no_appends),
        TEST(test_producer_when_the_name_is_bad_then_einvalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
