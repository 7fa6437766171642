// SPDX-License-Identifier: Apache-2.0
// Tests of healing: who is copied, from where, to where, and what goes.
#include "base/util.h"
#include "controlplane/core/master_core_private.h"
#include "master_harness.h"

#define SURPLUS_MS 10000
#define DEAD_MS 3000

static struct world world;

static struct fake_replica *held(uint32_t i, uint64_t handle)
{
    return &world_server(&world, i)->replicas[handle];
}

static uint32_t whole_count(uint64_t handle, bool running_only)
{
    uint32_t count = 0;
    for (uint32_t i = 1; i <= world.servers_count; i++) {
        const struct fake_replica *replica = held(i, handle);
        count += replica->exists && replica->sealed && !replica->damaged &&
                 (!running_only || world_server(&world, i)->conn);
    }
    return count;
}

// A sealed chunk of `count` records; returns its handle.
static uint64_t sealed_chunk(uint64_t file, uint64_t count)
{
    const Pawl__Chunk *chunk = world_granted(&world, file, 1000);
    uint64_t handle = chunk->handle;
    uint64_t version = chunk->version;
    assert_true(world_append(&world, handle, count));
    world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_FULL, handle,
                 version, 0);
    assert_int_equal(world_chunk(&world, handle)->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    return handle;
}

static uint32_t holder(uint64_t handle, uint32_t skip)
{
    for (uint32_t i = 1; i <= world.servers_count; i++) {
        if (held(i, handle)->exists && skip-- == 0) {
            return i;
        }
    }
    fail_msg("no such holder");
    return 0;
}

static uint32_t stranger(uint64_t handle)
{
    for (uint32_t i = 1; i <= world.servers_count; i++) {
        if (!held(i, handle)->exists && world_server(&world, i)->conn) {
            return i;
        }
    }
    fail_msg("everybody holds it");
    return 0;
}

static void test_heal_when_the_other_server_shares_no_fabric_waits_for_one_that_does(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    uint32_t target = stranger(handle);
    world_server(&world, target)->address = "verbs://9";
    world_server_reconnect(&world, target);
    world_server_kill(&world, holder(handle, 0));
    world_advance(&world, 3 * DEAD_MS);
    assert_false(held(target, handle)->exists);
    assert_true(world_chunk(&world, handle)->under_replicated);
    world_server(&world, target)->address = "verbs://9,fake://9";
    world_server_reconnect(&world, target);
    world_advance(&world, DEAD_MS);
    assert_true(held(target, handle)->sealed);
    world_fini(&world);
}

static void test_heal_when_a_server_is_dead_copies_to_another(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    uint32_t dead = holder(handle, 0);
    uint32_t target = stranger(handle);
    world_server_kill(&world, dead);
    world_advance(&world, DEAD_MS - 500); // it may come back
    assert_false(held(target, handle)->exists);
    assert_true(world_chunk(&world, handle)->under_replicated);
    world_advance(&world, 1000);
    assert_true(held(target, handle)->sealed);
    assert_int_equal(held(target, handle)->count, 5);
    const Pawl__Chunk *chunk = world_chunk(&world, handle);
    assert_false(chunk->under_replicated);
    assert_int_equal(chunk->n_replicas, 4); // the dead one is still listed, last
    world_fini(&world);
}

static void test_heal_when_the_server_comes_back_in_time_copies_nothing(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    uint32_t dead = holder(handle, 0);
    world_server_kill(&world, dead);
    world_advance(&world, DEAD_MS - 500);
    world_server_start(&world, dead);
    world_advance(&world, 5000);
    assert_int_equal(whole_count(handle, false), 3);
    world_fini(&world);
}

static void test_heal_when_it_comes_back_late_drops_the_surplus_after_a_grace(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    uint32_t dead = holder(handle, 0);
    world_server_kill(&world, dead);
    world_advance(&world, 2 * DEAD_MS);
    world_server_start(&world, dead);
    world_advance(&world, SURPLUS_MS - 1000);
    assert_int_equal(whole_count(handle, false), 4);
    world_advance(&world, 2000);
    assert_int_equal(whole_count(handle, false), 3);
    assert_int_equal(world_chunk(&world, handle)->n_replicas, 3);
    world_advance(&world, 2 * SURPLUS_MS);
    assert_int_equal(whole_count(handle, false), 3);
    world_fini(&world);
}

// The first COPY is for the chunk with the fewest good replicas; no server has more than two.
static void test_heal_when_many_chunks_are_short_begins_with_the_most_endangered(void **state)
{
    (void)state;
    world_init(&world, 6);
    uint64_t handles[24];
    uint64_t file = world_create(&world, "/f", 3, 2);
    for (uint32_t i = 0; i < PAWL_ARRAY_COUNT(handles); i++) {
        handles[i] = sealed_chunk(file, 2);
    }
    uint32_t first = holder(handles[0], 0);
    uint32_t second = holder(handles[0], 1);
    world_server_kill(&world, first);
    world_server_kill(&world, second);
    world_advance(&world, DEAD_MS - 500);
    world.hold = true;
    world_advance(&world, 1000);
    uint32_t copies = 0;
    uint32_t to[WORLD_SERVERS + 1] = {0};
    uint32_t from[WORLD_SERVERS + 1] = {0};
    bool only_one = true;
    for (struct world_command *c = world.commands; c; c = c->next) {
        if (c->request->body_case != WORLD_BODY(COPY)) {
            continue;
        }
        bool endangered = whole_count(c->request->copy->handle, true) == 1;
        assert_true(copies > 0 || endangered);
        assert_true(only_one || !endangered); // and so on in that order
        only_one = endangered;
        copies++;
        uint32_t target = (uint32_t)(fake_of_conn(&world, c->conn) - world.servers) + 1;
        uint32_t source = (uint32_t)(c->request->copy->source->server_id - 0xc0);
        assert_true(++to[target] <= 2 && ++from[source] <= 2);
        assert_false(held(target, c->request->copy->handle)->exists);
    }
    assert_true(copies > 1);
    world.hold = false;
    world_pump(&world);
    world_advance(&world, 2000);
    for (uint32_t i = 0; i < PAWL_ARRAY_COUNT(handles); i++) {
        assert_int_equal(whole_count(handles[i], true), 3);
    }
    world_fini(&world);
}

static void test_heal_when_no_server_is_left_waits_for_one(void **state)
{
    (void)state;
    world_init(&world, 4);
    world_server_kill(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    world_server_kill(&world, 1);
    world_advance(&world, 20000);
    assert_int_equal(whole_count(handle, true), 2);
    world_server_start(&world, 4);
    world_advance(&world, 200);
    assert_int_equal(whole_count(handle, true), 3);
    world_fini(&world);
}

static void test_heal_when_all_good_ones_are_gone_drops_nothing(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    uint32_t bad = holder(handle, 0);
    world_server_kill(&world, holder(handle, 1));
    world_server_kill(&world, holder(handle, 2));
    world_report(&world, bad, PAWL__REPORT_KIND__REPORT_DAMAGED, handle, 0, 0);
    world_advance(&world, 30000);
    assert_true(held(bad, handle)->exists);
    assert_int_equal(world_server(&world, bad)->drops_count, 0);
    world_fini(&world);
}

static void test_heal_when_a_replica_is_damaged_makes_another(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    uint32_t bad = holder(handle, 0);
    uint32_t target = stranger(handle);
    held(bad, handle)->damaged = true;
    world_report(&world, bad, PAWL__REPORT_KIND__REPORT_DAMAGED, handle, 0, 0);
    world_advance(&world, DEAD_MS); // a master that has just started waits so long
    assert_true(held(target, handle)->sealed);
    assert_false(held(bad, handle)->exists); // not before there were three good ones
    assert_int_equal(world_chunk(&world, handle)->n_replicas, 3);
    world_fini(&world);
}

static void test_heal_when_the_source_is_damaged_takes_another(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    uint32_t target = stranger(handle);
    world_server_kill(&world, holder(handle, 0));
    held(holder(handle, 1), handle)->damaged = true; // the master does not know
    world_advance(&world, 2 * DEAD_MS);
    assert_int_equal(world_server(&world, target)->copies_count, 1);
    // Whether the damage was met is left to chance; if it was, it is known and mended.
    world_report(&world, holder(handle, 1), PAWL__REPORT_KIND__REPORT_DAMAGED, handle, 0, 0);
    world_advance(&world, 5000);
    assert_int_equal(whole_count(handle, true), 3);
    world_fini(&world);
}

static void test_heal_when_the_target_fails_takes_another(void **state)
{
    (void)state;
    world_init(&world, 5);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    uint32_t broken = stranger(handle);
    world_server(&world, broken)->shy = true;
    world_server_kill(&world, holder(handle, 0));
    world_advance(&world, 2 * DEAD_MS);
    assert_int_equal(whole_count(handle, true), 3);
    assert_false(held(broken, handle)->exists);
    world_fini(&world);
}

static void test_copy_when_it_takes_many_rounds_is_asked_on(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 50);
    uint32_t target = stranger(handle);
    world_server(&world, target)->copy_step = 1;
    world_server_kill(&world, holder(handle, 0));
    world_advance(&world, 2 * DEAD_MS);
    assert_true(held(target, handle)->sealed);
    assert_int_equal(held(target, handle)->count, 50);
    world_fini(&world);
}

// A target that answers nothing is waited for, as long as it may have come further; then what it has
// goes, and another one is taken.
static void test_copy_when_the_target_is_mute_is_given_up(void **state)
{
    (void)state;
    world_init(&world, 5);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    for (uint32_t i = 1; i <= 5; i++) {
        world_server(&world, i)->mute = !held(i, handle)->exists;
    }
    world_server_kill(&world, holder(handle, 0));
    world_advance(&world, DEAD_MS + 5000);
    assert_int_equal(whole_count(handle, true), 2);
    for (uint32_t i = 1; i <= 5; i++) {
        world_server(&world, i)->mute = false;
    }
    world_advance(&world, 15000);
    assert_int_equal(whole_count(handle, true), 3);
    world_fini(&world);
}

static void test_copy_when_its_file_is_removed_is_dropped(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 50);
    uint32_t target = stranger(handle);
    world_server_kill(&world, holder(handle, 0));
    world_advance(&world, DEAD_MS - 500);
    world_server(&world, target)->copy_step = 1;
    world.halt_in = 6; // a few rounds
    world_advance(&world, 1000);
    assert_true(held(target, handle)->copying);
    assert_int_equal(world_chunk(&world, handle)->n_replicas, 3); // half a copy is none
    assert_true(world_chunk(&world, handle)->under_replicated);
    assert_int_equal(world_remove(&world, "/f", false), 0);
    world.hold = false;
    world.halt_in = -1;
    world_pump(&world);
    world_advance(&world, 500);
    assert_false(held(target, handle)->exists);
    world_fini(&world);
}

// A master that restarts finds half a copy: it lets it go on when it is needed.
static void test_copy_when_the_master_restarts_goes_on(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 50);
    uint32_t target = stranger(handle);
    world_server_kill(&world, holder(handle, 0));
    *held(target, handle) = (struct fake_replica){
        .exists = true, .copying = true, .version = world_chunk(&world, handle)->version};
    world_master_restart(&world);
    for (uint32_t i = 1; i <= 4; i++) {
        if (world_server(&world, i)->conn) {
            world_server_register(&world, i);
        }
    }
    world_advance(&world, 2 * DEAD_MS);
    assert_true(held(target, handle)->sealed);
    assert_int_equal(held(target, handle)->count, 50);
    assert_int_equal(world_server(&world, target)->drops_count, 0);
    world_fini(&world);
}

static void test_copy_when_nobody_needs_it_is_dropped(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    uint32_t target = stranger(handle);
    *held(target, handle) = (struct fake_replica){
        .exists = true, .copying = true, .version = world_chunk(&world, handle)->version};
    world_heartbeat(&world, target);
    assert_int_equal(world_chunk(&world, handle)->n_replicas, 3);
    world_advance(&world, 500);
    assert_false(held(target, handle)->exists);
    world_fini(&world);
}

// What a crash leaves of a copy: unsealed, too short, damaged by its own word.
static void test_copy_when_half_of_it_is_reported_is_replaced(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    uint32_t target = stranger(handle);
    world_server_kill(&world, target);
    world_server_kill(&world, holder(handle, 0));
    world_advance(&world, 2 * DEAD_MS);
    *held(target, handle) = (struct fake_replica){.exists = true,
                                                  .damaged = true,
                                                  .version = world_chunk(&world, handle)->version,
                                                  .count = 2,
                                                  .commit_count = 5};
    world_server_start(&world, target);
    assert_int_equal(world_chunk(&world, handle)->n_replicas, 3); // with the one that is gone
    world_advance(&world, 1000);
    assert_int_equal(world_server(&world, target)->drops_count, 1);
    assert_true(held(target, handle)->sealed && !held(target, handle)->damaged);
    assert_int_equal(held(target, handle)->count, 5);
    world_fini(&world);
}

static void test_copy_when_something_else_is_there_replaces_it(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    uint32_t target = stranger(handle);
    held(target, handle)->exists = true; // the master was not told
    held(target, handle)->version = 1;
    world_server_kill(&world, holder(handle, 0) == target ? holder(handle, 1) : holder(handle, 0));
    world_advance(&world, 2 * DEAD_MS);
    assert_true(held(target, handle)->sealed);
    assert_int_equal(held(target, handle)->count, 5);
    world_fini(&world);
}

// A chunk that was placed anew: who is in its set no more drops what it was told to open, and may be a
// target later. Seed 4337 of the simulator.
static void test_heal_when_left_of_an_earlier_set_copies_there(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t file = world_create(&world, "/f", 3, 2);
    uint64_t handle = world_granted(&world, file, 1000)->handle;
    uint32_t left = stranger(handle);
    assert_true(world_append(&world, handle, 5));
    world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_BROKEN, handle, 1,
                 0);
    world_advance(&world, 1000);
    struct master_chunk *chunk = master_chunk_get(world.core, handle);
    assert_true(chunk->version > 1);
    *held(left, handle) = (struct fake_replica){.exists = true, .version = 1};
    struct master_server *server = master_server_get(world.core, world_server(&world, left)->id);
    assert_non_null(master_replica_add(world.core, chunk, server)); // as of its answer to OPEN
    world_heartbeat(&world, left);
    world_advance(&world, 100);
    assert_false(held(left, handle)->exists);
    assert_int_equal(sealed_chunk(file, 1), handle);
    world_server_kill(&world, holder(handle, 0));
    world_advance(&world, 2 * DEAD_MS);
    assert_true(held(left, handle)->sealed);
    world_fini(&world);
}

// It tells what it holds while a COPY is on its way to it. Seed 2270 of the simulator.
static void test_copy_when_a_long_replica_turns_up_at_its_target_seals_it(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 5);
    uint32_t target = stranger(handle);
    world_server_kill(&world, holder(handle, 0));
    world.hold = true;
    world_advance(&world, 2 * DEAD_MS);
    assert_non_null(master_chunk_get(world.core, handle)->copy);
    *held(target, handle) = (struct fake_replica){
        .exists = true, .version = world_chunk(&world, handle)->version, .count = 5};
    world_heartbeat(&world, target);
    world.hold = false;
    world_pump(&world);
    world_advance(&world, 1000);
    assert_true(held(target, handle)->sealed);
    assert_int_equal(world_server(&world, target)->drops_count, 0);
    assert_false(world_chunk(&world, handle)->under_replicated);
    world_fini(&world);
}

// A heartbeat from before the fence is read behind the answer to it: it tells of fewer records.
static void test_seal_when_an_older_report_comes_in_between_counts(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    const Pawl__Chunk *chunk = world_granted(&world, file, 1000);
    uint64_t handle = chunk->handle;
    uint64_t version = chunk->version;
    assert_true(world_append(&world, handle, 5));
    world.halt_in = 6; // the fences are answered, the seals are on their way
    world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_FULL, handle,
                 version, 0);
    assert_true(world.hold);
    assert_int_equal(world.commands->request->body_case, WORLD_BODY(SEAL));
    held(1, handle)->count = 3;
    world_heartbeat(&world, 1);
    held(1, handle)->count = 5;
    world.halt_in = -1;
    world.hold = false;
    world_pump(&world);
    world_advance(&world, 1000);
    assert_int_equal(whole_count(handle, true), 3);
    assert_int_equal(world_server(&world, 1)->drops_count, 0);
    assert_false(world_chunk(&world, handle)->under_replicated);
    world_fini(&world);
}

// A refusal says nothing of what was begun before: it goes, so that no copy ends that nobody waits for.
static void test_copy_when_refused_half_way_is_dropped(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t handle = sealed_chunk(world_create(&world, "/f", 3, 2), 50);
    uint32_t target = stranger(handle);
    world_server_kill(&world, holder(handle, 0));
    world_advance(&world, DEAD_MS - 500);
    world_server(&world, target)->copy_step = 1;
    world.halt_in = 6; // a few rounds
    world_advance(&world, 1000);
    assert_true(held(target, handle)->copying);
    world.halt_in = -1;
    world_server(&world, target)->refuse_copies = PAWL_EBUSY;
    world.hold = false;
    world_pump(&world);
    assert_int_equal(world_server(&world, target)->drops_count, 1);
    assert_false(held(target, handle)->exists);
    world_server(&world, target)->refuse_copies = 0;
    world_server(&world, target)->copy_step = 0;
    world_advance(&world, 10000);
    assert_true(held(target, handle)->sealed);
    world_fini(&world);
}

static void test_tail_when_more_servers_come_is_sealed_once_and_healed(void **state)
{
    (void)state;
    world_init(&world, 3);
    world_server_kill(&world, 3);
    world_advance(&world, 2 * DEAD_MS);
    uint64_t file = world_create(&world, "/f", 3, 2);
    uint64_t handle = world_granted(&world, file, 1000)->handle;
    world_advance(&world, 1000);
    world_server_start(&world, 3);
    world_advance(&world, 2000);
    // It is empty: there is nothing to lose in it.
    assert_int_equal(world_chunk(&world, handle)->state, PAWL__CHUNK_STATE__CHUNK_OPEN);
    assert_true(world_append(&world, handle, 4));
    world_advance(&world, 1000);
    const Pawl__Chunk *chunk = world_chunk(&world, handle);
    assert_int_equal(chunk->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_int_equal(chunk->count, 4);
    assert_int_equal(whole_count(handle, true), 3);
    chunk = world_granted(&world, file, 1000);
    uint64_t next = chunk->handle;
    assert_true(next != handle);
    assert_int_equal(chunk->n_replicas, 3);
    assert_true(world_append(&world, next, 4));
    world_advance(&world, 60000);
    assert_int_equal(world_chunk(&world, next)->state, PAWL__CHUNK_STATE__CHUNK_OPEN);
    world_fini(&world);
}

// It keeps its connection, so that no inventory of its will name what it holds.
static void test_opening_when_placed_anew_drops_what_the_former_set_made(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t file = world_create(&world, "/f", 3, 2);
    world.hold = true;
    world_tail(&world, file);
    const struct world_command *first = world.commands;
    uint64_t handle = first->request->open->handle;
    uint32_t former = 0;
    for (uint32_t i = 1; i <= 4; i++) {
        if (world_server(&world, i)->conn == first->conn) {
            former = i;
        }
    }
    world_server(&world, former)->refuse_opens = PAWL_ENOSPACE;
    world_server(&world, former)->replicas[handle] =
        (struct fake_replica){.exists = true, .version = 1};
    world.hold = false;
    world_pump(&world);
    const Pawl__Chunk *chunk = world_granted(&world, file, 3000);
    assert_int_equal(chunk->version, 2);
    for (size_t i = 0; i < chunk->n_replicas; i++) {
        assert_true(chunk->replicas[i]->server_id != 0xc0 + former);
    }
    assert_false(world_server(&world, former)->replicas[handle].exists);
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heal_when_the_other_server_shares_no_fabric_waits_for_one_that_does),
        cmocka_unit_test(test_heal_when_a_server_is_dead_copies_to_another),
        cmocka_unit_test(test_heal_when_the_server_comes_back_in_time_copies_nothing),
        cmocka_unit_test(test_heal_when_it_comes_back_late_drops_the_surplus_after_a_grace),
        cmocka_unit_test(test_heal_when_many_chunks_are_short_begins_with_the_most_endangered),
        cmocka_unit_test(test_heal_when_no_server_is_left_waits_for_one),
        cmocka_unit_test(test_heal_when_all_good_ones_are_gone_drops_nothing),
        cmocka_unit_test(test_heal_when_a_replica_is_damaged_makes_another),
        cmocka_unit_test(test_heal_when_the_source_is_damaged_takes_another),
        cmocka_unit_test(test_heal_when_the_target_fails_takes_another),
        cmocka_unit_test(test_copy_when_it_takes_many_rounds_is_asked_on),
        cmocka_unit_test(test_copy_when_the_target_is_mute_is_given_up),
        cmocka_unit_test(test_copy_when_its_file_is_removed_is_dropped),
        cmocka_unit_test(test_copy_when_the_master_restarts_goes_on),
        cmocka_unit_test(test_copy_when_nobody_needs_it_is_dropped),
        cmocka_unit_test(test_copy_when_half_of_it_is_reported_is_replaced),
        cmocka_unit_test(test_copy_when_something_else_is_there_replaces_it),
        cmocka_unit_test(test_heal_when_left_of_an_earlier_set_copies_there),
        cmocka_unit_test(test_copy_when_a_long_replica_turns_up_at_its_target_seals_it),
        cmocka_unit_test(test_seal_when_an_older_report_comes_in_between_counts),
        cmocka_unit_test(test_copy_when_refused_half_way_is_dropped),
        cmocka_unit_test(test_tail_when_more_servers_come_is_sealed_once_and_healed),
        cmocka_unit_test(test_opening_when_placed_anew_drops_what_the_former_set_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
