// SPDX-License-Identifier: Apache-2.0
// Tests of requests: chunks, producers, servers, deletes, and what hostile peers send.
#include "base/log.h"
#include "base/util.h"
#include "controlplane/core/master_core_private.h"
#include "master_harness.h"

static struct world world;

static Pawl__Register good_register(uint64_t id)
{
    Pawl__Register reg = PAWL__REGISTER__INIT;
    reg.server_id = id;
    reg.incarnation = 5;
    reg.name = (char *)"visitor";
    reg.fabric_address = (char *)"fake://9";
    reg.space_bytes = UINT64_C(1) << 40;
    return reg;
}

static const struct fake_replica *held(uint32_t i, uint64_t handle)
{
    return &world_server(&world, i)->replicas[handle];
}

// A core includes no log, so it has the numbers of the levels for itself.
_Static_assert((int)MASTER_LEVEL_ERROR == (int)PAWL_LOG_ERROR, "levels");
_Static_assert((int)MASTER_LEVEL_WARN == (int)PAWL_LOG_WARN, "levels");
_Static_assert((int)MASTER_LEVEL_INFO == (int)PAWL_LOG_INFO, "levels");
_Static_assert((int)MASTER_LEVEL_DEBUG == (int)PAWL_LOG_DEBUG, "levels");

// ---- chunks ----------------------------------------------------------------------------------------

static uint64_t file_of_chunks(uint32_t count)
{
    uint64_t file = world_create(&world, "/f", 3, 2);
    for (uint32_t i = 0; i < count; i++) {
        const Pawl__Chunk *chunk = world_granted(&world, file, 1000);
        uint64_t handle = chunk->handle;
        uint64_t version = chunk->version;
        assert_true(world_append(&world, handle, 2));
        world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_FULL, handle,
                     version, 0);
    }
    world_granted(&world, file, 1000);
    return file;
}

static void test_chunks_when_paged_give_every_chunk_once(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = file_of_chunks(9);
    uint32_t seen = 0;
    for (bool more = true; more;) {
        Pawl__GetChunks get = PAWL__GET_CHUNKS__INIT;
        get.file_id = file;
        get.from_index = seen;
        get.count = 4;
        const Pawl__Reply *reply = world_call(&world, WORLD_BODY(GET_CHUNKS), &get);
        assert_int_equal(reply->code, 0);
        for (size_t i = 0; i < reply->chunks->n_chunks; i++, seen++) {
            assert_int_equal(reply->chunks->chunks[i]->index, seen);
            assert_int_equal(reply->chunks->chunks[i]->base_offset, seen * 2 * RECORD_BYTES);
        }
        more = reply->chunks->more;
    }
    assert_int_equal(seen, 10);
    world_stat(&world, "/f");
    assert_int_equal(world.reply->file->sealed_bytes, 18 * RECORD_BYTES);
    assert_int_equal(world.reply->file->chunks_count, 10);
    world_fini(&world);
}

static void test_chunks_when_asked_for_wrongly_say_so(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = file_of_chunks(1);
    Pawl__GetChunks get = PAWL__GET_CHUNKS__INIT;
    get.file_id = file;
    get.from_index = UINT32_MAX;
    get.count = UINT32_MAX;
    assert_int_equal(world_call(&world, WORLD_BODY(GET_CHUNKS), &get)->chunks->n_chunks, 0);
    get.handle = 500;
    assert_int_equal(world_call(&world, WORLD_BODY(GET_CHUNKS), &get)->code, PAWL_ENOTFOUND);
    get.file_id = file + 7;
    get.handle = 0;
    assert_int_equal(world_call(&world, WORLD_BODY(GET_CHUNKS), &get)->code, PAWL_ENOTFOUND);
    get.file_id = 1;
    assert_int_equal(world_call(&world, WORLD_BODY(GET_CHUNKS), &get)->code, PAWL_EISDIR);
    world_fini(&world);
}

static void test_tail_when_only_read_makes_no_chunk(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    size_t log_count = world.log_count;
    Pawl__GetTail get = PAWL__GET_TAIL__INIT;
    get.file_id = file;
    const Pawl__Reply *reply = world_call(&world, WORLD_BODY(GET_TAIL), &get);
    assert_int_equal(reply->code, 0);
    assert_null(reply->tail->chunk);
    assert_int_equal(reply->tail->chunk_bytes, 1 << 20);
    assert_int_equal(world.log_count, log_count);
    world_fini(&world);
}

static void test_placement_when_locations_differ_spreads_over_them(void **state)
{
    (void)state;
    world_init(&world, 6);
    for (uint32_t i = 1; i <= 6; i++) { // two racks of two, two of one
        static const char *const racks[] = {"a", "a", "b", "b", "c", "d"};
        strcpy(world_server(&world, i)->location, racks[i - 1]);
        world_server_reconnect(&world, i);
    }
    for (int i = 0; i < 12; i++) {
        char path[16];
        snprintf(path, sizeof(path), "/f%d", i);
        uint64_t file = world_create(&world, path, 3, 2);
        const Pawl__Chunk *chunk = world_granted(&world, file, 0);
        for (size_t a = 0; a < 3; a++) {
            for (size_t b = 0; b < a; b++) {
                const char *location_a =
                    world_server(&world, (uint32_t)(chunk->replicas[a]->server_id - 0xc0))
                        ->location;
                const char *location_b =
                    world_server(&world, (uint32_t)(chunk->replicas[b]->server_id - 0xc0))
                        ->location;
                assert_string_not_equal(location_a, location_b);
            }
        }
    }
    world_fini(&world);
}

static void offer(uint32_t i, const char *addresses)
{
    world_server(&world, i)->address = addresses;
    world_server_reconnect(&world, i);
}

static uint32_t times_placed(uint32_t i, uint32_t files)
{
    static unsigned number; // no name comes twice
    uint32_t count = 0;
    for (uint32_t f = 0; f < files; f++) {
        char path[16];
        snprintf(path, sizeof(path), "/%u", number++);
        const Pawl__Chunk *chunk = world_granted(&world, world_create(&world, path, 2, 2), 0);
        for (size_t r = 0; r < chunk->n_replicas; r++) {
            count += chunk->replicas[r]->server_id == 0xc0 + i;
        }
    }
    return count;
}

static void test_placement_when_a_server_shares_no_fabric_leaves_it_out(void **state)
{
    (void)state;
    world_init(&world, 4);
    offer(1, "verbs://1,tcp://1");
    offer(2, "verbs://2,tcp://2");
    offer(3, "tcp://3");
    world_notes_clear(&world);
    offer(4, "verbs://4"); // tcp: three servers, verbs: three; tcp is heard of later
    assert_true(times_placed(4, 12) > 0);
    assert_int_equal(times_placed(3, 12), 0);
    offer(2, "tcp://2"); // tcp: three, verbs: two
    world_notes_clear(&world);
    offer(4, "verbs://4");
    assert_true(world_noted(&world, "offers verbs only, most servers tcp"));
    assert_int_equal(times_placed(4, 12), 0);
    assert_true(times_placed(3, 12) > 0);
    world_notes_clear(&world);
    offer(4, "verbs://4,tcp://4");
    assert_false(world_noted(&world, "offers verbs"));
    assert_true(times_placed(4, 12) > 0);
    world_fini(&world);
}

// After a start the odd one may be the first to come.
static void test_providers_when_the_odd_one_came_first_it_is_named_and_no_other(void **state)
{
    (void)state;
    world_init(&world, 3);
    for (unsigned i = 1; i <= 3; i++) {
        world_server_kill(&world, i);
    }
    world_notes_clear(&world);
    offer(3, "tcp://3");
    offer(1, "net://1");
    assert_false(world_noted(&world, "gets no replicas"));
    offer(2, "net://2");
    assert_true(world_noted(&world, "server cs3 offers tcp only, most servers net"));
    assert_false(world_noted(&world, "offers net only"));
    world_notes_clear(&world);
    offer(2, "net://2");
    assert_false(world_noted(&world, "gets no replicas"));
    world_fini(&world);
}

static void test_placement_when_too_few_share_a_fabric_waits(void **state)
{
    (void)state;
    world_init(&world, 3);
    offer(1, "a://1");
    offer(2, "b://2");
    offer(3, "c://3");
    Pawl__Create create = PAWL__CREATE__INIT;
    create.path = (char *)(uintptr_t) "/f";
    create.replicas = 3;
    create.min_replicas = 2;
    create.chunk_bytes = 1 << 20;
    const Pawl__Reply *reply = world_call(&world, WORLD_BODY(CREATE), &create);
    assert_int_equal(reply->code, 0);
    Pawl__GetTail get = PAWL__GET_TAIL__INIT;
    get.file_id = reply->file->file_id;
    get.append = true;
    assert_int_equal(world_call(&world, WORLD_BODY(GET_TAIL), &get)->code, PAWL_ENOSERVERS);
    world_fini(&world);
}

// Names are remembered for as long as the master runs, so they are bounded.
static void test_providers_when_too_many_are_named_are_not_used(void **state)
{
    (void)state;
    char addresses[64];
    world_init(&world, 3);
    for (unsigned i = 0; i < 2 * MASTER_PROVIDERS_MAX; i++) {
        snprintf(addresses, sizeof(addresses), "p%u://1,q%u://2", i, i);
        offer(1, addresses);
    }
    assert_true(world.core->providers.count <= MASTER_PROVIDERS_MAX);
    world_server(&world, 1)->address = NULL;
    assert_int_equal(times_placed(1, 6), 0);
    world_server_reconnect(&world, 1);
    assert_true(times_placed(1, 7) > 0);
    world_fini(&world);
}

// Two that can't reach each other blame each other, chunk after chunk: in one set they would go on for ever.
static void test_place_when_two_of_three_have_failed_then_takes_one_of_them(void **state)
{
    (void)state;
    world_init(&world, 3);
    struct master_inode file = {.replicas = 3, .min_replicas = 2, .chunk_bytes = 1 << 20};
    uint64_t set[MASTER_SET_MAX];
    uint32_t count = 0;
    assert_int_equal(master_place(world.core, &file, set, &count), 0);
    assert_int_equal(count, 3);
    for (unsigned i = 0; i < 2; i++) {
        world.core->servers_order[i]->avoid_ns = world.core->now_ns + 1;
    }
    assert_int_equal(master_place(world.core, &file, set, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(set[0], world.core->servers_order[2]->id);
    file.min_replicas = 3; // the minimum comes first
    assert_int_equal(master_place(world.core, &file, set, &count), 0);
    assert_int_equal(count, 3);
    world_fini(&world);
}

// ---- deletes ---------------------------------------------------------------------------------------

static void test_delete_when_servers_are_there_drops_their_replicas(void **state)
{
    (void)state;
    world_init(&world, 3);
    file_of_chunks(3);
    uint64_t first = 1;
    assert_true(held(1, first)->exists);
    world_server_kill(&world, 2);
    world_advance(&world, 500);
    assert_int_equal(world_remove(&world, "/f", false), 0);
    for (uint64_t handle = 1; handle < 20; handle++) {
        assert_false(held(1, handle)->exists);
        assert_false(held(3, handle)->exists);
    }
    assert_true(held(2, first)->exists);
    world_server_start(&world, 2); // it tells what it has, and is told that it is garbage
    for (uint64_t handle = 1; handle < 20; handle++) {
        assert_false(held(2, handle)->exists);
    }
    world_fini(&world);
}

static void test_delete_when_a_drop_fails_is_repeated(void **state)
{
    (void)state;
    world_init(&world, 3);
    file_of_chunks(1);
    world_server(&world, 2)->refuse = PAWL_EBUSY;
    world_remove(&world, "/f", false);
    assert_true(held(2, 1)->exists);
    world_server(&world, 2)->refuse = 0;
    world_advance(&world, 3000);
    assert_false(held(2, 1)->exists);
    world_fini(&world);
}

static void test_delete_when_many_chunks_go_keeps_commands_in_bounds(void **state)
{
    (void)state;
    world_init(&world, 3);
    file_of_chunks(100);
    world.hold = true;
    world_remove(&world, "/f", false);
    uint32_t waiting = 0;
    for (struct world_command *c = world.commands; c; c = c->next) {
        waiting++;
    }
    assert_int_equal(waiting, 3 * 32);
    world.hold = false;
    world_pump(&world);
    for (uint64_t handle = 1; handle <= 101; handle++) {
        assert_false(held(1, handle)->exists || held(2, handle)->exists || held(3, handle)->exists);
    }
    world_fini(&world);
}

static void test_delete_when_a_recovery_is_under_way_ends_it(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    uint64_t handle = world_granted(&world, file, 0)->handle;
    uint32_t primary = world_primary(&world, handle);
    world.hold = true;
    world_report(&world, primary, PAWL__REPORT_KIND__REPORT_FULL, handle, 1, 0);
    world_server_kill(&world, primary);
    world_remove(&world, "/f", false);
    world.hold = false;
    world_pump(&world);
    world_advance(&world, 2000);
    assert_int_equal(world_tail(&world, file)->code, PAWL_EDELETED);
    world_fini(&world);
}

static void test_inventory_when_it_names_unknown_chunks_leaves_them_alone(void **state)
{
    (void)state;
    world_init(&world, 3);
    world_server(&world, 1)->replicas[77] =
        (struct fake_replica){.exists = true, .version = 3, .count = 9};
    world_advance(&world, 1000); // in a heartbeat; a registration would halt the master
    assert_true(held(1, 77)->exists);
    assert_true(world_noted(&world, "holds chunk 77, which this cluster has never made"));
    world_fini(&world);
}

static void test_damage_when_reported_of_a_sealed_chunk_lists_it_last(void **state)
{
    (void)state;
    world_init(&world, 3);
    file_of_chunks(1);
    uint64_t first = world_chunk(&world, 1)->replicas[0]->server_id;
    world_report(&world, (uint32_t)(first - 0xc0), PAWL__REPORT_KIND__REPORT_DAMAGED, 1, 0, 0);
    const Pawl__Chunk *chunk = world_chunk(&world, 1);
    assert_int_equal(chunk->n_replicas, 3);
    assert_int_equal(chunk->replicas[2]->server_id, first);
    assert_true(chunk->replicas[2]->damaged);
    assert_false(chunk->replicas[0]->damaged);
    assert_true(chunk->under_replicated);
    world_fini(&world);
}

static void test_seal_when_a_replica_is_damaged_is_not_repeated_for_ever(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    uint64_t handle = world_granted(&world, file, 0)->handle;
    assert_true(world_append(&world, handle, 3));
    uint32_t primary = world_primary(&world, handle);
    uint32_t bad = primary == 1 ? 2 : 1;
    world_server(&world, bad)->refuse_seals = PAWL_ECORRUPT;
    world_report(&world, primary, PAWL__REPORT_KIND__REPORT_FULL, handle, 1, 0);
    const Pawl__Chunk *chunk = world_chunk(&world, handle);
    assert_int_equal(chunk->state, PAWL__CHUNK_STATE__CHUNK_SEALED);
    assert_int_equal(chunk->replicas[2]->server_id, 0xc0 + bad);
    assert_true(chunk->replicas[2]->damaged);
    world_notes_clear(&world);
    world_advance(&world, 10000);
    assert_false(world_noted(&world, "failed to seal"));
    // There is no other server: it is dropped, and copied anew from a good one.
    assert_int_equal(world_server(&world, bad)->drops_count, 1);
    assert_true(held(bad, handle)->sealed);
    assert_false(world_chunk(&world, handle)->under_replicated);
    world_fini(&world);
}

// ---- producers -------------------------------------------------------------------------------------

static void test_producer_when_opened_again_has_the_next_epoch(void **state)
{
    (void)state;
    world_init(&world, 0);
    uint64_t file = world_create(&world, "/f", 3, 2);
    Pawl__OpenProducer open = PAWL__OPEN_PRODUCER__INIT;
    open.file_id = file;
    open.name = (char *)"w";
    const Pawl__Reply *reply = world_call(&world, WORLD_BODY(OPEN_PRODUCER), &open);
    assert_int_equal(reply->code, 0);
    uint64_t hi = reply->producer->producer_hi;
    uint64_t lo = reply->producer->producer_lo;
    assert_int_equal(reply->producer->epoch, 1);
    world_master_restart(&world);
    reply = world_call(&world, WORLD_BODY(OPEN_PRODUCER), &open);
    assert_int_equal(reply->producer->epoch, 2);
    assert_int_equal(reply->producer->producer_hi, hi);
    assert_int_equal(reply->producer->producer_lo, lo);
    open.name = (char *)"v";
    reply = world_call(&world, WORLD_BODY(OPEN_PRODUCER), &open);
    assert_int_equal(reply->producer->epoch, 1);
    assert_true(reply->producer->producer_lo != lo);
    open.name = (char *)"bad\nname";
    assert_int_equal(world_call(&world, WORLD_BODY(OPEN_PRODUCER), &open)->code, PAWL_EINVALID);
    open.name = (char *)"";
    assert_int_equal(world_call(&world, WORLD_BODY(OPEN_PRODUCER), &open)->code, PAWL_EINVALID);
    open.file_id = 77;
    assert_int_equal(world_call(&world, WORLD_BODY(OPEN_PRODUCER), &open)->code, PAWL_ENOTFOUND);
    world_fini(&world);
}

// ---- servers ---------------------------------------------------------------------------------------

static void test_register_when_of_another_cluster_is_refused(void **state)
{
    (void)state;
    world_init(&world, 1);
    Pawl__Register reg = good_register(0xe1);
    reg.cluster_id = 4711;
    assert_int_equal(world_call(&world, WORLD_BODY(REGISTER), &reg)->code, PAWL_ECLUSTER);
    reg.cluster_id = 0;
    const Pawl__Reply *reply = world_call(&world, WORLD_BODY(REGISTER), &reg);
    assert_int_equal(reply->code, 0);
    assert_int_equal(reply->registered->cluster_id, master_core_cluster_id(world.core));
    assert_int_equal(reply->registered->heartbeat_ms, 200);
    assert_int_equal(reply->registered->lease_ms, 2000);
    world_fini(&world);
}

static void test_register_when_malformed_is_refused(void **state)
{
    (void)state;
    char many[200];
    memset(many, 'x', sizeof(many));
    many[sizeof(many) - 1] = '\0';
    world_init(&world, 1);
    for (int i = 0; i < 7; i++) {
        Pawl__Register reg = good_register(i == 0 ? 0 : 0xe1);
        reg.incarnation = i == 1 ? 0 : 5;
        reg.name = i == 2 ? (char *)"" : i == 3 ? many : i == 4 ? (char *)"a\tb" : reg.name;
        reg.fabric_address = i == 5 ? many : i == 6 ? (char *)"" : reg.fabric_address;
        assert_int_equal(world_call(&world, WORLD_BODY(REGISTER), &reg)->code, PAWL_EINVALID);
    }
    // A connection that is one server's can't become another's.
    Pawl__Register reg = good_register(0xe1);
    assert_int_equal(
        world_call_on(&world, world_server(&world, 1)->conn, WORLD_BODY(REGISTER), &reg)->code,
        PAWL_EINVALID);
    world_fini(&world);
}

static void test_register_when_the_id_is_taken_the_newest_wins(void **state)
{
    (void)state;
    world_init(&world, 2);
    uint64_t old = world_server(&world, 1)->conn;
    Pawl__Register reg = good_register(0xc1);
    reg.incarnation = 4242;
    assert_int_equal(world_call_on(&world, 7001, WORLD_BODY(REGISTER), &reg)->code, 0);
    Pawl__Heartbeat heartbeat = PAWL__HEARTBEAT__INIT;
    heartbeat.server_id = 0xc1;
    heartbeat.incarnation = world_server(&world, 1)->incarnation;
    assert_true(
        world_call_on(&world, old, WORLD_BODY(HEARTBEAT), &heartbeat)->heartbeat->register_again);
    struct master_event closed = {.type = MASTER_EVENT_CONN_CLOSED, .conn = old};
    world_event(&world, &closed); // the loser's end is nobody's loss
    assert_false(world_noted(&world, "connection closed"));
    world_server(&world, 1)->conn = 0;
    world_fini(&world);
}

static void test_heartbeat_when_of_a_stranger_asks_it_to_register(void **state)
{
    (void)state;
    world_init(&world, 1);
    Pawl__Heartbeat heartbeat = PAWL__HEARTBEAT__INIT;
    heartbeat.server_id = 0xc1;
    heartbeat.incarnation = world_server(&world, 1)->incarnation;
    assert_true(world_call(&world, WORLD_BODY(HEARTBEAT), &heartbeat)->heartbeat->register_again);
    heartbeat.incarnation++;
    assert_true(
        world_call_on(&world, world_server(&world, 1)->conn, WORLD_BODY(HEARTBEAT), &heartbeat)
            ->heartbeat->register_again);
    world_fini(&world);
}

static void test_servers_when_listed_tell_their_state_and_load(void **state)
{
    (void)state;
    world_init(&world, 4);
    file_of_chunks(2);
    world_server_kill(&world, 4);
    world_server(&world, 3)->silent = true;
    world_advance(&world, 1500);
    Pawl__ListServers list = PAWL__LIST_SERVERS__INIT;
    const Pawl__ServerList *servers = world_call(&world, WORLD_BODY(LIST_SERVERS), &list)->servers;
    assert_int_equal(servers->n_servers, 4);
    assert_string_equal(servers->servers[0]->name, "cs1");
    assert_int_equal(servers->servers[0]->state, PAWL__SERVER_STATE__SERVER_LIVE);
    assert_int_equal(servers->servers[2]->state, PAWL__SERVER_STATE__SERVER_SUSPECT);
    assert_int_equal(servers->servers[3]->state, PAWL__SERVER_STATE__SERVER_SUSPECT);
    assert_true(servers->servers[2]->last_heard_ms >= 1000);
    uint32_t primaries = 0;
    for (size_t i = 0; i < 4; i++) {
        primaries += servers->servers[i]->primaries_count;
    }
    assert_int_equal(primaries, 1);
    assert_true(servers->under_replicated_count > 0);
    world_advance(&world, 2000);
    servers = world_call(&world, WORLD_BODY(LIST_SERVERS), &list)->servers;
    assert_int_equal(servers->servers[2]->state, PAWL__SERVER_STATE__SERVER_DEAD);
    assert_int_equal(servers->servers[3]->state, PAWL__SERVER_STATE__SERVER_DEAD);
    world_fini(&world);
}

// ---- hostile peers ---------------------------------------------------------------------------------

static void test_request_when_not_a_masters_is_refused(void **state)
{
    (void)state;
    world_init(&world, 1);
    Pawl__Fence fence = PAWL__FENCE__INIT;
    assert_int_equal(world_call(&world, WORLD_BODY(FENCE), &fence)->code, PAWL_EPROTOCOL);
    Pawl__Drop drop = PAWL__DROP__INIT;
    assert_int_equal(world_call(&world, WORLD_BODY(DROP), &drop)->code, PAWL_EPROTOCOL);
    assert_int_equal(world_call(&world, PAWL__REQUEST__BODY__NOT_SET, NULL)->code, PAWL_EPROTOCOL);
    assert_int_equal(world_call(&world, (Pawl__Request__BodyCase)99, NULL)->code, PAWL_EPROTOCOL);
    world_fini(&world);
}

static void test_answers_when_of_the_wrong_kind_are_failures(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    uint64_t handle = world_granted(&world, file, 0)->handle;
    assert_true(world_append(&world, handle, 3));
    uint32_t primary = world_primary(&world, handle);
    world.hold = true;
    world_report(&world, primary, PAWL__REPORT_KIND__REPORT_FULL, handle, 1, 0);
    // Every fence is answered with what answers no fence.
    static const Pawl__Reply__BodyCase kinds[] = {
        PAWL__REPLY__BODY__NOT_SET, PAWL__REPLY__BODY_LEVELLED, PAWL__REPLY__BODY_FENCED};
    size_t i = 0;
    for (struct world_command *c = world.commands; c; c = c->next, i++) {
        Pawl__Reply reply = PAWL__REPLY__INIT;
        Pawl__Fenced fenced = PAWL__FENCED__INIT;
        Pawl__Levelled levelled = PAWL__LEVELLED__INIT;
        reply.body_case = kinds[i % PAWL_ARRAY_COUNT(kinds)];
        if (reply.body_case == PAWL__REPLY__BODY_FENCED) {
            fenced.handle = handle;
            fenced.version = 2;
            fenced.length = UINT64_MAX; // longer than any chunk
            reply.fenced = &fenced;
        } else if (reply.body_case == PAWL__REPLY__BODY_LEVELLED) {
            reply.levelled = &levelled;
        }
        struct master_event event = {
            .type = MASTER_EVENT_ANSWER, .token = c->token, .conn = c->conn, .answer = &reply};
        world_event(&world, &event);
    }
    assert_int_equal(i, 3);
    assert_int_equal(world_chunk(&world, handle)->state, PAWL__CHUNK_STATE__CHUNK_RECOVERING);
    // The same tokens a second time: nobody listens. And then all is well by itself.
    world.hold = false;
    world_pump(&world);
    world_advance(&world, 1000);
    assert_int_equal(world_chunk(&world, handle)->count, 3);
    assert_int_equal(world_granted(&world, file, 3000)->base_offset, 300);
    world_fini(&world);
}

static uint64_t wild(struct pawl_random *random)
{
    static const uint64_t values[] = {0,          1,          2,  3,         0xc1, 0xc2,
                                      UINT32_MAX, UINT64_MAX, 77, INT64_MAX, 4096, UINT64_MAX - 1};
    return values[pawl_random_below(random, PAWL_ARRAY_COUNT(values))];
}

// Numbers from the edges in every field that a peer may fill: validated after every step.
static void test_requests_when_full_of_wild_numbers_break_nothing(void **state)
{
    (void)state;
    struct pawl_random random;
    pawl_random_seed(&random, 3);
    world_init(&world, 3);
    file_of_chunks(2);
    for (int i = 0; i < 3000; i++) {
        uint64_t conn = world_server(&world, 1 + (uint32_t)pawl_random_below(&random, 3))->conn;
        Pawl__Replica replica = PAWL__REPLICA__INIT;
        Pawl__Replica *replicas[] = {&replica};
        Pawl__Heartbeat heartbeat = PAWL__HEARTBEAT__INIT;
        Pawl__GetChunks get = PAWL__GET_CHUNKS__INIT;
        replica.handle =
            pawl_random_chance(&random, 1, 2) ? 1 + pawl_random_below(&random, 3) : wild(&random);
        replica.version = wild(&random);
        replica.count = wild(&random);
        replica.length = wild(&random);
        replica.sealed = pawl_random_chance(&random, 1, 2);
        replica.primary = pawl_random_chance(&random, 1, 2);
        world.hold = true; // what it makes the master say is not of interest
        switch (pawl_random_below(&random, 4)) {
        case 0:
            heartbeat.server_id = 0xc1 + pawl_random_below(&random, 3);
            heartbeat.incarnation = 1 + pawl_random_below(&random, 3);
            heartbeat.space_bytes = wild(&random);
            heartbeat.used_bytes = wild(&random);
            heartbeat.replicas = replicas;
            heartbeat.n_replicas = 1;
            world_call_on(&world, conn, WORLD_BODY(HEARTBEAT), &heartbeat);
            break;
        case 1:
            get.file_id = wild(&random);
            get.handle = wild(&random);
            get.from_index = (uint32_t)wild(&random);
            world_call(&world, WORLD_BODY(GET_CHUNKS), &get);
            break;
        case 2:
            world_tail_hint(&world, wild(&random), wild(&random), wild(&random),
                            (int)wild(&random));
            break;
        default: {
            Pawl__Report report = PAWL__REPORT__INIT;
            report.kind = (Pawl__ReportKind)pawl_random_below(&random, 6);
            report.handle = wild(&random);
            report.version = wild(&random);
            report.server_id = wild(&random);
            world_call_on(&world, conn, WORLD_BODY(REPORT), &report);
            break;
        }
        }
    }
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_when_paged_give_every_chunk_once),
        cmocka_unit_test(test_chunks_when_asked_for_wrongly_say_so),
        cmocka_unit_test(test_tail_when_only_read_makes_no_chunk),
        cmocka_unit_test(test_placement_when_locations_differ_spreads_over_them),
        cmocka_unit_test(test_placement_when_a_server_shares_no_fabric_leaves_it_out),
        cmocka_unit_test(test_providers_when_the_odd_one_came_first_it_is_named_and_no_other),
        cmocka_unit_test(test_placement_when_too_few_share_a_fabric_waits),
        cmocka_unit_test(test_providers_when_too_many_are_named_are_not_used),
        cmocka_unit_test(test_place_when_two_of_three_have_failed_then_takes_one_of_them),
        cmocka_unit_test(test_delete_when_servers_are_there_drops_their_replicas),
        cmocka_unit_test(test_delete_when_a_drop_fails_is_repeated),
        cmocka_unit_test(test_delete_when_many_chunks_go_keeps_commands_in_bounds),
        cmocka_unit_test(test_delete_when_a_recovery_is_under_way_ends_it),
        cmocka_unit_test(test_inventory_when_it_names_unknown_chunks_leaves_them_alone),
        cmocka_unit_test(test_damage_when_reported_of_a_sealed_chunk_lists_it_last),
        cmocka_unit_test(test_seal_when_a_replica_is_damaged_is_not_repeated_for_ever),
        cmocka_unit_test(test_producer_when_opened_again_has_the_next_epoch),
        cmocka_unit_test(test_register_when_of_another_cluster_is_refused),
        cmocka_unit_test(test_register_when_malformed_is_refused),
        cmocka_unit_test(test_register_when_the_id_is_taken_the_newest_wins),
        cmocka_unit_test(test_heartbeat_when_of_a_stranger_asks_it_to_register),
        cmocka_unit_test(test_servers_when_listed_tell_their_state_and_load),
        cmocka_unit_test(test_request_when_not_a_masters_is_refused),
        cmocka_unit_test(test_answers_when_of_the_wrong_kind_are_failures),
        cmocka_unit_test(test_requests_when_full_of_wild_numbers_break_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
