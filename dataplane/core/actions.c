// SPDX-License-Identifier: Apache-2.0
// The list of actions of a step: replies, answers, reports, store operations and their tokens.
//
// An action that there is no memory for goes to core->spare, so that nobody has to look: the step
// returns -ENOMEM and none of its actions is carried out.
#include <string.h>

#include "base/assert.h"
#include "dataplane/core/chunk_core_private.h"

#define ACTIONS_MIN 16u
#define OPS_MIN 16u

// Bytes of an action that are cleared: all that its type has. What every record needs is short.
static size_t action_bytes(enum chunk_action_type type)
{
    size_t head = offsetof(struct chunk_action, record); // where the union begins

    switch (type) {
    case CHUNK_ACTION_RELEASE:
        return head;
    case CHUNK_ACTION_APPEND:
        return head + sizeof(struct pawl_record);
    case CHUNK_ACTION_PREPARE:
        return head + sizeof(struct wire_prepare);
    case CHUNK_ACTION_REPLY:
        return head + sizeof(union chunk_reply);
    default:
        return sizeof(struct chunk_action);
    }
}

struct chunk_action *chunk_action_add(struct chunk_core *core, enum chunk_action_type type)
{
    struct chunk_actions *actions = &core->actions;
    struct chunk_action *action = &core->spare;

    if (actions->count == actions->capacity) {
        uint32_t capacity = actions->capacity ? actions->capacity * 2 : ACTIONS_MIN;
        struct chunk_action *items = pawl_alloc_grow(core->alloc, actions->items, actions->capacity,
                                                     capacity, sizeof(*items));
        if (items) {
            actions->items = items;
            actions->capacity = capacity;
        } else {
            core->no_memory = true;
        }
    }
    if (actions->count < actions->capacity) {
        action = &actions->items[actions->count++];
    }
    memset(action, 0, action_bytes(type));
#ifdef __SANITIZE_ADDRESS__ // who reads what its type hasn't must not find zeros by chance
    memset((unsigned char *)action + action_bytes(type), 0xa5,
           sizeof(*action) - action_bytes(type));
#endif
    action->type = type;
    return action;
}

struct chunk_action *chunk_action_last(struct chunk_core *core)
{
    return core->no_memory ? &core->spare : &core->actions.items[core->actions.count - 1];
}

union chunk_reply *chunk_reply_add(struct chunk_core *core, uint64_t conn, uint64_t request,
                                   uint16_t type, int status)
{
    struct chunk_action *action = chunk_action_add(core, CHUNK_ACTION_REPLY);
    uint16_t reply_type = (uint16_t)(type | WIRE_REPLY);

    action->conn = conn;
    action->request = request;
    wire_header_init(&action->reply.header, reply_type, wire_struct_bytes(reply_type), request);
    action->reply.header.status = status;
    return &action->reply;
}

// ---- tokens ----------------------------------------------------------------------------------

static bool ops_grow(struct chunk_core *core)
{
    uint32_t count = core->ops_count ? core->ops_count * 2 : OPS_MIN;
    struct chunk_op *ops =
        pawl_alloc_grow(core->alloc, core->ops, core->ops_count, count, sizeof(*ops));
    if (!ops) {
        core->no_memory = true;
        return false;
    }
    for (uint32_t slot = count; slot-- > core->ops_count;) {
        ops[slot].next_free = core->ops_free;
        core->ops_free = slot + 1;
    }
    core->ops = ops;
    core->ops_count = count;
    return true;
}

uint64_t chunk_op_add(struct chunk_core *core, struct chunk *chunk, enum chunk_op_kind kind,
                      uint64_t value)
{
    if (core->ops_free == 0 && !ops_grow(core)) {
        return 0;
    }
    uint32_t slot = core->ops_free - 1;
    struct chunk_op *op = &core->ops[slot];
    core->ops_free = op->next_free;
    *op = (struct chunk_op){
        .kind = kind, .generation = op->generation + 1, .value = value, .chunk = chunk};
    if (kind == CHUNK_OP_FETCH) {
        chunk->fetching_count++;
    } else {
        chunk->persisting_count++;
    }
    return ((uint64_t)op->generation << 32) | (slot + 1);
}

struct chunk_op *chunk_op_find(struct chunk_core *core, uint64_t token)
{
    uint32_t place = (uint32_t)token;
    if (place == 0 || place > core->ops_count) {
        return NULL;
    }
    struct chunk_op *op = &core->ops[place - 1];
    bool is_live = op->kind != CHUNK_OP_NONE && op->generation == (uint32_t)(token >> 32);
    return is_live ? op : NULL;
}

void chunk_op_end(struct chunk_core *core, struct chunk_op *op)
{
    uint32_t *count =
        op->kind == CHUNK_OP_FETCH ? &op->chunk->fetching_count : &op->chunk->persisting_count;
    pawl_assert(*count > 0);
    (*count)--;
    pawl_alloc_free(core->alloc, op->owned);
    *op = (struct chunk_op){.generation = op->generation, .next_free = core->ops_free};
    core->ops_free = (uint32_t)(op - core->ops) + 1;
}

// ---- store -----------------------------------------------------------------------------------

struct chunk_action *chunk_persist_add(struct chunk_core *core, struct chunk *chunk,
                                       enum chunk_op_kind kind, uint64_t value)
{
    static const enum chunk_action_type types[] = {
        [CHUNK_OP_CREATE] = CHUNK_ACTION_CREATE,   [CHUNK_OP_APPEND] = CHUNK_ACTION_APPEND,
        [CHUNK_OP_PROMISE] = CHUNK_ACTION_PROMISE, [CHUNK_OP_SEAL] = CHUNK_ACTION_SEAL,
        [CHUNK_OP_DROP] = CHUNK_ACTION_DROP,
    };
    pawl_assert(kind >= CHUNK_OP_CREATE && kind <= CHUNK_OP_DROP);

    uint64_t token = chunk_op_add(core, chunk, kind, value);
    struct chunk_action *action = chunk_action_add(core, types[kind]);
    action->token = token;
    action->handle = chunk->handle;
    action->version = chunk->promised;
    return action;
}

void chunk_persist_records(struct chunk_core *core, struct chunk *chunk, uint64_t index,
                           uint32_t count, uint64_t payload)
{
    struct chunk_action *action = chunk_persist_add(core, chunk, CHUNK_OP_APPEND, index);
    struct chunk_op *op = chunk_op_find(core, action->token);
    if (op) { // else no_memory
        op->count = count;
    }
    action->index = index;
    action->count = count;
    action->record = record_table_at(&chunk->records, index);
    action->payload = payload;
    action->commit_count = chunk->commit_count;
}

// ---- peers and reports -----------------------------------------------------------------------

void chunk_connect_add(struct chunk_core *core, const struct chunk *chunk, uint64_t server,
                       const char *address)
{
    size_t bytes = strlen(address);
    pawl_assert(bytes < CHUNK_ADDRESS_MAX);

    struct chunk_action *action = chunk_action_add(core, CHUNK_ACTION_CONNECT);
    action->handle = chunk->handle;
    action->server = server;
    memcpy(action->address, address, bytes + 1);
}

void chunk_report_add(struct chunk_core *core, const struct chunk *chunk, Pawl__ReportKind kind,
                      uint64_t server)
{
    struct chunk_action *action = chunk_action_add(core, CHUNK_ACTION_REPORT);
    action->handle = chunk->handle;
    action->version = chunk->promised;
    action->report.kind = kind;
    action->report.server_id = server;
}

// ---- answers to the master -------------------------------------------------------------------

// Memory that lives until the next step.
static void *answer_alloc(struct chunk_core *core, size_t bytes)
{
    struct chunk_answer_memory *block = pawl_alloc_new(core->alloc, sizeof(*block) + bytes);
    if (!block) {
        core->no_memory = true;
        return NULL;
    }
    block->next = core->answer_memory;
    core->answer_memory = block;
    return block + 1;
}

void chunk_answer_memory_free(struct chunk_core *core)
{
    while (core->answer_memory) {
        struct chunk_answer_memory *block = core->answer_memory;
        core->answer_memory = block->next;
        pawl_alloc_free(core->alloc, block);
    }
}

static Pawl__Reply *answer_add(struct chunk_core *core, uint64_t request, int code)
{
    struct chunk_action *action = chunk_action_add(core, CHUNK_ACTION_ANSWER);
    action->request = request;
    pawl__reply__init(&action->answer);
    action->answer.code = code;
    return &action->answer;
}

void chunk_answer_add(struct chunk_core *core, uint64_t request, int code)
{
    answer_add(core, request, code);
}

// What may have been acknowledged is no less than this: the records up to the last one of the weaker level. Those
// that are known to be committed say more.
static uint64_t replicated_count(const struct chunk *chunk)
{
    uint64_t count = chunk->durable_count;
    while (count > chunk->commit_count && !record_table_at(&chunk->records, count - 1).replicated) {
        count--;
    }
    return count;
}

static void answer_fenced(struct chunk_core *core, const struct chunk *chunk,
                          const struct chunk_command *command)
{
    Pawl__Fenced *fenced = answer_alloc(core, sizeof(*fenced));
    if (!fenced) {
        return;
    }
    pawl__fenced__init(fenced);
    fenced->handle = chunk->handle;
    // A sealed chunk needs no promise: nothing is ordered in it any more.
    fenced->version = PAWL_MAX(chunk->promised, command->version);
    fenced->count = chunk->durable_count;
    fenced->length = chunk_bytes_at(chunk, chunk->durable_count);
    fenced->commit_count = chunk->commit_count;
    fenced->replicated_count = replicated_count(chunk);
    fenced->sealed = chunk_is_sealed(chunk);
    Pawl__Reply *reply = answer_add(core, command->request, 0);
    reply->body_case = PAWL__REPLY__BODY_FENCED;
    reply->fenced = fenced;
}

static void answer_levelled(struct chunk_core *core, const struct chunk *chunk, uint64_t request)
{
    Pawl__Levelled *levelled = answer_alloc(core, sizeof(*levelled));
    if (!levelled) {
        return;
    }
    pawl__levelled__init(levelled);
    levelled->handle = chunk->handle;
    levelled->version = chunk->promised;
    levelled->count = chunk->durable_count;
    levelled->length = chunk_bytes_at(chunk, chunk->durable_count);
    Pawl__Reply *reply = answer_add(core, request, 0);
    reply->body_case = PAWL__REPLY__BODY_LEVELLED;
    reply->levelled = levelled;
}

static void answer_copied(struct chunk_core *core, const struct chunk *chunk,
                          const struct chunk_command *command)
{
    Pawl__Copied *copied = answer_alloc(core, sizeof(*copied));
    if (!copied) {
        return;
    }
    pawl__copied__init(copied);
    copied->handle = chunk->handle;
    // Sealed under an older version, it is the same chunk.
    copied->version = PAWL_MAX(chunk->promised, command->version);
    copied->count = chunk->durable_count;
    copied->length = chunk_bytes_at(chunk, chunk->durable_count);
    copied->sealed = chunk->state == CHUNK_STATE_SEALED;
    Pawl__Reply *reply = answer_add(core, command->request, 0);
    reply->body_case = PAWL__REPLY__BODY_COPIED;
    reply->copied = copied;
}

// The table after the last record goes to the next chunk: with it go all duplicates that it knows.
static void answer_sealed(struct chunk_core *core, const struct chunk *chunk, uint64_t request)
{
    size_t table_bytes = (size_t)chunk->producers.count * sizeof(struct wire_producer);
    Pawl__Sealed *sealed = answer_alloc(core, sizeof(*sealed));
    void *table = table_bytes ? answer_alloc(core, table_bytes) : NULL;
    if (core->no_memory) {
        return;
    }
    pawl__sealed__init(sealed);
    sealed->handle = chunk->handle;
    sealed->version = chunk->promised;
    producer_table_copy_sorted(&chunk->producers, table);
    sealed->producers = (ProtobufCBinaryData){.len = table_bytes, .data = table};
    Pawl__Reply *reply = answer_add(core, request, 0);
    reply->body_case = PAWL__REPLY__BODY_SEALED;
    reply->sealed = sealed;
}

void chunk_answer_state(struct chunk_core *core, const struct chunk *chunk,
                        const struct chunk_command *command)
{
    switch (command->kind) {
    case PAWL__REQUEST__BODY_FENCE:
        answer_fenced(core, chunk, command);
        break;
    case PAWL__REQUEST__BODY_LEVEL:
        answer_levelled(core, chunk, command->request);
        break;
    case PAWL__REQUEST__BODY_SEAL:
        answer_sealed(core, chunk, command->request);
        break;
    case PAWL__REQUEST__BODY_COPY:
        answer_copied(core, chunk, command);
        break;
    default:
        chunk_answer_add(core, command->request, 0);
    }
}
