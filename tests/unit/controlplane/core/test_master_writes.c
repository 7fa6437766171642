// SPDX-License-Identifier: Apache-2.0
// Tests of write logs and extensions: who may hold a log's chunk, who counts, what raises the version.
#include "master_harness.h"

static struct world world;

// A file whose first chunk is sealed with `count` records; returns the chunk's handle.
static uint64_t sealed_chunk(uint64_t *ret_file, uint32_t min_replicas)
{
    *ret_file = world_create(&world, "/f", 3, min_replicas);
    const Pawl__Chunk *chunk = world_granted(&world, *ret_file, 1000);
    uint64_t handle = chunk->handle;
    uint64_t version = chunk->version;
    assert_true(world_append(&world, handle, 3));
    world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_FULL, handle,
                 version, 0);
    assert_int_equal(world_chunk(&world, handle)->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    return handle;
}

static const Pawl__Reply *open_log(uint64_t file, uint64_t handle)
{
    Pawl__OpenWriteLog open = PAWL__OPEN_WRITE_LOG__INIT;
    open.file_id = file;
    open.handle = handle;
    return world_call(&world, WORLD_BODY(OPEN_WRITE_LOG), &open);
}

static uint64_t log_of(uint64_t file, uint64_t handle)
{
    const Pawl__Reply *reply = open_log(file, handle);
    assert_int_equal(reply->code, 0);
    return reply->write_log->file_id;
}

static int extend(uint64_t file, uint64_t bytes)
{
    Pawl__Extend body = PAWL__EXTEND__INIT;
    body.file_id = file;
    body.bytes = bytes;
    return world_call(&world, WORLD_BODY(EXTEND), &body)->code;
}

static void test_log_when_opened_twice_is_the_same_and_survives(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file;
    uint64_t handle = sealed_chunk(&file, 2);
    uint64_t log = log_of(file, handle);
    assert_int_equal(log_of(file, handle), log);
    assert_int_equal(open_log(file, handle + 1)->code, PAWL_EBUSY); // the open tail
    assert_int_equal(open_log(file, handle + 9)->code, PAWL_ENOCHUNK);
    assert_true(world_granted(&world, log, 1000)->handle > handle);
    world_master_restart(&world);
    assert_int_equal(log_of(file, handle), log);
    world_fini(&world); // compares dump, dump of the dump, and replay
}

static void test_log_when_granted_raises_the_version_once(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file;
    uint64_t handle = sealed_chunk(&file, 2);
    uint64_t log = log_of(file, handle);
    uint64_t version = world_chunk(&world, handle)->version;
    assert_int_equal(world_chunk(&world, handle)->log_chunks, 0);
    world_granted(&world, log, 1000);
    const Pawl__Chunk *chunk = world_chunk(&world, handle);
    assert_int_equal(chunk->version, version + 1);
    assert_int_equal(chunk->log_chunks, 1);
    assert_int_equal(chunk->log_bytes, 0); // open: its primary alone knows
    assert_true(chunk->log_primary_id != 0);
    assert_false(chunk->log_under_replicated);
    world_fini(&world);
}

static void test_log_when_a_member_is_lost_goes_on_without_it_and_it_is_not_listed(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t file;
    uint64_t handle = sealed_chunk(&file, 2);
    const Pawl__Chunk *chunk = world_chunk(&world, handle);
    uint64_t holders[3];
    assert_int_equal(chunk->n_replicas, 3);
    for (size_t i = 0; i < 3; i++) {
        holders[i] = chunk->replicas[i]->server_id;
    }
    uint64_t log = log_of(file, handle);
    chunk = world_granted(&world, log, 1000);
    for (size_t i = 0; i < chunk->n_replicas; i++) { // only where the chunk is
        uint64_t id = chunk->replicas[i]->server_id;
        assert_true(id == holders[0] || id == holders[1] || id == holders[2]);
    }
    assert_int_equal(chunk->n_replicas, 3);
    uint64_t first = chunk->handle;
    assert_true(world_append(&world, first, 2));
    uint32_t lost = 1;
    while (world_server(&world, lost)->id != holders[1]) {
        lost++;
    }
    world_server_kill(&world, lost);
    chunk = world_granted(&world, log, 3000);
    assert_true(chunk->handle != first);
    assert_int_equal(chunk->n_replicas, 2); // not the fourth server, which lacks the chunk
    world_server_start(&world, lost);
    world_advance(&world, 500);
    uint64_t bytes = world_chunk(&world, first)->length;
    chunk = world_chunk(&world, handle);
    assert_int_equal(chunk->n_replicas, 2);
    assert_true(chunk->under_replicated);
    assert_int_equal(chunk->log_chunks, 2);
    assert_true(bytes > 0);
    assert_int_equal(chunk->log_bytes, bytes);
    assert_true(chunk->log_under_replicated);
    for (size_t i = 0; i < 2; i++) {
        assert_true(chunk->replicas[i]->server_id != holders[1]);
    }
    world_fini(&world);
}

// The set of the log's next chunk is chosen when the one before is sealed: while copies are still to be made.
static void test_log_when_copies_were_made_since_its_set_was_chosen_opens_on_them_too(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t file;
    uint64_t handle = sealed_chunk(&file, 2);
    uint64_t log = log_of(file, handle);
    uint64_t first = world_granted(&world, log, 1000)->handle;
    assert_true(world_append(&world, first, 2));
    uint64_t holder = world_chunk(&world, first)->replicas[0]->server_id;
    uint32_t lost = 1;
    while (world_server(&world, lost)->id != holder) {
        lost++;
    }
    world_server_kill(&world, lost);
    world_advance(&world, 20000);
    const Pawl__Chunk *chunk = world_chunk(&world, handle);
    assert_int_equal(chunk->n_replicas, 3);
    assert_false(chunk->under_replicated);
    assert_false(chunk->log_under_replicated);
    chunk = world_granted(&world, log, 3000);
    assert_true(chunk->handle != first);
    assert_int_equal(chunk->n_replicas, 3);
    assert_true(world_append(&world, chunk->handle, 1));
    world_advance(&world, 1000);
    chunk = world_chunk(&world, handle);
    assert_int_equal(chunk->n_replicas, 3);
    assert_false(chunk->under_replicated);
    assert_false(chunk->log_under_replicated);
    world_fini(&world);
}

static void test_log_when_too_few_are_current_waits_and_says_so(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t file;
    uint64_t handle = sealed_chunk(&file, 2);
    const Pawl__Chunk *chunk = world_chunk(&world, handle);
    uint32_t lost[2];
    for (uint32_t i = 0; i < 2; i++) {
        lost[i] = 1;
        while (world_server(&world, lost[i])->id != chunk->replicas[i]->server_id) {
            lost[i]++;
        }
    }
    uint64_t log = log_of(file, handle);
    world_server_kill(&world, lost[0]);
    world_server_kill(&world, lost[1]);
    assert_int_equal(world_tail(&world, log)->code, PAWL_ENOSERVERS);
    world_server_start(&world, lost[0]);
    world_granted(&world, log, 3000);
    world_fini(&world);
}

static void test_log_when_its_file_is_removed_goes_too(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file;
    uint64_t handle = sealed_chunk(&file, 2);
    uint64_t log = log_of(file, handle);
    uint64_t first = world_granted(&world, log, 1000)->handle;
    assert_int_equal(world_remove(&world, "/f", false), 0);
    assert_int_equal(world_tail(&world, log)->code, PAWL_EDELETED);
    world_advance(&world, 500);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_false(world_server(&world, i)->replicas[first].exists);
        assert_false(world_server(&world, i)->replicas[handle].exists);
    }
    world_fini(&world);
}

static void test_extend_when_repeated_adds_what_is_missing(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file;
    sealed_chunk(&file, 2);
    uint64_t wanted = 300 + 2 * (UINT64_C(64) << 20) + 5;
    int code = PAWL_EBUSY;
    for (int i = 0; code == PAWL_EBUSY && i < 100; i++) {
        code = extend(file, wanted);
        world_advance(&world, 50);
    }
    assert_int_equal(code, 0);
    assert_int_equal(extend(file, wanted), 0);
    assert_int_equal(extend(file, wanted - 1), 0);
    assert_int_equal(extend(file, UINT64_MAX), PAWL_ELIMIT);
    Pawl__Stat stat = PAWL__STAT__INIT;
    stat.path = (char *)"/f";
    const Pawl__Reply *reply = world_call(&world, WORLD_BODY(STAT), &stat);
    assert_int_equal(reply->file->sealed_bytes, wanted);
    assert_int_equal(world_granted(&world, file, 1000)->base_offset, wanted); // appends go on there
    world_fini(&world);
}

// ---- writes and healing --------------------------------------------------------------------------

#define DEAD_MS 3000
#define SURPLUS_MS 10000
#define HEAL_PAUSE_MS 30000

static struct fake_replica *held(uint32_t i, uint64_t handle)
{
    return &world_server(&world, i)->replicas[handle];
}

static bool is_whole_on(uint32_t i, uint64_t handle)
{
    return held(i, handle)->exists && held(i, handle)->sealed && !held(i, handle)->damaged;
}

static uint32_t commands_count(Pawl__Request__BodyCase body_case, uint64_t handle)
{
    uint32_t count = 0;
    for (const struct world_command *c = world.commands; c; c = c->next) {
        // All commands begin with term, handle.
        count += c->request->body_case == body_case && c->request->fence->handle == handle;
    }
    return count;
}

static bool is_listed(const Pawl__Chunk *chunk, uint32_t i)
{
    for (size_t r = 0; r < chunk->n_replicas; r++) {
        if (chunk->replicas[r]->server_id == world_server(&world, i)->id) {
            return true;
        }
    }
    return false;
}

// A written chunk on servers 1 to 3 of `servers`, the others down; its log's first chunk has two records.
struct written {
    uint64_t file;
    uint64_t handle;
    uint64_t log;
    uint64_t first;
};

static struct written written_chunk(uint32_t servers)
{
    struct written w;
    world_init(&world, servers);
    for (uint32_t i = 4; i <= servers; i++) {
        world_server_kill(&world, i);
    }
    w.handle = sealed_chunk(&w.file, 2);
    w.log = log_of(w.file, w.handle);
    w.first = world_granted(&world, w.log, 1000)->handle;
    assert_true(world_append(&world, w.first, 2));
    return w;
}

static void test_log_when_its_chunk_is_full_waits_for_a_writer(void **state)
{
    (void)state;
    struct written w = written_chunk(3);
    world_report(&world, world_primary(&world, w.first), PAWL__REPORT_KIND__REPORT_FULL, w.first,
                 world_chunk(&world, w.first)->version, 0);
    world_advance(&world, 1000);
    assert_int_equal(world_chunk(&world, w.first)->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_false(held(1, w.first + 1)->exists);
    assert_int_equal(world_chunk(&world, w.handle)->log_chunks, 1);
    assert_int_equal(world_granted(&world, w.log, 1000)->handle, w.first + 1);
    assert_int_equal(world_chunk(&world, w.handle)->log_chunks, 2);
    world_fini(&world);
}

// The log is sealed, the chunk copied, then its log, and the next one opens on what is current then: not
// on what was current when its set was first chosen.
static void test_heal_when_written_seals_copies_and_opens_on_all(void **state)
{
    (void)state;
    struct written w = written_chunk(4);
    uint64_t version = world_chunk(&world, w.handle)->version;
    world_server_kill(&world, 3);
    world_server_start(&world, 4);
    world_advance(&world, DEAD_MS + 3000);
    assert_int_equal(world_chunk(&world, w.first)->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_true(is_whole_on(4, w.handle) && is_whole_on(4, w.first));
    assert_int_equal(held(4, w.first)->written_handle, w.handle);
    assert_false(world_chunk(&world, w.handle)->under_replicated);
    assert_int_equal(world_chunk(&world, w.handle)->version, version);
    const Pawl__Chunk *chunk = world_granted(&world, w.log, 1000);
    uint64_t second = chunk->handle;
    assert_int_equal(chunk->n_replicas, 3);
    assert_true(is_listed(chunk, 4));
    assert_int_equal(world_chunk(&world, w.handle)->version, version + 1);
    assert_true(world_append(&world, second, 1));
    world_advance(&world, 2 * HEAL_PAUSE_MS); // there is an end to it
    assert_int_equal(world_granted(&world, w.log, 1000)->handle, second);
    world_fini(&world);
}

static void test_heal_when_a_part_of_a_log_is_short_waits_for_the_chunk(void **state)
{
    (void)state;
    struct written w = written_chunk(5);
    world_server_kill(&world, 3);
    uint64_t second = world_granted(&world, w.log, 3000)->handle; // the first one is sealed
    assert_true(world_append(&world, second, 1));
    world_server_start(&world, 4);
    world_server_start(&world, 5);
    world_report(&world, world_primary(&world, second), PAWL__REPORT_KIND__REPORT_FULL, second,
                 world_chunk(&world, second)->version, 0);
    world_advance(&world, DEAD_MS - 1000);
    world.hold = true;
    world_advance(&world, 1500);
    assert_int_equal(commands_count(WORLD_BODY(COPY), w.handle), 1);
    assert_int_equal(commands_count(WORLD_BODY(COPY), w.first), 0);
    world.hold = false;
    world_pump(&world);
    world_advance(&world, 1000);
    uint32_t target = held(4, w.handle)->exists ? 4 : 5;
    assert_true(is_whole_on(target, w.handle) && is_whole_on(target, w.first));
    assert_false(held(9 - target, w.first)->exists);
    world_fini(&world);
}

static void test_log_when_a_copy_is_under_way_is_not_opened(void **state)
{
    (void)state;
    struct written w = written_chunk(4);
    world_report(&world, world_primary(&world, w.first), PAWL__REPORT_KIND__REPORT_FULL, w.first,
                 world_chunk(&world, w.first)->version, 0);
    world_server_kill(&world, 3);
    world_server_start(&world, 4);
    world_advance(&world, DEAD_MS - 500);
    world.hold = true;
    world_advance(&world, 1000);
    assert_int_equal(commands_count(WORLD_BODY(COPY), w.handle), 1);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(world_tail(&world, w.log)->code, PAWL_EBUSY);
        world_advance(&world, 20);
    }
    assert_int_equal(commands_count(WORLD_BODY(OPEN), w.first + 1), 0);
    world.hold = false;
    world_pump(&world);
    assert_int_equal(world_granted(&world, w.log, 1000)->n_replicas, 3);
    assert_true(is_whole_on(4, w.handle) && is_whole_on(4, w.first));
    world_fini(&world);
}

// An empty chunk of a log is sealed for a copy, and only for that; not again within 30 s.
static void test_heal_when_the_log_is_open_pauses_it_now_and_then(void **state)
{
    (void)state;
    world_init(&world, 5);
    world_server_kill(&world, 4);
    world_server_kill(&world, 5);
    uint64_t file;
    uint64_t handle = sealed_chunk(&file, 2);
    uint64_t log = log_of(file, handle);
    world_server_kill(&world, 3);
    world_advance(&world, 2 * DEAD_MS);
    uint64_t first = world_granted(&world, log, 1000)->handle;
    world_advance(&world, 2000);
    assert_int_equal(world_chunk(&world, first)->state, PAWL__CHUNK_STATE__CHUNK_OPEN);
    world_server_start(&world, 4);
    world_advance(&world, 1000);
    assert_int_equal(world_chunk(&world, first)->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_int_equal(world_chunk(&world, first)->count, 0);
    assert_true(is_whole_on(4, handle) && is_whole_on(4, first));
    const Pawl__Chunk *chunk = world_granted(&world, log, 1000);
    uint64_t second = chunk->handle;
    assert_int_equal(chunk->n_replicas, 3);
    world_server_kill(&world, 4);
    uint64_t third = world_granted(&world, log, 3000)->handle;
    assert_true(third != second);
    world_server_start(&world, 5);
    world_advance(&world, HEAL_PAUSE_MS - 10000);
    assert_int_equal(world_chunk(&world, third)->state, PAWL__CHUNK_STATE__CHUNK_OPEN);
    assert_false(held(5, handle)->exists);
    world_advance(&world, 11000);
    assert_int_equal(world_chunk(&world, third)->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_true(is_whole_on(5, handle) && is_whole_on(5, third));
    world_fini(&world);
}

// A part of the log that has lost its chunk is of no use there, but whole: a source, while it is needed.
static void test_heal_when_a_part_is_left_alone_copies_from_it_then_drops_it(void **state)
{
    (void)state;
    struct written w = written_chunk(5);
    world_server_start(&world, 4);
    world_server_start(&world, 5);
    world_server_kill(&world, 2);
    world_granted(&world, w.log, 3000);
    held(1, w.handle)->damaged = true;
    held(3, w.first)->damaged = true;
    world_report(&world, 1, PAWL__REPORT_KIND__REPORT_DAMAGED, w.handle, 0, 0);
    world_report(&world, 3, PAWL__REPORT_KIND__REPORT_DAMAGED, w.first, 0, 0);
    world_advance(&world, HEAL_PAUSE_MS);
    for (uint32_t i = 3; i <= 5; i++) {
        assert_true(is_whole_on(i, w.handle) && is_whole_on(i, w.first));
        assert_int_equal(held(i, w.first)->count, 2);
    }
    assert_false(held(1, w.handle)->exists);
    assert_false(held(1, w.first)->exists);
    assert_false(world_chunk(&world, w.handle)->under_replicated);
    world_fini(&world);
}

static void test_surplus_when_a_replica_lacks_a_part_of_the_log_is_that(void **state)
{
    (void)state;
    struct written w = written_chunk(4);
    world_server_kill(&world, 3);
    uint64_t second = world_granted(&world, w.log, 3000)->handle;
    assert_true(world_append(&world, second, 1));
    world_server_start(&world, 4);
    world_advance(&world, 2 * DEAD_MS);
    assert_true(is_whole_on(4, w.handle) && is_whole_on(4, second));
    world_server_start(&world, 3); // it has the chunk, and not what was written since
    world_advance(&world, SURPLUS_MS - 1000);
    assert_true(is_whole_on(3, w.handle));
    world_advance(&world, 2000);
    assert_false(held(3, w.handle)->exists);
    world_advance(&world, 1000);
    assert_false(held(3, w.first)->exists);
    const Pawl__Chunk *chunk = world_chunk(&world, w.handle);
    assert_int_equal(chunk->n_replicas, 3);
    assert_false(chunk->under_replicated);
    world_fini(&world);
}

static uint64_t copies_count(void)
{
    uint64_t count = 0;
    for (uint32_t i = 1; i <= world.servers_count; i++) {
        count += world_server(&world, i)->copies_count;
    }
    return count;
}

// Four hold all of it; three of them take writes. Returns the fourth.
static uint32_t written_on_four(struct written *ret)
{
    *ret = written_chunk(4);
    world_report(&world, world_primary(&world, ret->first), PAWL__REPORT_KIND__REPORT_FULL,
                 ret->first, world_chunk(&world, ret->first)->version, 0);
    world_server_kill(&world, 3);
    world_server_start(&world, 4);
    world_advance(&world, 2 * DEAD_MS);
    world_server_start(&world, 3);
    world_advance(&world, 500);
    const Pawl__Chunk *chunk = world_granted(&world, ret->log, 1000);
    assert_int_equal(chunk->n_replicas, 3);
    uint32_t other = 1;
    while (is_listed(chunk, other)) {
        other++;
    }
    assert_true(is_whole_on(other, ret->handle) && is_whole_on(other, ret->first));
    return other;
}

static void test_surplus_when_the_log_is_open_is_who_takes_no_writes(void **state)
{
    (void)state;
    struct written w;
    uint32_t other = written_on_four(&w);
    uint64_t copies = copies_count();
    world_advance(&world, SURPLUS_MS + 2000);
    for (uint32_t i = 1; i <= 4; i++) {
        assert_int_equal(held(i, w.handle)->exists, i != other);
        assert_int_equal(held(i, w.first)->exists, i != other);
    }
    assert_int_equal(copies_count(), copies);
    world_fini(&world);
}

// One that takes writes has lost a part of the log. It stays, and gets it back.
static void test_surplus_when_a_member_lacks_a_part_spares_it(void **state)
{
    (void)state;
    struct written w;
    uint32_t other = written_on_four(&w);
    for (uint32_t i = 1; i <= 4; i++) { // two of the three
        if (i != other && i != 1 + other % 4) {
            held(i, w.first)->damaged = true;
            world_report(&world, i, PAWL__REPORT_KIND__REPORT_DAMAGED, w.first, 0, 0);
        }
    }
    world_server(&world, 1)->refuse_copies = world_server(&world, 2)->refuse_copies = PAWL_EBUSY;
    world_server(&world, 3)->refuse_copies = world_server(&world, 4)->refuse_copies = PAWL_EBUSY;
    world_advance(&world, SURPLUS_MS + 2000);
    for (uint32_t i = 1; i <= 4; i++) {
        assert_int_equal(held(i, w.handle)->exists, i != other);
        world_server(&world, i)->refuse_copies = 0;
    }
    world_advance(&world, SURPLUS_MS);
    for (uint32_t i = 1; i <= 4; i++) {
        assert_int_equal(is_whole_on(i, w.first), i != other);
    }
    world_fini(&world);
}

static void test_log_when_a_current_server_refuses_goes_on_without_it(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file;
    uint64_t handle = sealed_chunk(&file, 2);
    uint64_t log = log_of(file, handle);
    world_server(&world, 2)->refuse = PAWL_ENOSPACE;
    const Pawl__Chunk *chunk = world_granted(&world, log, 3000);
    assert_int_equal(chunk->n_replicas, 2);
    assert_false(is_listed(chunk, 2));
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_when_opened_twice_is_the_same_and_survives),
        cmocka_unit_test(test_log_when_granted_raises_the_version_once),
        cmocka_unit_test(test_log_when_a_member_is_lost_goes_on_without_it_and_it_is_not_listed),
        cmocka_unit_test(test_log_when_copies_were_made_since_its_set_was_chosen_opens_on_them_too),
        cmocka_unit_test(test_log_when_too_few_are_current_waits_and_says_so),
        cmocka_unit_test(test_log_when_its_file_is_removed_goes_too),
        cmocka_unit_test(test_extend_when_repeated_adds_what_is_missing),
        cmocka_unit_test(test_log_when_its_chunk_is_full_waits_for_a_writer),
        cmocka_unit_test(test_heal_when_written_seals_copies_and_opens_on_all),
        cmocka_unit_test(test_heal_when_a_part_of_a_log_is_short_waits_for_the_chunk),
        cmocka_unit_test(test_log_when_a_copy_is_under_way_is_not_opened),
        cmocka_unit_test(test_heal_when_the_log_is_open_pauses_it_now_and_then),
        cmocka_unit_test(test_heal_when_a_part_is_left_alone_copies_from_it_then_drops_it),
        cmocka_unit_test(test_surplus_when_a_replica_lacks_a_part_of_the_log_is_that),
        cmocka_unit_test(test_surplus_when_the_log_is_open_is_who_takes_no_writes),
        cmocka_unit_test(test_surplus_when_a_member_lacks_a_part_spares_it),
        cmocka_unit_test(test_log_when_a_current_server_refuses_goes_on_without_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
