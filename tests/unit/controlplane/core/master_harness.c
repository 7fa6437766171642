// SPDX-License-Identifier: Apache-2.0
// The world of master_harness.h.
#include "master_harness.h"

#include "base/util.h"
#include "controlplane/core/master_core_private.h"

#define TICK_NS UINT64_C(50000000)
#define HEARTBEAT_NS UINT64_C(200000000)

// ---- memory: counted, and made to fail where a test says ----------------------------------------

static void *world_alloc(void *ctx, size_t bytes)
{
    struct world *world = ctx;
    if (world->alloc_fail_at >= 0 && world->alloc_fail_at-- == 0) {
        return NULL;
    }
    world->alloc_live++;
    return calloc(1, bytes);
}

static void world_free(void *ctx, void *p)
{
    struct world *world = ctx;
    world->alloc_live--;
    free(p);
}

static struct master_core *core_new(struct world *world)
{
    struct master_core_options options = {.heartbeat_ms = 200,
                                          .suspect_ms = 1000,
                                          .dead_ms = 3000,
                                          .lease_ms = 2000,
                                          .command_ms = 1000,
                                          .random_seed = 42,
                                          .alloc = &world->alloc};
    struct master_core *core;
    assert_int_equal(master_core_new(&options, &core), 0);
    return core;
}

// ---- actions -------------------------------------------------------------------------------------

static void take_log(struct world *world, const Pawl__LogRecord *record)
{
    if (world->log_count == world->log_capacity) {
        world->log_capacity = world->log_capacity * 2 + 64;
        world->log = realloc(world->log, world->log_capacity * sizeof(*world->log));
        assert_non_null(world->log);
    }
    struct world_record *slot = &world->log[world->log_count++];
    slot->bytes = pawl__log_record__get_packed_size(record);
    slot->data = malloc(slot->bytes);
    pawl__log_record__pack(record, slot->data);
}

static void take_reply(struct world *world, const struct master_action *action)
{
    // Exactly one answer for each request.
    bool late = action->request == world->question;
    Pawl__Reply **reply = late ? &world->answer : &world->reply;
    assert_int_equal(action->request, late ? world->question : world->reply_request);
    assert_null(*reply);
    size_t bytes = pawl__reply__get_packed_size(action->reply);
    uint8_t *data = malloc(bytes + 1);
    pawl__reply__pack(action->reply, data);
    *reply = pawl__reply__unpack(NULL, bytes, data);
    assert_non_null(*reply);
    free(data);
}

static void take_command(struct world *world, const struct master_action *action)
{
    size_t bytes = pawl__request__get_packed_size(action->command);
    uint8_t *data = malloc(bytes + 1);
    pawl__request__pack(action->command, data);
    struct world_command *command = calloc(1, sizeof(*command));
    command->request = pawl__request__unpack(NULL, bytes, data);
    assert_non_null(command->request);
    free(data);
    command->conn = action->conn;
    command->token = action->token;
    command->deadline_ns = world->now_ns + action->deadline_ms * UINT64_C(1000000);
    struct world_command **end = &world->commands;
    while (*end) {
        end = &(*end)->next;
    }
    *end = command;
}

static void take_note(struct world *world, const char *text)
{
    size_t bytes = strlen(text);
    if (world->notes_bytes + bytes + 2 > sizeof(world->notes)) {
        world->notes_bytes = 0;
    }
    memcpy(world->notes + world->notes_bytes, text, bytes);
    world->notes_bytes += bytes;
    world->notes[world->notes_bytes++] = '\n';
    world->notes[world->notes_bytes] = '\0';
}

static void take_actions(struct world *world, const struct master_actions *actions)
{
    for (uint32_t i = 0; i < actions->count; i++) {
        const struct master_action *action = &actions->items[i];
        switch (action->type) {
        case MASTER_ACTION_LOG:
            take_log(world, action->record);
            break;
        case MASTER_ACTION_REPLY:
            take_reply(world, action);
            break;
        case MASTER_ACTION_COMMAND:
            take_command(world, action);
            break;
        case MASTER_ACTION_NOTE:
            take_note(world, action->text);
            break;
        }
    }
    master_core_validate(world->core);
}

void world_event(struct world *world, struct master_event *event)
{
    const struct master_actions *actions;
    event->now_ns = world->now_ns;
    event->wall_ms = 1000000 + world->now_ns / 1000000;
    assert_int_equal(master_core_step(world->core, event, &actions), 0);
    take_actions(world, actions);
    if (!world->hold) {
        world_pump(world);
    }
}

// ---- commands ------------------------------------------------------------------------------------

void world_answer(struct world *world, const struct world_command *command, int status,
                  const Pawl__Reply *reply)
{
    if (world->carrying_late || world->hold) {
        return; // nobody listens any more
    }
    struct master_event event = {.type = MASTER_EVENT_ANSWER,
                                 .conn = command->conn,
                                 .token = command->token,
                                 .status = status,
                                 .answer = reply};
    const struct master_actions *actions;
    event.now_ns = world->now_ns;
    event.wall_ms = 1000000 + world->now_ns / 1000000;
    assert_int_equal(master_core_step(world->core, &event, &actions), 0);
    take_actions(world, actions);
}

static void command_free(struct world_command *command)
{
    pawl__request__free_unpacked(command->request, NULL);
    free(command);
}

void world_pump(struct world *world)
{
    while (world->commands) {
        struct world_command *command = world->commands;
        // The world stops before a command is carried out, or after that and before its answer.
        if (world->halt_in == 0) {
            world->hold = true;
            return;
        }
        world->hold = world->halt_in == 1;
        world->halt_in -= world->halt_in > 0 ? PAWL_MIN(world->halt_in, 2) : 0;
        world->commands = command->next;
        struct fake_server *server = fake_of_conn(world, command->conn);
        if (server && server->mute) {
            command->next = world->held;
            world->held = command;
            continue;
        }
        if (server) {
            fake_carry_out(world, server, command);
        } else {
            world_answer(world, command, PAWL_EDISCONNECTED, NULL);
        }
        command_free(command);
        if (world->hold) {
            return;
        }
    }
}

static void pump_deadlines(struct world *world)
{
    struct world_command **at = &world->held;
    while (*at && !world->hold) {
        struct world_command *command = *at;
        struct fake_server *server = fake_of_conn(world, command->conn);
        if (server && command->deadline_ns > world->now_ns) {
            at = &command->next;
            continue;
        }
        *at = command->next;
        if (server && server->late) {
            world->carrying_late = true;
            fake_carry_out(world, server, command);
            world->carrying_late = false;
        }
        world_answer(world, command, server ? PAWL_EDEADLINE : PAWL_EDISCONNECTED, NULL);
        command_free(command);
    }
    if (!world->hold) {
        world_pump(world);
    }
}

// ---- time ----------------------------------------------------------------------------------------

void world_advance(struct world *world, uint64_t ms)
{
    for (uint64_t end = world->now_ns + ms * UINT64_C(1000000); world->now_ns < end;) {
        world->now_ns += TICK_NS;
        pump_deadlines(world);
        if (world->now_ns >= world->heartbeat_ns) {
            world->heartbeat_ns = world->now_ns + HEARTBEAT_NS;
            for (uint32_t i = 1; i <= world->servers_count; i++) {
                if (world->servers[i - 1].conn && !world->servers[i - 1].silent) {
                    world_heartbeat(world, i);
                }
            }
        }
        struct master_event event = {.type = MASTER_EVENT_TICK};
        world_event(world, &event);
    }
}

// ---- calls ---------------------------------------------------------------------------------------

const Pawl__Reply *world_call_on(struct world *world, uint64_t conn,
                                 Pawl__Request__BodyCase body_case, void *body)
{
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = body_case;
    request.mkdir = body; // a union of pointers
    if (world->reply) {
        pawl__reply__free_unpacked(world->reply, NULL);
        world->reply = NULL;
    }
    world->reply_request = ++world->next_request;
    struct master_event event = {.type = MASTER_EVENT_REQUEST,
                                 .conn = conn,
                                 .request = world->reply_request,
                                 .message = &request};
    world_event(world, &event);
    assert_non_null(world->reply);
    return world->reply;
}

const Pawl__Reply *world_call(struct world *world, Pawl__Request__BodyCase body_case, void *body)
{
    return world_call_on(world, 999999, body_case, body);
}

struct fake_server *world_server(struct world *world, uint32_t i)
{
    assert_true(i >= 1 && i <= world->servers_count);
    return &world->servers[i - 1];
}

// Inventory; the caller frees `*ret_storage`.
static size_t inventory(struct world *world, struct fake_server *server, bool open_only,
                        Pawl__Replica ***ret_list, Pawl__Replica **ret_storage)
{
    Pawl__Replica *storage = calloc(WORLD_CHUNKS, sizeof(*storage));
    Pawl__Replica **list = calloc(WORLD_CHUNKS, sizeof(Pawl__Replica *));
    size_t count = 0;
    for (uint64_t handle = 1; handle < WORLD_CHUNKS; handle++) {
        struct fake_replica *replica = &server->replicas[handle];
        if (!replica->exists || (open_only && replica->sealed)) {
            continue;
        }
        Pawl__Replica *message = &storage[count];
        pawl__replica__init(message);
        message->handle = handle;
        message->version = replica->version;
        message->count = replica->count;
        message->length = fake_bytes(replica);
        message->commit_count = replica->commit_count;
        message->sealed = replica->sealed;
        message->primary = replica->primary && replica->lease_until_ns > world->now_ns;
        message->damaged = replica->damaged;
        message->copying = replica->copying;
        list[count++] = message;
    }
    *ret_list = list;
    *ret_storage = storage;
    return count;
}

const Pawl__Reply *world_server_register(struct world *world, uint32_t i)
{
    struct fake_server *server = world_server(world, i);
    Pawl__Register reg = PAWL__REGISTER__INIT;
    Pawl__Replica *storage;
    reg.server_id = server->id;
    reg.incarnation = server->incarnation;
    reg.cluster_id = server->cluster_id;
    reg.seen_term = server->seen_term;
    reg.seen_nonce = server->seen_nonce;
    reg.seen_position = server->seen_position;
    reg.name = server->name;
    reg.location = server->location;
    char address[32];
    snprintf(address, sizeof(address), "fake://%u", i);
    reg.fabric_address = server->address != NULL ? (char *)(uintptr_t)server->address : address;
    reg.space_bytes = server->space_bytes;
    reg.n_replicas = inventory(world, server, false, &reg.replicas, &storage);
    const Pawl__Reply *reply = world_call_on(world, server->conn, WORLD_BODY(REGISTER), &reg);
    if (reply->code == 0) {
        server->cluster_id = reply->registered->cluster_id;
        server->seen_term = reply->registered->term;
        server->seen_nonce = reply->registered->nonce;
        server->seen_position = reply->registered->position;
        assert_true(reply->registered->order != 0);
    }
    free(reg.replicas);
    free(storage);
    return reply;
}

void world_heartbeat(struct world *world, uint32_t i)
{
    struct fake_server *server = world_server(world, i);
    Pawl__Heartbeat heartbeat = PAWL__HEARTBEAT__INIT;
    Pawl__Replica *storage;
    heartbeat.server_id = server->id;
    heartbeat.incarnation = server->incarnation;
    heartbeat.space_bytes = server->space_bytes;
    heartbeat.n_replicas = inventory(world, server, true, &heartbeat.replicas, &storage);
    const Pawl__Reply *reply =
        world_call_on(world, server->conn, WORLD_BODY(HEARTBEAT), &heartbeat);
    assert_int_equal(reply->code, 0);
    server->seen_position = PAWL_MAX(server->seen_position, reply->heartbeat->position);
    for (size_t r = 0; r < reply->heartbeat->n_renewals; r++) {
        const Pawl__LeaseRenewal *renewal = reply->heartbeat->renewals[r];
        struct fake_replica *replica = fake_replica_of(server, renewal->handle);
        if (replica->primary && replica->version == renewal->version) {
            replica->lease_until_ns = world->now_ns + WORLD_LEASE_NS;
        }
    }
    free(heartbeat.replicas);
    free(storage);
    if (reply->heartbeat->register_again) {
        assert_int_equal(world_server_register(world, i)->code, 0);
    }
}

void world_server_start(struct world *world, uint32_t i)
{
    struct fake_server *server = world_server(world, i);
    assert_true(server->conn == 0);
    server->incarnation = ++world->next_incarnation;
    server->conn = ++world->next_conn;
    assert_int_equal(world_server_register(world, i)->code, 0);
}

void world_server_kill(struct world *world, uint32_t i)
{
    struct fake_server *server = world_server(world, i);
    struct master_event event = {.type = MASTER_EVENT_CONN_CLOSED, .conn = server->conn};
    server->conn = 0;
    for (uint32_t handle = 0; handle < WORLD_CHUNKS; handle++) {
        server->replicas[handle].primary = false;
    }
    world_event(world, &event);
    pump_deadlines(world);
}

void world_server_reconnect(struct world *world, uint32_t i)
{
    struct fake_server *server = world_server(world, i);
    struct master_event event = {.type = MASTER_EVENT_CONN_CLOSED, .conn = server->conn};
    server->conn = ++world->next_conn;
    if (event.conn) {
        world_event(world, &event);
        pump_deadlines(world);
    }
    assert_int_equal(world_server_register(world, i)->code, 0);
}

void world_report(struct world *world, uint32_t i, Pawl__ReportKind kind, uint64_t handle,
                  uint64_t version, uint64_t server_id)
{
    Pawl__Report report = PAWL__REPORT__INIT;
    report.kind = kind;
    report.handle = handle;
    report.version = version;
    report.server_id = server_id;
    world_call_on(world, world_server(world, i)->conn, WORLD_BODY(REPORT), &report);
}

uint64_t world_create(struct world *world, const char *path, uint32_t replicas,
                      uint32_t min_replicas)
{
    Pawl__Create create = PAWL__CREATE__INIT;
    create.path = (char *)path;
    create.replicas = replicas;
    create.min_replicas = min_replicas;
    create.chunk_bytes = 1 << 20;
    const Pawl__Reply *reply = world_call(world, WORLD_BODY(CREATE), &create);
    return reply->code == 0 ? reply->file->file_id : 0;
}

int world_mkdir(struct world *world, const char *path)
{
    Pawl__Mkdir mkdir = PAWL__MKDIR__INIT;
    mkdir.path = (char *)path;
    return world_call(world, WORLD_BODY(MKDIR), &mkdir)->code;
}

int world_remove(struct world *world, const char *path, bool recursive)
{
    Pawl__Remove remove = PAWL__REMOVE__INIT;
    remove.path = (char *)path;
    remove.recursive = recursive;
    return world_call(world, WORLD_BODY(REMOVE), &remove)->code;
}

int world_rename(struct world *world, const char *from, const char *to)
{
    Pawl__Rename rename = PAWL__RENAME__INIT;
    rename.from = (char *)from;
    rename.to = (char *)to;
    return world_call(world, WORLD_BODY(RENAME), &rename)->code;
}

int world_stat(struct world *world, const char *path)
{
    Pawl__Stat stat = PAWL__STAT__INIT;
    stat.path = (char *)path;
    return world_call(world, WORLD_BODY(STAT), &stat)->code;
}

const Pawl__Reply *world_tail_hint(struct world *world, uint64_t file_id, uint64_t handle,
                                   uint64_t version, int code)
{
    Pawl__GetTail get_tail = PAWL__GET_TAIL__INIT;
    Pawl__Hint hint = PAWL__HINT__INIT;
    get_tail.file_id = file_id;
    get_tail.append = true;
    hint.handle = handle;
    hint.version = version;
    hint.code = code;
    get_tail.hint = handle ? &hint : NULL;
    return world_call(world, WORLD_BODY(GET_TAIL), &get_tail);
}

void world_ask_tail(struct world *world, uint64_t file_id, uint64_t full_handle, uint32_t wait_ms)
{
    Pawl__Request request = PAWL__REQUEST__INIT;
    Pawl__GetTail get_tail = PAWL__GET_TAIL__INIT;
    Pawl__Hint hint = PAWL__HINT__INIT;
    request.body_case = WORLD_BODY(GET_TAIL);
    request.get_tail = &get_tail;
    get_tail.file_id = file_id;
    get_tail.append = true;
    get_tail.wait_ms = wait_ms;
    hint.handle = full_handle;
    hint.version = 1;
    hint.code = PAWL_ECHUNKFULL;
    get_tail.hint = full_handle ? &hint : NULL;
    if (world->answer) {
        pawl__reply__free_unpacked(world->answer, NULL);
        world->answer = NULL;
    }
    world->question = ++world->next_request;
    struct master_event event = {.type = MASTER_EVENT_REQUEST,
                                 .conn = 999999,
                                 .request = world->question,
                                 .message = &request};
    world_event(world, &event);
}

const Pawl__Reply *world_tail(struct world *world, uint64_t file_id)
{
    return world_tail_hint(world, file_id, 0, 0, 0);
}

const Pawl__Chunk *world_granted(struct world *world, uint64_t file_id, uint64_t ms)
{
    uint64_t end = world->now_ns + ms * UINT64_C(1000000);
    for (;;) {
        const Pawl__Reply *reply = world_tail(world, file_id);
        if (reply->code == PAWL_EBUSY) {
            reply = world_tail(world, file_id); // what that one has started may be done already
        }
        if (reply->code == 0) {
            return reply->tail->chunk;
        }
        if (world->now_ns >= end) {
            fail_msg("no lease after %lu ms: code %d %s\n%s", ms, reply->code, reply->text,
                     world->notes);
        }
        world_advance(world, 50);
    }
}

const Pawl__Chunk *world_chunk(struct world *world, uint64_t handle)
{
    Pawl__GetChunks get = PAWL__GET_CHUNKS__INIT;
    get.handle = handle;
    const Pawl__Reply *reply = world_call(world, WORLD_BODY(GET_CHUNKS), &get);
    return reply->code == 0 ? reply->chunks->chunks[0] : NULL;
}

// ---- records -------------------------------------------------------------------------------------

uint32_t world_primary(struct world *world, uint64_t handle)
{
    for (uint32_t i = 1; i <= world->servers_count; i++) {
        struct fake_server *server = world_server(world, i);
        struct fake_replica *replica = fake_replica_of(server, handle);
        if (server->conn && replica->exists && replica->primary &&
            replica->lease_until_ns > world->now_ns) {
            return i;
        }
    }
    return 0;
}

bool world_append(struct world *world, uint64_t handle, uint64_t count)
{
    uint32_t i = world_primary(world, handle);
    if (i == 0) {
        return false;
    }
    struct fake_replica *primary = fake_replica_of(world_server(world, i), handle);
    bool everywhere = true;
    uint64_t first = primary->count;
    for (uint32_t m = 0; m < primary->members_count; m++) {
        struct fake_server *server = fake_of_id(world, primary->members[m]);
        struct fake_replica *replica = fake_replica_of(server, handle);
        if (server->conn == 0 || !replica->exists || replica->sealed || server->shy ||
            world_server(world, i)->shy || replica->version != primary->version ||
            replica->count != first) {
            everywhere = false;
            continue;
        }
        replica->count += count;
    }
    if (everywhere) {
        world->acked[handle] = PAWL_MAX(world->acked[handle], primary->count);
        primary->commit_count = primary->count;
    }
    return everywhere;
}

void world_check_acked(struct world *world)
{
    for (uint64_t handle = 1; handle < WORLD_CHUNKS; handle++) {
        const Pawl__Chunk *chunk = world->acked[handle] ? world_chunk(world, handle) : NULL;
        if (!chunk) {
            continue; // nothing acknowledged, or deleted
        }
        if (chunk->state == PAWL__CHUNK_STATE__CHUNK_SEALED) {
            assert_true(chunk->count >= world->acked[handle]);
            assert_int_equal(chunk->length, chunk->count * RECORD_BYTES);
        }
    }
}

bool world_noted(const struct world *world, const char *text)
{
    return strstr(world->notes, text) != NULL;
}

void world_notes_clear(struct world *world)
{
    world->notes_bytes = 0;
    world->notes[0] = '\0';
}

// ---- life ----------------------------------------------------------------------------------------

static void start_core(struct world *world)
{
    const struct master_actions *actions;
    assert_int_equal(master_core_start(world->core, UINT64_C(0xc1a57e2) + world->starts_count++,
                                       world->now_ns, 1000000, &actions),
                     0);
    take_actions(world, actions);
}

struct master_core *world_replayed(struct world *world)
{
    struct master_core *core = core_new(world);
    for (size_t i = 0; i < world->log_count; i++) {
        Pawl__LogRecord *record =
            pawl__log_record__unpack(NULL, world->log[i].bytes, world->log[i].data);
        assert_non_null(record);
        assert_int_equal(master_core_apply(core, record), 0);
        pawl__log_record__free_unpacked(record, NULL);
    }
    master_core_validate(core);
    return core;
}

static void commands_forget(struct world_command **list)
{
    while (*list) {
        struct world_command *command = *list;
        *list = command->next;
        command_free(command);
    }
}

void world_master_restart(struct world *world)
{
    commands_forget(&world->commands);
    commands_forget(&world->held);
    master_core_free(world->core);
    world->core = world_replayed(world);
    for (uint32_t i = 0; i < world->servers_count; i++) {
        if (world->servers[i].conn) {
            world->servers[i].conn = ++world->next_conn;
        }
    }
    start_core(world);
}

void world_init(struct world *world, uint32_t servers_count)
{
    memset(world, 0, sizeof(*world));
    world->alloc = (struct pawl_alloc){.alloc = world_alloc, .free = world_free, .ctx = world};
    world->alloc_fail_at = -1;
    world->halt_in = -1;
    world->now_ns = UINT64_C(1000000000);
    world->next_conn = 100;
    world->servers_count = servers_count;
    world->core = core_new(world);
    start_core(world);
    for (uint32_t i = 1; i <= servers_count; i++) {
        struct fake_server *server = world_server(world, i);
        server->id = 0xc0 + i;
        server->space_bytes = UINT64_C(1) << 34;
        snprintf(server->name, sizeof(server->name), "cs%u", i);
        snprintf(server->location, sizeof(server->location), "rack%u", i);
        world_server_start(world, i);
    }
    world_advance(world, 1100); // behind the grace of a start
    world_notes_clear(world);
}

struct dump_buffer {
    struct world_record out;
    int fail_in;
};

static int dump_emit(void *user, const Pawl__LogRecord *record)
{
    struct dump_buffer *buffer = user;
    size_t bytes = pawl__log_record__get_packed_size(record);
    uint32_t header = (uint32_t)bytes;
    buffer->out.data = realloc(buffer->out.data, buffer->out.bytes + sizeof(header) + bytes);
    memcpy(buffer->out.data + buffer->out.bytes, &header, sizeof(header));
    pawl__log_record__pack(record, buffer->out.data + buffer->out.bytes + sizeof(header));
    buffer->out.bytes += sizeof(header) + bytes;
    return 0;
}

struct world_record world_dump(const struct master_core *core)
{
    struct dump_buffer buffer = {0};
    assert_int_equal(master_core_dump(core, dump_emit, &buffer), 0);
    return buffer.out;
}

// What the dump might forget is compared field by field.
static void compare_chunks(const struct master_core *core, const struct master_core *other)
{
    size_t cursor = 0;
    uint64_t handle;
    void *value;
    assert_int_equal(pawl_map_count(&core->chunks), pawl_map_count(&other->chunks));
    assert_int_equal(pawl_map_count(&core->inodes), pawl_map_count(&other->inodes));
    assert_int_equal(core->servers_count, other->servers_count);
    while (pawl_map_iterate(&core->chunks, &cursor, &handle, &value)) {
        const struct master_chunk *a = value;
        const struct master_chunk *b = master_chunk_get(other, handle);
        assert_non_null(b);
        assert_int_equal(a->version, b->version);
        assert_int_equal(a->ready, b->ready);
        assert_int_equal(a->sealed, b->sealed);
        assert_int_equal(a->count, b->count);
        assert_int_equal(a->length, b->length);
        assert_int_equal(a->base_offset, b->base_offset);
        assert_int_equal(a->file->id, b->file->id);
        assert_int_equal(a->set_count, b->set_count);
        assert_memory_equal(a->set, b->set, sizeof(a->set));
        assert_int_equal(a->file->modified_ms, b->file->modified_ms);
        assert_int_equal(a->file->created_ms, b->file->created_ms);
        assert_int_equal(a->file->producers_count, b->file->producers_count);
    }
}

// dump > new core > dump gives the same bytes, and so does the replay of the whole log.
static void check_state(struct world *world)
{
    struct world_record first = world_dump(world->core);
    struct master_core *copy = core_new(world);
    for (size_t at = 0; at < first.bytes;) {
        uint32_t bytes;
        memcpy(&bytes, first.data + at, sizeof(bytes));
        Pawl__LogRecord *record =
            pawl__log_record__unpack(NULL, bytes, first.data + at + sizeof(bytes));
        assert_non_null(record);
        assert_int_equal(master_core_apply(copy, record), 0);
        pawl__log_record__free_unpacked(record, NULL);
        at += sizeof(bytes) + bytes;
    }
    struct master_core *replayed = world_replayed(world);
    compare_chunks(world->core, copy);
    compare_chunks(world->core, replayed);
    struct world_record second = world_dump(copy);
    struct world_record third = world_dump(replayed);
    assert_int_equal(first.bytes, second.bytes);
    assert_memory_equal(first.data, second.data, first.bytes);
    assert_int_equal(first.bytes, third.bytes);
    assert_memory_equal(first.data, third.data, first.bytes);
    free(first.data);
    free(second.data);
    free(third.data);
    master_core_free(copy);
    master_core_free(replayed);
}

void world_fini(struct world *world)
{
    world_check_acked(world);
    check_state(world);
    commands_forget(&world->commands);
    commands_forget(&world->held);
    if (world->reply) {
        pawl__reply__free_unpacked(world->reply, NULL);
    }
    if (world->answer) {
        pawl__reply__free_unpacked(world->answer, NULL);
    }
    for (size_t i = 0; i < world->log_count; i++) {
        free(world->log[i].data);
    }
    free(world->log);
    master_core_free(world->core);
    assert_int_equal(world->alloc_live, 0);
}
