// SPDX-License-Identifier: Apache-2.0
// The master dies at every step of a scenario, and a random world: nothing acknowledged is lost, and
// when all is well again every file can be appended to.
#include "base/util.h"
#include "master_harness.h"

static struct world world;

// ---- the master's death at every half command -----------------------------------------------------

// The world stood still because the master is to die here: it does, and its servers find it again.
static void settle(void)
{
    if (!world.hold) {
        return;
    }
    world.hold = false;
    world.halt_in = -1;
    world_master_restart(&world);
    for (uint32_t i = 1; i <= world.servers_count; i++) {
        if (world_server(&world, i)->conn) {
            assert_int_equal(world_server_register(&world, i)->code, 0);
        }
    }
}

static uint64_t tail_handle(uint64_t file)
{
    settle();
    for (int i = 0; i < 200; i++) {
        const Pawl__Reply *reply = world_tail(&world, file);
        uint64_t handle = reply->code == 0 ? reply->tail->chunk->handle : 0;
        settle();
        if (handle && world_primary(&world, handle)) {
            return handle;
        }
        world_advance(&world, 50);
        settle();
    }
    fail_msg("no lease\n%s", world.notes);
    return 0;
}

// As a client and its primary would: what does not get through is reported, and tried again.
static void append(uint64_t file, uint64_t count)
{
    for (int i = 0; i < 20; i++) {
        uint64_t handle = tail_handle(file);
        if (world_append(&world, handle, count)) {
            return;
        }
        uint64_t version = world_chunk(&world, handle)->version;
        world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_BROKEN,
                     handle, version, 0);
        world_advance(&world, 50);
    }
    fail_msg("no append\n%s", world.notes);
}

static void scenario(void)
{
    uint64_t file = world_create(&world, "/f", 3, 2);
    settle();
    append(file, 5);
    uint64_t handle = tail_handle(file);
    world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_FULL, handle,
                 world_chunk(&world, handle)->version, 0);
    settle();
    append(file, 3);
    handle = tail_handle(file);
    uint32_t primary = world_primary(&world, handle);
    world_server(&world, primary)->replicas[handle].count++; // in flight when a secondary dies
    uint32_t victim = primary == 1 ? 2 : 1;
    world_server_kill(&world, victim);
    settle();
    append(file, 2);
    world_server_start(&world, victim);
    settle();
    handle = tail_handle(file);
    primary = world_primary(&world, handle);
    world_server(&world, primary)->replicas[handle].count++;
    world_report(&world, primary, PAWL__REPORT_KIND__REPORT_BROKEN, handle,
                 world_chunk(&world, handle)->version, 0);
    settle();
    append(file, 1);
    assert_int_equal(world_remove(&world, "/f", false), 0);
    settle();
}

static void test_master_when_it_dies_at_any_step_goes_on(void **state)
{
    (void)state;
    int64_t halt_at = 0;
    for (bool halted = true; halted; halt_at++) {
        world_init(&world, 4);
        world.halt_in = halt_at;
        scenario();
        halted = world.halt_in == -1; // it has died on the way
        world.halt_in = -1;
        world_advance(&world, 5000);
        // The file is gone; what was left of it on the servers goes too.
        for (uint32_t i = 1; i <= 4; i++) {
            for (uint64_t handle = 1; handle < WORLD_CHUNKS; handle++) {
                assert_false(world_server(&world, i)->replicas[handle].exists &&
                             world_server(&world, i)->replicas[handle].count > 0);
            }
        }
        world_fini(&world);
    }
    assert_true(halt_at > 60); // the scenario has at least so many half commands
}

static void test_primary_when_the_master_restarts_is_adopted(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    uint64_t handle = world_granted(&world, file, 0)->handle;
    assert_true(world_append(&world, handle, 4));
    world_master_restart(&world);
    for (uint32_t i = 1; i <= 3; i++) {
        world_server_register(&world, i);
    }
    const Pawl__Reply *reply = world_tail(&world, file);
    assert_int_equal(reply->code, 0);
    assert_int_equal(reply->tail->chunk->version, 1);
    assert_true(world_noted(&world, "chunk 1 adopted version 1 primary"));
    world_advance(&world, 6000);
    assert_int_equal(world_tail(&world, file)->tail->chunk->version, 1);
    world_fini(&world);
}

static void test_primary_when_a_member_died_with_the_master_is_replaced(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    uint64_t handle = world_granted(&world, file, 0)->handle;
    assert_true(world_append(&world, handle, 4));
    uint32_t primary = world_primary(&world, handle);
    uint32_t gone = primary == 3 ? 1 : 3;
    world_server(&world, gone)->conn = 0;
    world_master_restart(&world);
    for (uint32_t i = 1; i <= 3; i++) {
        if (i != gone) {
            world_server_register(&world, i);
        }
    }
    world_advance(&world, 1500); // the missing one may have been on its way
    assert_int_equal(world_chunk(&world, handle)->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_int_equal(world_chunk(&world, handle)->count, 4);
    assert_int_equal(world_granted(&world, file, 2000)->n_replicas, 2);
    world_fini(&world);
}

// Found by pawl-model 2r1w1c1m: nobody asked for the tail, so nothing happened until its lease ended.
static void test_primary_when_its_version_is_overtaken_is_fenced(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    uint64_t handle = world_granted(&world, file, 0)->handle;
    assert_true(world_append(&world, handle, 4));
    uint32_t primary = world_primary(&world, handle);
    world.hold = true; // the fence is logged, and reaches nobody before the master dies
    world_report(&world, primary, PAWL__REPORT_KIND__REPORT_BROKEN, handle, 1, 0);
    world.hold = false;
    world_master_restart(&world);
    for (uint32_t i = 1; i <= 3; i++) {
        world_server_register(&world, i);
    }
    assert_false(world_noted(&world, "chunk 1 adopted"));
    world_advance(&world, 500); // less than what is left of the lease
    assert_true(world_noted(&world, "chunk 1 granted version 3"));
    assert_int_equal(world_primary(&world, handle), primary);
    world_fini(&world);
}

static void test_lease_when_nobody_claims_it_is_granted_anew_on_demand(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    uint64_t handle = world_granted(&world, file, 0)->handle;
    assert_true(world_append(&world, handle, 4));
    for (uint32_t i = 1; i <= 3; i++) {
        world_server(&world, i)->replicas[handle].primary = false;
    }
    world_master_restart(&world);
    for (uint32_t i = 1; i <= 3; i++) {
        world_server_register(&world, i);
    }
    size_t log_count = world.log_count;
    world_advance(&world, 5000);
    assert_int_equal(world.log_count, log_count); // nobody wants it
    assert_int_equal(world_granted(&world, file, 100)->version, 2);
    world_fini(&world);
}

// ---- a random world --------------------------------------------------------------------------------

#define FILES 3

static uint64_t files[FILES];

static void random_server(struct pawl_random *random)
{
    uint32_t i = 1 + (uint32_t)pawl_random_below(random, world.servers_count);
    struct fake_server *server = world_server(&world, i);
    switch (pawl_random_below(random, 6)) {
    case 0:
        if (server->conn) {
            world_server_kill(&world, i);
        }
        break;
    case 1:
    case 2:
        if (!server->conn) {
            world_server_start(&world, i);
        }
        break;
    case 3:
        if (server->conn) {
            world_server_reconnect(&world, i);
        }
        break;
    case 4:
        server->mute = pawl_random_chance(random, 1, 3);
        server->late = pawl_random_chance(random, 1, 2);
        break;
    default:
        server->silent = pawl_random_chance(random, 1, 4);
        server->shy = pawl_random_chance(random, 1, 5);
        break;
    }
}

static void random_append(struct pawl_random *random, uint64_t file)
{
    const Pawl__Reply *reply = world_tail(&world, file);
    if (reply->code != 0) {
        return;
    }
    uint64_t handle = reply->tail->chunk->handle;
    uint64_t version = reply->tail->chunk->version;
    uint32_t primary = world_primary(&world, handle);
    if (primary == 0) {
        return;
    }
    switch (pawl_random_below(random, 8)) {
    case 0: // in flight
        world_server(&world, primary)->replicas[handle].count++;
        break;
    case 1:
        world_report(&world, primary, PAWL__REPORT_KIND__REPORT_FULL, handle, version, 0);
        break;
    case 2:
        world_tail_hint(&world, file, handle, version,
                        pawl_random_chance(random, 1, 2) ? PAWL_EDEADLINE : PAWL_ECHUNKFULL);
        break;
    default:
        if (!world_append(&world, handle, 1 + pawl_random_below(random, 3))) {
            world_report(&world, primary, PAWL__REPORT_KIND__REPORT_BROKEN, handle, version,
                         0xc1 + pawl_random_below(random, world.servers_count));
        }
        break;
    }
}

static void random_master(void)
{
    world_master_restart(&world);
    for (uint32_t i = 1; i <= world.servers_count; i++) {
        if (world_server(&world, i)->conn) {
            world_server_register(&world, i);
        }
    }
}

static void random_step(struct pawl_random *random)
{
    uint64_t dice = pawl_random_below(random, 100);
    if (dice < 25) {
        random_server(random);
    } else if (dice < 70) {
        random_append(random, files[pawl_random_below(random, FILES)]);
    } else if (dice < 73) {
        random_master();
    } else if (dice < 74) {
        assert_int_equal(world_remove(&world, "/f0", false), 0);
        files[0] = world_create(&world, "/f0", 3, 2);
    } else {
        world_advance(&world, 50 * (1 + pawl_random_below(random, 8)));
    }
}

// "With faults off, every pending operation ends within a bound."
static void random_heal(void)
{
    for (uint32_t i = 1; i <= world.servers_count; i++) {
        struct fake_server *server = world_server(&world, i);
        server->mute = server->late = server->silent = server->shy = false;
        if (!server->conn) {
            world_server_start(&world, i);
        }
    }
    world_advance(&world, 5000);
    for (int i = 0; i < FILES; i++) {
        append(files[i], 1);
    }
    world_advance(&world, 20000); // copies, and the grace of surplus replicas
}

// Judged by what the fake servers hold, not by what the master believes of them.
static void random_judge(void)
{
    for (uint64_t handle = 1; handle < WORLD_CHUNKS; handle++) {
        const Pawl__Chunk *chunk = world_chunk(&world, handle);
        if (!chunk || chunk->state != PAWL__CHUNK_STATE__CHUNK_SEALED) {
            continue;
        }
        assert_true(chunk->count >= world.acked[handle]);
        uint32_t whole = 0;
        for (uint32_t i = 1; i <= world.servers_count; i++) {
            const struct fake_replica *replica = &world_server(&world, i)->replicas[handle];
            whole += replica->exists && replica->sealed && replica->count == chunk->count;
            assert_true(!replica->sealed || replica->count == chunk->count);
        }
        assert_true(whole >= 1);
        assert_int_equal(whole, chunk->n_replicas);
        assert_int_equal(whole, 3);
        assert_false(chunk->under_replicated);
    }
}

static void test_random_world_when_it_heals_has_lost_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct pawl_random random;
        pawl_random_seed(&random, seed);
        world_init(&world, 3 + (uint32_t)pawl_random_below(&random, 3));
        for (int i = 0; i < FILES; i++) {
            char path[16];
            snprintf(path, sizeof(path), "/f%d", i % FILES);
            files[i] = world_create(&world, path, 3, 2);
        }
        for (int step = 0; step < 150; step++) {
            random_step(&random);
        }
        random_heal();
        random_judge();
        world_fini(&world);
    }
}

// The REGISTER of a life that is over was still under way when the next life registered. Lives have
// no order, so it takes the connection away from the server that is up, which the next heartbeat
// tells: found by pawl-model, 2r2w1c1m1t.
static void test_register_when_of_a_past_life_is_late_a_heartbeat_mends_it(void **state)
{
    (void)state;
    world_init(&world, 2);
    uint64_t file = world_create(&world, "/f", 2, 1);
    append(file, 1);
    uint32_t victim = world_primary(&world, tail_handle(file));
    struct fake_server *server = world_server(&world, victim);
    uint64_t past = server->incarnation;
    world_server_kill(&world, victim);
    world_server_start(&world, victim);
    append(file, 1);
    struct fake_server now = {.conn = server->conn, .incarnation = server->incarnation};
    server->conn = 7001;
    server->incarnation = past;
    server->mute = true; // nobody is there any more
    assert_int_equal(world_server_register(&world, victim)->code, 0);
    assert_true(world_noted(&world, "it restarted"));
    server->conn = now.conn;
    server->incarnation = now.incarnation;
    server->mute = false;
    struct master_event closed = {.type = MASTER_EVENT_CONN_CLOSED, .conn = 7001};
    world_event(&world, &closed);
    Pawl__Heartbeat heartbeat = PAWL__HEARTBEAT__INIT;
    heartbeat.server_id = server->id;
    heartbeat.incarnation = server->incarnation;
    assert_true(world_call_on(&world, server->conn, WORLD_BODY(HEARTBEAT), &heartbeat)
                    ->heartbeat->register_again);
    assert_int_equal(world_server_register(&world, victim)->code, 0);
    append(file, 1);
    world_check_acked(&world);
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_primary_when_the_master_restarts_is_adopted),
        cmocka_unit_test(test_primary_when_a_member_died_with_the_master_is_replaced),
        cmocka_unit_test(test_primary_when_its_version_is_overtaken_is_fenced),
        cmocka_unit_test(test_lease_when_nobody_claims_it_is_granted_anew_on_demand),
        cmocka_unit_test(test_master_when_it_dies_at_any_step_goes_on),
        cmocka_unit_test(test_register_when_of_a_past_life_is_late_a_heartbeat_mends_it),
        cmocka_unit_test(test_random_world_when_it_heals_has_lost_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
