// SPDX-License-Identifier: Apache-2.0
// What a chunk server says that it holds, against what the log says that there is.
//
//   chunk was deleted              DROP
//   never heard of                 left alone: nothing is deleted that the master does not know
//   sealed, replica long enough    a location; SEAL if it does not know of the seal
//   sealed, replica too short      stale: not listed; goes when healing is sure of the others
//   sealed, half a copy            the same, unless the copy is under way
//   open, server in its set        noted; a primary of an older version: fenced
//   open, server not in its set    an empty one is left of an earlier set: DROP; else kept, not used
#include "base/mark.h"
#include "controlplane/core/master_core_private.h"

static void inventory_unknown(struct master_core *core, struct master_server *server,
                              const Pawl__Replica *replica)
{
    if (replica->handle != 0 && replica->handle < core->next_handle) {
        PAWL_MARK(replica_of_deleted_chunk);
        master_server_drop(core, server, replica->handle, replica->version);
    } else if (!server->warned) {
        server->warned = true;
        master_note(core, MASTER_LEVEL_WARN,
                    "server %s holds chunk %lu, which this cluster has never made: left alone",
                    server->name, replica->handle);
    }
}

static bool sealed_is_stale(const struct master_chunk *chunk, const Pawl__Replica *replica)
{
    if (replica->count < chunk->count || replica->length < chunk->length) {
        return true;
    }
    if (replica->copying) {
        return true;
    }
    bool same = replica->count == chunk->count && replica->length == chunk->length;
    return replica->sealed ? !same : replica->count == chunk->count && !same;
}

static void inventory_stale(struct master_core *core, struct master_server *server,
                            struct master_chunk *chunk, const Pawl__Replica *report)
{
    bool is_empty = report->count == 0 && report->version < chunk->version && !report->copying &&
                    master_chunk_member_index(chunk, server->id) < 0;
    if (is_empty) {
        master_replica_remove(chunk, server);
        master_server_drop(core, server, chunk->handle, report->version);
        return;
    }
    struct master_replica *replica = master_replica_add(core, chunk, server);
    // What has sealed in this registration stays sealed.
    if (replica && !replica->sealed) {
        replica->version = report->version;
        replica->count = report->count;
        replica->length = report->length;
        replica->stale = true;
        master_healing_look(core, chunk);
    }
}

static void inventory_sealed(struct master_core *core, struct master_server *server,
                             struct master_chunk *chunk, const Pawl__Replica *report)
{
    bool is_target = chunk->copy && chunk->copy->target == server;
    if (pawl_map_get(&server->drops, chunk->handle) || (report->copying && is_target)) {
        return; // on its way out, or in
    }
    if (report->copying && master_healing_adopt(core, chunk, server, report->version)) {
        return;
    }
    if (sealed_is_stale(chunk, report)) {
        PAWL_MARK(replica_is_stale);
        inventory_stale(core, server, chunk, report);
        return;
    }
    struct master_replica *replica = master_replica_add(core, chunk, server);
    if (!replica) {
        return;
    }
    if (report->sealed) {
        master_healing_reported(core, chunk, server);
    }
    replica->stale = false;
    replica->version = report->version;
    replica->sealed = replica->sealed || report->sealed;
    replica->count = replica->sealed ? chunk->count : report->count;
    replica->length = replica->sealed ? chunk->length : report->length;
    bool sealed = replica->sealed;
    if (report->damaged) {
        master_replica_damaged(core, chunk, server); // this may drop it
    }
    if (!sealed) {
        master_chunk_drive(core, chunk);
    } else {
        master_healing_look(core, chunk);
    }
    if (chunk->index + 1 < chunk->file->chunks_count) {
        struct master_chunk *next = chunk->file->chunks[chunk->index + 1];
        if (next->work && next->work->phase == MASTER_PHASE_TABLE) {
            next->work->retry_ns = 0;
            master_chunk_drive(core, next);
        }
    }
}

static void inventory_open(struct master_core *core, struct master_server *server,
                           struct master_chunk *chunk, const Pawl__Replica *report)
{
    if (master_chunk_member_index(chunk, server->id) < 0) {
        if (report->count == 0 && report->version < chunk->version) {
            PAWL_MARK(replica_of_earlier_set);
            master_replica_remove(chunk, server);
            master_server_drop(core, server, chunk->handle, report->version);
        }
        return;
    }
    struct master_replica *replica = master_replica_add(core, chunk, server);
    if (!replica) {
        return;
    }
    replica->version = report->version;
    replica->count = report->count;
    replica->length = report->length;
    if (chunk->ready) {
        chunk->work->commit_heard = PAWL_MAX(chunk->work->commit_heard, report->commit_count);
    }
    if (report->damaged) {
        master_replica_damaged(core, chunk, server);
    }
    // The recovery that raised the version ended with the master before this one, and its fence did not
    // get there. Clients that this primary keeps away with PAWL_EBUSY ask nobody else, so that only the
    // end of its lease would begin another one.
    if (chunk->ready && report->primary && report->version < chunk->version &&
        chunk->work->phase == MASTER_PHASE_IDLE) {
        master_chunk_want(core, chunk, MASTER_CAUSE_UNLEASED, server->id);
    }
}

void master_inventory(struct master_core *core, struct master_server *server,
                      const Pawl__Replica *replica)
{
    struct master_chunk *chunk = master_chunk_get(core, replica->handle);
    if (!chunk) {
        inventory_unknown(core, server, replica);
    } else if (chunk->sealed) {
        inventory_sealed(core, server, chunk, replica);
    } else {
        inventory_open(core, server, chunk, replica);
    }
}

void master_replica_damaged(struct master_core *core, struct master_chunk *chunk,
                            struct master_server *server)
{
    struct master_replica *replica = master_replica_find(chunk, server);
    if (!replica || replica->damaged) {
        return;
    }
    replica->damaged = true;
    master_note(core, MASTER_LEVEL_WARN, "chunk %lu version %lu replica on server %s is damaged",
                chunk->handle, chunk->version, server->name);
    master_healing_look(core, chunk);
    // An open chunk goes on without it, if there is somebody to go on with.
    if (!chunk->sealed && chunk->work->phase == MASTER_PHASE_GRANTED &&
        master_chunk_good_count(core, chunk) > 0) {
        PAWL_MARK(damage_starts_recovery);
        master_chunk_want(core, chunk, MASTER_CAUSE_DAMAGED, server->id);
    }
}
