// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/store.c and queue.c: the calls, their order, what survives a restart.
#include "store_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/crc32c.h"
#include "proto/disk.h"

static void test_append_when_small_and_large_then_reads_back(void **state)
{
    struct fixture *f = *state;
    static const uint32_t lengths[] = {1, 1024, 32768, 32769, 100000, 0, 5, 1u << 20, 7};

    fixture_open(f);
    fixture_create(f, 1, 1);
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(lengths); i++) {
        fixture_append(f, 1, lengths[i]);
    }
    assert_int_equal(fixture_check_chunk(f, 1), PAWL_ARRAY_COUNT(lengths));
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 1), PAWL_ARRAY_COUNT(lengths));
    struct fixture_chunk found = fixture_find(f, 1);
    assert_int_equal(found.chunk.version, 1);
    assert_int_equal(found.chunk.file_id, 1001);
    assert_int_equal(found.chunk.base_offset, 10);
    assert_int_equal(found.chunk.chunk_bytes, 64u << 20);
    assert_int_equal(found.chunk.index, 4);
    assert_int_equal(found.chunk.commit_count, PAWL_ARRAY_COUNT(lengths) - 1);
    assert_int_equal(store_chunk_record(&found.chunk, 1).id.epoch, 3);
    assert_false(found.chunk.sealed || found.chunk.damaged);
}

static void test_append_when_many_are_in_flight_then_all_complete_and_survive(void **state)
{
    struct fixture *f = *state;
    enum { CHUNKS = 3, RECORDS = 120 };
    void *payloads[CHUNKS][RECORDS];
    uint64_t offsets[CHUNKS] = {0};
    uint64_t last = 0;

    fixture_open(f);
    for (uint64_t c = 0; c < CHUNKS; c++) {
        struct store_chunk chunk = fixture_new_chunk(c + 1, 1);
        assert_int_equal(store_create(f->store, &chunk, fixture_token(f)), 0);
    }
    for (uint64_t i = 0; i < RECORDS; i++) {
        for (uint64_t c = 0; c < CHUNKS; c++) {
            uint32_t length = (i + c) % 7 == 3 ? 50000 : 1000 + (uint32_t)i;
            last = fixture_append_start(f, c + 1, i, offsets[c], length, &payloads[c][i]);
            offsets[c] += length;
        }
    }
    for (uint64_t token = 1; token <= last; token++) {
        assert_int_equal(fixture_wait(f, token), 0);
    }
    for (int c = 0; c < CHUNKS; c++) {
        for (int i = 0; i < RECORDS; i++) {
            free(payloads[c][i]);
        }
    }
    for (int round = 0; round < 2; round++) {
        for (uint64_t c = 0; c < CHUNKS; c++) {
            assert_int_equal(fixture_check_chunk(f, c + 1), RECORDS);
        }
        fixture_reopen(f);
    }
}

static void test_append_when_payload_is_unaligned_then_reads_back(void **state)
{
    struct fixture *f = *state;
    struct pawl_record record = fixture_record(0, 1, 0, 70001);
    void *payload = fixture_payload(1, 0, 70001);
    uint8_t *shifted = malloc(70001 + 3);

    memcpy(shifted + 3, payload, 70001);
    fixture_open(f);
    fixture_create(f, 1, 1);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_append(f->store, 1, 0, &record, shifted + 3, 0, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    assert_int_equal(fixture_read_record(f, 1, 0), 0);
    free(shifted);
    free(payload);
}

static void test_append_run_then_each_record_is_one_and_survives(void **state)
{
    struct fixture *f = *state;
    static const uint32_t lengths[] = {1, 1000, 7, 2049, 8, 3000};

    f->options.journal_segment_bytes =
        64u << 10; // so that runs meet the ends of segments, and are written back
    f->options.journal_segments_count = 2;
    fixture_open(f);
    fixture_create(f, 1, 1);
    for (int i = 0; i < 40; i++) {
        void *payload;
        fixture_append(f, 1, 100);
        uint64_t token = fixture_run_start(f, 1, lengths, PAWL_ARRAY_COUNT(lengths), &payload);
        assert_int_equal(fixture_wait(f, token), 0);
        free(payload);
    }
    assert_int_equal(fixture_check_chunk(f, 1), 40 * (1 + PAWL_ARRAY_COUNT(lengths)));
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 1), 40 * (1 + PAWL_ARRAY_COUNT(lengths)));
    assert_int_equal(fixture_find(f, 1).chunk.commit_count, 39 * 7 + 1);
}

// The smallest segments take them, one at a time.
static void
test_append_run_when_as_long_as_a_message_then_the_smallest_segments_take_it(void **state)
{
    struct fixture *f = *state;
    static const uint32_t lengths[] = {8192, 8192, 8192, 8192, 8192, 8192, 7624};

    f->options.journal_segment_bytes = 64u << 10;
    f->options.journal_segments_count = 2;
    fixture_open(f);
    fixture_create(f, 1, 1);
    for (int i = 0; i < 12; i++) {
        void *payload;
        uint64_t token = fixture_run_start(f, 1, lengths, PAWL_ARRAY_COUNT(lengths), &payload);
        assert_int_equal(fixture_wait(f, token), 0);
        free(payload);
    }
    assert_int_equal(fixture_check_chunk(f, 1), 12 * PAWL_ARRAY_COUNT(lengths));
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 1), 12 * PAWL_ARRAY_COUNT(lengths));
}
_Static_assert(6 * 8192 + 7624 + 7 * sizeof(struct wire_run_row) == WIRE_RUN_BYTES_MAX,
               "the longest run");

static void test_append_run_when_it_is_too_long_then_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct store_chunk chunk = fixture_new_chunk(1, 1);
    struct pawl_record first = fixture_record(0, 1, 0, 100);
    struct wire_run_row rows[2] = {{.length = 100}, {.length = 101}};
    uint8_t bytes[201] = {0};

    chunk.chunk_bytes = 200;
    fixture_open(f);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_create(f->store, &chunk, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    assert_int_equal(store_append_run(f->store, 1, 0, &first, rows, 2, bytes, 0, 1), -EINVAL);
    assert_int_equal(store_append_run(f->store, 1, 0, &first, rows, 0, bytes, 0, 1), -EINVAL);
    assert_int_equal(fixture_find(f, 1).chunk.records_count, 0);
    fixture_append(f, 1, 100);
    assert_int_equal(fixture_check_chunk(f, 1), 1);
}

// The bound is for what is made: nothing is left of a try, and a store that is there is opened.
static void test_open_when_the_journal_would_be_too_large_then_makes_none(void **state)
{
    struct fixture *f = *state;
    f->options.journal_segment_bytes = 64u << 10;
    f->options.journal_segments_count = 2;
    fixture_open(f);
    fixture_close(f);
    f->options.journal_segment_bytes = 1u << 30;
    f->options.journal_segments_count = 4;
    assert_int_equal(store_open(&f->options, &f->store), PAWL_ELIMIT);
    f->store = NULL;
    f->options.journal_segments_count = 2;
    fixture_open(f);
    fixture_create(f, 1, 1);
}

static void test_append_when_it_is_not_the_next_record_then_is_refused(void **state)
{
    struct fixture *f = *state;
    struct pawl_record record = fixture_record(0, 1, 0, 100);
    void *payload = fixture_payload(1, 0, 100);

    fixture_open(f);
    assert_int_equal(store_append(f->store, 1, 0, &record, payload, 0, 1), PAWL_ENOCHUNK);
    fixture_create(f, 1, 1);
    assert_int_equal(store_append(f->store, 1, 1, &record, payload, 0, 1), -EINVAL);
    record.offset = 1;
    assert_int_equal(store_append(f->store, 1, 0, &record, payload, 0, 1), -EINVAL);
    record.offset = 0;
    record.length = (64u << 20) + 1;
    assert_int_equal(store_append(f->store, 1, 0, &record, payload, 0, 1), -EINVAL);
    fixture_append(f, 1, 100);
    assert_int_equal(fixture_check_chunk(f, 1), 1);
    free(payload);
}

static void test_create_when_chunk_exists_then_only_an_empty_older_one_is_replaced(void **state)
{
    struct fixture *f = *state;
    struct store_chunk chunk = fixture_new_chunk(1, 2);

    fixture_open(f);
    fixture_create(f, 1, 2);
    assert_int_equal(store_create(f->store, &chunk, 1), -EEXIST);
    chunk.version = 3;
    chunk.base_offset = 555;
    uint64_t token = fixture_token(f);
    assert_int_equal(store_create(f->store, &chunk, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    assert_int_equal(fixture_find(f, 1).chunk.base_offset, 555);
    fixture_append(f, 1, 10);
    chunk.version = 4;
    assert_int_equal(store_create(f->store, &chunk, 1), -EEXIST);
    fixture_reopen(f);
    assert_int_equal(fixture_find(f, 1).chunk.version, 3);
    assert_int_equal(fixture_find(f, 1).chunk.base_offset, 555);
    assert_int_equal(fixture_check_chunk(f, 1), 1);
}

// A copy says from its creation on how many records it lacks, in the journal as in the footer.
static void test_create_when_it_is_a_copy_then_its_count_survives(void **state)
{
    struct fixture *f = *state;
    struct store_chunk chunk = fixture_new_chunk(1, 7);
    chunk.commit_count = 5;

    f->options.journal_segment_bytes = 64u << 10;
    f->options.journal_segments_count = 2;
    fixture_open(f);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_create(f->store, &chunk, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    assert_int_equal(fixture_find(f, 1).chunk.commit_count, 5);
    fixture_reopen(f);
    assert_int_equal(fixture_find(f, 1).chunk.commit_count, 5);
    fixture_append(f, 1, 100);
    fixture_create(f, 2, 1);
    for (int i = 0; i < 200; i++) { // more than the journal holds: its segments are used again
        fixture_append(f, 2, 2000);
    }
    fixture_reopen(f);
    assert_int_equal(fixture_find(f, 1).chunk.commit_count, 5);
    assert_int_equal(fixture_find(f, 1).chunk.records_count, 1);
}

static void test_create_when_it_has_producers_then_they_survive(void **state)
{
    struct fixture *f = *state;
    struct wire_producer producers[3] = {
        {.producer_hi = 1, .last_sequence = 9, .epoch = 2},
        {.producer_lo = 5, .last_chunk = 77},
        {.first_sequence = 3, .previous_chunk = 8},
    };
    struct store_chunk chunk = fixture_new_chunk(1, 1);

    fixture_open(f);
    chunk.producers = producers;
    chunk.producers_count = 3;
    uint64_t token = fixture_token(f);
    assert_int_equal(store_create(f->store, &chunk, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    fixture_reopen(f);
    struct fixture_chunk found = fixture_find(f, 1);
    assert_int_equal(found.chunk.producers_count, 3);
    assert_memory_equal(found.chunk.producers, producers, sizeof(producers));
    // A table that no segment can hold is refused, and nothing is left of the try.
    chunk.handle = 2;
    chunk.producers_count = WIRE_TABLE_ROWS_MAX;
    assert_int_equal(store_create(f->store, &chunk, 1), PAWL_ELIMIT);
    assert_false(fixture_find(f, 2).found);
    assert_false(store_busy(f->store));
}

static void test_create_when_producers_exceed_a_batch_then_they_survive(void **state)
{
    struct fixture *f = *state;
    enum { PRODUCERS = 40000 }; // 2.4 MiB, more than a batch buffer
    struct wire_producer *producers = calloc(PRODUCERS, sizeof(*producers));
    struct store_chunk chunk = fixture_new_chunk(1, 1);

    for (uint64_t i = 0; i < PRODUCERS; i++) {
        producers[i].producer_lo = i;
    }
    f->options.journal_segment_bytes = 4u << 20;
    fixture_open(f);
    chunk.producers = producers;
    chunk.producers_count = PRODUCERS;
    uint64_t token = fixture_token(f);
    assert_int_equal(store_create(f->store, &chunk, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    fixture_append(f, 1, 100);
    fixture_reopen(f);
    struct fixture_chunk found = fixture_find(f, 1);
    assert_int_equal(found.chunk.producers_count, PRODUCERS);
    assert_memory_equal(found.chunk.producers, producers, PRODUCERS * sizeof(*producers));
    assert_int_equal(fixture_check_chunk(f, 1), 1);
    free(producers);
}

static void test_promise_when_complete_then_survives(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    fixture_create(f, 1, 1);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_promise(f->store, 1, 9, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    token = fixture_token(f);
    assert_int_equal(store_promise(f->store, 1, 5, token), 0); // never goes back
    assert_int_equal(fixture_wait(f, token), 0);
    assert_int_equal(fixture_find(f, 1).chunk.version, 9);
    fixture_reopen(f);
    assert_int_equal(fixture_find(f, 1).chunk.version, 9);
    assert_int_equal(store_promise(f->store, 2, 1, 1), PAWL_ENOCHUNK);
}

// The promise is made when all appends before it are durable, also large ones that are on their way.
static void test_promise_when_large_appends_are_under_way_then_completes_after_them(void **state)
{
    struct fixture *f = *state;
    void *payloads[4];
    uint64_t tokens[4];

    fixture_open(f);
    fixture_create(f, 1, 1);
    for (uint64_t i = 0; i < 4; i++) {
        tokens[i] = fixture_append_start(f, 1, i, i * 200000, 200000, &payloads[i]);
    }
    uint64_t promise = fixture_token(f);
    assert_int_equal(store_promise(f->store, 1, 2, promise), 0);
    while (f->status[promise] == FIXTURE_PENDING) {
        fixture_step(f);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(f->status[tokens[i]], 0);
        free(payloads[i]);
    }
    assert_int_equal(fixture_find(f, 1).chunk.records_count, 4);
}

static void test_seal_when_shorter_than_the_chunk_then_drops_the_rest_for_good(void **state)
{
    struct fixture *f = *state;
    struct pawl_record record = fixture_record(400, 1, 4, 100);
    void *payload = fixture_payload(1, 4, 100);

    fixture_open(f);
    fixture_create(f, 1, 1);
    for (int i = 0; i < 6; i++) {
        fixture_append(f, 1, i == 4 ? 60000 : 100);
    }
    assert_int_equal(store_seal(f->store, 1, 2, 7, 1), -EINVAL);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_seal(f->store, 1, 2, 4, token), 0);
    assert_int_equal(store_append(f->store, 1, 4, &record, payload, 0, 1), -EINVAL);
    assert_int_equal(fixture_wait(f, token), 0);
    for (int round = 0; round < 2; round++) {
        struct fixture_chunk found = fixture_find(f, 1);
        assert_true(found.chunk.sealed);
        assert_false(found.chunk.damaged);
        assert_int_equal(found.chunk.version, 2);
        assert_int_equal(fixture_check_chunk(f, 1), 4);
        assert_int_equal(store_append(f->store, 1, 4, &record, payload, 0, 1), -EINVAL);
        fixture_reopen(f);
    }
    free(payload);
}

static void test_drop_when_complete_then_stays_away_and_can_be_made_anew(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    fixture_create(f, 1, 1);
    fixture_append(f, 1, 100);
    fixture_append(f, 1, 100000);
    assert_int_equal(fixture_count_files(f, "chunks"), 1);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_drop(f->store, 1, token), 0);
    assert_int_equal(store_drop(f->store, 1, 1), PAWL_ENOCHUNK);
    assert_int_equal(fixture_wait(f, token), 0);
    assert_int_equal(fixture_count_files(f, "chunks"), 0);
    assert_false(fixture_find(f, 1).found);
    fixture_reopen(f);
    assert_false(fixture_find(f, 1).found);
    fixture_create(f, 1, 1);
    fixture_append(f, 1, 77);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 1), 1);
    struct fixture_chunk found = fixture_find(f, 1);
    assert_int_equal(store_chunk_record(&found.chunk, 0).length, 77);
}

// The drop waits for a large record that is on its way; the new chunk doesn't.
static void test_drop_when_chunk_is_made_anew_at_once_then_all_complete(void **state)
{
    struct fixture *f = *state;
    struct store_chunk chunk = fixture_new_chunk(1, 1);
    void *payload;

    fixture_open(f);
    fixture_create(f, 1, 1);
    uint64_t large = fixture_append_start(f, 1, 0, 0, 300000, &payload);
    uint64_t drop = fixture_token(f);
    assert_int_equal(store_drop(f->store, 1, drop), 0);
    chunk.base_offset = 777;
    uint64_t create = fixture_token(f);
    assert_int_equal(store_create(f->store, &chunk, create), 0);
    assert_int_equal(fixture_wait(f, create), 0);
    assert_int_equal(fixture_wait(f, large), 0);
    assert_int_equal(fixture_wait(f, drop), 0);
    free(payload);
    fixture_append(f, 1, 55);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(fixture_check_chunk(f, 1), 1);
        assert_int_equal(fixture_find(f, 1).chunk.base_offset, 777);
        fixture_reopen(f);
    }
}

// The file of a deleted chunk may outlive a crash: here it is put back by hand.
static void test_drop_when_file_comes_back_then_is_deleted_again(void **state)
{
    struct fixture *f = *state;
    char path[192], copy[192];

    fixture_open(f);
    fixture_create(f, 1, 1);
    fixture_append(f, 1, 100000);
    fixture_find_file(f, "chunks", "", path, sizeof(path));
    fixture_path(f, "copy", copy, sizeof(copy));
    assert_int_equal(link(path, copy), 0);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_drop(f->store, 1, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    fixture_close(f);
    assert_int_equal(rename(copy, path), 0);
    fixture_open(f);
    assert_false(fixture_find(f, 1).found);
    assert_int_equal(fixture_count_files(f, "chunks"), 0);
    assert_int_equal(fixture_count_files(f, "damaged"), 0);
}

static void test_space_when_limit_is_reached_then_refuses_until_a_drop(void **state)
{
    struct fixture *f = *state;
    struct store_space space;
    uint64_t offset = 0;
    int code = 0;

    f->options.space_limit_bytes = 6u << 20;
    fixture_open(f);
    fixture_create(f, 1, 1);
    store_space(f->store, &space);
    assert_int_equal(space.total_bytes, 6u << 20);
    assert_true(space.used_bytes >= 2u << 20);
    for (uint64_t i = 0; code == 0 && i < 100; i++) {
        struct pawl_record record = fixture_record(offset, 1, i, 100000);
        void *payload = fixture_payload(1, i, 100000);
        uint64_t token = fixture_token(f);
        code = store_append(f->store, 1, i, &record, payload, 0, token);
        if (code == 0) {
            assert_int_equal(fixture_wait(f, token), 0);
            offset += 100000;
        }
        free(payload);
    }
    assert_int_equal(code, PAWL_ENOSPACE);
    assert_in_range(offset, 3000000, 4200000);
    store_space(f->store, &space);
    assert_in_range(space.used_bytes, 5u << 20, 6u << 20);
    uint64_t used = space.used_bytes;
    fixture_reopen(f);
    store_space(f->store, &space);
    assert_in_range(space.used_bytes, used - (used >> 4), used + (used >> 4));
    uint64_t token = fixture_token(f);
    assert_int_equal(store_drop(f->store, 1, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    fixture_create(f, 2, 1);
    fixture_append(f, 2, 100000);
    store_space(f->store, &space);
    assert_in_range(space.free_bytes, 3u << 20, 4u << 20);
}

static void test_identity_when_set_then_survives(void **state)
{
    struct fixture *f = *state;
    uint64_t server = 0, cluster = 0;

    fixture_open(f);
    assert_int_equal(store_identity_get(f->store, &server, &cluster), -ENOENT);
    assert_int_equal(store_identity_set(f->store, 12, 34), 0);
    fixture_reopen(f);
    assert_int_equal(store_identity_get(f->store, &server, &cluster), 0);
    assert_int_equal(server, 12);
    assert_int_equal(cluster, 34);
}

static void test_open_when_identity_is_bad_then_refuses(void **state)
{
    struct fixture *f = *state;
    char path[128];
    uint16_t format = DISK_FORMAT + 1;

    fixture_open(f);
    fixture_close(f);
    fixture_path(f, "identity", path, sizeof(path));
    fixture_flip(path, offsetof(struct disk_identity, store_id));
    assert_int_equal(store_open(&f->options, &f->store), PAWL_EFORMAT);
    fixture_flip(path, offsetof(struct disk_identity, store_id));
    fixture_open(f);
    fixture_close(f);
    fixture_write(path, offsetof(struct disk_identity, format), &format, sizeof(format));
    assert_int_equal(store_open(&f->options, &f->store), PAWL_EFORMAT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(store_open(&f->options, &f->store), PAWL_EFORMAT);
    f->store = NULL;
}

static void test_open_when_another_has_it_then_busy(void **state)
{
    struct fixture *f = *state;
    struct store *second;

    fixture_open(f);
    assert_int_equal(store_open(&f->options, &second), -EBUSY);
}

// Who has the directory, and lets go of it while another waits: as a process that was killed and is not quite gone.
static struct fixture *holder;

int __real_nanosleep(const struct timespec *wanted, struct timespec *left);
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left);

int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left)
{
    struct fixture *f = holder;

    holder = NULL;
    if (f != NULL) {
        fixture_close(f);
    }
    return __real_nanosleep(wanted, left);
}

static void test_open_when_another_lets_go_then_opens(void **state)
{
    struct fixture *f = *state;
    struct store_options options = f->options;
    struct store *second;

    fixture_open(f);
    options.lock_ms = 60000;
    holder = f;
    assert_int_equal(store_open(&options, &second), 0);
    assert_null(holder); // it waited
    store_close(second);
}

static void test_open_when_options_are_wrong_then_refuses(void **state)
{
    struct fixture *f = *state;

    f->options.journal_segments_count = 1;
    assert_int_equal(store_open(&f->options, &f->store), -EINVAL);
    f->options.journal_segments_count = 2;
    f->options.journal_segment_bytes = 4096;
    assert_int_equal(store_open(&f->options, &f->store), -EINVAL);
    f->store = NULL;
}

static void test_open_when_more_segments_are_asked_for_then_they_are_added(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    fixture_create(f, 1, 1);
    fixture_append(f, 1, 1000);
    fixture_close(f);
    f->options.journal_segments_count = 3;
    f->options.journal_segment_bytes = 2u << 20;
    fixture_open(f);
    assert_int_equal(fixture_count_files(f, "journal"), 3);
    assert_int_equal(fixture_check_chunk(f, 1), 1);
    assert_non_null(strstr(store_describe(f->store), "journal 3 x"));
}

static void append_some(struct fixture *f)
{
    for (uint64_t handle = 1; handle <= 2; handle++) {
        fixture_create(f, handle, 1);
        for (int i = 0; i < 20; i++) {
            fixture_append(f, handle, i % 4 == 1 ? 100001 : 777);
        }
        assert_int_equal(fixture_check_chunk(f, handle), 20);
    }
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 1), 20);
    assert_int_equal(fixture_check_chunk(f, 2), 20);
}

static void test_store_when_without_io_uring_then_works_the_same(void **state)
{
    struct fixture *f = *state;

    f->options.no_uring = true;
    fixture_open(f);
    assert_non_null(strstr(store_describe(f->store), "no io_uring"));
    append_some(f);
}

static void test_store_when_without_direct_io_then_works_the_same(void **state)
{
    struct fixture *f = *state;

    f->options.no_direct = true;
    fixture_open(f);
    assert_non_null(strstr(store_describe(f->store), "page cache"));
    append_some(f);
    // And what was written that way is read the other way.
    fixture_close(f);
    f->options.no_direct = false;
    fixture_open(f);
    assert_int_equal(fixture_check_chunk(f, 1), 20);
}

static void test_store_when_on_tmpfs_then_works_the_same(void **state)
{
    struct fixture *f = *state;
    char dir[] = "/dev/shm/store.XXXXXX";

    if (mkdtemp(dir) == NULL) {
        skip();
    }
    f->options.dir = dir;
    fixture_open(f);
    append_some(f);
    fixture_close(f);
    fixture_remove_tree(dir);
}

static void test_store_when_memory_is_fixed_then_works_the_same(void **state)
{
    struct fixture *f = *state;
    enum { BYTES = 4 << 20 };
    uint8_t *memory = aligned_alloc(4096, BYTES);

    f->options.fixed_memory = memory;
    f->options.fixed_bytes = BYTES;
    fixture_open(f);
    fixture_create(f, 1, 1);
    struct pawl_record record = fixture_record(0, 1, 0, 100000);
    void *payload = fixture_payload(1, 0, 100000);
    memcpy(memory + 8192, payload, 100000);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_append(f->store, 1, 0, &record, memory + 8192, 0, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    token = fixture_token(f);
    memset(memory, 0, BYTES);
    assert_int_equal(store_read(f->store, 1, 0, 100000, memory + 4096, BYTES - 4096, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    assert_memory_equal(f->last.data, payload, 100000);
    free(payload);
    fixture_close(f);
    free(memory);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_append_when_small_and_large_then_reads_back),
        FIXTURE_TEST(test_append_when_many_are_in_flight_then_all_complete_and_survive),
        FIXTURE_TEST(test_append_when_payload_is_unaligned_then_reads_back),
        FIXTURE_TEST(test_append_run_then_each_record_is_one_and_survives),
        FIXTURE_TEST(test_append_run_when_as_long_as_a_message_then_the_smallest_segments_take_it),
        FIXTURE_TEST(test_append_run_when_it_is_too_long_then_leaves_nothing),
        FIXTURE_TEST(test_open_when_the_journal_would_be_too_large_then_makes_none),
        FIXTURE_TEST(test_append_when_it_is_not_the_next_record_then_is_refused),
        FIXTURE_TEST(test_create_when_chunk_exists_then_only_an_empty_older_one_is_replaced),
        FIXTURE_TEST(test_create_when_it_is_a_copy_then_its_count_survives),
        FIXTURE_TEST(test_create_when_it_has_producers_then_they_survive),
        FIXTURE_TEST(test_create_when_producers_exceed_a_batch_then_they_survive),
        FIXTURE_TEST(test_promise_when_complete_then_survives),
        FIXTURE_TEST(test_promise_when_large_appends_are_under_way_then_completes_after_them),
        FIXTURE_TEST(test_seal_when_shorter_than_the_chunk_then_drops_the_rest_for_good),
        FIXTURE_TEST(test_drop_when_complete_then_stays_away_and_can_be_made_anew),
        FIXTURE_TEST(test_drop_when_chunk_is_made_anew_at_once_then_all_complete),
        FIXTURE_TEST(test_drop_when_file_comes_back_then_is_deleted_again),
        FIXTURE_TEST(test_space_when_limit_is_reached_then_refuses_until_a_drop),
        FIXTURE_TEST(test_identity_when_set_then_survives),
        FIXTURE_TEST(test_open_when_identity_is_bad_then_refuses),
        FIXTURE_TEST(test_open_when_another_has_it_then_busy),
        FIXTURE_TEST(test_open_when_another_lets_go_then_opens),
        FIXTURE_TEST(test_open_when_options_are_wrong_then_refuses),
        FIXTURE_TEST(test_open_when_more_segments_are_asked_for_then_they_are_added),
        FIXTURE_TEST(test_store_when_without_io_uring_then_works_the_same),
        FIXTURE_TEST(test_store_when_without_direct_io_then_works_the_same),
        FIXTURE_TEST(test_store_when_on_tmpfs_then_works_the_same),
        FIXTURE_TEST(test_store_when_memory_is_fixed_then_works_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
