// SPDX-License-Identifier: Apache-2.0
// The master: what happens becomes events of the core, and its life from start to end.
#include "controlplane/master/master.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#define PAWL_LOG_SUBSYSTEM "master"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/host.h"
#include "base/log.h"
#include "base/random.h"
#include "controlplane/master/master_private.h"

// A tick is due after the first and done with the next request; without one a timer brings it at the second: each
// wake-up of an idle master costs.
#define TICK_MS 50u
#define TICK_MS_MAX 100u
#define WAITING_BYTES_MAX (32u << 20) // for the log: beyond it new requests are turned away

// ---- events ----------------------------------------------------------------------------------

void master_handle(struct master *master, struct master_event *event)
{
    const struct master_actions *actions;
    if (master->ended) {
        return;
    }
    pawl_assert(!master->stepping);
    master->stepping = true;
    event->now_ns = pawl_clock_ns();
    event->wall_ms = pawl_clock_wall_ms();
    int rc = master_core_step(master->core, event, &actions);
    if (rc == 0) {
        rc = master_carry_out(master, actions);
    }
    master->stepping = false;
    if (rc != 0) {
        master_fail(master, rc, "a step could not be carried out");
    }
}

static void tick(struct master *master)
{
    struct master_event event = {.type = MASTER_EVENT_TICK};
    uv_timer_again(&master->tick);
    master_handle(master, &event);
    master->ticked_ns = event.now_ns;
    if (!master->ended) {
        master_snapshot_if_due(master);
    }
}

static void on_tick(uv_timer_t *timer)
{
    tick(timer->data);
}

static void on_request(void *user, struct rpc_conn *conn, uint64_t rpc_id,
                       const Pawl__Request *message)
{
    struct master *master = user;
    if (master->stopping) {
        rpc_reply_code(conn, rpc_id, PAWL_ESHUTDOWN, NULL);
        return;
    }
    if (master->deferred_bytes > WAITING_BYTES_MAX ||
        oplog_pending_bytes(master->log) > WAITING_BYTES_MAX) {
        rpc_reply_code(conn, rpc_id, PAWL_EBUSY, "the master's disk does not keep up");
        return;
    }
    struct master_request *request = malloc(sizeof(*request));
    if (request != NULL) {
        *request = (struct master_request){rpc_conn_id(conn), rpc_id};
    }
    uint64_t number = ++master->last_request;
    if (request == NULL || pawl_map_put(&master->requests, number, request) != 0) {
        free(request);
        rpc_reply_code(conn, rpc_id, PAWL_EBUSY, "the master is out of memory");
        return;
    }
    struct master_event event = {
        .type = MASTER_EVENT_REQUEST,
        .conn = rpc_conn_id(conn),
        .request = number,
        .message = message,
    };
    master_handle(master, &event);
    if (!master->stopping && event.now_ns - master->ticked_ns >= TICK_MS * PAWL_NS_PER_MS) {
        tick(master);
    }
}

static void on_close(void *user, struct rpc_conn *conn, int why)
{
    struct master *master = user;
    struct master_event event = {
        .type = MASTER_EVENT_CONN_CLOSED,
        .conn = rpc_conn_id(conn),
        .status = why,
    };
    master_handle(master, &event);
}

// ---- end -------------------------------------------------------------------------------------

static void master_free(struct master *master)
{
    size_t cursor = 0;
    uint64_t number;
    void *request;
    while (pawl_map_iterate(&master->requests, &cursor, &number, &request)) {
        free(request);
    }
    pawl_map_fini(&master->requests);
    master_deferred_free(master);
    master_core_free(master->core);
    free(master);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct master *master = handle->data;
    if (--master->timers_count > 0) {
        return;
    }
    void (*on_end)(void *user, int code) = master->on_end;
    void *user = master->user;
    int code = master->end_code;
    master_free(master);
    if (on_end != NULL) {
        on_end(user, code);
    }
}

static void timers_close(struct master *master)
{
    uv_close((uv_handle_t *)&master->tick, on_timer_closed);
    uv_close((uv_handle_t *)&master->failures, on_timer_closed);
}

// The connections are gone.
static void on_server_closed(void *user)
{
    struct master *master = user;
    int rc = oplog_close(master->log);
    if (master->end_code == 0) {
        master->end_code = rc;
    }
    pawl_log_info("stopped: %s", pawl_strerror(master->end_code));
    timers_close(master);
}

static void master_end(struct master *master, int code)
{
    if (master->ended) {
        return;
    }
    master->ended = true;
    master->stopping = true;
    master->end_code = code;
    uv_timer_stop(&master->tick);
    uv_timer_stop(&master->failures);
    rpc_server_close(master->server, on_server_closed, master);
}

void master_fail(struct master *master, int code, const char *what)
{
    if (master->ended) {
        return;
    }
    pawl_log_error("%s: %s; the master stops", what, pawl_strerror(code));
    if (master->server != NULL) {
        master_end(master, code);
    } else { // still in master_open()
        master->ended = true;
        master->end_code = code;
    }
}

void master_stop(struct master *master)
{
    if (master->stopping) {
        return;
    }
    master->stopping = true;
    pawl_log_info("stopping: %zu requests are still to be answered",
                  pawl_map_count(&master->requests));
    int rc = oplog_flush(master->log);
    if (rc == 0) {
        master_drain(master); // everything that waited for the log
    }
    master_end(master, rc);
}

// ---- start -----------------------------------------------------------------------------------

static int master_core_open(struct master *master)
{
    struct master_core_options options = {
        .heartbeat_ms = master->config->heartbeat_ms,
        .suspect_ms = master->config->suspect_ms,
        .dead_ms = master->config->dead_ms,
        .lease_ms = master->config->lease_ms,
        .command_ms = 1000,
        .session_ms = master->config->session_ms,
        .surplus_ms = master->config->surplus_ms,
        .alloc = pawl_alloc_heap(),
    };
    int rc = pawl_random_os(&options.random_seed, sizeof(options.random_seed));
    return rc != 0 ? rc : master_core_new(&options, &master->core);
}

// The new term is durable before anybody hears of it.
static int master_term_start(struct master *master)
{
    const struct master_actions *actions;
    uint64_t random = 0;
    int rc = 0;
    while (rc == 0 && random == 0) {
        rc = pawl_random_os(&random, sizeof(random));
    }
    if (rc == 0) {
        rc = master_core_start(master->core, random, pawl_clock_ns(), pawl_clock_wall_ms(),
                               &actions);
    }
    if (rc == 0) {
        rc = master_carry_out(master, actions);
    }
    if (rc == 0) {
        rc = oplog_flush(master->log);
    }
    if (rc == 0) {
        master_drain(master);
        rc = master->end_code;
    }
    return rc;
}

static int port_file_write(const struct master *master)
{
    char temp[4096];
    const char *path = master->config->port_file;
    if (path == NULL) {
        return 0;
    }
    snprintf(temp, sizeof(temp), "%s.tmp", path);
    FILE *file = fopen(temp, "we");
    if (file == NULL) {
        return -errno;
    }
    bool written = fprintf(file, "%s\n", rpc_server_address(master->server)) > 0;
    if (fclose(file) != 0 || !written || rename(temp, path) != 0) {
        return errno != 0 ? -errno : -EIO;
    }
    return 0;
}

static int master_listen(struct master *master)
{
    const struct rpc_options options = {
        .size = sizeof(options),
        .host = master->config->host,
        .port = master->config->port,
    };
    const struct rpc_handlers handlers = {.on_request = on_request, .on_close = on_close};
    int rc = rpc_server_open(master->loop, &options, &handlers, master, &master->server);
    if (rc != 0) {
        return rc;
    }
    rc = port_file_write(master);
    if (rc != 0) {
        pawl_log_error("%s: can't be written: %s", master->config->port_file, pawl_strerror(rc));
    }
    return rc;
}

static int master_start(struct master *master)
{
    int rc = master_core_open(master);
    if (rc == 0) {
        rc = master_load(master);
    }
    if (rc == 0) {
        rc = master_term_start(master);
    }
    if (rc == 0) {
        rc = master_listen(master);
    }
    if (rc != 0) {
        return rc;
    }
    pawl_log_info("%s listens on %s: cluster %016" PRIx64 " term %" PRIu64, master->config->name,
                  rpc_server_address(master->server), master_core_cluster_id(master->core),
                  master_core_term(master->core));
    if (master->config->security_none && !pawl_host_is_loopback(master->config->host)) {
        pawl_log_warn("security none: whoever reaches %s can read, change and delete everything",
                      rpc_server_address(master->server));
    }
    rc = uv_timer_start(&master->tick, on_tick, TICK_MS_MAX, TICK_MS_MAX);
    pawl_assert(rc == 0);
    return 0;
}

int master_open(uv_loop_t *loop, const struct master_config *config,
                void (*on_end)(void *user, int code), void *user, struct master **ret_master)
{
    struct master *master = calloc(1, sizeof(*master));
    if (master == NULL) {
        return -ENOMEM;
    }
    master->loop = loop;
    master->config = config;
    master->user = user;
    master->snapshot_due_bytes = config->snapshot_after_bytes;
    pawl_map_init(&master->requests, pawl_alloc_heap());
    pawl_list_init(&master->deferred);
    pawl_list_init(&master->failed);
    int rc = uv_timer_init(loop, &master->tick);
    pawl_assert(rc == 0);
    rc = uv_timer_init(loop, &master->failures);
    pawl_assert(rc == 0);
    master->timers_count = 2;
    master->tick.data = master->failures.data = master;
    rc = master_start(master);
    if (rc != 0) {
        master->ended = true;
        rpc_server_close(master->server, NULL, NULL);
        (void)oplog_close(master->log);
        timers_close(master);
        return rc;
    }
    master->on_end = on_end;
    *ret_master = master;
    return 0;
}

uint16_t master_port(const struct master *master)
{
    return rpc_server_port(master->server);
}
