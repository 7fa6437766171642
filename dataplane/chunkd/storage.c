// SPDX-License-Identifier: Apache-2.0
// The store's side of a reactor: mutations that the core asks for, reads and their way to the peer.
//
// A read: buffer for what it needs (or wait for one) > store, which verifies whole records > crc of what goes out >
// RDMA write into the peer's buffer > reply, ordered behind the write > the buffer is free when the
// write is done. A record for a fetcher goes the same way, and so does the table that a chunk has
// inherited, out of a copy of its rows. A read of several segments (a chunk that was written to) takes
// the next one, with a buffer of its own, when the write of the last is done; its reply follows the last write.
//
// Who waits for a buffer waits in one line, whatever he needs: nobody is overtaken for ever.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "dataplane/chunkd/chunkd_private.h"

struct io *io_new(struct reactor *reactor, enum io_kind kind)
{
    uint64_t name;
    struct io *io = slab_get(&reactor->ios, &name);
    if (io != NULL) {
        io->name = name;
        io->kind = kind;
        io->segments = &io->first;
        pawl_list_init(&io->node);
    }
    return io;
}

void io_free(struct reactor *reactor, struct io *io)
{
    pawl_list_remove(&io->node);
    buffers_read_put(&reactor->buffers, io->buffer, io->buffer_bytes);
    struct payload *payload = io->payload;
    free(io->rows);
    if (io->segments != &io->first) {
        free(io->segments);
    }
    slab_put(&reactor->ios, io->name);
    payload_unuse(reactor, payload);
}

// ---- mutations --------------------------------------------------------------------------------

static int persist_create(struct reactor *reactor, const struct chunk_create *create,
                          uint64_t token)
{
    struct store_chunk chunk;
    memset(&chunk, 0, sizeof(chunk));
    chunk.handle = create->handle;
    chunk.version = create->version;
    chunk.file_id = create->file_id;
    chunk.base_offset = create->base_offset;
    chunk.chunk_bytes = create->chunk_bytes;
    chunk.commit_count = create->commit_count;
    chunk.index = create->index;
    chunk.producers = create->producers;
    chunk.producers_count = create->producers_count;
    chunk.written_handle = create->written_handle;
    chunk.zero_bytes = create->zero_bytes;
    return store_create(reactor->store, &chunk, token);
}

static int persist_append(struct reactor *reactor, const struct chunk_action *action, struct io *io)
{
    struct payload *payload = NULL;
    if (action->payload != 0) {
        payload = payload_find(reactor, action->payload);
        pawl_assert(payload != NULL);
        pawl_assert(action->count > 1 || payload->length == action->record.length);
        payload_use(payload);
        io->payload = payload;
    }
    const void *bytes = payload != NULL ? payload->bytes : NULL;
    return action->count > 1
               ? store_append_run(reactor->store, action->handle, action->index, &action->record,
                                  payload->rows, (uint32_t)action->count, bytes,
                                  action->commit_count, io->name)
               : store_append(reactor->store, action->handle, action->index, &action->record, bytes,
                              action->commit_count, io->name);
}

static int persist_start(struct reactor *reactor, const struct chunk_action *action, struct io *io)
{
    int code = store_failed(reactor->store);
    if (code != 0) {
        return code;
    }
    switch (action->type) {
    case CHUNK_ACTION_CREATE:
        return persist_create(reactor, &action->create, io->name);
    case CHUNK_ACTION_APPEND:
        return persist_append(reactor, action, io);
    case CHUNK_ACTION_PROMISE:
        return store_promise(reactor->store, action->handle, action->version, io->name);
    case CHUNK_ACTION_SEAL:
        return store_seal(reactor->store, action->handle, action->version, action->count, io->name);
    default:
        return store_drop(reactor->store, action->handle, io->name);
    }
}

static void post_persisted(struct reactor *reactor, uint64_t token, int status)
{
    struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_PERSISTED);
    event.token = token;
    event.status = status;
    reactor_post(reactor, &event);
}

void storage_persist(struct reactor *reactor, const struct chunk_action *action)
{
    struct io *io = io_new(reactor, IO_PERSIST);
    if (io == NULL) {
        post_persisted(reactor, action->token, PAWL_EBUSY);
        return;
    }
    io->token = action->token;
    io->handle = action->type == CHUNK_ACTION_CREATE ? action->create.handle : action->handle;
    int code = persist_start(reactor, action, io);
    if (code != 0) {
        pawl_log_error("chunk %llu: the store refuses a change: %s", (unsigned long long)io->handle,
                       pawl_strerror(code));
        post_persisted(reactor, action->token, code);
        io_free(reactor, io);
    }
}

// ---- reads ------------------------------------------------------------------------------------

static void read_reply(struct reactor *reactor, struct io *io, uint32_t length, int status)
{
    io->replied = true;
    union chunk_reply reply;
    memset(&reply, 0, sizeof(reply));
    reply.header.status = status;
    if (io->kind == IO_READ) {
        reply.read_done.committed_bytes = io->committed_bytes;
        reply.read_done.sealed = io->sealed ? 1 : 0;
        reply.read_done.length = length;
        reply.read_done.crc = io->crc;
        reply.read_done.log_chunks = io->log_chunks;
        reply.read_done.log_bytes = io->log_bytes;
    } else {
        reply.fetched.chunk = io->handle;
        reply.fetched.index = io->index;
        reply.fetched.offset = io->record.offset;
        reply.fetched.id = io->record.id;
        reply.fetched.length = length;
        reply.fetched.crc = io->record.crc;
    }
    request_reply(reactor, io->request, &reply);
}

static void read_fail(struct reactor *reactor, struct io *io, int status)
{
    io->crc = 0;
    read_reply(reactor, io, 0, status);
    io_free(reactor, io);
}

static void read_send(struct reactor *reactor, struct io *io, const struct store_completion *read);

// Bytes that don't come from the store.
static void read_send_own(struct reactor *reactor, struct io *io, uint32_t bytes)
{
    struct store_completion own = {.data = io->buffer, .bytes = bytes};
    read_send(reactor, io, &own);
}

// What the read, or its next segment, needs of a buffer.
static size_t read_need(struct reactor *reactor, const struct io *io)
{
    if (io->kind == IO_TABLE) {
        return io->record.length;
    }
    if (io->kind == IO_RECORD) {
        return store_read_record_bytes(reactor->store, io->handle, io->index);
    }
    const struct chunk_segment *segment = &io->segments[io->segment];
    return segment->handle == 0 ? PAWL_MIN((size_t)segment->length, reactor->buffers.read_bytes)
                                : store_read_bytes(reactor->store, segment->handle, segment->offset,
                                                   segment->length);
}

// Gives the read, or its next segment, to the store.
static void read_start(struct reactor *reactor, struct io *io)
{
    int code;
    if (io->kind == IO_TABLE) {
        memcpy(io->buffer, io->rows, io->record.length);
        read_send_own(reactor, io, io->record.length);
        return;
    }
    if (io->kind == IO_READ) {
        const struct chunk_segment *segment = &io->segments[io->segment];
        io->handle = segment->handle;
        if (io->handle == 0) {
            memset(io->buffer, 0, io->buffer_bytes);
            read_send_own(reactor, io, (uint32_t)io->buffer_bytes);
            return;
        }
        code = store_read(reactor->store, io->handle, segment->offset, segment->length, io->buffer,
                          io->buffer_bytes, io->name);
    } else {
        code = store_read_record(reactor->store, io->handle, io->index, &io->record, io->buffer,
                                 io->buffer_bytes, io->name);
    }
    if (code != 0) {
        read_fail(reactor, io, code);
    }
}

// One segment, the usual case, needs no memory of its own.
static bool segments_copy(struct io *io, const struct chunk_action *action)
{
    pawl_assert(action->segments_count > 0);
    io->segments_count = action->segments_count;
    if (io->segments_count > 1) {
        io->segments = malloc(io->segments_count * sizeof(*io->segments));
        if (io->segments == NULL) {
            io->segments = &io->first;
            return false;
        }
    }
    memcpy(io->segments, action->segments, io->segments_count * sizeof(*io->segments));
    return true;
}

void storage_read(struct reactor *reactor, const struct chunk_action *action)
{
    struct io *io = io_new(reactor, action->type == CHUNK_ACTION_READ ? IO_READ : IO_RECORD);
    if (io != NULL && io->kind == IO_READ && !segments_copy(io, action)) {
        io_free(reactor, io);
        io = NULL;
    }
    if (io == NULL) {
        union chunk_reply reply;
        memset(&reply, 0, sizeof(reply));
        reply.header.status = PAWL_EBUSY;
        request_reply(reactor, action->request, &reply);
        return;
    }
    io->request = action->request;
    io->handle = action->handle;
    io->index = action->index;
    io->committed_bytes = action->committed_bytes;
    io->log_chunks = action->log_chunks;
    io->log_bytes = action->log_bytes;
    io->sealed = action->sealed;
    pawl_list_push_back(&reactor->reads, &io->node);
    storage_turn(reactor);
}

// The rows are the core's until the next step, and a read buffer may have to be waited for.
void storage_table(struct reactor *reactor, const struct chunk_action *action)
{
    size_t bytes = action->table.count * sizeof(*action->table.rows);
    struct io *io = io_new(reactor, IO_TABLE);
    void *rows = io != NULL ? malloc(bytes > 0 ? bytes : 1) : NULL;
    if (rows == NULL) {
        if (io != NULL) {
            io_free(reactor, io);
        }
        union chunk_reply reply;
        memset(&reply, 0, sizeof(reply));
        reply.header.status = PAWL_EBUSY;
        request_reply(reactor, action->request, &reply);
        return;
    }
    pawl_assert(bytes <= reactor->buffers.read_bytes);
    if (bytes > 0) {
        memcpy(rows, action->table.rows, bytes);
    }
    io->rows = rows;
    io->request = action->request;
    io->handle = action->handle;
    io->index = WIRE_FETCH_TABLE;
    io->record.length = (uint32_t)bytes;
    io->record.crc = pawl_crc32c(0, rows, bytes);
    pawl_list_push_back(&reactor->reads, &io->node);
    storage_turn(reactor);
}

void storage_turn(struct reactor *reactor)
{
    while (!pawl_list_is_empty(&reactor->reads)) {
        struct io *io = pawl_container_of(pawl_list_first(&reactor->reads), struct io, node);
        if (slab_find(&reactor->requests, io->request) == NULL) {
            io_free(reactor, io); // its connection is gone
            continue;
        }
        size_t bytes = read_need(reactor, io);
        io->buffer = buffers_read_get(&reactor->buffers, bytes);
        if (io->buffer == NULL) {
            return;
        }
        io->buffer_bytes = bytes;
        pawl_list_remove(&io->node);
        read_start(reactor, io);
    }
}

// It has waited already, and goes on before those that have not begun.
static void read_next_segment(struct reactor *reactor, struct io *io)
{
    buffers_read_put(&reactor->buffers, io->buffer, io->buffer_bytes);
    io->buffer = NULL;
    pawl_list_push_front(&reactor->reads, &io->node);
    storage_turn(reactor);
}

// After this segment, is the read over? A segment that was cut short ends it: the peer asks for the rest.
static bool read_is_over(struct io *io, uint32_t length)
{
    const struct chunk_segment *segment = &io->segments[io->segment++];
    return io->kind != IO_READ || length < segment->length || io->segment == io->segments_count;
}

// Of all that goes out, with these bytes. That of a whole record is known: no second pass over it.
static uint32_t read_crc(const struct io *io, const struct store_completion *read, uint32_t length)
{
    if (io->kind != IO_READ) {
        return io->record.crc;
    }
    bool is_known = read->is_record && io->done_bytes == 0 && length == read->bytes;
    return is_known ? read->crc : pawl_crc32c(io->crc, read->data, length);
}

// The bytes are verified and in our buffer: write them to the peer, and behind the last of them the reply.
static void read_send(struct reactor *reactor, struct io *io, const struct store_completion *read)
{
    struct request *request = slab_find(&reactor->requests, io->request);
    if (request == NULL) {
        io_free(reactor, io);
        return;
    }
    uint32_t length =
        io->kind == IO_READ ? PAWL_MIN(read->bytes, io->segments[io->segment].length) : read->bytes;
    bool over = read_is_over(io, length);
    if (length == 0) {
        read_reply(reactor, io, io->done_bytes, 0);
        io_free(reactor, io);
        return;
    }
    io->crc = read_crc(io, read, length);
    struct session *session = request->session;
    int code =
        fabric_write(session->conn, reactor->buffers.locals[session->fabric], read->data, length,
                     request->buffer_address + io->done_bytes, request->buffer_key, io->name);
    if (code != 0) {
        // A reply without its bytes must not go out.
        session_close(session, code);
        io_free(reactor, io);
        return;
    }
    io->done_bytes += length;
    if (over) {
        read_reply(reactor, io, io->done_bytes, 0);
    }
}

static struct pawl_log_limit unread_limit; // without descriptors every read would say so

static void read_completed(struct reactor *reactor, struct io *io,
                           const struct store_completion *completion)
{
    if (completion->status == 0) {
        read_send(reactor, io, completion);
        return;
    }
    if (completion->status == PAWL_ECORRUPT) {
        pawl_log_error("chunk %llu record %llu replica on %s does not match its checksum",
                       (unsigned long long)io->handle, (unsigned long long)completion->record_index,
                       reactor->options.name);
        struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_DAMAGED);
        event.handle = io->handle;
        event.index = completion->record_index;
        reactor_post(reactor, &event);
    } else {
        pawl_log_limited(&unread_limit, PAWL_LOG_ERROR, "chunk %llu can't be read: %s",
                         (unsigned long long)io->handle, pawl_strerror(completion->status));
    }
    read_fail(reactor, io, completion->status);
}

// ---- ends -------------------------------------------------------------------------------------

// The bytes were read from memory that a peer can write to: what was stored is what was promised only if
// they are still the same. A peer that keeps the rules writes to no slot before it is given back.
static int persist_check(const struct reactor *reactor, const struct io *io, int status)
{
    const struct payload *payload = io->payload;
    if (status != 0 || payload == NULL || payload->kind == PAYLOAD_INLINE ||
        payload->kind == PAYLOAD_COPIED ||
        pawl_crc32c(0, payload->bytes, payload->length) == payload->crc) {
        return status;
    }
    pawl_log_error(
        "chunk %llu: a payload changed on %s while it was stored: its peer broke the rules",
        (unsigned long long)io->handle, reactor->options.name);
    return PAWL_ECORRUPT;
}

void storage_completed(struct reactor *reactor, const struct store_completion *completion)
{
    struct io *io = slab_find(&reactor->ios, completion->token);
    pawl_assert(io != NULL);
    if (io->kind != IO_PERSIST) {
        read_completed(reactor, io, completion);
        reactor_drain(reactor);
        return;
    }
    int status = persist_check(reactor, io, completion->status);
    if (status != 0) {
        pawl_log_error("chunk %llu: a change was not made durable: %s",
                       (unsigned long long)io->handle, pawl_strerror(status));
    }
    if (status != 0 && io->payload != NULL) {
        request_take_back(reactor, io->payload->request);
    }
    struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_PERSISTED);
    event.token = io->token;
    event.status = status;
    io_free(reactor, io);
    reactor_step(reactor, &event);
}

void storage_written(struct reactor *reactor, uint64_t name)
{
    struct io *io = slab_find(&reactor->ios, name);
    pawl_assert(io != NULL);
    if (io->kind == IO_RELAY) {
        struct relay *relay = io->relay;
        io_free(reactor, io);
        relay_written(reactor, relay);
    } else if (io->kind == IO_FORWARD || io->replied) {
        io_free(reactor, io);
    } else {
        read_next_segment(reactor, io);
    }
}

void storage_fini(struct reactor *reactor)
{
    uint32_t cursor = 0;
    struct io *io;
    while ((io = slab_next(&reactor->ios, &cursor)) != NULL) {
        if (io->segments != &io->first) {
            free(io->segments);
        }
    }
}

static void damage_open_chunk(void *user, const Pawl__Replica *replica)
{
    struct reactor *reactor = user;
    struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_DAMAGED);
    event.handle = replica->handle;
    reactor_post(reactor, &event);
}

// A store that has failed takes no change any more, so no open chunk can go on here: the master
// hears that they are damaged. Sealed ones are still served: each read is verified against its
// checksums.
void storage_check(struct reactor *reactor)
{
    int code = store_failed(reactor->store);
    if (code == 0 || reactor->store_failed) {
        return;
    }
    reactor->store_failed = true;
    pawl_log_error("the store in %s has failed: %s; it takes no changes any more, reads go on. "
                   "Replace or repair the disk and restart this server",
                   reactor->options.dir, pawl_strerror(code));
    chunk_core_visit(reactor->core, true, damage_open_chunk, reactor);
    reactor_drain(reactor);
}
