// SPDX-License-Identifier: Apache-2.0
// Tests of client/read.c and client/chunks.c: fail-over, short and wrong answers, the end of the file.
#include "cluster.h"

#include "client/client_private.h"

#define CHUNK_BYTES 300000u // of the sealed ones
#define SEALED 2u
#define FILE_BYTES (SEALED * CHUNK_BYTES)
#define LONG_MS 10000u // a call that should succeed
#define SHORT_MS 1000u // one that can't

struct place {
    struct cluster cluster;
    struct pawl *pawl;
    struct pawl_file *file;
    unsigned char data[FILE_BYTES + 100000];
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    cluster_start(&place->cluster, SEALED, CHUNK_BYTES);
    place->pawl = cluster_connect(&place->cluster, LONG_MS);
    place->pawl->read_turn = 0; // the first piece goes to the first server
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

static int read_at(struct place *place, uint64_t offset, size_t bytes, uint32_t deadline_ms,
                   size_t *ret_got)
{
    struct pawl_read_options options = {.size = sizeof options, .deadline_ms = deadline_ms};
    memset(place->data, 0xee, sizeof place->data);
    return pawl_read(place->file, offset, place->data, bytes, &options, ret_got);
}

static void expect(struct place *place, uint64_t offset, size_t bytes, size_t wanted)
{
    size_t got = SIZE_MAX;
    assert_int_equal(read_at(place, offset, bytes, LONG_MS, &got), 0);
    assert_int_equal(got, wanted);
    for (size_t i = 0; i < got; i++) {
        if (place->data[i] != cluster_byte(offset + i)) {
            fail_msg("byte %zu is wrong", i);
        }
    }
}

static void test_read_when_no_replica_has_our_fabric_then_it_ends_at_once(void **state)
{
    struct place *place = *state;
    size_t got = 0;
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        cluster_lock(&place->cluster);
        snprintf(place->cluster.servers[i].addresses, sizeof place->cluster.servers[i].addresses,
                 "verbs://10.0.0.1:7500%s%s", i == 2 ? "," : "",
                 i == 2 ? fabric_address(place->cluster.servers[i].fabric) : "");
        cluster_unlock(&place->cluster);
    }
    expect(place, 0, 1000, 1000); // the third has
    cluster_lock(&place->cluster);
    strcpy(place->cluster.servers[2].addresses, "verbs://10.0.0.3:7500");
    cluster_unlock(&place->cluster);
    struct pawl *other = cluster_connect(&place->cluster, LONG_MS);
    struct pawl_file *file = cluster_open(other);
    assert_int_equal(pawl_read(file, 0, place->data, 1000, NULL, &got), PAWL_EPROVIDER);
    assert_int_equal(got, 0);
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) { // configured anew: the next read finds out
        cluster_lock(&place->cluster);
        snprintf(place->cluster.servers[i].addresses, sizeof place->cluster.servers[i].addresses,
                 "%s", fabric_address(place->cluster.servers[i].fabric));
        cluster_unlock(&place->cluster);
    }
    assert_int_equal(pawl_read(file, 0, place->data, 1000, NULL, &got), 0);
    assert_int_equal(got, 1000);
    pawl_file_close(file);
    pawl_close(other);
}

static uint64_t failovers(const struct place *place)
{
    struct pawl_counters counters;
    pawl_counters(place->file, &counters);
    return counters.read_failovers_count;
}

// Bytes of the open tail, as the file should have them.
static void fill_tail(struct cluster *cluster, uint64_t bytes)
{
    cluster_lock(cluster);
    struct cluster_chunk *tail = &cluster->chunks[cluster->chunks_count - 1];
    uint64_t base = 0;
    for (unsigned i = 0; i + 1 < cluster->chunks_count; i++) {
        base += cluster->chunks[i].bytes;
    }
    for (uint64_t i = tail->bytes; i < tail->bytes + bytes; i++) {
        tail->data[i] = cluster_byte(base + i);
    }
    tail->bytes += bytes;
    cluster_unlock(cluster);
}

// ---- where the file is and ends -----------------------------------------------------------------

static void test_read_when_it_spans_chunks_then_all_bytes_come(void **state)
{
    struct place *place = *state;
    fill_tail(&place->cluster, 5000);
    expect(place, 0, sizeof place->data, FILE_BYTES + 5000);
    expect(place, CHUNK_BYTES - 10, 20, 20);
    expect(place, FILE_BYTES - 1, 2, 2);
}

static void test_read_when_it_begins_behind_the_end_then_nothing_comes(void **state)
{
    struct place *place = *state;
    expect(place, FILE_BYTES, 1000, 0);
    expect(place, FILE_BYTES + 12345, 1000, 0);
    expect(place, UINT64_MAX - 10, 1000, 0); // the servers never see it
    expect(place, UINT64_MAX, 1, 0);
    unsigned closed = 0;
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        closed += cluster_get(&place->cluster, &place->cluster.servers[i].closed_count);
    }
    assert_int_equal(closed, 0);
}

static void test_read_when_no_byte_is_wanted_then_nothing_is_asked(void **state)
{
    struct place *place = *state;
    size_t got = 99;
    assert_int_equal(pawl_read(place->file, 0, NULL, 0, NULL, &got), 0);
    assert_int_equal(got, 0);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].hellos_count), 0);
}

static void test_read_when_arguments_are_wrong_then_einvalid(void **state)
{
    struct place *place = *state;
    size_t got;
    struct pawl_read_options wrong = {.size = 1};
    assert_int_equal(pawl_read(NULL, 0, place->data, 1, NULL, &got), PAWL_EINVALID);
    assert_int_equal(pawl_read(place->file, 0, NULL, 1, NULL, &got), PAWL_EINVALID);
    assert_int_equal(pawl_read(place->file, 0, place->data, 1, NULL, NULL), PAWL_EINVALID);
    assert_int_equal(pawl_read(place->file, 0, place->data, 1, &wrong, &got), PAWL_EINVALID);
}

static void test_read_when_the_tail_was_sealed_since_then_it_goes_on_in_the_next_chunk(void **state)
{
    struct place *place = *state;
    fill_tail(&place->cluster, 1000);
    expect(place, FILE_BYTES, 2000, 1000); // the map is known now
    fill_tail(&place->cluster, 500);
    cluster_seal_tail(&place->cluster);
    fill_tail(&place->cluster, 700);
    expect(place, FILE_BYTES, 5000, 2200);
    expect(place, FILE_BYTES + 1500, 5000, 700);
}

static void test_read_when_the_primary_was_replaced_then_its_end_is_not_believed(void **state)
{
    struct place *place = *state;
    fill_tail(&place->cluster, 1000);
    expect(place, FILE_BYTES, 2000, 1000);
    cluster_lock(&place->cluster);
    place->cluster.servers[0].faults.known_bytes = 1000; // cut off, with what it knew
    place->cluster.chunks[SEALED].primary = 2;
    cluster_unlock(&place->cluster);
    fill_tail(&place->cluster, 800);
    expect(place, FILE_BYTES, 5000, 1800);
    expect(place, FILE_BYTES + 1000, 5000, 800);
}

// It holds its lease for a while longer, and knows nothing of what others have acknowledged since.
static void cut_primary_off(struct place *place, uint64_t known_bytes)
{
    cluster_set(&place->cluster, servers[0].faults.known_bytes, known_bytes);
    cluster_set(&place->cluster, servers[0].faults.cut_off, true);
}

static void
test_read_when_a_primary_that_is_cut_off_says_where_it_ends_then_it_goes_on(void **state)
{
    struct place *place = *state;
    fill_tail(&place->cluster, 1000);
    expect(place, FILE_BYTES, 2000, 1000); // the map is known now
    cut_primary_off(place, 1000);
    cluster_seal_tail(&place->cluster);
    cluster_set(&place->cluster, chunks[SEALED + 1].primary, 2);
    fill_tail(&place->cluster, 700);
    expect(place, FILE_BYTES + 1000, 5000, 700);
}

static void
test_read_when_a_primary_that_is_cut_off_was_replaced_then_its_end_is_not_believed(void **state)
{
    struct place *place = *state;
    fill_tail(&place->cluster, 1000);
    expect(place, FILE_BYTES, 2000, 1000);
    cut_primary_off(place, 1000);
    cluster_set(&place->cluster, chunks[SEALED].version, 2);
    cluster_set(&place->cluster, chunks[SEALED].primary, 2);
    fill_tail(&place->cluster, 800);
    expect(place, FILE_BYTES + 1000, 5000, 800);
}

// Another one had the version between: there may be records that it doesn't know of yet.
static void
test_read_when_the_primary_speaks_of_an_older_version_then_it_is_asked_again(void **state)
{
    struct place *place = *state;
    size_t got;
    fill_tail(&place->cluster, 1000);
    expect(place, FILE_BYTES, 2000, 1000);
    cut_primary_off(place, 1000);
    cluster_set(&place->cluster, chunks[SEALED].version, 3);
    fill_tail(&place->cluster, 800);
    assert_int_equal(read_at(place, FILE_BYTES, 5000, SHORT_MS, &got), PAWL_ENOTPRIMARY);
    assert_int_equal(got, 1000);
    cluster_set(&place->cluster, servers[0].faults.known_bytes, CLUSTER_EVERY);
    cluster_set(&place->cluster, servers[0].faults.cut_off, false);
    expect(place, FILE_BYTES, 5000, 1800);
}

static void test_read_when_it_meets_the_end_then_the_master_is_asked_once(void **state)
{
    struct place *place = *state;
    const unsigned *requests_count = &place->cluster.master.requests_count;
    fill_tail(&place->cluster, 1000);
    unsigned before = cluster_get(&place->cluster, requests_count);
    expect(place, FILE_BYTES, 2000, 1000); // the map, of two pages
    assert_int_equal(cluster_get(&place->cluster, requests_count), before + 2);
    for (unsigned i = 0; i < 10; i++) {
        expect(place, FILE_BYTES + i * 100, 100, 100);
    }
    assert_int_equal(cluster_get(&place->cluster, requests_count), before + 2);
    expect(place, FILE_BYTES + 1000, 100, 0);
    expect(place, FILE_BYTES + 900, 200, 100);
    assert_int_equal(cluster_get(&place->cluster, requests_count), before + 4);
}

static void test_read_when_the_master_is_away_then_the_end_is_not_told(void **state)
{
    struct place *place = *state;
    size_t got;
    fill_tail(&place->cluster, 1000);
    expect(place, FILE_BYTES, 2000, 1000);
    cluster_set(&place->cluster, master.ignore_left, 1000);
    assert_int_not_equal(read_at(place, FILE_BYTES, 2000, SHORT_MS, &got), 0);
    assert_int_equal(got, 1000);
    expect(place, FILE_BYTES, 1000, 1000);
    cluster_set(&place->cluster, master.ignore_left, 0);
    expect(place, FILE_BYTES, 2000, 1000);
}

static void test_read_when_the_tail_has_no_primary_then_sealed_bytes_still_come(void **state)
{
    struct place *place = *state;
    size_t got;
    cluster_set(&place->cluster, chunks[SEALED].primary, 0);
    expect(place, 0, FILE_BYTES, FILE_BYTES);
    assert_int_not_equal(read_at(place, FILE_BYTES, 1, SHORT_MS, &got), 0); // nobody can say
}

static void
test_read_when_the_map_cannot_be_had_anew_then_sealed_bytes_come_by_the_old_one(void **state)
{
    struct place *place = *state;
    size_t got;
    cluster_set(&place->cluster, chunks[SEALED].primary, 0);
    expect(place, 0, FILE_BYTES, FILE_BYTES);
    cluster_set(&place->cluster, master.ignore_left, 1000);
    for (int i = 0; i < 2; i++) { // at the second one the first one's question has ended
        assert_int_not_equal(read_at(place, FILE_BYTES, 1, SHORT_MS, &got), 0);
        expect(place, 0, FILE_BYTES, FILE_BYTES);
    }
}

static void test_read_when_an_error_ends_it_then_the_bytes_in_front_are_told(void **state)
{
    struct place *place = *state;
    size_t got = SIZE_MAX;
    cluster_set(&place->cluster, chunks[SEALED].primary, 0);
    assert_int_not_equal(read_at(place, CHUNK_BYTES, CHUNK_BYTES + 1, SHORT_MS, &got), 0);
    assert_int_equal(got, CHUNK_BYTES);
    assert_int_equal(place->data[CHUNK_BYTES - 1], cluster_byte(FILE_BYTES - 1));
}

// ---- answers that are wrong ---------------------------------------------------------------------

static void test_read_when_bytes_changed_on_their_way_then_another_replica_is_read(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, servers[0].faults.read_corrupt, true);
    expect(place, 0, FILE_BYTES, FILE_BYTES);
    assert_true(failovers(place) >= 1);
}

static void test_read_when_every_replica_is_corrupt_then_edamaged(void **state)
{
    struct place *place = *state;
    size_t got;
    cluster_set_all(&place->cluster, faults.read_corrupt, true);
    assert_int_equal(read_at(place, 0, 1000, LONG_MS, &got), PAWL_EDAMAGED);
    assert_int_equal(got, 0);
}

static void test_read_when_some_are_corrupt_and_others_away_then_it_is_no_damage(void **state)
{
    struct place *place = *state;
    size_t got;
    cluster_set(&place->cluster, servers[0].faults.read_corrupt, true);
    cluster_set(&place->cluster, servers[1].faults.read_corrupt, true);
    cluster_set(&place->cluster, servers[2].faults.read_status, PAWL_EBUSY);
    int code = read_at(place, 0, 1000, SHORT_MS, &got);
    assert_true(code != 0 && code != PAWL_EDAMAGED);
}

static void test_read_when_more_comes_than_was_asked_then_another_replica_is_read(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, servers[0].faults.read_too_long, true);
    expect(place, 0, 1000, 1000);
    assert_true(failovers(place) >= 1);
}

static void test_read_when_replies_are_short_then_all_bytes_come(void **state)
{
    struct place *place = *state;
    cluster_set_all(&place->cluster, faults.read_at_most, 7000);
    expect(place, 100, 100000, 100000);
    assert_int_equal(failovers(place), 0);
}

static void test_read_when_a_replica_lacks_sealed_bytes_then_it_is_left_at_once(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, servers[0].faults.known_bytes, 1000);
    expect(place, 0, FILE_BYTES, FILE_BYTES);
    assert_true(cluster_get(&place->cluster, &place->cluster.servers[0].reads_count) <= 6);
}

static void test_read_when_a_server_has_no_such_chunk_then_another_replica_is_read(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, servers[0].faults.read_status, PAWL_ENOCHUNK);
    expect(place, 0, 1000, 1000);
}

static void test_read_when_a_message_is_garbage_then_another_replica_is_read(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, servers[0].faults.garbage, true);
    expect(place, 0, 1000, 1000);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].hellos_count), 1);
}

static void test_read_when_it_is_the_wrong_server_then_another_replica_is_read(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, servers[0].faults.wrong_id, true);
    expect(place, 0, 1000, 1000);
}

static void test_read_when_the_map_has_a_gap_then_eprotocol(void **state)
{
    struct place *place = *state;
    size_t got;
    cluster_set(&place->cluster, master.gap, true);
    assert_int_equal(read_at(place, 0, 1000, LONG_MS, &got), PAWL_EPROTOCOL);
}

// ---- servers that don't answer ------------------------------------------------------------------

static void test_read_when_all_servers_are_mute_then_it_ends_by_its_deadline(void **state)
{
    struct place *place = *state;
    size_t got;
    cluster_set_all(&place->cluster, faults.mute, true);
    assert_int_not_equal(read_at(place, 0, 1000, SHORT_MS, &got), 0);
    assert_int_equal(got, 0);
    cluster_set_all(&place->cluster, faults.mute, false);
    expect(place, 0, 1000, 1000);
}

static void test_read_when_all_servers_are_frozen_then_it_ends_by_its_deadline(void **state)
{
    struct place *place = *state;
    size_t got;
    cluster_set_all(&place->cluster, faults.frozen, true);
    assert_int_not_equal(read_at(place, 0, 1000, SHORT_MS, &got), 0);
    cluster_set_all(&place->cluster, faults.frozen, false);
    expect(place, 0, 1000, 1000);
}

static void test_read_when_nobody_holds_the_chunk_then_it_ends_by_its_deadline(void **state)
{
    struct place *place = *state;
    size_t got;
    cluster_set(&place->cluster, master.no_replicas, true);
    assert_int_equal(read_at(place, 0, 1000, SHORT_MS, &got), PAWL_EDEADLINE);
}

static void test_read_when_a_server_was_out_of_reach_then_others_are_asked_first(void **state)
{
    struct place *place = *state;
    size_t got;
    cluster_set(&place->cluster, servers[0].faults.mute, true);
    assert_int_not_equal(read_at(place, 0, 1000, SHORT_MS, &got), 0); // the first choice
    expect(place, 0, FILE_BYTES, FILE_BYTES);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].hellos_count), 1);
}

// ---- one replica only ---------------------------------------------------------------------------

static void test_read_when_only_that_is_corrupt_then_ecorrupt(void **state)
{
    struct place *place = *state;
    size_t got;
    struct pawl_read_options options = {
        .size = sizeof options, .server_id = 0xa2, .only_that = true};
    assert_int_equal(pawl_read(place->file, 0, place->data, 1000, &options, &got), 0);
    assert_int_equal(got, 1000);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].reads_count), 0);
    cluster_set(&place->cluster, servers[1].faults.read_corrupt, true);
    assert_int_equal(pawl_read(place->file, 0, place->data, 1000, &options, &got), PAWL_ECORRUPT);
}

static void test_read_when_no_memory_is_left_then_it_is_not_the_end_of_the_file(void **state)
{
    struct place *place = *state;
    size_t got;
    expect(place, 0, 10, 10); // opens the data plane
    struct staging *staging = &place->pawl->staging;
    void *all = staging_get(staging, staging->bytes);
    assert_non_null(all);
    struct pawl_read_options options = {
        .size = sizeof options, .server_id = 0xa1, .only_that = true, .deadline_ms = SHORT_MS};
    assert_int_equal(pawl_read(place->file, 0, place->data, 10, &options, &got), PAWL_EDEADLINE);
    staging_put(staging, all, staging->bytes);
    expect(place, 0, 10, 10);
}

// ---- lengths ------------------------------------------------------------------------------------

static void test_bytes_when_the_tail_is_open_then_its_primary_is_asked(void **state)
{
    struct place *place = *state;
    uint64_t bytes = 0;
    fill_tail(&place->cluster, 1234);
    assert_int_equal(pawl_file_bytes(place->file, &bytes), 0);
    assert_int_equal(bytes, FILE_BYTES + 1234);
    struct pawl_stat stat;
    assert_int_equal(pawl_stat(place->pawl, "/f", &stat), 0);
    assert_int_equal(stat.bytes, FILE_BYTES + 1234);
    assert_false(stat.tail_unknown);
}

static void test_bytes_when_the_primary_lies_or_has_no_lease_then_no_length_is_told(void **state)
{
    struct place *place = *state;
    struct pawl *hasty = cluster_connect(&place->cluster, LONG_MS);
    struct pawl_file *file = cluster_open(hasty);
    uint64_t bytes = 42;
    cluster_set(&place->cluster, servers[0].faults.inspect_bytes, UINT64_MAX);
    assert_int_equal(pawl_file_bytes(file, &bytes), PAWL_EPROTOCOL);
    cluster_set(&place->cluster, servers[0].faults.inspect_bytes, 0);
    cluster_set(&place->cluster, servers[0].faults.no_lease, true);
    hasty->deadline_ms = SHORT_MS;
    assert_int_not_equal(pawl_file_bytes(file, &bytes), 0);
    assert_int_equal(bytes, 42);
    struct pawl_stat stat;
    assert_int_equal(pawl_stat(hasty, "/f", &stat), 0);
    assert_true(stat.tail_unknown);
    pawl_close(hasty); // and the file with it
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_read_when_it_spans_chunks_then_all_bytes_come),
        TEST(test_read_when_no_replica_has_our_fabric_then_it_ends_at_once),
        TEST(test_read_when_it_begins_behind_the_end_then_nothing_comes),
        TEST(test_read_when_no_byte_is_wanted_then_nothing_is_asked),
        TEST(test_read_when_arguments_are_wrong_then_einvalid),
        TEST(test_read_when_the_tail_was_sealed_since_then_it_goes_on_in_the_next_chunk),
        TEST(test_read_when_the_primary_was_replaced_then_its_end_is_not_believed),
        TEST(test_read_when_a_primary_that_is_cut_off_says_where_it_ends_then_it_goes_on),
        TEST(test_read_when_a_primary_that_is_cut_off_was_replaced_then_its_end_is_not_believed),
        TEST(test_read_when_the_primary_speaks_of_an_older_version_then_it_is_asked_again),
        TEST(test_read_when_it_meets_the_end_then_the_master_is_asked_once),
        TEST(test_read_when_the_master_is_away_then_the_end_is_not_told),
        TEST(test_read_when_the_tail_has_no_primary_then_sealed_bytes_still_come),
        TEST(test_read_when_the_map_cannot_be_had_anew_then_sealed_bytes_come_by_the_old_one),
        TEST(test_read_when_an_error_ends_it_then_the_bytes_in_front_are_told),
        TEST(test_read_when_bytes_changed_on_their_way_then_another_replica_is_read),
        TEST(test_read_when_every_replica_is_corrupt_then_edamaged),
        TEST(test_read_when_some_are_corrupt_and_others_away_then_it_is_no_damage),
        TEST(test_read_when_more_comes_than_was_asked_then_another_replica_is_read),
        TEST(test_read_when_replies_are_short_then_all_bytes_come),
        TEST(test_read_when_a_replica_lacks_sealed_bytes_then_it_is_left_at_once),
        TEST(test_read_when_a_server_has_no_such_chunk_then_another_replica_is_read),
        TEST(test_read_when_a_message_is_garbage_then_another_replica_is_read),
        TEST(test_read_when_it_is_the_wrong_server_then_another_replica_is_read),
        TEST(test_read_when_the_map_has_a_gap_then_eprotocol),
        TEST(test_read_when_all_servers_are_mute_then_it_ends_by_its_deadline),
        TEST(test_read_when_all_servers_are_frozen_then_it_ends_by_its_deadline),
        TEST(test_read_when_nobody_holds_the_chunk_then_it_ends_by_its_deadline),
        TEST(test_read_when_a_server_was_out_of_reach_then_others_are_asked_first),
        TEST(test_read_when_only_that_is_corrupt_then_ecorrupt),
        TEST(test_read_when_no_memory_is_left_then_it_is_not_the_end_of_the_file),
        TEST(test_bytes_when_the_tail_is_open_then_its_primary_is_asked),
        TEST(test_bytes_when_the_primary_lies_or_has_no_lease_then_no_length_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
