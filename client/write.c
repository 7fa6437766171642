// SPDX-License-Identifier: Apache-2.0
// Writes at an offset, and extension.
//
// A write goes to the write log of the chunk that holds its offset. A log is appended to like a file, so
// each chunk that is written to gets a stream here: a file without a name, with an append core and a
// producer of its own. A write that crosses chunks is one write after the other.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/assert.h"
#include "base/clock.h"
#include "base/util.h"
#include "client/client_private.h"

#define WRITE_PAUSE_MS 5u
// Kept for a file, and those with an unknown outcome; older ones are closed, newer writes get a new producer.
#define WRITE_STREAMS_MAX 256u

struct write_stream {
    struct pawl_list node; // in file->streams, the one used last in front
    uint64_t handle;       // of the chunk
    bool named;            // its producer is the caller's, and so are its sequences
    struct pawl_file *log;
};

struct write_job {
    struct pawl_file *file;
    uint64_t offset;
    const uint8_t *data;
    size_t bytes;
    const struct pawl_record_id *id; // NULL: the next one
    uint64_t deadline_ns;
    struct pawl_write_result *result;
};

// ---- what was seen of write logs ---------------------------------------------------------------

void file_seen_note(struct pawl_file *file, uint64_t handle, uint64_t log_bytes)
{
    if (log_bytes == 0) {
        return;
    }
    uint64_t *seen = pawl_map_get(&file->seen, handle);
    if (seen == NULL) {
        seen = calloc(1, sizeof *seen);
        pawl_assert(seen != NULL && pawl_map_put(&file->seen, handle, seen) == 0);
    }
    *seen = PAWL_MAX(*seen, log_bytes);
}

uint64_t file_seen_bytes(const struct pawl_file *file, uint64_t handle)
{
    const uint64_t *seen = pawl_map_get(&file->seen, handle);
    return seen == NULL ? 0 : *seen;
}

void file_seen_free(struct pawl_file *file)
{
    size_t cursor = 0;
    uint64_t handle;
    void *value;
    while (pawl_map_iterate(&file->seen, &cursor, &handle, &value)) {
        free(value);
    }
    pawl_map_fini(&file->seen);
}

// ---- streams -----------------------------------------------------------------------------------

static void stream_close(struct pawl_file *file, struct write_stream *stream)
{
    pawl_list_remove(&stream->node);
    file->streams_count--;
    stream->log->closed = true; // freed when nothing outside waits for it
    file_fail_pending(stream->log, PAWL_EUNKNOWN);
    file_counters_add(stream->log, &file->written);
    free(stream);
}

void file_streams_counters_add(const struct pawl_file *file, struct pawl_counters *sum)
{
    pawl_list_for_each (node, &file->streams) {
        file_counters_add(pawl_container_of(node, struct write_stream, node)->log, sum);
    }
}

void file_streams_close(struct pawl_file *file)
{
    while (!pawl_list_is_empty(&file->streams)) {
        struct pawl_list *first = pawl_list_first(&file->streams);
        stream_close(file, pawl_container_of(first, struct write_stream, node));
    }
}

void file_streams_free(struct pawl_file *file)
{
    struct pawl_list *node;
    while ((node = pawl_list_pop_front(&file->streams)) != NULL) {
        free(pawl_container_of(node, struct write_stream, node));
    }
}

static bool is_of_producer(const struct write_stream *stream, const struct pawl_record_id *id)
{
    const struct pawl_record_id *own = &stream->log->producer;
    return own->producer_hi == id->producer_hi && own->producer_lo == id->producer_lo;
}

// An id that the library has given is repeated in the library's own stream.
static struct write_stream *stream_find(struct pawl_file *file, uint64_t handle,
                                        const struct pawl_record_id *id)
{
    pawl_list_for_each (node, &file->streams) {
        struct write_stream *stream = pawl_container_of(node, struct write_stream, node);
        bool fits = id == NULL ? !stream->named : is_of_producer(stream, id);
        if (stream->handle == handle && fits) {
            return stream;
        }
    }
    return NULL;
}

// A producer that has ended has no outcome that a repeat could settle.
static bool is_unknown(const struct write_stream *stream)
{
    const struct append_core *core = stream->log->core;
    return !append_core_is_settled(core) && append_core_final(core) == 0;
}

// Does a write whose outcome is unknown stand in the way? Its own producer's core says what may pass it.
static bool is_blocked(const struct write_job *job, uint64_t handle)
{
    pawl_list_for_each (node, &job->file->streams) {
        const struct write_stream *stream = pawl_container_of(node, struct write_stream, node);
        bool repeat = job->id != NULL && is_of_producer(stream, job->id);
        if (stream->handle == handle && is_unknown(stream) && !repeat) {
            return true;
        }
    }
    return false;
}

static int take_write_log(void *user, const Pawl__Reply *reply)
{
    struct pawl_file *log = user;
    if (reply->body_case != PAWL__REPLY__BODY_WRITE_LOG || reply->write_log->file_id == 0 ||
        reply->write_log->chunk_bytes == 0) {
        return PAWL_EPROTOCOL;
    }
    log->file_id = reply->write_log->file_id;
    log->chunk_bytes = reply->write_log->chunk_bytes;
    return 0;
}

static int open_log(struct write_job *job, uint64_t handle, struct pawl_file *log)
{
    Pawl__OpenWriteLog open = PAWL__OPEN_WRITE_LOG__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_OPEN_WRITE_LOG;
    request.open_write_log = &open;
    open.file_id = job->file->file_id;
    open.handle = handle;
    return control_call(job->file->pawl, &request, job->deadline_ns, take_write_log, log, NULL);
}

// The stream of a chunk, opened if need be: with a producer of its own, or with the one that the caller
// names, which goes on at the sequence that it names.
static int stream_get(struct write_job *job, uint64_t handle, struct write_stream **ret)
{
    struct pawl_file *file = job->file;
    struct write_stream *stream = stream_find(file, handle, job->id);
    if (stream != NULL) {
        *ret = stream;
        return 0;
    }
    stream = calloc(1, sizeof *stream);
    struct pawl_file *log = NULL;
    int code = stream == NULL ? -ENOMEM : file_new(file->pawl, &log);
    file_keep(file);
    if (code == 0) {
        log->written_handle = handle;
        code = open_log(job, handle, log);
    }
    file_outside_done(file);
    if (code == 0 && job->id != NULL) {
        code = file_core_reset(log, job->id->producer_hi, job->id->producer_lo, 0,
                               job->id->sequence - 1);
    } else if (code == 0) { // its ids are drawn with the file's, and the core is for its real id
        code = file_core_reset(log, log->producer.producer_hi, log->producer.producer_lo, 0, 0);
    }
    if (code == 0 && file->closed) {
        code = PAWL_ESHUTDOWN;
    }
    if (code != 0) {
        free(stream);
        if (log != NULL) {
            log->closed = true;
        }
        return code;
    }
    stream->handle = handle;
    stream->named = job->id != NULL;
    stream->log = log;
    pawl_list_push_front(&file->streams, &stream->node);
    file->streams_count++;
    *ret = stream;
    return 0;
}

// The oldest one goes, but for those that writes wait for, and the one in front, which is about to be used.
static void streams_limit(struct pawl_file *file)
{
    struct pawl_list *node = file->streams.prev;
    while (file->streams_count > WRITE_STREAMS_MAX && node != pawl_list_first(&file->streams)) {
        struct write_stream *stream = pawl_container_of(node, struct write_stream, node);
        node = node->prev;
        if (!is_unknown(stream)) {
            stream_close(file, stream);
        }
    }
}

// ---- one write to one chunk --------------------------------------------------------------------

static int part_append(struct write_job *job, struct write_stream *stream, uint32_t offset,
                       size_t bytes)
{
    struct pawl_file *file = job->file;
    struct pawl_file *log = stream->log;
    struct pawl_append_result result = {0};
    uint64_t handle = stream->handle;
    file_keep(log);
    int code =
        file_write_append(log, job->data, bytes, wire_record_write_flags(offset),
                          job->id == NULL ? 0 : job->id->sequence, job->deadline_ns, &result);
    file_outside_done(log);
    job->result->id = result.id;
    job->result->part_bytes = result.id.sequence != 0 ? bytes : 0;
    job->result->duplicate = result.duplicate;
    if (file->closed) {
        return code; // the streams are gone
    }
    if (code == 0) {
        file_seen_note(file, handle, result.offset + bytes);
    } else if (code != PAWL_EUNKNOWN && code != PAWL_EDEADLINE && !is_unknown(stream)) {
        stream_close(file, stream); // its producer may have ended
    }
    return code;
}

static int write_part(struct write_job *job, const struct file_chunk *chunk)
{
    uint64_t inside = job->offset - chunk->base_offset;
    size_t bytes = (size_t)PAWL_MIN((uint64_t)job->bytes, chunk->bytes - inside);
    struct write_stream *stream;
    if (job->id != NULL && bytes < job->bytes) {
        return PAWL_EINVALID; // an id names one write to one chunk
    }
    if (is_blocked(job, chunk->handle)) {
        job->result->id = (struct pawl_record_id){0};
        job->result->part_bytes = 0;
        return PAWL_EUNKNOWN;
    }
    int code = stream_get(job, chunk->handle, &stream);
    if (code != 0) {
        return code;
    }
    pawl_list_remove(&stream->node);
    pawl_list_push_front(&job->file->streams, &stream->node);
    streams_limit(job->file);
    code = part_append(job, stream, (uint32_t)inside, bytes);
    if (code == 0) {
        job->offset += bytes;
        job->data += bytes;
        job->bytes -= bytes;
        job->result->bytes += bytes;
    }
    return code;
}

// ---- sealing the tail, and the end of the file ---------------------------------------------------

// Repeats a request to the master while it says "not yet".
static int ask_until(struct pawl_file *file, const Pawl__Request *request, uint64_t deadline_ns)
{
    for (;;) {
        int code = control_call(file->pawl, request, deadline_ns, NULL, NULL, NULL);
        if (code == 0 || pawl_error_reaction(code) == PAWL_REACTION_GIVE_UP || file->closed) {
            return code;
        }
        if (pawl_clock_ns() >= deadline_ns) {
            return code == PAWL_EBUSY ? PAWL_EDEADLINE : code;
        }
        client_pause(file->pawl, WRITE_PAUSE_MS);
    }
}

static int seal_tail(struct pawl_file *file, uint64_t handle, uint64_t deadline_ns)
{
    Pawl__SealTail seal = PAWL__SEAL_TAIL__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_SEAL_TAIL;
    request.seal_tail = &seal;
    seal.file_id = file->file_id;
    seal.handle = handle;
    return ask_until(file, &request, deadline_ns);
}

static uint64_t sealed_bytes(const struct pawl_file *file)
{
    for (uint32_t i = file->chunks_count; i > 0; i--) {
        if (file->chunks[i - 1].sealed) {
            return file->chunks[i - 1].base_offset + file->chunks[i - 1].bytes;
        }
    }
    return 0;
}

// Until the map has sealed chunks up to `end`; the open tail is sealed if it holds the rest.
static int have_sealed(struct pawl_file *file, uint64_t end, uint64_t deadline_ns)
{
    while (sealed_bytes(file) < end) {
        int code = file_chunks_settle(file, deadline_ns);
        if (code != 0 || sealed_bytes(file) >= end) {
            return code;
        }
        const struct file_chunk *tail =
            file->chunks_count == 0 ? NULL : &file->chunks[file->chunks_count - 1];
        if (tail == NULL || tail->sealed) {
            return PAWL_EPASTEND;
        }
        struct wire_inspected seen;
        uint64_t base = tail->base_offset;
        uint64_t handle = tail->handle;
        code = file_tail_inspect(file, tail, deadline_ns, &seen);
        if (code == 0 && base + seen.committed_bytes < end) {
            return PAWL_EPASTEND;
        }
        code = code != 0 ? code : seal_tail(file, handle, deadline_ns);
        if (file->closed || (code != 0 && pawl_error_reaction(code) == PAWL_REACTION_GIVE_UP)) {
            return code != 0 ? code : PAWL_ESHUTDOWN;
        }
        if (pawl_clock_ns() >= deadline_ns) {
            return code != 0 ? code : PAWL_EDEADLINE;
        }
        if (code != 0) {
            client_pause(file->pawl, WRITE_PAUSE_MS);
        }
    }
    return 0;
}

// ---- the calls ---------------------------------------------------------------------------------

static int write_all(struct write_job *job)
{
    // The whole range first: nothing is written of a write that ends beyond the end.
    int code = have_sealed(job->file, job->offset + job->bytes, job->deadline_ns);
    while (code == 0 && job->bytes > 0) {
        const struct file_chunk *chunk = file_chunk_at(job->file, job->offset);
        if (chunk == NULL || !chunk->sealed) { // a callback's read may have changed the map
            code = have_sealed(job->file, job->offset + job->bytes, job->deadline_ns);
            continue;
        }
        code = write_part(job, chunk);
    }
    return code;
}

static int check_write(const struct pawl_file *file, uint64_t offset, const void *data,
                       size_t bytes, const struct pawl_write_options *options)
{
    if (file == NULL || file->closed || file->pawl->in_callback || data == NULL || bytes == 0 ||
        (options != NULL && options->size != sizeof *options) || offset > INT64_MAX - bytes) {
        return PAWL_EINVALID;
    }
    const struct pawl_record_id *id = options != NULL ? options->id : NULL;
    if (id != NULL &&
        (id->epoch != 0 || id->sequence == 0 || (id->producer_hi == 0 && id->producer_lo == 0))) {
        return PAWL_EINVALID;
    }
    return bytes > pawl_record_bytes_max(file) ? PAWL_ETOOLARGE : 0;
}

int pawl_write(struct pawl_file *file, uint64_t offset, const void *data, size_t bytes,
               const struct pawl_write_options *options, struct pawl_write_result *ret_result)
{
    struct pawl_write_result result = {0};
    int code = check_write(file, offset, data, bytes, options);
    if (code == 0) {
        uint32_t deadline_ms = options != NULL ? options->deadline_ms : 0;
        struct write_job job = {.file = file,
                                .offset = offset,
                                .data = data,
                                .bytes = bytes,
                                .id = options != NULL ? options->id : NULL,
                                .deadline_ns = client_deadline_ns(file->pawl, deadline_ms),
                                .result = &result};
        file_keep(file);
        code = write_all(&job);
        file_outside_done(file);
    }
    result.status = code;
    if (ret_result != NULL) {
        *ret_result = result;
    }
    return code;
}

int pawl_extend(struct pawl_file *file, uint64_t bytes)
{
    if (file == NULL || file->closed || file->pawl->in_callback || bytes > INT64_MAX) {
        return PAWL_EINVALID;
    }
    uint64_t deadline_ns = client_deadline_ns(file->pawl, 0);
    Pawl__Extend extend = PAWL__EXTEND__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_EXTEND;
    request.extend = &extend;
    extend.file_id = file->file_id;
    extend.bytes = bytes;
    uint64_t present = 0;
    file_keep(file);
    int code = pawl_file_bytes(file, &present); // a tail that is long enough stays open
    if (code == 0 && present < bytes) {
        code = ask_until(file, &request, deadline_ns);
    }
    file_outside_done(file);
    return code;
}
