// SPDX-License-Identifier: Apache-2.0
// The scripted core and store: they stand in for the real ones at link time.
#include "scripted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

struct script script;

static struct chunk_core_counters counters;
static struct chunk_actions step_actions;
static struct chunk_action step_items[SCRIPT_COUNT];

// ---- the core ---------------------------------------------------------------------------------

int chunk_core_new(const struct chunk_core_options *options, struct chunk_core **ret)
{
    (void)options;
    *ret = (struct chunk_core *)&script;
    return 0;
}

void chunk_core_free(struct chunk_core *core)
{
    (void)core;
}

int chunk_core_load(struct chunk_core *core, const struct chunk_load *load)
{
    (void)core;
    (void)load;
    return 0;
}

int chunk_core_step(struct chunk_core *core, const struct chunk_event *event,
                    const struct chunk_actions **ret_actions)
{
    (void)core;
    if (event->type == CHUNK_EVENT_TICK) {
        script.ticks_count++;
    } else {
        assert_true(script.events_count < SCRIPT_COUNT);
        struct script_event *kept = &script.events[script.events_count++];
        kept->event = *event;
        kept->has_message = event->message != NULL;
        if (event->message != NULL) {
            memcpy(&kept->message, event->message,
                   PAWL_MIN(event->message->bytes, (uint32_t)sizeof(kept->message)));
        }
    }
    if (event->type == CHUNK_EVENT_COMMAND && script.answer_commands) {
        struct chunk_action *answer = script_action(CHUNK_ACTION_ANSWER);
        answer->request = event->request;
        pawl__reply__init(&answer->answer);
        answer->answer.code = PAWL_ESTALE;
    }
    memcpy(step_items, script.actions, sizeof(step_items));
    step_actions.items = step_items;
    step_actions.count = script.actions_count;
    script.actions_count = 0;
    *ret_actions = &step_actions;
    return 0;
}

void chunk_core_visit(const struct chunk_core *core, bool open_only,
                      void (*visit)(void *user, const Pawl__Replica *replica), void *user)
{
    (void)core;
    __atomic_store_n(&script.visited, true, __ATOMIC_RELEASE); // tests of threads wait for it
    for (unsigned i = 0; i < script.replicas_count; i++) {
        if (!open_only || !script.replicas[i].sealed) {
            visit(user, &script.replicas[i]);
        }
    }
}

uint64_t chunk_core_owner(const struct chunk_core *core, uint64_t handle)
{
    (void)core;
    return handle == 42 && script.written_handle != 0 ? script.written_handle : handle;
}

int chunk_core_secondaries(const struct chunk_core *core, uint64_t handle, uint64_t version,
                           uint64_t ret_servers[CHUNK_SET_MAX])
{
    (void)core;
    (void)handle;
    (void)version;
    memcpy(ret_servers, script.secondaries, sizeof(script.secondaries));
    return script.secondaries_count;
}

const struct chunk_core_counters *chunk_core_counters(const struct chunk_core *core)
{
    (void)core;
    return &counters;
}

// ---- the store --------------------------------------------------------------------------------

static int call_add(const char *name, uint64_t handle, uint64_t index, uint64_t token)
{
    assert_true(script.calls_count < SCRIPT_COUNT);
    struct script_call *call = &script.calls[script.calls_count++];
    memset(call, 0, sizeof(*call));
    call->name = name;
    call->handle = handle;
    call->index = index;
    call->token = token;
    return script.store_code;
}

int store_open(const struct store_options *options, struct store **ret_store)
{
    (void)options;
    *ret_store = (struct store *)&script;
    return 0;
}

void store_close(struct store *store)
{
    (void)store;
}

int store_identity_get(struct store *store, uint64_t *ret_server_id, uint64_t *ret_cluster_id)
{
    (void)store;
    *ret_server_id = script.server_id;
    *ret_cluster_id = script.cluster_id;
    return 0;
}

int store_identity_set(struct store *store, uint64_t server_id, uint64_t cluster_id)
{
    (void)store;
    script.server_id = server_id;
    script.cluster_id = cluster_id;
    return 0;
}

void store_visit(struct store *store, void (*visit)(void *user, const struct store_chunk *chunk),
                 void *user)
{
    (void)store;
    (void)visit;
    (void)user;
}

int store_create(struct store *store, const struct store_chunk *chunk, uint64_t token)
{
    (void)store;
    return call_add("create", chunk->handle, chunk->index, token);
}

int store_append(struct store *store, uint64_t handle, uint64_t index,
                 const struct pawl_record *record, const void *payload, uint64_t commit_count,
                 uint64_t token)
{
    (void)store;
    (void)commit_count;
    int code = call_add("append", handle, index, token);
    script.calls[script.calls_count - 1].memory = payload;
    script.calls[script.calls_count - 1].length = record->length;
    return code;
}

int store_append_run(struct store *store, uint64_t handle, uint64_t index,
                     const struct pawl_record *first, const struct wire_run_row *rows,
                     uint32_t count, const void *payload, uint64_t commit_count, uint64_t token)
{
    int code = store_append(store, handle, index, first, payload, commit_count, token);
    script.calls[script.calls_count - 1].count = count;
    for (uint32_t i = 1; i < count; i++) {
        script.calls[script.calls_count - 1].length += rows[i].length;
    }
    return code;
}

int store_promise(struct store *store, uint64_t handle, uint64_t version, uint64_t token)
{
    (void)store;
    int code = call_add("promise", handle, 0, token);
    script.calls[script.calls_count - 1].version = version;
    return code;
}

int store_seal(struct store *store, uint64_t handle, uint64_t version, uint64_t count,
               uint64_t token)
{
    (void)store;
    (void)version;
    return call_add("seal", handle, count, token);
}

int store_drop(struct store *store, uint64_t handle, uint64_t token)
{
    (void)store;
    return call_add("drop", handle, 0, token);
}

int store_read(struct store *store, uint64_t handle, uint64_t offset, uint32_t length, void *buffer,
               size_t buffer_bytes, uint64_t token)
{
    (void)store;
    (void)buffer_bytes;
    int code = call_add("read", handle, offset, token);
    script.calls[script.calls_count - 1].memory = buffer;
    script.calls[script.calls_count - 1].length = length;
    return code;
}

int store_read_record(struct store *store, uint64_t handle, uint64_t index,
                      struct pawl_record *ret_record, void *buffer, size_t buffer_bytes,
                      uint64_t token)
{
    (void)store;
    (void)buffer_bytes;
    memset(ret_record, 0, sizeof(*ret_record));
    ret_record->offset = 77;
    ret_record->length = 5;
    ret_record->crc = 0x1234;
    ret_record->id.sequence = 9;
    int code = call_add("read_record", handle, index, token);
    script.calls[script.calls_count - 1].memory = buffer;
    return code;
}

size_t store_read_bytes(struct store *store, uint64_t handle, uint64_t offset, uint32_t length)
{
    (void)store;
    (void)handle;
    (void)offset;
    return length;
}

size_t store_read_record_bytes(struct store *store, uint64_t handle, uint64_t index)
{
    (void)store;
    (void)handle;
    (void)index;
    return 5;
}

size_t store_read_buffer_bytes(const struct store *store)
{
    (void)store;
    return 16u << 20;
}

int store_poll(struct store *store, struct store_completion *completions, int count)
{
    (void)store;
    int taken = PAWL_MIN(count, (int)script.completions_count);
    memcpy(completions, script.completions, (size_t)taken * sizeof(completions[0]));
    script.completions_count -= (unsigned)taken;
    memmove(script.completions, script.completions + taken,
            script.completions_count * sizeof(completions[0]));
    return taken;
}

bool store_busy(const struct store *store)
{
    (void)store;
    return script.completions_count > 0;
}

int store_try_wait(struct store *store)
{
    (void)store;
    return 0;
}

int store_wait_fd(const struct store *store)
{
    (void)store;
    return -1;
}

int store_failed(const struct store *store)
{
    (void)store;
    return script.store_failed;
}

void store_space(struct store *store, struct store_space *ret_space)
{
    (void)store;
    *ret_space = (struct store_space){.total_bytes = 1000, .used_bytes = 300, .free_bytes = 700};
}

const struct store_counters *store_counters(const struct store *store)
{
    static const struct store_counters none;
    (void)store;
    return &none;
}

const char *store_describe(const struct store *store)
{
    (void)store;
    return "scripted";
}

// ---- the reactor over them ----------------------------------------------------------------------

void bench_open(struct bench *bench)
{
    bench_open_with(bench, BUFFERS_REGION_MIN_BYTES);
}

void bench_open_with(struct bench *bench, uint64_t region_bytes)
{
    memset(&script, 0, sizeof(script));
    script.server_id = 0x51;
    script.cluster_id = SCRIPT_CLUSTER;
    bench_init(bench, "fake");
    struct reactor_options options = {
        .size = sizeof(options),
        .name = "cs1",
        .dir = "nowhere",
        .incarnation = 0x1c,
        .fabrics = {{.provider = "fake"}},
        .fabrics_count = 1,
        .region_bytes = region_bytes,
        .requests_count = 4,
        .numa_node = UINT32_MAX,
        .no_huge = true,
        .no_lock = true,
    };
    assert_int_equal(reactor_open(&options, bench->now_ns, &bench->reactor), 0);
}

// ---- the script -------------------------------------------------------------------------------

struct chunk_action *script_action(enum chunk_action_type type)
{
    assert_true(script.actions_count < SCRIPT_COUNT);
    struct chunk_action *action = &script.actions[script.actions_count++];
    memset(action, 0, sizeof(*action));
    action->type = type;
    return action;
}

void script_run(struct bench *bench)
{
    struct chunk_event event = reactor_event(bench->reactor, CHUNK_EVENT_TICK);
    reactor_step(bench->reactor, &event);
}

struct script_event *script_last(enum chunk_event_type type)
{
    for (unsigned i = script.events_count; i > 0; i--) {
        if (script.events[i - 1].event.type == type) {
            return &script.events[i - 1];
        }
    }
    return NULL;
}

unsigned script_count(enum chunk_event_type type)
{
    unsigned count = 0;
    for (unsigned i = 0; i < script.events_count; i++) {
        count += script.events[i].event.type == type ? 1 : 0;
    }
    return count;
}

struct script_call *script_call_last(const char *name)
{
    for (unsigned i = script.calls_count; i > 0; i--) {
        if (strcmp(script.calls[i - 1].name, name) == 0) {
            return &script.calls[i - 1];
        }
    }
    return NULL;
}

void script_complete(uint64_t token, int status, const void *data, uint32_t bytes)
{
    assert_true(script.completions_count < SCRIPT_COUNT);
    script.completions[script.completions_count++] = (struct store_completion){
        .token = token, .status = status, .data = data, .bytes = bytes, .record_index = 7};
}

// ---- appends on their way to a server -------------------------------------------------------------

uint64_t script_payload(void)
{
    struct script_event *event = script_last(CHUNK_EVENT_APPEND);
    assert_non_null(event);
    return event->event.payload;
}

void script_connect(const struct server *server, uint64_t server_id)
{
    struct chunk_action *action = script_action(CHUNK_ACTION_CONNECT);
    action->server = server_id;
    strncpy(action->address, fabric_address(server->fabric), sizeof(action->address) - 1);
}

struct chunk_action *script_prepare(uint64_t server_id, uint64_t payload, uint64_t index,
                                    uint32_t length)
{
    struct chunk_action *action = script_action(CHUNK_ACTION_PREPARE);
    action->server = server_id;
    action->payload = payload;
    action->prepare.chunk = 42;
    action->prepare.version = 3;
    action->prepare.index = index;
    action->prepare.length = length;
    action->prepare.id.producer_lo = 1;
    action->prepare.id.sequence = index + 1;
    return action;
}

void server_prepared(struct server *server, uint64_t request, const struct wire_prepared *answer)
{
    struct wire_prepared prepared = *answer;
    wire_header_init(&prepared.header, WIRE_PREPARE | WIRE_REPLY, sizeof(prepared), request);
    prepared.header.status = answer->header.status;
    prepared.header.flags = answer->header.flags;
    prepared.chunk = 42;
    prepared.version = 3;
    assert_int_equal(fabric_send(server->client.conn, &prepared, sizeof(prepared)), 0);
    server_turn(server);
}
