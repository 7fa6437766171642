// SPDX-License-Identifier: Apache-2.0
// Requests of chunk servers: registration, heartbeats, reports.
#include "base/mark.h"
#include "controlplane/core/master_core_private.h"

#define SPACE_BYTES_MAX (UINT64_C(1) << 60) // keeps sums of hostile figures in range

// NULL, or what is wrong.
static const char *check_register(const struct master_core *core, const Pawl__Register *reg)
{
    if (reg->server_id == 0 || reg->incarnation == 0) {
        return "a server has an id and an incarnation, neither of them 0";
    }
    if (!reg->name || !master_text_is_clean(reg->name, MASTER_SERVER_NAME_MAX)) {
        return "a server's name is UTF-8 of 1 to 63 bytes";
    }
    if (!reg->fabric_address || !master_text_is_clean(reg->fabric_address, MASTER_ADDRESS_MAX)) {
        return "the fabric addresses have 1 to 191 bytes";
    }
    if (reg->location && reg->location[0] &&
        !master_text_is_clean(reg->location, MASTER_LOCATION_MAX)) {
        return "a location has at most 255 bytes";
    }
    if (!master_server_get(core, reg->server_id) && core->servers_count >= MASTER_SERVERS_MAX) {
        return "there are too many servers";
    }
    return NULL;
}

static struct master_server *log_server(struct master_core *core, const Pawl__Register *reg)
{
    struct master_server *server = master_server_get(core, reg->server_id);
    if (!server || strcmp(server->name, reg->name) != 0) {
        Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_SERVER);
        record->server = MASTER_MESSAGE(core, Pawl__LogServer, pawl__log_server__init);
        record->server->server_id = reg->server_id;
        record->server->name = master_arena_text(core, reg->name);
        master_log(core, record);
        server = master_server_get(core, reg->server_id);
    }
    return core->failed ? NULL : server;
}

// The newest connection wins. Another incarnation has no leases and may have lost what it had not
// made durable: for its chunks that is the loss of a member, even if the old connection still stands.
static int bind_connection(struct master_core *core, struct master_server *server, uint64_t conn,
                           uint64_t incarnation)
{
    if (server->conn && server->incarnation != incarnation && !PAWL_MUTANT(restart_keeps_lease)) {
        PAWL_MARK(restart_seen_before_its_loss);
        master_server_lost(core, server, "it restarted");
    }
    if (server->conn) {
        PAWL_MARK(newer_connection_wins);
        pawl_map_remove(&core->conns, server->conn);
    }
    server->conn = conn;
    server->incarnation = incarnation;
    return pawl_map_put(&core->conns, conn, server);
}

static void reply_registered(struct master_core *core, uint64_t request)
{
    Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY_REGISTERED);
    Pawl__Registered *registered = MASTER_MESSAGE(core, Pawl__Registered, pawl__registered__init);
    registered->cluster_id = core->cluster_id;
    registered->term = core->term;
    registered->heartbeat_ms = core->options.heartbeat_ms;
    registered->lease_ms = core->options.lease_ms;
    registered->nonce = core->terms[core->terms_count - 1].nonce;
    registered->position = core->position;
    registered->order = ++core->order;
    reply->registered = registered;
    master_reply(core, request, reply);
}

static void take_space(struct master_server *server, uint64_t space_bytes, uint64_t used_bytes)
{
    server->space_bytes = PAWL_MIN(space_bytes, SPACE_BYTES_MAX);
    server->used_bytes = PAWL_MIN(used_bytes, SPACE_BYTES_MAX);
    server->reserved_bytes = 0;
}

// A primary that a restarted master finds: nobody else can be one at the logged version.
static bool claim_lease(struct master_core *core, struct master_server *server,
                        const Pawl__Replica *replica)
{
    struct master_chunk *chunk = master_chunk_get(core, replica->handle);
    if (!chunk || chunk->sealed || !chunk->ready || !replica->primary || replica->sealed ||
        replica->damaged || replica->version != chunk->version ||
        master_chunk_member_index(chunk, server->id) < 0) {
        return false;
    }
    if (chunk->work->phase == MASTER_PHASE_IDLE) {
        master_chunk_adopt(core, chunk, server);
    }
    // Adopting may have begun a recovery at once, for a member that is gone.
    const struct master_work *work = chunk->work;
    if (!work || work->phase != MASTER_PHASE_GRANTED || work->primary_id != server->id ||
        (work->primary_incarnation != server->incarnation && !PAWL_MUTANT(restart_keeps_lease))) {
        return false;
    }
    chunk->work->lease_until_ns = core->now_ns + master_ms_to_ns(core->options.lease_ms);
    return true;
}

static void greet(struct master_core *core, struct master_server *server)
{
    pawl_list_for_each_safe (node, &core->open_chunks) {
        struct master_chunk *chunk = pawl_container_of(node, struct master_chunk, open_node);
        if (chunk->set_count == 0) {
            chunk->work->retry_ns = 0; // it has waited for servers
            master_chunk_drive(core, chunk);
        } else if (master_chunk_member_index(chunk, server->id) >= 0) {
            master_chunk_member_here(core, chunk, server);
        }
    }
}

static void register_server(struct master_core *core, struct master_server *server,
                            const struct master_event *event)
{
    const Pawl__Register *reg = event->message->register_;
    int rc = bind_connection(core, server, event->conn, reg->incarnation);
    if (rc || core->failed) {
        core->failed = -ENOMEM;
        return;
    }
    server->registration++;
    server->chunks_count = 0;
    server->warned = false;
    server->providers_warned = false;
    server->avoid_ns = 0;
    strcpy(server->address, reg->fabric_address);
    server->providers = master_providers_of(core, server->address);
    strcpy(server->location, reg->location ? reg->location : "");
    take_space(server, reg->space_bytes, reg->used_bytes);
    server->state = MASTER_SERVER_LIVE;
    server->copy_avoid_ns = 0;
    core->heal_scan = true;
    master_server_heard(core, server);
    master_note(core, MASTER_LEVEL_INFO, "server %s registered: id %016lx address %s replicas %zu",
                server->name, server->id, server->address, reg->n_replicas);
    master_providers_warn(core);
    reply_registered(core, event->request);
    for (size_t i = 0; i < reg->n_replicas && !core->failed; i++) {
        master_inventory(core, server, reg->replicas[i]);
        claim_lease(core, server, reg->replicas[i]);
    }
    greet(core, server);
}

void master_request_register(struct master_core *core, const struct master_event *event)
{
    const Pawl__Register *reg = event->message->register_;
    const struct master_server *bound = pawl_map_get(&core->conns, event->conn);
    const char *wrong = check_register(core, reg);
    if (!wrong && bound && bound->id != reg->server_id) {
        wrong = "this connection belongs to another server";
    }
    if (wrong) {
        master_reply_code(core, event->request, PAWL_EINVALID, "%s", wrong);
        return;
    }
    if (reg->cluster_id != 0 && reg->cluster_id != core->cluster_id) {
        master_note(core, MASTER_LEVEL_WARN, "server %s refused: it belongs to cluster %016lx",
                    reg->name, reg->cluster_id);
        master_reply_code(core, event->request, PAWL_ECLUSTER,
                          "this is cluster %016lx; give the server a new directory to join it",
                          core->cluster_id);
        return;
    }
    if (!master_history_admits(core, reg)) {
        master_reply_code(core, event->request, PAWL_EHISTORY, "%s", core->halted);
        return;
    }
    struct master_server *server = log_server(core, reg);
    if (server) {
        register_server(core, server, event);
    }
}

// ---- heartbeats ----------------------------------------------------------------------------------

static void renew(struct master_core *core, struct master_server *server,
                  const Pawl__Heartbeat *heartbeat, Pawl__HeartbeatAnswer *answer)
{
    size_t primaries_count = 0;
    for (size_t i = 0; i < heartbeat->n_replicas; i++) {
        primaries_count += heartbeat->replicas[i]->primary != 0;
    }
    answer->renewals =
        master_arena_alloc(core, (primaries_count + 1) * sizeof(Pawl__LeaseRenewal *));
    for (size_t i = 0; i < heartbeat->n_replicas && !core->failed; i++) {
        const Pawl__Replica *replica = heartbeat->replicas[i];
        master_inventory(core, server, replica);
        if (!claim_lease(core, server, replica) || core->failed) {
            continue;
        }
        Pawl__LeaseRenewal *renewal =
            MASTER_MESSAGE(core, Pawl__LeaseRenewal, pawl__lease_renewal__init);
        renewal->handle = replica->handle;
        renewal->version = replica->version;
        answer->renewals[answer->n_renewals++] = renewal;
    }
}

void master_request_heartbeat(struct master_core *core, const struct master_event *event)
{
    const Pawl__Heartbeat *heartbeat = event->message->heartbeat;
    struct master_server *server = pawl_map_get(&core->conns, event->conn);
    Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY_HEARTBEAT);
    Pawl__HeartbeatAnswer *answer =
        MASTER_MESSAGE(core, Pawl__HeartbeatAnswer, pawl__heartbeat_answer__init);
    reply->heartbeat = answer;
    answer->term = core->term;
    answer->position = core->position;
    if (!server || server->id != heartbeat->server_id ||
        server->incarnation != heartbeat->incarnation) {
        PAWL_MARK(heartbeat_of_stranger);
        answer->register_again = true;
        master_reply(core, event->request, reply);
        return;
    }
    bool was_live = server->state == MASTER_SERVER_LIVE;
    master_server_heard(core, server);
    take_space(server, heartbeat->space_bytes, heartbeat->used_bytes);
    server->appends_count = heartbeat->appends_count;
    server->duplicates_count = heartbeat->duplicates_count;
    server->mismatches_count = heartbeat->mismatches_count;
    server->stored_bytes = heartbeat->stored_bytes;
    server->copied_bytes = heartbeat->copied_bytes;
    server->written_back_bytes = heartbeat->written_back_bytes;
    server->read_bytes = heartbeat->read_bytes;
    server->read_copied_bytes = heartbeat->read_copied_bytes;
    server->relayed_count = heartbeat->relayed_count;
    server->relays_failed_count = heartbeat->relays_failed_count;
    server->recycled_files_count = heartbeat->recycled_files_count;
    renew(core, server, heartbeat, answer);
    master_reply(core, event->request, reply);
    if (!was_live) {
        greet(core, server);
    }
}

// ---- reports -------------------------------------------------------------------------------------

static void report_broken(struct master_core *core, struct master_chunk *chunk,
                          struct master_server *sender, uint64_t broken_id)
{
    if (chunk->sealed || chunk->work->phase != MASTER_PHASE_GRANTED ||
        chunk->work->primary_id != sender->id) {
        return;
    }
    if (broken_id == sender->id) {
        PAWL_MARK(primary_reports_itself);
        // Its own store failed, or has no room: nothing for the next chunk either. Whether what it holds
        // is damaged is another report's matter.
        sender->avoid_ns = core->now_ns + master_ms_to_ns(MASTER_AVOID_MS);
    }
    // Unless the damage has begun it already.
    if (chunk->work->phase == MASTER_PHASE_GRANTED) {
        master_chunk_want(core, chunk, MASTER_CAUSE_BROKEN, broken_id);
    }
}

static int take_report(struct master_core *core, struct master_server *sender,
                       const Pawl__Report *report)
{
    struct master_chunk *chunk = master_chunk_get(core, report->handle);
    if (!chunk) {
        return PAWL_ENOCHUNK;
    }
    if (report->kind == PAWL__REPORT_KIND__REPORT_DAMAGED) {
        master_replica_damaged(core, chunk, sender);
        return 0;
    }
    if (report->version != chunk->version) {
        return PAWL_ESTALE;
    }
    switch (report->kind) {
    case PAWL__REPORT_KIND__REPORT_BROKEN:
        report_broken(core, chunk, sender, report->server_id);
        return 0;
    case PAWL__REPORT_KIND__REPORT_FULL:
        if (!chunk->sealed && chunk->work->phase == MASTER_PHASE_GRANTED &&
            chunk->work->primary_id == sender->id) {
            master_chunk_want(core, chunk, MASTER_CAUSE_FULL, 0);
        }
        return 0;
    default:
        return PAWL_EPROTOCOL;
    }
}

void master_request_report(struct master_core *core, const struct master_event *event)
{
    struct master_server *sender = pawl_map_get(&core->conns, event->conn);
    if (!sender) {
        master_reply_code(core, event->request, PAWL_EPROTOCOL, "register first");
        return;
    }
    master_reply_code(core, event->request, take_report(core, sender, event->message->report),
                      NULL);
}
