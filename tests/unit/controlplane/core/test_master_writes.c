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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
