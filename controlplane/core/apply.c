// SPDX-License-Identifier: Apache-2.0
// Log records become state here and nowhere else, live and at replay alike. A record that does not
// fit the state is refused before it has changed anything.
#include "controlplane/core/calls.h"
#include "controlplane/core/master_core_private.h"

static int check_set(const struct master_core *core, const uint64_t *set, size_t count)
{
    if (count > MASTER_SET_MAX) {
        return PAWL_EFORMAT;
    }
    for (size_t i = 0; i < count; i++) {
        if (!master_server_get(core, set[i])) {
            return PAWL_EFORMAT;
        }
        for (size_t j = 0; j < i; j++) {
            if (set[i] == set[j]) {
                return PAWL_EFORMAT;
            }
        }
    }
    return 0;
}

static int apply_term(struct master_core *core, const Pawl__LogTerm *record)
{
    bool other = core->cluster_id != 0 && core->cluster_id != record->cluster_id;
    if (record->cluster_id == 0 || other || record->term <= core->term) {
        return PAWL_EFORMAT;
    }
    core->cluster_id = record->cluster_id;
    core->term = record->term;
    master_history_add(core, record);
    return 0;
}

// Looks up where a new inode goes; it must be free.
static int check_place(const struct master_core *core, const char *path, char *clean,
                       struct master_inode **ret_parent, const char **ret_name)
{
    if (master_path_normalise(path, clean) || clean[1] == '\0' ||
        master_resolve_parent(core, clean, ret_parent, ret_name) ||
        master_inode_child(*ret_parent, *ret_name, strlen(*ret_name))) {
        return PAWL_EFORMAT;
    }
    return 0;
}

static int apply_inode(struct master_core *core, const char *path, uint64_t file_id, bool directory,
                       struct master_inode **ret)
{
    char clean[MASTER_PATH_MAX + 1];
    struct master_inode *parent;
    const char *name;
    int rc = check_place(core, path, clean, &parent, &name);
    if (rc) {
        return rc;
    }
    if (file_id <= MASTER_ROOT_ID || file_id == UINT64_MAX || master_file_get(core, file_id)) {
        return PAWL_EFORMAT;
    }
    rc = master_inode_new(core, parent, name, file_id, directory, ret);
    if (rc) {
        return rc;
    }
    core->next_file_id = PAWL_MAX(core->next_file_id, file_id + 1);
    return 0;
}

static int apply_mkdir(struct master_core *core, const Pawl__LogMkdir *record, uint64_t wall_ms)
{
    struct master_inode *inode;
    int rc = apply_inode(core, record->path, record->file_id, true, &inode);
    if (rc == 0) {
        inode->created_ms = wall_ms;
        inode->modified_ms = wall_ms;
    }
    return rc;
}

static int apply_create(struct master_core *core, const Pawl__LogCreate *record, uint64_t wall_ms)
{
    if (record->replicas == 0 || record->replicas > MASTER_SET_MAX || record->min_replicas == 0 ||
        record->min_replicas > record->replicas || record->chunk_bytes < MASTER_CHUNK_BYTES_MIN ||
        record->chunk_bytes > MASTER_CHUNK_BYTES_MAX ||
        record->chunk_bytes % MASTER_CHUNK_BYTES_UNIT != 0) {
        return PAWL_EFORMAT;
    }
    struct master_inode *inode;
    int rc = apply_inode(core, record->path, record->file_id, false, &inode);
    if (rc == 0) {
        inode->replicas = record->replicas;
        inode->min_replicas = record->min_replicas;
        inode->chunk_bytes = record->chunk_bytes;
        inode->created_ms = wall_ms;
        inode->modified_ms = wall_ms;
    }
    return rc;
}

static int apply_rename(struct master_core *core, const Pawl__Rename *record)
{
    char from[MASTER_PATH_MAX + 1];
    char to[MASTER_PATH_MAX + 1];
    struct master_inode *inode;
    struct master_inode *parent;
    const char *name;
    if (master_path_normalise(record->from, from) || master_resolve(core, from, &inode) ||
        !inode->parent || check_place(core, record->to, to, &parent, &name) ||
        master_inode_is_below(parent, inode)) {
        return PAWL_EFORMAT;
    }
    return master_inode_move(core, inode, parent, name);
}

static int apply_remove(struct master_core *core, const Pawl__LogRemove *record)
{
    char path[MASTER_PATH_MAX + 1];
    struct master_inode *inode;
    if (master_path_normalise(record->path, path) || master_resolve(core, path, &inode) ||
        !inode->parent) {
        return PAWL_EFORMAT;
    }
    master_inode_remove(core, inode);
    return 0;
}

static bool handle_is_new(const struct master_core *core, uint64_t handle)
{
    return handle != 0 && handle != UINT64_MAX && !master_chunk_get(core, handle);
}

static bool zeros_fit(const struct master_inode *file, uint64_t zero_bytes)
{
    return zero_bytes == 0 || (!file->written && zero_bytes <= file->chunk_bytes);
}

static int add_chunk(struct master_core *core, struct master_inode *file, uint64_t handle,
                     uint64_t zero_bytes, const uint64_t *set, size_t set_count)
{
    struct master_chunk *chunk;
    int rc = master_chunk_new(core, file, handle, &chunk);
    if (rc) {
        return rc;
    }
    chunk->zero_bytes = zero_bytes;
    master_chunk_set_place(chunk, set, set_count);
    rc = master_chunk_set_sessions(core, chunk);
    if (rc) {
        return rc;
    }
    core->next_handle = PAWL_MAX(core->next_handle, handle + 1);
    return 0;
}

static int apply_chunk_create(struct master_core *core, const Pawl__LogChunkCreate *record,
                              uint64_t wall_ms)
{
    struct master_inode *file = master_file_get(core, record->file_id);
    if (!file || file->directory || !handle_is_new(core, record->handle) ||
        !zeros_fit(file, record->zero_bytes) || check_set(core, record->set, record->n_set)) {
        return PAWL_EFORMAT;
    }
    const struct master_chunk *tail = master_file_tail(file);
    if (tail && !tail->sealed && !PAWL_MUTANT(successor_first)) {
        return PAWL_EFORMAT; // a file has at most one unsealed chunk
    }
    file->modified_ms = wall_ms;
    return add_chunk(core, file, record->handle, record->zero_bytes, record->set, record->n_set);
}

static int apply_chunk_place(struct master_core *core, const Pawl__LogChunkPlace *record)
{
    struct master_chunk *chunk = master_chunk_get(core, record->handle);
    if (!chunk || chunk->ready || record->version <= chunk->version ||
        check_set(core, record->set, record->n_set)) {
        return PAWL_EFORMAT;
    }
    chunk->version = record->version;
    master_chunk_set_place(chunk, record->set, record->n_set);
    return 0;
}

static int apply_chunk_ready(struct master_core *core, const Pawl__LogChunkReady *record)
{
    struct master_chunk *chunk = master_chunk_get(core, record->handle);
    if (!chunk || chunk->ready || chunk->set_count == 0) {
        return PAWL_EFORMAT;
    }
    chunk->ready = true;
    pawl_alloc_free(core->alloc, chunk->work->sessions);
    chunk->work->sessions = NULL;
    chunk->work->sessions_count = 0;
    return 0;
}

static int apply_chunk_version(struct master_core *core, const Pawl__LogChunkVersion *record)
{
    struct master_chunk *chunk = master_chunk_get(core, record->handle);
    if (!chunk || !chunk->ready || chunk->sealed || record->version <= chunk->version ||
        record->n_set == 0 || check_set(core, record->set, record->n_set)) {
        return PAWL_EFORMAT;
    }
    master_healing_cancel(core, chunk);
    chunk->version = record->version;
    master_chunk_set_place(chunk, record->set, record->n_set);
    core->recoveries_count += record->failure;
    return 0;
}

static int apply_chunk_seal(struct master_core *core, const Pawl__LogChunkSeal *record,
                            uint64_t wall_ms)
{
    struct master_chunk *chunk = master_chunk_get(core, record->handle);
    if (!chunk || chunk->sealed || record->version < chunk->version ||
        record->length > chunk->file->chunk_bytes || record->n_set == 0 ||
        (chunk->zero_bytes != 0 && record->length != chunk->zero_bytes) ||
        !zeros_fit(chunk->file, record->next_zero_bytes) ||
        check_set(core, record->set, record->n_set) ||
        check_set(core, record->next_set, record->n_next_set) ||
        (record->next_handle != 0 && !handle_is_new(core, record->next_handle))) {
        return PAWL_EFORMAT;
    }
    struct master_inode *file = chunk->file;
    chunk->version = record->version;
    chunk->length = record->length;
    chunk->count = record->count;
    master_chunk_set_place(chunk, record->set, record->n_set);
    master_chunk_set_sealed(core, chunk);
    file->sealed_bytes = chunk->base_offset + chunk->length;
    file->modified_ms = wall_ms;
    core->seals_count++;
    return record->next_handle == 0
               ? 0
               : add_chunk(core, file, record->next_handle, record->next_zero_bytes,
                           record->next_set, record->n_next_set);
}

static int apply_producer(struct master_core *core, const Pawl__LogProducer *record)
{
    struct master_inode *file = master_inode_get(core, record->file_id);
    if (!file || file->directory || record->epoch == 0 ||
        !master_text_is_clean(record->name, MASTER_NAME_MAX)) {
        return PAWL_EFORMAT;
    }
    struct master_producer *producer = master_producer_find(file, record->name);
    if (!producer) {
        int rc = master_producer_add(core, file, record->name, &producer);
        if (rc) {
            return rc;
        }
        producer->hi = record->producer_hi;
        producer->lo = record->producer_lo;
    } else if (producer->hi != record->producer_hi || producer->lo != record->producer_lo ||
               record->epoch <= producer->epoch) {
        return PAWL_EFORMAT;
    }
    producer->epoch = record->epoch;
    return 0;
}

static int apply_server(struct master_core *core, const Pawl__LogServer *record)
{
    if (record->server_id == 0 || !master_text_is_clean(record->name, MASTER_SERVER_NAME_MAX)) {
        return PAWL_EFORMAT;
    }
    return master_server_set(core, record->server_id, record->name);
}

static int apply_counters(struct master_core *core, const Pawl__LogCounters *record)
{
    if (record->next_file_id < core->next_file_id || record->next_handle < core->next_handle) {
        return PAWL_EFORMAT;
    }
    core->next_file_id = record->next_file_id;
    core->next_handle = record->next_handle;
    core->recoveries_count = record->recoveries_count;
    core->seals_count = record->seals_count;
    core->position = record->position != 0 ? record->position : core->position;
    return 0;
}

static int apply_body(struct master_core *core, const Pawl__LogRecord *record)
{
    switch (record->body_case) {
    case PAWL__LOG_RECORD__BODY_TERM:
        return apply_term(core, record->term);
    case PAWL__LOG_RECORD__BODY_MKDIR:
        return apply_mkdir(core, record->mkdir, record->wall_ms);
    case PAWL__LOG_RECORD__BODY_CREATE:
        return apply_create(core, record->create, record->wall_ms);
    case PAWL__LOG_RECORD__BODY_RENAME:
        return apply_rename(core, record->rename);
    case PAWL__LOG_RECORD__BODY_REMOVE:
        return apply_remove(core, record->remove);
    case PAWL__LOG_RECORD__BODY_CHUNK_CREATE:
        return apply_chunk_create(core, record->chunk_create, record->wall_ms);
    case PAWL__LOG_RECORD__BODY_CHUNK_PLACE:
        return apply_chunk_place(core, record->chunk_place);
    case PAWL__LOG_RECORD__BODY_CHUNK_READY:
        return apply_chunk_ready(core, record->chunk_ready);
    case PAWL__LOG_RECORD__BODY_CHUNK_VERSION:
        return apply_chunk_version(core, record->chunk_version);
    case PAWL__LOG_RECORD__BODY_CHUNK_SEAL:
        return apply_chunk_seal(core, record->chunk_seal, record->wall_ms);
    case PAWL__LOG_RECORD__BODY_PRODUCER:
        return apply_producer(core, record->producer);
    case PAWL__LOG_RECORD__BODY_SERVER:
        return apply_server(core, record->server);
    case PAWL__LOG_RECORD__BODY_COUNTERS:
        return apply_counters(core, record->counters);
    case PAWL__LOG_RECORD__BODY_SESSIONS:
        return master_apply_sessions(core, record->sessions);
    case PAWL__LOG_RECORD__BODY_SESSIONS_END:
        return master_apply_sessions_end(core, record->sessions_end);
    case PAWL__LOG_RECORD__BODY_CHUNK_SESSIONS:
        return master_apply_chunk_sessions(core, record->chunk_sessions);
    case PAWL__LOG_RECORD__BODY_LAST_CALL:
        return master_apply_last_call(core, record->last_call);
    case PAWL__LOG_RECORD__BODY_WRITE_LOG:
        return master_apply_write_log(core, record->write_log);
    case PAWL__LOG_RECORD__BODY_CHUNK_WRITTEN:
        return master_apply_chunk_written(core, record->chunk_written, record->wall_ms);
    default:
        return PAWL_EFORMAT;
    }
}

int master_apply(struct master_core *core, const Pawl__LogRecord *record)
{
    int rc = master_calls_before(core, record);
    rc = rc ? rc : apply_body(core, record);
    if (rc == 0) {
        master_calls_applied(core, record);
    }
    // Counters are the end of a snapshot, not a record of the log.
    core->position += rc == 0 && record->body_case != PAWL__LOG_RECORD__BODY_COUNTERS;
    return rc;
}
