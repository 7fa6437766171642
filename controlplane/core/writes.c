// SPDX-License-Identifier: Apache-2.0
// Writes at an offset: write logs, and the zeros that a file is extended by (docs/decisions/0013).
//
// A write log is a file without a name whose chunks are opened, granted, recovered and sealed like those
// of any file. What is special stands here: who may hold one of its chunks, and who holds a written chunk
// whole. A copy of a written chunk may be made while no chunk of its log is ready and unsealed. Before
// one becomes ready, and so before any grant, the version of the written chunk is raised: a copy that
// began earlier does not count.
#include "controlplane/core/master_core_private.h"

#define MASTER_EXTEND_CHUNKS_MAX 65536u // that one extension may add

// ---- state -------------------------------------------------------------------------------------

struct master_inode *master_log_get(const struct master_core *core, uint64_t id)
{
    return pawl_map_get(&core->logs, id);
}

struct master_inode *master_file_get(const struct master_core *core, uint64_t id)
{
    struct master_inode *file = master_inode_get(core, id);
    return file ? file : master_log_get(core, id);
}

int master_apply_write_log(struct master_core *core, const Pawl__LogWriteLog *record)
{
    struct master_chunk *chunk = master_chunk_get(core, record->handle);
    if (!chunk || !chunk->sealed || chunk->log || chunk->file->written ||
        record->file_id <= MASTER_ROOT_ID || record->file_id == UINT64_MAX ||
        master_file_get(core, record->file_id)) {
        return PAWL_EFORMAT;
    }
    struct master_inode *log = pawl_alloc_new(core->alloc, sizeof(*log));
    if (!log || pawl_map_put(&core->logs, record->file_id, log)) {
        pawl_alloc_free(core->alloc, log);
        return -ENOMEM;
    }
    log->id = record->file_id;
    log->written = chunk;
    log->replicas = chunk->file->replicas;
    log->min_replicas = chunk->file->min_replicas;
    log->chunk_bytes = chunk->file->chunk_bytes;
    chunk->log = log;
    core->next_file_id = PAWL_MAX(core->next_file_id, record->file_id + 1);
    return 0;
}

int master_apply_chunk_written(struct master_core *core, const Pawl__LogChunkWritten *record,
                               uint64_t wall_ms)
{
    struct master_chunk *chunk = master_chunk_get(core, record->handle);
    if (!chunk || !chunk->sealed || !chunk->log || record->version <= chunk->version) {
        return PAWL_EFORMAT;
    }
    chunk->version = record->version;
    master_healing_cancel(core, chunk);
    chunk->file->modified_ms = wall_ms;
    return 0;
}

void master_log_free(struct master_core *core, struct master_chunk *chunk)
{
    struct master_inode *log = chunk->log;
    if (!log) {
        return;
    }
    while (log->chunks_count > 0) {
        master_chunk_free(core, master_file_tail(log));
    }
    pawl_map_remove(&core->logs, log->id);
    pawl_alloc_free(core->alloc, log->chunks);
    pawl_alloc_free(core->alloc, log);
    chunk->log = NULL;
}

// ---- who holds a written chunk whole -----------------------------------------------------------

static bool log_chunk_is_held(const struct master_chunk *chunk, const struct master_server *server)
{
    const struct master_replica *replica = master_replica_find(chunk, server);
    if (chunk->sealed) {
        return replica && master_replica_is_good(chunk, replica);
    }
    int index = master_chunk_member_index(chunk, server->id);
    if (index < 0 || (replica && replica->damaged)) {
        return false;
    }
    // While it is being levelled only those that are level are sure to stay.
    return chunk->work->phase != MASTER_PHASE_LEVELLING || chunk->work->members[index].level;
}

bool master_log_is_held(const struct master_chunk *chunk, const struct master_server *server)
{
    for (uint32_t i = 0; chunk->log && i < chunk->log->chunks_count; i++) {
        const struct master_chunk *part = chunk->log->chunks[i];
        if (part->ready && !log_chunk_is_held(part, server)) {
            return false;
        }
    }
    return true;
}

bool master_log_admits(const struct master_core *core, const struct master_chunk *chunk)
{
    const struct master_chunk *written = chunk->file->written;
    if (PAWL_MUTANT(write_set_any)) {
        return true;
    }
    for (uint32_t i = 0; written && i < chunk->set_count; i++) {
        const struct master_server *server = master_chunk_member(core, chunk, i);
        const struct master_replica *replica = master_replica_find(written, server);
        if (!replica || !master_replica_is_good(written, replica)) {
            return false;
        }
    }
    return true;
}

bool master_chunk_is_copyable(const struct master_chunk *chunk)
{
    const struct master_chunk *tail = chunk->log ? master_file_tail(chunk->log) : NULL;
    bool idle = !tail || tail->sealed || tail->work->phase == MASTER_PHASE_WAITING;
    return chunk->sealed && (idle || PAWL_MUTANT(copy_beside_writes));
}

bool master_log_may_open(const struct master_chunk *chunk)
{
    const struct master_chunk *written = chunk->file->written;
    if (!written) {
        return true;
    }
    bool copying = written->copy;
    for (uint32_t i = 0; i < chunk->index; i++) {
        copying = copying || chunk->file->chunks[i]->copy;
    }
    return chunk->work->asked_for && !copying;
}

static bool set_has(const uint64_t *set, uint32_t count, uint64_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (set[i] == id) {
            return true;
        }
    }
    return false;
}

// Adds servers to a set of `count` until it has `wanted`; returns how many it has then.
static uint32_t log_fill(const struct master_core *core, const struct master_inode *log,
                         bool avoiding, uint32_t wanted, uint64_t *set, uint32_t count)
{
    const struct master_chunk *written = log->written;
    for (uint32_t i = 0; i < written->replicas_count && count < wanted; i++) {
        const struct master_replica *replica = &written->replicas[i];
        const struct master_server *server = replica->server;
        if (master_replica_is_good(written, replica) && master_server_is_live(server) &&
            !(avoiding && server->avoid_ns > core->now_ns) && !set_has(set, count, server->id) &&
            master_server_free_bytes(server) >= log->chunk_bytes) {
            set[count++] = server->id;
        }
    }
    return count;
}

static uint32_t log_current_count(const struct master_chunk *written)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < written->replicas_count; i++) {
        const struct master_replica *replica = &written->replicas[i];
        count += master_replica_is_good(written, replica) && master_server_is_live(replica->server);
    }
    return count;
}

// As many of those that are current as the file wants: others fall behind, and are surplus. Of those that
// have just failed only as many as the minimum needs; see master_place().
int master_log_place(const struct master_core *core, const struct master_inode *log,
                     uint64_t set[MASTER_SET_MAX], uint32_t *ret_count)
{
    uint32_t count = log_fill(core, log, true, log->replicas, set, 0);
    if (count < log->min_replicas) {
        count = log_fill(core, log, false, log->min_replicas, set, count);
    }
    if (count >= log->min_replicas) {
        *ret_count = count;
        return 0;
    }
    return log_current_count(log->written) < log->min_replicas ? PAWL_ENOSERVERS : PAWL_ENOSPACE;
}

bool master_log_has_grown(const struct master_core *core, const struct master_chunk *chunk)
{
    uint64_t set[MASTER_SET_MAX];
    uint32_t count;
    return chunk->file->written && !master_log_place(core, chunk->file, set, &count) &&
           count > chunk->set_count;
}

void master_log_touch(struct master_core *core, const struct master_inode *file)
{
    const struct master_chunk *written = file->written;
    if (!written || PAWL_MUTANT(written_version_kept)) {
        return;
    }
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_CHUNK_WRITTEN);
    record->chunk_written =
        MASTER_MESSAGE(core, Pawl__LogChunkWritten, pawl__log_chunk_written__init);
    record->chunk_written->handle = written->handle;
    record->chunk_written->version = written->version + 1;
    master_log(core, record);
}

void master_log_describe(const struct master_core *core, const struct master_chunk *chunk,
                         Pawl__Chunk *message)
{
    for (uint32_t i = 0; chunk->log && i < chunk->log->chunks_count; i++) {
        const struct master_chunk *part = chunk->log->chunks[i];
        if (!part->ready) {
            break;
        }
        message->log_chunks = i + 1;
        bool granted = !part->sealed && part->work->phase == MASTER_PHASE_GRANTED;
        message->log_primary_id = granted ? part->work->primary_id : 0;
        message->log_bytes += part->sealed ? part->length : 0;
        message->log_under_replicated = message->log_under_replicated ||
                                        master_chunk_good_count(core, part) < chunk->log->replicas;
    }
}

// ---- zeros -------------------------------------------------------------------------------------

uint64_t master_extend_zero_bytes(const struct master_inode *file, uint64_t end)
{
    return file->extend_to > end ? PAWL_MIN(file->extend_to - end, file->chunk_bytes) : 0;
}

// ---- requests ----------------------------------------------------------------------------------

static void reply_write_log(struct master_core *core, uint64_t request,
                            const struct master_inode *log)
{
    Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY_WRITE_LOG);
    reply->write_log = MASTER_MESSAGE(core, Pawl__WriteLog, pawl__write_log__init);
    reply->write_log->file_id = log->id;
    reply->write_log->chunk_bytes = log->chunk_bytes;
    master_reply(core, request, reply);
}

// The chunk of a request, which must be one of its file's; NULL: it was answered.
static struct master_chunk *chunk_of(struct master_core *core, uint64_t request, uint64_t file_id,
                                     uint64_t handle)
{
    const struct master_inode *file = master_request_file(core, request, file_id);
    struct master_chunk *chunk = file ? master_chunk_get(core, handle) : NULL;
    if (file && (!chunk || chunk->file != file)) {
        master_reply_code(core, request, PAWL_ENOCHUNK, NULL);
        return NULL;
    }
    return chunk;
}

void master_request_open_write_log(struct master_core *core, const struct master_event *event)
{
    const Pawl__OpenWriteLog *open = event->message->open_write_log;
    struct master_chunk *chunk = chunk_of(core, event->request, open->file_id, open->handle);
    if (!chunk) {
        return;
    }
    if (!chunk->sealed) {
        master_reply_code(core, event->request, PAWL_EBUSY, "chunk %lu is not sealed",
                          chunk->handle);
        return;
    }
    if (!chunk->log) {
        Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_WRITE_LOG);
        record->write_log = MASTER_MESSAGE(core, Pawl__LogWriteLog, pawl__log_write_log__init);
        record->write_log->handle = chunk->handle;
        record->write_log->file_id = core->next_file_id;
        master_log(core, record);
    }
    if (!core->failed) {
        reply_write_log(core, event->request, chunk->log);
    }
}

void master_request_seal_tail(struct master_core *core, const struct master_event *event)
{
    const Pawl__SealTail *seal = event->message->seal_tail;
    struct master_chunk *chunk = chunk_of(core, event->request, seal->file_id, seal->handle);
    if (!chunk) {
        return;
    }
    if (!chunk->sealed && chunk->ready) {
        master_chunk_want(core, chunk, MASTER_CAUSE_FULL, 0);
    }
    master_reply_code(core, event->request, chunk->sealed ? 0 : PAWL_EBUSY, NULL);
}

// The next step towards the length that is wanted: the open tail is sealed, chunks of zeros follow.
static int extend_drive(struct master_core *core, struct master_inode *file)
{
    struct master_chunk *tail = master_file_tail(file);
    if (!tail || tail->sealed) {
        return master_file_create_chunk(core, file);
    }
    if (tail->ready) {
        master_chunk_want(core, tail, MASTER_CAUSE_FULL, 0);
    } else {
        master_chunk_drive(core, tail);
    }
    return 0;
}

void master_request_extend(struct master_core *core, const struct master_event *event)
{
    const Pawl__Extend *extend = event->message->extend;
    struct master_inode *file = master_request_file(core, event->request, extend->file_id);
    if (!file) {
        return;
    }
    uint64_t missing = extend->bytes - PAWL_MIN(extend->bytes, file->sealed_bytes);
    if (missing / file->chunk_bytes >= MASTER_EXTEND_CHUNKS_MAX ||
        extend->bytes > (uint64_t)INT64_MAX) {
        master_reply_code(core, event->request, PAWL_ELIMIT, "at most %u chunks at a time",
                          MASTER_EXTEND_CHUNKS_MAX);
        return;
    }
    int rc = 0;
    if (missing > 0) {
        file->extend_to = PAWL_MAX(file->extend_to, extend->bytes);
        rc = extend_drive(core, file);
    }
    const struct master_chunk *tail = master_file_tail(file);
    if (core->failed || rc || file->sealed_bytes >= extend->bytes) {
        master_reply_code(core, event->request, rc, NULL);
    } else if (tail && tail->work) {
        master_reply_no_lease(core, event->request, tail);
    } else {
        master_reply_code(core, event->request, PAWL_EBUSY, NULL);
    }
}
