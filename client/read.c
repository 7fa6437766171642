// SPDX-License-Identifier: Apache-2.0
// Reading: chunk maps, reads from any replica with fail-over, the committed length, lookups.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/util.h"
#include "client/client_private.h"

#define READ_PIECE_BYTES (1u << 20)
#define READ_PIECES 8u
#define READ_ATTEMPT_MS 3000u
#define READ_PAUSE_MS 10u
#define READ_BAD_MAX 32u

// ---- one call on a link, waited for -------------------------------------------------------------

struct link_wait {
    bool done;
    int status;
    union {
        struct wire_header header;
        struct wire_appended appended;
        struct wire_inspected inspected;
    } reply;
};

static void on_link_done(void *user, int status, const struct wire_header *reply)
{
    struct link_wait *wait = user;
    wait->done = true;
    wait->status = status;
    if (reply != NULL) {
        wait->status = reply->status;
        memcpy(&wait->reply, reply, PAWL_MIN((size_t)reply->bytes, sizeof wait->reply));
    }
}

static uint64_t attempt_deadline(uint64_t deadline_ns)
{
    return PAWL_MIN(deadline_ns, pawl_clock_ns() + READ_ATTEMPT_MS * PAWL_NS_PER_MS);
}

static int link_call(struct pawl *pawl, uint64_t server_id, struct link_request *request,
                     uint64_t deadline_ns, struct link_wait *wait)
{
    *wait = (struct link_wait){0};
    request->done = on_link_done;
    request->user = wait;
    request->deadline_ns = attempt_deadline(deadline_ns);
    int code = link_submit(pawl, server_id, request);
    while (code == 0 && !wait->done) {
        client_turn(pawl, UINT64_MAX); // the request's own deadline ends it
    }
    return code != 0 ? code : wait->status;
}

static void pause_ms(struct pawl *pawl, uint32_t ms)
{
    uint64_t until_ns = pawl_clock_ns() + ms * PAWL_NS_PER_MS;
    while (pawl_clock_ns() < until_ns) {
        client_turn(pawl, until_ns);
    }
}

// ---- chunk maps ---------------------------------------------------------------------------------

struct chunks_take {
    struct pawl_file *file;
    uint32_t next;
    bool more;
    struct file_chunk one; // when a single chunk was asked for
};

static void fill_chunk(struct pawl *pawl, struct file_chunk *to, const Pawl__Chunk *from)
{
    *to = (struct file_chunk){.handle = from->handle,
                              .base_offset = from->base_offset,
                              .bytes = from->length,
                              .primary_id = from->primary_id,
                              .index = from->index,
                              .sealed = from->state == PAWL__CHUNK_STATE__CHUNK_SEALED};
    for (size_t i = 0; i < from->n_replicas; i++) {
        client_learn(pawl, from->replicas[i]);
    }
    // Replicas that are well first, those that were reported damaged or are dead last.
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < from->n_replicas && to->replicas_count < APPEND_SET_MAX; i++) {
            const Pawl__Member *member = from->replicas[i];
            bool well = !member->damaged && member->state != PAWL__SERVER_STATE__SERVER_DEAD;
            if (well == (pass == 0)) {
                to->replicas[to->replicas_count++] = member->server_id;
            }
        }
    }
}

static int take_chunks(void *user, const Pawl__Reply *reply)
{
    struct chunks_take *take = user;
    if (reply->body_case != PAWL__REPLY__BODY_CHUNKS) {
        return PAWL_EPROTOCOL;
    }
    struct pawl_file *file = take->file;
    size_t count = reply->chunks->n_chunks;
    take->more = reply->chunks->more && count != 0;
    struct file_chunk *chunks =
        realloc(file->chunks, (take->next + count + 1) * sizeof *file->chunks);
    if (chunks == NULL) {
        return -ENOMEM;
    }
    file->chunks = chunks;
    for (size_t i = 0; i < count; i++) {
        fill_chunk(file->pawl, &chunks[take->next + i], reply->chunks->chunks[i]);
        if (chunks[take->next + i].index != take->next + i) {
            return PAWL_EPROTOCOL;
        }
    }
    take->next += (uint32_t)count;
    file->chunks_count = take->next;
    return 0;
}

static int chunks_fetch(struct pawl_file *file, uint32_t from_index, uint64_t deadline_ns)
{
    struct chunks_take take = {.file = file, .next = from_index};
    int code;
    do {
        Pawl__GetChunks get = PAWL__GET_CHUNKS__INIT;
        Pawl__Request request = PAWL__REQUEST__INIT;
        request.body_case = PAWL__REQUEST__BODY_GET_CHUNKS;
        request.get_chunks = &get;
        get.file_id = file->file_id;
        get.from_index = take.next;
        code = control_call(file->pawl, &request, deadline_ns, take_chunks, &take, NULL);
    } while (code == 0 && take.more);
    return code;
}

int file_chunks_refresh(struct pawl_file *file, uint64_t deadline_ns)
{
    file->chunks_count = 0;
    return chunks_fetch(file, 0, deadline_ns);
}

static int take_one(void *user, const Pawl__Reply *reply)
{
    struct chunks_take *take = user;
    if (reply->body_case != PAWL__REPLY__BODY_CHUNKS || reply->chunks->n_chunks != 1) {
        return PAWL_ENOCHUNK;
    }
    fill_chunk(take->file->pawl, &take->one, reply->chunks->chunks[0]);
    return 0;
}

int file_chunk_by_handle(struct pawl_file *file, uint64_t handle, uint64_t deadline_ns,
                         struct file_chunk *ret)
{
    struct chunks_take take = {.file = file};
    Pawl__GetChunks get = PAWL__GET_CHUNKS__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_GET_CHUNKS;
    request.get_chunks = &get;
    get.file_id = file->file_id;
    get.handle = handle;
    int code = control_call(file->pawl, &request, deadline_ns, take_one, &take, NULL);
    if (code == 0) {
        *ret = take.one;
    }
    return code;
}

// Asks for the tail, so that somebody holds its lease; PAWL_EBUSY and the like mean "not yet".
static int touch_tail(struct pawl_file *file, uint64_t deadline_ns)
{
    Pawl__GetTail get = PAWL__GET_TAIL__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_GET_TAIL;
    request.get_tail = &get;
    get.file_id = file->file_id;
    return control_call(file->pawl, &request, deadline_ns, NULL, NULL, NULL);
}

static bool tail_settled(const struct pawl_file *file)
{
    const struct file_chunk *last =
        file->chunks_count == 0 ? NULL : &file->chunks[file->chunks_count - 1];
    return last == NULL || last->sealed || last->primary_id != 0;
}

// Refreshes until the open tail, if there is one, has a primary.
static int chunks_settle(struct pawl_file *file, uint64_t deadline_ns)
{
    for (;;) {
        int code = file_chunks_refresh(file, deadline_ns);
        if (code != 0 || tail_settled(file)) {
            return code;
        }
        code = touch_tail(file, deadline_ns);
        if (code != 0 && pawl_error_reaction(code) == PAWL_REACTION_GIVE_UP) {
            return code;
        }
        if (code != 0) {
            if (pawl_clock_ns() >= deadline_ns) {
                return code;
            }
            pause_ms(file->pawl, READ_PAUSE_MS);
        }
    }
}

static const struct file_chunk *chunk_at(const struct pawl_file *file, uint64_t offset)
{
    for (uint32_t i = file->chunks_count; i > 0; i--) {
        const struct file_chunk *chunk = &file->chunks[i - 1];
        if (offset >= chunk->base_offset) {
            return !chunk->sealed || offset < chunk->base_offset + chunk->bytes ? chunk : NULL;
        }
    }
    return NULL;
}

// ---- lookups and lengths ------------------------------------------------------------------------

int file_lookup(struct pawl_file *file, uint64_t handle, const struct pawl_record_id *id,
                uint64_t deadline_ns, struct wire_appended *ret)
{
    struct file_chunk chunk;
    int code = file_chunk_by_handle(file, handle, deadline_ns, &chunk);
    if (code != 0) {
        return code;
    }
    // An open chunk is judged by its primary only: it alone knows all that is committed.
    uint32_t count = chunk.sealed ? chunk.replicas_count : 1;
    code = PAWL_EBUSY;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t server_id = chunk.sealed ? chunk.replicas[i] : chunk.primary_id;
        struct link_request request = {0};
        request.message.lookup.header.type = WIRE_LOOKUP;
        request.message.lookup.chunk = handle;
        request.message.lookup.id = (struct wire_record_id){.producer_hi = id->producer_hi,
                                                            .producer_lo = id->producer_lo,
                                                            .sequence = id->sequence,
                                                            .epoch = id->epoch};
        struct link_wait wait;
        code = link_call(file->pawl, server_id, &request, deadline_ns, &wait);
        if (code == 0 || code == PAWL_EEARLIER) {
            *ret = wait.reply.appended;
        }
        if (code == 0 || code == PAWL_EEARLIER || code == PAWL_EABSENT) {
            break;
        }
    }
    return code;
}

static int tail_bytes(struct pawl_file *file, const struct file_chunk *chunk, uint64_t deadline_ns,
                      uint64_t *ret)
{
    struct link_request request = {0};
    request.message.inspect.header.type = WIRE_INSPECT;
    request.message.inspect.chunk = chunk->handle;
    struct link_wait wait;
    int code = link_call(file->pawl, chunk->primary_id, &request, deadline_ns, &wait);
    if (code == 0 && !wait.reply.inspected.primary && !wait.reply.inspected.sealed) {
        code = PAWL_ENOTPRIMARY;
    }
    if (code == 0) {
        *ret = wait.reply.inspected.committed_bytes;
    }
    return code;
}

int pawl_file_bytes(struct pawl_file *file, uint64_t *ret_bytes)
{
    if (file == NULL || ret_bytes == NULL || file->pawl->in_callback) {
        return PAWL_EINVALID;
    }
    uint64_t deadline_ns = client_deadline_ns(file->pawl, 0);
    for (;;) {
        int code = chunks_settle(file, deadline_ns);
        if (code != 0) {
            return code;
        }
        const struct file_chunk *last =
            file->chunks_count == 0 ? NULL : &file->chunks[file->chunks_count - 1];
        uint64_t bytes = last == NULL ? 0 : last->bytes;
        if (last != NULL && !last->sealed) {
            code = tail_bytes(file, last, deadline_ns, &bytes);
        }
        if (code == 0) {
            *ret_bytes = (last == NULL ? 0 : last->base_offset) + bytes;
            return 0;
        }
        if (pawl_clock_ns() >= deadline_ns) {
            return code;
        }
        pause_ms(file->pawl, READ_PAUSE_MS);
    }
}

// ---- reading ------------------------------------------------------------------------------------

struct read_piece {
    struct read_job *job;
    const struct file_chunk *chunk; // of the map as it was when the batch began
    uint64_t server_id;
    uint64_t offset; // in the chunk
    uint32_t length;
    uint8_t *staged;
    bool done;
    int status;
    uint32_t got;
    bool end; // nothing more is committed in the chunk, as far as one can tell who may say so
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
    int last_error;
    uint32_t corrupt_count;     // replicas of the present chunk that failed their checksums
    uint64_t bad[READ_BAD_MAX]; // servers that failed since the last progress
    uint32_t bad_count;
    struct read_piece pieces[READ_PIECES];
    uint32_t pieces_count;
};

static bool is_bad(const struct read_job *job, uint64_t server_id)
{
    for (uint32_t i = 0; i < job->bad_count; i++) {
        if (job->bad[i] == server_id) {
            return true;
        }
    }
    return false;
}

static uint64_t pick_replica(const struct read_job *job, const struct file_chunk *chunk)
{
    uint64_t wanted = job->options == NULL ? 0 : job->options->server_id;
    if (wanted != 0 && (job->options->only_that || !is_bad(job, wanted))) {
        return is_bad(job, wanted) ? 0 : wanted;
    }
    if (!chunk->sealed && chunk->primary_id != 0 && !is_bad(job, chunk->primary_id)) {
        return chunk->primary_id;
    }
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        if (!is_bad(job, chunk->replicas[i])) {
            return chunk->replicas[i];
        }
    }
    return 0;
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
        pawl_log_warn("chunk %llu: bytes from server %016llx changed on their way",
                      (unsigned long long)piece->chunk->handle,
                      (unsigned long long)piece->server_id);
        piece->status = PAWL_ECORRUPT;
    } else {
        piece->got = done->length;
        bool may_say = piece->chunk->sealed || done->sealed ||
                       piece->server_id == piece->chunk->primary_id ||
                       (piece->job->options != NULL && piece->job->options->only_that);
        piece->end = may_say && piece->offset + done->length >= done->committed_bytes;
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
    read->buffer_address = fabric_region_remote(pawl->staging.region, piece->staged);
    read->buffer_key = fabric_region_key(pawl->staging.region);
    request.deadline_ns = attempt_deadline(job->deadline_ns);
    request.done = on_read;
    request.user = piece;
    int code = link_submit(pawl, piece->server_id, &request);
    if (code != 0) {
        piece->done = true;
        piece->status = code;
    }
    return 0;
}

// Sends what can be read at once from job->offset on: pieces of one chunk after another.
static void batch_send(struct read_job *job)
{
    uint64_t offset = job->offset + job->got;
    size_t left = job->bytes - job->got;
    job->pieces_count = 0;
    while (left > 0 && job->pieces_count < READ_PIECES) {
        const struct file_chunk *chunk = chunk_at(job->file, offset);
        uint64_t server_id = chunk == NULL ? 0 : pick_replica(job, chunk);
        if (server_id == 0) {
            return;
        }
        uint64_t inside = offset - chunk->base_offset;
        uint64_t length = PAWL_MIN((uint64_t)left, (uint64_t)READ_PIECE_BYTES);
        if (chunk->sealed) {
            length = PAWL_MIN(length, chunk->bytes - inside);
        }
        struct read_piece *piece = &job->pieces[job->pieces_count];
        *piece = (struct read_piece){.job = job,
                                     .chunk = chunk,
                                     .server_id = server_id,
                                     .offset = inside,
                                     .length = (uint32_t)length};
        if (piece_send(job, piece) != 0) {
            return;
        }
        job->pieces_count++;
        offset += length;
        left -= (size_t)length;
    }
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
    if (piece->status == PAWL_ECORRUPT && !is_bad(job, piece->server_id)) {
        job->corrupt_count++;
    }
    if (!is_bad(job, piece->server_id) && job->bad_count < READ_BAD_MAX) {
        job->bad[job->bad_count++] = piece->server_id;
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
            bool last = piece->chunk->index + 1 == job->file->chunks_count;
            job->end = piece->end && last && !piece->chunk->sealed;
            going = piece->got == piece->length;
            if (piece->got != 0) {
                job->corrupt_count = 0;
            }
        }
        staging_put(&job->file->pawl->staging, piece->staged, piece->length);
    }
}

// The map's end: is there really nothing behind it?
static int settle(struct read_job *job)
{
    job->bad_count = 0;
    job->corrupt_count = 0;
    int code = chunks_settle(job->file, job->deadline_ns);
    if (code == 0 && chunk_at(job->file, job->offset + job->got) == NULL) {
        job->end = true;
    }
    return code;
}

static int job_round(struct read_job *job)
{
    size_t before = job->got;
    const struct file_chunk *chunk = chunk_at(job->file, job->offset + job->got);
    if (chunk == NULL) {
        return settle(job);
    }
    batch_send(job);
    if (job->pieces_count == 0) { // every replica has failed
        if (job->corrupt_count >= chunk->replicas_count && job->corrupt_count != 0) {
            return PAWL_EDAMAGED;
        }
        if (job->options != NULL && job->options->only_that) {
            return job->last_error;
        }
        pause_ms(job->file->pawl, READ_PAUSE_MS);
        return settle(job);
    }
    batch_wait(job);
    batch_take(job);
    if (job->got > before) {
        job->bad_count = 0;
    } else if (job->end && !chunk->sealed) {
        // An open tail may have been sealed and followed by another one meanwhile.
        uint32_t count = job->file->chunks_count;
        job->end = false;
        int code = settle(job);
        job->end = job->end || count == job->file->chunks_count;
        return code;
    }
    return 0;
}

int pawl_read(struct pawl_file *file, uint64_t offset, void *data, size_t bytes,
              const struct pawl_read_options *options, size_t *ret_bytes)
{
    if (file == NULL || data == NULL || ret_bytes == NULL || file->pawl->in_callback ||
        (options != NULL && options->size != sizeof *options)) {
        return PAWL_EINVALID;
    }
    struct read_job job = {
        .file = file, .options = options, .offset = offset, .data = data, .bytes = bytes};
    job.deadline_ns = client_deadline_ns(file->pawl, options != NULL ? options->deadline_ms : 0);
    int code = client_fabric(file->pawl);
    while (code == 0 && job.got < bytes && !job.end) {
        if (pawl_clock_ns() >= job.deadline_ns) {
            code = job.last_error != 0 ? job.last_error : PAWL_EDEADLINE;
            break;
        }
        code = job_round(&job);
    }
    if (code == 0 || job.got > 0) {
        *ret_bytes = job.got;
        return job.got > 0 && code != 0 && job.got < bytes ? code : 0;
    }
    return code;
}
