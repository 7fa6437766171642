// SPDX-License-Identifier: Apache-2.0
// Tests of client/read_ahead.c: when it begins, what it saves, and when what was fetched is not used.
//
// The clock is the test's where age matters.
#include "cluster.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "client/client_private.h"

#define CHUNK_BYTES CLUSTER_CHUNK_BYTES
#define SEALED 2u
#define FILE_BYTES (SEALED * CHUNK_BYTES)
#define TAIL_BYTES 100000u
#define STEP 16384u
#define LONG_MS 20000u

static _Atomic uint64_t ahead_ns;

// Names of ld's --wrap. NOLINTBEGIN
uint64_t __real_pawl_clock_ns(void);
uint64_t __wrap_pawl_clock_ns(void);
uint64_t __wrap_pawl_clock_ns(void)
{
    return __real_pawl_clock_ns() + atomic_load(&ahead_ns);
}
// NOLINTEND

struct place {
    struct cluster cluster;
    struct pawl *pawl;
    struct pawl_file *file;
    uint64_t offset; // where the reader is
    bool without;
    unsigned char data[CHUNK_BYTES];
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    cluster_start(&place->cluster, SEALED, CHUNK_BYTES);
    cluster_lock(&place->cluster);
    struct cluster_chunk *tail = &place->cluster.chunks[SEALED];
    for (uint64_t i = 0; i < TAIL_BYTES; i++) {
        tail->data[i] = cluster_byte(FILE_BYTES + i);
    }
    tail->bytes = TAIL_BYTES;
    cluster_unlock(&place->cluster);
    place->pawl = cluster_connect(&place->cluster, LONG_MS);
    place->file = cluster_open(place->pawl);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    pawl_close(place->pawl); // and the file with it; staging_close() finds all blocks given back
    cluster_stop(&place->cluster);
    free(place);
    return 0;
}

// The next `bytes` bytes of the file, or fewer at its end.
static size_t go_on(struct place *place, size_t bytes)
{
    struct pawl_read_options options = {.size = sizeof options, .no_read_ahead = place->without};
    size_t got = 0;
    assert_int_equal(pawl_read(place->file, place->offset, place->data, bytes, &options, &got), 0);
    for (size_t i = 0; i < got; i++) {
        if (place->data[i] != cluster_byte(place->offset + i)) {
            fail_msg("byte %zu is wrong", i);
        }
    }
    place->offset += got;
    return got;
}

static void go_on_times(struct place *place, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        assert_int_equal(go_on(place, STEP), STEP);
    }
}

static unsigned reads_count(struct place *place)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        count += cluster_get(&place->cluster, &place->cluster.servers[i].reads_count);
    }
    return count;
}

static uint64_t read_bytes(struct place *place)
{
    uint64_t bytes = 0;
    cluster_lock(&place->cluster);
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        bytes += place->cluster.servers[i].read_bytes;
    }
    cluster_unlock(&place->cluster);
    return bytes;
}

// What was asked for ahead has arrived.
static void settle(struct place *place)
{
    while (!pawl_list_is_empty(&place->file->reads)) {
        assert_true(pawl_poll(place->pawl, 1) >= 0);
    }
}

static uint64_t held_bytes(const struct place *place)
{
    return place->pawl->ahead_bytes;
}

// ---- sequential readers -------------------------------------------------------------------------

static void test_ahead_when_a_file_is_read_in_order_then_fewer_requests_go_out(void **state)
{
    struct place *place = *state;
    size_t got;
    while ((got = go_on(place, STEP)) == STEP) {
    }
    assert_int_equal(place->offset, FILE_BYTES + TAIL_BYTES);
    unsigned sealed_reads = FILE_BYTES / STEP;
    assert_true(reads_count(place) < sealed_reads / 10);
    assert_int_equal(held_bytes(place), 0);
    struct pawl_counters counters;
    pawl_counters(place->file, &counters);
    assert_int_equal(counters.read_failovers_count, 0);
}

static void test_ahead_when_it_is_turned_off_then_each_read_is_asked_for(void **state)
{
    struct place *place = *state;
    place->without = true;
    go_on_times(place, 20);
    assert_int_equal(reads_count(place), 20);
    assert_int_equal(held_bytes(place), 0);
}

static void test_ahead_when_two_reads_came_in_order_then_nothing_is_fetched_yet(void **state)
{
    struct place *place = *state;
    place->offset = 50000;
    go_on_times(place, 2);
    assert_int_equal(pawl_poll(place->pawl, 5), 0);
    assert_int_equal(reads_count(place), 2);
    assert_true(read_bytes(place) == 2 * STEP);
    go_on_times(place, 1);
    settle(place);
    assert_true(reads_count(place) > 3);
    assert_true(held_bytes(place) > 0);
}

static void test_ahead_when_reads_are_random_then_no_byte_too_many_is_asked_for(void **state)
{
    struct place *place = *state;
    uint64_t at = 7;
    for (unsigned i = 0; i < 200; i++) {
        at = at * 6364136223846793005u + 1442695040888963407u;
        place->offset = (at >> 33) % (FILE_BYTES - STEP);
        go_on_times(place, 1);
    }
    assert_int_equal(pawl_poll(place->pawl, 5), 0);
    assert_int_equal(held_bytes(place), 0);
    assert_true(read_bytes(place) == 200 * STEP);
}

static void test_ahead_when_reads_are_large_then_nothing_is_fetched_ahead(void **state)
{
    struct place *place = *state;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(go_on(place, 2u << 20), 2u << 20);
    }
    assert_int_equal(pawl_poll(place->pawl, 5), 0);
    assert_int_equal(held_bytes(place), 0);
    assert_true(read_bytes(place) == FILE_BYTES);
}

static void test_ahead_when_the_reader_goes_on_then_the_window_grows_to_its_bound(void **state)
{
    struct place *place = *state;
    uint64_t most = 0;
    while (go_on(place, STEP) == STEP) {
        most = PAWL_MAX(most, held_bytes(place));
    }
    assert_true(most > (1u << 20));
    assert_true(most <= (8u << 20) + (1u << 20));
    assert_true(most <= place->pawl->staging.bytes / 4);
}

// ---- what is not used ---------------------------------------------------------------------------

static void test_ahead_when_the_reader_seeks_then_it_is_dropped(void **state)
{
    struct place *place = *state;
    go_on_times(place, 5);
    settle(place);
    assert_true(held_bytes(place) > 0);
    place->offset = 3000000;
    go_on_times(place, 1);
    settle(place);
    assert_int_equal(held_bytes(place), 0);
    // It was fetched for nothing: two reads in a row are not enough now.
    unsigned before = reads_count(place);
    go_on_times(place, 3);
    settle(place);
    assert_int_equal(reads_count(place), before + 3);
    go_on_times(place, 20);
    settle(place);
    assert_true(held_bytes(place) > 0);
}

static void test_ahead_when_the_reader_seeks_while_it_is_fetched_then_it_is_given_back(void **state)
{
    struct place *place = *state;
    go_on_times(place, 2);
    cluster_set_all(&place->cluster, faults.read_hold, true);
    struct pawl_read_options options = {
        .size = sizeof options, .deadline_ms = 1, .no_read_ahead = false};
    size_t got;
    // The third one fails, and so what is fetched for it is under way still.
    assert_int_not_equal(pawl_read(place->file, place->offset, place->data, STEP, &options, &got),
                         0);
    cluster_set_all(&place->cluster, faults.read_hold, false);
    place->offset = 3000000;
    go_on_times(place, 1);
    settle(place);
    assert_int_equal(held_bytes(place), 0);
}

static void test_ahead_when_this_file_writes_then_the_new_bytes_are_read(void **state)
{
    struct place *place = *state;
    static const unsigned char fresh[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct pawl_write_result result;
    size_t got;
    go_on_times(place, 5);
    settle(place);
    assert_true(held_bytes(place) > 0);
    assert_int_equal(pawl_write(place->file, place->offset, fresh, sizeof fresh, NULL, &result), 0);
    assert_int_equal(pawl_read(place->file, place->offset, place->data, STEP, NULL, &got), 0);
    assert_int_equal(got, STEP);
    assert_memory_equal(place->data, fresh, sizeof fresh);
    place->offset += STEP;
    go_on_times(place, 10); // the rest of that chunk is not fetched ahead any more
    settle(place);
    assert_int_equal(held_bytes(place), 0);
}

static void test_ahead_when_somebody_writes_then_old_bytes_are_not_used_for_long(void **state)
{
    struct place *place = *state;
    static const unsigned char fresh[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct pawl_write_result result;
    size_t got;
    go_on_times(place, 5);
    settle(place);
    uint64_t at = place->offset;
    struct pawl *other = cluster_connect(&place->cluster, LONG_MS);
    struct pawl_file *file = cluster_open(other);
    assert_int_equal(pawl_write(file, at, fresh, sizeof fresh, NULL, &result), 0);
    assert_int_equal(pawl_read(file, at, place->data, STEP, NULL, &got), 0);
    assert_memory_equal(place->data, fresh, sizeof fresh);
    pawl_close(other);
    assert_true(held_bytes(place) > 0); // it would be a hit
    atomic_fetch_add(&ahead_ns, 1000 * PAWL_NS_PER_MS);
    assert_int_equal(pawl_read(place->file, at, place->data, STEP, NULL, &got), 0);
    assert_memory_equal(place->data, fresh, sizeof fresh);
}

static void test_ahead_when_a_fetched_range_was_written_then_it_is_not_kept(void **state)
{
    struct place *place = *state;
    go_on_times(place, 2);
    cluster_set_all(&place->cluster, faults.log_bytes, 100); // all say: there is a write log
    go_on_times(place, 3);
    settle(place);
    assert_int_equal(held_bytes(place), 0);
}

static void test_ahead_when_it_fails_then_the_reader_asks_for_himself(void **state)
{
    struct place *place = *state;
    struct pawl_read_options options = {.size = sizeof options, .deadline_ms = 200};
    size_t got;
    go_on_times(place, 5);
    settle(place);
    read_bytes(place);
    cluster_set_all(&place->cluster, faults.read_status, PAWL_EBUSY);
    while (pawl_read(place->file, place->offset, place->data, STEP, &options, &got) == 0) {
        place->offset += got; // hits
    }
    cluster_set_all(&place->cluster, faults.read_status, 0);
    go_on_times(place, 40);
}

// ---- closing ------------------------------------------------------------------------------------

static void test_ahead_when_the_file_is_closed_then_its_memory_is_given_back(void **state)
{
    struct place *place = *state;
    go_on_times(place, 5);
    settle(place);
    assert_true(held_bytes(place) > 0);
    go_on_times(place, 1); // and more is under way
    pawl_file_close(place->file);
    while (!pawl_list_is_empty(&place->pawl->files)) {
        assert_true(pawl_poll(place->pawl, 1) >= 0);
    }
    assert_int_equal(held_bytes(place), 0);
    const struct staging *staging = &place->pawl->staging;
    for (uint32_t i = 0; i < staging->blocks_count; i++) {
        assert_int_equal(staging->used[i], 0);
    }
}

struct many {
    unsigned done;
    unsigned submitted;
};

static void on_done(void *user, const struct pawl_read_result *result)
{
    struct many *many = user;
    assert_int_equal(result->status, 0);
    assert_int_equal(result->bytes, STEP);
    many->done++;
}

static void test_ahead_when_submitted_reads_follow_each_other_then_they_are_served(void **state)
{
    struct place *place = *state;
    struct many many = {0};
    unsigned count = CHUNK_BYTES / STEP;
    while (many.done < count) {
        while (many.submitted < count && many.submitted < many.done + 4) {
            uint64_t offset = (uint64_t)many.submitted++ * STEP;
            assert_int_equal(pawl_read_submit(place->file, offset, place->data + offset, STEP, NULL,
                                              on_done, &many),
                             0);
        }
        assert_true(pawl_poll(place->pawl, 1000) >= 0);
    }
    for (size_t i = 0; i < CHUNK_BYTES; i++) {
        assert_int_equal(place->data[i], cluster_byte(i));
    }
    assert_true(reads_count(place) < count / 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ahead_when_a_file_is_read_in_order_then_fewer_requests_go_out),
        TEST(test_ahead_when_it_is_turned_off_then_each_read_is_asked_for),
        TEST(test_ahead_when_two_reads_came_in_order_then_nothing_is_fetched_yet),
        TEST(test_ahead_when_reads_are_random_then_no_byte_too_many_is_asked_for),
        TEST(test_ahead_when_reads_are_large_then_nothing_is_fetched_ahead),
        TEST(test_ahead_when_the_reader_goes_on_then_the_window_grows_to_its_bound),
        TEST(test_ahead_when_submitted_reads_follow_each_other_then_they_are_served),
        TEST(test_ahead_when_the_reader_seeks_then_it_is_dropped),
        TEST(test_ahead_when_the_reader_seeks_while_it_is_fetched_then_it_is_given_back),
        TEST(test_ahead_when_this_file_writes_then_the_new_bytes_are_read),
        TEST(test_ahead_when_somebody_writes_then_old_bytes_are_not_used_for_long),
        TEST(test_ahead_when_a_fetched_range_was_written_then_it_is_not_kept),
        TEST(test_ahead_when_it_fails_then_the_reader_asks_for_himself),
        TEST(test_ahead_when_the_file_is_closed_then_its_memory_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
