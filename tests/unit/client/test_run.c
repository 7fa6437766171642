// SPDX-License-Identifier: Apache-2.0
// Tests of client/run.c: appends that wait for a link leave as one message, and what comes back is each one's own.
#include "cluster.h"

#include <errno.h>

#include "client/client_private.h"

#define LONG_MS 10000u
#define SHORT_MS 1000u
#define RECORDS 16u

struct heard {
    unsigned count;
    struct pawl_append_result results[RECORDS];
};

struct place {
    struct cluster cluster;
    struct pawl *pawl;
    struct pawl_file *file;
    unsigned char data[1u << 16];
    struct heard heard;
};

// So long there is no room for a run.
static bool no_room;

int __real_fabric_sendv(struct fabric_conn *conn, const struct iovec *pieces,
                        uint32_t pieces_count);
int __wrap_fabric_sendv(struct fabric_conn *conn, const struct iovec *pieces,
                        uint32_t pieces_count);

int __wrap_fabric_sendv(struct fabric_conn *conn, const struct iovec *pieces, uint32_t pieces_count)
{
    return no_room ? -EAGAIN : __real_fabric_sendv(conn, pieces, pieces_count);
}

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    no_room = false;
    cluster_start(&place->cluster, 0, 0);
    place->pawl = cluster_connect(&place->cluster, LONG_MS);
    place->file = cluster_open(place->pawl);
    for (size_t i = 0; i < sizeof place->data; i++) {
        place->data[i] = cluster_byte(i);
    }
    // The tail and the connection are known from here on.
    assert_int_equal(pawl_append(place->file, place->data, 1, NULL, NULL), 0);
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

static void on_done(void *user, const struct pawl_append_result *result)
{
    struct heard *heard = user;
    assert_true(heard->count < RECORDS);
    heard->results[heard->count++] = *result;
}

static void submit(struct place *place, uint64_t offset, size_t bytes,
                   const struct pawl_append_options *options)
{
    assert_int_equal(pawl_append_submit(place->file, place->data + offset, bytes, options, on_done,
                                        &place->heard),
                     0);
}

// So many records of so many bytes, which are the file's from its first byte on.
static void submit_all(struct place *place, unsigned count, size_t bytes)
{
    for (unsigned i = 0; i < count; i++) {
        submit(place, 1 + i * bytes, bytes, NULL);
    }
}

static void hear(struct place *place, unsigned count)
{
    while (place->heard.count < count) {
        assert_true(pawl_poll(place->pawl, 1000) >= 0);
    }
}

// The bytes of the file's chunk are those that stand at their offsets.
static void assert_bytes(struct place *place)
{
    cluster_lock(&place->cluster);
    const struct cluster_chunk *chunk = &place->cluster.chunks[0];
    assert_memory_equal(chunk->data, place->data, chunk->bytes);
    cluster_unlock(&place->cluster);
}

static void assert_in_place(struct place *place, unsigned count, size_t bytes)
{
    for (unsigned i = 0; i < count; i++) {
        const struct pawl_append_result *result = &place->heard.results[i];
        assert_int_equal(result->status, 0);
        assert_int_equal(result->id.sequence, 2 + i);
        assert_int_equal(result->offset, 1 + i * bytes);
    }
    assert_int_equal(cluster_bytes(&place->cluster), 1 + count * bytes);
    assert_bytes(place);
}

static unsigned runs_count(struct place *place)
{
    return cluster_get(&place->cluster, &place->cluster.servers[0].runs_count);
}

static void test_submits_when_they_wait_together_then_go_as_one_and_each_has_its_place(void **state)
{
    struct place *place = *state;
    submit_all(place, 5, 100);
    hear(place, 5);
    assert_in_place(place, 5, 100);
    assert_int_equal(runs_count(place), 1);
    assert_int_equal(place->heard.results[0].stages.flush_ns, 2);
    assert_false(place->heard.results[4].duplicate);
}

// The answer names the last one's place.
static void test_run_when_its_records_are_of_different_lengths_then_each_has_its_place(void **state)
{
    struct place *place = *state;
    static const size_t sizes[] = {10, 3000, 1, 700, 2000};
    uint64_t offset = 1;
    for (unsigned i = 0; i < PAWL_ARRAY_COUNT(sizes); i++) {
        submit(place, offset, sizes[i], NULL);
        offset += sizes[i];
    }
    hear(place, PAWL_ARRAY_COUNT(sizes));
    offset = 1;
    for (unsigned i = 0; i < PAWL_ARRAY_COUNT(sizes); i++) {
        assert_int_equal(place->heard.results[i].status, 0);
        assert_int_equal(place->heard.results[i].offset, offset);
        offset += sizes[i];
    }
    assert_int_equal(cluster_bytes(&place->cluster), offset);
    assert_int_equal(runs_count(place), 1);
    assert_bytes(place);
}

static void test_append_when_it_is_alone_then_is_no_run(void **state)
{
    struct place *place = *state;
    submit(place, 1, 100, NULL);
    hear(place, 1);
    assert_in_place(place, 1, 100);
    assert_int_equal(runs_count(place), 0);
}

static void test_submits_when_they_are_too_many_bytes_then_go_as_several(void **state)
{
    struct place *place = *state;
    submit_all(place, 8, 2000); // four of them fit
    hear(place, 8);
    assert_in_place(place, 8, 2000);
    assert_int_equal(runs_count(place), 2);
}

static void test_submits_when_one_is_large_or_of_another_level_then_it_goes_alone(void **state)
{
    struct place *place = *state;
    struct pawl_append_options weaker = {.size = sizeof weaker, .ack = PAWL_ACK_REPLICATED};
    submit(place, 1, 100, NULL);
    submit(place, 101, 9000, NULL);
    submit(place, 9101, 100, NULL);
    submit(place, 9201, 100, &weaker);
    submit(place, 9301, 100, NULL);
    hear(place, 5);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(place->heard.results[i].status, 0);
    }
    assert_int_equal(place->heard.results[4].offset, 9301);
    assert_int_equal(runs_count(place), 0);
    assert_bytes(place);
}

static void test_submits_when_their_sequences_are_named_then_each_goes_alone(void **state)
{
    struct place *place = *state;
    for (unsigned i = 0; i < 3; i++) {
        struct pawl_append_options named = {.size = sizeof named, .sequence = 2 + i};
        submit(place, 1 + i * 100, 100, &named);
    }
    hear(place, 3);
    assert_in_place(place, 3, 100);
    assert_int_equal(runs_count(place), 0);
}

static void test_run_when_it_is_refused_then_its_records_are_sent_one_by_one(void **state)
{
    struct place *place = *state;
    static const int codes[] = {PAWL_EBUSY, PAWL_EBADPAYLOAD, PAWL_ESTALE};
    for (unsigned i = 0; i < 3; i++) {
        cluster_set(&place->cluster, servers[0].faults.append_status, codes[i]);
        cluster_set(&place->cluster, servers[0].faults.append_status_left, 3);
        for (unsigned k = 0; k < 3; k++) {
            submit(place, 1 + (3 * i + k) * 100, 100, NULL);
        }
        hear(place, 3 * i + 3);
    }
    assert_in_place(place, 9, 100);
    assert_int_equal(runs_count(place), 3);
}

static void test_run_when_its_answer_is_lost_then_each_record_is_there_once(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, servers[0].faults.forget_left, 1);
    submit_all(place, 4, 100);
    hear(place, 4); // behind the end of the attempt
    assert_in_place(place, 4, 100);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(place->heard.results[i].duplicate);
    }
    assert_int_equal(runs_count(place), 1);
}

static void test_run_when_its_deadline_passes_then_all_of_it_is_unknown(void **state)
{
    struct place *place = *state;
    struct pawl_append_options options = {.size = sizeof options, .deadline_ms = SHORT_MS};
    cluster_set(&place->cluster, servers[0].faults.forget_left, 1);
    for (unsigned i = 0; i < 3; i++) {
        submit(place, 1 + i * 100, 100, &options);
    }
    hear(place, 3);
    for (unsigned i = 0; i < 3; i++) {
        struct pawl_append_result found;
        assert_int_equal(place->heard.results[i].status, PAWL_EUNKNOWN);
        assert_int_equal(pawl_resolve(place->file, &place->heard.results[i].id, &found), 0);
        assert_int_equal(found.offset, 1 + i * 100);
    }
}

static void test_run_when_there_is_no_room_then_what_is_left_of_it_goes_alone(void **state)
{
    struct place *place = *state;
    struct pawl_append_options options = {.size = sizeof options, .deadline_ms = SHORT_MS};
    no_room = true;
    submit(place, 1, 100, NULL);
    submit(place, 101, 50, &options);
    hear(place, 1);
    assert_int_equal(place->heard.results[0].status, PAWL_EUNKNOWN); // the core has not been told
    no_room = false;
    hear(place, 2);
    options.sequence = place->heard.results[0].id.sequence;
    options.deadline_ms = 0; // the usual one
    submit(place, 101, 50, &options);
    hear(place, 3);
    for (unsigned i = 1; i < 3; i++) {
        assert_int_equal(place->heard.results[i].status, 0);
        assert_int_equal(place->heard.results[i].offset, i == 1 ? 1 : 101);
    }
    assert_int_equal(runs_count(place), 0);
    assert_bytes(place);
}

static void test_run_when_the_answer_is_another_records_then_the_link_is_given_up(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, servers[0].faults.wrong_runs_left, 1);
    submit_all(place, 3, 100);
    hear(place, 3);
    assert_in_place(place, 3, 100);
    assert_true(place->heard.results[0].duplicate);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].hellos_count), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_submits_when_they_wait_together_then_go_as_one_and_each_has_its_place, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(
            test_run_when_its_records_are_of_different_lengths_then_each_has_its_place, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(test_append_when_it_is_alone_then_is_no_run, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            test_submits_when_they_are_too_many_bytes_then_go_as_several, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_submits_when_one_is_large_or_of_another_level_then_it_goes_alone, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(
            test_submits_when_their_sequences_are_named_then_each_goes_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_run_when_it_is_refused_then_its_records_are_sent_one_by_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_run_when_its_answer_is_lost_then_each_record_is_there_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_run_when_its_deadline_passes_then_all_of_it_is_unknown,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_run_when_there_is_no_room_then_what_is_left_of_it_goes_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_run_when_the_answer_is_another_records_then_the_link_is_given_up, set_up,
            tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
