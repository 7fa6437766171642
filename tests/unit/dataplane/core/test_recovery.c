// SPDX-License-Identifier: Apache-2.0
// Tests of the master's commands: OPEN, FENCE, SEAL, DROP, and whole recoveries.
#include "core_harness.h"

#include <string.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, h_setup, h_teardown)

static void test_command_when_term_is_older_is_refused(void **state)
{
    struct harness *h = *state;
    h->term = 5;
    h_ready(h, 1);
    h->term = 4;
    h_expect(h, h_fence(h, 0, 2), PAWL_ESTALE);
    h_expect(h, h_drop(h, 0, 2), PAWL_ESTALE);
    h->term = 5;
    h_expect(h, h_fence(h, 0, 2), 0);
}

static void test_command_when_unknown_or_empty_is_refused(void **state)
{
    struct harness *h = *state;
    Pawl__Request command = PAWL__REQUEST__INIT;
    Pawl__Mkdir mkdir = PAWL__MKDIR__INIT;
    Pawl__Fence fence = PAWL__FENCE__INIT;
    h_expect(h, h_command(h, 0, &command), PAWL_EPROTOCOL);
    command.body_case = PAWL__REQUEST__BODY_MKDIR;
    command.mkdir = &mkdir;
    h_expect(h, h_command(h, 0, &command), PAWL_EPROTOCOL);
    command.body_case = PAWL__REQUEST__BODY_FENCE;
    command.fence = &fence;
    h_expect(h, h_command(h, 0, &command), PAWL_EINVALID);
}

// ---- open ------------------------------------------------------------------------------------

static void test_open_when_new_is_answered_once_durable_and_joined(void **state)
{
    struct harness *h = *state;
    struct wire_producer rows[1] = {{.producer_lo = 3, .epoch = 2}};
    h->hold_store[0] = true;
    uint64_t a = h_open(h, 0, 1, rows, 1);
    memset(rows, 0xff, sizeof(rows)); // the core has its own copy
    uint64_t b = h_open(h, 0, 1, NULL, 0);
    assert_false(h_is_answered(h, a) || h_is_answered(h, b));
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, a, 0);
    h_expect(h, b, 0);
    h_expect(h, h_open(h, 0, 1, NULL, 0), 0);
    assert_int_equal(h->disk[0].producers[0].epoch, 2);
    assert_int_equal(h->disk[0].create.file_id, H_FILE);
    assert_int_equal(h->disk[0].create.chunk_bytes, H_CHUNK_BYTES);
}

static void test_open_when_empty_and_older_is_replaced(void **state)
{
    struct harness *h = *state;
    struct wire_producer rows[2] = {{.producer_lo = 3, .epoch = 2}, {.producer_lo = 4}};
    h_expect(h, h_open(h, 0, 1, rows, 1), 0);
    h_expect(h, h_open(h, 0, 3, rows, 2), 0);
    assert_int_equal(h->disk[0].version, 3);
    assert_int_equal(h->disk[0].create.producers_count, 2);
    h_expect(h, h_open(h, 0, 2, rows, 1), PAWL_ESTALE);
    h_expect(h, h_grant(h, 0, 3, 0, 1), 0);
    h_expect(h, h_append(h, 0, 1, 1), PAWL_ESTALE);
}

static void replica_count(void *user, const Pawl__Replica *replica)
{
    uint32_t *count = user;
    (void)replica;
    (*count)++;
}

static void test_open_when_replaced_before_it_is_durable_answers_the_newer_one(void **state)
{
    struct harness *h = *state;
    struct wire_producer rows[1] = {{.producer_lo = 3, .epoch = 2}};
    h->hold_store[0] = true;
    uint64_t a = h_open(h, 0, 1, rows, 1);
    rows[0].epoch = 9;
    uint64_t b = h_open(h, 0, 2, rows, 1);
    h_expect(h, a, PAWL_ESTALE);
    h_store_end(h, 0, 0, 0); // the old one, whose table must still be there
    assert_false(h_is_answered(h, b));
    uint32_t replicas_count = 0;
    chunk_core_visit(h->core[0], false, replica_count, &replicas_count);
    assert_int_equal(replicas_count, 0); // the one that counts is not durable yet
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, b, 0);
    assert_int_equal(h->disk[0].producers[0].epoch, 9);
}

// What was to be replaced is still stored. It goes too: nobody would hear of it before a restart. Seed
// 2830 of the simulator.
static void test_open_when_replacing_fails_leaves_nothing(void **state)
{
    struct harness *h = *state;
    uint32_t replicas_count = 0;
    // The older one is durable; is still under way itself; and is so when the newer one has failed.
    for (int early = 0; early < 3; early++) {
        uint64_t version = 10 * (uint64_t)early;
        h->hold_store[0] = early;
        h_open(h, 0, version + 1, NULL, 0);
        h->hold_store[0] = true;
        uint64_t a = h_open(h, 0, version + 2, NULL, 0);
        if (early == 1) {
            h_store_end(h, 0, 0, 0);
        }
        h_store_end(h, 0, early == 2, PAWL_ENOSPACE);
        h_expect(h, a, PAWL_ENOSPACE);
        assert_true(h->disk[0].exists || early == 2);
        h->hold_store[0] = false;
        h_run(h);
        assert_false(h->disk[0].exists);
        chunk_core_visit(h->core[0], false, replica_count, &replicas_count);
        assert_int_equal(replicas_count, 0);
        h_expect(h, h_open(h, 0, version + 3, NULL, 0), 0);
        h_expect(h, h_drop(h, 0, version + 3), 0);
    }
}

static void test_open_when_chunk_holds_records_is_never_replaced(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h_expect(h, h_open(h, 0, 1, NULL, 0), 0); // repeated
    h_expect(h, h_open(h, 0, 2, NULL, 0), PAWL_EEXISTS);
    assert_int_equal(h_inspect(h, 0).count, 1);
    assert_int_equal(h_inspect(h, 0).primary, 1);
}

static void test_open_when_table_is_damaged_is_refused(void **state)
{
    struct harness *h = *state;
    struct wire_producer twice[2] = {{.producer_lo = 3}, {.producer_lo = 3}};
    Pawl__Request command = PAWL__REQUEST__INIT;
    Pawl__Open open = PAWL__OPEN__INIT;
    h_expect(h, h_open(h, 0, 1, twice, 2), PAWL_EINVALID);
    open.term = 1;
    open.handle = H_CHUNK;
    open.version = 1;
    open.chunk_bytes = H_CHUNK_BYTES;
    open.producers.data = (uint8_t *)twice;
    open.producers.len = 63;
    command.body_case = PAWL__REQUEST__BODY_OPEN;
    command.open = &open;
    h_expect(h, h_command(h, 0, &command), PAWL_EINVALID);
    open.producers.len = 0;
    open.chunk_bytes = 0;
    h_expect(h, h_command(h, 0, &command), PAWL_EINVALID);
    h_expect(h, h_open(h, 0, 1, twice, 1), 0);
    h_expect(h, h_open(h, 0, 2, twice, 2), PAWL_EINVALID); // the old one stays as it is
    h_expect(h, h_grant(h, 0, 1, 0, 1), 0);
}

static void test_open_when_store_fails_is_answered_with_its_error(void **state)
{
    struct harness *h = *state;
    h->fail_store[0] = -28;
    h_expect(h, h_open(h, 0, 1, NULL, 0), -28);
    h->fail_store[0] = 0;
    h_expect(h, h_fence(h, 0, 2), PAWL_ENOCHUNK);
    h_expect(h, h_open(h, 0, 1, NULL, 0), 0);
}

// ---- fence -----------------------------------------------------------------------------------

static void test_fence_when_chunk_is_unknown_is_no_answer(void **state)
{
    struct harness *h = *state;
    h_expect(h, h_fence(h, 0, 2), PAWL_ENOCHUNK);
}

static void test_fence_when_records_are_under_way_drains_first(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h->hold_store[0] = true;
    uint64_t a = h_append(h, 0, 1, 2);
    uint64_t b = h_append(h, 0, 1, 3);
    uint64_t fence = h_fence(h, 0, 2);
    h_expect(h, a, PAWL_ESTALE);
    h_expect(h, b, PAWL_ESTALE);
    h_store_end(h, 0, 2, 0); // the promise alone is no barrier
    h_store_end(h, 0, 1, 0);
    assert_false(h_is_answered(h, fence));
    h_store_end(h, 0, 0, 0);
    h_expect(h, fence, 0);
    assert_int_equal(h->requests[fence].fenced.count, 3);
    assert_int_equal(h->requests[fence].fenced.length, 300);
    assert_int_equal(h->requests[fence].fenced.commit_count, 1);
    assert_int_equal(h->requests[fence].fenced.version, 2);
    assert_false(h->requests[fence].fenced.sealed);
    assert_int_equal(h_inspect(h, 0).committed_count, 1); // late PREPAREDs count nothing
    h->hold_store[0] = false;
}

static void test_fence_when_promise_is_not_durable_is_not_answered(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h->hold_store[0] = true;
    uint64_t a = h_fence(h, 0, 2);
    uint64_t b = h_fence(h, 0, 2);
    assert_false(h_is_answered(h, a) || h_is_answered(h, b));
    assert_int_equal(h->store_tail[0] - h->store_head[0], 1);
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, a, 0);
    h_expect(h, b, 0);
    h_expect(h, h_fence(h, 0, 2), 0); // repeated later
    assert_int_equal(h->disk[0].version, 2);
}

static void test_fence_when_a_newer_one_comes_refuses_the_older_one(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h->hold_store[0] = true;
    uint64_t a = h_fence(h, 0, 2);
    uint64_t b = h_fence(h, 0, 3);
    h_expect(h, a, PAWL_ESTALE);
    h_expect(h, h_fence(h, 0, 2), PAWL_ESTALE);
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, b, 0);
}

static void test_fence_when_its_version_is_in_use_is_no_barrier(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h_expect(h, h_fence(h, 0, 1), PAWL_ESTALE); // the primary
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h_expect(h, h_fence(h, 1, 1), PAWL_ESTALE); // its secondary
    h_crash(h, 1);
    h_start(h, 1);
    h_expect(h, h_fence(h, 1, 1), PAWL_ESTALE); // also after a restart
    assert_int_equal(h_inspect(h, 0).primary, 1);
}

static void test_fence_when_repeated_after_a_restart_is_answered(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h_expect(h, h_fence(h, 0, 2), 0);
    h_crash(h, 0);
    h_start(h, 0);
    uint64_t a = h_fence(h, 0, 2);
    h_expect(h, a, 0);
    assert_int_equal(h->requests[a].fenced.count, 1);
    h_expect(h, h_grant(h, 0, 2, 1, 1), 0); // promised in this life: may be granted
    h_expect(h, h_fence(h, 0, 1), PAWL_ESTALE);
}

static void test_fence_when_drained_old_primary_commits_nothing_more(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h->hold_net[0] = true; // PREPAREDs on their way
    uint64_t a = h_append(h, 0, 1, 1);
    h_expect(h, h_fence(h, 1, 2), 0);
    h_expect(h, h_fence(h, 2, 2), 0);
    h->hold_net[0] = false;
    h_run(h);
    h_expect(h, a, 0); // both had it durable before they promised
    uint64_t b = h_append(h, 0, 1, 2);
    assert_false(h_is_answered(h, b)); // nobody prepares for the old primary
    h_tick(h, 0, 10);
    assert_int_equal(h_reports(h, 0, H_BROKEN, 2), 1);
    assert_int_equal(h_reports(h, 0, H_BROKEN, 3), 1);
    assert_int_equal(h_inspect(h, 0).committed_count, 1);
    h_expect(h, h_fence(h, 0, 2), 0);
    h_expect(h, b, PAWL_ESTALE);
}

// ---- whole recoveries ------------------------------------------------------------------------

static void test_recovery_when_regranted_answers_retries_as_duplicates(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h->hold_net[0] = true;
    uint64_t lost = h_append(h, 0, 1, 1); // durable everywhere, not known to be
    uint64_t f0 = h_fence(h, 0, 2);
    uint64_t f1 = h_fence(h, 1, 2);
    h->hold_net[0] = false;
    h_run(h);
    h_expect(h, lost, PAWL_ESTALE);
    assert_int_equal(h->requests[f0].fenced.count, 1);
    assert_int_equal(h->requests[f0].fenced.commit_count, 0);
    assert_int_equal(h->requests[f1].fenced.count, 1);
    h_expect(h, h_grant(h, 0, 2, 1, 2), 0);
    struct h_append retry = {.producer = 1, .sequence = 1, .version = 2};
    uint64_t again = h_append_send(h, 0, &retry);
    h_expect(h, again, 0);
    assert_int_equal(h_appended(h, again)->duplicate, 1);
    assert_int_equal(h_appended(h, again)->file_offset, H_BASE);
    retry.sequence = 2;
    h_expect(h, h_append_send(h, 0, &retry), 0);
    assert_int_equal(h->disk[1].records_count, 2);
    assert_int_equal(h->disk[1].records[1].version, 2);
}

static void test_recovery_when_another_member_is_granted_goes_on_there(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    for (uint32_t s = 0; s < 3; s++) {
        h_expect(h, h_fence(h, s, 2), 0);
    }
    h_expect(h, h_grant(h, 2, 2, 1, 3), 0);
    struct h_append append = {.producer = 1, .sequence = 2, .version = 2};
    h_expect(h, h_append_send(h, 0, &append), PAWL_ENOTPRIMARY);
    h_expect(h, h_append_send(h, 2, &append), 0);
    assert_int_equal(h->disk[0].records_count, 2);
}

static void test_recovery_when_a_new_lease_is_idle_tells_the_commit_count(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h_expect(h, h_fence(h, 0, 2), 0);
    h_expect(h, h_fence(h, 1, 2), 0);
    h_expect(h, h_grant(h, 0, 2, 1, 2), 0);
    assert_int_equal(h_inspect(h, 1).committed_count, 0);
    h_tick(h, 0, 10);
    h_tick(h, 0, 10);
    assert_int_equal(h_inspect(h, 1).committed_count, 1);
}

// ---- seal ------------------------------------------------------------------------------------

static void test_seal_when_longer_cuts_and_carries_the_producer_table(void **state)
{
    struct harness *h = *state;
    struct wire_producer rows[1] = {
        {.producer_lo = 9, .last_sequence = 4, .last_chunk = 41, .first_sequence = 1}};
    h_expect(h, h_open(h, 0, 1, rows, 1), 0);
    h_expect(h, h_grant(h, 0, 1, 0, 2), 0);
    h->hold_net[1] = true; // the other member takes nothing
    uint64_t a = h_append(h, 0, 1, 1);
    h_append(h, 0, 9, 5);
    h_append(h, 0, 1, 2);
    h_append(h, 0, 8, 1);
    h_expect(h, h_fence(h, 0, 2), 0);
    h_expect(h, a, PAWL_ESTALE);
    uint64_t seal = h_seal(h, 0, 2, 2, 200);
    h_expect(h, seal, 0);
    const struct h_request *r = &h->requests[seal];
    assert_int_equal(r->producers_count, 2); // producer 8 was cut with its record
    assert_int_equal(r->producers[0].producer_lo, 1);
    assert_int_equal(r->producers[0].last_sequence, 1);
    assert_int_equal(r->producers[0].last_chunk, H_CHUNK);
    assert_int_equal(r->producers[1].producer_lo, 9);
    assert_int_equal(r->producers[1].last_sequence, 5);
    assert_int_equal(r->producers[1].first_sequence, 5);
    assert_int_equal(r->producers[1].previous_chunk, 41);
    assert_true(h->disk[0].sealed);
    assert_int_equal(h->disk[0].records_count, 2);
    struct wire_inspected inspected = h_inspect(h, 0);
    assert_int_equal(inspected.sealed, 1);
    assert_int_equal(inspected.committed_bytes, 200);
    h->hold_net[1] = false;
    h_run(h);
}

static void test_seal_when_repeated_is_answered_with_the_same_table(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h_expect(h, h_fence(h, 0, 2), 0);
    h->hold_store[0] = true;
    uint64_t a = h_seal(h, 0, 2, 1, 100);
    uint64_t b = h_seal(h, 0, 2, 1, 100);
    assert_false(h_is_answered(h, a) || h_is_answered(h, b));
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, a, 0);
    h_expect(h, b, 0);
    h_crash(h, 0);
    h_start(h, 0);
    uint64_t c = h_seal(h, 0, 3, 1, 100);
    h_expect(h, c, 0);
    assert_int_equal(h->requests[c].producers_count, 1);
    assert_memory_equal(h->requests[a].producers, h->requests[c].producers,
                        sizeof(struct wire_producer));
    h_expect(h, h_seal(h, 0, 3, 0, 0), PAWL_ESTALE);
    h_expect(h, h_seal(h, 0, 1, 1, 100), PAWL_ESTALE);
    uint64_t fence = h_fence(h, 0, 4);
    h_expect(h, fence, 0);
    assert_true(h->requests[fence].fenced.sealed);
    assert_int_equal(h->requests[fence].fenced.count, 1);
}

static void test_seal_when_own_log_is_short_or_other_is_refused(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h_expect(h, h_append(h, 0, 1, 2), 0);
    h_expect(h, h_fence(h, 0, 2), 0);
    h_expect(h, h_seal(h, 0, 2, 3, 300), PAWL_ESTALE);
    h_expect(h, h_seal(h, 0, 2, 2, 201), PAWL_ECORRUPT);
    h_expect(h, h_seal(h, 0, 2, 1, 100), PAWL_EDAMAGED); // would cut a committed record
    h_expect(h, h_seal(h, 1, 2, 0, 0), PAWL_ENOCHUNK);
    assert_int_equal(h_inspect(h, 0).count, 2);
    assert_int_equal(h_inspect(h, 0).sealed, 0);
    h_expect(h, h_seal(h, 0, 2, 2, 200), 0);
}

static void test_seal_when_the_fence_was_missed_fences_and_drains(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h->hold_store[0] = true;
    uint64_t a = h_append(h, 0, 1, 2);
    uint64_t seal = h_seal(h, 0, 3, 1, 100);
    h_expect(h, a, PAWL_ESTALE);
    assert_false(h_is_answered(h, seal));
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, seal, 0);
    assert_int_equal(h->disk[0].records_count, 1);
    assert_int_equal(h->disk[0].version, 3);
    h_crash(h, 0);
    h_start(h, 0);
    assert_int_equal(h_inspect(h, 0).sealed, 1);
}

static void test_seal_when_in_use_at_its_version_stops_the_primary(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h->hold_store[0] = true;
    uint64_t a = h_append(h, 0, 1, 1);
    uint64_t s1 = h_seal(h, 0, 1, 1, 100);
    uint64_t s2 = h_seal(h, 0, 1, 1, 100);
    h_expect(h, a, PAWL_ESTALE);
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, s1, 0);
    h_expect(h, s2, 0);
}

// A retry finds its record in the chunk that the table names, whatever the number of chunks.
static void test_seal_when_table_opens_the_next_chunk_duplicates_are_known_there(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h_expect(h, h_fence(h, 0, 2), 0);
    uint64_t seal = h_seal(h, 0, 2, 1, 100);
    h_expect(h, seal, 0);
    h->requests[seal].producers[0].last_chunk = 41; // server 1 plays the next chunk
    h_expect(h, h_open(h, 1, 1, h->requests[seal].producers, 1), 0);
    h_expect(h, h_fence(h, 1, 2), 0);
    h_expect(h, h_grant(h, 1, 2, 0, 2), 0);
    struct h_append retry = {.producer = 1, .sequence = 1, .version = 2};
    uint64_t a = h_append_send(h, 1, &retry);
    h_expect(h, a, PAWL_EEARLIER);
    assert_int_equal(h_appended(h, a)->earlier_chunk, 41);
    h_expect(h, h_lookup(h, 0, 1, 1), 0);
}

// ---- drop ------------------------------------------------------------------------------------

static void test_drop_when_durable_is_answered_and_the_chunk_is_gone(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h->hold_store[0] = true;
    uint64_t a = h_append(h, 0, 1, 1);
    uint64_t d1 = h_drop(h, 0, 1);
    uint64_t d2 = h_drop(h, 0, 5);
    h_expect(h, a, PAWL_ESTALE);
    assert_false(h_is_answered(h, d1) || h_is_answered(h, d2));
    h_expect(h, h_append(h, 0, 1, 1), PAWL_ENOCHUNK);
    h_expect(h, h_fence(h, 0, 2), PAWL_ENOCHUNK);
    h_expect(h, h_open(h, 0, 9, NULL, 0), PAWL_EBUSY);
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, d1, 0);
    h_expect(h, d2, 0);
    assert_false(h->disk[0].exists);
    h_expect(h, h_drop(h, 0, 1), 0);
    h_expect(h, h_open(h, 0, 9, NULL, 0), 0);
    h_expect(h, h_drop(h, 0, 8), PAWL_ESTALE);
}

static void test_drop_when_store_ends_out_of_order_frees_after_the_last(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h->hold_store[0] = true;
    uint64_t a = h_append(h, 0, 1, 1);
    uint64_t drop = h_drop(h, 0, 1);
    h_expect(h, a, PAWL_ESTALE);
    h_store_end(h, 0, 1, 0);
    h_expect(h, drop, 0);
    h_store_end(h, 0, 0, -5);
    h->hold_store[0] = false;
    h_expect(h, h_fence(h, 0, 2), PAWL_ENOCHUNK);
    h_expect(h, h_open(h, 0, 9, NULL, 0), 0);
}

static void test_drop_when_commands_are_pending_refuses_them(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h->hold_store[0] = true;
    uint64_t fence = h_fence(h, 0, 2);
    uint64_t drop = h_drop(h, 0, 2);
    h_expect(h, fence, PAWL_ESTALE);
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, drop, 0);
}

static void test_promise_when_store_fails_is_never_answered_as_made(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h->fail_store[0] = -5;
    h_expect(h, h_fence(h, 0, 2), -5);
    h->fail_store[0] = 0;
    h_expect(h, h_fence(h, 0, 2), -5);
    h_expect(h, h_fence(h, 0, 3), -5);
    h_expect(h, h_drop(h, 0, 3), 0);
}

static void test_seal_when_store_fails_is_answered_with_its_error(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h_expect(h, h_fence(h, 0, 2), 0);
    h->fail_store[0] = -5;
    h_expect(h, h_seal(h, 0, 2, 0, 0), -5);
    h_expect(h, h_seal(h, 0, 2, 0, 0), -5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_command_when_term_is_older_is_refused),
        TEST(test_command_when_unknown_or_empty_is_refused),
        TEST(test_open_when_new_is_answered_once_durable_and_joined),
        TEST(test_open_when_empty_and_older_is_replaced),
        TEST(test_open_when_replaced_before_it_is_durable_answers_the_newer_one),
        TEST(test_open_when_replacing_fails_leaves_nothing),
        TEST(test_open_when_chunk_holds_records_is_never_replaced),
        TEST(test_open_when_table_is_damaged_is_refused),
        TEST(test_open_when_store_fails_is_answered_with_its_error),
        TEST(test_fence_when_chunk_is_unknown_is_no_answer),
        TEST(test_fence_when_records_are_under_way_drains_first),
        TEST(test_fence_when_promise_is_not_durable_is_not_answered),
        TEST(test_fence_when_a_newer_one_comes_refuses_the_older_one),
        TEST(test_fence_when_its_version_is_in_use_is_no_barrier),
        TEST(test_fence_when_repeated_after_a_restart_is_answered),
        TEST(test_fence_when_drained_old_primary_commits_nothing_more),
        TEST(test_recovery_when_regranted_answers_retries_as_duplicates),
        TEST(test_recovery_when_another_member_is_granted_goes_on_there),
        TEST(test_recovery_when_a_new_lease_is_idle_tells_the_commit_count),
        TEST(test_seal_when_longer_cuts_and_carries_the_producer_table),
        TEST(test_seal_when_repeated_is_answered_with_the_same_table),
        TEST(test_seal_when_own_log_is_short_or_other_is_refused),
        TEST(test_seal_when_the_fence_was_missed_fences_and_drains),
        TEST(test_seal_when_in_use_at_its_version_stops_the_primary),
        TEST(test_seal_when_table_opens_the_next_chunk_duplicates_are_known_there),
        TEST(test_drop_when_durable_is_answered_and_the_chunk_is_gone),
        TEST(test_drop_when_store_ends_out_of_order_frees_after_the_last),
        TEST(test_drop_when_commands_are_pending_refuses_them),
        TEST(test_promise_when_store_fails_is_never_answered_as_made),
        TEST(test_seal_when_store_fails_is_answered_with_its_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
