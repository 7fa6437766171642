// SPDX-License-Identifier: Apache-2.0
// Sessions at the master: given out, taken up again, ended; and which of them a new chunk takes.
#include <errno.h>

#include "base/util.h"
#include "master_harness.h"

#define SESSION_MS 300000u
#define BLOCK 1000u

static struct world world;

static uint64_t session_on(uint64_t conn, uint64_t id)
{
    Pawl__OpenSession open = PAWL__OPEN_SESSION__INIT;
    open.session_id = id;
    const Pawl__Reply *reply = world_call_on(&world, conn, WORLD_BODY(OPEN_SESSION), &open);
    assert_int_equal(reply->code, 0);
    assert_int_equal(reply->body_case, PAWL__REPLY__BODY_SESSION);
    assert_int_equal(reply->session->cluster_id, master_core_cluster_id(world.core));
    assert_int_equal(reply->session->session_ms, SESSION_MS);
    return reply->session->session_id;
}

static void bye(uint64_t conn)
{
    Pawl__CloseSession close = PAWL__CLOSE_SESSION__INIT;
    assert_int_equal(world_call_on(&world, conn, WORLD_BODY(CLOSE_SESSION), &close)->code, 0);
}

static void lose(uint64_t conn)
{
    struct master_event event = {.type = MASTER_EVENT_CONN_CLOSED, .conn = conn};
    world_event(&world, &event);
}

static uint32_t records_of(Pawl__LogRecord__BodyCase body_case)
{
    uint32_t count = 0;
    for (size_t i = 0; i < world.log_count; i++) {
        Pawl__LogRecord *record =
            pawl__log_record__unpack(NULL, world.log[i].bytes, world.log[i].data);
        count += record->body_case == body_case;
        pawl__log_record__free_unpacked(record, NULL);
    }
    return count;
}

static uint64_t new_file(const char *path)
{
    uint64_t file = world_create(&world, path, 3, 2);
    (void)world_granted(&world, file, 0);
    return file;
}

static const struct fake_replica *tail_replica(uint64_t file)
{
    const Pawl__Chunk *chunk = world_granted(&world, file, 5000);
    return &world_server(&world, world_primary(&world, chunk->handle))->replicas[chunk->handle];
}

static void next_chunk(uint64_t file)
{
    const Pawl__Chunk *chunk = world_granted(&world, file, 5000);
    uint64_t handle = chunk->handle;
    assert_true(world_append(&world, handle, 1));
    world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_FULL, handle,
                 chunk->version, 0);
    assert_int_not_equal(world_granted(&world, file, 5000)->handle, handle);
}

static bool allowed(const struct fake_replica *replica, uint64_t id)
{
    bool found = replica->sessions_count == 0;
    for (size_t i = 0; i < replica->sessions_count; i++) {
        found |= id >= replica->sessions[i][0] && id <= replica->sessions[i][1];
    }
    return found;
}

// The session is refused by chunks that are created from now on.
static bool is_over(uint64_t file, uint64_t id)
{
    next_chunk(file);
    return !allowed(tail_replica(file), id);
}

// A block is logged before one of it is given out; the others of it cost nothing.
static void test_sessions_when_given_out_rise_and_are_logged_in_blocks(void **state)
{
    (void)state;
    world_init(&world, 0);
    for (uint64_t i = 1; i <= BLOCK; i++) {
        assert_int_equal(session_on(1000 + i, 0), i);
    }
    assert_int_equal(records_of(PAWL__LOG_RECORD__BODY_SESSIONS), 1);
    assert_int_equal(session_on(5000, 0), BLOCK + 1);
    assert_int_equal(records_of(PAWL__LOG_RECORD__BODY_SESSIONS), 2);
    assert_int_equal(session_on(5000, 0), BLOCK + 1); // asked again: its answer was lost
    world_fini(&world);
}

static void test_session_when_its_client_comes_back_lives_on(void **state)
{
    (void)state;
    world_init(&world, 0);
    uint64_t id = session_on(1, 0);
    lose(1);
    world_advance(&world, SESSION_MS - 1000);
    assert_int_equal(session_on(2, id), id);
    world_advance(&world, SESSION_MS + 5000);
    assert_int_equal(session_on(3, id), id); // its old connection is not known to be gone yet
    lose(2);
    world_advance(&world, SESSION_MS + 5000);
    assert_int_equal(session_on(3, 0), id);
    assert_int_equal(records_of(PAWL__LOG_RECORD__BODY_SESSIONS_END), 0);
    world_fini(&world);
}

static void test_session_when_its_client_stays_away_ends_by_a_record(void **state)
{
    (void)state;
    world_init(&world, 0);
    uint64_t id = session_on(1, 0);
    lose(1);
    world_advance(&world, SESSION_MS - 200);
    assert_int_equal(records_of(PAWL__LOG_RECORD__BODY_SESSIONS_END), 0);
    world_advance(&world, 2000);
    assert_int_equal(records_of(PAWL__LOG_RECORD__BODY_SESSIONS_END), 1);
    assert_int_not_equal(session_on(2, id), id);
    world_fini(&world);
}

static void test_session_when_its_client_says_goodbye_ends_with_others(void **state)
{
    (void)state;
    world_init(&world, 0);
    for (uint64_t conn = 1; conn <= 100; conn++) {
        (void)session_on(conn, 0);
    }
    for (uint64_t conn = 100; conn >= 1; conn--) {
        bye(conn);
        bye(conn); // harmless
    }
    world_advance(&world, 2000);
    assert_int_equal(records_of(PAWL__LOG_RECORD__BODY_SESSIONS_END), 1);
    assert_int_equal(session_on(200, 7), 101);
    world_fini(&world);
}

static void test_session_when_nobody_was_given_it_is_not_taken_up(void **state)
{
    (void)state;
    world_init(&world, 0);
    assert_int_equal(session_on(1, 500), 1); // in the block, and not given out
    assert_int_equal(session_on(2, 5000), 2);
    assert_int_equal(session_on(3, UINT64_MAX), 3);
    world_fini(&world);
}

// A restarted master does not know who was there: it waits anew for all that it may have given out.
static void test_sessions_when_the_master_restarts_have_their_time_again(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = new_file("/f");
    uint64_t here = session_on(1, 0);
    uint64_t away = session_on(2, 0);
    lose(2);
    world_advance(&world, SESSION_MS - 1000);
    world_master_restart(&world);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(world_server_register(&world, i)->code, 0);
    }
    assert_int_equal(session_on(10, 0), BLOCK + 1); // never one of the old block
    world_advance(&world, SESSION_MS - 1000);
    assert_int_equal(session_on(11, here), here);
    assert_false(is_over(file, away));
    world_advance(&world, 3000);
    assert_true(is_over(file, away));
    assert_false(is_over(file, here));
    assert_true(is_over(file, 900)); // of the old block, never given out
    assert_int_not_equal(session_on(12, away), away);
    world_fini(&world);
}

// "Entries go only while a chunk is being opened, for sessions whose end is in the master's log."
static void test_chunk_when_a_session_ends_is_not_touched_and_the_next_one_is(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = new_file("/f");
    uint64_t old = session_on(1, 0);
    uint64_t ended = session_on(2, 0);
    for (uint64_t conn = 3; conn <= BLOCK + 1; conn++) {
        (void)session_on(conn, 0); // a newer block
    }
    next_chunk(file);
    bye(2);
    assert_true(allowed(tail_replica(file), ended));
    assert_false(is_over(file, old)); // at once: its end may not be in the log yet
    world_advance(&world, 2000);
    assert_true(is_over(file, ended));
    assert_false(is_over(file, old));
    world_fini(&world);
}

// The master dies at each step of a seal. Sessions end before the servers find it again: what was already
// asked to open the chunk, and what still is, hold the same.
static bool dies_while_opening(int64_t halt_at, uint32_t *same_version_count)
{
    world_init(&world, 3);
    uint64_t file = new_file("/f");
    for (uint64_t conn = 1; conn <= BLOCK + 1; conn++) {
        (void)session_on(conn, 0);
    }
    for (uint64_t conn = 1; conn <= 20; conn += 2) {
        bye(conn);
    }
    world_advance(&world, 2000);
    uint64_t handle = world_granted(&world, file, 0)->handle;
    assert_true(world_append(&world, handle, 1));
    world.halt_in = halt_at;
    world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_FULL, handle,
                 world_chunk(&world, handle)->version, 0);
    bool halted = world.hold;
    world.hold = false;
    world.halt_in = -1;
    world_master_restart(&world);
    for (uint64_t conn = 2; conn <= 20; conn += 2) {
        assert_int_equal(session_on(2000 + conn, conn), conn);
        bye(2000 + conn);
    }
    for (int i = 0; i < 4; i++) { // less than servers have to find a new master
        world.now_ns += UINT64_C(50000000);
        struct master_event tick = {.type = MASTER_EVENT_TICK};
        world_event(&world, &tick);
    }
    assert_true(records_of(PAWL__LOG_RECORD__BODY_SESSIONS_END) >= 2);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(world_server_register(&world, i)->code, 0);
    }
    uint64_t tail = world_granted(&world, file, 10000)->handle;
    *same_version_count += tail_replica(file)->version == 1;
    const struct fake_replica *primary = tail_replica(file);
    for (uint32_t i = 1; i <= 3; i++) {
        const struct fake_replica *replica = &world_server(&world, i)->replicas[tail];
        assert_true(replica->exists);
        assert_int_equal(replica->sessions_count, primary->sessions_count);
        assert_memory_equal(replica->sessions, primary->sessions, sizeof(replica->sessions));
    }
    world_fini(&world);
    return halted;
}

static void test_chunk_when_it_is_opened_again_has_the_same_sessions(void **state)
{
    (void)state;
    int64_t halt_at = 0;
    uint32_t same_version_count = 0; // opened in two terms, partly in each
    while (dies_while_opening(halt_at, &same_version_count)) {
        halt_at++;
    }
    assert_true(same_version_count > 4);
    assert_true(halt_at > 10); // fences, seals, opens, a grant: each asked and answered
}

// Random lives of sessions. What a chunk refuses no later one takes; what lives no chunk refuses; few old
// sessions keep nothing of the many others.
static void test_chunks_when_sessions_come_and_go_take_ever_fewer_of_the_old(void **state)
{
    (void)state;
    static bool live[40 * BLOCK];
    static bool refused[40 * BLOCK];
    struct pawl_random random;
    memset(live, 0, sizeof(live));
    memset(refused, 0, sizeof(refused));
    pawl_random_seed(&random, 7);
    world_init(&world, 3);
    uint64_t file = new_file("/f");
    uint64_t highest = 0;
    for (uint32_t turn = 0; turn < 60; turn++) {
        for (uint32_t i = 0; i < 400; i++) {
            highest = session_on(1000 + highest + 1, 0);
            live[highest] = true;
        }
        for (uint64_t id = 1; id <= highest; id++) {
            if (live[id] && id > 20 && pawl_random_chance(&random, 1, 3)) {
                bye(1000 + id);
                live[id] = false;
            }
        }
        world_advance(&world, 1000 + pawl_random_below(&random, 2000));
        next_chunk(file);
        const struct fake_replica *replica = tail_replica(file);
        for (uint64_t id = 1; id <= highest; id++) {
            bool taken = allowed(replica, id);
            assert_true(taken || !live[id]);
            assert_false(taken && refused[id]);
            refused[id] |= !taken;
        }
        assert_true(allowed(replica, highest + 1));
    }
    // Twenty sessions live since the beginning; of the many between them and now most are refused.
    uint64_t refused_count = 0;
    for (uint64_t id = 1; id <= highest; id++) {
        refused_count += refused[id];
    }
    assert_true(refused_count > highest / 2);
    world_fini(&world);
}

static void test_sessions_when_memory_runs_out_fail_as_a_crash(void **state)
{
    (void)state;
    for (int64_t at = 0; at < 12; at++) {
        world_init(&world, 0);
        (void)session_on(1, 0);
        Pawl__Request request = PAWL__REQUEST__INIT;
        Pawl__OpenSession open = PAWL__OPEN_SESSION__INIT;
        const struct master_actions *actions;
        request.body_case = PAWL__REQUEST__BODY_OPEN_SESSION;
        request.open_session = &open;
        struct master_event event = {.type = MASTER_EVENT_REQUEST,
                                     .conn = 77,
                                     .request = 99999,
                                     .message = &request,
                                     .now_ns = world.now_ns};
        world.alloc_fail_at = at;
        int code = master_core_step(world.core, &event, &actions);
        world.alloc_fail_at = -1;
        assert_true(code == 0 || code == -ENOMEM);
        if (code) {
            world_master_restart(&world);
        }
        world_fini(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions_when_given_out_rise_and_are_logged_in_blocks),
        cmocka_unit_test(test_session_when_its_client_comes_back_lives_on),
        cmocka_unit_test(test_session_when_its_client_stays_away_ends_by_a_record),
        cmocka_unit_test(test_session_when_its_client_says_goodbye_ends_with_others),
        cmocka_unit_test(test_session_when_nobody_was_given_it_is_not_taken_up),
        cmocka_unit_test(test_sessions_when_the_master_restarts_have_their_time_again),
        cmocka_unit_test(test_chunk_when_a_session_ends_is_not_touched_and_the_next_one_is),
        cmocka_unit_test(test_chunk_when_it_is_opened_again_has_the_same_sessions),
        cmocka_unit_test(test_chunks_when_sessions_come_and_go_take_ever_fewer_of_the_old),
        cmocka_unit_test(test_sessions_when_memory_runs_out_fail_as_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
