// SPDX-License-Identifier: Apache-2.0
// Tests of the running master: requests, commands to chunk servers, failures.
#include "master_rig.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static void test_master_when_asked_answers(void **state)
{
    (void)state;
    struct master_rig rig;
    struct rig_reply reply;
    master_rig_init(&rig);
    master_rig_start(&rig);
    master_rig_connect(&rig, master_port(rig.master));
    assert_int_equal(master_rig_stat(&rig, "/a"), PAWL_ENOTFOUND);
    assert_int_equal(master_rig_create_wait(&rig, "/a"), 0);
    assert_int_equal(master_rig_create_wait(&rig, "/a"), PAWL_EEXISTS);
    assert_int_equal(master_rig_stat(&rig, "/a"), 0);
    master_rig_servers(&rig, &reply);
    assert_int_equal(reply.term, 1);
    assert_true(reply.cluster_id != 0);
    master_rig_fini(&rig);
}

static void test_master_when_requests_are_pipelined_answers_all(void **state)
{
    (void)state;
    struct master_rig rig;
    struct rig_reply reply = {0};
    char path[32];
    master_rig_init(&rig);
    master_rig_start(&rig);
    master_rig_connect(&rig, master_port(rig.master));
    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof(path), "/file%d", i);
        master_rig_create(&rig, path, &reply);
    }
    master_rig_run_until(&rig, reply.ended == 1000);
    assert_int_equal(reply.ok, 1000);
    master_rig_fini(&rig);
}

static void test_master_open_when_port_file_is_asked_for_writes_the_address(void **state)
{
    (void)state;
    struct master_rig rig;
    char path[100], expected[64], line[64] = "";
    master_rig_init(&rig);
    snprintf(path, sizeof(path), "%s/port", rig.directory);
    rig.config.port_file = path;
    master_rig_start(&rig);
    snprintf(expected, sizeof(expected), "127.0.0.1:%u\n", master_port(rig.master));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof(line), file));
    fclose(file);
    assert_string_equal(line, expected);
    master_rig_fini(&rig);
}

static void test_master_open_when_it_cannot_fails_clean(void **state)
{
    (void)state;
    struct master_rig rig, second;
    master_rig_init(&rig);
    master_rig_start(&rig);
    master_rig_init(&second);
    // The same directory.
    second.config.directory = rig.directory;
    assert_int_equal(master_rig_try_start(&second), PAWL_EBUSY);
    // The same port.
    second.config.directory = second.directory;
    second.config.port = master_port(rig.master);
    assert_int_equal(master_rig_try_start(&second), -EADDRINUSE);
    // A port file that can't be written.
    second.config.port = 0;
    second.config.port_file = (char *)"/nonexistent/port";
    assert_int_equal(master_rig_try_start(&second), -ENOENT);
    uv_run(&second.loop, UV_RUN_DEFAULT);
    second.config.port_file = NULL;
    master_rig_start(&second);
    master_rig_fini(&second);
    master_rig_fini(&rig);
}

static void register_server(struct master_rig *rig, struct rig_reply *reply)
{
    Pawl__Register message = PAWL__REGISTER__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    message.server_id = 77;
    message.incarnation = 1;
    message.name = (char *)"cs1";
    message.fabric_address = (char *)"tcp://127.0.0.1:9";
    message.space_bytes = UINT64_C(100) << 30;
    request.body_case = PAWL__REQUEST__BODY_REGISTER;
    request.register_ = &message;
    master_rig_call(rig, &request, reply);
    master_rig_run_until(rig, reply->ended == 1);
    assert_int_equal(reply->code, 0);
}

static void get_tail(struct master_rig *rig, uint64_t file_id, struct rig_reply *reply)
{
    Pawl__GetTail tail = PAWL__GET_TAIL__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    tail.file_id = file_id;
    tail.append = true;
    request.body_case = PAWL__REQUEST__BODY_GET_TAIL;
    request.get_tail = &tail;
    master_rig_call(rig, &request, reply);
}

// A chunk server that takes a command and goes away with it: the master notices and lives on.
static void test_master_when_a_chunk_server_vanishes_with_a_command_lives_on(void **state)
{
    (void)state;
    struct master_rig rig;
    struct rig_reply reply = {0}, tail = {0};
    Pawl__Create create = PAWL__CREATE__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    master_rig_init(&rig);
    master_rig_start(&rig);
    master_rig_connect(&rig, master_port(rig.master));
    register_server(&rig, &reply);
    create.path = (char *)"/a";
    create.replicas = create.min_replicas = 1;
    request.body_case = PAWL__REQUEST__BODY_CREATE;
    request.create = &create;
    reply = (struct rig_reply){0};
    master_rig_call(&rig, &request, &reply);
    master_rig_run_until(&rig, reply.ended == 1);
    assert_int_equal(reply.code, 0);
    get_tail(&rig, reply.file_id, &tail);
    master_rig_run_until(&rig, rig.requests > 0);
    assert_int_equal(rig.request_kind, PAWL__REQUEST__BODY_OPEN);
    master_rig_disconnect(&rig);
    assert_int_equal(tail.ended, 1);
    master_rig_connect(&rig, master_port(rig.master));
    assert_int_equal(master_rig_stat(&rig, "/a"), 0);
    // Back again: it is asked again, and its refusals are taken too.
    rig.requests = 0;
    rig.answer = true;
    rig.answer_code = PAWL_EBUSY;
    reply = (struct rig_reply){0};
    register_server(&rig, &reply);
    master_rig_run_until(&rig, rig.requests >= 2);
    assert_int_equal(master_rig_stat(&rig, "/a"), 0);
    master_rig_fini(&rig);
}

static void test_master_stop_when_requests_are_open_answers_them(void **state)
{
    (void)state;
    struct master_rig rig;
    struct rig_reply reply = {0}, first = {0};
    char path[32];
    master_rig_init(&rig);
    master_rig_start(&rig);
    master_rig_connect(&rig, master_port(rig.master));
    // The master sees these, then is stopped while their records are on the way to the disk.
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof(path), "/file%d", i);
        master_rig_create(&rig, path, i == 0 ? &first : &reply);
    }
    master_rig_run_until(&rig, first.ended == 1);
    master_rig_stop(&rig);
    master_rig_run_until(&rig, rig.client == NULL);
    assert_int_equal(reply.ended, 99);
    int ok = reply.ok;
    master_rig_start(&rig);
    master_rig_connect(&rig, master_port(rig.master));
    int there = 0;
    for (int i = 1; i < 100; i++) {
        snprintf(path, sizeof(path), "/file%d", i);
        there += master_rig_stat(&rig, path) == 0;
    }
    assert_true(there >= ok);
    assert_int_equal(master_rig_stat(&rig, "/file0"), 0);
    master_rig_fini(&rig);
}

static void test_master_when_its_log_fails_promises_nothing_more(void **state)
{
    (void)state;
    struct master_rig rig;
    struct rlimit before, limit;
    char path[32];
    signal(SIGXFSZ, SIG_IGN);
    master_rig_init(&rig);
    master_rig_start(&rig);
    master_rig_connect(&rig, master_port(rig.master));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 4000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int created = 0;
    for (;; created++) {
        struct rig_reply reply = {0};
        snprintf(path, sizeof(path), "/file%d", created);
        master_rig_create(&rig, path, &reply);
        master_rig_run_until(&rig, reply.ended == 1);
        if (reply.code != 0) {
            assert_int_equal(reply.code, PAWL_EDISCONNECTED);
            break;
        }
    }
    master_rig_run_until(&rig, rig.ended == 1 && rig.client == NULL);
    assert_int_equal(rig.end_code, -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(created > 3);
    master_rig_start(&rig);
    master_rig_connect(&rig, master_port(rig.master));
    for (int i = 0; i < created; i++) {
        snprintf(path, sizeof(path), "/file%d", i);
        assert_int_equal(master_rig_stat(&rig, path), 0);
    }
    master_rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_master_when_asked_answers),
        cmocka_unit_test(test_master_when_requests_are_pipelined_answers_all),
        cmocka_unit_test(test_master_open_when_port_file_is_asked_for_writes_the_address),
        cmocka_unit_test(test_master_open_when_it_cannot_fails_clean),
        cmocka_unit_test(test_master_when_a_chunk_server_vanishes_with_a_command_lives_on),
        cmocka_unit_test(test_master_stop_when_requests_are_open_answers_them),
        cmocka_unit_test(test_master_when_its_log_fails_promises_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
