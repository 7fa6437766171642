// SPDX-License-Identifier: Apache-2.0
// Harness of the chunk core's tests: see core_harness.h.
#include "core_harness.h"

#include <stdlib.h>
#include <string.h>

#define CONN_SERVERS 100000u // connections between servers have numbers from here on

int h_setup(void **state)
{
    struct harness *h = calloc(1, sizeof(*h));
    assert_non_null(h);
    h->requests = calloc(H_REQUESTS, sizeof(*h->requests));
    h->peer_requests = calloc(H_QUEUE, sizeof(*h->peer_requests));
    h->payloads = calloc(H_QUEUE, 1);
    h->next_request = 1;
    h->next_peer_request = 1;
    h->next_payload = 1;
    h->now_ns = 1000000000u;
    h->term = 1;
    h->alloc = pawl_alloc_heap();
    for (uint32_t s = 0; s < H_SERVERS; s++) {
        h->store[s] = calloc(H_QUEUE, sizeof(**h->store));
        h->net[s] = calloc(H_QUEUE, sizeof(**h->net));
        h_start(h, s);
    }
    *state = h;
    return 0;
}

int h_teardown(void **state)
{
    struct harness *h = *state;
    for (uint64_t i = 1; i < h->next_request && h->rc == 0; i++) {
        bool is_due = h->requests[i].asked && !h->requests[i].closed;
        assert_true(h->requests[i].answers_count <= 1);
        assert_true(!is_due || h->requests[i].answers_count == 1);
    }
    for (uint64_t i = 1; i < h->next_payload && h->rc == 0; i++) {
        assert_int_equal(h->payloads[i], 2);
    }
    for (uint32_t s = 0; s < H_SERVERS; s++) {
        chunk_core_free(h->core[s]);
        free(h->store[s]);
        free(h->net[s]);
    }
    free(h->payloads);
    free(h->peer_requests);
    for (uint64_t i = 1; i < h->next_request; i++) {
        free(h->requests[i].producers);
    }
    free(h->requests);
    free(h);
    return 0;
}

struct pawl_record h_record_at(const void *rows, uint64_t index)
{
    const struct pawl_record *records = rows;
    return records[index];
}

static void load(struct harness *h, uint32_t server)
{
    struct chunk_core_options options = {.server_id = server + 1, .alloc = h->alloc};
    struct h_disk *disk = &h->disk[server];
    h->rc = chunk_core_new(&options, &h->core[server]);
    if (h->rc || !disk->exists) {
        return;
    }
    struct chunk_load load = {.create = disk->create,
                              .version = disk->version,
                              .commit_count = disk->commit_count,
                              .sealed = disk->sealed,
                              .record_at = h_record_at,
                              .rows = disk->records,
                              .records_count = disk->records_count};
    h->rc = chunk_core_load(h->core[server], &load);
    if (h->rc == 0) {
        chunk_core_validate(h->core[server]);
    }
}

void h_start(struct harness *h, uint32_t server)
{
    load(h, server);
    if (h->rc == 0) {
        h_registered(h, server);
    }
}

void h_registered(struct harness *h, uint32_t server)
{
    struct chunk_event event = {
        .type = CHUNK_EVENT_REGISTERED, .term = h->term, .order = ++h->order};
    h_step(h, server, &event);
}

static enum chunk_event_type peer_end_of(const struct h_peer_request *r)
{
    return r->type == CHUNK_ACTION_PREPARE ? CHUNK_EVENT_PREPARED
           : r->type == CHUNK_ACTION_HOLD  ? CHUNK_EVENT_HELD
                                           : CHUNK_EVENT_FETCHED;
}

// The sender of a request between servers learns that there will be no answer.
static void peer_request_fail(struct harness *h, uint64_t number, int status)
{
    const struct h_peer_request *r = &h->peer_requests[number];
    struct chunk_event event = {.server = r->to + 1,
                                .handle = r->handle,
                                .version = r->version,
                                .index = r->index,
                                .token = r->token,
                                .status = status};
    if (r->type == CHUNK_ACTION_COMMIT) {
        return;
    }
    event.type = peer_end_of(r);
    struct h_packet *packet = &h->net[r->from][h->net_tail[r->from]++ % H_QUEUE];
    *packet = (struct h_packet){.to = r->from, .event = event};
}

static void disk_cut(struct h_disk *disk)
{
    uint64_t count = 0;
    while (count < disk->records_count && disk->durable[count]) {
        count++;
    }
    disk->records_count = count;
    memset(disk->durable + count, 0, H_RECORDS - count);
}

void h_crash(struct harness *h, uint32_t server)
{
    chunk_core_free(h->core[server]);
    h->core[server] = NULL;
    disk_cut(&h->disk[server]);
    for (uint32_t i = h->net_head[server]; i != h->net_tail[server]; i++) {
        const struct chunk_event *event = &h->net[server][i % H_QUEUE].event;
        if (event->payload) {
            h->payloads[event->payload] = 2;
        }
        free(h->net[server][i % H_QUEUE].rows);
        if (event->conn >= CONN_SERVERS) {
            peer_request_fail(h, event->request, PAWL_EDISCONNECTED);
        }
    }
    h->net_head[server] = h->net_tail[server];
    h->store_head[server] = h->store_tail[server];
    for (uint64_t i = 1; i < h->next_request; i++) {
        if (h->requests[i].answers_count == 0) {
            h->requests[i].closed = true;
        }
    }
}

// ---- what actions do -------------------------------------------------------------------------

static void packet_send(struct harness *h, uint32_t to, const struct chunk_event *event,
                        const union h_message *message)
{
    struct h_packet *packet = &h->net[to][h->net_tail[to]++ % H_QUEUE];
    *packet = (struct h_packet){.to = to, .event = *event};
    if (message) {
        packet->message = *message;
    }
}

static uint64_t payload_new(struct harness *h)
{
    assert_true(h->next_payload < H_QUEUE);
    h->payloads[h->next_payload] = 1;
    return h->next_payload++;
}

static void peer_send(struct harness *h, uint32_t from, const struct chunk_action *action)
{
    uint32_t to = (uint32_t)action->server - 1;
    uint64_t number = h->next_peer_request++;
    struct h_peer_request *r = &h->peer_requests[number];
    union h_message message = {0};
    struct chunk_event event = {.conn = CONN_SERVERS + from, .request = number};

    assert_true(number < H_QUEUE && to < H_SERVERS && to != from);
    *r = (struct h_peer_request){.from = from, .to = to, .type = action->type};
    switch (action->type) {
    case CHUNK_ACTION_PREPARE:
        message.prepare = action->prepare;
        h->relay_to[to] = action->relay_to;
        h->relayed_by[to] = action->relayed_by;
        r->handle = action->prepare.chunk;
        r->version = action->prepare.version;
        r->index = wire_prepare_last(&action->prepare);
        event.type = CHUNK_EVENT_PREPARE;
        event.payload = action->payload ? payload_new(h) : 0;
        event.payload_crc = action->prepare.crc ^ h->corrupt[to];
        break;
    case CHUNK_ACTION_COMMIT:
        message.commit = action->commit;
        event.type = CHUNK_EVENT_COMMIT;
        h->commits_count++;
        break;
    case CHUNK_ACTION_HOLD:
        message.hold = action->hold;
        r->handle = action->hold.chunk;
        r->version = action->hold.version;
        r->index = action->hold.count;
        event.type = CHUNK_EVENT_HOLD;
        h->holds_count++;
        break;
    default:
        message.fetch = action->fetch;
        r->token = action->token;
        r->again = action->again;
        r->index = action->fetch.index;
        r->handle = action->fetch.chunk;
        event.type = CHUNK_EVENT_FETCH;
    }
    if (h->fail_peer[to] || !h->core[to]) {
        if (event.payload) {
            h->payloads[event.payload] = 2;
        }
        peer_request_fail(h, number, h->fail_peer[to] ? h->fail_peer[to] : PAWL_EDISCONNECTED);
        return;
    }
    packet_send(h, to, &event, &message);
}

// A reply to another server becomes an event there.
static void peer_reply(struct harness *h, const struct chunk_action *action)
{
    const struct h_peer_request *r = &h->peer_requests[action->request];
    struct chunk_event event = {.server = r->to + 1,
                                .handle = r->handle,
                                .version = r->version,
                                .index = r->index,
                                .token = r->token,
                                .status = action->reply.header.status};
    if (r->type == CHUNK_ACTION_COMMIT || !h->core[r->from]) {
        return;
    }
    if (r->type == CHUNK_ACTION_PREPARE && event.status == 0) {
        assert_int_equal(action->reply.prepared.index, r->index);
    }
    event.type = peer_end_of(r);
    packet_send(h, r->from, &event, NULL);
}

static void record_send(struct harness *h, uint32_t server, const struct chunk_action *action)
{
    const struct h_peer_request *r = &h->peer_requests[action->request];
    const struct h_disk *disk = &h->disk[server];
    assert_true(action->index < disk->records_count);
    const struct pawl_record *record = &disk->records[action->index];
    union h_message message = {.fetched = {.chunk = action->handle,
                                           .index = action->index,
                                           .offset = record->offset,
                                           .id = record->id,
                                           .length = record->length,
                                           .crc = record->crc}};
    struct chunk_event event = {.type = CHUNK_EVENT_FETCHED,
                                .server = server + 1,
                                .token = r->token,
                                .payload = payload_new(h),
                                .payload_crc = record->crc ^ h->corrupt[r->from]};
    if (h->core[r->from]) {
        packet_send(h, r->from, &event, &message);
    }
}

static void table_send(struct harness *h, uint32_t server, const struct chunk_action *action)
{
    const struct h_peer_request *r = &h->peer_requests[action->request];
    uint32_t bytes = action->table.count * (uint32_t)sizeof(struct wire_producer);
    union h_message message = {.fetched = {.chunk = action->handle,
                                           .index = WIRE_FETCH_TABLE,
                                           .length = bytes,
                                           .crc = bytes ? 7 : 0}};
    struct chunk_event event = {.type = CHUNK_EVENT_FETCHED,
                                .server = server + 1,
                                .token = r->token,
                                .payload = bytes ? payload_new(h) : 0,
                                .payload_crc = message.fetched.crc ^ h->corrupt[r->from]};
    if (!h->core[r->from]) {
        return;
    }
    packet_send(h, r->from, &event, &message);
    if (bytes) {
        struct h_packet *packet = &h->net[r->from][(h->net_tail[r->from] - 1) % H_QUEUE];
        packet->rows = malloc(bytes);
        assert_non_null(packet->rows);
        memcpy(packet->rows, action->table.rows, bytes);
        packet->event.bytes = packet->rows;
    }
}

static void answer_note(struct harness *h, const struct chunk_action *action)
{
    struct h_request *r = &h->requests[action->request];
    const Pawl__Reply *answer = &action->answer;
    r->answers_count++;
    r->status = answer->code;
    if (answer->body_case == PAWL__REPLY__BODY_FENCED) {
        r->fenced = *answer->fenced;
    }
    if (answer->body_case == PAWL__REPLY__BODY_LEVELLED) {
        r->levelled = *answer->levelled;
    }
    if (answer->body_case == PAWL__REPLY__BODY_COPIED) {
        r->copied = *answer->copied;
    }
    if (answer->body_case == PAWL__REPLY__BODY_SEALED) {
        size_t bytes = answer->sealed->producers.len;
        if (bytes) {
            r->producers = malloc(bytes);
            memcpy(r->producers, answer->sealed->producers.data, bytes);
        }
        r->producers_count = (uint32_t)(bytes / sizeof(r->producers[0]));
        r->sealed_version = answer->sealed->version;
    }
}

static void request_note(struct harness *h, const struct chunk_action *action)
{
    struct h_request *r = &h->requests[action->request];
    r->answers_count++;
    r->action = *action;
    if (action->type == CHUNK_ACTION_REPLY) {
        r->reply = action->reply;
        r->status = action->reply.header.status;
        r->type = action->reply.header.type;
        assert_int_equal(action->reply.header.bytes, wire_struct_bytes(r->type));
    }
}

static void action_do(struct harness *h, uint32_t server, const struct chunk_action *action)
{
    bool is_peer = action->conn >= CONN_SERVERS;
    switch (action->type) {
    case CHUNK_ACTION_CREATE:
    case CHUNK_ACTION_APPEND:
    case CHUNK_ACTION_PROMISE:
    case CHUNK_ACTION_SEAL:
    case CHUNK_ACTION_DROP:
        assert_true(action->token != 0);
        h->store[server][h->store_tail[server]++ % H_QUEUE] = *action;
        break;
    case CHUNK_ACTION_PREPARE:
    case CHUNK_ACTION_COMMIT:
    case CHUNK_ACTION_HOLD:
    case CHUNK_ACTION_FETCH:
        peer_send(h, server, action);
        break;
    case CHUNK_ACTION_REPLY:
        if (is_peer) {
            peer_reply(h, action);
        } else {
            request_note(h, action);
        }
        break;
    case CHUNK_ACTION_SEND_RECORD:
        record_send(h, server, action);
        break;
    case CHUNK_ACTION_SEND_TABLE:
        table_send(h, server, action);
        break;
    case CHUNK_ACTION_READ:
        request_note(h, action);
        break;
    case CHUNK_ACTION_CONNECT:
        h->connects_count++;
        assert_true(strlen(action->address) > 0);
        break;
    case CHUNK_ACTION_RELEASE:
        assert_int_equal(h->payloads[action->payload], 1);
        h->payloads[action->payload] = 2;
        break;
    case CHUNK_ACTION_ANSWER:
        answer_note(h, action);
        break;
    case CHUNK_ACTION_REPORT:
        assert_true(h->reports_count < 256);
        h->reports[h->reports_count++] = (struct h_report){.from = server,
                                                           .kind = action->report.kind,
                                                           .version = action->version,
                                                           .server_id = action->report.server_id};
        break;
    }
}

void h_step(struct harness *h, uint32_t server, const struct chunk_event *event)
{
    const struct chunk_actions *actions = NULL;
    struct chunk_event copy = *event;
    if (h->rc) {
        return;
    }
    copy.now_ns = h->now_ns;
    int rc = chunk_core_step(h->core[server], &copy, &actions);
    if (rc) {
        h->rc = rc;
        return;
    }
    chunk_core_validate(h->core[server]);
    for (uint32_t i = 0; i < actions->count; i++) {
        action_do(h, server, &actions->items[i]);
    }
}

// ---- store and network -----------------------------------------------------------------------

static void disk_do(struct h_disk *disk, const struct chunk_action *action)
{
    switch (action->type) {
    case CHUNK_ACTION_CREATE:
        assert_true(!disk->exists || (disk->records_count == 0 && !disk->sealed));
        assert_true(action->create.producers_count <= 64);
        disk->exists = true;
        disk->create = action->create;
        if (action->create.producers_count) {
            memcpy(disk->producers, action->create.producers,
                   action->create.producers_count * sizeof(disk->producers[0]));
        }
        disk->create.producers = disk->producers;
        disk->version = action->create.version;
        disk->commit_count = action->create.commit_count;
        break;
    case CHUNK_ACTION_APPEND:
        assert_true(disk->exists && !disk->sealed && action->index < H_RECORDS);
        assert_true(action->count > 0);
        h_disk_append(disk, action);
        disk->commit_count = PAWL_MAX(disk->commit_count, action->commit_count);
        break;
    case CHUNK_ACTION_PROMISE:
        assert_true(disk->exists && !disk->sealed && action->version >= disk->version);
        disk->version = action->version;
        break;
    case CHUNK_ACTION_SEAL:
        assert_true(disk->exists && !disk->sealed && action->count <= disk->records_count);
        disk->version = action->version;
        disk->records_count = action->count;
        disk->commit_count = action->count;
        disk_cut(disk);
        disk->sealed = true;
        break;
    default:
        memset(disk, 0, sizeof(*disk));
    }
}

void h_store_end(struct harness *h, uint32_t server, uint32_t skip, int status)
{
    uint32_t at = h->store_head[server] + skip;
    assert_true(at < h->store_tail[server]);
    struct chunk_action action = h->store[server][at % H_QUEUE];
    for (; at > h->store_head[server]; at--) {
        h->store[server][at % H_QUEUE] = h->store[server][(at - 1) % H_QUEUE];
    }
    h->store_head[server]++;
    if (status == 0) {
        disk_do(&h->disk[server], &action);
    }
    struct chunk_event event = {
        .type = CHUNK_EVENT_PERSISTED, .token = action.token, .status = status};
    h_step(h, server, &event);
}

static bool packet_deliver(struct harness *h, uint32_t server)
{
    if (h->hold_net[server] || h->net_head[server] == h->net_tail[server]) {
        return false;
    }
    struct h_packet packet = h->net[server][h->net_head[server]++ % H_QUEUE];
    if (!h->core[server]) {
        free(packet.rows);
        return true;
    }
    bool has_message = packet.event.conn || packet.event.type == CHUNK_EVENT_FETCHED;
    packet.event.message = has_message && packet.event.status == 0 ? &packet.message.header : NULL;
    if (packet.event.type == CHUNK_EVENT_PREPARE) {
        packet.event.rows =
            h_run_rows(&packet.message.prepare.id, packet.message.prepare.run_count);
    }
    h_step(h, server, &packet.event);
    free(packet.rows);
    return true;
}

void h_run(struct harness *h)
{
    bool moved = true;
    while (moved && h->rc == 0) {
        moved = false;
        for (uint32_t s = 0; s < H_SERVERS && h->rc == 0; s++) {
            while (h->rc == 0 && packet_deliver(h, s)) {
                moved = true;
            }
            while (h->rc == 0 && h->core[s] && !h->hold_store[s] &&
                   h->store_head[s] != h->store_tail[s]) {
                h_store_end(h, s, 0, h->fail_store[s]);
                moved = true;
            }
        }
    }
}

void h_tick(struct harness *h, uint32_t server, uint32_t ms)
{
    struct chunk_event event = {.type = CHUNK_EVENT_TICK};
    h->now_ns += (uint64_t)ms * 1000000u;
    h_step(h, server, &event);
    h_run(h);
}

void h_tick_all(struct harness *h, uint32_t ms)
{
    struct chunk_event event = {.type = CHUNK_EVENT_TICK};
    h->now_ns += (uint64_t)ms * 1000000u;
    for (uint32_t s = 0; s < H_SERVERS; s++) {
        if (h->core[s]) {
            h_step(h, s, &event);
        }
    }
    h_run(h);
}

// ---- commands --------------------------------------------------------------------------------

static uint64_t request_new(struct harness *h)
{
    assert_true(h->next_request < H_REQUESTS);
    h->requests[h->next_request].asked = true;
    return h->next_request++;
}

uint64_t h_command(struct harness *h, uint32_t server, Pawl__Request *command)
{
    uint64_t request = request_new(h);
    struct chunk_event event = {
        .type = CHUNK_EVENT_COMMAND, .request = request, .command = command};
    h_step(h, server, &event);
    h_run(h);
    return request;
}

uint64_t h_open(struct harness *h, uint32_t server, uint64_t version,
                const struct wire_producer *producers, uint32_t count)
{
    Pawl__Request command = PAWL__REQUEST__INIT;
    Pawl__Open open = PAWL__OPEN__INIT;
    open.term = h->term;
    open.handle = H_CHUNK;
    open.version = version;
    open.file_id = H_FILE;
    open.base_offset = H_BASE;
    open.chunk_bytes = H_CHUNK_BYTES;
    open.written_handle = h->written_handle;
    open.zero_bytes = h->zero_bytes;
    open.producers.data = (uint8_t *)(uintptr_t)producers;
    open.producers.len = count * sizeof(*producers);
    command.body_case = PAWL__REQUEST__BODY_OPEN;
    command.open = &open;
    return h_command(h, server, &command);
}

uint64_t h_fence(struct harness *h, uint32_t server, uint64_t version)
{
    Pawl__Request command = PAWL__REQUEST__INIT;
    Pawl__Fence fence = PAWL__FENCE__INIT;
    fence.term = h->term;
    fence.handle = H_CHUNK;
    fence.version = version;
    command.body_case = PAWL__REQUEST__BODY_FENCE;
    command.fence = &fence;
    return h_command(h, server, &command);
}

static char member_address[] = "tcp://127.0.0.1:4000";

uint64_t h_level(struct harness *h, uint32_t server, uint64_t version, uint64_t count,
                 uint32_t source)
{
    Pawl__Request command = PAWL__REQUEST__INIT;
    Pawl__Level level = PAWL__LEVEL__INIT;
    Pawl__Member member = PAWL__MEMBER__INIT;
    member.server_id = source + 1;
    member.fabric_address = member_address;
    level.term = h->term;
    level.handle = H_CHUNK;
    level.version = version;
    level.count = count;
    level.source = &member;
    command.body_case = PAWL__REQUEST__BODY_LEVEL;
    command.level = &level;
    return h_command(h, server, &command);
}

uint64_t h_copy(struct harness *h, uint32_t server, uint64_t version, uint64_t count,
                uint64_t length, uint32_t source)
{
    Pawl__Request command = PAWL__REQUEST__INIT;
    Pawl__Copy copy = PAWL__COPY__INIT;
    Pawl__Member member = PAWL__MEMBER__INIT;
    member.server_id = source + 1;
    member.fabric_address = member_address;
    copy.term = h->term;
    copy.handle = H_CHUNK;
    copy.version = version;
    copy.order = ++h->order;
    copy.file_id = H_FILE;
    copy.base_offset = H_BASE;
    copy.chunk_bytes = H_CHUNK_BYTES;
    copy.written_handle = h->written_handle;
    copy.zero_bytes = h->zero_bytes;
    copy.count = count;
    copy.length = length;
    copy.source = &member;
    command.body_case = PAWL__REQUEST__BODY_COPY;
    command.copy = &copy;
    return h_command(h, server, &command);
}

uint64_t h_seal(struct harness *h, uint32_t server, uint64_t version, uint64_t count,
                uint64_t length)
{
    Pawl__Request command = PAWL__REQUEST__INIT;
    Pawl__Seal seal = PAWL__SEAL__INIT;
    seal.term = h->term;
    seal.handle = H_CHUNK;
    seal.version = version;
    seal.count = count;
    seal.length = length;
    command.body_case = PAWL__REQUEST__BODY_SEAL;
    command.seal = &seal;
    return h_command(h, server, &command);
}

uint64_t h_grant(struct harness *h, uint32_t server, uint64_t version, uint64_t count,
                 uint32_t members)
{
    Pawl__Request command = PAWL__REQUEST__INIT;
    Pawl__Grant grant = PAWL__GRANT__INIT;
    Pawl__Member member[CHUNK_SET_MAX + 2];
    Pawl__Member *list[CHUNK_SET_MAX + 2];
    for (uint32_t i = 0; i < members; i++) {
        pawl__member__init(&member[i]);
        member[i].server_id = i + 1;
        member[i].fabric_address = member_address;
        list[i] = &member[i];
    }
    grant.term = h->term;
    grant.handle = H_CHUNK;
    grant.version = version;
    grant.lease_ms = H_LEASE_MS;
    grant.commit_count = count;
    grant.n_members = members;
    grant.members = list;
    command.body_case = PAWL__REQUEST__BODY_GRANT;
    command.grant = &grant;
    return h_command(h, server, &command);
}

uint64_t h_drop(struct harness *h, uint32_t server, uint64_t version)
{
    Pawl__Request command = PAWL__REQUEST__INIT;
    Pawl__Drop drop = PAWL__DROP__INIT;
    drop.term = h->term;
    drop.handle = H_CHUNK;
    drop.version = version;
    drop.order = ++h->order;
    command.body_case = PAWL__REQUEST__BODY_DROP;
    command.drop = &drop;
    return h_command(h, server, &command);
}

void h_ready(struct harness *h, uint32_t members)
{
    for (uint32_t s = 0; s < members; s++) {
        h_expect(h, h_open(h, s, 1, NULL, 0), 0);
    }
    h_expect(h, h_grant(h, 0, 1, 0, members), 0);
}

// ---- requests --------------------------------------------------------------------------------

uint64_t h_message_send(struct harness *h, uint32_t server, enum chunk_event_type type,
                        union h_message *message, uint32_t payload_crc)
{
    uint64_t request = request_new(h);
    struct chunk_event event = {.type = type,
                                .conn = 1,
                                .request = request,
                                .payload_crc = payload_crc,
                                .message = &message->header};
    h_step(h, server, &event);
    h_run(h);
    return request;
}

uint32_t h_crc(uint64_t producer, uint64_t sequence)
{
    return (uint32_t)(producer * 1000003u + sequence);
}

uint64_t h_append_send(struct harness *h, uint32_t server, const struct h_append *append)
{
    bool is_epoch = (append->flags & WIRE_RECORD_EPOCH) != 0;
    struct wire_append message = {.chunk = H_CHUNK,
                                  .version = append->version ? append->version : 1,
                                  .id = {.producer_hi = append->producer_hi,
                                         .producer_lo = append->producer,
                                         .sequence = append->sequence,
                                         .epoch = append->epoch,
                                         .flags = append->flags}};
    message.flags = append->replicated ? WIRE_APPEND_REPLICATED : 0;
    message.run_count = append->run_count;
    message.length =
        append->length || is_epoch ? append->length : 100 * wire_records_count(append->run_count);
    message.crc = append->crc         ? append->crc
                  : append->run_count ? H_RUN_CRC
                  : is_epoch          ? 0
                                      : h_crc(append->producer, append->sequence);
    uint64_t request = request_new(h);
    struct chunk_event event = {.type = CHUNK_EVENT_APPEND,
                                .conn = append->conn ? append->conn : 1,
                                .request = request,
                                .payload = is_epoch ? 0 : payload_new(h),
                                .payload_crc = message.crc + append->bad_payload,
                                .rows = h_run_rows(&message.id, message.run_count),
                                .message = &message.header};
    h_step(h, server, &event);
    h_run(h);
    return request;
}

uint64_t h_append(struct harness *h, uint32_t server, uint64_t producer, uint64_t sequence)
{
    struct h_append append = {.producer = producer, .sequence = sequence};
    return h_append_send(h, server, &append);
}

uint64_t h_lookup(struct harness *h, uint32_t server, uint64_t producer, uint64_t sequence)
{
    union h_message message = {
        .lookup = {.chunk = H_CHUNK, .id = {.producer_lo = producer, .sequence = sequence}}};
    return h_message_send(h, server, CHUNK_EVENT_LOOKUP, &message, 0);
}

uint64_t h_read(struct harness *h, uint32_t server, uint64_t offset, uint32_t length)
{
    union h_message message = {.read = {.chunk = H_CHUNK, .offset = offset, .length = length}};
    return h_message_send(h, server, CHUNK_EVENT_READ, &message, 0);
}

struct wire_inspected h_inspect(struct harness *h, uint32_t server)
{
    union h_message message = {.inspect = {.chunk = H_CHUNK}};
    uint64_t request = h_message_send(h, server, CHUNK_EVENT_INSPECT, &message, 0);
    h_expect(h, request, 0);
    return h->requests[request].reply.inspected;
}

void h_conn_closed(struct harness *h, uint32_t server, uint64_t conn)
{
    struct chunk_event event = {.type = CHUNK_EVENT_CONN_CLOSED, .conn = conn};
    h_step(h, server, &event);
}

bool h_is_answered(const struct harness *h, uint64_t request)
{
    return h->requests[request].answers_count == 1;
}

int h_status(const struct harness *h, uint64_t request)
{
    return h->requests[request].status;
}

const struct wire_appended *h_appended(const struct harness *h, uint64_t request)
{
    assert_true(h_is_answered(h, request));
    return &h->requests[request].reply.appended;
}

uint32_t h_reports(const struct harness *h, uint32_t from, Pawl__ReportKind kind,
                   uint64_t server_id)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < h->reports_count; i++) {
        const struct h_report *r = &h->reports[i];
        count += r->from == from && r->kind == kind && r->server_id == server_id;
    }
    return count;
}
