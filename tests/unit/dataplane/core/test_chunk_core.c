// SPDX-License-Identifier: Apache-2.0
// Tests of the core as a whole: loading, inventory, memory that runs out, and seeded soaks.
#include "core_harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "tests/unit/base/scarce.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, h_setup, h_teardown)

// ---- load ------------------------------------------------------------------------------------

static struct pawl_record load_records[3] = {
    {.offset = 0, .id = {.producer_lo = 1, .sequence = 1}, .version = 1, .length = 10},
    {.offset = 10, .id = {.producer_lo = 2, .sequence = 1}, .version = 1, .length = 20},
    {.offset = 30, .id = {.producer_lo = 1, .sequence = 2}, .version = 3, .length = 30},
};

static struct chunk_load load_make(void)
{
    return (struct chunk_load){
        .create = {.handle = 5, .version = 1, .chunk_bytes = 4096, .base_offset = 100},
        .version = 4,
        .commit_count = 2,
        .record_at = h_record_at,
        .rows = load_records,
        .records_count = 3};
}

static void replica_keep(void *user, const Pawl__Replica *replica)
{
    Pawl__Replica *kept = user;
    *kept = *replica;
}

static void test_load_when_open_knows_what_the_store_knew(void **state)
{
    struct harness *h = *state;
    struct chunk_load load = load_make();
    Pawl__Replica replica = {0};
    assert_int_equal(chunk_core_load(h->core[0], &load), 0);
    chunk_core_validate(h->core[0]);
    chunk_core_visit(h->core[0], true, replica_keep, &replica);
    assert_int_equal(replica.handle, 5);
    assert_int_equal(replica.version, 4);
    assert_int_equal(replica.count, 3);
    assert_int_equal(replica.length, 60);
    assert_int_equal(replica.commit_count, 2);
    assert_false(replica.sealed || replica.primary || replica.damaged || replica.full);
}

static void test_load_when_sealed_is_all_committed_and_not_in_the_short_inventory(void **state)
{
    struct harness *h = *state;
    struct chunk_load load = load_make();
    Pawl__Replica replica = {0};
    load.sealed = true;
    assert_int_equal(chunk_core_load(h->core[0], &load), 0);
    chunk_core_visit(h->core[0], true, replica_keep, &replica);
    assert_int_equal(replica.handle, 0);
    chunk_core_visit(h->core[0], false, replica_keep, &replica);
    assert_int_equal(replica.commit_count, 3);
    assert_true(replica.sealed);
}

static void test_load_when_it_contradicts_itself_is_refused(void **state)
{
    struct harness *h = *state;
    struct wire_producer twice[2] = {{.producer_lo = 8}, {.producer_lo = 8}};
    struct pawl_record records[3];
    struct chunk_load load = load_make();
    load.rows = records;
    memcpy(records, load_records, sizeof(records));
    records[1].offset = 11;
    assert_int_equal(chunk_core_load(h->core[0], &load), PAWL_EFORMAT);
    memcpy(records, load_records, sizeof(records));
    records[2].id.sequence = 3;
    assert_int_equal(chunk_core_load(h->core[0], &load), PAWL_EFORMAT);
    memcpy(records, load_records, sizeof(records));
    records[2].version = 5; // newer than the promise
    assert_int_equal(chunk_core_load(h->core[0], &load), PAWL_EFORMAT);
    memcpy(records, load_records, sizeof(records));
    records[2].version = 1;
    records[1].version = 2;
    assert_int_equal(chunk_core_load(h->core[0], &load), PAWL_EFORMAT);
    memcpy(records, load_records, sizeof(records));
    load.create.chunk_bytes = 59;
    assert_int_equal(chunk_core_load(h->core[0], &load), PAWL_EFORMAT);
    load = load_make();
    load.create.handle = 0;
    assert_int_equal(chunk_core_load(h->core[0], &load), PAWL_EFORMAT);
    load = load_make();
    load.version = 0;
    assert_int_equal(chunk_core_load(h->core[0], &load), PAWL_EFORMAT);
    load = load_make();
    load.create.producers = twice;
    load.create.producers_count = 2;
    assert_int_equal(chunk_core_load(h->core[0], &load), PAWL_EFORMAT);
    load = load_make();
    assert_int_equal(chunk_core_load(h->core[0], &load), 0);
    assert_int_equal(chunk_core_load(h->core[0], &load), PAWL_EFORMAT); // twice
}

static void test_load_when_it_salvages_keeps_what_is_sound_and_is_damaged(void **state)
{
    struct harness *h = *state;
    struct wire_producer twice[2] = {{.producer_lo = 8}, {.producer_lo = 8}};
    struct pawl_record records[3];
    struct chunk_load load = load_make();
    Pawl__Replica replica = {0};
    memcpy(records, load_records, sizeof(records));
    load.rows = records;
    load.commit_count = 3;
    load.salvages = true;
    load.create.producers = twice;
    load.create.producers_count = 2;
    assert_int_equal(chunk_core_load(h->core[0], &load), PAWL_EFORMAT); // nothing is sound
    load.create.producers_count = 0;
    records[2].version = 5; // newer than the promise
    assert_int_equal(chunk_core_load(h->core[0], &load), 0);
    chunk_core_validate(h->core[0]);
    chunk_core_visit(h->core[0], true, replica_keep, &replica);
    assert_true(replica.damaged);
    assert_int_equal(replica.version, 4);
    assert_int_equal(replica.count, 2);
    assert_int_equal(replica.length, 30);
    assert_int_equal(replica.commit_count, 2);
    load.create.handle = 6;
    load.sealed = true;
    records[0].offset = 1;
    assert_int_equal(chunk_core_load(h->core[0], &load), 0);
    chunk_core_validate(h->core[0]);
    chunk_core_visit(h->core[0], false, replica_keep, &replica);
}

static void test_load_when_committed_records_are_missing_is_damaged(void **state)
{
    struct harness *h = *state;
    struct chunk_load load = load_make();
    Pawl__Replica replica = {0};
    load.commit_count = 4;
    assert_int_equal(chunk_core_load(h->core[0], &load), 0);
    chunk_core_validate(h->core[0]);
    chunk_core_visit(h->core[0], true, replica_keep, &replica);
    assert_true(replica.damaged);
    assert_int_equal(replica.commit_count, 3);
}

static void test_visit_when_chunk_is_not_durable_or_dropped_leaves_it_out(void **state)
{
    struct harness *h = *state;
    Pawl__Replica replica = {0};
    h->hold_store[0] = true;
    h_open(h, 0, 1, NULL, 0);
    chunk_core_visit(h->core[0], false, replica_keep, &replica);
    assert_int_equal(replica.handle, 0);
    h->hold_store[0] = false;
    h_run(h);
    chunk_core_visit(h->core[0], false, replica_keep, &replica);
    assert_int_equal(replica.handle, H_CHUNK);
    h_expect(h, h_grant(h, 0, 1, 0, 1), 0);
    h->hold_store[0] = true;
    h_fence(h, 0, 2); // a promise that is not durable is not told
    chunk_core_visit(h->core[0], false, replica_keep, &replica);
    assert_int_equal(replica.version, 1);
    h_drop(h, 0, 2);
    replica.handle = 0;
    chunk_core_visit(h->core[0], false, replica_keep, &replica);
    assert_int_equal(replica.handle, 0);
    h->hold_store[0] = false;
    h_run(h);
}

static void test_persisted_when_token_is_unknown_or_used_is_ignored(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h->hold_store[0] = true;
    uint64_t a = h_append(h, 0, 1, 1);
    uint64_t token = h->store[0][h->store_head[0] % H_QUEUE].token;
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, a, 0);
    struct chunk_event event = {.type = CHUNK_EVENT_PERSISTED, .token = token};
    h_step(h, 0, &event);
    event.token = 0;
    h_step(h, 0, &event);
    event.token = UINT64_MAX;
    h_step(h, 0, &event);
    event.type = CHUNK_EVENT_FETCHED;
    h_step(h, 0, &event);
    assert_int_equal(h_inspect(h, 0).count, 1);
}

// ---- memory that runs out --------------------------------------------------------------------

// A life with everything in it; stops where memory runs out.
static void life(struct harness *h)
{
    struct wire_producer rows[20] = {{0}};
    for (uint32_t i = 0; i < 20; i++) {
        rows[i].producer_lo = i + 1;
    }
    h_open(h, 0, 1, rows, 10);
    h_open(h, 0, 2, rows, 20);
    h_open(h, 1, 2, rows, 20);
    h_grant(h, 0, 2, 0, 2);
    struct h_append append = {.version = 2};
    for (uint64_t i = 1; i <= 40; i++) {
        append.sequence = i;
        append.producer = 30;
        h_append_send(h, 0, &append);
        h_append_send(h, 0, &append);
        append.sequence = 1;
        append.producer = 40 + i;
        h_append_send(h, 0, &append);
    }
    h->fail_peer[1] = PAWL_EDISCONNECTED;
    append.sequence = 2;
    h_append_send(h, 0, &append);
    h->fail_peer[1] = 0;
    h_tick_all(h, 600);
    h_fence(h, 0, 3);
    h_fence(h, 1, 3);
    h_level(h, 1, 3, 81, 0);
    h_seal(h, 1, 3, 80, 8000);
    h_drop(h, 0, 3);
}

static void test_step_when_memory_runs_out_says_so_and_leaks_nothing(void **state)
{
    (void)state;
    bool has_ended = false;
    for (uint64_t n = 0; !has_ended; n += n < 150 ? 1 : 7) {
        void *own;
        uint64_t left = n;
        struct pawl_alloc alloc = scarce_allocator(&left);
        h_setup(&own);
        struct harness *h = own;
        for (uint32_t s = 0; s < H_SERVERS; s++) {
            chunk_core_free(h->core[s]);
            h->core[s] = NULL;
        }
        h->alloc = &alloc;
        for (uint32_t s = 0; s < H_SERVERS && h->rc == 0; s++) {
            h_start(h, s);
        }
        if (h->rc == 0) {
            life(h);
        }
        has_ended = h->rc == 0;
        assert_true(h->rc == 0 || h->rc == -ENOMEM);
        assert_true(!has_ended || h->disk[1].sealed);
        h_teardown(&own);
        assert_true(n < 5000);
    }
}

// ---- soak ------------------------------------------------------------------------------------

#define SOAK_PRODUCERS 3u
#define SOAK_SEQUENCES 400u

struct soak {
    struct harness *h;
    struct pawl_random random;
    uint64_t version; // highest that was sent anywhere
    uint64_t granted; // the one that has a primary
    uint64_t granted_count;
    uint32_t primary;
    uint64_t acked[SOAK_PRODUCERS][SOAK_SEQUENCES]; // offset + 1
    uint64_t last_acked[SOAK_PRODUCERS];
    struct {
        uint64_t request;
        uint32_t producer;
        uint64_t sequence;
    } asked[H_REQUESTS];
    uint32_t asked_count;
    uint32_t asked_seen;
};

// What clients were told stays true: the same id, the same offset, for ever.
static void soak_note(struct soak *soak)
{
    for (uint32_t i = soak->asked_seen; i < soak->asked_count; i++) {
        uint64_t request = soak->asked[i].request;
        const struct h_request *r = &soak->h->requests[request];
        if (r->answers_count == 0 || r->status != 0) {
            continue;
        }
        uint64_t *place = &soak->acked[soak->asked[i].producer][soak->asked[i].sequence];
        uint64_t offset = r->reply.appended.file_offset;
        assert_true(*place == 0 || *place == offset + 1);
        *place = offset + 1;
        soak->last_acked[soak->asked[i].producer] =
            PAWL_MAX(soak->last_acked[soak->asked[i].producer], soak->asked[i].sequence);
    }
}

static void soak_append(struct soak *soak)
{
    uint32_t producer = (uint32_t)pawl_random_below(&soak->random, SOAK_PRODUCERS);
    uint64_t last = soak->last_acked[producer];
    uint64_t sequence = pawl_random_chance(&soak->random, 2, 10) && last > 0
                            ? 1 + pawl_random_below(&soak->random, last)
                            : last + 1 + pawl_random_below(&soak->random, 3);
    if (sequence >= SOAK_SEQUENCES) {
        return;
    }
    struct h_append append = {
        .producer = producer + 1, .sequence = sequence, .version = soak->granted};
    uint32_t server = (uint32_t)pawl_random_below(&soak->random, H_SERVERS);
    append.version -= pawl_random_chance(&soak->random, 1, 10) && append.version > 1;
    if (soak->h->core[server]) {
        uint64_t request = h_append_send(soak->h, server, &append);
        soak->asked[soak->asked_count].request = request;
        soak->asked[soak->asked_count].producer = producer;
        soak->asked[soak->asked_count++].sequence = sequence;
    }
}

// Ends one store operation: of records under way any one, as the store may.
static void soak_store(struct soak *soak, uint32_t s)
{
    struct harness *h = soak->h;
    uint32_t count = h->store_tail[s] - h->store_head[s];
    uint32_t records_count = 0;
    while (records_count < count &&
           h->store[s][(h->store_head[s] + records_count) % H_QUEUE].type == CHUNK_ACTION_APPEND) {
        records_count++;
    }
    if (h->core[s] && count > 0) {
        uint64_t skip = records_count ? pawl_random_below(&soak->random, records_count) : 0;
        h_store_end(h, s, (uint32_t)skip, 0);
        h_run(h);
    }
}

static void soak_fault(struct soak *soak)
{
    struct harness *h = soak->h;
    uint32_t s = (uint32_t)pawl_random_below(&soak->random, H_SERVERS);
    switch (pawl_random_below(&soak->random, 12)) {
    case 0:
        h->hold_store[s] = true;
        break;
    case 1:
        h->hold_net[s] = true;
        break;
    case 2:
        h->hold_store[s] = false;
        h_run(h);
        break;
    case 3:
        h->hold_net[s] = false;
        h_run(h);
        break;
    case 4:
        h_tick_all(h, (uint32_t)pawl_random_below(&soak->random, 300));
        break;
    case 5:
    case 6:
        soak_store(soak, s);
        break;
    case 7:
        h->corrupt[s] = pawl_random_chance(&soak->random, 5, 10);
        break;
    case 8:
        if (h->core[s]) { // an old command comes late
            h_fence(h, s, soak->version - pawl_random_below(&soak->random, 2));
        }
        break;
    case 9:
        if (h->core[s] && pawl_random_chance(&soak->random, 3, 10)) {
            h_crash(h, s);
        }
        break;
    case 10: // a member is fenced by a newer master's recovery that does not get far
        if (h->core[s] && pawl_random_chance(&soak->random, 2, 10)) {
            h_fence(h, s, ++soak->version);
        }
        break;
    default: // the grant comes again, perhaps after a restart
        if (h->core[soak->primary]) {
            h_grant(h, soak->primary, soak->granted, soak->granted_count, 3);
        }
    }
    soak_note(soak);
}

// Faults off; all members are fenced, levelled, and one is granted.
static void soak_recover(struct soak *soak)
{
    struct harness *h = soak->h;
    uint64_t fences[H_SERVERS];
    uint64_t count = 0;
    uint64_t committed = 0;
    uint32_t longest = 0;
    for (uint32_t s = 0; s < H_SERVERS; s++) {
        h->hold_net[s] = false;
        h->hold_store[s] = false;
        h->corrupt[s] = 0;
        if (!h->core[s]) {
            h_start(h, s);
            assert_int_equal(h->rc, 0);
        }
    }
    h_run(h);
    soak->version++;
    for (uint32_t s = 0; s < H_SERVERS; s++) {
        fences[s] = h_fence(h, s, soak->version);
        h_expect(h, fences[s], 0);
        const Pawl__Fenced *fenced = &h->requests[fences[s]].fenced;
        committed = PAWL_MAX(committed, fenced->commit_count);
        if (fenced->count > count) {
            count = fenced->count;
            longest = s;
        }
    }
    assert_true(count >= committed);
    for (uint32_t s = 0; s < H_SERVERS; s++) {
        if (h->requests[fences[s]].fenced.count < count) {
            h_expect(h, h_level(h, s, soak->version, count, longest), 0);
        }
    }
    soak->primary = (uint32_t)pawl_random_below(&soak->random, H_SERVERS);
    soak->granted = soak->version;
    soak->granted_count = count;
    h_expect(h, h_grant(h, soak->primary, soak->version, count, 3), 0);
    soak_note(soak);
    soak->asked_seen = soak->asked_count;
}

// The replicas are equal, hold every acknowledged record once at its place, and no gap.
static void soak_check(struct soak *soak)
{
    const struct h_disk *disk = soak->h->disk;
    uint64_t next[SOAK_PRODUCERS] = {0};
    for (uint64_t i = 0; i < disk[0].records_count; i++) {
        const struct pawl_record *r = &disk[0].records[i];
        for (uint32_t s = 1; s < H_SERVERS; s++) {
            const struct pawl_record *other = &disk[s].records[i];
            assert_true(i < disk[s].records_count);
            assert_memory_equal(&r->id, &other->id, sizeof(r->id));
            assert_true(r->offset == other->offset && r->crc == other->crc);
        }
        uint64_t producer = r->id.producer_lo - 1;
        assert_true(r->id.sequence == ++next[producer]);
        uint64_t acked = soak->acked[producer][r->id.sequence];
        assert_true(acked == 0 || acked == H_BASE + r->offset + 1);
    }
    for (uint32_t p = 0; p < SOAK_PRODUCERS; p++) {
        assert_true(soak->last_acked[p] <= next[p]);
    }
}

static void soak_run(uint64_t seed, uint64_t *acked)
{
    void *own;
    h_setup(&own);
    struct soak *soak = calloc(1, sizeof(*soak));
    soak->h = own;
    soak->version = 1;
    pawl_random_seed(&soak->random, seed);
    for (uint32_t s = 0; s < H_SERVERS; s++) {
        h_expect(soak->h, h_open(soak->h, s, 1, NULL, 0), 0);
    }
    for (uint32_t round = 0; round < 6; round++) {
        soak_recover(soak);
        soak_check(soak);
        for (uint32_t i = 0; i < 60; i++) {
            if (pawl_random_chance(&soak->random, 6, 10)) {
                soak_append(soak);
            } else {
                soak_fault(soak);
            }
        }
    }
    soak_recover(soak);
    soak_check(soak);
    for (uint32_t p = 0; p < SOAK_PRODUCERS; p++) {
        *acked += soak->last_acked[p];
    }
    h_teardown(&own);
    free(soak);
}

static void test_soak_when_servers_fail_keeps_every_acknowledged_record_once(void **state)
{
    (void)state;
    const char *only = getenv("PAWL_SOAK_SEED");
    const char *seeds = getenv("PAWL_SOAK_SEEDS");
    uint64_t first = only ? strtoull(only, NULL, 10) : 1;
    uint64_t count = only ? 1 : seeds ? strtoull(seeds, NULL, 10) : 25;
    uint64_t acked = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        print_message("soak seed %llu\n", (unsigned long long)seed);
        soak_run(seed, &acked);
    }
    assert_true(acked > count * 5); // else nothing was tried
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_load_when_open_knows_what_the_store_knew),
        TEST(test_load_when_sealed_is_all_committed_and_not_in_the_short_inventory),
        TEST(test_load_when_it_contradicts_itself_is_refused),
        TEST(test_load_when_it_salvages_keeps_what_is_sound_and_is_damaged),
        TEST(test_load_when_committed_records_are_missing_is_damaged),
        TEST(test_visit_when_chunk_is_not_durable_or_dropped_leaves_it_out),
        TEST(test_persisted_when_token_is_unknown_or_used_is_ignored),
        cmocka_unit_test(test_step_when_memory_runs_out_says_so_and_leaks_nothing),
        cmocka_unit_test(test_soak_when_servers_fail_keeps_every_acknowledged_record_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
