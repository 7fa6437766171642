// SPDX-License-Identifier: Apache-2.0
// Chunks that were never ready: a set, the producer table of the chunk before, OPEN to every member,
// and when all have made it durable the chunk is ready. Until then it holds no record, so that its
// set may change at will, each time under a higher version.
#include "base/mark.h"
#include "controlplane/core/master_core_private.h"

#define OPEN_ATTEMPTS 2u // of a member that does not answer in time, before it is replaced

static bool set_is_live(const struct master_core *core, const struct master_chunk *chunk)
{
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        if (!master_server_is_live(master_chunk_member(core, chunk, i))) {
            return false;
        }
    }
    return chunk->set_count > 0 && master_log_admits(core, chunk);
}

// 0, or the code that says why there is no other set.
static int place_again(struct master_core *core, struct master_chunk *chunk)
{
    uint64_t set[MASTER_SET_MAX];
    uint32_t count;
    int rc = master_place(core, chunk->file, set, &count);
    if (rc) {
        PAWL_MARK(no_other_set);
        return rc;
    }
    PAWL_MARK(opening_placed_anew);
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_CHUNK_PLACE);
    record->chunk_place = MASTER_MESSAGE(core, Pawl__LogChunkPlace, pawl__log_chunk_place__init);
    record->chunk_place->handle = chunk->handle;
    record->chunk_place->version = chunk->version + 1;
    record->chunk_place->set = master_arena_ids(core, set, count);
    record->chunk_place->n_set = count;
    master_log(core, record);
    while (chunk->replicas_count > 0) { // of the set before: nothing is held there that counts
        master_replica_remove(chunk, chunk->replicas[0].server);
    }
    master_place_reserve(core, set, count, chunk->file->chunk_bytes);
    master_note(core, MASTER_LEVEL_INFO, "chunk %lu version %lu placed anew", chunk->handle,
                chunk->version);
    return 0;
}

static void open_again(struct master_core *core, struct master_chunk *chunk, bool at_once)
{
    master_chunk_reset_members(chunk->work);
    master_chunk_move(core, chunk, MASTER_PHASE_WAITING);
    if (at_once) {
        chunk->work->retry_ns = 0;
    } else {
        master_chunk_backoff(core, chunk->work);
    }
}

void master_opening_ask(struct master_core *core, struct master_chunk *chunk, uint32_t index)
{
    struct master_work *work = chunk->work;
    struct master_server *server = master_chunk_member(core, chunk, index);
    Pawl__Request *request = MASTER_MESSAGE(core, Pawl__Request, pawl__request__init);
    Pawl__Open *open = MASTER_MESSAGE(core, Pawl__Open, pawl__open__init);
    request->body_case = PAWL__REQUEST__BODY_OPEN;
    request->open = open;
    open->term = core->term;
    open->handle = chunk->handle;
    open->version = chunk->version;
    open->file_id = chunk->file->id;
    open->index = chunk->index;
    open->base_offset = chunk->base_offset;
    open->chunk_bytes = chunk->file->chunk_bytes;
    open->zero_bytes = chunk->zero_bytes;
    open->written_handle = chunk->file->written ? chunk->file->written->handle : 0;
    // The table is kept until the grant, so the message may borrow it until the next step.
    open->producers.data = work->table;
    open->producers.len = work->table_bytes;
    open->sessions = master_sessions_message(core, work->sessions, work->sessions_count);
    open->n_sessions = open->sessions ? work->sessions_count : 0;
    work->members[index] = (struct master_member){.step = MASTER_STEP_ASKED};
    work->members[index].token =
        master_command(core, server, MASTER_COMMAND_OPEN, request, core->options.command_ms);
}

static bool waiting_drive(struct master_core *core, struct master_chunk *chunk)
{
    struct master_work *work = chunk->work;
    if (core->now_ns < work->retry_ns || !master_log_may_open(chunk)) {
        return false;
    }
    bool usable = set_is_live(core, chunk);
    if (!usable && chunk->set_count > 0 && core->now_ns < core->grace_ns) {
        return false; // its servers may not have found this master yet
    }
    if (!usable || work->place_again || master_log_outgrows(core, chunk)) {
        if (place_again(core, chunk) && !usable) {
            master_chunk_backoff(core, work);
            return false;
        }
        // With no other servers there is nothing better than the same ones again.
        work->place_again = false;
        work->attempts = 0;
        if (core->failed) {
            return false;
        }
    }
    if (chunk->index > 0 && !work->table_known && !PAWL_MUTANT(table_skipped)) {
        master_chunk_move(core, chunk, MASTER_PHASE_TABLE);
        return true;
    }
    master_chunk_move(core, chunk, MASTER_PHASE_OPENING);
    master_chunk_reset_members(work);
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        master_opening_ask(core, chunk, i);
    }
    return true;
}

static bool table_drive(struct master_core *core, struct master_chunk *chunk)
{
    struct master_work *work = chunk->work;
    if (work->table_known) {
        master_chunk_move(core, chunk, MASTER_PHASE_WAITING);
        work->retry_ns = 0;
        return true;
    }
    if (core->now_ns >= work->retry_ns) {
        master_sealing_ask_table(core, chunk->file->chunks[chunk->index - 1]);
        master_chunk_backoff(core, work);
    }
    return false;
}

static bool opening_failed(struct master_core *core, struct master_chunk *chunk, uint32_t index)
{
    struct master_work *work = chunk->work;
    struct master_server *server = master_chunk_member(core, chunk, index);
    bool lost = server->conn == 0;
    work->attempts++;
    if (!lost && (work->members[index].refused || work->attempts >= OPEN_ATTEMPTS)) {
        PAWL_MARK(opening_avoids_server);
        server->avoid_ns = core->now_ns + master_ms_to_ns(MASTER_AVOID_MS);
        work->place_again = true;
    }
    // The first replacement is made at once; a second failure may be a habit.
    open_again(core, chunk, (lost || work->place_again) && work->backoff_ms == 0);
    if (work->backoff_ms == 0) {
        work->backoff_ms = MASTER_BACKOFF_MIN_MS;
    }
    return true;
}

// Members of earlier sets, which never held a record.
static void drop_others(struct master_core *core, struct master_chunk *chunk)
{
    for (uint32_t i = chunk->replicas_count; i-- > 0;) {
        const struct master_replica *replica = &chunk->replicas[i];
        struct master_server *server = replica->server;
        uint64_t version = replica->version;
        if (master_replica_is_valid(replica) && version < chunk->version &&
            master_chunk_member_index(chunk, server->id) < 0) {
            master_replica_remove(chunk, server);
            if (server->conn) {
                master_server_drop(core, server, chunk->handle, version);
            }
        }
    }
}

// "N+1 takes nothing until all of its replicas durably hold N's producer table."
static bool opening_drive(struct master_core *core, struct master_chunk *chunk)
{
    struct master_work *work = chunk->work;
    uint32_t done = 0;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        if (work->members[i].step == MASTER_STEP_FAILED) {
            return opening_failed(core, chunk, i);
        }
        done += work->members[i].step == MASTER_STEP_DONE;
    }
    if (done < (PAWL_MUTANT(ready_before_all) ? 1 : chunk->set_count)) {
        return false;
    }
    master_log_touch(core, chunk->file);
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_CHUNK_READY);
    record->chunk_ready = MASTER_MESSAGE(core, Pawl__LogChunkReady, pawl__log_chunk_ready__init);
    record->chunk_ready->handle = chunk->handle;
    master_log(core, record);
    if (core->failed) {
        return false;
    }
    drop_others(core, chunk);
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        struct master_replica *replica =
            master_replica_add(core, chunk, master_chunk_member(core, chunk, i));
        if (replica) {
            replica->version = chunk->version;
            replica->length = chunk->zero_bytes;
        }
    }
    if (chunk->zero_bytes != 0) {
        master_chunk_seal_zeros(core, chunk);
        return false;
    }
    work->backoff_ms = 0;
    master_chunk_grant(core, chunk);
    return true;
}

bool master_opening_drive(struct master_core *core, struct master_chunk *chunk)
{
    switch (chunk->work->phase) {
    case MASTER_PHASE_WAITING:
        return waiting_drive(core, chunk);
    case MASTER_PHASE_TABLE:
        return table_drive(core, chunk);
    default:
        return opening_drive(core, chunk);
    }
}

void master_opening_table(struct master_core *core, struct master_chunk *chunk,
                          const ProtobufCBinaryData *table)
{
    struct master_work *work = chunk->work;
    if (!work || chunk->ready || work->table_known) {
        return;
    }
    if (table->len > 0) {
        work->table = pawl_alloc_new(core->alloc, table->len);
        if (!work->table) {
            core->failed = -ENOMEM;
            return;
        }
        memcpy(work->table, table->data, table->len);
        work->table_bytes = table->len;
    }
    work->table_known = true;
    work->backoff_ms = 0;
    master_chunk_drive(core, chunk);
}
