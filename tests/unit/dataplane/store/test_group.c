// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/group.c: small records that queue up for a recycled file, and those that don't.
#include <errno.h>

#include "store_fixture.h"

#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "dataplane/store/store_private.h"
#include "fake_cover.h"

#define CHUNK 3u
#define CHUNK_BYTES (4u << 20)
#define LARGE_BYTES (1100u << 10) // a file with so much is kept, and its blocks are there
#define SMALL_BYTES 1000u
#define HEAD 32u // of those go to the journal, then the queue is long
#define MANY 80u // and what is left are a group
#define BATCH_MAX 1200u

// What was asked of the disk.
static struct {
    uint32_t writes; // that are not durable by themselves: groups, as long as no checkpoint runs
    uint32_t durable_writes; // of the journal
    uint32_t flushes;
    bool writes_fail;
    bool durable_writes_fail;
    bool writes_wait;
    struct store_io *io;
    struct store_io_request *write; // that waits
} asked;

void __real_store_io_submit(struct store_io *io, struct store_io_request *request);
void __wrap_store_io_submit(struct store_io *io, struct store_io_request *request);

void __wrap_store_io_submit(struct store_io *io, struct store_io_request *request)
{
    if (request->type == STORE_IO_FLUSH) {
        asked.flushes++;
    } else if (request->type == STORE_IO_WRITE_DURABLE) {
        asked.durable_writes++;
        request->fd = asked.durable_writes_fail ? -1 : request->fd;
    } else if (request->type == STORE_IO_WRITE) {
        asked.writes++;
        request->fd = asked.writes_fail ? -1 : request->fd;
        if (asked.writes_wait) {
            asked.io = io;
            asked.write = request;
            return;
        }
    }
    __real_store_io_submit(io, request);
}

static int setup(void **state)
{
    covered.end = UINT64_MAX;
    covered.write_covers = true;
    memset(&asked, 0, sizeof(asked));
    return fixture_setup(state);
}

static int drop(struct fixture *f, uint64_t handle)
{
    uint64_t token = fixture_token(f);

    assert_int_equal(store_drop(f->store, handle, token), 0);
    return fixture_wait(f, token);
}

// Leaves the file of a deleted chunk behind.
static void leave(struct fixture *f)
{
    fixture_create_sized(f, 1, CHUNK_BYTES);
    fixture_append(f, 1, LARGE_BYTES);
    assert_int_equal(drop(f, 1), 0);
    fixture_settle(f);
}

// A store with a chunk in such a file, and one record in it, whose file was taken for that.
static void open_recycled(struct fixture *f)
{
    fixture_open(f);
    leave(f);
    fixture_create_sized(f, CHUNK, CHUNK_BYTES);
    fixture_append(f, CHUNK, LARGE_BYTES);
    assert_int_equal(store_counters(f->store)->recycled_files_count, 1);
    memset(&asked, 0, sizeof(asked));
}

// Appends that wait together.
struct together {
    uint64_t tokens[BATCH_MAX];
    void *payloads[BATCH_MAX];
    uint32_t count;
};

static void start(struct fixture *f, struct together *together, uint32_t count)
{
    struct fixture_chunk found = fixture_find(f, CHUNK);
    uint64_t index = found.chunk.records_count;
    uint64_t offset = fixture_chunk_end(&found.chunk);

    together->count = count;
    for (uint32_t i = 0; i < count; i++) {
        together->tokens[i] =
            fixture_append_start(f, CHUNK, index + i, offset + (uint64_t)i * SMALL_BYTES,
                                 SMALL_BYTES, &together->payloads[i]);
    }
}

static void end(struct fixture *f, struct together *together, int status)
{
    for (uint32_t i = 0; i < together->count; i++) {
        assert_int_equal(fixture_wait(f, together->tokens[i]), status);
        free(together->payloads[i]);
    }
}

static void append_many(struct fixture *f, uint32_t count)
{
    static struct together together;

    start(f, &together, count);
    end(f, &together, 0);
}

static uint64_t grouped_bytes(const struct fixture *f)
{
    return store_counters(f->store)->grouped_bytes;
}

static void test_records_when_many_queue_up_then_one_write_takes_them_to_their_place(void **state)
{
    struct fixture *f = *state;

    open_recycled(f);
    uint64_t copied_bytes = store_counters(f->store)->copied_bytes;
    append_many(f, MANY);
    assert_int_equal(asked.writes, 1);
    assert_int_equal(asked.flushes, 0);
    assert_int_equal(grouped_bytes(f), (MANY - HEAD) * SMALL_BYTES);
    assert_int_equal(store_counters(f->store)->copied_bytes - copied_bytes, MANY * SMALL_BYTES);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 1 + MANY);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 1 + MANY);
}

static void test_records_when_the_device_has_durable_writes_then_the_batch_is_flushed(void **state)
{
    struct fixture *f = *state;

    covered.write_covers = false;
    open_recycled(f);
    append_many(f, MANY);
    assert_int_equal(asked.writes, 2); // the group, the batch
    assert_int_equal(asked.flushes, 1);
}

static void test_records_when_few_then_they_go_to_the_journal(void **state)
{
    struct fixture *f = *state;

    open_recycled(f);
    append_many(f, HEAD + 3); // a queue, and no group's worth behind it
    append_many(f, 1);
    assert_int_equal(asked.writes, 0);
    assert_int_equal(grouped_bytes(f), 0);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 1 + HEAD + 3 + 1);
}

static void test_records_when_their_place_is_not_covered_then_they_go_to_the_journal(void **state)
{
    struct fixture *f = *state;

    covered.end = DISK_PAGE_BYTES + LARGE_BYTES + STORE_GROUP_BYTES - 1;
    open_recycled(f);
    append_many(f, MANY);
    assert_int_equal(grouped_bytes(f), 0);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 1 + MANY);
}

static void test_records_when_more_than_a_write_takes_then_several_do(void **state)
{
    struct fixture *f = *state;
    uint32_t count = 5 * STORE_GROUP_BYTES / SMALL_BYTES; // more than are on their way at once

    open_recycled(f);
    append_many(f, count);
    assert_true(asked.writes >= 5);
    assert_int_equal(grouped_bytes(f), (count - HEAD) * SMALL_BYTES);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 1 + count);
}

static void test_runs_when_they_queue_up_then_rows_and_payloads_are_apart(void **state)
{
    struct fixture *f = *state;
    uint32_t lengths[WIRE_RUN_MAX];
    void *payload;

    for (uint32_t i = 0; i < WIRE_RUN_MAX; i++) {
        lengths[i] = 300 + 7 * i; // 33,312 bytes in all
    }
    open_recycled(f);
    for (int i = 0; i < 2; i++) {
        uint64_t token = fixture_run_start(f, CHUNK, lengths, WIRE_RUN_MAX, &payload);
        assert_int_equal(fixture_wait(f, token), 0);
        free(payload);
    }
    assert_int_equal(asked.writes, 2);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 1 + 2 * WIRE_RUN_MAX);
    fixture_crash(f);
    fixture_open(f);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 1 + 2 * WIRE_RUN_MAX);
}

// Written once is written once: what frees the journal has no payload to copy.
static void test_records_when_their_segment_is_used_again_then_are_not_written_back(void **state)
{
    struct fixture *f = *state;

    open_recycled(f);
    append_many(f, 500);
    assert_int_equal(grouped_bytes(f), (500 - HEAD) * SMALL_BYTES);
    fixture_create(f, 2, 1);
    for (int i = 0; i < 4; i++) {
        fixture_go_round(f);
    }
    fixture_settle(f);
    assert_true(store_counters(f->store)->written_back_bytes > 0);
    assert_true(store_counters(f->store)->written_back_bytes <=
                4 * 30 * 16000 + HEAD * SMALL_BYTES);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 501);
}

// Nothing may be sealed, promised or dropped before what was appended in front of it.
static void test_seal_when_a_group_is_on_its_way_then_comes_behind_it(void **state)
{
    static struct together together;
    struct fixture *f = *state;

    open_recycled(f);
    start(f, &together, MANY);
    uint64_t promised = fixture_token(f);
    assert_int_equal(store_promise(f->store, CHUNK, 2, promised), 0);
    uint64_t sealed = fixture_token(f);
    assert_int_equal(store_seal(f->store, CHUNK, 2, 1 + MANY, sealed), 0);
    assert_int_equal(fixture_wait(f, promised), 0);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(f->status[together.tokens[i]], 0);
    }
    assert_int_equal(fixture_wait(f, sealed), 0);
    end(f, &together, 0);
    assert_int_equal(grouped_bytes(f), (MANY - HEAD) * SMALL_BYTES);
    fixture_reopen(f);
    assert_true(fixture_find(f, CHUNK).chunk.sealed);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 1 + MANY);
}

static void test_drop_when_a_group_is_on_its_way_then_all_of_it_ends(void **state)
{
    static struct together together;
    struct fixture *f = *state;

    open_recycled(f);
    start(f, &together, MANY);
    assert_int_equal(drop(f, CHUNK), 0);
    end(f, &together, 0);
    fixture_settle(f);
    fixture_reopen(f);
    assert_false(fixture_find(f, CHUNK).found);
}

static void test_records_when_their_write_fails_then_out_of_service(void **state)
{
    static struct together together;
    struct fixture *f = *state;

    open_recycled(f);
    asked.writes_fail = true;
    start(f, &together, 3 * STORE_GROUP_BYTES / SMALL_BYTES + 5); // some are still gathering then
    end(f, &together, -EBADF);
    asked.writes_fail = false;
    assert_int_equal(store_failed(f->store), -EBADF);
    assert_false(store_busy(f->store));
    fixture_reopen(f);
    assert_in_range(fixture_check_chunk(f, CHUNK), 1,
                    1 + HEAD); // those of the journal may be there
}

// Its entries have no place then, and what is to come behind them ends as well.
static void test_records_when_the_journal_fails_behind_them_then_all_ends(void **state)
{
    struct fixture *f = *state;
    uint32_t lengths[] = {11000, 12000, 13000};
    void *payload;

    open_recycled(f);
    asked.durable_writes_fail = true;
    uint64_t token = fixture_run_start(f, CHUNK, lengths, 3, &payload);
    uint64_t promised = fixture_token(f);
    assert_int_equal(store_promise(f->store, CHUNK, 2, promised), 0);
    assert_int_equal(fixture_wait(f, token), -EBADF);
    assert_int_equal(fixture_wait(f, promised), -EBADF);
    free(payload);
    promised = fixture_token(f);
    assert_int_equal(store_promise(f->store, CHUNK, 3, promised), 0);
    assert_int_equal(fixture_wait(f, promised), -EBADF);
    asked.durable_writes_fail = false;
    assert_false(store_busy(f->store));
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 1);
}

// Small records need no descriptor; a large one, or the checkpoint, opens the file.
static void test_records_when_their_file_is_closed_then_they_go_to_the_journal(void **state)
{
    struct fixture *f = *state;

    open_recycled(f);
    f->store->files_max = 0;
    fixture_create_sized(f, 4, CHUNK_BYTES);
    fixture_append(f, 4, LARGE_BYTES); // to open its file closes the other one
    f->store->files_max = 100;
    append_many(f, MANY);
    assert_int_equal(grouped_bytes(f), 0);
    fixture_append(f, CHUNK, LARGE_BYTES);
    append_many(f, MANY);
    assert_int_equal(grouped_bytes(f), (MANY - HEAD) * SMALL_BYTES);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 2 + 2 * MANY);
}

// A chunk that is not created yet has no name for a file.
static void test_chunk_when_it_is_not_created_yet_then_takes_no_file(void **state)
{
    static struct together together;
    struct fixture *f = *state;

    f->options.journal_segment_bytes = 8u << 20;
    fixture_open(f);
    leave(f);
    struct store_chunk chunk = fixture_new_chunk(CHUNK, 1);
    chunk.chunk_bytes = CHUNK_BYTES;
    uint64_t created = fixture_token(f);
    assert_int_equal(store_create(f->store, &chunk, created), 0);
    start(f, &together, BATCH_MAX);
    assert_false(store_replica_find(f->store, CHUNK)->making_file);
    assert_int_equal(fixture_wait(f, created), 0);
    end(f, &together, 0);
    assert_int_equal(fixture_check_chunk(f, CHUNK), BATCH_MAX);
}

// Lets the group's write, that was held up, go.
static void let_go(void)
{
    asked.writes_wait = false;
    assert_non_null(asked.write);
    __real_store_io_submit(asked.io, asked.write);
}

// Polls for a while: whether the operation has ended.
static bool ends(struct fixture *f, uint64_t token)
{
    for (int i = 0; i < 1000 && f->status[token] == FIXTURE_PENDING; i++) {
        struct store_completion completions[16];
        int count = store_poll(f->store, completions, 16);
        for (int k = 0; k < count; k++) {
            f->status[completions[k].token] = completions[k].status;
        }
    }
    return f->status[token] != FIXTURE_PENDING;
}

static void test_journal_when_it_could_go_on_then_waits_for_groups_that_are_written(void **state)
{
    static struct together together;
    struct fixture *f = *state;
    void *payload;

    open_recycled(f);
    fixture_create_sized(f, 4, CHUNK_BYTES);
    asked.writes_wait = true;
    start(f, &together, MANY);
    assert_int_equal(fixture_wait(f, together.tokens[HEAD - 1]), 0);
    asked.durable_writes = 0;
    uint64_t token = fixture_append_start(f, 4, 0, 0, 100, &payload);
    assert_false(ends(f, token));
    assert_int_equal(asked.durable_writes, 0);
    let_go();
    assert_int_equal(fixture_wait(f, token), 0);
    assert_int_equal(asked.durable_writes, 1);
    assert_int_equal(fixture_find(f, CHUNK).chunk.records_count, 1 + MANY); // it was of all
    end(f, &together, 0);
    free(payload);
}

// Else it would wait for ever where they never end.
static void test_journal_when_a_group_begins_while_it_is_idle_then_does_not_wait(void **state)
{
    struct fixture *f = *state;
    uint32_t lengths[] = {11000, 12000, 13000};
    void *payloads[2];

    open_recycled(f);
    fixture_create_sized(f, 4, CHUNK_BYTES);
    asked.writes_wait = true;
    uint64_t group = fixture_run_start(f, CHUNK, lengths, 3, &payloads[0]);
    assert_false(ends(f, group));
    uint64_t token = fixture_append_start(f, 4, 0, 0, 100, &payloads[1]);
    assert_int_equal(fixture_wait(f, token), 0);
    assert_int_equal(f->status[group], FIXTURE_PENDING);
    let_go();
    assert_int_equal(fixture_wait(f, group), 0);
    free(payloads[0]);
    free(payloads[1]);
}

// A byte of the chunk's file.
static void flip(const struct fixture *f, uint64_t place)
{
    char path[256];

    fixture_find_file(f, "chunks", "0000000000000003.", path, sizeof(path));
    fixture_flip(path, place);
}

static uint64_t group_place(void)
{
    return DISK_PAGE_BYTES + pawl_align_up(LARGE_BYTES, DISK_PAGE_BYTES);
}

// The last batch's payloads and entries were in the device's cache together: a power cut may keep any of them.
static void test_recovery_when_a_payload_of_the_last_group_is_torn_then_ends_there(void **state)
{
    struct fixture *f = *state;

    open_recycled(f);
    append_many(f, MANY);
    fixture_crash(f);
    flip(f, group_place() + 7 * SMALL_BYTES + 3);
    fixture_open(f);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 1 + HEAD + 7);
    assert_false(fixture_find(f, CHUNK).chunk.damaged);
    append_many(f, MANY);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 1 + HEAD + 7 + MANY);
}

static void test_recovery_when_a_run_of_the_last_group_is_torn_then_none_of_it_was(void **state)
{
    struct fixture *f = *state;
    uint32_t lengths[] = {11000, 12000, 13000};
    void *payload;

    open_recycled(f);
    uint64_t token = fixture_run_start(f, CHUNK, lengths, 3, &payload);
    assert_int_equal(fixture_wait(f, token), 0);
    free(payload);
    fixture_crash(f);
    flip(f, group_place() + 11000 + 12000 + 5);
    fixture_open(f);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 1);
}

// What stands behind it says that its flush was over.
static void
test_recovery_when_a_payload_of_an_earlier_group_rots_then_its_record_stays(void **state)
{
    struct fixture *f = *state;

    open_recycled(f);
    append_many(f, MANY);
    append_many(f, 1);
    fixture_crash(f);
    flip(f, group_place() + 7 * SMALL_BYTES + 3);
    fixture_open(f);
    assert_int_equal(fixture_find(f, CHUNK).chunk.records_count, 1 + MANY + 1);
    assert_int_equal(fixture_read_record(f, CHUNK, 1 + HEAD + 7), PAWL_ECORRUPT);
    assert_int_equal(fixture_read_record(f, CHUNK, 1 + HEAD + 8), 0);
}

// Nobody takes a file for a few records; who gets many together gets one before the journal has to be freed.
static void test_chunk_when_many_records_queue_up_then_takes_a_file_for_them(void **state)
{
    struct fixture *f = *state;

    f->options.journal_segment_bytes = 8u << 20; // is not full when the test ends
    fixture_open(f);
    leave(f);
    fixture_create_sized(f, CHUNK, CHUNK_BYTES);
    for (int i = 0; i < 20; i++) {
        append_many(f, 10);
    }
    assert_int_equal(store_counters(f->store)->recycled_files_count, 0);
    append_many(f, BATCH_MAX);
    fixture_settle(f);
    append_many(f, MANY);
    assert_int_equal(store_counters(f->store)->recycled_files_count, 1);
    assert_int_equal(grouped_bytes(f), (MANY - HEAD) * SMALL_BYTES);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 200 + BATCH_MAX + MANY);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 200 + BATCH_MAX + MANY);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_records_when_many_queue_up_then_one_write_takes_them_to_their_place),
        FIXTURE_TEST(test_records_when_the_device_has_durable_writes_then_the_batch_is_flushed),
        FIXTURE_TEST(test_records_when_few_then_they_go_to_the_journal),
        FIXTURE_TEST(test_records_when_their_place_is_not_covered_then_they_go_to_the_journal),
        FIXTURE_TEST(test_records_when_more_than_a_write_takes_then_several_do),
        FIXTURE_TEST(test_runs_when_they_queue_up_then_rows_and_payloads_are_apart),
        FIXTURE_TEST(test_records_when_their_segment_is_used_again_then_are_not_written_back),
        FIXTURE_TEST(test_seal_when_a_group_is_on_its_way_then_comes_behind_it),
        FIXTURE_TEST(test_drop_when_a_group_is_on_its_way_then_all_of_it_ends),
        FIXTURE_TEST(test_records_when_their_write_fails_then_out_of_service),
        FIXTURE_TEST(test_records_when_the_journal_fails_behind_them_then_all_ends),
        FIXTURE_TEST(test_records_when_their_file_is_closed_then_they_go_to_the_journal),
        FIXTURE_TEST(test_chunk_when_it_is_not_created_yet_then_takes_no_file),
        FIXTURE_TEST(test_journal_when_it_could_go_on_then_waits_for_groups_that_are_written),
        FIXTURE_TEST(test_journal_when_a_group_begins_while_it_is_idle_then_does_not_wait),
        FIXTURE_TEST(test_recovery_when_a_payload_of_the_last_group_is_torn_then_ends_there),
        FIXTURE_TEST(test_recovery_when_a_run_of_the_last_group_is_torn_then_none_of_it_was),
        FIXTURE_TEST(test_recovery_when_a_payload_of_an_earlier_group_rots_then_its_record_stays),
        FIXTURE_TEST(test_chunk_when_many_records_queue_up_then_takes_a_file_for_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
