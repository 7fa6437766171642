// SPDX-License-Identifier: Apache-2.0
// Tests of copying: a server that holds nothing of a sealed chunk gets all of it, or nothing.
#include "core_harness.h"

#include <string.h>

#include "dataplane/core/chunk_core_private.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, h_setup, h_teardown)

static const struct wire_producer rows[] = {
    {.producer_lo = 5,
     .last_sequence = 9,
     .last_chunk = 40,
     .first_sequence = 4,
     .previous_chunk = 39},
    {.producer_lo = 6, .epoch = 3},
};

// Servers 0 and 1 hold `count` records and an inherited table, sealed at version 2. Server 2 holds
// nothing.
static void sealed_pair(struct harness *h, uint32_t count)
{
    for (uint32_t s = 0; s < 2; s++) {
        h_expect(h, h_open(h, s, 1, rows, 2), 0);
    }
    h_expect(h, h_grant(h, 0, 1, 0, 2), 0);
    for (uint32_t i = 0; i < count; i++) {
        h_expect(h, h_append(h, 0, 1, i + 1), 0);
    }
    for (uint32_t s = 0; s < 2; s++) {
        h_expect(h, h_fence(h, s, 2), 0);
        h_expect(h, h_seal(h, s, 2, count, 100 * count), 0);
    }
}

static void assert_equal_disks(const struct harness *h, uint32_t a, uint32_t b)
{
    const struct h_disk *x = &h->disk[a];
    const struct h_disk *y = &h->disk[b];
    assert_true(x->exists && y->exists && x->sealed && y->sealed);
    assert_int_equal(x->version, y->version);
    assert_int_equal(x->create.file_id, y->create.file_id);
    assert_int_equal(x->create.base_offset, y->create.base_offset);
    assert_int_equal(x->create.chunk_bytes, y->create.chunk_bytes);
    assert_int_equal(x->create.index, y->create.index);
    assert_int_equal(x->create.written_handle, y->create.written_handle);
    assert_int_equal(x->create.zero_bytes, y->create.zero_bytes);
    assert_int_equal(x->create.producers_count, y->create.producers_count);
    assert_memory_equal(x->producers, y->producers, sizeof(rows[0]) * x->create.producers_count);
    assert_int_equal(x->records_count, y->records_count);
    for (uint64_t i = 0; i < x->records_count; i++) {
        assert_memory_equal(&x->records[i], &y->records[i], sizeof(x->records[i]));
    }
}

struct found {
    Pawl__Replica replica;
    uint32_t count;
};

static void find_replica(void *user, const Pawl__Replica *replica)
{
    struct found *found = user;
    found->replica = *replica;
    found->count++;
}

static struct found inventory(struct harness *h, uint32_t server)
{
    struct found found = {.count = 0};
    chunk_core_visit(h->core[server], false, find_replica, &found);
    return found;
}

static int inspect_status(struct harness *h, uint32_t server)
{
    union h_message message = {.inspect = {.chunk = H_CHUNK}};
    return h_status(h, h_message_send(h, server, CHUNK_EVENT_INSPECT, &message, 0));
}

static void test_copy_when_nothing_is_here_brings_all_of_it(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 9);
    uint64_t a = h_copy(h, 2, 2, 9, 900, 0);
    h_expect(h, a, 0);
    assert_true(h->requests[a].copied.sealed);
    assert_int_equal(h->requests[a].copied.version, 2);
    assert_int_equal(h->requests[a].copied.count, 9);
    assert_int_equal(h->requests[a].copied.length, 900);
    assert_equal_disks(h, 0, 2);
    uint64_t b = h_copy(h, 2, 2, 9, 900, 1); // repeated
    h_expect(h, b, 0);
    assert_true(h->requests[b].copied.sealed);
    h_expect(h, h_lookup(h, 2, 1, 4), 0);
    h_expect(h, h_lookup(h, 2, 5, 7), PAWL_EEARLIER); // the inherited table is there
}

// The chunk's version was raised since it was sealed: its bytes are the same.
static void test_copy_when_the_version_is_newer_is_sealed_under_it(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 4);
    uint64_t a = h_copy(h, 2, 5, 4, 400, 0);
    h_expect(h, a, 0);
    assert_int_equal(h->requests[a].copied.version, 5);
    assert_int_equal(h->disk[2].version, 5);
    assert_int_equal(h->disk[2].records_count, 4);
}

static void test_copy_when_chunk_is_empty_is_sealed_empty(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 0);
    uint64_t a = h_copy(h, 2, 2, 0, 0, 1);
    h_expect(h, a, 0);
    assert_true(h->requests[a].copied.sealed);
    assert_equal_disks(h, 1, 2);
}

static void test_copy_when_half_done_serves_nothing(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 9);
    h->hold_store[2] = true;
    uint64_t a = h_copy(h, 2, 2, 9, 900, 0);
    h_store_end(h, 2, 0, 0); // the creation
    h_run(h);
    h_store_end(h, 2, 0, 0);
    h_run(h);
    assert_false(h_is_answered(h, a));
    assert_int_equal(inspect_status(h, 2), PAWL_ENOCHUNK);
    h_expect(h, h_read(h, 2, 0, 100), PAWL_ENOCHUNK);
    h_expect(h, h_lookup(h, 2, 1, 1), PAWL_ENOCHUNK);
    h_expect(h, h_fence(h, 2, 3), PAWL_ENOCHUNK);
    h_expect(h, h_level(h, 2, 2, 9, 0), PAWL_ENOCHUNK);
    h_expect(h, h_seal(h, 2, 2, 9, 900), PAWL_ENOCHUNK);
    h_expect(h, h_grant(h, 2, 2, 9, 3), PAWL_ENOCHUNK);
    h_expect(h, h_open(h, 2, 3, NULL, 0), PAWL_EBUSY);
    struct found found = inventory(h, 2);
    assert_int_equal(found.count, 1);
    assert_true(found.replica.copying);
    assert_false(found.replica.sealed);
    assert_int_equal(found.replica.count, 1);
    h->hold_store[2] = false;
    h_run(h);
    h_expect(h, a, 0);
    assert_equal_disks(h, 0, 2);
}

// Records come in any order: the reply to a fetch may overtake another.
static void test_copy_when_replies_overtake_each_other_keeps_the_order(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 9);
    h->hold_store[2] = true;
    uint64_t a = h_copy(h, 2, 2, 9, 900, 0);
    h->hold_net[2] = true;
    h_store_end(h, 2, 0, 0); // created: several records are asked for
    h_run(h);
    uint32_t first = h->net_head[2];
    assert_true(h->net_tail[2] - first >= 3);
    struct h_packet packet = h->net[2][first % H_QUEUE];
    h->net[2][first % H_QUEUE] = h->net[2][(first + 2) % H_QUEUE];
    h->net[2][(first + 2) % H_QUEUE] = packet;
    h->hold_net[2] = false;
    h->hold_store[2] = false;
    h_run(h);
    h_expect(h, a, 0);
    assert_equal_disks(h, 0, 2);
}

static void test_copy_when_it_takes_long_says_how_far_it_is(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 9);
    h->hold_store[2] = true;
    uint64_t a = h_copy(h, 2, 2, 9, 900, 0);
    h_store_end(h, 2, 0, 0);
    h_run(h);
    h_store_end(h, 2, 0, 0);
    h_run(h);
    h_tick(h, 2, 100);
    assert_false(h_is_answered(h, a));
    h_tick(h, 2, 300);
    h_expect(h, a, 0);
    assert_false(h->requests[a].copied.sealed);
    assert_int_equal(h->requests[a].copied.count, 1);
    uint64_t b = h_copy(h, 2, 2, 9, 900, 0); // goes on
    h->hold_store[2] = false;
    h_run(h);
    h_expect(h, b, 0);
    assert_true(h->requests[b].copied.sealed);
}

static void test_copy_when_seal_is_not_durable_is_not_answered(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 2);
    h->hold_store[2] = true;
    uint64_t a = h_copy(h, 2, 2, 2, 200, 0);
    for (uint32_t i = 0; i < 3; i++) { // the creation, two records
        h_store_end(h, 2, 0, 0);
        h_run(h);
    }
    assert_int_equal(h->store_tail[2] - h->store_head[2], 1);
    assert_false(h_is_answered(h, a));
    assert_int_equal(inspect_status(h, 2), PAWL_ENOCHUNK);
    assert_true(inventory(h, 2).replica.copying);
    h->hold_store[2] = false;
    h_run(h);
    h_expect(h, a, 0);
    assert_int_equal(inspect_status(h, 2), 0);
}

// How often the record was asked for; only the first time it is to wait for its turn.
static uint32_t fetches_of(const struct harness *h, uint64_t index)
{
    uint32_t count = 0;
    for (uint64_t i = 0; i < h->next_peer_request; i++) {
        const struct h_peer_request *r = &h->peer_requests[i];
        if (r->type == CHUNK_ACTION_FETCH && r->index == index) {
            assert_int_equal(r->again, count > 0);
            count++;
        }
    }
    return count;
}

static void test_copy_when_a_payload_landed_wrong_asks_again(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 5);
    h->hold_net[2] = true;
    h->corrupt[2] = 0x10;
    uint64_t a = h_copy(h, 2, 2, 5, 500, 0); // its table is torn
    h->corrupt[2] = 0;
    h->hold_net[2] = false;
    h->hold_store[2] = true;
    h_run(h);
    h->corrupt[2] = 0x10;
    h->hold_net[2] = true;
    h_store_end(h, 2, 0, 0); // records are asked for, and torn
    h_run(h);
    h->corrupt[2] = 0;
    h->hold_net[2] = false;
    h->hold_store[2] = false;
    h_run(h);
    h_expect(h, a, 0);
    assert_equal_disks(h, 0, 2);
    assert_int_equal(fetches_of(h, WIRE_FETCH_TABLE), 2);
    assert_int_equal(fetches_of(h, 0), 2);
    assert_int_equal(fetches_of(h, 4), 1);
}

static void test_copy_when_a_table_always_lands_wrong_says_so(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 5);
    h->corrupt[2] = 0x10;
    h_expect(h, h_copy(h, 2, 2, 5, 500, 0), PAWL_EBADPAYLOAD);
    assert_int_equal(fetches_of(h, WIRE_FETCH_TABLE), CHUNK_COPY_TRIES);
    assert_int_equal(inventory(h, 2).count, 0);
}

static void test_copy_when_a_record_always_lands_wrong_says_so(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 5);
    h->hold_store[2] = true;
    uint64_t a = h_copy(h, 2, 2, 5, 500, 0);
    h->corrupt[2] = 0x10;
    h_store_end(h, 2, 0, 0); // created: records are asked for
    h_run(h);
    h_expect(h, a, PAWL_EBADPAYLOAD);
    assert_int_equal(fetches_of(h, WIRE_FETCH_TABLE), 1);
    assert_int_equal(fetches_of(h, 0), CHUNK_COPY_TRIES);
    h->corrupt[2] = 0;
    h->hold_store[2] = false;
    h_run(h);
    assert_false(h->disk[2].exists);
    h_expect(h, h_copy(h, 2, 2, 5, 500, 0), 0); // each record has its tries again
    assert_equal_disks(h, 0, 2);
}

static void test_copy_when_source_is_lost_leaves_nothing(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 9);
    h->fail_peer[0] = PAWL_EDISCONNECTED;
    h_expect(h, h_copy(h, 2, 2, 9, 900, 0), PAWL_EDISCONNECTED);
    assert_int_equal(inventory(h, 2).count, 0);
    h->fail_peer[0] = 0;
    h->hold_store[2] = true;
    uint64_t a = h_copy(h, 2, 2, 9, 900, 0);
    h_store_end(h, 2, 0, 0);
    h->fail_peer[0] = PAWL_EDISCONNECTED;
    h->hold_store[2] = false;
    h_run(h);
    h_expect(h, a, PAWL_EDISCONNECTED);
    assert_false(h->disk[2].exists);
    h_expect(h, h_copy(h, 2, 2, 9, 900, 1), 0); // from another one
    assert_equal_disks(h, 1, 2);
}

static void test_copy_when_source_is_damaged_says_so(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 3);
    struct chunk_event event = {.type = CHUNK_EVENT_DAMAGED, .handle = H_CHUNK};
    h_step(h, 0, &event);
    h_expect(h, h_copy(h, 2, 2, 3, 300, 0), PAWL_ECORRUPT);
    assert_int_equal(inventory(h, 2).count, 0);
}

static void test_copy_when_source_holds_another_log_is_refused(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 3);
    h_expect(h, h_copy(h, 2, 2, 3, 299, 0), PAWL_ECORRUPT);
    h_expect(h, h_copy(h, 2, 2, 4, 400, 0), PAWL_EEXPECT);
    h_expect(h, h_copy(h, 2, 1, 3, 300, 0), PAWL_ESTALE); // an older version
    h_expect(h, h_copy(h, 2, 2, 3, 300, 2), PAWL_EINVALID);
    h_expect(h, h_copy(h, 2, 2, CHUNK_RECORDS_MAX + 1, 300, 0), PAWL_EINVALID);
    assert_false(h->disk[2].exists);
}

static void test_copy_when_source_is_not_sealed_is_refused(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h_expect(h, h_copy(h, 2, 1, 1, 100, 0), PAWL_EEXPECT);
}

static void test_copy_when_something_else_is_here_is_refused(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 3);
    h_expect(h, h_copy(h, 1, 2, 4, 400, 0), PAWL_EEXISTS);
    uint64_t same = h_copy(h, 1, 3, 3, 300, 0); // sealed under an older version
    h_expect(h, same, 0);
    assert_int_equal(h->requests[same].copied.version, 3);
    h_expect(h, h_copy(h, 1, 1, 3, 300, 0), PAWL_ESTALE);
    h_expect(h, h_open(h, 2, 1, NULL, 0), 0);
    h_expect(h, h_copy(h, 2, 2, 3, 300, 0), PAWL_EEXISTS);
}

static void test_copy_when_version_was_raised_gives_up(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 9);
    h->hold_store[2] = true;
    uint64_t a = h_copy(h, 2, 2, 9, 900, 0);
    h_store_end(h, 2, 0, 0);
    h_run(h);
    h_expect(h, h_copy(h, 2, 3, 9, 900, 0), PAWL_EBUSY);
    h_expect(h, a, PAWL_ESTALE);
    h->hold_store[2] = false;
    h_run(h);
    assert_false(h->disk[2].exists);
    assert_int_equal(inventory(h, 2).count, 0);
}

static void test_copy_when_another_source_is_named_gives_up(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 9);
    h->hold_store[2] = true;
    uint64_t a = h_copy(h, 2, 2, 9, 900, 0);
    h_store_end(h, 2, 0, 0);
    h_run(h);
    h_expect(h, h_copy(h, 2, 2, 9, 900, 1), PAWL_EBUSY);
    h_expect(h, a, PAWL_ESTALE);
    h->hold_store[2] = false;
    h_run(h);
    assert_false(h->disk[2].exists);
    h_expect(h, h_copy(h, 2, 2, 9, 900, 1), 0);
    assert_equal_disks(h, 1, 2);
}

static void test_copy_when_dropped_gives_up(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 9);
    h->hold_net[0] = true;
    uint64_t a = h_copy(h, 2, 2, 9, 900, 0); // waits for the table
    h_expect(h, h_drop(h, 2, 1), PAWL_ESTALE);
    h_expect(h, h_drop(h, 2, 2), 0);
    h_expect(h, a, PAWL_ESTALE);
    h_expect(h, h_copy(h, 2, 2, 9, 900, 0), PAWL_EBUSY); // the old fetch is still out
    h->hold_net[0] = false;
    h_run(h);
    h->hold_store[2] = true;
    uint64_t b = h_copy(h, 2, 2, 9, 900, 0);
    h_store_end(h, 2, 0, 0);
    h_run(h);
    uint64_t drop = h_drop(h, 2, 2);
    h_expect(h, b, PAWL_ESTALE);
    assert_false(h_is_answered(h, drop));
    h->hold_store[2] = false;
    h_run(h);
    h_expect(h, drop, 0);
    assert_false(h->disk[2].exists);
    h_expect(h, h_copy(h, 2, 2, 9, 900, 0), 0);
}

static void test_copy_when_write_fails_says_so_and_is_gone(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 9);
    h->hold_store[2] = true;
    uint64_t a = h_copy(h, 2, 2, 9, 900, 0);
    h_store_end(h, 2, 0, 0);
    h_run(h);
    h->fail_store[2] = -5;
    h->hold_store[2] = false;
    h_run(h);
    h_expect(h, a, -5);
    assert_int_equal(inventory(h, 2).count, 0);
}

// A crash at every place: what is left is damaged by its own word, or nothing, or whole.
static void test_copy_when_crashed_in_between_is_never_taken_for_whole(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 6);
    for (uint32_t ends = 0; ends < 8; ends++) {
        h->hold_store[2] = true;
        h_copy(h, 2, 2, 6, 600, 0);
        for (uint32_t i = 0; i < ends; i++) {
            h_store_end(h, 2, 0, 0);
            h_run(h);
        }
        h_crash(h, 2);
        h->hold_store[2] = false;
        h_run(h);
        h_start(h, 2);
        struct found found = inventory(h, 2);
        assert_int_equal(found.count, ends > 0);
        if (ends == 7) { // all records are durable and verified: only the seal is missing
            assert_false(found.replica.damaged || found.replica.sealed);
            h_expect(h, h_seal(h, 2, 2, 6, 600), 0);
            assert_equal_disks(h, 0, 2);
        } else if (ends > 0) {
            assert_true(found.replica.damaged && !found.replica.sealed);
            assert_int_equal(found.replica.count, ends - 1);
            h_expect(h, h_fence(h, 2, 3), PAWL_ECORRUPT);
            h_expect(h, h_seal(h, 2, 2, ends - 1, 100 * (ends - 1)), PAWL_ECORRUPT);
            h_expect(h, h_copy(h, 2, 2, 6, 600, 0), PAWL_EEXISTS);
        }
        h_expect(h, h_drop(h, 2, 2), 0);
    }
}

// ---- chunks of a write log, and of zeros -------------------------------------------------------

#define WRITTEN 77u // 400 bytes, sealed

static void load_written(struct harness *h, uint32_t server)
{
    struct pawl_record record = {
        .id = {.producer_lo = 3, .sequence = 1}, .version = 1, .length = 400};
    struct chunk_load load = {
        .create = {.handle = WRITTEN, .version = 1, .file_id = 3, .chunk_bytes = H_CHUNK_BYTES},
        .version = 1,
        .commit_count = 1,
        .sealed = true,
        .record_at = h_record_at,
        .rows = &record,
        .records_count = 1};
    assert_int_equal(chunk_core_load(h->core[server], &load), 0);
}

// As sealed_pair(), with one write of 100 bytes at 150.
static void sealed_log(struct harness *h)
{
    h->written_handle = WRITTEN;
    for (uint32_t s = 0; s < H_SERVERS; s++) {
        load_written(h, s);
    }
    for (uint32_t s = 0; s < 2; s++) {
        h_expect(h, h_open(h, s, 1, NULL, 0), 0);
    }
    h_expect(h, h_grant(h, 0, 1, 0, 2), 0);
    struct h_append write = {
        .conn = 1, .producer = 1, .sequence = 1, .flags = wire_record_write_flags(150)};
    h_expect(h, h_append_send(h, 0, &write), 0);
    for (uint32_t s = 0; s < 2; s++) {
        h_expect(h, h_fence(h, s, 2), 0);
        h_expect(h, h_seal(h, s, 2, 1, 100), 0);
    }
}

static uint64_t read_written(struct harness *h, uint32_t server, uint32_t log_chunks)
{
    union h_message message = {
        .read = {
            .chunk = WRITTEN, .length = 1000, .log_chunks = log_chunks, .flags = WIRE_READ_ALL}};
    return h_message_send(h, server, CHUNK_EVENT_READ, &message, 0);
}

static void test_copy_when_of_a_log_its_writes_are_seen_with_the_seal(void **state)
{
    struct harness *h = *state;
    sealed_log(h);
    h->hold_store[2] = true;
    uint64_t a = h_copy(h, 2, 2, 1, 100, 0);
    for (uint32_t i = 0; i < 2; i++) { // the creation, the record
        h_store_end(h, 2, 0, 0);
        h_run(h);
        h_expect(h, read_written(h, 2, 1), PAWL_ESTALE);
    }
    uint64_t before = read_written(h, 2, 0);
    h_expect(h, before, 0);
    assert_int_equal(h->requests[before].action.segments_count, 1);
    assert_int_equal(h->requests[before].action.log_bytes, 0);
    h->hold_store[2] = false;
    h_run(h);
    h_expect(h, a, 0);
    assert_equal_disks(h, 0, 2);
    assert_int_equal(h->disk[2].create.written_handle, WRITTEN);
    assert_true(wire_record_is_write(&h->disk[2].records[0].id));
    uint64_t after = read_written(h, 2, 1);
    h_expect(h, after, 0);
    const struct chunk_action *read = &h->requests[after].action;
    assert_int_equal(read->segments_count, 3);
    assert_int_equal(read->segments[1].handle, H_CHUNK);
    assert_int_equal(read->segments[1].offset, 0);
    assert_int_equal(read->segments[1].length, 100);
    assert_int_equal(read->segments[2].handle, WRITTEN);
    assert_int_equal(read->segments[2].offset, 250);
    assert_int_equal(read->log_chunks, 1);
    assert_int_equal(read->log_bytes, H_BASE + 100);
}

// What the log is about need not be here: it is the master that knows.
static void test_copy_when_of_a_log_survives_a_restart(void **state)
{
    struct harness *h = *state;
    sealed_log(h);
    h_expect(h, h_copy(h, 2, 2, 1, 100, 1), 0);
    h_crash(h, 2);
    h_start(h, 2);
    h_expect(h, read_written(h, 2, 0), PAWL_ENOCHUNK);
    load_written(h, 2);
    uint64_t a = read_written(h, 2, 1);
    h_expect(h, a, 0);
    assert_int_equal(h->requests[a].action.segments_count, 3);
}

static void test_copy_when_of_zeros_is_zeros(void **state)
{
    struct harness *h = *state;
    h->zero_bytes = 5000;
    for (uint32_t s = 0; s < 2; s++) {
        h_expect(h, h_open(h, s, 1, rows, 2), 0);
        h_expect(h, h_seal(h, s, 1, 0, 5000), 0);
    }
    h_expect(h, h_copy(h, 2, 1, 0, 4999, 0), PAWL_ECORRUPT);
    uint64_t a = h_copy(h, 2, 1, 0, 5000, 0);
    h_expect(h, a, 0);
    assert_true(h->requests[a].copied.sealed);
    assert_int_equal(h->requests[a].copied.length, 5000);
    assert_equal_disks(h, 0, 2);
    assert_int_equal(h->disk[2].create.zero_bytes, 5000);
    uint64_t read = h_read(h, 2, 4000, 2000);
    h_expect(h, read, 0);
    assert_int_equal(h->requests[read].action.segments_count, 1);
    assert_int_equal(h->requests[read].action.segments[0].handle, 0); // zeros
    assert_int_equal(h->requests[read].action.segments[0].length, 1000);
}

static void test_copy_when_it_contradicts_itself_is_refused(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 3);
    h->zero_bytes = 300;
    h_expect(h, h_copy(h, 2, 2, 3, 300, 0), PAWL_EINVALID); // zeros have no records
    h->written_handle = WRITTEN;
    h_expect(h, h_copy(h, 2, 2, 0, 300, 0), PAWL_EINVALID); // and are no log
    h->written_handle = 0;
    h->zero_bytes = H_CHUNK_BYTES + 1;
    h_expect(h, h_copy(h, 2, 2, 0, 300, 0), PAWL_EINVALID);
    h->zero_bytes = 0;
    h->written_handle = H_CHUNK;
    h_expect(h, h_copy(h, 2, 2, 3, 300, 0), PAWL_EINVALID); // a log about itself
    assert_false(h->disk[2].exists);
}

// The master calls it a log, the records of the source are none of a log; or the other way round.
static void test_copy_when_the_source_is_of_another_kind_is_refused(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 3);
    h->written_handle = WRITTEN;
    h_expect(h, h_copy(h, 2, 2, 3, 300, 0), PAWL_ECORRUPT);
    assert_false(h->disk[2].exists);
}

static void test_copy_when_the_log_is_taken_for_a_file_is_refused(void **state)
{
    struct harness *h = *state;
    sealed_log(h);
    h->written_handle = 0;
    h_expect(h, h_copy(h, 2, 2, 1, 100, 0), PAWL_ECORRUPT);
    assert_false(h->disk[2].exists);
}

// ---- old commands ------------------------------------------------------------------------------

// The version is the same: only the order tells the two replicas apart.
static void test_drop_when_copied_again_since_is_refused(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 3);
    h_expect(h, h_copy(h, 2, 2, 3, 300, 0), 0);
    h_expect(h, h_drop(h, 2, 2), 0);
    uint64_t dropped = h->order;
    h->order = dropped - 1;
    h_expect(h, h_drop(h, 2, 2), 0); // twice in a row: nothing has changed in between
    h_expect(h, h_copy(h, 2, 2, 3, 300, 0), 0);
    h->order = dropped - 1;
    h_expect(h, h_drop(h, 2, 2), PAWL_ESTALE);
    assert_equal_disks(h, 0, 2);
    h->order = dropped + 1;
    h_expect(h, h_drop(h, 2, 2), 0);
    assert_false(h->disk[2].exists);
}

static void test_copy_when_it_comes_again_begins_nothing(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 3);
    h->fail_peer[0] = PAWL_EDISCONNECTED;
    h_expect(h, h_copy(h, 2, 2, 3, 300, 0), PAWL_EDISCONNECTED);
    h->fail_peer[0] = 0;
    h->order--;
    h_expect(h, h_copy(h, 2, 2, 3, 300, 0), PAWL_ESTALE); // the master has read the answer
    h_expect(h, h_copy(h, 2, 2, 3, 300, 0), 0);
    h->order--;
    h_expect(h, h_copy(h, 2, 2, 3, 300, 0), 0); // it is there
    uint64_t copied = h->order;
    h_expect(h, h_drop(h, 2, 2), 0);
    h->order = copied - 1;
    h_expect(h, h_copy(h, 2, 2, 3, 300, 0), PAWL_ESTALE);
    assert_int_equal(inventory(h, 2).count, 0);
}

// What an inventory tells counts from the answer to it on: a DROP from before has to be given anew.
static void test_drop_when_given_before_the_registration_is_refused(void **state)
{
    struct harness *h = *state;
    struct chunk_event registering = {.type = CHUNK_EVENT_REGISTERING};
    sealed_pair(h, 3);
    uint64_t given = ++h->order;
    h_step(h, 0, &registering);
    h_expect(h, h_drop(h, 0, 2), PAWL_EBUSY);   // behind the inventory, in front of the answer
    h_expect(h, h_copy(h, 2, 2, 3, 300, 0), 0); // another server
    h_registered(h, 0);
    uint64_t now = h->order;
    h->order = given - 1;
    h_expect(h, h_drop(h, 0, 2), PAWL_ESTALE);
    assert_true(h->disk[0].exists);
    h->order = now;
    h_expect(h, h_drop(h, 0, 2), 0);
}

static void test_drop_when_the_server_has_restarted_waits_for_the_registration(void **state)
{
    struct harness *h = *state;
    struct chunk_event registering = {.type = CHUNK_EVENT_REGISTERING};
    sealed_pair(h, 3);
    uint64_t given = ++h->order;
    h_crash(h, 0);
    h_start(h, 0);
    h->order = given - 1;
    h_expect(h, h_drop(h, 0, 2), PAWL_ESTALE);
    h_step(h, 0, &registering);
    h->term++; // another master: it counts anew
    h->order = 0;
    h_expect(h, h_drop(h, 0, 2), PAWL_EBUSY);
    h_registered(h, 0);
    h->term--;
    h->order = given + 100;
    h_expect(h, h_drop(h, 0, 2), PAWL_ESTALE); // of the one before
    h->term++;
    h->order = 1;
    h_expect(h, h_drop(h, 0, 2), 0);
}

static void test_drop_when_it_has_no_order_is_refused(void **state)
{
    struct harness *h = *state;
    sealed_pair(h, 3);
    h->term++;
    h->order = UINT64_MAX;
    h_expect(h, h_drop(h, 0, 2), PAWL_EINVALID);
    assert_true(h->disk[0].exists);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_copy_when_nothing_is_here_brings_all_of_it),
        TEST(test_copy_when_the_version_is_newer_is_sealed_under_it),
        TEST(test_copy_when_chunk_is_empty_is_sealed_empty),
        TEST(test_copy_when_half_done_serves_nothing),
        TEST(test_copy_when_replies_overtake_each_other_keeps_the_order),
        TEST(test_copy_when_it_takes_long_says_how_far_it_is),
        TEST(test_copy_when_seal_is_not_durable_is_not_answered),
        TEST(test_copy_when_a_payload_landed_wrong_asks_again),
        TEST(test_copy_when_a_table_always_lands_wrong_says_so),
        TEST(test_copy_when_a_record_always_lands_wrong_says_so),
        TEST(test_copy_when_source_is_lost_leaves_nothing),
        TEST(test_copy_when_source_is_damaged_says_so),
        TEST(test_copy_when_source_holds_another_log_is_refused),
        TEST(test_copy_when_source_is_not_sealed_is_refused),
        TEST(test_copy_when_something_else_is_here_is_refused),
        TEST(test_copy_when_version_was_raised_gives_up),
        TEST(test_copy_when_another_source_is_named_gives_up),
        TEST(test_copy_when_dropped_gives_up),
        TEST(test_copy_when_write_fails_says_so_and_is_gone),
        TEST(test_copy_when_crashed_in_between_is_never_taken_for_whole),
        TEST(test_copy_when_of_a_log_its_writes_are_seen_with_the_seal),
        TEST(test_copy_when_of_a_log_survives_a_restart),
        TEST(test_copy_when_of_zeros_is_zeros),
        TEST(test_copy_when_it_contradicts_itself_is_refused),
        TEST(test_copy_when_the_source_is_of_another_kind_is_refused),
        TEST(test_copy_when_the_log_is_taken_for_a_file_is_refused),
        TEST(test_drop_when_copied_again_since_is_refused),
        TEST(test_copy_when_it_comes_again_begins_nothing),
        TEST(test_drop_when_given_before_the_registration_is_refused),
        TEST(test_drop_when_the_server_has_restarted_waits_for_the_registration),
        TEST(test_drop_when_it_has_no_order_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
