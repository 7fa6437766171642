// SPDX-License-Identifier: Apache-2.0
// Tests of grants, fences, levelling and seals: the open chunk's machine.
#include "master_harness.h"

static struct world world;

static uint64_t file_with_records(uint32_t servers, uint64_t count, uint64_t *ret_handle)
{
    world_init(&world, servers);
    uint64_t file = world_create(&world, "/f", 3, 2);
    assert_true(file != 0);
    const Pawl__Chunk *chunk = world_granted(&world, file, 0);
    *ret_handle = chunk->handle;
    if (count > 0) {
        assert_true(world_append(&world, *ret_handle, count));
    }
    return file;
}

static uint64_t version_of(uint64_t handle)
{
    return world_chunk(&world, handle)->version;
}

static uint32_t secondary_of(uint64_t handle)
{
    uint32_t primary = world_primary(&world, handle);
    return primary == 1 ? 2 : 1;
}

static uint64_t recoveries(void)
{
    Pawl__ListServers list = PAWL__LIST_SERVERS__INIT;
    return world_call(&world, WORLD_BODY(LIST_SERVERS), &list)->servers->recoveries_count;
}

static void test_tail_when_first_asked_for_is_granted_version_1(void **state)
{
    (void)state;
    uint64_t handle;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    world.hold = true;
    assert_int_equal(world_tail(&world, file)->code, PAWL_EBUSY);
    world.hold = false;
    world_pump(&world);
    const Pawl__Reply *reply = world_tail(&world, file);
    assert_int_equal(reply->code, 0);
    const Pawl__Chunk *chunk = reply->tail->chunk;
    handle = chunk->handle;
    assert_int_equal(chunk->version, 1);
    assert_int_equal(chunk->state, PAWL__CHUNK_STATE__CHUNK_OPEN);
    assert_int_equal(chunk->n_replicas, 3);
    assert_int_equal(chunk->base_offset, 0);
    assert_true(chunk->lease_ms > 0 && chunk->lease_ms <= 2000);
    assert_false(chunk->under_replicated);
    assert_true(world_noted(&world, "granted version 1 primary cs"));
    assert_int_equal(chunk->primary_id, 0xc0 + world_primary(&world, handle));
    assert_int_equal(recoveries(), 0);
    world_fini(&world);
}

static void test_tail_when_the_log_is_not_durable_asks_nobody(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    size_t before = world.log_count;
    world.hold = true;
    world_tail(&world, file);
    // The record stands in the log before the first command: the harness keeps their order.
    assert_int_equal(world.log_count, before + 1);
    assert_non_null(world.commands);
    assert_int_equal(world.commands->request->body_case, WORLD_BODY(OPEN));
    world.hold = false;
    world_pump(&world);
    world_fini(&world);
}

static void test_tail_when_too_few_servers_live_says_so(void **state)
{
    (void)state;
    world_init(&world, 1);
    uint64_t file = world_create(&world, "/f", 3, 2);
    assert_int_equal(world_tail(&world, file)->code, PAWL_ENOSERVERS);
    uint64_t one = world_create(&world, "/one", 1, 1);
    assert_int_equal(world_granted(&world, one, 0)->n_replicas, 1);
    world_fini(&world);
}

static void test_tail_when_no_server_has_space_says_so(void **state)
{
    (void)state;
    world_init(&world, 3);
    for (uint32_t i = 1; i <= 3; i++) {
        world_server(&world, i)->space_bytes = 4096;
    }
    world_advance(&world, 300);
    uint64_t file = world_create(&world, "/f", 3, 2);
    assert_int_equal(world_tail(&world, file)->code, PAWL_ENOSPACE);
    world_fini(&world);
}

static void test_lease_when_heartbeats_come_is_renewed(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 5, &handle);
    world_advance(&world, 10000);
    const Pawl__Reply *reply = world_tail(&world, file);
    assert_int_equal(reply->code, 0);
    assert_int_equal(reply->tail->chunk->version, 1);
    world_fini(&world);
}

static void test_full_chunk_when_reported_is_sealed_and_followed(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 7, &handle);
    world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_FULL, handle, 1,
                 0);
    const Pawl__Chunk *old = world_chunk(&world, handle);
    assert_int_equal(old->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_int_equal(old->count, 7);
    assert_int_equal(old->length, 700);
    assert_int_equal(old->n_replicas, 3);
    assert_false(old->under_replicated);
    const Pawl__Chunk *next = world_granted(&world, file, 0);
    assert_int_equal(next->index, 1);
    assert_int_equal(next->base_offset, 700);
    assert_true(next->handle != handle);
    // N+1 holds N's producer table everywhere.
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(world_server(&world, i)->replicas[next->handle].table_bytes,
                         64 * (1 + handle % 16));
        assert_true(world_server(&world, i)->replicas[handle].sealed);
    }
    assert_int_equal(recoveries(), 0);
    assert_int_equal(world.reply->servers->seals_count, 1);
    world_fini(&world);
}

static void test_full_hint_when_the_primary_stays_silent_seals(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 7, &handle);
    world_tail_hint(&world, file, handle, 9, PAWL_ECHUNKFULL); // another version: nothing
    assert_int_equal(version_of(handle), 1);
    // The primary has time to drain and report it itself: the client is told to come again.
    world_tail_hint(&world, file, handle, 1, PAWL_ECHUNKFULL);
    assert_int_equal(world_chunk(&world, handle)->state, PAWL__CHUNK_STATE__CHUNK_OPEN);
    world_advance(&world, 250);
    world_tail_hint(&world, file, handle, 1, PAWL_ECHUNKFULL);
    assert_int_equal(world_chunk(&world, handle)->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    world_fini(&world);
}

static void test_full_hint_when_the_chunk_is_empty_makes_no_new_one(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 0, &handle);
    for (uint64_t i = 0; i < 8; i++) {
        world_tail_hint(&world, file, handle, version_of(handle), PAWL_ECHUNKFULL);
        world_advance(&world, 150);
    }
    assert_true(version_of(handle) > 1); // it was fenced, and found empty
    assert_int_equal(world_granted(&world, file, 0)->handle, handle);
    world_fini(&world);
}

static void test_primary_lost_when_records_were_acked_seals_and_goes_on(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 11, &handle);
    uint32_t primary = world_primary(&world, handle);
    world_server_kill(&world, primary);
    assert_true(world_noted(&world, "version 2 recovery begins: server cs"));
    const Pawl__Chunk *old = world_chunk(&world, handle);
    assert_int_equal(old->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_int_equal(old->count, 11);
    assert_int_equal(old->n_replicas, 2);
    assert_true(old->under_replicated);
    const Pawl__Chunk *next = world_granted(&world, file, 0);
    assert_int_equal(next->n_replicas, 2);
    assert_true(next->under_replicated);
    assert_true(next->primary_id != 0xc0 + primary);
    assert_int_equal(recoveries(), 1);
    // The lost one comes back: it learns of the seal and counts again.
    world_server_start(&world, primary);
    old = world_chunk(&world, handle);
    assert_int_equal(old->n_replicas, 3);
    assert_false(old->under_replicated);
    assert_true(world_server(&world, primary)->replicas[handle].sealed);
    world_fini(&world);
}

static void test_secondary_lost_when_the_primary_is_ahead_levels_the_other(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 4, &handle);
    uint32_t primary = world_primary(&world, handle);
    world_server(&world, primary)->replicas[handle].count = 6; // two that are not everywhere
    world_server_kill(&world, secondary_of(handle));
    const Pawl__Chunk *old = world_chunk(&world, handle);
    assert_int_equal(old->count, 6);
    assert_int_equal(old->n_replicas, 2);
    world_granted(&world, file, 0);
    world_fini(&world);
}

static void test_recovery_when_all_answer_grants_the_same_chunk_again(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 4, &handle);
    uint32_t primary = world_primary(&world, handle);
    world_server(&world, primary)->replicas[handle].count = 5;
    world_report(&world, primary, PAWL__REPORT_KIND__REPORT_BROKEN, handle, 1,
                 0xc0 + secondary_of(handle));
    const Pawl__Chunk *chunk = world_granted(&world, file, 0);
    assert_int_equal(chunk->handle, handle);
    assert_int_equal(chunk->version, 2);
    assert_int_equal(world_primary(&world, handle), primary);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(world_server(&world, i)->replicas[handle].count, 5);
    }
    assert_int_equal(recoveries(), 1);
    world_fini(&world);
}

static void test_broken_when_regrants_bring_nothing_moves_to_another_chunk(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(4, 4, &handle);
    uint64_t blamed = 0;
    uint64_t at = handle;
    for (int i = 0; i < 3 && at == handle; i++) {
        const Pawl__Chunk *chunk = world_granted(&world, file, 0);
        uint64_t primary_id = chunk->primary_id;
        blamed = chunk->replicas[0]->server_id == primary_id ? chunk->replicas[1]->server_id
                                                             : chunk->replicas[0]->server_id;
        world_report(&world, (uint32_t)(primary_id - 0xc0), PAWL__REPORT_KIND__REPORT_BROKEN,
                     handle, chunk->version, blamed);
        at = world_granted(&world, file, 0)->handle;
    }
    assert_true(at != handle);
    const Pawl__Chunk *next = world_chunk(&world, at);
    for (size_t i = 0; i < next->n_replicas; i++) {
        assert_true(next->replicas[i]->server_id != blamed);
    }
    assert_int_equal(world_chunk(&world, handle)->count, 4);
    world_fini(&world);
}

static void test_report_when_it_is_old_or_foreign_starts_nothing(void **state)
{
    (void)state;
    uint64_t handle;
    file_with_records(4, 4, &handle);
    uint32_t primary = world_primary(&world, handle);
    world_report(&world, primary, PAWL__REPORT_KIND__REPORT_BROKEN, handle, 7, 0xc1);
    assert_int_equal(world.reply->code, PAWL_ESTALE);
    world_report(&world, secondary_of(handle), PAWL__REPORT_KIND__REPORT_BROKEN, handle, 1, 0xc1);
    world_report(&world, secondary_of(handle), PAWL__REPORT_KIND__REPORT_FULL, handle, 1, 0);
    world_report(&world, primary, PAWL__REPORT_KIND__REPORT_BROKEN, handle + 9, 1, 0xc1);
    assert_int_equal(world.reply->code, PAWL_ENOCHUNK);
    Pawl__Report report = PAWL__REPORT__INIT;
    report.kind = PAWL__REPORT_KIND__REPORT_FULL;
    report.handle = handle;
    report.version = 1;
    assert_int_equal(world_call(&world, WORLD_BODY(REPORT), &report)->code, PAWL_EPROTOCOL);
    assert_int_equal(version_of(handle), 1);
    world_fini(&world);
}

static void test_hint_when_the_primary_is_out_of_reach_moves_the_lease(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 4, &handle);
    uint32_t primary = world_primary(&world, handle);
    world_tail_hint(&world, file, handle, 1, PAWL_EDISCONNECTED);
    assert_int_equal(version_of(handle), 1); // too young a lease for a hint
    world_advance(&world, 300);
    world_tail_hint(&world, file, handle, 1, PAWL_EBUSY); // says nothing about the primary
    assert_int_equal(version_of(handle), 1);
    world_tail_hint(&world, file, handle, 1, PAWL_EDISCONNECTED);
    const Pawl__Chunk *chunk = world_granted(&world, file, 0);
    assert_int_equal(chunk->handle, handle);
    assert_int_equal(chunk->version, 2);
    assert_int_not_equal(world_primary(&world, handle), primary);
    world_fini(&world);
}

static void test_all_lost_when_they_come_back_grants_again(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 9, &handle);
    world.hold = true; // the others go before they can answer
    world_server_kill(&world, 1);
    world_server_kill(&world, 2);
    world.hold = false;
    world_server_kill(&world, 3);
    world_advance(&world, 5000);
    assert_int_equal(world_tail(&world, file)->code, PAWL_EBUSY);
    size_t log_count = world.log_count;
    world_advance(&world, 20000);
    assert_int_equal(world.log_count, log_count); // nobody to talk to: nothing is logged for it
    world_server_start(&world, 2);
    world_server_start(&world, 1);
    world_server_start(&world, 3);
    const Pawl__Chunk *chunk = world_granted(&world, file, 3000);
    assert_int_equal(chunk->handle, handle);
    assert_int_equal(chunk->n_replicas, 3);
    assert_true(world_append(&world, handle, 1));
    world_fini(&world);
}

static void test_all_lost_when_one_comes_back_settles_for_it(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 9, &handle);
    world.hold = true;
    world_server_kill(&world, 1);
    world_server_kill(&world, 2);
    world.hold = false;
    world_server_kill(&world, 3);
    world_advance(&world, 1000);
    world_server_start(&world, 2);
    world_advance(&world, 2000);
    const Pawl__Chunk *old = world_chunk(&world, handle);
    assert_int_equal(old->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_int_equal(old->count, 9);
    assert_int_equal(old->n_replicas, 1);
    // The next chunk waits for the file's minimum.
    assert_int_equal(world_tail(&world, file)->code, PAWL_ENOSERVERS);
    world_server_start(&world, 3);
    const Pawl__Chunk *next = world_granted(&world, file, 3000);
    assert_int_equal(next->n_replicas, 2);
    assert_int_equal(next->base_offset, 900);
    world_fini(&world);
}

static void test_mute_member_when_its_deadline_passes_leaves_the_set(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 3, &handle);
    uint32_t primary = world_primary(&world, handle);
    world_server(&world, primary)->mute = true;
    world_advance(&world, 300);
    world_tail_hint(&world, file, handle, 1, PAWL_EDEADLINE);
    assert_int_equal(world_chunk(&world, handle)->state, PAWL__CHUNK_STATE__CHUNK_RECOVERING);
    world_advance(&world, 1100); // it is believed alive, so it is waited for that long
    assert_int_equal(world_chunk(&world, handle)->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    // Placement cannot know that it is mute; the next chunk finds out and goes elsewhere.
    assert_int_equal(world_granted(&world, file, 10000)->n_replicas, 2);
    world_server(&world, primary)->mute = false;
    world_fini(&world);
}

static void test_silent_member_when_dead_is_recovered_from(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 3, &handle);
    uint32_t primary = world_primary(&world, handle);
    world_server(&world, primary)->mute = true;
    world_server(&world, primary)->silent = true;
    world_advance(&world, 3500);
    assert_true(world_noted(&world, "dead: silent"));
    assert_int_equal(world_chunk(&world, handle)->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_int_equal(world_granted(&world, file, 0)->n_replicas, 2);
    world_server(&world, primary)->mute = false;
    world_server(&world, primary)->silent = false;
    world_advance(&world, 500);
    assert_true(world_noted(&world, "live again"));
    world_advance(&world, 500);
    assert_true(world_server(&world, primary)->replicas[handle].sealed);
    assert_int_equal(world_chunk(&world, handle)->n_replicas, 3);
    world_fini(&world);
}

static void test_grant_when_unanswered_is_never_offered_to_another(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 3, &handle);
    uint32_t primary = world_primary(&world, handle);
    world.hold = true;
    world_report(&world, primary, PAWL__REPORT_KIND__REPORT_BROKEN, handle, 1,
                 0xc0 + secondary_of(handle));
    // Fences are answered, then the grant's receiver takes it and its connection breaks.
    world.hold = false;
    world_server(&world, primary)->mute = false;
    world_pump(&world);
    assert_int_equal(world_primary(&world, handle), primary);
    world_server_reconnect(&world, primary);
    const Pawl__Chunk *chunk = world_granted(&world, file, 3000);
    // do_grant() of the harness asserts that no version has two primaries.
    assert_true(chunk->version > 2 || chunk->handle != handle);
    world_fini(&world);
}

static void test_stale_replica_when_longer_is_cut_when_shorter_is_not_listed(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(4, 5, &handle);
    const Pawl__Chunk *chunk = world_granted(&world, file, 0);
    uint32_t member[3];
    for (int i = 0; i < 3; i++) {
        member[i] = (uint32_t)(chunk->replicas[i]->server_id - 0xc0);
    }
    world.hold = true;
    world_server_kill(&world, member[0]);
    world_server_kill(&world, member[1]);
    world.hold = false;
    world_server(&world, member[0])->replicas[handle].count = 8; // unacknowledged records
    world_server(&world, member[1])->replicas[handle].count = 4; // lost one
    world_pump(&world);
    chunk = world_chunk(&world, handle);
    assert_int_equal(chunk->count, 5);
    assert_int_equal(chunk->n_replicas, 1);
    world_server_start(&world, member[0]);
    assert_int_equal(world_server(&world, member[0])->replicas[handle].count, 5);
    assert_true(world_server(&world, member[0])->replicas[handle].sealed);
    assert_int_equal(world_chunk(&world, handle)->n_replicas, 2);
    world_server_start(&world, member[1]);
    world_advance(&world, 1000);
    assert_int_equal(world_server(&world, member[1])->replicas[handle].count, 4);
    assert_true(world_server(&world, member[1])->replicas[handle].exists);
    assert_int_equal(world_chunk(&world, handle)->n_replicas, 2);
    world_fini(&world);
}

static void test_recovery_when_committed_records_are_missing_blocks(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 6, &handle);
    uint32_t primary = world_primary(&world, handle);
    world_advance(&world, 500); // the master hears of the commit count
    for (uint32_t i = 1; i <= 3; i++) {
        if (i != primary) {
            world_server(&world, i)->replicas[handle].count = 4;
        }
    }
    world_server_kill(&world, primary);
    assert_true(world_noted(&world, "is damaged"));
    assert_int_equal(world_tail(&world, file)->code, PAWL_EBUSY);
    world_advance(&world, 10000);
    assert_int_equal(world_chunk(&world, handle)->state, PAWL__CHUNK_STATE__CHUNK_RECOVERING);
    world_server_start(&world, primary); // it has them all
    assert_int_equal(world_granted(&world, file, 3000)->handle, handle);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(world_server(&world, i)->replicas[handle].count, 6);
    }
    assert_int_equal(recoveries(), 1); // however many fences it took
    world_fini(&world);
}

static void test_recovery_when_all_members_lack_committed_records_says_damaged(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 6, &handle);
    world_advance(&world, 500);
    for (uint32_t i = 1; i <= 3; i++) {
        world_server(&world, i)->replicas[handle].count = 4;
    }
    world_tail_hint(&world, file, handle, 1, PAWL_ENOTPRIMARY);
    assert_int_equal(world_tail(&world, file)->code, PAWL_EDAMAGED);
    world_fini(&world);
}

static void test_damaged_open_replica_when_reported_is_left_out(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(4, 6, &handle);
    uint32_t primary = world_primary(&world, handle);
    world_server(&world, primary)->replicas[handle].damaged = true;
    world_server(&world, primary)->replicas[handle].count = 7;
    world_report(&world, primary, PAWL__REPORT_KIND__REPORT_DAMAGED, handle, 1, 0);
    const Pawl__Chunk *old = world_chunk(&world, handle);
    assert_int_equal(old->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_int_equal(old->count, 6);
    assert_int_equal(old->n_replicas, 3);
    assert_int_equal(old->replicas[2]->server_id, 0xc0 + primary); // last, and it says so
    assert_true(old->replicas[2]->damaged);
    assert_true(old->under_replicated);
    world_granted(&world, file, 0);
    world_fini(&world);
}

static void test_level_when_the_source_is_corrupt_leads_without_it(void **state)
{
    (void)state;
    uint64_t handle;
    file_with_records(4, 6, &handle);
    uint32_t primary = world_primary(&world, handle);
    struct fake_replica *bad = &world_server(&world, primary)->replicas[handle];
    world.hold = true; // the fence must find it before a heartbeat tells of the damage
    bad->count = 7;
    world_report(&world, primary, PAWL__REPORT_KIND__REPORT_BROKEN, handle, 1, 0);
    bad->damaged = true;
    world.hold = false;
    world_pump(&world);
    const Pawl__Chunk *old = world_chunk(&world, handle);
    assert_int_equal(old->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_int_equal(old->count, 6);
    world_fini(&world);
}

static void test_member_when_it_cannot_level_leaves_the_set(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 6, &handle);
    uint32_t primary = world_primary(&world, handle);
    uint32_t other = secondary_of(handle);
    world_server(&world, primary)->replicas[handle].count = 7;
    world_server(&world, other)->shy = true;
    world_report(&world, primary, PAWL__REPORT_KIND__REPORT_BROKEN, handle, 1, 0xc0 + other);
    const Pawl__Chunk *old = world_chunk(&world, handle);
    assert_int_equal(old->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_int_equal(old->count, 7);
    assert_int_equal(old->n_replicas, 2);
    assert_true(old->under_replicated);
    const Pawl__Chunk *next = world_granted(&world, file, 0);
    assert_int_equal(next->n_replicas, 2); // its neighbours don't reach it: not in the next set
    for (size_t i = 0; i < next->n_replicas; i++) {
        assert_true(next->replicas[i]->server_id != 0xc0 + other);
    }
    world_server(&world, other)->shy = false;
    world_fini(&world);
}

// A file of minimum 2 and a record that the primary alone has; nobody reaches anybody to level up.
// Returns the chunk once it is sealed.
static const Pawl__Chunk *record_of_the_primary_alone(bool one_is_lost, bool committed)
{
    uint64_t handle;
    file_with_records(3, 6, &handle);
    uint32_t primary = world_primary(&world, handle);
    uint32_t other = secondary_of(handle);
    struct fake_replica *replica = &world_server(&world, primary)->replicas[handle];
    replica->count = 7;
    replica->commit_count = committed ? 7 : 6;
    world_server(&world, primary)->shy = true;
    world.hold = one_is_lost;
    if (one_is_lost) {
        world_server_kill(&world, other);
        world.hold = false;
        world_pump(&world);
        world_advance(&world, 1000);
    } else {
        world_report(&world, primary, PAWL__REPORT_KIND__REPORT_BROKEN, handle, 1, 0xc0 + other);
    }
    const Pawl__Chunk *chunk = world_chunk(&world, handle);
    assert_int_equal(chunk->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_int_equal(replica->count, chunk->count);
    assert_true(replica->sealed);
    return chunk;
}

static void test_record_when_too_few_can_have_it_is_left_out(void **state)
{
    (void)state;
    const Pawl__Chunk *chunk = record_of_the_primary_alone(false, false);
    assert_int_equal(chunk->count, 6);
    assert_int_equal(chunk->length, 600);
    assert_int_equal(chunk->n_replicas, 3);
    assert_false(chunk->under_replicated);
    world_fini(&world);
}

static void test_record_when_a_member_has_not_answered_stays(void **state)
{
    (void)state;
    const Pawl__Chunk *chunk = record_of_the_primary_alone(true, false);
    assert_int_equal(chunk->count, 7);
    assert_int_equal(chunk->n_replicas, 1);
    world_fini(&world);
}

static void test_record_when_known_to_be_committed_stays(void **state)
{
    (void)state;
    const Pawl__Chunk *chunk = record_of_the_primary_alone(false, true);
    assert_int_equal(chunk->count, 7);
    assert_int_equal(chunk->n_replicas, 1);
    world_fini(&world);
}

static void test_member_when_it_fails_the_fence_is_not_in_the_next_set(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(4, 6, &handle);
    uint32_t primary = world_primary(&world, handle);
    world_server(&world, primary)->refuse = PAWL_ENOSPACE; // its disk takes no promise
    world_tail_hint(&world, file, handle, 1, PAWL_EDISCONNECTED);
    world_advance(&world, 300);
    world_tail_hint(&world, file, handle, 1, PAWL_EDISCONNECTED);
    const Pawl__Chunk *next = world_granted(&world, file, 3000);
    assert_true(next->handle != handle);
    assert_int_equal(next->n_replicas, 3);
    for (size_t i = 0; i < next->n_replicas; i++) {
        assert_true(next->replicas[i]->server_id != 0xc0 + primary);
    }
    assert_false(world_noted(&world, "placed anew")); // not even for a moment
    world_server(&world, primary)->refuse = 0;
    world_fini(&world);
}

static void test_source_lost_when_levelling_begins_again_without_it(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 6, &handle);
    uint32_t primary = world_primary(&world, handle);
    world_server(&world, primary)->replicas[handle].count = 8;
    world.halt_in = 6; // three fences are answered, then the world stands still
    world_report(&world, primary, PAWL__REPORT_KIND__REPORT_BROKEN, handle, 1,
                 0xc0 + secondary_of(handle));
    assert_true(world.hold);
    assert_int_equal(world.commands->request->body_case, WORLD_BODY(LEVEL));
    world_server_kill(&world, primary);
    world.hold = false;
    world.halt_in = -1;
    world_pump(&world); // the levels fail first, and that is no answer to the new fences
    const Pawl__Chunk *old = world_chunk(&world, handle);
    assert_int_equal(old->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_int_equal(old->version, 3);
    assert_int_equal(old->count, 6); // what only the lost one had was not committed
    assert_int_equal(old->n_replicas, 2);
    world_granted(&world, file, 3000);
    world_server_start(&world, primary);
    assert_int_equal(world_server(&world, primary)->replicas[handle].count, 6);
    world_fini(&world);
}

static void test_opening_when_a_member_dies_is_placed_anew(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t file = world_create(&world, "/f", 3, 2);
    world.hold = true;
    world_tail(&world, file);
    struct world_command *first = world.commands;
    uint64_t handle = first->request->open->handle;
    uint32_t victim = 0;
    for (uint32_t i = 1; i <= 4; i++) {
        if (world_server(&world, i)->conn == first->conn) {
            victim = i;
        }
    }
    world.hold = false;
    world_server_kill(&world, victim);
    const Pawl__Chunk *chunk = world_granted(&world, file, 3000);
    assert_int_equal(chunk->handle, handle);
    assert_int_equal(chunk->n_replicas, 3);
    assert_int_equal(chunk->version, 2);
    assert_int_equal(chunk->index, 0);
    for (size_t i = 0; i < 3; i++) {
        assert_true(chunk->replicas[i]->server_id != 0xc0 + victim);
    }
    // If it had made the chunk after all, it is told to drop that empty one.
    world_server(&world, victim)->replicas[handle] =
        (struct fake_replica){.exists = true, .version = 1};
    world_server_start(&world, victim);
    assert_false(world_server(&world, victim)->replicas[handle].exists);
    world_fini(&world);
}

static void test_opening_when_a_member_refuses_is_placed_elsewhere(void **state)
{
    (void)state;
    world_init(&world, 4);
    world_server(&world, 2)->refuse = PAWL_ENOSPACE;
    for (int i = 0; i < 4; i++) {
        char path[16];
        snprintf(path, sizeof(path), "/f%d", i);
        uint64_t file = world_create(&world, path, 3, 2);
        const Pawl__Chunk *chunk = world_granted(&world, file, 5000);
        for (size_t m = 0; m < chunk->n_replicas; m++) {
            assert_true(chunk->replicas[m]->server_id != 0xc2);
        }
    }
    world_server(&world, 2)->refuse = 0;
    world_fini(&world);
}

static void test_incarnation_when_it_changes_without_a_close_voids_the_lease(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 6, &handle);
    uint32_t primary = world_primary(&world, handle);
    struct fake_server *server = world_server(&world, primary);
    server->replicas[handle].primary = false;
    server->incarnation = ++world.next_incarnation;
    server->conn = ++world.next_conn; // the old connection still stands at the master
    assert_int_equal(world_server_register(&world, primary)->code, 0);
    assert_true(world_noted(&world, "it restarted"));
    assert_true(version_of(handle) > 1);
    world_granted(&world, file, 3000);
    world_fini(&world);
}

static void test_gap_when_the_master_slept_kills_nobody(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(3, 6, &handle);
    world.now_ns += UINT64_C(60000000000);
    struct master_event tick = {.type = MASTER_EVENT_TICK};
    world_event(&world, &tick);
    assert_false(world_noted(&world, "dead"));
    world_advance(&world, 300);
    assert_int_equal(world_granted(&world, file, 3000)->handle, handle);
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tail_when_first_asked_for_is_granted_version_1),
        cmocka_unit_test(test_tail_when_the_log_is_not_durable_asks_nobody),
        cmocka_unit_test(test_tail_when_too_few_servers_live_says_so),
        cmocka_unit_test(test_tail_when_no_server_has_space_says_so),
        cmocka_unit_test(test_lease_when_heartbeats_come_is_renewed),
        cmocka_unit_test(test_full_chunk_when_reported_is_sealed_and_followed),
        cmocka_unit_test(test_full_hint_when_the_primary_stays_silent_seals),
        cmocka_unit_test(test_full_hint_when_the_chunk_is_empty_makes_no_new_one),
        cmocka_unit_test(test_primary_lost_when_records_were_acked_seals_and_goes_on),
        cmocka_unit_test(test_secondary_lost_when_the_primary_is_ahead_levels_the_other),
        cmocka_unit_test(test_recovery_when_all_answer_grants_the_same_chunk_again),
        cmocka_unit_test(test_broken_when_regrants_bring_nothing_moves_to_another_chunk),
        cmocka_unit_test(test_report_when_it_is_old_or_foreign_starts_nothing),
        cmocka_unit_test(test_hint_when_the_primary_is_out_of_reach_moves_the_lease),
        cmocka_unit_test(test_all_lost_when_they_come_back_grants_again),
        cmocka_unit_test(test_all_lost_when_one_comes_back_settles_for_it),
        cmocka_unit_test(test_mute_member_when_its_deadline_passes_leaves_the_set),
        cmocka_unit_test(test_silent_member_when_dead_is_recovered_from),
        cmocka_unit_test(test_grant_when_unanswered_is_never_offered_to_another),
        cmocka_unit_test(test_stale_replica_when_longer_is_cut_when_shorter_is_not_listed),
        cmocka_unit_test(test_recovery_when_committed_records_are_missing_blocks),
        cmocka_unit_test(test_recovery_when_all_members_lack_committed_records_says_damaged),
        cmocka_unit_test(test_damaged_open_replica_when_reported_is_left_out),
        cmocka_unit_test(test_level_when_the_source_is_corrupt_leads_without_it),
        cmocka_unit_test(test_member_when_it_cannot_level_leaves_the_set),
        cmocka_unit_test(test_record_when_too_few_can_have_it_is_left_out),
        cmocka_unit_test(test_record_when_a_member_has_not_answered_stays),
        cmocka_unit_test(test_record_when_known_to_be_committed_stays),
        cmocka_unit_test(test_member_when_it_fails_the_fence_is_not_in_the_next_set),
        cmocka_unit_test(test_source_lost_when_levelling_begins_again_without_it),
        cmocka_unit_test(test_opening_when_a_member_dies_is_placed_anew),
        cmocka_unit_test(test_opening_when_a_member_refuses_is_placed_elsewhere),
        cmocka_unit_test(test_incarnation_when_it_changes_without_a_close_voids_the_lease),
        cmocka_unit_test(test_gap_when_the_master_slept_kills_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
