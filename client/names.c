// SPDX-License-Identifier: Apache-2.0
// The namespace, chunk maps and server lists: calls to the master.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "client/client_private.h"

// Items of a reply, kept until the loop is left: what the caller's function calls may wait itself.
struct page {
    size_t item_bytes;
    uint8_t *items;
    size_t count;
};

static void *page_items(struct page *page, size_t count)
{
    page->items = calloc(count + 1, page->item_bytes);
    page->count = page->items != NULL ? count : 0;
    return page->items;
}

static void page_free(struct page *page)
{
    free(page->items);
    page->items = NULL;
    page->count = 0;
}

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
    return control_call_once(pawl, &request, client_deadline_ns(pawl, 0), NULL, NULL);
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
    return control_call_once(pawl, &request, client_deadline_ns(pawl, 0), NULL, NULL);
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
    return control_call_once(pawl, &request, client_deadline_ns(pawl, 0), NULL, NULL);
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

#define LIST_NAME_BYTES 256

struct list_item {
    struct pawl_stat stat;
    char name[LIST_NAME_BYTES];
};

struct list_wait {
    struct page page;
    const char *after;
    bool more;
};

// Names rise from page to page: a list always ends.
static int take_list(void *user, const Pawl__Reply *reply)
{
    struct list_wait *wait = user;
    if (reply->body_case != PAWL__REPLY__BODY_FILES) {
        return PAWL_EPROTOCOL;
    }
    const Pawl__FileList *list = reply->files;
    struct list_item *items = page_items(&wait->page, list->n_files);
    if (items == NULL) {
        return -ENOMEM;
    }
    const char *before = wait->after;
    for (size_t i = 0; i < list->n_files; i++) {
        const Pawl__FileInfo *info = list->files[i];
        if (strlen(info->name) >= LIST_NAME_BYTES || strcmp(info->name, before) <= 0) {
            page_free(&wait->page);
            return PAWL_EPROTOCOL;
        }
        fill_stat(&items[i].stat, info);
        items[i].stat.tail_unknown = !info->directory && info->chunks_count != 0;
        strcpy(items[i].name, info->name); // bounded above
        before = items[i].name;
    }
    wait->more = list->more && list->n_files != 0;
    return 0;
}

static int list_page(struct pawl *pawl, const char *path, struct list_wait *wait)
{
    Pawl__List list = PAWL__LIST__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_LIST;
    request.list = &list;
    list.path = (char *)path;
    list.after = (char *)wait->after;
    return control_call(pawl, &request, client_deadline_ns(pawl, 0), take_list, wait, NULL);
}

int pawl_list(struct pawl *pawl, const char *path,
              int (*visit)(void *user, const struct pawl_entry *entry), void *user)
{
    if (!usable(pawl, path) || visit == NULL) {
        return PAWL_EINVALID;
    }
    char after[LIST_NAME_BYTES] = "";
    struct list_wait wait;
    int code;
    do {
        wait = (struct list_wait){.page.item_bytes = sizeof(struct list_item), .after = after};
        code = list_page(pawl, path, &wait);
        const struct list_item *items = (const struct list_item *)wait.page.items;
        for (size_t i = 0; i < wait.page.count && code == 0; i++) {
            struct pawl_entry entry = {.name = items[i].name, .stat = items[i].stat};
            memcpy(after, items[i].name, sizeof after);
            code = visit(user, &entry);
        }
        page_free(&wait.page);
    } while (code == 0 && wait.more);
    return code;
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
                                     .under_replicated = chunk->under_replicated,
                                     .log_chunks_count = chunk->log_chunks,
                                     .log_bytes = chunk->log_bytes,
                                     .log_under_replicated = chunk->log_under_replicated};
    copy_text(info->state, sizeof info->state, chunk_state(chunk->state));
    for (size_t i = 0; i < chunk->n_replicas && i < PAWL_REPLICAS_MAX; i++) {
        const Pawl__Member *member = chunk->replicas[i];
        struct pawl_replica_info *replica = &info->replicas[info->replicas_count++];
        replica->server_id = member->server_id;
        replica->damaged = member->damaged;
        copy_text(replica->name, sizeof replica->name, member->name);
        copy_text(replica->address, sizeof replica->address, member->fabric_address);
        copy_text(replica->state, sizeof replica->state, server_state(member->state));
    }
}

struct chunks_wait {
    struct page page;
    uint32_t next;
    bool more;
};

static int take_chunks(void *user, const Pawl__Reply *reply)
{
    struct chunks_wait *wait = user;
    if (reply->body_case != PAWL__REPLY__BODY_CHUNKS) {
        return PAWL_EPROTOCOL;
    }
    struct pawl_chunk_info *items = page_items(&wait->page, reply->chunks->n_chunks);
    if (items == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < reply->chunks->n_chunks; i++) {
        fill_chunk(&items[i], reply->chunks->chunks[i]);
        if (items[i].index != wait->next++) {
            page_free(&wait->page);
            return PAWL_EPROTOCOL;
        }
    }
    wait->more = reply->chunks->more && reply->chunks->n_chunks != 0;
    return 0;
}

static int chunks_page(struct pawl_file *file, struct chunks_wait *wait)
{
    Pawl__GetChunks get = PAWL__GET_CHUNKS__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_GET_CHUNKS;
    request.get_chunks = &get;
    get.file_id = file->file_id;
    get.from_index = wait->next;
    return control_call(file->pawl, &request, client_deadline_ns(file->pawl, 0), take_chunks, wait,
                        NULL);
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
    struct chunks_wait wait = {.page.item_bytes = sizeof(struct pawl_chunk_info)};
    do {
        wait.more = false;
        code = chunks_page(file, &wait);
        const struct pawl_chunk_info *items = (const struct pawl_chunk_info *)wait.page.items;
        for (size_t i = 0; i < wait.page.count && code == 0; i++) {
            code = visit(user, &items[i]);
        }
        page_free(&wait.page);
    } while (code == 0 && wait.more);
    pawl_file_close(file);
    return code;
}

// ---- servers ------------------------------------------------------------------------------------

struct servers_wait {
    struct page page;
    struct pawl_cluster_info info;
};

static void fill_server(struct pawl_server_info *server, const Pawl__ServerInfo *from)
{
    *server = (struct pawl_server_info){.server_id = from->server_id,
                                        .space_bytes = from->space_bytes,
                                        .used_bytes = from->used_bytes,
                                        .heard_ms = from->last_heard_ms,
                                        .appends_count = from->appends_count,
                                        .duplicates_count = from->duplicates_count,
                                        .mismatches_count = from->mismatches_count,
                                        .chunks_count = from->chunks_count,
                                        .primaries_count = from->primaries_count,
                                        .stored_bytes = from->stored_bytes,
                                        .copied_bytes = from->copied_bytes,
                                        .written_back_bytes = from->written_back_bytes,
                                        .read_bytes = from->read_bytes,
                                        .read_copied_bytes = from->read_copied_bytes,
                                        .relayed_count = from->relayed_count,
                                        .relays_failed_count = from->relays_failed_count,
                                        .recycled_files_count = from->recycled_files_count};
    copy_text(server->name, sizeof server->name, from->name);
    copy_text(server->address, sizeof server->address, from->fabric_address);
    copy_text(server->location, sizeof server->location, from->location);
    copy_text(server->state, sizeof server->state, server_state(from->state));
}

static int take_servers(void *user, const Pawl__Reply *reply)
{
    struct servers_wait *wait = user;
    if (reply->body_case != PAWL__REPLY__BODY_SERVERS) {
        return PAWL_EPROTOCOL;
    }
    const Pawl__ServerList *list = reply->servers;
    struct pawl_server_info *items = page_items(&wait->page, list->n_servers);
    if (items == NULL) {
        return -ENOMEM;
    }
    wait->info = (struct pawl_cluster_info){.cluster_id = list->cluster_id,
                                            .term = list->term,
                                            .recoveries_count = list->recoveries_count,
                                            .seals_count = list->seals_count,
                                            .chunks_count = list->chunks_count,
                                            .under_replicated_count = list->under_replicated_count};
    for (size_t i = 0; i < list->n_servers; i++) {
        fill_server(&items[i], list->servers[i]);
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
    struct servers_wait wait = {.page.item_bytes = sizeof(struct pawl_server_info)};
    int code = control_call(pawl, &request, client_deadline_ns(pawl, 0), take_servers, &wait, NULL);
    if (code == 0 && info != NULL) {
        *info = wait.info;
    }
    const struct pawl_server_info *items = (const struct pawl_server_info *)wait.page.items;
    for (size_t i = 0; visit != NULL && i < wait.page.count && code == 0; i++) {
        code = visit(user, &items[i]);
    }
    page_free(&wait.page);
    return code;
}
