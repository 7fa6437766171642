// SPDX-License-Identifier: Apache-2.0
// The namespace, chunk maps and server lists: calls to the master.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "client/client_private.h"

static bool usable(const struct pawl *pawl, const char *path)
{
    return pawl != NULL && path != NULL && !pawl->in_callback;
}

int pawl_mkdir(struct pawl *pawl, const char *path, unsigned flags)
{
    if (!usable(pawl, path)) {
        return PAWL_EINVALID;
    }
    Pawl__Mkdir mkdir = PAWL__MKDIR__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_MKDIR;
    request.mkdir = &mkdir;
    mkdir.path = (char *)path;
    mkdir.parents = (flags & PAWL_PARENTS) != 0;
    uint32_t attempts = 0;
    int code = control_call(pawl, &request, client_deadline_ns(pawl, 0), NULL, NULL, &attempts);
    // The first attempt's answer may have been lost: the directory is there either way.
    return code == PAWL_EEXISTS && attempts > 1 ? 0 : code;
}

int pawl_rename(struct pawl *pawl, const char *from, const char *to)
{
    if (!usable(pawl, from) || to == NULL) {
        return PAWL_EINVALID;
    }
    Pawl__Rename rename = PAWL__RENAME__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_RENAME;
    request.rename = &rename;
    rename.from = (char *)from;
    rename.to = (char *)to;
    uint32_t attempts = 0;
    int code = control_call(pawl, &request, client_deadline_ns(pawl, 0), NULL, NULL, &attempts);
    return attempts > 1 && (code == PAWL_ENOTFOUND || code == PAWL_EEXISTS) ? PAWL_EUNKNOWN : code;
}

int pawl_remove(struct pawl *pawl, const char *path, unsigned flags)
{
    if (!usable(pawl, path)) {
        return PAWL_EINVALID;
    }
    Pawl__Remove remove = PAWL__REMOVE__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_REMOVE;
    request.remove = &remove;
    remove.path = (char *)path;
    remove.recursive = (flags & PAWL_RECURSIVE) != 0;
    uint32_t attempts = 0;
    int code = control_call(pawl, &request, client_deadline_ns(pawl, 0), NULL, NULL, &attempts);
    return code == PAWL_ENOTFOUND && attempts > 1 ? 0 : code;
}

// ---- stat and list ------------------------------------------------------------------------------

static void fill_stat(struct pawl_stat *stat, const Pawl__FileInfo *info)
{
    *stat = (struct pawl_stat){.file_id = info->file_id,
                               .bytes = info->sealed_bytes,
                               .chunk_bytes = info->chunk_bytes,
                               .created_ms = info->created_ms,
                               .modified_ms = info->modified_ms,
                               .chunks_count = info->chunks_count,
                               .replicas = info->replicas,
                               .min_replicas = info->min_replicas,
                               .directory = info->directory};
}

static int take_stat(void *user, const Pawl__Reply *reply)
{
    if (reply->body_case != PAWL__REPLY__BODY_FILE) {
        return PAWL_EPROTOCOL;
    }
    fill_stat(user, reply->file);
    return 0;
}

int pawl_stat_sealed(struct pawl *pawl, const char *path, struct pawl_stat *ret)
{
    if (!usable(pawl, path) || ret == NULL) {
        return PAWL_EINVALID;
    }
    Pawl__Stat stat = PAWL__STAT__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_STAT;
    request.stat = &stat;
    stat.path = (char *)path;
    struct pawl_stat found = {0};
    int code = control_call(pawl, &request, client_deadline_ns(pawl, 0), take_stat, &found, NULL);
    if (code == 0) {
        found.tail_unknown = !found.directory && found.chunks_count != 0;
        *ret = found;
    }
    return code;
}

int pawl_stat(struct pawl *pawl, const char *path, struct pawl_stat *ret)
{
    struct pawl_stat found;
    struct pawl_file *file;
    uint64_t bytes = 0;
    int code = pawl_stat_sealed(pawl, path, &found);
    if (code == 0 && found.tail_unknown) {
        code = pawl_open(pawl, path, &file);
        if (code == 0) {
            found.tail_unknown = pawl_file_bytes(file, &bytes) != 0;
            found.bytes = found.tail_unknown ? found.bytes : bytes;
            pawl_file_close(file);
        }
    }
    if (code == 0) {
        *ret = found;
    }
    return code;
}

struct list_wait {
    int (*visit)(void *user, const struct pawl_entry *entry);
    void *user;
    char after[256];
    bool more;
    int stopped;
};

static int take_list(void *user, const Pawl__Reply *reply)
{
    struct list_wait *wait = user;
    if (reply->body_case != PAWL__REPLY__BODY_FILES) {
        return PAWL_EPROTOCOL;
    }
    wait->more = reply->files->more;
    for (size_t i = 0; i < reply->files->n_files && wait->stopped == 0; i++) {
        const Pawl__FileInfo *info = reply->files->files[i];
        struct pawl_entry entry = {.name = info->name};
        fill_stat(&entry.stat, info);
        entry.stat.tail_unknown = !info->directory && info->chunks_count != 0;
        snprintf(wait->after, sizeof wait->after, "%s", info->name);
        wait->stopped = wait->visit(wait->user, &entry);
    }
    return 0;
}

int pawl_list(struct pawl *pawl, const char *path,
              int (*visit)(void *user, const struct pawl_entry *entry), void *user)
{
    if (!usable(pawl, path) || visit == NULL) {
        return PAWL_EINVALID;
    }
    struct list_wait wait = {.visit = visit, .user = user};
    int code;
    do {
        Pawl__List list = PAWL__LIST__INIT;
        Pawl__Request request = PAWL__REQUEST__INIT;
        request.body_case = PAWL__REQUEST__BODY_LIST;
        request.list = &list;
        list.path = (char *)path;
        char after[sizeof wait.after];
        memcpy(after, wait.after, sizeof after);
        list.after = after;
        wait.more = false;
        code = control_call(pawl, &request, client_deadline_ns(pawl, 0), take_list, &wait, NULL);
    } while (code == 0 && wait.more && wait.stopped == 0);
    return code != 0 ? code : wait.stopped;
}

// ---- chunks -------------------------------------------------------------------------------------

static const char *chunk_state(Pawl__ChunkState state)
{
    switch (state) {
    case PAWL__CHUNK_STATE__CHUNK_NEW:
        return "new";
    case PAWL__CHUNK_STATE__CHUNK_OPEN:
        return "open";
    case PAWL__CHUNK_STATE__CHUNK_SEALED:
        return "sealed";
    case PAWL__CHUNK_STATE__CHUNK_RECOVERING:
        return "recovering";
    default:
        return "unknown";
    }
}

static const char *server_state(Pawl__ServerState state)
{
    switch (state) {
    case PAWL__SERVER_STATE__SERVER_LIVE:
        return "live";
    case PAWL__SERVER_STATE__SERVER_SUSPECT:
        return "suspect";
    case PAWL__SERVER_STATE__SERVER_DEAD:
        return "dead";
    default:
        return "unknown";
    }
}

static void copy_text(char *to, size_t bytes, const char *from)
{
    snprintf(to, bytes, "%s", from == NULL ? "" : from);
}

static void fill_chunk(struct pawl_chunk_info *info, const Pawl__Chunk *chunk)
{
    *info = (struct pawl_chunk_info){.handle = chunk->handle,
                                     .version = chunk->version,
                                     .base_offset = chunk->base_offset,
                                     .bytes = chunk->length,
                                     .records_count = chunk->count,
                                     .lease_ms = chunk->lease_ms,
                                     .primary_id = chunk->primary_id,
                                     .index = chunk->index,
                                     .under_replicated = chunk->under_replicated};
    copy_text(info->state, sizeof info->state, chunk_state(chunk->state));
    for (size_t i = 0; i < chunk->n_replicas && i < PAWL_REPLICAS_MAX; i++) {
        const Pawl__Member *member = chunk->replicas[i];
        struct pawl_replica_info *replica = &info->replicas[info->replicas_count++];
        replica->server_id = member->server_id;
        replica->damaged = member->damaged;
        copy_text(replica->name, sizeof replica->name, member->name);
        copy_text(replica->state, sizeof replica->state, server_state(member->state));
    }
}

struct chunks_wait {
    int (*visit)(void *user, const struct pawl_chunk_info *chunk);
    void *user;
    uint32_t next;
    bool more;
    int stopped;
};

static int take_chunks(void *user, const Pawl__Reply *reply)
{
    struct chunks_wait *wait = user;
    if (reply->body_case != PAWL__REPLY__BODY_CHUNKS) {
        return PAWL_EPROTOCOL;
    }
    wait->more = reply->chunks->more && reply->chunks->n_chunks != 0;
    for (size_t i = 0; i < reply->chunks->n_chunks && wait->stopped == 0; i++) {
        struct pawl_chunk_info info;
        fill_chunk(&info, reply->chunks->chunks[i]);
        wait->next = info.index + 1;
        wait->stopped = wait->visit(wait->user, &info);
    }
    return 0;
}

int pawl_chunks(struct pawl *pawl, const char *path,
                int (*visit)(void *user, const struct pawl_chunk_info *chunk), void *user)
{
    if (!usable(pawl, path) || visit == NULL) {
        return PAWL_EINVALID;
    }
    struct pawl_file *file;
    int code = pawl_open(pawl, path, &file);
    if (code != 0) {
        return code;
    }
    struct chunks_wait wait = {.visit = visit, .user = user};
    do {
        Pawl__GetChunks get = PAWL__GET_CHUNKS__INIT;
        Pawl__Request request = PAWL__REQUEST__INIT;
        request.body_case = PAWL__REQUEST__BODY_GET_CHUNKS;
        request.get_chunks = &get;
        get.file_id = file->file_id;
        get.from_index = wait.next;
        code = control_call(pawl, &request, client_deadline_ns(pawl, 0), take_chunks, &wait, NULL);
    } while (code == 0 && wait.more && wait.stopped == 0);
    pawl_file_close(file);
    return code != 0 ? code : wait.stopped;
}

// ---- servers ------------------------------------------------------------------------------------

struct servers_wait {
    struct pawl_cluster_info *info;
    int (*visit)(void *user, const struct pawl_server_info *server);
    void *user;
    int stopped;
};

static int take_servers(void *user, const Pawl__Reply *reply)
{
    struct servers_wait *wait = user;
    if (reply->body_case != PAWL__REPLY__BODY_SERVERS) {
        return PAWL_EPROTOCOL;
    }
    const Pawl__ServerList *list = reply->servers;
    if (wait->info != NULL) {
        *wait->info =
            (struct pawl_cluster_info){.cluster_id = list->cluster_id,
                                       .term = list->term,
                                       .recoveries_count = list->recoveries_count,
                                       .seals_count = list->seals_count,
                                       .chunks_count = list->chunks_count,
                                       .under_replicated_count = list->under_replicated_count};
    }
    for (size_t i = 0; wait->visit != NULL && i < list->n_servers && wait->stopped == 0; i++) {
        const Pawl__ServerInfo *from = list->servers[i];
        struct pawl_server_info server = {.server_id = from->server_id,
                                          .space_bytes = from->space_bytes,
                                          .used_bytes = from->used_bytes,
                                          .heard_ms = from->last_heard_ms,
                                          .appends_count = from->appends_count,
                                          .duplicates_count = from->duplicates_count,
                                          .mismatches_count = from->mismatches_count,
                                          .chunks_count = from->chunks_count,
                                          .primaries_count = from->primaries_count};
        copy_text(server.name, sizeof server.name, from->name);
        copy_text(server.address, sizeof server.address, from->fabric_address);
        copy_text(server.location, sizeof server.location, from->location);
        copy_text(server.state, sizeof server.state, server_state(from->state));
        wait->stopped = wait->visit(wait->user, &server);
    }
    return 0;
}

int pawl_servers(struct pawl *pawl, struct pawl_cluster_info *info,
                 int (*visit)(void *user, const struct pawl_server_info *server), void *user)
{
    if (!usable(pawl, "")) {
        return PAWL_EINVALID;
    }
    Pawl__ListServers list = PAWL__LIST_SERVERS__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_LIST_SERVERS;
    request.list_servers = &list;
    struct servers_wait wait = {.info = info, .visit = visit, .user = user};
    int code = control_call(pawl, &request, client_deadline_ns(pawl, 0), take_servers, &wait, NULL);
    return code != 0 ? code : wait.stopped;
}
