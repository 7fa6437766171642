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

// What is committed in an open chunk, be it of the file or of a chunk's write log, is known to a primary.
static void want_reading(struct master_core *core, struct master_chunk *chunk)
{
    struct master_chunk *log_tail = chunk->log ? master_file_tail(chunk->log) : NULL;
    master_lease_want(core, chunk);
    if (log_tail && log_tail->ready && !core->failed) {
        master_lease_want(core, log_tail);
    }
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
