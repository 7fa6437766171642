// SPDX-License-Identifier: Apache-2.0
// The played cluster's master: an RPC server that answers from the script.
#include <stdio.h>

#include "cluster_private.h"

#define PAGE_MAX 100

// A reply's parts live until it is packed.
struct parts {
    Pawl__Reply reply;
    Pawl__FileInfo info;
    Pawl__FileInfo infos[PAGE_MAX];
    Pawl__FileInfo *info_list[PAGE_MAX];
    char names[PAGE_MAX][16];
    Pawl__FileList files;
    Pawl__Chunk chunks[CLUSTER_CHUNKS];
    Pawl__Chunk *chunk_list[CLUSTER_CHUNKS];
    Pawl__ChunkList chunk_page;
    Pawl__Member members[CLUSTER_SERVERS];
    Pawl__Member *member_list[CLUSTER_SERVERS];
    Pawl__Tail tail;
    Pawl__WriteLog write_log;
    Pawl__Producer producer;
    Pawl__ServerList servers;
    Pawl__Session session;
};

static void say_chunk(const struct cluster *cluster, struct parts *parts, unsigned index,
                      Pawl__Chunk *chunk)
{
    const struct cluster_chunk *from = &cluster->chunks[index];
    pawl__chunk__init(chunk);
    chunk->handle = from->handle;
    chunk->index = index;
    chunk->base_offset = cluster_base(cluster, index);
    if (cluster->master.gap && index > 0) {
        chunk->base_offset += 1;
    }
    chunk->length = from->sealed ? from->bytes : 0;
    chunk->version = from->version;
    chunk->state = from->sealed ? PAWL__CHUNK_STATE__CHUNK_SEALED : PAWL__CHUNK_STATE__CHUNK_OPEN;
    chunk->primary_id = from->primary == 0 ? 0 : CLUSTER_ID(from->primary);
    chunk->n_replicas = cluster->master.no_replicas ? 0 : CLUSTER_SERVERS;
    chunk->replicas = parts->member_list;
    chunk->log_chunks = cluster->logs[index].handle != 0 ? 1 : 0;
    chunk->log_bytes = cluster->logs[index].sealed ? cluster->logs[index].bytes : 0;
    chunk->log_under_replicated =
        cluster->logs[index].sealed; // nothing else is told of sealed ones
}

static void say_members(struct cluster *cluster, struct parts *parts)
{
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        Pawl__Member *member = &parts->members[i];
        pawl__member__init(member);
        member->server_id = CLUSTER_ID(i + 1);
        member->name = cluster->servers[i].name;
        member->fabric_address = cluster->servers[i].addresses;
        member->state = PAWL__SERVER_STATE__SERVER_LIVE;
        parts->member_list[i] = member;
    }
}

static void say_info(const struct cluster *cluster, Pawl__FileInfo *info)
{
    pawl__file_info__init(info);
    info->file_id = CLUSTER_FILE;
    info->chunk_bytes = CLUSTER_CHUNK_BYTES;
    info->chunks_count = cluster->chunks_count;
    info->replicas = CLUSTER_SERVERS;
}

static void say_files(struct cluster *cluster, struct parts *parts, const Pawl__List *list)
{
    unsigned from = list->after[0] == '\0' || cluster->master.endless
                        ? 0
                        : (unsigned)strtoul(list->after + 1, NULL, 10) + 1;
    unsigned count = 0;
    for (; from + count < cluster->master.entries_count && count < PAGE_MAX; count++) {
        say_info(cluster, &parts->infos[count]);
        snprintf(parts->names[count], sizeof parts->names[count], "n%06u", from + count);
        parts->infos[count].name = parts->names[count];
        parts->info_list[count] = &parts->infos[count];
    }
    parts->files.files = parts->info_list;
    parts->files.n_files = count;
    parts->files.more = cluster->master.endless || from + count < cluster->master.entries_count;
    parts->reply.body_case = PAWL__REPLY__BODY_FILES;
    parts->reply.files = &parts->files;
}

// Two chunks a page, so that there are pages.
static void say_chunks(const struct cluster *cluster, struct parts *parts,
                       const Pawl__GetChunks *get)
{
    unsigned from = get->handle != 0 ? (unsigned)(get->handle - CLUSTER_HANDLE) : get->from_index;
    unsigned most = get->handle != 0 ? 1 : 2;
    unsigned count = 0;
    for (; from + count < cluster->chunks_count && count < most; count++) {
        say_chunk(cluster, parts, from + count, &parts->chunks[count]);
        parts->chunk_list[count] = &parts->chunks[count];
    }
    parts->chunk_page.chunks = parts->chunk_list;
    parts->chunk_page.n_chunks = count;
    parts->chunk_page.more = get->handle == 0 && from + count < cluster->chunks_count;
    parts->reply.body_case = PAWL__REPLY__BODY_CHUNKS;
    parts->reply.chunks = &parts->chunk_page;
}

static void say_tail(struct cluster *cluster, struct parts *parts, const Pawl__GetTail *get)
{
    cluster->master.hints_count += get->hint != NULL;
    if (get->file_id >= CLUSTER_LOG) {
        const struct cluster_chunk *log = &cluster->logs[get->file_id - CLUSTER_LOG];
        say_chunk(cluster, parts, 0, &parts->chunks[0]); // the same replicas
        parts->chunks[0].handle = log->handle;
        parts->chunks[0].length = 0;
        parts->chunks[0].state = PAWL__CHUNK_STATE__CHUNK_OPEN;
        parts->chunks[0].primary_id = CLUSTER_ID(log->primary);
    } else {
        say_chunk(cluster, parts, cluster->chunks_count - 1, &parts->chunks[0]);
    }
    parts->tail.chunk = &parts->chunks[0];
    parts->tail.chunk_bytes = CLUSTER_CHUNK_BYTES;
    parts->reply.body_case = PAWL__REPLY__BODY_TAIL;
    parts->reply.tail = &parts->tail;
}

static void say_write_log(struct cluster *cluster, struct parts *parts,
                          const Pawl__OpenWriteLog *open)
{
    unsigned index = (unsigned)(open->handle - CLUSTER_HANDLE);
    if (index >= cluster->chunks_count || !cluster->chunks[index].sealed) {
        parts->reply.code = PAWL_EBUSY;
        return;
    }
    parts->write_log.file_id = log_open(cluster, index)->handle;
    parts->write_log.chunk_bytes = CLUSTER_CHUNK_BYTES;
    parts->reply.body_case = PAWL__REPLY__BODY_WRITE_LOG;
    parts->reply.write_log = &parts->write_log;
}

static void say_seal(struct cluster *cluster, struct parts *parts, const Pawl__SealTail *seal)
{
    struct cluster_master *master = &cluster->master;
    const struct cluster_chunk *tail = &cluster->chunks[cluster->chunks_count - 1];
    master->seals_count++;
    if (master->seal_busy_left != 0) {
        master->seal_busy_left--;
        parts->reply.code = PAWL_EBUSY;
    } else if (tail->handle == seal->handle) {
        tail_seal(cluster);
    }
}

static void say_session(struct cluster *cluster, struct parts *parts, const Pawl__OpenSession *open)
{
    struct cluster_master *master = &cluster->master;
    master->sessions_count++;
    master->last_session = open->session_id;
    // One that the script has ended is answered with another.
    bool lives = open->session_id > master->session_ended;
    parts->session.session_id = lives ? open->session_id : master->session_ended + 1;
    parts->session.cluster_id = 0xc1;
    parts->reply.body_case = PAWL__REPLY__BODY_SESSION;
    parts->reply.session = &parts->session;
}

static void say(struct cluster *cluster, struct parts *parts, const Pawl__Request *request)
{
    int body = (int)request->body_case;
    if (body == PAWL__REQUEST__BODY_CREATE || body == PAWL__REQUEST__BODY_STAT) {
        say_info(cluster, &parts->info);
        parts->reply.body_case = PAWL__REPLY__BODY_FILE;
        parts->reply.file = &parts->info;
    } else if (body == PAWL__REQUEST__BODY_LIST) {
        say_files(cluster, parts, request->list);
    } else if (body == PAWL__REQUEST__BODY_GET_CHUNKS) {
        say_chunks(cluster, parts, request->get_chunks);
    } else if (body == PAWL__REQUEST__BODY_GET_TAIL) {
        say_tail(cluster, parts, request->get_tail);
    } else if (body == PAWL__REQUEST__BODY_OPEN_PRODUCER) {
        parts->producer.producer_hi = 1;
        parts->producer.producer_lo = 2;
        parts->producer.epoch = ++cluster->epoch;
        parts->reply.body_case = PAWL__REPLY__BODY_PRODUCER;
        parts->reply.producer = &parts->producer;
    } else if (body == PAWL__REQUEST__BODY_OPEN_WRITE_LOG) {
        say_write_log(cluster, parts, request->open_write_log);
    } else if (body == PAWL__REQUEST__BODY_SEAL_TAIL) {
        say_seal(cluster, parts, request->seal_tail);
    } else if (body == PAWL__REQUEST__BODY_OPEN_SESSION) {
        say_session(cluster, parts, request->open_session);
    } else if (body == PAWL__REQUEST__BODY_LIST_SERVERS) {
        parts->servers.cluster_id = 0xc1;
        parts->reply.body_case = PAWL__REPLY__BODY_SERVERS;
        parts->reply.servers = &parts->servers;
    }
}

// ---- calls that change names ----------------------------------------------------------------------

static bool changes_names(const Pawl__Request *request)
{
    return request->body_case == PAWL__REQUEST__BODY_MKDIR ||
           request->body_case == PAWL__REQUEST__BODY_CREATE ||
           request->body_case == PAWL__REQUEST__BODY_RENAME ||
           request->body_case == PAWL__REQUEST__BODY_REMOVE;
}

// "/log" comes and goes; whatever is done to other names succeeds.
static int carry_out(struct cluster_master *master, const Pawl__Request *request)
{
    bool there = master->log_there;
    if (request->body_case == PAWL__REQUEST__BODY_REMOVE &&
        strcmp(request->remove->path, "/log") == 0) {
        master->log_there = false;
        return there ? 0 : PAWL_ENOTFOUND;
    }
    if (request->body_case == PAWL__REQUEST__BODY_CREATE &&
        strcmp(request->create->path, "/log") == 0) {
        master->log_there = true;
        return there && request->create->exclusive ? PAWL_EEXISTS : 0;
    }
    return 0;
}

static int say_call(struct cluster *cluster, const Pawl__Request *request)
{
    struct cluster_master *master = &cluster->master;
    const Pawl__Call *call = request->call;
    if (call == NULL) {
        return PAWL_EINTERNAL; // the library has forgotten it
    }
    if (call->session_id <= master->session_ended) {
        return PAWL_ESESSION;
    }
    if (call->session_id != master->call_session || call->number > master->call_number) {
        master->call_session = call->session_id;
        master->call_number = call->number;
        master->call_code = carry_out(master, request);
        master->calls_count++;
    } else if (call->number < master->call_number) {
        return PAWL_ESTALE;
    }
    return master->call_code;
}

static void on_request(void *user, struct rpc_conn *conn, uint64_t request_id,
                       const Pawl__Request *request)
{
    struct cluster *cluster = user;
    struct cluster_master *master = &cluster->master;
    master->requests_count++;
    master->last_body = (int32_t)request->body_case;
    if (master->drop_left != 0) {
        master->drop_left--;
        rpc_conn_close(conn, PAWL_EDISCONNECTED);
        return;
    }
    if (master->ignore_left != 0) {
        master->ignore_left--;
        return;
    }
    if (master->code_left != 0) {
        master->code_left--;
        rpc_reply_code(conn, request_id, master->code, "as the script says");
        return;
    }
    int code = changes_names(request) ? say_call(cluster, request) : 0;
    if (changes_names(request) && master->lose_left != 0) {
        master->lose_left--;
        master->log_there |= master->refill;
        rpc_conn_close(conn, PAWL_EDISCONNECTED);
        return;
    }
    if (code != 0) {
        rpc_reply_code(conn, request_id, code, NULL);
        return;
    }
    static struct parts parts;
    memset(&parts, 0, sizeof parts);
    pawl__reply__init(&parts.reply);
    pawl__file_list__init(&parts.files);
    pawl__chunk_list__init(&parts.chunk_page);
    pawl__tail__init(&parts.tail);
    pawl__write_log__init(&parts.write_log);
    pawl__producer__init(&parts.producer);
    pawl__server_list__init(&parts.servers);
    pawl__session__init(&parts.session);
    say_members(cluster, &parts);
    if (master->wrong_body) {
        parts.reply.body_case = PAWL__REPLY__BODY_PRODUCER;
        parts.reply.producer = &parts.producer;
    } else {
        say(cluster, &parts, request);
    }
    rpc_reply(conn, request_id, &parts.reply);
}

void master_open(struct cluster *cluster)
{
    struct rpc_handlers handlers = {.on_request = on_request};
    struct rpc_options options = {.size = sizeof options};
    assert_int_equal(uv_loop_init(&cluster->loop), 0);
    assert_int_equal(rpc_server_open(&cluster->loop, &options, &handlers, cluster, &cluster->rpc),
                     0);
    snprintf(cluster->address, sizeof cluster->address, "127.0.0.1:%u",
             rpc_server_port(cluster->rpc));
}

void master_close(struct cluster *cluster)
{
    rpc_server_close(cluster->rpc, NULL, NULL);
    uv_run(&cluster->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&cluster->loop), 0);
}
