// SPDX-License-Identifier: Apache-2.0
// The list of what a step asks its driver to do.
#include "controlplane/core/master_core_private.h"

#define ACTIONS_CAPACITY_MIN 64u

// NULL when the core has failed.
static struct master_action *action_add(struct master_core *core, enum master_action_type type)
{
    struct master_actions *actions = &core->actions;
    if (core->failed) {
        return NULL;
    }
    if (actions->count == actions->capacity) {
        uint32_t capacity = PAWL_MAX(actions->capacity * 2, ACTIONS_CAPACITY_MIN);
        struct master_action *items = pawl_alloc_grow(core->alloc, actions->items,
                                                      actions->capacity, capacity, sizeof(*items));
        if (!items) {
            core->failed = -ENOMEM;
            return NULL;
        }
        actions->items = items;
        actions->capacity = capacity;
    }
    struct master_action *action = &actions->items[actions->count++];
    *action = (struct master_action){.type = type};
    return action;
}

Pawl__LogRecord *master_record(struct master_core *core, Pawl__LogRecord__BodyCase body_case)
{
    Pawl__LogRecord *record = MASTER_MESSAGE(core, Pawl__LogRecord, pawl__log_record__init);
    record->wall_ms = core->wall_ms;
    record->body_case = body_case;
    return record;
}

void master_log(struct master_core *core, Pawl__LogRecord *record)
{
    if (core->failed) {
        return;
    }
    // Listed before it is applied: what applying it asks for (drops of deleted chunks) must stand
    // behind it.
    bool unlogged = (PAWL_MUTANT(version_not_logged) &&
                     record->body_case == PAWL__LOG_RECORD__BODY_CHUNK_VERSION) ||
                    (PAWL_MUTANT(session_end_unlogged) &&
                     record->body_case == PAWL__LOG_RECORD__BODY_SESSIONS_END);
    struct master_action *action = unlogged ? NULL : action_add(core, MASTER_ACTION_LOG);
    if (!action && !unlogged) {
        return;
    }
    if (action) {
        action->record = record;
    }
    int rc = master_apply(core, record);
    // What we build ourselves fits our own state; only memory can be missing.
    pawl_assert(rc == 0 || rc == -ENOMEM);
    if (rc) {
        core->failed = rc;
    }
}

void master_note(struct master_core *core, int level, const char *format, ...)
{
    struct master_action *action = action_add(core, MASTER_ACTION_NOTE);
    if (!action) {
        return;
    }
    va_list args;
    va_start(args, format);
    action->level = level;
    action->text = master_arena_vprintf(core, format, args);
    va_end(args);
}

Pawl__Reply *master_reply_new(struct master_core *core, Pawl__Reply__BodyCase body_case)
{
    Pawl__Reply *reply = MASTER_MESSAGE(core, Pawl__Reply, pawl__reply__init);
    reply->body_case = body_case;
    return reply;
}

void master_reply(struct master_core *core, uint64_t request, Pawl__Reply *reply)
{
    struct master_action *action = action_add(core, MASTER_ACTION_REPLY);
    if (action) {
        action->request = request;
        action->reply = reply;
    }
}

void master_reply_code(struct master_core *core, uint64_t request, int code, const char *format,
                       ...)
{
    Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY__NOT_SET);
    reply->code = code;
    if (format) {
        va_list args;
        va_start(args, format);
        reply->text = master_arena_vprintf(core, format, args);
        va_end(args);
    }
    master_reply(core, request, reply);
}

uint64_t master_command(struct master_core *core, struct master_server *server,
                        enum master_command_kind kind, Pawl__Request *request, uint32_t deadline_ms)
{
    static const uint64_t no_handle = 0;
    pawl_assert(server->conn != 0);
    if (core->failed) {
        return 0;
    }
    struct master_command *command = pawl_alloc_new(core->alloc, sizeof(*command));
    if (!command || pawl_map_put(&core->commands, core->next_token, command)) {
        pawl_alloc_free(core->alloc, command);
        core->failed = -ENOMEM;
        return 0;
    }
    const uint64_t *handle = kind == MASTER_COMMAND_FENCE   ? &request->fence->handle
                             : kind == MASTER_COMMAND_LEVEL ? &request->level->handle
                             : kind == MASTER_COMMAND_SEAL  ? &request->seal->handle
                             : kind == MASTER_COMMAND_OPEN  ? &request->open->handle
                             : kind == MASTER_COMMAND_GRANT ? &request->grant->handle
                             : kind == MASTER_COMMAND_DROP  ? &request->drop->handle
                             : kind == MASTER_COMMAND_COPY  ? &request->copy->handle
                                                            : &no_handle;
    *command = (struct master_command){
        .kind = kind, .token = core->next_token++, .handle = *handle, .server = server};
    struct master_action *action = action_add(core, MASTER_ACTION_COMMAND);
    if (action) {
        action->conn = server->conn;
        action->token = command->token;
        action->command = request;
        action->deadline_ms = deadline_ms;
    }
    return command->token;
}

Pawl__Member *master_member_message(struct master_core *core, const struct master_server *server)
{
    Pawl__Member *member = MASTER_MESSAGE(core, Pawl__Member, pawl__member__init);
    member->server_id = server->id;
    member->name = master_arena_text(core, server->name);
    member->fabric_address = master_arena_text(core, server->address);
    member->state = (Pawl__ServerState)server->state;
    return member;
}

uint64_t *master_arena_ids(struct master_core *core, const uint64_t *ids, size_t count)
{
    if (count == 0) {
        return NULL;
    }
    pawl_assert(count <= MASTER_SET_MAX);
    uint64_t *copy = master_arena_alloc(core, count * sizeof(*copy));
    memcpy(copy, ids, count * sizeof(*copy));
    return copy;
}
