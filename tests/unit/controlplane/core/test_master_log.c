// SPDX-License-Identifier: Apache-2.0
// Tests of log records: replay, dump, refusal of what does not fit, want of memory.
#include <errno.h>

#include "master_harness.h"

static struct world world;

// A state with a bit of everything.
static void furnish(void)
{
    world_init(&world, 4);
    world_mkdir(&world, "/z");
    world_mkdir(&world, "/a");
    world_mkdir(&world, "/z/m");
    world_rename(&world, "/a", "/z/m/a"); // a parent with a higher id than its child
    uint64_t file = world_create(&world, "/z/m/a/f", 3, 2);
    for (int i = 0; i < 4; i++) {
        const Pawl__Chunk *chunk = world_granted(&world, file, 1000);
        uint64_t handle = chunk->handle;
        uint64_t version = chunk->version;
        assert_true(world_append(&world, handle, 3));
        world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_FULL, handle,
                     version, 0);
    }
    Pawl__OpenProducer open = PAWL__OPEN_PRODUCER__INIT;
    open.file_id = file;
    open.name = (char *)"writer";
    world_call(&world, WORLD_BODY(OPEN_PRODUCER), &open);
    world_call(&world, WORLD_BODY(OPEN_PRODUCER), &open);
    open.name = (char *)"other";
    world_call(&world, WORLD_BODY(OPEN_PRODUCER), &open);
    world_create(&world, "/gone", 3, 2);
    world_remove(&world, "/gone", false);
    uint64_t second = world_create(&world, "/z/second", 3, 2);
    world_granted(&world, second, 1000);
    world_server_kill(&world, 1);
    world_server_kill(&world, 2);
    world_server_kill(&world, 3);
    world_create(&world, "/z/idle", 1, 1);
}

static void test_state_when_dumped_or_replayed_is_the_same(void **state)
{
    (void)state;
    furnish();
    struct world_record before = world_dump(world.core);
    assert_true(before.bytes > 300);
    free(before.data);
    world_fini(&world); // compares dump, dump of the dump, and replay
}

static void test_state_when_empty_dumps_and_replays(void **state)
{
    (void)state;
    world_init(&world, 0);
    world_fini(&world);
}

static void test_term_when_started_again_is_higher_in_the_same_cluster(void **state)
{
    (void)state;
    world_init(&world, 1);
    uint64_t cluster_id = master_core_cluster_id(world.core);
    assert_int_equal(master_core_term(world.core), 1);
    assert_true(cluster_id != 0);
    world_master_restart(&world);
    assert_int_equal(master_core_term(world.core), 2);
    assert_int_equal(master_core_cluster_id(world.core), cluster_id);
    world_fini(&world);
}

static void test_deleted_ids_when_dumped_are_not_given_out_again(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    uint64_t handle = world_granted(&world, file, 0)->handle;
    world_remove(&world, "/f", false);
    world_master_restart(&world);
    for (uint32_t i = 1; i <= 3; i++) {
        world_server_register(&world, i);
    }
    uint64_t again = world_create(&world, "/f", 3, 2);
    assert_true(again > file);
    assert_true(world_granted(&world, again, 2000)->handle > handle);
    assert_int_equal(world_tail(&world, file)->code, PAWL_EDELETED);
    world_fini(&world);
}

// ---- records that do not fit -----------------------------------------------------------------------

static int apply(Pawl__LogRecord__BodyCase body_case, void *body)
{
    Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
    record.body_case = body_case;
    record.term = body; // a union of pointers
    struct master_core *core = world_replayed(&world);
    int rc = master_core_apply(core, &record);
    master_core_validate(core);
    struct world_record before = world_dump(world.core);
    struct world_record after = world_dump(core);
    if (rc) { // refused before it has changed anything
        assert_int_equal(before.bytes, after.bytes);
        assert_memory_equal(before.data, after.data, after.bytes);
    }
    free(before.data);
    free(after.data);
    master_core_free(core);
    return rc;
}

static void test_record_when_of_another_history_is_refused(void **state)
{
    (void)state;
    furnish();
    Pawl__LogTerm term = PAWL__LOG_TERM__INIT;
    term.term = 9;
    term.cluster_id = 12345;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_TERM, &term), PAWL_EFORMAT);
    term.cluster_id = master_core_cluster_id(world.core);
    term.term = 1;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_TERM, &term), PAWL_EFORMAT);
    Pawl__LogMkdir mkdir = PAWL__LOG_MKDIR__INIT;
    mkdir.path = (char *)"/z/m";
    mkdir.file_id = 999;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_MKDIR, &mkdir), PAWL_EFORMAT);
    mkdir.path = (char *)"/new";
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_MKDIR, &mkdir), 0);
    mkdir.file_id = 2;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_MKDIR, &mkdir), PAWL_EFORMAT);
    mkdir.file_id = 999;
    mkdir.path = (char *)"/no/new";
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_MKDIR, &mkdir), PAWL_EFORMAT);
    Pawl__LogRemove remove = PAWL__LOG_REMOVE__INIT;
    remove.path = (char *)"/";
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_REMOVE, &remove), PAWL_EFORMAT);
    Pawl__Rename rename = PAWL__RENAME__INIT;
    rename.from = (char *)"/z";
    rename.to = (char *)"/z/m/z";
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_RENAME, &rename), PAWL_EFORMAT);
    Pawl__LogCounters counters = PAWL__LOG_COUNTERS__INIT;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_COUNTERS, &counters), PAWL_EFORMAT);
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY__NOT_SET, NULL), PAWL_EFORMAT);
    assert_int_equal(apply((Pawl__LogRecord__BodyCase)77, &counters), PAWL_EFORMAT);
    world_fini(&world);
}

static void test_chunk_record_when_it_does_not_fit_is_refused(void **state)
{
    (void)state;
    world_init(&world, 4);
    uint64_t file = world_create(&world, "/f", 3, 2);
    assert_true(world_append(&world, world_granted(&world, file, 0)->handle, 3));
    world_report(&world, world_primary(&world, 1), PAWL__REPORT_KIND__REPORT_FULL, 1, 1, 0);
    uint64_t open = world_granted(&world, file, 1000)->handle; // and ready
    uint64_t set[9] = {0xc1, 0xc2, 0xc3, 0xc4, 1, 2, 3, 4, 5};
    Pawl__LogChunkSeal seal = PAWL__LOG_CHUNK_SEAL__INIT;
    seal.handle = 1; // sealed already
    seal.version = 100;
    seal.set = set;
    seal.n_set = 2;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_CHUNK_SEAL, &seal), PAWL_EFORMAT);
    seal.handle = open;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_CHUNK_SEAL, &seal), 0);
    seal.n_set = 0; // nobody would hold it
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_CHUNK_SEAL, &seal), PAWL_EFORMAT);
    seal.n_set = 5; // unknown servers
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_CHUNK_SEAL, &seal), PAWL_EFORMAT);
    seal.n_set = 2;
    seal.length = (1 << 20) + 1;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_CHUNK_SEAL, &seal), PAWL_EFORMAT);
    seal.length = 0;
    seal.next_handle = open;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_CHUNK_SEAL, &seal), PAWL_EFORMAT);
    seal.next_handle = 0;
    seal.version = 0;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_CHUNK_SEAL, &seal), PAWL_EFORMAT);
    Pawl__LogChunkVersion version = PAWL__LOG_CHUNK_VERSION__INIT;
    version.handle = open;
    version.version = 1; // versions only rise
    version.set = set;
    version.n_set = 3;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_CHUNK_VERSION, &version), PAWL_EFORMAT);
    set[1] = 0xc1; // twice the same
    version.version = 50;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_CHUNK_VERSION, &version), PAWL_EFORMAT);
    Pawl__LogChunkCreate create = PAWL__LOG_CHUNK_CREATE__INIT;
    create.file_id = file;
    create.handle = 400; // a second unsealed chunk
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_CHUNK_CREATE, &create), PAWL_EFORMAT);
    Pawl__LogChunkReady ready = PAWL__LOG_CHUNK_READY__INIT;
    ready.handle = open;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_CHUNK_READY, &ready), PAWL_EFORMAT);
    Pawl__LogChunkPlace place = PAWL__LOG_CHUNK_PLACE__INIT;
    place.handle = open;
    place.version = 60;
    assert_int_equal(apply(PAWL__LOG_RECORD__BODY_CHUNK_PLACE, &place), PAWL_EFORMAT);
    world_fini(&world);
}

// ---- memory ----------------------------------------------------------------------------------------

static int step(struct master_core *core, uint64_t request, Pawl__Request *message)
{
    struct master_event event = {.type = MASTER_EVENT_REQUEST,
                                 .now_ns = world.now_ns,
                                 .wall_ms = 1,
                                 .conn = 5,
                                 .request = request,
                                 .message = message};
    const struct master_actions *actions;
    return master_core_step(core, &event, &actions);
}

// Creates, registers and asks for a tail until something fails. 0: nothing has.
static int little_life(void)
{
    struct master_core_options options = {.random_seed = 1, .alloc = &world.alloc};
    struct master_core *core;
    const struct master_actions *actions;
    int rc = master_core_new(&options, &core);
    if (rc) {
        return rc;
    }
    rc = master_core_start(core, 77, world.now_ns, 1, &actions);
    Pawl__Request request = PAWL__REQUEST__INIT;
    Pawl__Register reg = PAWL__REGISTER__INIT;
    reg.server_id = reg.incarnation = 9;
    reg.name = (char *)"cs";
    reg.fabric_address = (char *)"fake://1";
    reg.space_bytes = UINT64_C(1) << 30;
    request.body_case = WORLD_BODY(REGISTER);
    request.register_ = &reg;
    rc = rc ? rc : step(core, 1, &request);
    Pawl__Mkdir mkdir = PAWL__MKDIR__INIT;
    mkdir.path = (char *)"/a/b/c";
    mkdir.parents = true;
    request.body_case = WORLD_BODY(MKDIR);
    request.mkdir = &mkdir;
    rc = rc ? rc : step(core, 2, &request);
    Pawl__Create create = PAWL__CREATE__INIT;
    create.path = (char *)"/a/f";
    create.replicas = 1;
    request.body_case = WORLD_BODY(CREATE);
    request.create = &create;
    rc = rc ? rc : step(core, 3, &request);
    Pawl__GetTail tail = PAWL__GET_TAIL__INIT;
    tail.file_id = 5;
    tail.append = true;
    request.body_case = WORLD_BODY(GET_TAIL);
    request.get_tail = &tail;
    rc = rc ? rc : step(core, 4, &request);
    Pawl__List list = PAWL__LIST__INIT;
    list.path = (char *)"/a";
    list.count = 1000;
    request.body_case = WORLD_BODY(LIST);
    request.list = &list;
    rc = rc ? rc : step(core, 5, &request);
    master_core_free(core);
    return rc;
}

static void test_memory_when_it_runs_out_anywhere_is_said_and_freed(void **state)
{
    (void)state;
    world_init(&world, 0);
    int64_t live = world.alloc_live;
    int rc = -1;
    int64_t at = 0;
    for (; rc; at++) {
        world.alloc_fail_at = at;
        rc = little_life();
        assert_true(rc == 0 || rc == -ENOMEM);
        assert_int_equal(world.alloc_live, live);
    }
    assert_true(at > 20);
    world.alloc_fail_at = -1;
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_when_empty_dumps_and_replays),
        cmocka_unit_test(test_state_when_dumped_or_replayed_is_the_same),
        cmocka_unit_test(test_term_when_started_again_is_higher_in_the_same_cluster),
        cmocka_unit_test(test_deleted_ids_when_dumped_are_not_given_out_again),
        cmocka_unit_test(test_record_when_of_another_history_is_refused),
        cmocka_unit_test(test_chunk_record_when_it_does_not_fit_is_refused),
        cmocka_unit_test(test_memory_when_it_runs_out_anywhere_is_said_and_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
