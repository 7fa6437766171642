// SPDX-License-Identifier: Apache-2.0
// Requests about chunks, producers and servers.
#include "base/hash.h"
#include "base/mark.h"
#include "controlplane/core/master_core_private.h"

struct master_inode *master_request_file(struct master_core *core, uint64_t request,
                                         uint64_t file_id)
{
    struct master_inode *file = master_inode_get(core, file_id);
    if (!file || file->directory) {
        master_reply_code(core, request,
                          file ? PAWL_EISDIR : master_file_missing_code(core, file_id), NULL);
        return NULL;
    }
    return file;
}

static bool lease_is_held(const struct master_core *core, const struct master_chunk *chunk)
{
    return chunk->work && chunk->work->phase == MASTER_PHASE_GRANTED &&
           chunk->work->lease_until_ns > core->now_ns;
}

// Somebody wants to append to the chunk, or to read what only a primary knows to be committed.
static void want_lease(struct master_core *core, struct master_chunk *chunk)
{
    if (chunk->sealed || lease_is_held(core, chunk)) {
        return;
    }
    if (chunk->ready) {
        uint64_t server_id =
            chunk->work->phase == MASTER_PHASE_GRANTED ? chunk->work->primary_id : 0;
        master_chunk_want(core, chunk, MASTER_CAUSE_UNLEASED, server_id);
    } else {
        chunk->work->asked_for = true;
        master_chunk_drive(core, chunk);
    }
}

// What is committed in an open chunk, be it of the file or of a chunk's write log, is known to a primary.
static void want_reading(struct master_core *core, struct master_chunk *chunk)
{
    struct master_chunk *log_tail = chunk->log ? master_file_tail(chunk->log) : NULL;
    want_lease(core, chunk);
    if (log_tail && log_tail->ready && !core->failed) {
        want_lease(core, log_tail);
    }
}

// ---- the tail ------------------------------------------------------------------------------------

static bool hint_is_about_reach(int code)
{
    switch (code) {
    case PAWL_EDISCONNECTED:
    case PAWL_EDEADLINE:
    case PAWL_ESTALE:
    case PAWL_ENOTPRIMARY:
    case PAWL_ENOCHUNK:
    case PAWL_ESHUTDOWN:
        return true;
    default:
        return false;
    }
}

// The primary reports a full chunk when its last records are committed; a fence before that would
// turn each of them into a retry. True while it has time left to do so.
static bool full_can_wait(struct master_core *core, struct master_work *work)
{
    if (work->phase != MASTER_PHASE_GRANTED) {
        return false;
    }
    work->full_ns = work->full_ns != 0 ? work->full_ns : core->now_ns;
    return core->now_ns < work->full_ns + master_ms_to_ns(MASTER_FULL_MS);
}

static bool is_full_hint(const struct master_chunk *chunk, const Pawl__Hint *hint)
{
    return chunk && hint && hint->code == PAWL_ECHUNKFULL && hint->handle == chunk->handle &&
           hint->version == chunk->version;
}

// A hint counts when it names what is true now. It can cost a fence, never a record.
static void take_hint(struct master_core *core, struct master_chunk *chunk, const Pawl__Hint *hint)
{
    if (!chunk || hint->handle != chunk->handle || hint->version != chunk->version ||
        !chunk->ready) {
        return;
    }
    struct master_work *work = chunk->work;
    if (hint->code == PAWL_ECHUNKFULL) {
        if (!full_can_wait(core, work)) {
            PAWL_MARK(hint_of_full_chunk);
            master_chunk_want(core, chunk, MASTER_CAUSE_FULL, 0);
        }
        return;
    }
    bool of_primary = hint->server_id == 0 || hint->server_id == work->primary_id;
    bool young = core->now_ns < work->granted_ns + master_ms_to_ns(MASTER_HINT_MS);
    if (work->phase == MASTER_PHASE_GRANTED && hint_is_about_reach(hint->code) && of_primary &&
        !young) {
        PAWL_MARK(hint_starts_recovery);
        master_chunk_want(core, chunk, MASTER_CAUSE_HINT, work->primary_id);
    }
}

int master_file_create_chunk(struct master_core *core, struct master_inode *file)
{
    uint64_t set[MASTER_SET_MAX];
    uint32_t count;
    int rc = master_place(core, file, set, &count);
    if (rc) {
        return rc;
    }
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_CHUNK_CREATE);
    record->chunk_create = MASTER_MESSAGE(core, Pawl__LogChunkCreate, pawl__log_chunk_create__init);
    record->chunk_create->file_id = file->id;
    record->chunk_create->handle = core->next_handle;
    record->chunk_create->set = master_arena_ids(core, set, count);
    record->chunk_create->n_set = count;
    record->chunk_create->zero_bytes = master_extend_zero_bytes(file, file->sealed_bytes);
    master_log(core, record);
    if (!core->failed) {
        master_place_reserve(core, set, count, file->chunk_bytes);
        master_file_tail(file)->work->asked_for = true;
        master_chunk_drive(core, master_file_tail(file));
    }
    return 0;
}

static void reply_tail(struct master_core *core, uint64_t request, const struct master_inode *file)
{
    const struct master_chunk *chunk = master_file_tail(file);
    Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY_TAIL);
    reply->tail = MASTER_MESSAGE(core, Pawl__Tail, pawl__tail__init);
    reply->tail->chunk_bytes = file->chunk_bytes;
    if (chunk) {
        reply->tail->chunk = master_chunk_message(core, chunk);
    }
    master_reply(core, request, reply);
}

void master_reply_no_lease(struct master_core *core, uint64_t request,
                           const struct master_chunk *chunk)
{
    const struct master_work *work = chunk->work;
    if (work->phase == MASTER_PHASE_WAITING) {
        uint64_t set[MASTER_SET_MAX];
        uint32_t count;
        int rc = master_place(core, chunk->file, set, &count);
        if (rc) {
            master_reply_code(core, request, rc, "chunk %lu waits for chunk servers",
                              chunk->handle);
            return;
        }
    }
    if (work->blocked) {
        master_reply_code(core, request, work->all_heard ? PAWL_EDAMAGED : PAWL_EBUSY,
                          "chunk %lu: its replicas lack committed records; see the master's log",
                          chunk->handle);
        return;
    }
    master_reply_code(core, request, PAWL_EBUSY, "chunk %lu version %lu is being %s", chunk->handle,
                      chunk->version, chunk->ready ? "recovered" : "opened");
}

void master_request_get_tail(struct master_core *core, const struct master_event *event)
{
    const Pawl__GetTail *get_tail = event->message->get_tail;
    struct master_inode *file = master_log_get(core, get_tail->file_id);
    if (!file) {
        file = master_request_file(core, event->request, get_tail->file_id);
    }
    if (!file) {
        return;
    }
    if (get_tail->hint) {
        take_hint(core, master_file_tail(file), get_tail->hint);
    }
    struct master_chunk *chunk = master_file_tail(file);
    if (get_tail->append && (!chunk || chunk->sealed)) {
        int rc = master_file_create_chunk(core, file);
        if (rc) {
            master_reply_code(core, event->request, rc,
                              "the file wants %u replicas, %u at least; start chunk servers",
                              file->replicas, file->min_replicas);
            return;
        }
        chunk = master_file_tail(file);
    }
    if (chunk && !core->failed) {
        want_lease(core, chunk);
        chunk = master_file_tail(file);
    }
    // A tail that is known to be full is no answer: its client would only come back at once.
    if (get_tail->append && is_full_hint(chunk, get_tail->hint)) {
        master_reply_code(core, event->request, PAWL_EBUSY, "chunk %lu is full and being sealed",
                          chunk->handle);
        return;
    }
    if (get_tail->append && chunk && !lease_is_held(core, chunk)) {
        if (chunk->work) {
            master_reply_no_lease(core, event->request, chunk);
        } else {
            master_reply_code(core, event->request, PAWL_EBUSY, NULL);
        }
        return;
    }
    reply_tail(core, event->request, file);
}

// ---- chunks --------------------------------------------------------------------------------------

static void reply_one_chunk(struct master_core *core, const struct master_event *event)
{
    const Pawl__GetChunks *get = event->message->get_chunks;
    struct master_chunk *chunk = master_chunk_get(core, get->handle);
    if (!chunk || (get->file_id != 0 && chunk->file->id != get->file_id)) {
        int code = get->handle < core->next_handle ? PAWL_EDELETED : PAWL_ENOTFOUND;
        master_reply_code(core, event->request, code, NULL);
        return;
    }
    want_reading(core, chunk);
    Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY_CHUNKS);
    reply->chunks = MASTER_MESSAGE(core, Pawl__ChunkList, pawl__chunk_list__init);
    reply->chunks->chunks = master_arena_alloc(core, sizeof(Pawl__Chunk *));
    reply->chunks->chunks[reply->chunks->n_chunks++] = master_chunk_message(core, chunk);
    master_reply(core, event->request, reply);
}

void master_request_get_chunks(struct master_core *core, const struct master_event *event)
{
    const Pawl__GetChunks *get = event->message->get_chunks;
    if (get->handle != 0) {
        reply_one_chunk(core, event);
        return;
    }
    struct master_inode *file = master_request_file(core, event->request, get->file_id);
    if (!file) {
        return;
    }
    uint32_t count = get->count ? PAWL_MIN(get->count, MASTER_PAGE_MAX) : MASTER_PAGE_DEFAULT;
    Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY_CHUNKS);
    Pawl__ChunkList *list = MASTER_MESSAGE(core, Pawl__ChunkList, pawl__chunk_list__init);
    reply->chunks = list;
    list->chunks = master_arena_alloc(core, count * sizeof(Pawl__Chunk *));
    uint64_t index = get->from_index;
    for (; index < file->chunks_count && list->n_chunks < count; index++) {
        struct master_chunk *chunk = file->chunks[index];
        want_reading(core, chunk);
        list->chunks[list->n_chunks++] = master_chunk_message(core, chunk);
    }
    list->more = index < file->chunks_count;
    master_reply(core, event->request, reply);
}

// ---- producers -----------------------------------------------------------------------------------

static void producer_id(struct master_core *core, uint64_t *ret_hi, uint64_t *ret_lo)
{
    // Drawn, and mixed with the cluster, so that two clusters with one seed differ. Never 0, which
    // would read as "none".
    *ret_hi = (pawl_random_next(&core->random) ^ pawl_hash_u64(core->cluster_id)) | 1;
    *ret_lo = pawl_random_next(&core->random) ^ pawl_hash_u64(core->cluster_id + core->wall_ms);
}

void master_request_open_producer(struct master_core *core, const struct master_event *event)
{
    const Pawl__OpenProducer *open = event->message->open_producer;
    struct master_inode *file = master_request_file(core, event->request, open->file_id);
    if (!file) {
        return;
    }
    if (!open->name || !master_text_is_clean(open->name, MASTER_NAME_MAX)) {
        master_reply_code(core, event->request, PAWL_EINVALID,
                          "a producer's name is UTF-8 of 1 to %u bytes", MASTER_NAME_MAX);
        return;
    }
    const struct master_producer *known = master_producer_find(file, open->name);
    if (known ? known->epoch == UINT32_MAX : file->producers_count >= MASTER_PRODUCERS_MAX) {
        master_reply_code(core, event->request, PAWL_ELIMIT, NULL);
        return;
    }
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_PRODUCER);
    Pawl__LogProducer *logged = MASTER_MESSAGE(core, Pawl__LogProducer, pawl__log_producer__init);
    record->producer = logged;
    logged->file_id = file->id;
    logged->name = master_arena_text(core, open->name);
    logged->epoch = known ? known->epoch + 1 : 1;
    if (known) {
        logged->producer_hi = known->hi;
        logged->producer_lo = known->lo;
    } else {
        producer_id(core, &logged->producer_hi, &logged->producer_lo);
    }
    master_log(core, record);
    Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY_PRODUCER);
    reply->producer = MASTER_MESSAGE(core, Pawl__Producer, pawl__producer__init);
    reply->producer->producer_hi = logged->producer_hi;
    reply->producer->producer_lo = logged->producer_lo;
    reply->producer->epoch = logged->epoch;
    master_reply(core, event->request, reply);
}

// ---- servers -------------------------------------------------------------------------------------

static Pawl__ServerInfo *server_info(struct master_core *core, const struct master_server *server)
{
    Pawl__ServerInfo *info = MASTER_MESSAGE(core, Pawl__ServerInfo, pawl__server_info__init);
    info->server_id = server->id;
    info->incarnation = server->incarnation;
    info->name = master_arena_text(core, server->name);
    info->fabric_address = master_arena_text(core, server->address);
    info->location = master_arena_text(core, server->location);
    info->state = (Pawl__ServerState)server->state;
    info->space_bytes = server->space_bytes;
    info->used_bytes = server->used_bytes;
    info->chunks_count = server->chunks_count;
    info->primaries_count = server->primaries_count;
    info->appends_count = server->appends_count;
    info->duplicates_count = server->duplicates_count;
    info->mismatches_count = server->mismatches_count;
    info->stored_bytes = server->stored_bytes;
    info->copied_bytes = server->copied_bytes;
    info->written_back_bytes = server->written_back_bytes;
    info->read_bytes = server->read_bytes;
    info->read_copied_bytes = server->read_copied_bytes;
    info->relayed_count = server->relayed_count;
    info->relays_failed_count = server->relays_failed_count;
    info->recycled_files_count = server->recycled_files_count;
    if (server->state != MASTER_SERVER_UNKNOWN) {
        info->last_heard_ms = (core->now_ns - server->heard_ns) / MASTER_NS_PER_MS;
    }
    return info;
}

static uint64_t under_replicated_count(const struct master_core *core)
{
    uint64_t count = 0;
    size_t cursor = 0;
    uint64_t handle;
    void *value;
    while (pawl_map_iterate(&core->chunks, &cursor, &handle, &value)) {
        const struct master_chunk *chunk = value;
        count += master_chunk_good_count(core, chunk) < chunk->file->replicas;
    }
    return count;
}

void master_request_list_servers(struct master_core *core, const struct master_event *event)
{
    Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY_SERVERS);
    Pawl__ServerList *list = MASTER_MESSAGE(core, Pawl__ServerList, pawl__server_list__init);
    reply->servers = list;
    list->cluster_id = core->cluster_id;
    list->term = core->term;
    list->recoveries_count = core->recoveries_count;
    list->seals_count = core->seals_count;
    list->chunks_count = pawl_map_count(&core->chunks);
    list->under_replicated_count = under_replicated_count(core);
    list->servers = master_arena_alloc(core, (core->servers_count + 1) * sizeof(*list->servers));
    for (uint32_t i = 0; list->servers && i < core->servers_count; i++) {
        list->servers[list->n_servers++] = server_info(core, core->servers_order[i]);
    }
    master_reply(core, event->request, reply);
}
