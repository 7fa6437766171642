// SPDX-License-Identifier: Apache-2.0
// Sealed chunks: every replica that holds all of the records learns the final length. A longer one
// cuts there; before that it serves nothing that the seal has not kept.
#include "base/mark.h"
#include "controlplane/core/master_core_private.h"

static bool replica_is_reachable(const struct master_chunk *chunk,
                                 const struct master_replica *replica)
{
    return master_replica_is_valid(replica) && !replica->stale && replica->server->conn &&
           replica->count >= chunk->count;
}

static void seal_send(struct master_core *core, struct master_chunk *chunk,
                      struct master_replica *replica)
{
    Pawl__Request *request = MASTER_MESSAGE(core, Pawl__Request, pawl__request__init);
    request->body_case = PAWL__REQUEST__BODY_SEAL;
    request->seal = MASTER_MESSAGE(core, Pawl__Seal, pawl__seal__init);
    request->seal->term = core->term;
    request->seal->handle = chunk->handle;
    request->seal->version = chunk->version;
    request->seal->count = chunk->count;
    request->seal->length = chunk->length;
    replica->seal_token = master_command(core, replica->server, MASTER_COMMAND_SEAL, request,
                                         core->options.command_ms);
}

bool master_sealing_push(struct master_core *core, struct master_chunk *chunk)
{
    bool waits = false;
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        struct master_replica *replica = &chunk->replicas[i];
        if (replica->sealed || replica->refused || !replica_is_reachable(chunk, replica)) {
            continue;
        }
        waits = true;
        if (!replica->seal_token && core->now_ns >= chunk->seal_retry_ns) {
            seal_send(core, chunk, replica);
        }
    }
    return waits;
}

// Of those that are there, a sound one first; which of them is left to chance, so that a second
// attempt may meet another.
void master_sealing_ask_table(struct master_core *core, struct master_chunk *chunk)
{
    struct master_replica *best = NULL;
    uint64_t best_lot = 0;
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        struct master_replica *replica = &chunk->replicas[i];
        if (!replica_is_reachable(chunk, replica)) {
            continue;
        }
        if (replica->seal_token) {
            return; // its answer brings the table
        }
        uint64_t lot = (pawl_random_next(&core->random) >> 1) | (uint64_t)replica->damaged << 63;
        if (!best || lot < best_lot) {
            best = replica;
            best_lot = lot;
        }
    }
    if (best) {
        PAWL_MARK(table_asked_again);
        seal_send(core, chunk, best);
    }
}

static const Pawl__Sealed *sealed_check(const struct master_chunk *chunk, const Pawl__Reply *reply)
{
    if (!reply || reply->body_case != PAWL__REPLY__BODY_SEALED) {
        return NULL;
    }
    const Pawl__Sealed *sealed = reply->sealed;
    size_t row_bytes = sizeof(struct wire_producer);
    bool sound = sealed->handle == chunk->handle && sealed->producers.len % row_bytes == 0 &&
                 sealed->producers.len / row_bytes <= WIRE_TABLE_ROWS_MAX;
    return sound ? sealed : NULL;
}

static void seal_refused(struct master_core *core, struct master_chunk *chunk,
                         struct master_replica *replica, int code)
{
    PAWL_MARK(seal_refused);
    struct master_server *server = replica->server;
    master_note(core, MASTER_LEVEL_WARN, "chunk %lu server %s failed to seal: %s", chunk->handle,
                server->name, pawl_strerror(code));
    switch (code) {
    case PAWL_ENOCHUNK:
    case PAWL_ESTALE:
        // Not there, or not all of it: no place to read from.
        master_replica_remove(chunk, server);
        break;
    case PAWL_ECORRUPT:
    case PAWL_EDAMAGED:
        // Asking again would not mend it; its next registration may.
        replica->refused = true;
        master_replica_damaged(core, chunk, server);
        break;
    default:
        chunk->seal_retry_ns = core->now_ns + master_ms_to_ns(MASTER_BACKOFF_MAX_MS);
        break;
    }
}

void master_sealing_answered(struct master_core *core, struct master_chunk *chunk,
                             const struct master_command *command, int status,
                             const Pawl__Reply *reply)
{
    struct master_replica *replica = master_replica_find(chunk, command->server);
    if (!chunk->sealed || !replica || replica->seal_token != command->token) {
        return;
    }
    replica->seal_token = 0;
    const Pawl__Sealed *sealed = NULL;
    int code = status ? status : reply ? reply->code : PAWL_EPROTOCOL;
    if (code == 0) {
        sealed = sealed_check(chunk, reply);
        code = sealed ? 0 : PAWL_EPROTOCOL;
    }
    if (code) {
        seal_refused(core, chunk, replica, code);
    } else {
        replica->sealed = true;
        replica->stale = false; // whatever an older report made of it in the meantime
        replica->version = chunk->version;
        replica->count = chunk->count;
        replica->length = chunk->length;
    }
    master_chunk_drive(core, chunk);
    if (sealed && chunk->index + 1 < chunk->file->chunks_count) {
        master_opening_table(core, chunk->file->chunks[chunk->index + 1], &sealed->producers);
    }
}
