// SPDX-License-Identifier: Apache-2.0
// Fake chunk servers: how they carry out the master's commands, as docs/protocol.md has it.
#include "master_harness.h"

struct fake_server *fake_of_conn(struct world *world, uint64_t conn)
{
    for (uint32_t i = 0; i < world->servers_count; i++) {
        if (conn != 0 && world->servers[i].conn == conn) {
            return &world->servers[i];
        }
    }
    return NULL;
}

struct fake_server *fake_of_id(struct world *world, uint64_t id)
{
    for (uint32_t i = 0; i < world->servers_count; i++) {
        if (world->servers[i].id == id) {
            return &world->servers[i];
        }
    }
    return NULL;
}

struct fake_replica *fake_replica_of(struct fake_server *server, uint64_t handle)
{
    assert_true(handle > 0 && handle < WORLD_CHUNKS);
    return &server->replicas[handle];
}

static int do_fence(struct fake_server *server, const Pawl__Fence *fence, Pawl__Fenced *fenced)
{
    struct fake_replica *replica = fake_replica_of(server, fence->handle);
    if (!replica->exists || replica->copying) {
        return PAWL_ENOCHUNK;
    }
    if (fence->version < replica->version || replica->sealed) {
        return PAWL_ESTALE;
    }
    replica->version = fence->version;
    replica->primary = false;
    fenced->handle = fence->handle;
    fenced->version = replica->version;
    fenced->count = replica->count;
    fenced->length = fake_bytes(replica);
    fenced->commit_count = replica->commit_count;
    return 0;
}

static int do_level(struct world *world, struct fake_server *server, const Pawl__Level *level,
                    Pawl__Levelled *levelled)
{
    struct fake_replica *replica = fake_replica_of(server, level->handle);
    struct fake_server *source = fake_of_id(world, level->source->server_id);
    assert_non_null(source);
    struct fake_replica *from = fake_replica_of(source, level->handle);
    if (!replica->exists || replica->version != level->version) {
        return PAWL_ESTALE;
    }
    if (source->conn == 0 || source->shy || server->shy) {
        return PAWL_EDISCONNECTED;
    }
    if (from->version != level->version || from->count < level->count) {
        return PAWL_ESTALE;
    }
    if (from->damaged) {
        return PAWL_ECORRUPT;
    }
    replica->count = level->count;
    levelled->handle = level->handle;
    levelled->version = level->version;
    levelled->count = replica->count;
    levelled->length = fake_bytes(replica);
    return 0;
}

static int do_seal(struct fake_server *server, const Pawl__Seal *seal, Pawl__Sealed *sealed)
{
    static uint8_t table[64 * 16];
    struct fake_replica *replica = fake_replica_of(server, seal->handle);
    if (server->refuse_seals) {
        return server->refuse_seals;
    }
    if (!replica->exists || replica->copying) {
        return PAWL_ENOCHUNK;
    }
    if (seal->version < replica->version || replica->count < seal->count) {
        return PAWL_ESTALE;
    }
    assert_true(!replica->sealed || replica->count == seal->count);
    assert_int_equal(seal->length, replica->zero_bytes + seal->count * RECORD_BYTES);
    replica->version = seal->version;
    replica->count = seal->count;
    replica->commit_count = seal->count;
    replica->sealed = true;
    replica->primary = false;
    sealed->handle = seal->handle;
    sealed->version = seal->version;
    sealed->producers.data = table;
    sealed->producers.len = 64 * (1 + seal->handle % 16);
    return 0;
}

static int do_open(struct fake_server *server, const Pawl__Open *open)
{
    struct fake_replica *replica = fake_replica_of(server, open->handle);
    if (replica->exists && (replica->count > 0 || replica->version > open->version)) {
        return PAWL_ESTALE;
    }
    if (replica->exists && replica->version == open->version) {
        return 0; // asked again: what is durable stays
    }
    *replica = (struct fake_replica){.exists = true,
                                     .version = open->version,
                                     .zero_bytes = open->zero_bytes,
                                     .table_bytes = open->producers.len};
    assert_true(open->n_sessions <= WIRE_SESSIONS_MAX);
    replica->sessions_count = open->n_sessions;
    for (size_t i = 0; i < open->n_sessions; i++) {
        replica->sessions[i][0] = open->sessions[i]->first;
        replica->sessions[i][1] = open->sessions[i]->last;
    }
    return 0;
}

static int do_grant(struct world *world, struct fake_server *server, const Pawl__Grant *grant)
{
    struct fake_replica *replica = fake_replica_of(server, grant->handle);
    if (!replica->exists) {
        return PAWL_ENOCHUNK;
    }
    if (replica->version != grant->version || replica->sealed) {
        return PAWL_ESTALE;
    }
    assert_true(world->carrying_late || grant->commit_count == replica->count);
    replica->primary = true;
    replica->commit_count = grant->commit_count;
    replica->lease_until_ns = world->now_ns + WORLD_LEASE_NS;
    replica->members_count = (uint32_t)grant->n_members;
    for (size_t i = 0; i < grant->n_members; i++) {
        replica->members[i] = grant->members[i]->server_id;
    }
    // Two leases of one version would be two truths.
    for (uint32_t i = 0; i < world->servers_count; i++) {
        struct fake_replica *other = fake_replica_of(&world->servers[i], grant->handle);
        assert_false(&world->servers[i] != server && other->primary &&
                     other->version == grant->version);
    }
    return 0;
}

// As a server does it, where commands are carried out late. 0 where it is in order.
static int order_check(struct fake_server *server, uint64_t term, uint64_t order)
{
    assert_true(order != 0);
    if (term < server->order_term || (term == server->order_term && order <= server->order)) {
        return PAWL_ESTALE;
    }
    server->order_term = term;
    server->order = order;
    return 0;
}

static int do_drop(struct fake_server *server, const Pawl__Drop *drop)
{
    if (order_check(server, drop->term, drop->order)) {
        return PAWL_ESTALE;
    }
    struct fake_replica *replica = fake_replica_of(server, drop->handle);
    if (!replica->exists) {
        return PAWL_ENOCHUNK;
    }
    if (drop->version < replica->version) {
        return PAWL_ESTALE;
    }
    *replica = (struct fake_replica){0};
    server->drops_count++;
    return 0;
}

static int copy_check(struct world *world, struct fake_server *server,
                      const struct fake_replica *replica, const Pawl__Copy *copy)
{
    struct fake_server *source = fake_of_id(world, copy->source->server_id);
    assert_non_null(source);
    assert_true(source != server);
    const struct fake_replica *from = fake_replica_of(source, copy->handle);
    if (replica->exists && !replica->copying) {
        bool is_whole = replica->sealed && replica->version == copy->version;
        return is_whole ? 0 : PAWL_EEXISTS;
    }
    if (source->conn == 0 || source->shy || server->shy) {
        return PAWL_EDISCONNECTED;
    }
    if (!from->exists || from->copying || !from->sealed || from->version > copy->version) {
        return PAWL_ESTALE;
    }
    assert_int_equal(from->count, copy->count);
    return from->damaged ? PAWL_ECORRUPT : 0;
}

static int do_copy(struct world *world, struct fake_server *server, const Pawl__Copy *copy,
                   Pawl__Copied *copied)
{
    struct fake_replica *replica = fake_replica_of(server, copy->handle);
    if (order_check(server, copy->term, copy->order)) {
        return PAWL_ESTALE;
    }
    int rc =
        server->refuse_copies ? server->refuse_copies : copy_check(world, server, replica, copy);
    if (rc == PAWL_EBUSY) {
        return rc; // what is under way goes on
    }
    assert_int_equal(copy->length, copy->count * RECORD_BYTES);
    if (rc) {
        if (replica->copying) {
            *replica = (struct fake_replica){0};
        }
        return rc;
    }
    if (!replica->sealed) {
        uint64_t step = server->copy_step ? server->copy_step : copy->count;
        replica->exists = true;
        replica->version = copy->version;
        replica->count = PAWL_MIN(replica->count + step, copy->count);
        replica->copying = replica->count < copy->count;
        replica->sealed = !replica->copying;
        replica->commit_count = copy->count;
        server->copies_count += replica->sealed;
    }
    copied->handle = copy->handle;
    copied->version = replica->version;
    copied->count = replica->count;
    copied->length = replica->count * RECORD_BYTES;
    copied->sealed = replica->sealed;
    return 0;
}

void fake_carry_out(struct world *world, struct fake_server *server,
                    const struct world_command *command)
{
    const Pawl__Request *request = command->request;
    Pawl__Reply reply = PAWL__REPLY__INIT;
    Pawl__Fenced fenced = PAWL__FENCED__INIT;
    Pawl__Levelled levelled = PAWL__LEVELLED__INIT;
    Pawl__Sealed sealed = PAWL__SEALED__INIT;
    Pawl__Copied copied = PAWL__COPIED__INIT;
    if (server->refuse) {
        reply.code = server->refuse;
        world_answer(world, command, 0, &reply);
        return;
    }
    switch (request->body_case) {
    case WORLD_BODY(FENCE):
        reply.code = do_fence(server, request->fence, &fenced);
        reply.body_case = PAWL__REPLY__BODY_FENCED;
        reply.fenced = &fenced;
        break;
    case WORLD_BODY(LEVEL):
        reply.code = do_level(world, server, request->level, &levelled);
        reply.body_case = PAWL__REPLY__BODY_LEVELLED;
        reply.levelled = &levelled;
        break;
    case WORLD_BODY(SEAL):
        reply.code = do_seal(server, request->seal, &sealed);
        reply.body_case = PAWL__REPLY__BODY_SEALED;
        reply.sealed = &sealed;
        break;
    case WORLD_BODY(OPEN):
        reply.code = do_open(server, request->open);
        break;
    case WORLD_BODY(GRANT):
        reply.code = do_grant(world, server, request->grant);
        break;
    case WORLD_BODY(DROP):
        reply.code = do_drop(server, request->drop);
        break;
    case WORLD_BODY(COPY):
        reply.code = do_copy(world, server, request->copy, &copied);
        reply.body_case = PAWL__REPLY__BODY_COPIED;
        reply.copied = &copied;
        break;
    default:
        fail_msg("unexpected command %d", (int)request->body_case);
    }
    world_answer(world, command, 0, &reply);
}
