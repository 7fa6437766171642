// SPDX-License-Identifier: Apache-2.0
// Calls that change names: each is carried out once, however often and however late its messages come.
#include <errno.h>

#include "base/util.h"
#include "controlplane/core/master_core_private.h"
#include "master_harness.h"

#define CONN_A 1u
#define CONN_B 2u

static struct world world;
static uint64_t session_a;

static uint64_t session_on(uint64_t conn, uint64_t id)
{
    Pawl__OpenSession open = PAWL__OPEN_SESSION__INIT;
    open.session_id = id;
    return world_call_on(&world, conn, WORLD_BODY(OPEN_SESSION), &open)->session->session_id;
}

static void begin(void)
{
    world_init(&world, 0);
    session_a = session_on(CONN_A, 0);
}

// One message of a call; `body` goes where that of any kind does.
static const Pawl__Reply *send(uint64_t session, uint64_t number, Pawl__Request__BodyCase body_case,
                               void *body)
{
    Pawl__Request request = PAWL__REQUEST__INIT;
    Pawl__Call call = PAWL__CALL__INIT;
    call.session_id = session;
    call.number = number;
    request.call = &call;
    request.body_case = body_case;
    request.mkdir = body;
    if (world.reply) {
        pawl__reply__free_unpacked(world.reply, NULL);
        world.reply = NULL;
    }
    world.reply_request = ++world.next_request;
    struct master_event event = {.type = MASTER_EVENT_REQUEST,
                                 .conn = CONN_A,
                                 .request = world.reply_request,
                                 .message = &request};
    world_event(&world, &event);
    assert_non_null(world.reply);
    return world.reply;
}

static int remove_by(uint64_t session, uint64_t number, const char *path)
{
    Pawl__Remove remove = PAWL__REMOVE__INIT;
    remove.path = (char *)path;
    return send(session, number, WORLD_BODY(REMOVE), &remove)->code;
}

static int rename_by(uint64_t number, const char *from, const char *to)
{
    Pawl__Rename rename = PAWL__RENAME__INIT;
    rename.from = (char *)from;
    rename.to = (char *)to;
    return send(session_a, number, WORLD_BODY(RENAME), &rename)->code;
}

static int mkdir_by(uint64_t number, const char *path, bool parents)
{
    Pawl__Mkdir mkdir = PAWL__MKDIR__INIT;
    mkdir.path = (char *)path;
    mkdir.parents = parents;
    return send(session_a, number, WORLD_BODY(MKDIR), &mkdir)->code;
}

static const Pawl__Reply *create_by(uint64_t number, const char *path)
{
    Pawl__Create create = PAWL__CREATE__INIT;
    create.path = (char *)path;
    create.exclusive = true;
    create.chunk_bytes = 1 << 20;
    return send(session_a, number, WORLD_BODY(CREATE), &create);
}

static uint64_t somebody_creates(const char *path)
{
    uint64_t id = world_create(&world, path, 0, 0);
    assert_int_not_equal(id, 0);
    return id;
}

static int take_record(void *user, const Pawl__LogRecord *record)
{
    struct world_record *slot = &world.log[(*(size_t *)user)++];
    slot->bytes = pawl__log_record__get_packed_size(record);
    slot->data = malloc(slot->bytes + 1);
    pawl__log_record__pack(record, slot->data);
    return 0;
}

// The master comes back from its log, or from a snapshot instead of it.
static void restart(bool snapshot)
{
    if (snapshot) {
        for (size_t i = 0; i < world.log_count; i++) {
            free(world.log[i].data);
        }
        world.log_capacity = 1000;
        world.log = realloc(world.log, world.log_capacity * sizeof(*world.log));
        world.log_count = 0;
        assert_int_equal(master_core_dump(world.core, take_record, &world.log_count), 0);
        assert_true(world.log_count <= world.log_capacity);
    }
    world_master_restart(&world);
}

// What comes between a call and its repeat.
enum between { NOTHING, REPLAY, SNAPSHOT, REPLAY_OF_SNAPSHOT, BETWEENS };

static void pass(enum between between)
{
    if (between == SNAPSHOT || between == REPLAY_OF_SNAPSHOT) {
        restart(true);
    }
    if (between == REPLAY || between == REPLAY_OF_SNAPSHOT) {
        restart(false);
    }
}

static void test_remove_when_it_comes_again_then_what_was_made_since_stays(void **state)
{
    (void)state;
    for (enum between between = NOTHING; between < BETWEENS; between++) {
        begin();
        somebody_creates("/log");
        assert_int_equal(remove_by(session_a, 1, "/log"), 0);
        somebody_creates("/log");
        pass(between);
        assert_int_equal(remove_by(session_a, 1, "/log"), 0);
        assert_int_equal(world_stat(&world, "/log"), 0);
        assert_int_equal(remove_by(session_a, 2, "/log"), 0); // another call
        assert_int_equal(world_stat(&world, "/log"), PAWL_ENOTFOUND);
        world_fini(&world);
    }
}

static void test_rename_when_it_comes_again_then_only_the_first_moved_anything(void **state)
{
    (void)state;
    for (enum between between = NOTHING; between < BETWEENS; between++) {
        begin();
        uint64_t first = somebody_creates("/a");
        assert_int_equal(rename_by(1, "/a", "/b"), 0);
        uint64_t second = somebody_creates("/a");
        assert_int_equal(world_rename(&world, "/b", "/c"), 0); // "/b" is free again
        pass(between);
        assert_int_equal(rename_by(1, "/a", "/b"), 0);
        assert_int_equal(world.reply->file->file_id, first);
        assert_string_equal(world.reply->file->path, "/c");
        assert_int_equal(world_stat(&world, "/b"), PAWL_ENOTFOUND);
        assert_int_equal(world_stat(&world, "/a"), 0);
        assert_int_equal(world.reply->file->file_id, second);
        world_fini(&world);
    }
}

static void test_create_when_it_comes_again_then_its_answer_names_the_same_file(void **state)
{
    (void)state;
    for (enum between between = NOTHING; between < BETWEENS; between++) {
        begin();
        const Pawl__Reply *reply = create_by(1, "/f");
        assert_int_equal(reply->code, 0);
        uint64_t file = reply->file->file_id;
        pass(between);
        reply = create_by(1, "/f");
        assert_int_equal(reply->code, 0); // not PAWL_EEXISTS: it is its own
        assert_int_equal(reply->file->file_id, file);
        assert_int_equal(create_by(2, "/f")->code, PAWL_EEXISTS);
        world_fini(&world);
    }
}

// It was made, and somebody has removed it: no other one takes its place.
static void test_create_when_its_file_is_gone_then_it_is_not_made_again(void **state)
{
    (void)state;
    for (enum between between = NOTHING; between < BETWEENS; between++) {
        begin();
        uint64_t file = create_by(1, "/f")->file->file_id;
        assert_int_equal(world_remove(&world, "/f", false), 0);
        pass(between);
        const Pawl__Reply *reply = create_by(1, "/f");
        assert_int_equal(reply->code, 0);
        assert_int_equal(reply->file->file_id, file);
        assert_int_equal(reply->file->chunk_bytes, 1 << 20);
        assert_false(reply->file->directory);
        assert_int_equal(world_stat(&world, "/f"), PAWL_ENOTFOUND);
        world_fini(&world);
    }
}

static void test_mkdir_when_it_comes_again_then_its_answer_is_the_first_one(void **state)
{
    (void)state;
    for (enum between between = NOTHING; between < BETWEENS; between++) {
        begin();
        assert_int_equal(mkdir_by(1, "/d", false), 0);
        pass(between);
        assert_int_equal(mkdir_by(1, "/d", false), 0);
        assert_true(world.reply->file->directory);
        assert_int_equal(mkdir_by(2, "/d", false), PAWL_EEXISTS);
        assert_int_equal(mkdir_by(3, "/d/e/f", true), 0);
        uint64_t directory = world.reply->file->file_id;
        assert_int_equal(world_remove(&world, "/d", true), 0);
        pass(between);
        assert_int_equal(mkdir_by(3, "/d/e/f", true), 0);
        assert_int_equal(world.reply->file->file_id, directory);
        assert_true(world.reply->file->directory);
        assert_int_equal(world_stat(&world, "/d"), PAWL_ENOTFOUND);
        world_fini(&world);
    }
}

static void test_call_when_a_later_one_was_carried_out_then_it_is_refused_as_old(void **state)
{
    (void)state;
    for (enum between between = NOTHING; between < BETWEENS; between++) {
        begin();
        assert_int_equal(create_by(7, "/f")->code, 0);
        assert_int_equal(rename_by(9, "/f", "/g"), 0);
        pass(between);
        somebody_creates("/f");
        assert_int_equal(remove_by(session_a, 7, "/f"), PAWL_ESTALE);
        assert_int_equal(remove_by(session_a, 8, "/f"), PAWL_ESTALE); // one that was given up
        assert_int_equal(world_stat(&world, "/f"), 0);
        world_fini(&world);
    }
}

// Its client has had the answer: a message of it that was on its way must not be carried out any more.
static void test_call_when_it_has_changed_nothing_then_a_late_message_does_not_either(void **state)
{
    (void)state;
    begin();
    assert_int_equal(remove_by(session_a, 1, "/f"), PAWL_ENOTFOUND);
    size_t log_count = world.log_count;
    somebody_creates("/f");
    assert_int_equal(remove_by(session_a, 1, "/f"), PAWL_ENOTFOUND);
    assert_int_equal(create_by(2, "/f")->code, PAWL_EEXISTS);
    assert_int_equal(world_remove(&world, "/f", false), 0);
    assert_int_equal(create_by(2, "/f")->code, PAWL_EEXISTS);
    assert_int_equal(remove_by(session_a, 1, "/f"), PAWL_ESTALE);
    assert_int_equal(world.log_count, log_count + 2); // that cost no record
    restart(false); // with the master's connections all such messages are gone
    assert_int_equal(create_by(2, "/f")->code, 0);
    assert_int_equal(create_by(2, "/f")->code, 0);
    world_fini(&world);
}

static void test_call_when_its_session_has_ended_then_it_is_refused(void **state)
{
    (void)state;
    for (enum between between = NOTHING; between < BETWEENS; between++) {
        begin();
        somebody_creates("/f");
        assert_int_equal(remove_by(session_a, 1, "/f"), 0);
        somebody_creates("/f");
        Pawl__CloseSession close = PAWL__CLOSE_SESSION__INIT;
        (void)world_call_on(&world, CONN_A, WORLD_BODY(CLOSE_SESSION), &close);
        assert_int_equal(remove_by(session_a, 1, "/f"), PAWL_ESESSION); // not logged so yet
        world_advance(&world, 2000);
        assert_int_equal(pawl_map_count(&world.core->sessions.calls), 0);
        pass(between);
        assert_int_equal(remove_by(session_a, 1, "/f"), PAWL_ESESSION);
        assert_int_equal(remove_by(session_a, 2, "/f"), PAWL_ESESSION);
        assert_int_equal(world_stat(&world, "/f"), 0);
        world_fini(&world);
    }
}

// Of many that nobody comes back for, one record ends all.
static void test_calls_when_their_sessions_end_together_then_none_is_kept(void **state)
{
    (void)state;
    world_init(&world, 0);
    for (uint64_t conn = 1; conn <= 100; conn++) {
        uint64_t session = session_on(conn, 0);
        char path[16];
        snprintf(path, sizeof(path), "/f%u", (unsigned)conn);
        somebody_creates(path);
        assert_int_equal(remove_by(session, conn, path), 0);
    }
    restart(true);
    assert_int_equal(pawl_map_count(&world.core->sessions.calls), 100);
    assert_int_equal(session_on(50, 50), 50);
    world_advance(&world, 302000);
    assert_int_equal(pawl_map_count(&world.core->sessions.calls), 1);
    assert_int_equal(remove_by(50, 50, "/f"), 0);
    world_fini(&world);
}

static void test_call_when_its_session_was_never_given_out_then_it_is_refused(void **state)
{
    (void)state;
    begin();
    somebody_creates("/f");
    static const uint64_t never[] = {0, 500, 5000, UINT64_MAX}; // 500: in the block
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(never); i++) {
        assert_int_equal(remove_by(never[i], 1, "/f"), PAWL_ESESSION);
    }
    assert_int_equal(remove_by(session_a, 0, "/f"), PAWL_EPROTOCOL);
    assert_int_equal(world_stat(&world, "/f"), 0);
    world_fini(&world);
}

static void test_requests_when_they_are_of_no_call_then_each_is_carried_out(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 2; i++) {
        somebody_creates("/f");
        assert_int_equal(world_remove(&world, "/f", false), 0);
    }
    assert_int_equal(world_remove(&world, "/f", false), PAWL_ENOTFOUND);
    assert_int_equal(pawl_map_count(&world.core->sessions.calls), 0);
    world_fini(&world);
}

// The session comes back on another connection, and another client has calls of its own.
static void test_calls_when_there_are_several_sessions_then_each_has_its_own(void **state)
{
    (void)state;
    begin();
    uint64_t other = session_on(CONN_B, 0);
    somebody_creates("/f");
    assert_int_equal(remove_by(session_a, 5, "/f"), 0);
    somebody_creates("/f");
    assert_int_equal(remove_by(other, 5, "/f"), 0);
    somebody_creates("/f");
    restart(true);
    assert_int_equal(remove_by(session_a, 5, "/f"), 0);
    assert_int_equal(remove_by(other, 5, "/f"), 0);
    assert_int_equal(world_stat(&world, "/f"), 0);
    world_fini(&world);
}

// ---- the log -------------------------------------------------------------------------------------

static int apply(struct master_core *core, Pawl__LogRecord__BodyCase body_case, void *body,
                 Pawl__Call *call)
{
    Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
    record.body_case = body_case;
    record.mkdir = body;
    record.call = call;
    return master_core_apply(core, &record);
}

static void test_record_when_its_call_does_not_fit_then_it_is_refused(void **state)
{
    (void)state;
    struct master_core_options options = {.alloc = pawl_alloc_heap()};
    struct master_core *core;
    assert_int_equal(master_core_new(&options, &core), 0);
    Pawl__LogSessions sessions = PAWL__LOG_SESSIONS__INIT;
    sessions.first = 1;
    sessions.last = 10;
    Pawl__LogMkdir mkdir = PAWL__LOG_MKDIR__INIT;
    mkdir.path = (char *)"/a";
    mkdir.file_id = 2;
    Pawl__Call call = PAWL__CALL__INIT;
    call.session_id = 3;
    call.number = 4;
    Pawl__LogLastCall last = PAWL__LOG_LAST_CALL__INIT;
    assert_int_equal(apply(core, PAWL__LOG_RECORD__BODY_MKDIR, &mkdir, &call), PAWL_EFORMAT);
    assert_int_equal(apply(core, PAWL__LOG_RECORD__BODY_SESSIONS, &sessions, &call), PAWL_EFORMAT);
    assert_int_equal(apply(core, PAWL__LOG_RECORD__BODY_SESSIONS, &sessions, NULL), 0);
    assert_int_equal(apply(core, PAWL__LOG_RECORD__BODY_LAST_CALL, &last, NULL), PAWL_EFORMAT);
    assert_int_equal(apply(core, PAWL__LOG_RECORD__BODY_MKDIR, &mkdir, &call), 0);
    mkdir.path = (char *)"/b";
    mkdir.file_id = 3;
    assert_int_equal(apply(core, PAWL__LOG_RECORD__BODY_MKDIR, &mkdir, &call), PAWL_EFORMAT);
    last.call = &call;
    assert_int_equal(apply(core, PAWL__LOG_RECORD__BODY_LAST_CALL, &last, NULL), PAWL_EFORMAT);
    call.number = 5;
    assert_int_equal(apply(core, PAWL__LOG_RECORD__BODY_LAST_CALL, &last, NULL), 0);
    call.number = 6;
    assert_int_equal(apply(core, PAWL__LOG_RECORD__BODY_MKDIR, &mkdir, &call), 0);
    master_core_validate(core);
    master_core_free(core);
}

static void test_call_when_memory_runs_out_then_it_fails_as_a_crash(void **state)
{
    (void)state;
    uint32_t failed_count = 0;
    for (int64_t at = 0; at < 12; at++) {
        begin();
        somebody_creates("/f");
        Pawl__Request request = PAWL__REQUEST__INIT;
        Pawl__Remove remove = PAWL__REMOVE__INIT;
        Pawl__Call call = PAWL__CALL__INIT;
        const struct master_actions *actions;
        call.session_id = session_a;
        call.number = 1;
        remove.path = (char *)(at % 2 == 0 ? "/f" : "/g");
        request.call = &call;
        request.body_case = PAWL__REQUEST__BODY_REMOVE;
        request.remove = &remove;
        struct master_event event = {.type = MASTER_EVENT_REQUEST,
                                     .conn = CONN_A,
                                     .request = 99999,
                                     .message = &request,
                                     .now_ns = world.now_ns};
        world.alloc_fail_at = at / 2;
        int code = master_core_step(world.core, &event, &actions);
        world.alloc_fail_at = -1;
        assert_true(code == 0 || code == -ENOMEM);
        failed_count += code != 0;
        world_master_restart(&world); // the record was not written
        assert_int_equal(remove_by(session_a, 1, "/f"), 0);
        world_fini(&world);
    }
    assert_true(failed_count >= 4); // the call and its place in the table, of both kinds
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_remove_when_it_comes_again_then_what_was_made_since_stays),
        cmocka_unit_test(test_rename_when_it_comes_again_then_only_the_first_moved_anything),
        cmocka_unit_test(test_create_when_it_comes_again_then_its_answer_names_the_same_file),
        cmocka_unit_test(test_create_when_its_file_is_gone_then_it_is_not_made_again),
        cmocka_unit_test(test_mkdir_when_it_comes_again_then_its_answer_is_the_first_one),
        cmocka_unit_test(test_call_when_a_later_one_was_carried_out_then_it_is_refused_as_old),
        cmocka_unit_test(test_call_when_it_has_changed_nothing_then_a_late_message_does_not_either),
        cmocka_unit_test(test_call_when_its_session_has_ended_then_it_is_refused),
        cmocka_unit_test(test_calls_when_their_sessions_end_together_then_none_is_kept),
        cmocka_unit_test(test_call_when_its_session_was_never_given_out_then_it_is_refused),
        cmocka_unit_test(test_requests_when_they_are_of_no_call_then_each_is_carried_out),
        cmocka_unit_test(test_calls_when_there_are_several_sessions_then_each_has_its_own),
        cmocka_unit_test(test_record_when_its_call_does_not_fit_then_it_is_refused),
        cmocka_unit_test(test_call_when_memory_runs_out_then_it_fails_as_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
