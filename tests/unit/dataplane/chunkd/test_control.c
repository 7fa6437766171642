// SPDX-License-Identifier: Apache-2.0
// Tests of the control thread against a master that is played by a thread of the test: registration,
// heartbeats, leases, commands, loss of the master, another cluster, the way down.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "base/clock.h"
#include "controlplane/rpc/rpc.h"
#include "dataplane/chunkd/control.h"
#include "dataplane/chunkd/mark.h"
#include "scripted.h"

#define HEARTBEATS_WANTED 3u
#define MASTER_LEASE_MS 60000u

// The master. Its thread owns everything; the test sets the script before and looks after.
struct master {
    uv_loop_t loop;
    uv_async_t quit;
    uv_timer_t again;
    pthread_t thread;
    struct rpc_server *server;
    uint16_t port;
    uint64_t cluster_id;
    int register_code;
    bool drop_once;      // closes the connection at the first heartbeat
    bool register_again; // asks for it at the first heartbeat
    uint64_t old_term;   // of its first answer; 0: `term`
    uint64_t term;
    struct mark seen; // of the last Register
    unsigned registers_count;
    unsigned heartbeats_count;
    uint64_t began_ns;       // before its first answer
    uint64_t heard_ns;       // of the last heartbeat
    unsigned replicas_count; // of the last Register
    unsigned answers_count;
    int answer_code;
    char address[CHUNK_ADDRESS_MAX];
    struct rpc_conn *conn;
};

static struct master master;
static char mark_dir[64]; // empty: none

static void fence_answered(void *user, int code, const Pawl__Reply *reply)
{
    (void)user;
    master.answers_count++;
    master.answer_code = code != 0 ? code : reply->code;
    kill(getpid(), SIGTERM);
}

// A command that chunk servers know; the reactor is draining or its core is scripted, but every
// command is answered.
static void fence_send(void)
{
    Pawl__Request request = PAWL__REQUEST__INIT;
    Pawl__Fence fence = PAWL__FENCE__INIT;
    fence.handle = 42;
    request.body_case = PAWL__REQUEST__BODY_FENCE;
    request.fence = &fence;
    assert_int_equal(rpc_call(master.conn, &request, 60000, fence_answered, NULL), 0);
}

static void answer_register(struct rpc_conn *conn, uint64_t id, const Pawl__Register *body)
{
    Pawl__Reply reply = PAWL__REPLY__INIT;
    Pawl__Registered registered = PAWL__REGISTERED__INIT;
    master.registers_count++;
    master.replicas_count = (unsigned)body->n_replicas;
    master.seen = (struct mark){
        .term = body->seen_term, .nonce = body->seen_nonce, .position = body->seen_position};
    strncpy(master.address, body->fabric_address, sizeof(master.address) - 1);
    if (master.register_code != 0) {
        rpc_reply_code(conn, id, master.register_code, "go away");
        return;
    }
    registered.cluster_id = master.cluster_id;
    registered.term =
        master.old_term != 0 && master.registers_count == 1 ? master.old_term : master.term;
    registered.nonce = 9;
    registered.position = 5;
    registered.heartbeat_ms = 20;
    registered.lease_ms = MASTER_LEASE_MS;
    reply.body_case = PAWL__REPLY__BODY_REGISTERED;
    reply.registered = &registered;
    rpc_reply(conn, id, &reply);
}

static void answer_heartbeat(struct rpc_conn *conn, uint64_t id)
{
    Pawl__Reply reply = PAWL__REPLY__INIT;
    Pawl__HeartbeatAnswer answer = PAWL__HEARTBEAT_ANSWER__INIT;
    Pawl__LeaseRenewal renewal = PAWL__LEASE_RENEWAL__INIT;
    Pawl__LeaseRenewal *renewals[] = {&renewal};
    if (master.drop_once) {
        master.drop_once = false;
        rpc_conn_close(conn, PAWL_EDISCONNECTED);
        return;
    }
    master.heartbeats_count++;
    master.heard_ns = pawl_clock_ns();
    answer.position = 8;
    renewal.handle = 42;
    renewal.version = 7;
    answer.renewals = renewals;
    answer.n_renewals = 1;
    answer.register_again = master.register_again;
    master.register_again = false;
    reply.body_case = PAWL__REPLY__BODY_HEARTBEAT;
    reply.heartbeat = &answer;
    rpc_reply(conn, id, &reply);
    if (master.heartbeats_count == HEARTBEATS_WANTED) {
        fence_send();
    }
}

static void master_request(void *user, struct rpc_conn *conn, uint64_t id,
                           const Pawl__Request *request)
{
    (void)user;
    if (request->body_case == PAWL__REQUEST__BODY_REGISTER) {
        answer_register(conn, id, request->register_);
    } else if (request->body_case == PAWL__REQUEST__BODY_HEARTBEAT) {
        answer_heartbeat(conn, id);
    } else {
        rpc_reply_code(conn, id, PAWL_EPROTOCOL, NULL);
    }
}

static void master_open(void *user, struct rpc_conn *conn)
{
    (void)user;
    master.conn = conn;
}

static void quit_came(uv_async_t *async)
{
    rpc_server_close(master.server, NULL, NULL);
    uv_close((uv_handle_t *)async, NULL);
}

static void *master_main(void *user)
{
    (void)user;
    uv_run(&master.loop, UV_RUN_DEFAULT);
    return NULL;
}

static void master_start(void)
{
    struct rpc_options options = {.size = sizeof(options), .host = "127.0.0.1"};
    struct rpc_handlers handlers = {.on_open = master_open, .on_request = master_request};
    master.began_ns = pawl_clock_ns();
    uv_loop_init(&master.loop);
    uv_async_init(&master.loop, &master.quit, quit_came);
    assert_int_equal(rpc_server_open(&master.loop, &options, &handlers, NULL, &master.server), 0);
    master.port = rpc_server_port(master.server);
    assert_int_equal(pthread_create(&master.thread, NULL, master_main, NULL), 0);
}

static void master_stop(void)
{
    uv_async_send(&master.quit);
    pthread_join(master.thread, NULL);
    assert_int_equal(uv_loop_close(&master.loop), 0);
}

// Runs control and a reactor with the scripted core until they end; returns the exit code. The
// master's end too.
static int chunkd_run(void)
{
    struct reactor_options options = {
        .size = sizeof(options),
        .name = "cs1",
        .dir = "nowhere",
        .incarnation = 0x1c,
        .fabrics = {{.provider = "fake"}},
        .fabrics_count = 1,
        .region_bytes = BUFFERS_REGION_MIN_BYTES,
        .numa_node = UINT32_MAX,
        .no_huge = true,
        .no_lock = true,
    };
    struct reactor_thread *thread = NULL;
    assert_int_equal(reactor_thread_start(&options, &thread), 0);
    struct control_options control = {.size = sizeof(control),
                                      .master_host = "127.0.0.1",
                                      .master_port = master.port,
                                      .name = "cs1",
                                      .location = "rack1",
                                      .address = reactor_address(reactor_thread_reactor(thread)),
                                      .dir = mark_dir[0] != '\0' ? mark_dir : NULL};
    struct reactor *reactor = reactor_thread_reactor(thread);
    int status = control_run(&control, &reactor, 1);
    reactor_thread_join(thread);
    master_stop(); // what it saw is read after its end
    return status;
}

static int setup(void **state)
{
    (void)state;
    memset(&script, 0, sizeof(script));
    memset(&master, 0, sizeof(master));
    script.server_id = 0x51;
    script.answer_commands = true;
    Pawl__Replica replica = PAWL__REPLICA__INIT;
    replica.handle = 42;
    script.replicas[0] = replica;
    replica.handle = 43;
    replica.sealed = true;
    script.replicas[1] = replica;
    script.replicas_count = 2;
    master.cluster_id = SCRIPT_CLUSTER;
    master.term = 1;
    master_start();
    return 0;
}

static int setup_dir(void **state)
{
    strcpy(mark_dir, "mark-XXXXXX");
    return mkdtemp(mark_dir) == NULL ? -1 : setup(state);
}

static int teardown_dir(void **state)
{
    (void)state;
    char path[96];
    snprintf(path, sizeof(path), "%s/mark", mark_dir);
    unlink(path);
    int code = rmdir(mark_dir);
    mark_dir[0] = '\0';
    return code;
}

static void expect_mark(uint64_t term, uint64_t nonce, uint64_t position)
{
    struct mark mark;
    mark_load(mark_dir, &mark);
    assert_int_equal(mark.cluster_id, term == 0 ? 0 : SCRIPT_CLUSTER);
    assert_int_equal(mark.term, term);
    assert_int_equal(mark.nonce, nonce);
    assert_int_equal(mark.position, position);
}

static void test_control_when_master_is_there_registers_and_renews_leases(void **state)
{
    (void)state;
    assert_int_equal(chunkd_run(), CONTROL_EXIT_OK);
    assert_int_equal(master.registers_count, 1);
    assert_int_equal(master.replicas_count, 2); // sealed ones too
    assert_int_equal(strncmp(master.address, "fake://", 7), 0);
    assert_int_equal(script.cluster_id, SCRIPT_CLUSTER); // learnt and kept
    assert_true(script_count(CHUNK_EVENT_LEASE) >= 1);
    struct script_event *lease = script_last(CHUNK_EVENT_LEASE);
    assert_int_equal(lease->event.version, 7);
    // Counted from the sending, so it ends no later than what the master counts from the hearing.
    assert_true(lease->event.until_ns <= master.heard_ns + MASTER_LEASE_MS * SCRIPT_MS);
    assert_true(lease->event.until_ns >= master.began_ns + MASTER_LEASE_MS * SCRIPT_MS);
    assert_int_equal(master.answers_count, 1);
    assert_int_equal(master.answer_code, PAWL_ESTALE); // the scripted core's answer
    assert_int_equal(script_count(CHUNK_EVENT_COMMAND), 1);
}

static void test_control_when_master_is_lost_registers_again(void **state)
{
    (void)state;
    master.drop_once = true;
    assert_int_equal(chunkd_run(), CONTROL_EXIT_OK);
    assert_int_equal(master.registers_count, 2);
    assert_true(master.heartbeats_count >= HEARTBEATS_WANTED);
}

static void test_control_when_told_to_registers_again(void **state)
{
    (void)state;
    master.register_again = true;
    assert_int_equal(chunkd_run(), CONTROL_EXIT_OK);
    assert_int_equal(master.registers_count, 2);
}

static void test_control_when_master_leads_another_cluster_ends_with_3(void **state)
{
    (void)state;
    script.cluster_id = SCRIPT_CLUSTER + 1;
    assert_int_equal(chunkd_run(), CONTROL_EXIT_CLUSTER);
    assert_int_equal(script.cluster_id, SCRIPT_CLUSTER + 1);
}

static void test_control_when_master_refuses_the_cluster_ends_with_3(void **state)
{
    (void)state;
    master.register_code = PAWL_ECLUSTER;
    assert_int_equal(chunkd_run(), CONTROL_EXIT_CLUSTER);
    assert_int_equal(master.registers_count, 1);
}

static void test_control_when_it_has_seen_a_log_tells_so_next_time(void **state)
{
    script.cluster_id = SCRIPT_CLUSTER;
    master.term = 3;
    expect_mark(0, 0, 0);
    assert_int_equal(chunkd_run(), CONTROL_EXIT_OK);
    assert_int_equal(master.seen.term, 0);
    expect_mark(3, 9, 8);
    setup(state);
    script.cluster_id = SCRIPT_CLUSTER;
    master.term = 4;
    assert_int_equal(chunkd_run(), CONTROL_EXIT_OK);
    assert_int_equal(master.seen.term, 3);
    assert_int_equal(master.seen.nonce, 9);
    assert_int_equal(master.seen.position, 8);
    expect_mark(4, 9, 8);
}

static void test_control_when_the_master_is_behind_does_not_obey_it(void **state)
{
    (void)state;
    struct mark mark = {.cluster_id = SCRIPT_CLUSTER, .term = 5, .nonce = 9, .position = 70};
    script.cluster_id = SCRIPT_CLUSTER;
    assert_int_equal(mark_save(mark_dir, &mark), 0);
    master.old_term = 4;
    master.term = 6;
    assert_int_equal(chunkd_run(), CONTROL_EXIT_OK); // the second answer is a newer one
    assert_int_equal(master.registers_count, 2);
    assert_int_equal(master.seen.term, 5);
    expect_mark(6, 9, 8);
}

static void test_mark_when_it_is_damaged_is_none(void **state)
{
    (void)state;
    struct mark mark = {.cluster_id = SCRIPT_CLUSTER, .term = 5, .nonce = 9, .position = 70};
    master_stop();
    assert_int_equal(mark_save(mark_dir, &mark), 0);
    expect_mark(5, 9, 70);
    char path[96];
    snprintf(path, sizeof(path), "%s/mark", mark_dir);
    for (off_t at = 0; at < 48; at++) {
        unsigned char byte;
        int fd = open(path, O_RDWR);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        expect_mark(0, 0, 0);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
    }
    assert_int_equal(truncate(path, 40), 0);
    expect_mark(0, 0, 0);
    assert_int_not_equal(mark_save("no/such/folder", &mark), 0);
}

static void *terminate_main(void *user)
{
    (void)user;
    // Handlers are in place once a connection was tried; the signal is blocked by nobody else.
    while (!__atomic_load_n(&script.visited, __ATOMIC_ACQUIRE)) {
        sched_yield();
    }
    kill(getpid(), SIGTERM);
    return NULL;
}

static void test_control_when_nobody_answers_still_ends_by_signal(void **state)
{
    (void)state;
    pthread_t thread;
    master.register_code = PAWL_EBUSY; // never gets in
    assert_int_equal(pthread_create(&thread, NULL, terminate_main, NULL), 0);
    assert_int_equal(chunkd_run(), CONTROL_EXIT_OK);
    pthread_join(thread, NULL);
    assert_int_equal(master.heartbeats_count, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, setup)
#define D(name) cmocka_unit_test_setup_teardown(name, setup_dir, teardown_dir)
    const struct CMUnitTest tests[] = {
        T(test_control_when_master_is_there_registers_and_renews_leases),
        T(test_control_when_master_is_lost_registers_again),
        T(test_control_when_told_to_registers_again),
        T(test_control_when_master_leads_another_cluster_ends_with_3),
        T(test_control_when_master_refuses_the_cluster_ends_with_3),
        T(test_control_when_nobody_answers_still_ends_by_signal),
        D(test_control_when_it_has_seen_a_log_tells_so_next_time),
        D(test_control_when_the_master_is_behind_does_not_obey_it),
        D(test_mark_when_it_is_damaged_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
