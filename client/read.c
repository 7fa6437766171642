// SPDX-License-Identifier: Apache-2.0
// Reading: pieces of chunks from any replica, with fail-over to another one.
//
// A read goes on in rounds. Each asks for some pieces at once, from the present offset on, takes those
// that arrived without a gap, and leaves a replica that failed for the rest of the present chunk. Where
// the tail ends is said by its primary only: everybody else may lag behind.
#include <errno.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/util.h"
#include "client/client_private.h"

#define READ_PIECE_BYTES (1u << 20)
#define READ_PIECES 8u
#define READ_PAUSE_MS 10u
#define READ_BAD_MAX (APPEND_SET_MAX + 3u) // replicas, a wanted server, primaries
#define READ_AVOID_MS 3000u

static struct pawl_log_limit changed_limit; // such a replica is tried again and again

struct read_piece {
    struct read_job *job;
    const struct file_chunk *chunk; // of the map, which does not change while a batch is under way
    uint64_t server_id;
    uint64_t offset; // in the chunk
    uint32_t length;
    uint8_t *staged;
    bool done;
    int status;
    uint32_t got;
    bool end; // nothing more is committed in the chunk, says one who should know
};

// A replica that failed in the present chunk.
struct read_bad {
    uint64_t server_id;
    int status;
};

struct read_job {
    struct pawl_file *file;
    const struct pawl_read_options *options;
    uint64_t deadline_ns;
    uint64_t offset;
    uint8_t *data;
    size_t bytes;
    size_t got;
    bool end;
    bool maybe_end;
    int last_error;
    uint64_t bad_handle; // the present chunk
    struct read_bad bad[READ_BAD_MAX];
    uint32_t bad_count;
    struct read_piece pieces[READ_PIECES];
    uint32_t pieces_count;
};

static bool only_that(const struct read_job *job)
{
    return job->options != NULL && job->options->only_that && job->options->server_id != 0;
}

// ---- which replica ------------------------------------------------------------------------------

static const struct read_bad *find_bad(const struct read_job *job, uint64_t handle,
                                       uint64_t server_id)
{
    for (uint32_t i = 0; handle == job->bad_handle && i < job->bad_count; i++) {
        if (job->bad[i].server_id == server_id) {
            return &job->bad[i];
        }
    }
    return NULL;
}

// 0: none is left. Servers that were out of reach lately come last.
static uint64_t pick_replica(const struct read_job *job, const struct file_chunk *chunk)
{
    uint64_t candidates[READ_BAD_MAX];
    uint32_t count = 0;
    uint64_t wanted = job->options == NULL ? 0 : job->options->server_id;
    if (wanted != 0) {
        candidates[count++] = wanted;
    }
    if (!only_that(job)) {
        if (!chunk->sealed && chunk->primary_id != 0) {
            candidates[count++] = chunk->primary_id;
        }
        if (chunk->log_primary_id != 0) { // others learn of the last writes a moment later
            candidates[count++] = chunk->log_primary_id;
        }
        for (uint32_t i = 0; i < chunk->replicas_count; i++) {
            candidates[count++] = chunk->replicas[i];
        }
    }
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < count; i++) {
            bool avoided = pass == 0 && client_avoided(job->file->pawl, candidates[i]);
            if (!avoided && find_bad(job, chunk->handle, candidates[i]) == NULL) {
                return candidates[i];
            }
        }
    }
    return 0;
}

static bool all_failed(const struct read_job *job, const struct file_chunk *chunk, int status)
{
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        const struct read_bad *bad = find_bad(job, chunk->handle, chunk->replicas[i]);
        if (bad == NULL || bad->status != status) {
            return false;
        }
    }
    return chunk->replicas_count != 0;
}

// ---- pieces -------------------------------------------------------------------------------------

// True when who answered knows all that is committed in the chunk, or was asked for its view.
static bool may_say(const struct read_piece *piece, const struct wire_read_done *done)
{
    return done->sealed || piece->server_id == piece->chunk->primary_id || only_that(piece->job);
}

static void on_read(void *user, int status, const struct wire_header *reply)
{
    struct read_piece *piece = user;
    piece->done = true;
    piece->status = reply != NULL ? reply->status : status;
    if (piece->status != 0) {
        return;
    }
    const struct wire_read_done *done = (const struct wire_read_done *)reply;
    if (done->length > piece->length) {
        piece->status = PAWL_EPROTOCOL;
    } else if (pawl_crc32c(0, piece->staged, done->length) != done->crc) {
        pawl_log_limited(&changed_limit, PAWL_LOG_WARN,
                         "chunk %llu: bytes from server %016llx changed on their way",
                         (unsigned long long)piece->chunk->handle,
                         (unsigned long long)piece->server_id);
        piece->status = PAWL_ECORRUPT;
    } else {
        file_seen_note(piece->job->file, piece->chunk->handle, done->log_bytes);
        piece->got = done->length;
        piece->end = !piece->chunk->sealed && may_say(piece, done) &&
                     piece->offset + done->length >= done->committed_bytes;
        if (done->length == 0 && !piece->end) {
            piece->status = PAWL_EBUSY; // this replica does not know yet
        }
    }
}

static int piece_send(struct read_job *job, struct read_piece *piece)
{
    struct pawl *pawl = job->file->pawl;
    piece->staged = staging_get(&pawl->staging, piece->length);
    if (piece->staged == NULL) {
        return -EAGAIN;
    }
    struct link_request request = {0};
    struct wire_read *read = &request.message.read;
    read->header.type = WIRE_READ;
    read->chunk = piece->chunk->handle;
    read->offset = piece->offset;
    read->length = piece->length;
    read->log_chunks = piece->chunk->log_chunks;
    read->log_bytes = file_seen_bytes(job->file, piece->chunk->handle);
    read->flags = only_that(job) ? 0 : WIRE_READ_ALL;
    read->buffer_address = fabric_region_remote(pawl->staging.region, piece->staged);
    read->buffer_key = fabric_region_key(pawl->staging.region);
    request.deadline_ns = client_attempt_ns(job->deadline_ns);
    request.done = on_read;
    request.user = piece;
    uint64_t place = file_place(job->file, piece->server_id, piece->chunk->handle);
    int code = link_submit(pawl, place, &request);
    if (code != 0) {
        piece->done = true;
        piece->status = code;
    }
    return 0;
}

// Bytes that the chunk has, or may have, from `inside` on.
static uint64_t room_behind(const struct pawl_file *file, const struct file_chunk *chunk,
                            uint64_t inside)
{
    uint64_t bytes = chunk->sealed ? chunk->bytes : file->chunk_bytes;
    return inside < bytes ? bytes - inside : 0;
}

// Sends what can be read at once from job->offset on: pieces of one chunk after another. -EAGAIN: there
// is no memory for them now.
static int batch_send(struct read_job *job)
{
    uint64_t offset = job->offset + job->got;
    size_t left = job->bytes - job->got;
    job->pieces_count = 0;
    while (left > 0 && job->pieces_count < READ_PIECES) {
        const struct file_chunk *chunk = file_chunk_at(job->file, offset);
        uint64_t server_id = chunk == NULL ? 0 : pick_replica(job, chunk);
        uint64_t inside = chunk == NULL ? 0 : offset - chunk->base_offset;
        uint64_t room = chunk == NULL ? 0 : room_behind(job->file, chunk, inside);
        if (server_id == 0 || room == 0) {
            return 0;
        }
        room = PAWL_MIN(room, (uint64_t)READ_PIECE_BYTES);
        uint64_t length = PAWL_MIN(room, (uint64_t)left);
        struct read_piece *piece = &job->pieces[job->pieces_count];
        *piece = (struct read_piece){.job = job,
                                     .chunk = chunk,
                                     .server_id = server_id,
                                     .offset = inside,
                                     .length = (uint32_t)length};
        int code = piece_send(job, piece);
        if (code != 0) {
            return code;
        }
        job->pieces_count++;
        offset += length;
        left -= (size_t)length;
    }
    return 0;
}

static void batch_wait(struct read_job *job)
{
    for (uint32_t i = 0; i < job->pieces_count; i++) {
        while (!job->pieces[i].done) {
            client_turn(job->file->pawl, UINT64_MAX); // each piece's own deadline ends it
        }
    }
}

static void piece_failed(struct read_job *job, const struct read_piece *piece)
{
    job->last_error = piece->status;
    if (piece->status == PAWL_EDISCONNECTED) {
        client_avoid(job->file->pawl, piece->server_id, READ_AVOID_MS);
    }
    if (piece->chunk->handle == job->bad_handle && job->bad_count < READ_BAD_MAX &&
        find_bad(job, job->bad_handle, piece->server_id) == NULL) {
        job->bad[job->bad_count++] =
            (struct read_bad){.server_id = piece->server_id, .status = piece->status};
        job->file->read_failovers_count++;
    }
    pawl_log_debug("chunk %llu: read from server %016llx failed: %s",
                   (unsigned long long)piece->chunk->handle, (unsigned long long)piece->server_id,
                   pawl_strerror(piece->status));
}

// Takes the gapless prefix of what arrived.
static void batch_take(struct read_job *job)
{
    bool going = true;
    for (uint32_t i = 0; i < job->pieces_count; i++) {
        struct read_piece *piece = &job->pieces[i];
        if (piece->status != 0) {
            piece_failed(job, piece);
            going = false;
        } else if (going) {
            memcpy(job->data + job->got, piece->staged, piece->got);
            job->got += piece->got;
            job->maybe_end = piece->end;
            going = piece->got == piece->length;
        }
        staging_put(&job->file->pawl->staging, piece->staged, piece->length);
    }
}

// ---- rounds -------------------------------------------------------------------------------------

// The map ends before the present offset: is there really nothing?
static int behind_map(struct read_job *job)
{
    int code = file_chunks_refresh(job->file, job->deadline_ns);
    if (code == 0 && file_chunk_at(job->file, job->offset + job->got) == NULL) {
        job->end = true;
    }
    return code;
}

static int none_left(struct read_job *job, const struct file_chunk *chunk)
{
    if (all_failed(job, chunk, PAWL_ECORRUPT)) {
        return PAWL_EDAMAGED;
    }
    if (all_failed(job, chunk, PAWL_EPROVIDER)) {
        return PAWL_EPROVIDER; // waiting mends no configuration
    }
    if (only_that(job)) {
        return job->last_error;
    }
    bool sealed = chunk->sealed;
    client_pause(job->file->pawl, READ_PAUSE_MS);
    job->bad_count = 0;
    // Others may hold the chunk by now. An open one without a primary gets one when it is asked for.
    return sealed ? file_chunks_refresh(job->file, job->deadline_ns)
                  : file_chunks_settle(job->file, job->deadline_ns);
}

// The open tail seems to end here. Its map may be old: it ends only if its primary still is one.
static int tail_end(struct read_job *job, const struct file_chunk *chunk)
{
    if (only_that(job)) {
        job->end = true;
        return 0;
    }
    struct wire_inspected tail;
    int code = file_tail_inspect(job->file, chunk, job->deadline_ns, &tail);
    if (code == 0 && !tail.sealed) {
        job->end = tail.committed_bytes <= job->offset + job->got - chunk->base_offset;
        return 0;
    }
    if (code == PAWL_EPROVIDER) {
        return code;
    }
    if (code != 0) {
        job->last_error = code;
        client_pause(job->file->pawl, READ_PAUSE_MS);
    }
    return file_chunks_settle(job->file, job->deadline_ns);
}

static int job_round(struct read_job *job)
{
    uint64_t offset = job->offset + job->got;
    const struct file_chunk *chunk = file_chunk_at(job->file, offset);
    if (chunk == NULL) {
        return behind_map(job);
    }
    if (chunk->handle != job->bad_handle) {
        job->bad_handle = chunk->handle;
        job->bad_count = 0;
    }
    if (room_behind(job->file, chunk, offset - chunk->base_offset) == 0) {
        return tail_end(job, chunk);
    }
    int code = batch_send(job);
    if (job->pieces_count == 0) {
        if (code == -EAGAIN) { // appends under way will give memory back
            client_pause(job->file->pawl, READ_PAUSE_MS);
            return 0;
        }
        return none_left(job, chunk);
    }
    job->maybe_end = false;
    batch_wait(job);
    batch_take(job);
    if (job->maybe_end && job->got < job->bytes) {
        return tail_end(job, file_chunk_at(job->file, job->offset + job->got));
    }
    return 0;
}

int pawl_read(struct pawl_file *file, uint64_t offset, void *data, size_t bytes,
              const struct pawl_read_options *options, size_t *ret_bytes)
{
    if (file == NULL || (data == NULL && bytes != 0) || ret_bytes == NULL ||
        file->pawl->in_callback || (options != NULL && options->size != sizeof *options)) {
        return PAWL_EINVALID;
    }
    struct read_job job = {
        .file = file, .options = options, .offset = offset, .data = data, .bytes = bytes};
    job.bytes = (size_t)PAWL_MIN((uint64_t)bytes, UINT64_MAX - offset);
    job.deadline_ns = client_deadline_ns(file->pawl, options != NULL ? options->deadline_ms : 0);
    int code = job.bytes == 0 ? 0 : client_fabric(file->pawl);
    file_keep(file);
    while (code == 0 && job.got < job.bytes && !job.end) {
        if (pawl_clock_ns() >= job.deadline_ns) {
            code = job.last_error != 0 ? job.last_error : PAWL_EDEADLINE;
            break;
        }
        code = job_round(&job);
    }
    if (code == PAWL_EPROVIDER) {
        file->chunks_count = 0; // servers may offer other fabrics by the next time
    }
    file_outside_done(file);
    *ret_bytes = job.got;
    return code;
}
