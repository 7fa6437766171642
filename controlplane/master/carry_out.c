// SPDX-License-Identifier: Apache-2.0
// Carries out the core's actions in their order, each not before the log records in front of it are durable.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#define PAWL_LOG_SUBSYSTEM "master"
#include "base/assert.h"
#include "base/log.h"
#include "controlplane/master/master_private.h"

#define FAILURES_MS 1u

static struct master_deferred *deferred_of(struct pawl_list *link)
{
    return pawl_container_of(link, struct master_deferred, link);
}

// ---- effects ---------------------------------------------------------------------------------

static void carry_reply(struct master *master, const struct master_deferred *action)
{
    struct master_request *request = pawl_map_remove(&master->requests, action->request);
    pawl_assert(request != NULL); // the core answers each request once
    struct rpc_conn *conn = rpc_server_find(master->server, request->conn_id);
    if (conn != NULL) {
        rpc_reply_packed(conn, request->rpc_id, action->data, action->bytes);
    }
    free(request);
}

static void command_on_answer(void *user, int code, const Pawl__Reply *reply)
{
    struct master_command *command = user;
    struct master_event event = {
        .type = MASTER_EVENT_ANSWER,
        .token = command->token,
        .status = code,
        .answer = reply,
    };
    struct master *master = command->master;
    free(command);
    master_handle(master, &event);
}

static int carry_command(struct master *master, const struct master_deferred *action)
{
    struct master_command *command = calloc(1, sizeof(*command));
    if (command == NULL) {
        return -ENOMEM;
    }
    pawl_list_init(&command->link);
    command->master = master;
    command->token = action->token;
    struct rpc_conn *conn = rpc_server_find(master->server, action->conn);
    const struct rpc_packed packed = {action->data, action->bytes};
    command->status = conn == NULL ? PAWL_EDISCONNECTED
                                   : rpc_call_packed(conn, &packed, action->deadline_ms,
                                                     command_on_answer, command);
    if (command->status != 0) { // its answer comes by itself, a little later
        pawl_list_push_back(&master->failed, &command->link);
        int rc = uv_timer_start(&master->failures, master_on_failures, FAILURES_MS, 0);
        pawl_assert(rc == 0);
    }
    return 0;
}

static int carry_one(struct master *master, const struct master_deferred *action)
{
    switch (action->type) {
    case MASTER_ACTION_REPLY:
        carry_reply(master, action);
        return 0;
    case MASTER_ACTION_COMMAND:
        return carry_command(master, action);
    case MASTER_ACTION_NOTE:
        pawl_log_at((enum pawl_log_level)action->level, "%.*s", (int)action->bytes,
                    (const char *)action->data);
        return 0;
    case MASTER_ACTION_LOG:
        break;
    }
    pawl_assert(!"action that can be deferred");
    return PAWL_EINTERNAL;
}

// ---- order -----------------------------------------------------------------------------------

static size_t action_bytes(const struct master_action *action)
{
    switch (action->type) {
    case MASTER_ACTION_REPLY:
        return pawl__reply__get_packed_size(action->reply);
    case MASTER_ACTION_COMMAND:
        return pawl__request__get_packed_size(action->command);
    case MASTER_ACTION_NOTE:
        return strlen(action->text);
    case MASTER_ACTION_LOG:
        break;
    }
    return 0;
}

static void action_pack(const struct master_action *action, uint8_t *data)
{
    if (action->type == MASTER_ACTION_REPLY) {
        (void)pawl__reply__pack(action->reply, data);
    } else if (action->type == MASTER_ACTION_COMMAND) {
        (void)pawl__request__pack(action->command, data);
    } else {
        memcpy(data, action->text, strlen(action->text));
    }
}

static int action_defer(struct master *master, const struct master_action *action)
{
    size_t bytes = action_bytes(action);
    struct master_deferred *deferred = malloc(sizeof(*deferred) + bytes);
    if (deferred == NULL) {
        return -ENOMEM;
    }
    *deferred = (struct master_deferred){
        .gate_lsn = oplog_last_lsn(master->log),
        .type = action->type,
        .conn = action->conn,
        .request = action->request,
        .token = action->token,
        .deadline_ms = action->deadline_ms,
        .level = action->level,
        .bytes = bytes,
    };
    action_pack(action, deferred->data);
    pawl_list_push_back(&master->deferred, &deferred->link);
    master->deferred_bytes += sizeof(*deferred) + bytes;
    return 0;
}

// The first deferred action, when the log has caught up with it.
static struct master_deferred *deferred_ready(struct master *master)
{
    struct pawl_list *link = pawl_list_first(&master->deferred);
    if (link == NULL || deferred_of(link)->gate_lsn > oplog_durable_lsn(master->log)) {
        return NULL;
    }
    pawl_list_remove(link);
    master->deferred_bytes -= sizeof(struct master_deferred) + deferred_of(link)->bytes;
    return deferred_of(link);
}

static int deferred_carry_out(struct master *master)
{
    struct master_deferred *action;
    while (!master->ended && (action = deferred_ready(master)) != NULL) {
        int rc = carry_one(master, action);
        free(action);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int master_carry_out(struct master *master, const struct master_actions *actions)
{
    for (uint32_t i = 0; i < actions->count; i++) {
        const struct master_action *action = &actions->items[i];
        int rc = action->type == MASTER_ACTION_LOG ? master_log_record(master, action->record)
                                                   : action_defer(master, action);
        if (rc != 0) {
            return rc;
        }
    }
    return deferred_carry_out(master);
}

void master_drain(struct master *master)
{
    if (master->ended) {
        return;
    }
    pawl_assert(!master->stepping);
    int rc = deferred_carry_out(master);
    if (rc != 0) {
        master_fail(master, rc, "an action could not be carried out");
    }
}

// Commands that could not be sent. Not in the turn in which that was found: a core that tries again at
// once would keep the loop from ever telling it that the connection is gone.
void master_on_failures(uv_timer_t *timer)
{
    struct master *master = timer->data;
    struct pawl_list failed, *link;
    pawl_list_init(&failed);
    pawl_list_append_all(&failed, &master->failed);
    while ((link = pawl_list_pop_front(&failed)) != NULL) {
        struct master_command *command = pawl_container_of(link, struct master_command, link);
        struct master_event event = {
            .type = MASTER_EVENT_ANSWER,
            .token = command->token,
            .status = command->status,
        };
        free(command);
        master_handle(master, &event);
    }
}

void master_deferred_free(struct master *master)
{
    struct pawl_list *link;
    while ((link = pawl_list_pop_front(&master->deferred)) != NULL) {
        free(deferred_of(link));
    }
    while ((link = pawl_list_pop_front(&master->failed)) != NULL) {
        free(pawl_container_of(link, struct master_command, link));
    }
}
