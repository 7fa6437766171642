// SPDX-License-Identifier: Apache-2.0
// Test rig for the master.
#include "master_rig.h"

#include <dirent.h>
#include <unistd.h>

void master_rig_init(struct master_rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    strcpy(rig->directory, "/tmp/pawl-master-XXXXXX");
    assert_non_null(mkdtemp(rig->directory));
    strcpy(rig->config.host, "127.0.0.1");
    rig->config.directory = rig->directory;
    rig->config.name = (char *)"master";
    rig->config.heartbeat_ms = 50;
    rig->config.suspect_ms = 60000; // what registers here sends no heartbeats
    rig->config.dead_ms = 180000;
    rig->config.lease_ms = 2000;
    rig->config.snapshot_after_bytes = 64 << 20;
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    assert_int_equal(uv_timer_init(&rig->loop, &rig->watchdog), 0);
    uv_unref((uv_handle_t *)&rig->watchdog);
}

static void directory_remove(const char *directory)
{
    char path[400];
    struct dirent *entry;
    DIR *open = opendir(directory);
    assert_non_null(open);
    while ((entry = readdir(open)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        (void)unlink(path);
    }
    closedir(open);
    assert_int_equal(rmdir(directory), 0);
}

void master_rig_fini(struct master_rig *rig)
{
    if (rig->client != NULL) {
        master_rig_disconnect(rig);
    }
    if (rig->master != NULL) {
        master_rig_stop(rig);
    }
    uv_close((uv_handle_t *)&rig->watchdog, NULL);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    directory_remove(rig->directory);
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    fprintf(stderr, "rig: the condition did not come true in time\n");
    abort();
}

// While it is on, the loop always has something to wait for.
void master_rig_watchdog(struct master_rig *rig, bool on)
{
    if (on) {
        uv_ref((uv_handle_t *)&rig->watchdog);
        uv_timer_start(&rig->watchdog, on_watchdog, 50000, 0);
    } else {
        uv_timer_stop(&rig->watchdog);
        uv_unref((uv_handle_t *)&rig->watchdog);
    }
}

static void on_end(void *user, int code)
{
    struct master_rig *rig = user;
    rig->ended++;
    rig->end_code = code;
    rig->master = NULL;
}

int master_rig_try_start(struct master_rig *rig)
{
    rig->ended = rig->end_code = 0;
    return master_open(&rig->loop, &rig->config, on_end, rig, &rig->master);
}

void master_rig_start(struct master_rig *rig)
{
    assert_int_equal(master_rig_try_start(rig), 0);
}

void master_rig_stop(struct master_rig *rig)
{
    master_stop(rig->master);
    assert_int_equal(rig->ended, 0);
    master_rig_run_until(rig, rig->ended == 1);
    assert_int_equal(rig->end_code, 0);
}

static void on_open(void *user, struct rpc_conn *conn)
{
    struct master_rig *rig = user;
    (void)conn;
    rig->client_open = true;
}

static void on_request(void *user, struct rpc_conn *conn, uint64_t request_id,
                       const Pawl__Request *request)
{
    struct master_rig *rig = user;
    rig->requests++;
    rig->request_kind = (int)request->body_case;
    if (rig->answer) {
        rpc_reply_code(conn, request_id, rig->answer_code, NULL);
    }
}

static void on_close(void *user, struct rpc_conn *conn, int why)
{
    struct master_rig *rig = user;
    (void)why;
    if (rig->client == conn) {
        rig->client = NULL;
        rig->client_open = false;
    }
}

void master_rig_connect(struct master_rig *rig, uint16_t port)
{
    const struct rpc_options options = {.size = sizeof(options), .port = port};
    const struct rpc_handlers handlers = {on_open, on_request, on_close};
    assert_int_equal(rpc_connect(&rig->loop, &options, &handlers, rig, &rig->client), 0);
    master_rig_run_until(rig, rig->client_open);
}

void master_rig_disconnect(struct master_rig *rig)
{
    rpc_conn_close(rig->client, 0);
    master_rig_run_until(rig, rig->client == NULL);
}

static void on_reply(void *user, int code, const Pawl__Reply *reply)
{
    struct rig_reply *result = user;
    result->ended++;
    result->code = code != 0 ? code : reply->code;
    result->ok += result->code == 0;
    if (result->code == 0 && reply->body_case == PAWL__REPLY__BODY_FILE) {
        result->file_id = reply->file->file_id;
    }
    if (result->code == 0 && reply->body_case == PAWL__REPLY__BODY_SERVERS) {
        result->term = reply->servers->term;
        result->cluster_id = reply->servers->cluster_id;
    }
}

void master_rig_call(struct master_rig *rig, const Pawl__Request *request, struct rig_reply *reply)
{
    assert_int_equal(rpc_call(rig->client, request, 60000, on_reply, reply), 0);
}

void master_rig_create(struct master_rig *rig, const char *path, struct rig_reply *reply)
{
    Pawl__Create create = PAWL__CREATE__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    create.path = (char *)path;
    create.exclusive = true;
    request.body_case = PAWL__REQUEST__BODY_CREATE;
    request.create = &create;
    master_rig_call(rig, &request, reply);
}

int master_rig_create_wait(struct master_rig *rig, const char *path)
{
    struct rig_reply reply = {0};
    master_rig_create(rig, path, &reply);
    master_rig_run_until(rig, reply.ended == 1);
    return reply.code;
}

int master_rig_stat(struct master_rig *rig, const char *path)
{
    struct rig_reply reply = {0};
    Pawl__Stat stat = PAWL__STAT__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    stat.path = (char *)path;
    request.body_case = PAWL__REQUEST__BODY_STAT;
    request.stat = &stat;
    master_rig_call(rig, &request, &reply);
    master_rig_run_until(rig, reply.ended == 1);
    return reply.code;
}

void master_rig_servers(struct master_rig *rig, struct rig_reply *reply)
{
    Pawl__ListServers list = PAWL__LIST_SERVERS__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_LIST_SERVERS;
    request.list_servers = &list;
    *reply = (struct rig_reply){0};
    master_rig_call(rig, &request, reply);
    master_rig_run_until(rig, reply->ended == 1);
}
