// SPDX-License-Identifier: Apache-2.0
// Tests of client/write.c: writes at an offset, their ids, and the tail that is sealed for them.
#include "cluster.h"

#include "client/client_private.h"

#define LONG_MS 10000u
#define SHORT_MS 1000u
#define CHUNK 100000u // bytes of each sealed chunk; two of them
#define TAIL 5000u    // of the open one behind
#define END (2 * CHUNK + TAIL)

struct place {
    struct cluster cluster;
    struct pawl *pawl;
    struct pawl_file *file;
    unsigned char data[64u << 10];
    unsigned char wanted[END]; // what the file is to hold
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    cluster_start(&place->cluster, 2, CHUNK);
    place->pawl = cluster_connect(&place->cluster, LONG_MS);
    place->file = cluster_open(place->pawl);
    for (size_t i = 0; i < sizeof place->data; i++) {
        place->data[i] = (unsigned char)(i * 7 + i / 251 + 3);
    }
    for (size_t i = 0; i < 2u * CHUNK; i++) {
        place->wanted[i] = cluster_byte(i);
    }
    memcpy(place->wanted + 2u * CHUNK, place->data, TAIL);
    assert_int_equal(pawl_append(place->file, place->data, TAIL, NULL, NULL), 0);
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

static int write_at(struct place *place, uint64_t offset, size_t bytes,
                    const struct pawl_record_id *id, uint32_t deadline_ms,
                    struct pawl_write_result *ret)
{
    struct pawl_write_options options = {
        .size = sizeof options, .id = id, .deadline_ms = deadline_ms};
    int code = pawl_write(place->file, offset, place->data, bytes, &options, ret);
    assert_int_equal(ret->status, code);
    return code;
}

static void wants(struct place *place, uint64_t offset, size_t bytes)
{
    memcpy(place->wanted + offset, place->data, bytes);
}

static void check_bytes(struct place *place)
{
    static unsigned char got[END];
    size_t bytes = 0;
    assert_int_equal(pawl_read(place->file, 0, got, sizeof got, NULL, &bytes), 0);
    assert_int_equal(bytes, sizeof got);
    assert_memory_equal(got, place->wanted, sizeof got);
}

static unsigned records(struct place *place, unsigned log)
{
    return cluster_get(&place->cluster, &place->cluster.logs[log].records_count);
}

// ---- where it goes -------------------------------------------------------------------------------

static void test_write_when_it_lies_in_a_chunk_then_it_is_one_record_of_its_log(void **state)
{
    struct place *place = *state;
    for (uint64_t i = 1; i <= 3; i++) { // over each other
        struct pawl_write_result result;
        assert_int_equal(write_at(place, 500 * i, 2000, NULL, LONG_MS, &result), 0);
        wants(place, 500 * i, 2000);
        assert_int_equal(result.bytes, 2000);
        assert_int_equal(result.id.sequence, i);
        assert_int_equal(result.id.epoch, 0);
        assert_false(result.duplicate);
        assert_int_equal(records(place, 0), i);
    }
    assert_int_equal(records(place, 1), 0);
    check_bytes(place);
}

static void test_write_when_it_crosses_chunks_then_it_is_split_there(void **state)
{
    struct place *place = *state;
    struct pawl_write_result result;
    assert_int_equal(write_at(place, CHUNK - 700, 2000, NULL, LONG_MS, &result), 0);
    wants(place, CHUNK - 700, 2000);
    assert_int_equal(result.bytes, 2000);
    assert_int_equal(result.part_bytes, 1300);
    assert_int_equal(records(place, 0), 1);
    assert_int_equal(records(place, 1), 1);
    cluster_lock(&place->cluster);
    assert_int_equal(place->cluster.logs[0].records[0].length, 700);
    assert_int_equal(place->cluster.logs[1].records[0].length, 1300);
    cluster_unlock(&place->cluster);
    check_bytes(place);
}

static void test_write_when_it_was_acknowledged_then_readers_ask_for_no_less(void **state)
{
    struct place *place = *state;
    struct pawl_write_result result;
    unsigned char byte;
    size_t got;
    assert_int_equal(write_at(place, 10, 3000, NULL, LONG_MS, &result), 0);
    assert_int_equal(pawl_read(place->file, 0, &byte, 1, NULL, &got), 0);
    uint64_t wanted = 0;
    cluster_lock(&place->cluster);
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        wanted += place->cluster.servers[i].log_bytes_wanted; // one of them was asked
    }
    cluster_unlock(&place->cluster);
    assert_int_equal(wanted, 3000);
}

static void
test_write_when_it_goes_beyond_the_end_then_epastend_and_nothing_is_written(void **state)
{
    struct place *place = *state;
    struct pawl_write_result result;
    static const uint64_t offsets[] = {END, END - 1, END + 1000000, 2 * CHUNK - 1};
    for (size_t i = 0; i < 4; i++) {
        size_t bytes = i == 3 ? TAIL + 2 : 2;
        assert_int_equal(write_at(place, offsets[i], bytes, NULL, LONG_MS, &result), PAWL_EPASTEND);
        assert_int_equal(result.bytes, 0);
        assert_int_equal(result.id.sequence, 0);
    }
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.master.seals_count), 0);
    for (unsigned i = 0; i < CLUSTER_CHUNKS; i++) {
        assert_int_equal(records(place, i), 0);
    }
    check_bytes(place);
}

static void test_write_when_it_goes_to_the_open_tail_then_that_is_sealed_first(void **state)
{
    struct place *place = *state;
    struct pawl_write_result result;
    cluster_set(&place->cluster, master.seal_busy_left, 2);
    assert_int_equal(write_at(place, 2 * CHUNK - 100, 600, NULL, LONG_MS, &result), 0);
    wants(place, 2 * CHUNK - 100, 600);
    assert_int_equal(result.bytes, 600);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.master.seals_count), 3);
    assert_int_equal(records(place, 1), 1);
    assert_int_equal(records(place, 2), 1);
    assert_int_equal(write_at(place, END - 50, 50, NULL, LONG_MS, &result), 0); // sealed already
    wants(place, END - 50, 50);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.master.seals_count), 3);
    check_bytes(place);
    assert_int_equal(pawl_append(place->file, place->data, 10, NULL, NULL), 0); // behind it
    assert_int_equal(cluster_bytes(&place->cluster), END + 10);
}

static void test_write_when_arguments_are_wrong_then_nothing_is_sent(void **state)
{
    struct place *place = *state;
    struct pawl_write_result result;
    struct pawl_write_options wrong = {.size = 1};
    struct pawl_record_id id = {.producer_lo = 1, .sequence = 1, .epoch = 1};
    unsigned before = cluster_get(&place->cluster, &place->cluster.servers[0].appends_count);
    assert_int_equal(pawl_write(NULL, 0, "x", 1, NULL, &result), PAWL_EINVALID);
    assert_int_equal(result.status, PAWL_EINVALID);
    assert_int_equal(pawl_write(place->file, 0, NULL, 1, NULL, NULL), PAWL_EINVALID);
    assert_int_equal(pawl_write(place->file, 0, "x", 0, NULL, NULL), PAWL_EINVALID);
    assert_int_equal(pawl_write(place->file, INT64_MAX, "x", 1, NULL, NULL), PAWL_EINVALID);
    assert_int_equal(pawl_write(place->file, 0, "x", 1, &wrong, NULL), PAWL_EINVALID);
    assert_int_equal(write_at(place, 0, 1, &id, LONG_MS, &result), PAWL_EINVALID);
    id.epoch = 0;
    assert_int_equal(write_at(place, CHUNK - 1, 2, &id, LONG_MS, &result),
                     PAWL_EINVALID); // two chunks
    id.sequence = 0;
    assert_int_equal(write_at(place, 0, 1, &id, LONG_MS, &result), PAWL_EINVALID);
    assert_int_equal(
        pawl_write(place->file, 0, place->data, CLUSTER_CHUNK_BYTES / 4 + 1, NULL, NULL),
        PAWL_ETOOLARGE);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].appends_count),
                     before);
    check_bytes(place);
}

// ---- what is counted -----------------------------------------------------------------------------

static void test_write_when_counted_then_the_file_tells_of_it_behind_its_streams_end(void **state)
{
    struct place *place = *state;
    struct pawl_counters before;
    struct pawl_counters after;
    struct pawl_write_result result;
    struct pawl_record_id id = {.producer_hi = 3, .producer_lo = 4, .sequence = 1};
    unsigned char *registered = pawl_mem_alloc(place->pawl, 20000);
    memcpy(registered, place->data, 20000);
    pawl_counters(place->file, &before);
    cluster_set(&place->cluster, servers[0].faults.append_status, PAWL_EBUSY);
    cluster_set(&place->cluster, servers[0].faults.append_status_left, 1);
    // Across two chunks: a part of 700 bytes inside of its message, twice, and one of 19,300 bytes.
    assert_int_equal(write_at(place, CHUNK - 700, 20000, NULL, LONG_MS, &result), 0);
    assert_int_equal(pawl_write(place->file, 0, registered, 20000, NULL, &result), 0);
    assert_int_equal(write_at(place, 0, 1000, &id, LONG_MS, &result), 0);
    assert_int_equal(write_at(place, 0, 1001, &id, LONG_MS, &result), PAWL_EIDREUSED);
    assert_int_equal(place->file->streams_count, 2); // the one of that id was closed
    pawl_counters(place->file, &after);
    assert_int_equal(after.appends_count, before.appends_count);
    assert_int_equal(after.retries_count - before.retries_count, 1);
    assert_int_equal(after.payload_bytes - before.payload_bytes, 41000);
    assert_int_equal(after.payload_copied_bytes - before.payload_copied_bytes, 20700 + 1000 + 1001);
    pawl_mem_free(place->pawl, registered);
    wants(place, CHUNK - 700, 20000);
    wants(place, 0, 20000);
    check_bytes(place);
}

// ---- answers that don't come ---------------------------------------------------------------------

static void test_write_when_it_is_refused_in_a_bare_header_then_it_is_tried_again(void **state)
{
    struct place *place = *state;
    static const int codes[] = {PAWL_EBUSY, PAWL_ENOTPRIMARY, PAWL_ESTALE, PAWL_ENOCHUNK};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct pawl_write_result result;
        cluster_set(&place->cluster, servers[0].faults.append_status, codes[i]);
        cluster_set(&place->cluster, servers[0].faults.append_status_left, 1);
        assert_int_equal(write_at(place, 0, 100 + i, NULL, LONG_MS, &result), 0);
        wants(place, 0, 100 + i);
        assert_int_equal(records(place, 0), i + 1);
    }
    check_bytes(place);
}

static void test_write_when_the_answer_is_lost_then_a_repeat_by_its_id_writes_nothing(void **state)
{
    struct place *place = *state;
    struct pawl_write_result lost;
    struct pawl_write_result result;
    cluster_set(&place->cluster, servers[0].faults.forget_left, 1);
    assert_int_equal(write_at(place, 100, 900, NULL, SHORT_MS, &lost), PAWL_EUNKNOWN);
    assert_int_equal(lost.bytes, 0);
    assert_int_equal(lost.part_bytes, 900);
    assert_int_equal(lost.id.sequence, 1);
    // It stands in the way of others to the same chunk, and of no other chunk.
    assert_int_not_equal(write_at(place, 5000, 10, NULL, SHORT_MS, &result), 0);
    assert_int_equal(result.bytes, 0);
    assert_int_equal(records(place, 0), 1);
    assert_int_equal(write_at(place, CHUNK, 10, NULL, LONG_MS, &result), 0);
    wants(place, CHUNK, 10);

    struct pawl_record_id id = lost.id;
    assert_int_equal(write_at(place, 100, 900, &id, LONG_MS, &result), 0);
    assert_true(result.duplicate);
    assert_int_equal(result.bytes, 900);
    wants(place, 100, 900);
    assert_int_equal(write_at(place, 5000, 10, NULL, LONG_MS, &result), 0);
    wants(place, 5000, 10);
    assert_int_equal(result.id.sequence, 2);
    assert_int_equal(records(place, 0), 2);
    check_bytes(place);
}

static void test_write_when_it_never_arrived_then_a_repeat_by_its_id_writes_it_once(void **state)
{
    struct place *place = *state;
    struct pawl_write_result lost;
    struct pawl_write_result result;
    cluster_set(&place->cluster, servers[0].faults.mute, true);
    assert_int_equal(write_at(place, 100, 900, NULL, SHORT_MS, &lost), PAWL_EUNKNOWN);
    cluster_set(&place->cluster, servers[0].faults.mute, false);
    assert_int_equal(records(place, 0), 0);
    struct pawl_record_id id = lost.id;
    assert_int_equal(write_at(place, 100, 900, &id, LONG_MS, &result), 0);
    assert_false(result.duplicate);
    wants(place, 100, 900);
    assert_int_equal(records(place, 0), 1);
    check_bytes(place);
}

static void test_write_when_a_later_part_fails_then_the_parts_before_are_told(void **state)
{
    struct place *place = *state;
    struct pawl_write_result result;
    assert_int_equal(write_at(place, 0, 10, NULL, LONG_MS, &result), 0); // this log is known
    wants(place, 0, 10);
    cluster_set(&place->cluster, master.code, PAWL_EDELETED);
    cluster_set(&place->cluster, master.code_left, 1000); // the other one can't be opened
    assert_int_equal(write_at(place, CHUNK - 7, 10, NULL, LONG_MS, &result), PAWL_EDELETED);
    wants(place, CHUNK - 7, 7);
    assert_int_equal(result.bytes, 7);
    assert_int_equal(records(place, 0), 2);
    assert_int_equal(records(place, 1), 0);
    cluster_set(&place->cluster, master.code_left, 0);
    check_bytes(place);
}

static void
test_write_when_an_old_id_is_repeated_by_another_then_it_is_answered_the_same(void **state)
{
    struct place *place = *state;
    struct pawl_record_id id = {.producer_hi = 3, .producer_lo = 4};
    struct pawl_write_result result;
    for (id.sequence = 1; id.sequence <= 2; id.sequence++) {
        assert_int_equal(write_at(place, 1000 * id.sequence, 1500, &id, LONG_MS, &result), 0);
        wants(place, 1000 * id.sequence, 1500);
        assert_false(result.duplicate);
    }
    pawl_file_close(place->file);
    place->file = cluster_open(place->pawl);
    id.sequence = 1;
    assert_int_equal(write_at(place, 1000, 1500, &id, LONG_MS, &result), 0);
    assert_true(result.duplicate);
    assert_int_equal(records(place, 0), 2);
    assert_int_equal(write_at(place, 1000, 1400, &id, LONG_MS, &result), PAWL_EIDREUSED);
    check_bytes(place);
}

// ---- producers -----------------------------------------------------------------------------------

static void test_write_when_a_producer_was_named_then_its_sequences_are_the_callers(void **state)
{
    struct place *place = *state;
    struct pawl_record_id id = {.producer_hi = 3, .producer_lo = 4, .sequence = 1};
    struct pawl_write_result named;
    struct pawl_write_result own;
    assert_int_equal(write_at(place, 0, 100, &id, LONG_MS, &named), 0);
    assert_int_equal(write_at(place, 500, 200, NULL, LONG_MS, &own), 0);
    assert_true(own.id.producer_hi != 3 && own.id.sequence == 1);
    id.sequence = 2;
    assert_int_equal(write_at(place, 1000, 300, &id, LONG_MS, &named), 0);
    assert_false(named.duplicate);
    struct pawl_record_id told = own.id;
    assert_int_equal(write_at(place, 500, 200, &told, LONG_MS, &own), 0);
    assert_true(own.duplicate);
    assert_int_equal(place->file->streams_count, 2); // by the library's own stream
    assert_int_equal(write_at(place, 2000, 400, NULL, LONG_MS, &own), 0);
    assert_int_equal(own.id.sequence, 2);
    assert_int_equal(records(place, 0), 4);
}

static void refused(struct place *place, uint64_t offset, const struct pawl_record_id *id)
{
    struct pawl_write_result result;
    assert_int_equal(write_at(place, offset, 10, id, LONG_MS, &result), PAWL_EUNKNOWN);
    assert_int_equal(result.bytes, 0);
    assert_int_equal(result.part_bytes, 0);
    assert_int_equal(result.id.sequence, 0);
}

static void test_write_when_another_producers_is_unknown_then_it_waits_for_its_repeat(void **state)
{
    struct place *place = *state;
    struct pawl_record_id id = {.producer_hi = 3, .producer_lo = 4, .sequence = 1};
    struct pawl_record_id other = {.producer_hi = 5, .producer_lo = 6, .sequence = 1};
    struct pawl_write_result result;
    assert_int_equal(write_at(place, 5000, 10, NULL, LONG_MS, &result), 0);
    wants(place, 5000, 10);
    cluster_set(&place->cluster, servers[0].faults.forget_left, 1);
    assert_int_equal(write_at(place, 100, 900, &id, SHORT_MS, &result), PAWL_EUNKNOWN);
    assert_int_equal(result.part_bytes, 900);
    refused(place, 5000, NULL);
    refused(place, 5000, &other);
    id.sequence = 2;
    refused(place, 5000, &id);
    assert_int_equal(write_at(place, CHUNK, 10, NULL, LONG_MS, &result), 0); // another chunk
    wants(place, CHUNK, 10);
    id.sequence = 1;
    assert_int_equal(write_at(place, 100, 800, &id, LONG_MS, &result), PAWL_EINVALID);
    refused(place, 5000, NULL); // that was no repeat
    assert_int_equal(write_at(place, 100, 900, &id, LONG_MS, &result), 0);
    wants(place, 100, 900);
    assert_true(result.duplicate);
    assert_int_equal(write_at(place, 5000, 20, NULL, LONG_MS, &result), 0);
    wants(place, 5000, 20);
    assert_int_equal(write_at(place, 6000, 20, &other, LONG_MS, &result), 0);
    wants(place, 6000, 20);
    check_bytes(place);
}

// It is not in the file, and its caller has nothing to repeat.
static void test_write_when_it_was_refused_then_no_other_waits_for_it(void **state)
{
    struct place *place = *state;
    struct pawl_record_id id = {.producer_hi = 3, .producer_lo = 4, .sequence = 1};
    struct pawl_write_result result;
    assert_int_equal(write_at(place, 5000, 10, NULL, LONG_MS, &result), 0);
    wants(place, 5000, 10);
    cluster_set(&place->cluster, servers[0].faults.append_status, PAWL_EINVALID);
    cluster_set(&place->cluster, servers[0].faults.append_status_left, 1);
    assert_int_equal(write_at(place, 100, 900, NULL, LONG_MS, &result), PAWL_EINVALID);
    assert_int_equal(write_at(place, 6000, 20, &id, LONG_MS, &result), 0);
    wants(place, 6000, 20);
    assert_int_equal(write_at(place, 7000, 30, NULL, LONG_MS, &result), 0);
    wants(place, 7000, 30);
    check_bytes(place);
}

static void test_write_when_there_are_many_producers_then_an_unknown_one_is_kept(void **state)
{
    struct place *place = *state;
    struct pawl_record_id id = {.producer_hi = 3, .sequence = 1};
    struct pawl_write_result lost;
    struct pawl_write_result result;
    cluster_set(&place->cluster, servers[0].faults.forget_left, 1);
    assert_int_equal(write_at(place, 0, 10, NULL, SHORT_MS, &lost), PAWL_EUNKNOWN);
    for (id.producer_lo = 1; id.producer_lo <= 300; id.producer_lo++) {
        uint64_t offset = (id.producer_lo % 2 == 0 ? 1 : 2) * CHUNK;
        assert_int_equal(write_at(place, offset, 10, &id, LONG_MS, &result), 0);
    }
    assert_int_equal(place->file->streams_count, 256);
    refused(place, 0, NULL);
    struct pawl_record_id told = lost.id;
    assert_int_equal(write_at(place, 0, 10, &told, LONG_MS, &result), 0);
    assert_true(result.duplicate);
    assert_int_equal(write_at(place, 0, 10, NULL, LONG_MS, &result), 0);
    assert_int_equal(result.id.sequence, 2);
}

// ---- deadlines -----------------------------------------------------------------------------------

static void
test_write_when_the_master_is_silent_then_it_ends_by_its_deadline_unwritten(void **state)
{
    struct place *place = *state;
    struct pawl_write_result result;
    cluster_set(&place->cluster, master.ignore_left, 1000);
    assert_int_equal(write_at(place, 0, 100, NULL, SHORT_MS, &result), PAWL_EDEADLINE);
    assert_int_equal(result.bytes, 0);
    assert_int_equal(result.id.sequence, 0);
    cluster_set(&place->cluster, master.ignore_left, 0);
    assert_int_equal(write_at(place, 0, 100, NULL, LONG_MS, &result), 0);
    wants(place, 0, 100);
    check_bytes(place);
}

static void test_write_when_the_tail_is_never_sealed_then_it_ends_by_its_deadline(void **state)
{
    struct place *place = *state;
    struct pawl_write_result result;
    cluster_set(&place->cluster, master.seal_busy_left, UINT32_MAX);
    assert_int_equal(write_at(place, 2 * CHUNK, 100, NULL, SHORT_MS, &result), PAWL_EDEADLINE);
    assert_int_equal(result.bytes, 0);
    assert_int_equal(records(place, 2), 0);
    check_bytes(place);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_write_when_it_lies_in_a_chunk_then_it_is_one_record_of_its_log),
        TEST(test_write_when_it_crosses_chunks_then_it_is_split_there),
        TEST(test_write_when_it_was_acknowledged_then_readers_ask_for_no_less),
        TEST(test_write_when_it_goes_beyond_the_end_then_epastend_and_nothing_is_written),
        TEST(test_write_when_it_goes_to_the_open_tail_then_that_is_sealed_first),
        TEST(test_write_when_arguments_are_wrong_then_nothing_is_sent),
        TEST(test_write_when_counted_then_the_file_tells_of_it_behind_its_streams_end),
        TEST(test_write_when_it_is_refused_in_a_bare_header_then_it_is_tried_again),
        TEST(test_write_when_the_answer_is_lost_then_a_repeat_by_its_id_writes_nothing),
        TEST(test_write_when_it_never_arrived_then_a_repeat_by_its_id_writes_it_once),
        TEST(test_write_when_a_later_part_fails_then_the_parts_before_are_told),
        TEST(test_write_when_an_old_id_is_repeated_by_another_then_it_is_answered_the_same),
        TEST(test_write_when_a_producer_was_named_then_its_sequences_are_the_callers),
        TEST(test_write_when_another_producers_is_unknown_then_it_waits_for_its_repeat),
        TEST(test_write_when_it_was_refused_then_no_other_waits_for_it),
        TEST(test_write_when_there_are_many_producers_then_an_unknown_one_is_kept),
        TEST(test_write_when_the_master_is_silent_then_it_ends_by_its_deadline_unwritten),
        TEST(test_write_when_the_tail_is_never_sealed_then_it_ends_by_its_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
