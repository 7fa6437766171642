// SPDX-License-Identifier: Apache-2.0
// Pieces of reads: which replica is asked, and what its answer is worth.
//
// Where the tail ends is said by its primary only, and the last writes at an offset are known to the log's
// primary first, so these two are asked first. All well replicas of other chunks are equal: the one is asked
// that this client waits for least, and among equals each client begins with another one, piece by piece.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/util.h"
#include "client/read_private.h"

#define READ_AVOID_MS 3000u
// Under way from one server. What is behind waits here and not in the link, where its attempt's time would run.
#define READ_SERVER_BYTES (16u << 20)
#define READ_SHARE 2u // of staging, at most one in so many: appends need some, too

static struct pawl_log_limit changed_limit; // such a replica is tried again and again

// ---- which replica ------------------------------------------------------------------------------

static const struct read_bad *find_bad(const struct read_job *job, uint64_t handle,
                                       uint64_t server_id)
{
    for (uint32_t i = 0; i < job->bad_count; i++) {
        if (job->bad[i].server_id == server_id && job->bad[i].handle == handle) {
            return &job->bad[i];
        }
    }
    return NULL;
}

static void note_bad(struct read_job *job, uint64_t handle, uint64_t server_id, int status)
{
    if (find_bad(job, handle, server_id) != NULL) {
        return;
    }
    uint32_t at = job->bad_count < READ_BAD_MAX ? job->bad_count++ : job->bad_next++ % READ_BAD_MAX;
    job->bad[at] = (struct read_bad){.handle = handle, .server_id = server_id, .status = status};
    job->file->read_failovers_count++;
}

bool read_all_failed(const struct read_job *job, const struct file_chunk *chunk, int status)
{
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        const struct read_bad *bad = find_bad(job, chunk->handle, chunk->replicas[i]);
        if (bad == NULL || bad->status != status) {
            return false;
        }
    }
    return chunk->replicas_count != 0;
}

// Those of replicas[from, to), in an order of this client's and this piece's own.
static uint32_t add_turned(const struct read_piece *piece, uint32_t from, uint32_t to,
                           uint64_t *candidates, uint32_t count)
{
    uint64_t turn =
        piece->file->pawl->read_turn + piece->chunk.index + piece->offset / READ_PIECE_BYTES;
    for (uint32_t i = from; i < to; i++) {
        candidates[count++] = piece->chunk.replicas[from + (turn + i) % (to - from)];
    }
    return count;
}

// In the order of preference; the first *ret_ranked ones come before all others, whatever their load.
static uint32_t list_candidates(const struct read_piece *piece, uint64_t *candidates,
                                uint32_t *ret_ranked)
{
    const struct read_job *job = piece->job;
    const struct file_chunk *chunk = &piece->chunk;
    uint32_t count = 0;
    if (job->server_id != 0) {
        candidates[count++] = job->server_id;
    }
    if (!job->only_that && !chunk->sealed && chunk->primary_id != 0) {
        candidates[count++] = chunk->primary_id;
    }
    if (!job->only_that && chunk->log_primary_id != 0) { // others learn of the last writes later
        candidates[count++] = chunk->log_primary_id;
    }
    *ret_ranked = count;
    if (!job->only_that) {
        count = add_turned(piece, 0, chunk->well_count, candidates, count);
        count = add_turned(piece, chunk->well_count, chunk->replicas_count, candidates, count);
    }
    return count;
}

static bool may_ask(const struct read_piece *piece, uint64_t server_id, bool avoided_too)
{
    return (avoided_too || !client_avoided(piece->file->pawl, server_id)) &&
           find_bad(piece->job, piece->chunk.handle, server_id) == NULL;
}

// The least loaded of the first well_count in [from, count), or the first one that may be asked at all.
static uint64_t least_loaded(const struct read_piece *piece, const uint64_t *candidates,
                             uint32_t from, uint32_t count, bool avoided_too)
{
    uint64_t best = 0;
    uint64_t best_bytes = UINT64_MAX;
    uint32_t equal_end = from + piece->chunk.well_count;
    for (uint32_t i = from; i < count && (i < equal_end || best == 0); i++) {
        uint64_t bytes = client_reading(piece->file->pawl, candidates[i]);
        if (bytes < best_bytes && may_ask(piece, candidates[i], avoided_too)) {
            best = candidates[i];
            best_bytes = bytes;
        }
    }
    return best;
}

// 0: none is left. Servers that were out of reach lately come last.
static uint64_t pick_replica(const struct read_piece *piece)
{
    uint64_t candidates[READ_CANDIDATES];
    uint32_t ranked;
    uint32_t count = list_candidates(piece, candidates, &ranked);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < ranked; i++) {
            if (may_ask(piece, candidates[i], pass != 0)) {
                return candidates[i];
            }
        }
        uint64_t best = least_loaded(piece, candidates, ranked, count, pass != 0);
        if (best != 0) {
            return best;
        }
    }
    return 0;
}

// ---- cutting ------------------------------------------------------------------------------------

uint64_t read_room(const struct pawl_file *file, const struct file_chunk *chunk, uint64_t inside)
{
    uint64_t bytes = chunk->sealed ? chunk->bytes : file->chunk_bytes;
    return inside < bytes ? bytes - inside : 0;
}

// Large reads are cut at multiples of the piece in the chunk: there large records begin, and the server reads
// a record whole for each piece that has a part of it.
struct read_piece *read_piece_new(struct read_job *job, const struct file_chunk *chunk)
{
    uint64_t inside = job->offset + job->planned - chunk->base_offset;
    uint64_t left =
        PAWL_MIN(read_room(job->file, chunk, inside), (uint64_t)(job->bytes - job->planned));
    uint64_t length = PAWL_MIN(left, (uint64_t)READ_PIECE_BYTES);
    if (length < left) {
        length = READ_PIECE_BYTES - inside % READ_PIECE_BYTES;
    }
    struct read_piece *piece = calloc(1, sizeof *piece);
    if (piece == NULL) {
        return NULL;
    }
    piece->file = job->file;
    piece->job = job;
    piece->chunk = *chunk;
    piece->state = PIECE_WAITING;
    piece->offset = inside;
    piece->length = (uint32_t)length;
    piece->target = job->data + job->planned;
    pawl_list_push_back(&job->pieces, &piece->node);
    job->pieces_count++;
    job->planned += (size_t)length;
    job->map_is_new = false;
    return piece;
}

void read_piece_free(struct read_piece *piece)
{
    pawl_list_remove(&piece->node);
    piece->job->pieces_count--;
    free(piece);
}

// ---- answers ------------------------------------------------------------------------------------

static void piece_failed(struct read_piece *piece, int status)
{
    struct read_job *job = piece->job;
    piece->state = PIECE_WAITING;
    job->last_error = status;
    note_bad(job, piece->chunk.handle, piece->server_id, status);
    if (status == PAWL_EDISCONNECTED) {
        client_avoid(piece->file->pawl, piece->server_id, READ_AVOID_MS);
    }
    pawl_log_debug("chunk %llu: read from server %016llx failed: %s",
                   (unsigned long long)piece->chunk.handle, (unsigned long long)piece->server_id,
                   pawl_strerror(status));
}

// True when who answered knows all that is committed in the chunk, or was asked for its view.
static bool may_say(const struct read_piece *piece, const struct wire_read_done *done)
{
    return done->sealed || piece->server_id == piece->chunk.primary_id || piece->job->only_that;
}

// Takes what arrived. 0, or what is wrong with it.
static int piece_take(struct read_piece *piece, const struct wire_read_done *done)
{
    uint8_t *target = piece->target + piece->got;
    const uint8_t *arrived = piece->staged != NULL ? piece->staged : target;
    if (done->length > piece->asked) {
        return PAWL_EPROTOCOL;
    }
    if (pawl_crc32c(0, arrived, done->length) != done->crc) {
        pawl_log_limited(&changed_limit, PAWL_LOG_WARN,
                         "chunk %llu: bytes from server %016llx changed on their way",
                         (unsigned long long)piece->chunk.handle,
                         (unsigned long long)piece->server_id);
        return PAWL_ECORRUPT;
    }
    file_seen_note(piece->file, piece->chunk.handle, done->log_bytes);
    bool end = !piece->chunk.sealed && may_say(piece, done) &&
               piece->offset + piece->got + done->length >= done->committed_bytes;
    if ((done->length == 0 && !end) || (done->length != 0 && done->log_bytes < piece->log_asked)) {
        return PAWL_EBUSY; // this replica does not know yet
    }
    if (piece->staged != NULL) {
        memcpy(target, piece->staged, done->length);
        piece->file->read_copied_bytes += done->length;
    }
    piece->log_first = piece->got == 0 ? done->log_bytes : piece->log_first;
    piece->log_last = done->log_bytes;
    piece->got += done->length;
    piece->state = piece->got == piece->length ? PIECE_ARRIVED : end ? PIECE_AT_END : PIECE_WAITING;
    return 0;
}

// The answer is there, or the endpoint is gone: no server writes to that place any more.
static void piece_landed(struct read_piece *piece)
{
    struct pawl *pawl = piece->file->pawl;
    if (piece->staged != NULL) {
        staging_put(&pawl->staging, piece->staged, piece->asked);
        pawl->read_staged_bytes -= piece->asked;
    }
    if (piece->direct != NULL) {
        registered_release(piece->direct);
    }
    piece->staged = NULL;
    piece->direct = NULL;
}

static void on_read(void *user, int status, const struct wire_header *reply)
{
    struct read_piece *piece = user;
    struct pawl_file *file = piece->file;
    struct read_job *job = piece->job;
    status = reply != NULL ? reply->status : status;
    client_reading_add(file->pawl, piece->server_id, -(int64_t)piece->asked);
    if (job != NULL) {
        job->flying_count--;
        status = status != 0 ? status : piece_take(piece, (const struct wire_read_done *)reply);
        if (status != 0) {
            piece_failed(piece, status);
        }
    }
    piece_landed(piece);
    if (job == NULL) {
        free(piece);
    }
    file_outside_done(file);
}

// ---- asking -------------------------------------------------------------------------------------

// Where the server is to write: into the user's memory when that is registered, else into a staged copy.
static struct fabric_region *piece_place(struct read_piece *piece, uint8_t **ret_place)
{
    struct pawl *pawl = piece->file->pawl;
    uint8_t *target = piece->target + piece->got;
    *ret_place = target;
    if (piece->job->in_staging) {
        return pawl->staging.region;
    }
    piece->direct = registered_find(pawl, target, piece->asked);
    if (piece->direct != NULL) {
        registered_hold(piece->direct);
        return registered_region(piece->direct);
    }
    if (pawl->read_staged_bytes + piece->asked > pawl->staging.bytes / READ_SHARE) {
        return NULL;
    }
    piece->staged = staging_get_low(&pawl->staging, piece->asked);
    *ret_place = piece->staged;
    if (piece->staged == NULL) {
        return NULL;
    }
    pawl->read_staged_bytes += piece->asked;
    return pawl->staging.region;
}

static void fill_request(struct read_piece *piece, const void *place, struct fabric_region *region,
                         struct link_request *request)
{
    struct wire_read *read = &request->message.read;
    read->header.type = WIRE_READ;
    read->chunk = piece->chunk.handle;
    read->offset = piece->offset + piece->got;
    read->length = piece->asked;
    read->log_chunks = piece->chunk.log_chunks;
    read->log_bytes = piece->log_asked;
    read->flags = piece->job->only_that ? 0 : WIRE_READ_ALL;
    read->buffer_address = fabric_region_remote(region, place);
    read->buffer_key = fabric_region_key(region);
    request->deadline_ns = client_attempt_ns(piece->job->deadline_ns);
    request->owner = piece;
    request->done = on_read;
    request->user = piece;
}

int read_piece_send(struct read_piece *piece)
{
    struct read_job *job = piece->job;
    struct pawl *pawl = piece->file->pawl;
    piece->asked = piece->length - piece->got;
    piece->log_asked = file_seen_bytes(piece->file, piece->chunk.handle);
    piece->server_id = pick_replica(piece);
    if (client_reading(pawl, piece->server_id) >= READ_SERVER_BYTES) {
        return -EAGAIN;
    }
    uint8_t *place;
    struct fabric_region *region = piece->server_id == 0 ? NULL : piece_place(piece, &place);
    if (region == NULL) {
        return piece->server_id == 0 ? PAWL_ENOCHUNK : -EAGAIN;
    }
    for (; piece->server_id != 0; piece->server_id = pick_replica(piece)) {
        struct link_request request = {0};
        fill_request(piece, place, region, &request);
        piece->link_place = file_place(piece->file, piece->server_id, piece->chunk.handle);
        int code = link_submit(pawl, piece->link_place, &request);
        if (code == 0) {
            piece->state = PIECE_FLYING;
            job->flying_count++;
            client_reading_add(pawl, piece->server_id, piece->asked);
            file_keep(piece->file);
            return 0;
        }
        piece_failed(piece, code);
    }
    piece_landed(piece);
    return PAWL_ENOCHUNK;
}

bool read_piece_leave(struct read_piece *piece)
{
    if (piece->direct != NULL) {
        link_close(piece->file->pawl, piece->link_place, PAWL_ESHUTDOWN);
    }
    if (piece->staged == NULL) { // what is fetched ahead can wait
        return false;
    }
    piece->job->flying_count--;
    piece->job->pieces_count--;
    piece->job = NULL;
    pawl_list_remove(&piece->node);
    return true;
}
