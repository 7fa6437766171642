// SPDX-License-Identifier: Apache-2.0
// The played cluster's chunk servers, its thread and its data. Its master: cluster_master.c.
#include "cluster.h"

#include <stdio.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "cluster_private.h"

#define PLACES 16u
#define PLACE_BYTES (1u << 20)
#define WINDOW_BYTES (CLUSTER_SLOTS_MAX * WIRE_SLOT_BYTES)
#define MEMORY_BYTES (WINDOW_BYTES + PLACES * PLACE_BYTES)

void cluster_lock(struct cluster *cluster)
{
    pthread_mutex_lock(&cluster->lock);
}

void cluster_unlock(struct cluster *cluster)
{
    pthread_mutex_unlock(&cluster->lock);
}

unsigned cluster_get(struct cluster *cluster, const unsigned *field)
{
    cluster_lock(cluster);
    unsigned value = *field;
    cluster_unlock(cluster);
    return value;
}

unsigned char cluster_byte(uint64_t offset)
{
    return (unsigned char)(offset * 131 + (offset >> 9) + (offset >> 20) * 7);
}

// ---- chunks -------------------------------------------------------------------------------------

uint64_t cluster_base(const struct cluster *cluster, unsigned index)
{
    uint64_t base = 0;
    for (unsigned i = 0; i < index; i++) {
        base += cluster->chunks[i].bytes;
    }
    return base;
}

uint64_t cluster_bytes(struct cluster *cluster)
{
    cluster_lock(cluster);
    uint64_t bytes = cluster_base(cluster, cluster->chunks_count);
    cluster_unlock(cluster);
    return bytes;
}

static void chunk_add(struct cluster *cluster)
{
    assert_true(cluster->chunks_count < CLUSTER_CHUNKS);
    unsigned index = cluster->chunks_count++;
    cluster->chunks[index] = (struct cluster_chunk){.handle = CLUSTER_HANDLE + index,
                                                    .version = 1,
                                                    .primary = 1,
                                                    .data = calloc(1, CLUSTER_CHUNK_BYTES)};
}

void tail_seal(struct cluster *cluster)
{
    cluster->chunks[cluster->chunks_count - 1].sealed = true;
    cluster->chunks[cluster->chunks_count - 1].primary = 0;
    chunk_add(cluster);
}

void cluster_seal_tail(struct cluster *cluster)
{
    cluster_lock(cluster);
    tail_seal(cluster);
    cluster_unlock(cluster);
}

struct cluster_chunk *log_open(struct cluster *cluster, unsigned index)
{
    struct cluster_chunk *log = &cluster->logs[index];
    if (log->handle == 0) {
        *log = (struct cluster_chunk){.handle = CLUSTER_LOG + index,
                                      .version = 1,
                                      .primary = 1,
                                      .data = calloc(1, CLUSTER_CHUNK_BYTES)};
    }
    return log;
}

static struct cluster_chunk *chunk_find(struct cluster *cluster, uint64_t handle)
{
    for (unsigned i = 0; i < cluster->chunks_count; i++) {
        if (cluster->chunks[i].handle == handle) {
            return &cluster->chunks[i];
        }
        if (cluster->logs[i].handle == handle) {
            return &cluster->logs[i];
        }
    }
    return NULL;
}

// The chunk that a write log is about; NULL: this is none.
static struct cluster_chunk *written_chunk(struct cluster *cluster, const struct cluster_chunk *log)
{
    return log->handle >= CLUSTER_LOG ? &cluster->chunks[log->handle - CLUSTER_LOG] : NULL;
}

static uint64_t producer_of(const struct wire_record_id *id)
{
    return id->producer_lo + 1000003u * id->producer_hi;
}

static const struct cluster_record *record_find(const struct cluster_chunk *chunk,
                                                const struct wire_record_id *id)
{
    for (unsigned i = 0; i < chunk->records_count; i++) {
        const struct cluster_record *record = &chunk->records[i];
        if (record->producer == producer_of(id) && record->sequence == id->sequence) {
            return record;
        }
    }
    return NULL;
}

static uint64_t last_sequence(const struct cluster_chunk *chunk, const struct wire_record_id *id)
{
    uint64_t last = 0;
    for (unsigned i = 0; i < chunk->records_count; i++) {
        if (chunk->records[i].producer == producer_of(id)) {
            last = chunk->records[i].sequence;
        }
    }
    return last;
}

// ---- replies ------------------------------------------------------------------------------------

static void reply_send_flags(struct fabric_conn *conn, const struct wire_header *request,
                             void *reply, int status, uint32_t flags)
{
    struct wire_header *header = reply;
    uint16_t type = (uint16_t)(request->type | WIRE_REPLY);
    bool bare =
        status != 0 && status != PAWL_EEARLIER && status != PAWL_EABSENT && status != PAWL_EEXPECT;
    uint32_t bytes = bare ? sizeof *header : wire_struct_bytes(type);
    wire_header_init(header, type, bytes, request->request);
    header->status = status;
    header->flags = flags;
    int code = fabric_send(conn, reply, bytes);
    pawl_assert(code == 0 || code == PAWL_EDISCONNECTED);
}

static void reply_send(struct fabric_conn *conn, const struct wire_header *request, void *reply,
                       int status)
{
    reply_send_flags(conn, request, reply, status, 0);
}

static void on_hello(struct cluster_server *server, struct fabric_conn *conn,
                     const struct wire_header *header)
{
    struct wire_welcome welcome = {0};
    server->hellos_count++;
    if (server->faults.no_welcome) {
        return;
    }
    welcome.server_id = CLUSTER_ID(server->number) + (server->faults.wrong_id ? 1 : 0);
    welcome.window_address = fabric_region_remote(server->region, server->memory);
    welcome.window_key = fabric_region_key(server->region);
    welcome.window_slots = server->faults.no_window ? 0 : CLUSTER_SLOTS;
    welcome.slot_bytes = WIRE_SLOT_BYTES;
    welcome.requests_count = 32;
    welcome.run_bytes_max = WIRE_RUN_BYTES_MAX; // more than a message of the fake fabric takes
    reply_send(conn, header, &welcome, server->faults.refuse);
}

static void window_grant(struct cluster_server *server, struct fabric_conn *conn,
                         const struct wire_window *window)
{
    struct wire_granted granted = {0};
    if (window->slots_wanted != 0) {
        granted.window_address = fabric_region_remote(server->region, server->memory);
        granted.window_key = fabric_region_key(server->region);
        granted.window_slots = server->faults.window_small
                                   ? window->slots_needed - 1
                                   : PAWL_MIN(window->slots_wanted, CLUSTER_SLOTS_MAX);
    }
    reply_send(conn, &window->header, &granted, server->faults.window_status);
}

static void on_window(struct cluster_server *server, struct fabric_conn *conn,
                      const struct wire_window *window)
{
    server->windows_count += window->slots_wanted != 0;
    server->waited_ms = window->waited_ms;
    server->returns_count += window->slots_wanted == 0;
    if (!server->faults.window_hold) {
        window_grant(server, conn, window);
    }
}

// 0, or why the record is refused.
static int store(struct cluster_chunk *chunk, const struct wire_append *append, const void *payload,
                 struct wire_appended *reply)
{
    bool epoch = (append->id.flags & WIRE_RECORD_EPOCH) != 0;
    uint64_t last = last_sequence(chunk, &append->id);
    const struct cluster_record *there = record_find(chunk, &append->id);
    if (epoch) {
        reply->sequence = last;
        return 0;
    }
    if (there != NULL && (there->length != append->length || there->crc != append->crc)) {
        return PAWL_EIDREUSED;
    }
    if (there == NULL && append->id.sequence != last + 1) {
        reply->sequence = last + 1;
        return PAWL_EEXPECT;
    }
    if (there == NULL) {
        struct cluster_record *record = &chunk->records[chunk->records_count++];
        pawl_assert(chunk->records_count < CLUSTER_RECORDS);
        *record = (struct cluster_record){.producer = producer_of(&append->id),
                                          .sequence = append->id.sequence,
                                          .offset = chunk->bytes,
                                          .length = append->length,
                                          .crc = append->crc};
        pawl_assert(pawl_crc32c(0, payload, append->length) == append->crc);
        memcpy(chunk->data + chunk->bytes, payload, append->length);
        chunk->bytes += append->length;
        there = record;
    } else {
        reply->duplicate = 1;
    }
    reply->sequence = there->sequence;
    reply->file_offset = there->offset;
    reply->prepare_ns = 1;
    reply->flush_ns = 2;
    reply->commit_ns = 3;
    reply->answer_ns = 4;
    return 0;
}

// A payload that is let go again. Every push of a test carries the same byte.
static void on_push(struct cluster_server *server, struct fabric_conn *conn,
                    const struct wire_push *push)
{
    struct wire_header reply = {0};
    const unsigned char *payload = server->memory + (size_t)push->slot_first * WIRE_SLOT_BYTES;
    pawl_assert(push->next == 0 && push->bytes == push->length && push->slot_count > 0);
    pawl_assert(push->id.sequence == server->pushes_count + 1);
    for (uint32_t i = 0; i < push->length; i++) {
        pawl_assert(payload[i] == 'o');
    }
    server->pushes_count++;
    reply_send(conn, &push->header, &reply, server->faults.push_status);
}

// A run is taken record by record; the answer is the last one's.
static int store_all(struct cluster_chunk *chunk, const struct wire_append *append,
                     const void *payload, struct wire_appended *reply)
{
    const struct wire_run_row *rows = payload;
    const unsigned char *at = (const unsigned char *)(rows + append->run_count);
    struct wire_append one = *append;
    int status = 0;
    if (append->run_count == 0) {
        return store(chunk, append, payload, reply);
    }
    pawl_assert(pawl_crc32c(0, rows, wire_rows_bytes(append->run_count)) == append->crc);
    for (uint32_t i = 0; i < append->run_count && status == 0; i++) {
        one.id.sequence = append->id.sequence + i;
        one.length = rows[i].length;
        one.crc = rows[i].crc;
        status = store(chunk, &one, at, reply);
        at += one.length;
    }
    return status;
}

static void on_append(struct cluster_server *server, struct fabric_conn *conn,
                      const struct wire_append *append)
{
    struct cluster_chunk *chunk = chunk_find(server->cluster, append->chunk);
    struct wire_appended reply = {0};
    const void *payload = append->slot_count == 0
                              ? (const unsigned char *)(append + 1)
                              : server->memory + (size_t)append->slot_first * WIRE_SLOT_BYTES;
    uint32_t records_count = wire_records_count(append->run_count);
    server->appends_count += records_count;
    server->runs_count += append->run_count != 0;
    if (server->faults.append_status_left != 0) {
        server->faults.append_status_left -=
            PAWL_MIN(server->faults.append_status_left, records_count);
        reply_send(conn, &append->header, &reply, server->faults.append_status);
        return;
    }
    pawl_assert(chunk != NULL);
    int status =
        server->faults.expect_nonsense ? PAWL_EEARLIER : store_all(chunk, append, payload, &reply);
    reply.flags = status == 0 && server->faults.from_memory ? WIRE_APPENDED_REPLICATED : 0;
    struct cluster_chunk *written = written_chunk(server->cluster, chunk);
    pawl_assert(wire_record_is_write(&append->id) == (written != NULL));
    if (status == 0 && written == NULL) {
        reply.file_offset +=
            cluster_base(server->cluster, (unsigned)(chunk->handle - CLUSTER_HANDLE));
    } else if (status == 0 && !reply.duplicate) {
        uint32_t offset = wire_record_offset(&append->id);
        pawl_assert(written->sealed && offset + append->length <= written->bytes);
        memcpy(written->data + offset, payload, append->length);
    }
    if (server->faults.forget_left != 0) {
        server->faults.forget_left--;
        return;
    }
    if (append->run_count != 0 && server->faults.wrong_runs_left != 0) {
        server->faults.wrong_runs_left--;
        reply.sequence--;
    }
    reply_send_flags(conn, &append->header, &reply, status,
                     server->faults.scarce ? WIRE_SCARCE : 0);
    if (server->faults.recall) {
        struct wire_granted recall = {0};
        wire_header_init(&recall.header, WIRE_WINDOW | WIRE_REPLY, sizeof recall, 0);
        recall.header.flags = WIRE_SCARCE;
        int code = fabric_send(conn, &recall, sizeof recall);
        pawl_assert(code == 0 || code == PAWL_EDISCONNECTED);
    }
}

static void on_read(struct cluster_server *server, struct fabric_conn *conn,
                    const struct wire_read *read)
{
    const struct cluster_faults *faults = &server->faults;
    struct wire_read_done reply = {0};
    struct cluster_chunk *chunk = chunk_find(server->cluster, read->chunk);
    server->reads_count++;
    server->read_bytes += read->length;
    server->log_bytes_wanted = read->log_bytes;
    int status = chunk == NULL ? PAWL_ENOCHUNK : faults->read_status;
    if (status == 0) {
        reply.committed_bytes = PAWL_MIN(chunk->bytes, faults->known_bytes);
        reply.sealed = chunk->sealed && faults->known_bytes >= chunk->bytes && !faults->cut_off;
        reply.log_bytes = server->cluster->logs[chunk->handle - CLUSTER_HANDLE].bytes;
        reply.log_bytes = faults->log_bytes != 0 ? faults->log_bytes : reply.log_bytes;
        if (read->offset < reply.committed_bytes) {
            uint64_t there = reply.committed_bytes - read->offset;
            reply.length = (uint32_t)PAWL_MIN(there, (uint64_t)read->length);
        }
        if (faults->read_at_most != 0) {
            reply.length = PAWL_MIN(reply.length, faults->read_at_most);
        }
    }
    if (reply.length != 0) {
        unsigned char *place =
            server->memory + WINDOW_BYTES + (size_t)(server->next_place++ % PLACES) * PLACE_BYTES;
        memcpy(place, chunk->data + read->offset, reply.length);
        reply.crc = pawl_crc32c(0, place, reply.length);
        place[reply.length / 2] ^= faults->read_corrupt ? 1 : 0;
        int code = fabric_write(conn, server->region, place, reply.length, read->buffer_address,
                                read->buffer_key, 0);
        pawl_assert(code == 0 || code == PAWL_EDISCONNECTED);
    }
    if (faults->read_too_long) {
        reply.length = read->length + 1;
    }
    reply_send(conn, &read->header, &reply, status);
}

static void read_hold(struct cluster_server *server, struct fabric_conn *conn,
                      const struct wire_read *read)
{
    pawl_assert(server->held_count < CLUSTER_HELD);
    server->held[server->held_count++] = (struct cluster_held){.conn = conn, .read = *read};
}

// The last one first.
static void held_answer(struct cluster_server *server)
{
    while (!server->faults.read_hold && server->held_count > 0) {
        struct cluster_held *held = &server->held[--server->held_count];
        on_read(server, held->conn, &held->read);
    }
}

static void held_drop(struct cluster_server *server, const struct fabric_conn *conn)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < server->held_count; i++) {
        if (server->held[i].conn != conn) {
            server->held[kept++] = server->held[i];
        }
    }
    server->held_count = kept;
}

static void on_lookup(struct cluster_server *server, struct fabric_conn *conn,
                      const struct wire_lookup *lookup)
{
    struct wire_appended reply = {0};
    const struct cluster_chunk *chunk = chunk_find(server->cluster, lookup->chunk);
    pawl_assert(chunk != NULL);
    const struct cluster_record *there = record_find(chunk, &lookup->id);
    unsigned index = (unsigned)(chunk->handle >= CLUSTER_LOG ? 0 : chunk->handle - CLUSTER_HANDLE);
    int status = 0;
    server->lookups_count++;
    if (index < server->faults.lost_to) {
        status = PAWL_ENOTPRIMARY;
    } else if (server->faults.ended_from != 0 && index >= server->faults.ended_from) {
        status = PAWL_ESESSION;
    } else if (there != NULL) {
        reply.sequence = there->sequence;
        reply.file_offset = cluster_base(server->cluster, index) + there->offset;
    } else {
        status = PAWL_EABSENT;
        for (unsigned i = index; i-- > 0 && status == PAWL_EABSENT;) {
            bool holds = server->cluster->chunks[i].records_count != 0;
            status = holds ? PAWL_EEARLIER : PAWL_EABSENT;
            reply.earlier_chunk = server->faults.expect_nonsense ? 0 : 100 + i;
        }
    }
    reply_send(conn, &lookup->header, &reply, status);
}

static void on_inspect(struct cluster_server *server, struct fabric_conn *conn,
                       const struct wire_inspect *inspect)
{
    struct wire_inspected reply = {0};
    const struct cluster_chunk *chunk = chunk_find(server->cluster, inspect->chunk);
    pawl_assert(chunk != NULL);
    reply.version = server->faults.cut_off ? 1 : chunk->version;
    reply.committed_bytes = PAWL_MIN(chunk->bytes, server->faults.known_bytes);
    if (server->faults.inspect_bytes != 0) {
        reply.committed_bytes = server->faults.inspect_bytes;
    }
    reply.sealed = chunk->sealed && !server->faults.cut_off;
    reply.primary =
        (chunk->primary == server->number && !server->faults.no_lease) || server->faults.cut_off;
    reply_send(conn, &inspect->header, &reply, 0);
}

static void on_message(struct cluster_server *server, const struct fabric_event *event)
{
    const char *why = "";
    const struct wire_header *header = event->message;
    int code = wire_check(event->message, event->message_bytes, &why);
    pawl_assert(code == 0); // what the client sends is right
    if (header->type == WIRE_HELLO) {
        on_hello(server, event->conn, header);
        return;
    }
    if (server->faults.mute || server->faults.mute_left != 0) {
        server->faults.mute_left -= server->faults.mute_left != 0;
        return;
    }
    if (server->faults.garbage || server->faults.unasked) {
        struct wire_appended reply = {0};
        wire_header_init(&reply.header, WIRE_APPEND | WIRE_REPLY, sizeof reply, 999999);
        reply.header.magic ^= server->faults.garbage ? 1 : 0;
        int sent = fabric_send(event->conn, &reply, sizeof reply);
        pawl_assert(sent == 0 || sent == PAWL_EDISCONNECTED);
        return;
    }
    switch (header->type) {
    case WIRE_APPEND:
        on_append(server, event->conn, event->message);
        break;
    case WIRE_READ:
        if (server->faults.read_hold) {
            read_hold(server, event->conn, event->message);
        } else {
            on_read(server, event->conn, event->message);
        }
        break;
    case WIRE_LOOKUP:
        on_lookup(server, event->conn, event->message);
        break;
    case WIRE_WINDOW:
        on_window(server, event->conn, event->message);
        break;
    case WIRE_PUSH:
        on_push(server, event->conn, event->message);
        break;
    case WIRE_INSPECT:
        on_inspect(server, event->conn, event->message);
        break;
    default:
        pawl_assert(false); // clients send nothing else
    }
}

static void server_turn(struct cluster_server *server)
{
    struct fabric_event events[16];
    if (server->faults.frozen) {
        return;
    }
    int count = fabric_poll(server->fabric, pawl_clock_ns(), events, 16);
    for (int i = 0; i < count; i++) {
        if (events[i].type == FABRIC_MESSAGE) {
            on_message(server, &events[i]);
        }
        if (events[i].type == FABRIC_CLOSED) {
            server->closed_count++;
            held_drop(server, events[i].conn);
        }
    }
    held_answer(server);
}

static void server_open(struct cluster_server *server)
{
    struct fabric_options options = {.provider = "fake",
                                     .message_bytes = WIRE_MESSAGE_MAX,
                                     .receives_count = 64,
                                     .connections_max = 16};
    assert_int_equal(fabric_open(&options, &server->fabric), 0);
    assert_int_equal(fabric_listen(server->fabric), 0);
    server->memory = calloc(1, MEMORY_BYTES);
    assert_int_equal(fabric_region_open(server->fabric, server->memory, MEMORY_BYTES,
                                        FABRIC_LOCAL | FABRIC_REMOTE_WRITE, &server->region),
                     0);
    server->faults.known_bytes = CLUSTER_EVERY;
    snprintf(server->name, sizeof server->name, "cs%u", server->number);
    snprintf(server->addresses, sizeof server->addresses, "%s", fabric_address(server->fabric));
}

// ---- the thread ---------------------------------------------------------------------------------

static void *work(void *user)
{
    struct cluster *cluster = user;
    bool stop = false;
    while (!stop) {
        cluster_lock(cluster);
        uv_run(&cluster->loop, UV_RUN_NOWAIT);
        for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
            server_turn(&cluster->servers[i]);
        }
        stop = cluster->stop;
        cluster_unlock(cluster);
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    return NULL;
}

void cluster_start(struct cluster *cluster, unsigned sealed_count, uint64_t bytes)
{
    memset(cluster, 0, sizeof *cluster);
    pthread_mutex_init(&cluster->lock, NULL);
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        cluster->servers[i] = (struct cluster_server){.cluster = cluster, .number = i + 1};
        server_open(&cluster->servers[i]);
    }
    for (unsigned i = 0; i < sealed_count; i++) {
        chunk_add(cluster);
        struct cluster_chunk *chunk = &cluster->chunks[i];
        for (uint64_t k = 0; k < bytes; k++) {
            chunk->data[k] = cluster_byte(i * bytes + k);
        }
        chunk->bytes = bytes;
        chunk->sealed = true;
        chunk->primary = 0;
    }
    chunk_add(cluster);
    master_open(cluster);
    assert_int_equal(pthread_create(&cluster->thread, NULL, work, cluster), 0);
}

void cluster_stop(struct cluster *cluster)
{
    cluster_set(cluster, stop, true);
    pthread_join(cluster->thread, NULL);
    master_close(cluster);
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        fabric_close(cluster->servers[i].fabric);
        free(cluster->servers[i].memory);
    }
    for (unsigned i = 0; i < cluster->chunks_count; i++) {
        free(cluster->chunks[i].data);
        free(cluster->logs[i].data);
    }
    pthread_mutex_destroy(&cluster->lock);
}

struct pawl *cluster_connect(struct cluster *cluster, uint32_t deadline_ms)
{
    struct pawl_options options = {.size = sizeof options,
                                   .master = cluster->address,
                                   .provider = "fake",
                                   .deadline_ms = deadline_ms};
    struct pawl *pawl = NULL;
    assert_int_equal(pawl_connect(&options, &pawl), 0);
    return pawl;
}

struct pawl_file *cluster_open(struct pawl *pawl)
{
    struct pawl_file *file = NULL;
    assert_int_equal(pawl_open(pawl, "/f", &file), 0);
    return file;
}
