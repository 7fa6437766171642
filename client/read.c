// SPDX-License-Identifier: Apache-2.0
// Reading: jobs that go on in every turn of the client, pieces of each under way at several replicas.
//
// A job keeps a window of pieces. Those that arrived without a gap count as read; a piece that failed is asked
// of another replica while the others go on. When no replica is left for the piece in front, or the tail seems
// to end there, the rest is dropped, the master or the tail's primary is asked, and the window is cut anew.
//
// A job ends only when none of its pieces is under way that a server writes straight into the user's memory:
// its link has answered, or is closed and its endpoint destroyed, so no late write can land there.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "client/read_private.h"

#define AHEAD_COPY_MAX (64u << 10)
#define READ_CALL_MS 5000u

// ---- the end ------------------------------------------------------------------------------------

static void pieces_drop(struct read_job *job)
{
    pawl_assert(job->flying_count == 0);
    pawl_list_for_each_safe (node, &job->pieces) {
        read_piece_free(pawl_container_of(node, struct read_piece, node));
    }
    job->planned = job->got;
}

static void tail_free(struct read_tail *tail)
{
    file_outside_done(tail->file);
    free(tail);
}

static void job_end(struct read_job *job)
{
    struct pawl_file *file = job->file;
    pieces_drop(job);
    if (job->tail != NULL && job->tail->answered) {
        tail_free(job->tail);
    } else if (job->tail != NULL) {
        job->tail->job = NULL;
    }
    job->tail = NULL;
    if (job->status == PAWL_EPROVIDER) {
        file->chunks_count = 0; // servers may offer other fabrics by the next time
    }
    pawl_list_remove(&job->node);
    if (job->landed != NULL) {
        job->landed(job);
        free(job);
        return;
    }
    file->reads_count--;
    file->read_bytes += job->got;
    job->result = (struct pawl_read_result){.status = job->status, .bytes = job->got};
    pawl_list_push_back(&file->reads_done, &job->node);
}

void read_job_stop(struct read_job *job, int status)
{
    if (!job->ending) {
        job->ending = true;
        job->status = status;
    }
}

// ---- the tail's end -----------------------------------------------------------------------------

static void on_tail(void *user, int status, const struct wire_header *reply)
{
    struct read_tail *tail = user;
    if (tail->job == NULL) {
        tail_free(tail);
        return;
    }
    tail->answered = true;
    tail->status = reply != NULL ? reply->status : status;
    if (tail->status == 0) {
        memcpy(&tail->inspected, reply, sizeof tail->inspected);
        tail->status = file_tail_check(tail->file, &tail->inspected);
    }
}

static void pause_and_map(struct read_job *job, bool settle)
{
    job->wait = WAIT_PAUSE;
    job->settle = settle;
    job->retry_ns = pawl_clock_ns() + READ_PAUSE_MS * PAWL_NS_PER_MS;
}

static void want_map(struct read_job *job, bool settle)
{
    job->wait = WAIT_MAP;
    job->ticket = file_chunks_want(job->file, settle, job->deadline_ns);
}

// The open tail seems to end here, and its map may be old: its primary is asked, and then the master. A primary
// that is cut off says that it is one for as long as its lease lasts, while others have acknowledged records that it
// knows nothing of. When the master still names it, with no newer version, there were none when the read began.
static void tail_ask(struct read_job *job, const struct file_chunk *chunk)
{
    if (job->only_that) {
        read_job_stop(job, 0);
        return;
    }
    struct read_tail *tail = calloc(1, sizeof *tail);
    if (tail == NULL) {
        read_job_stop(job, -ENOMEM);
        return;
    }
    *tail = (struct read_tail){.file = job->file,
                               .job = job,
                               .handle = chunk->handle,
                               .base_offset = chunk->base_offset,
                               .primary_id = chunk->primary_id};
    struct link_request request = {0};
    request.message.inspect.header.type = WIRE_INSPECT;
    request.message.inspect.chunk = chunk->handle;
    request.deadline_ns = client_attempt_ns(job->deadline_ns);
    request.done = on_tail;
    request.user = tail;
    int code = link_submit(job->file->pawl, file_place(job->file, chunk->primary_id, chunk->handle),
                           &request);
    if (code != 0) {
        free(tail);
        job->last_error = code;
        pause_and_map(job, true);
        return;
    }
    file_keep(job->file);
    job->tail = tail;
    job->wait = WAIT_TAIL;
}

static bool tail_is_last(const struct read_job *job, const struct read_tail *tail)
{
    const struct file_chunk *chunk = file_chunk_at(job->file, job->offset + job->got);
    return chunk != NULL && !chunk->sealed && chunk->handle == tail->handle &&
           chunk->primary_id == tail->primary_id && chunk->version <= tail->inspected.version;
}

static void on_tail_told(void *user, int code, const Pawl__Reply *reply)
{
    struct read_tail *tail = user;
    tail->file->pawl->answered = true;
    if (tail->job == NULL) {
        tail_free(tail);
        return;
    }
    tail->answered = true;
    tail->status = control_code(code, reply);
    if (tail->status == 0 &&
        (reply->body_case != PAWL__REPLY__BODY_CHUNKS || reply->chunks->n_chunks != 1)) {
        tail->status = PAWL_ENOCHUNK;
    }
    if (tail->status == 0) {
        const Pawl__Chunk *chunk = reply->chunks->chunks[0];
        tail->confirmed =
            chunk->handle == tail->handle && chunk->state != PAWL__CHUNK_STATE__CHUNK_SEALED &&
            chunk->primary_id == tail->primary_id && chunk->version <= tail->inspected.version;
        tail->status = tail->confirmed ? 0 : PAWL_ENOTPRIMARY;
    }
}

// One chunk and not the map, which may have many pages: a reader that follows a file comes here with each read.
static int tail_confirm(struct read_job *job)
{
    uint64_t now_ns = pawl_clock_ns();
    uint64_t left_ms =
        job->deadline_ns > now_ns ? (job->deadline_ns - now_ns) / PAWL_NS_PER_MS + 1 : 1;
    Pawl__GetChunks get = PAWL__GET_CHUNKS__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_GET_CHUNKS;
    request.get_chunks = &get;
    get.file_id = job->file->file_id;
    get.handle = job->tail->handle;
    return control_submit(job->file->pawl, &request, (uint32_t)PAWL_MIN(left_ms, READ_CALL_MS),
                          on_tail_told, job->tail);
}

static void tail_answered(struct read_job *job)
{
    struct read_tail *tail = job->tail;
    bool here = tail->status == 0 && !tail->inspected.sealed &&
                tail->inspected.committed_bytes <= job->offset + job->got - tail->base_offset;
    if (here && !tail->confirmed && job->map_is_own) { // the master was asked in this read
        tail->confirmed = tail_is_last(job, tail);
        tail->status = tail->confirmed ? 0 : PAWL_ENOTPRIMARY;
    } else if (here && !tail->confirmed) {
        tail->status = tail_confirm(job);
        if (tail->status == 0) {
            tail->answered = false;
            return;
        }
    }
    job->tail = NULL;
    job->wait = WAIT_NONE;
    if (tail->status == PAWL_EPROVIDER) {
        read_job_stop(job, tail->status);
    } else if (tail->status != 0) {
        job->last_error = tail->status;
        pause_and_map(job, true);
    } else if (tail->inspected.sealed) {
        want_map(job, true);
    } else if (here) {
        read_job_stop(job, 0);
    }
    tail_free(tail);
}

// ---- the window ---------------------------------------------------------------------------------

// Takes the pieces that arrived without a gap. In a chunk that was written to, a piece must not show an older
// point of the order of writes than the one before it: it is asked for again.
static bool pieces_take(struct read_job *job)
{
    bool busy = false;
    while (!pawl_list_is_empty(&job->pieces) && !job->at_end) {
        struct read_piece *piece =
            pawl_container_of(pawl_list_first(&job->pieces), struct read_piece, node);
        bool arrived = piece->state == PIECE_ARRIVED || piece->state == PIECE_AT_END;
        if (!arrived) {
            break;
        }
        busy = true;
        if (piece->chunk.handle == job->log_handle && piece->log_first < job->log_bytes) {
            piece->got = 0;
            piece->state = PIECE_WAITING;
            break;
        }
        job->log_handle = piece->chunk.handle;
        job->log_bytes = piece->log_last;
        job->got += piece->got;
        job->at_end = piece->state == PIECE_AT_END;
        read_piece_free(piece);
    }
    return busy;
}

static void none_left(struct read_job *job, const struct file_chunk *chunk)
{
    if (read_all_failed(job, chunk, PAWL_ECORRUPT)) {
        read_job_stop(job, PAWL_EDAMAGED);
    } else if (read_all_failed(job, chunk, PAWL_EPROVIDER)) {
        read_job_stop(job, PAWL_EPROVIDER); // waiting mends no configuration
    } else if (job->only_that) {
        read_job_stop(job, job->last_error);
    } else {
        // Others may hold the chunk by now. An open one without a primary gets one when it is asked for.
        pause_and_map(job, !chunk->sealed);
        job->bad_count = 0;
        pieces_drop(job);
    }
}

// False: no more can be sent now.
static bool piece_try(struct read_job *job, struct read_piece *piece)
{
    int code = read_piece_send(piece);
    if (code == -EAGAIN) { // what is under way will give memory back
        job->starved = true;
        job->retry_ns = pawl_clock_ns() + READ_PAUSE_MS * PAWL_NS_PER_MS;
    } else if (code != 0 && job->flying_count == 0 &&
               &piece->node == pawl_list_first(&job->pieces)) {
        struct file_chunk chunk = piece->chunk;
        none_left(job, &chunk);
    }
    return code == 0;
}

// Nothing is planned, and the map has nothing at the present offset.
static void behind_map(struct read_job *job)
{
    if (job->map_is_new) {
        read_job_stop(job, 0);
    } else {
        want_map(job, false);
    }
}

// Plans the next piece and asks for it. False: no more can be planned now.
static bool piece_plan(struct read_job *job, uint64_t now_ns)
{
    bool first = job->pieces_count == 0;
    if (first && job->may_ahead) {
        bool wait = false;
        size_t served = read_ahead_take(job, now_ns, &wait);
        job->got += served;
        job->planned += served;
        if (served != 0 || wait) {
            return served != 0;
        }
    }
    uint64_t offset = job->offset + job->planned;
    const struct file_chunk *chunk = file_chunk_at(job->file, offset);
    if (chunk == NULL || read_room(job->file, chunk, offset - chunk->base_offset) == 0) {
        if (first && chunk == NULL) {
            behind_map(job);
        } else if (first) {
            tail_ask(job, chunk);
        }
        return false;
    }
    struct read_piece *piece = read_piece_new(job, chunk);
    if (piece == NULL) {
        read_job_stop(job, -ENOMEM);
        return false;
    }
    return piece_try(job, piece);
}

static bool job_goes_on(const struct read_job *job)
{
    return !job->ending && job->wait == WAIT_NONE;
}

static bool window_fill(struct read_job *job, uint64_t now_ns)
{
    bool busy = false;
    job->starved = false;
    if (job->at_end) { // nothing behind the end is wanted, but it is still under way
        if (job->flying_count > 0) {
            return false;
        }
        pieces_drop(job);
        job->at_end = false;
        const struct file_chunk *chunk = file_chunk_at(job->file, job->offset + job->got);
        if (chunk == NULL) {
            behind_map(job);
        } else if (!chunk->sealed) { // otherwise there is a newer map already
            tail_ask(job, chunk);
        }
        return true;
    }
    pawl_list_for_each_safe (node, &job->pieces) {
        struct read_piece *piece = pawl_container_of(node, struct read_piece, node);
        if (piece->state == PIECE_WAITING) {
            if (!piece_try(job, piece)) {
                return busy;
            }
            busy = true;
        }
    }
    while (job_goes_on(job) && job->planned < job->bytes && job->pieces_count < READ_WINDOW &&
           piece_plan(job, now_ns)) {
        busy = true;
    }
    return busy;
}

// ---- a turn -------------------------------------------------------------------------------------

static void map_arrived(struct read_job *job, int code)
{
    job->wait = WAIT_NONE;
    if (code != 0) {
        read_job_stop(job, code);
        return;
    }
    job->map_is_new = true;
    job->map_is_own = true;
}

// Does what can be done without waiting. False: nothing.
static bool job_step(struct read_job *job, uint64_t now_ns)
{
    bool busy = false;
    if (!job->ending) {
        busy = pieces_take(job); // what has arrived counts, however late the poll
    }
    if (!job->ending && job->got == job->bytes) {
        read_job_stop(job, 0);
    }
    if (!job->ending && job->flying_count == 0 && now_ns >= job->deadline_ns) {
        read_job_stop(job, job->last_error != 0 ? job->last_error : PAWL_EDEADLINE);
    }
    if (job->ending) {
        if (job->flying_count == 0) {
            job_end(job);
            return true;
        }
        return busy;
    }
    int code;
    if (job->wait == WAIT_PAUSE && now_ns >= job->retry_ns) {
        want_map(job, job->settle);
    } else if (job->wait == WAIT_MAP && file_chunks_have(job->file, job->ticket, &code)) {
        map_arrived(job, code);
        busy = true;
    } else if (job->wait == WAIT_TAIL && job->tail->answered) {
        tail_answered(job);
        busy = true;
    }
    if (job_goes_on(job) && now_ns < job->deadline_ns) {
        busy |= window_fill(job, now_ns);
    }
    return busy || job->ending;
}

bool file_reads_run(struct pawl_file *file, uint64_t now_ns)
{
    bool busy = false;
    bool more = !pawl_list_is_empty(&file->reads);
    while (more) { // what arrives for one job may serve another
        more = false;
        pawl_list_for_each_safe (node, &file->reads) {
            struct read_job *job = pawl_container_of(node, struct read_job, node);
            more |= job_step(job, now_ns);
        }
        busy |= more;
        if (!more && !file->closed && file->read_ahead != NULL) {
            more = read_ahead_run(file, now_ns); // its jobs take their first step
        }
    }
    return busy;
}

uint64_t file_reads_wake_ns(const struct pawl_file *file)
{
    uint64_t wake_ns = UINT64_MAX;
    pawl_list_for_each (node, &file->reads) {
        const struct read_job *job = pawl_container_of(node, struct read_job, node);
        if (job->ending && job->flying_count > 0) {
            continue; // the requests' deadlines wake
        }
        wake_ns = PAWL_MIN(wake_ns, job->ending ? 0 : job->deadline_ns);
        if (job->wait == WAIT_PAUSE || job->starved) {
            wake_ns = PAWL_MIN(wake_ns, job->retry_ns);
        }
    }
    return wake_ns;
}

int file_reads_callbacks(struct pawl_file *file)
{
    int ran = 0;
    while (!pawl_list_is_empty(&file->reads_done)) {
        struct pawl_list *node = pawl_list_pop_front(&file->reads_done);
        struct read_job *job = pawl_container_of(node, struct read_job, node);
        job->done(job->user, &job->result);
        free(job);
        ran++;
    }
    return ran;
}

// ---- closing ------------------------------------------------------------------------------------

static void pieces_leave(struct read_job *job)
{
    pawl_list_for_each_safe (node, &job->pieces) {
        struct read_piece *piece = pawl_container_of(node, struct read_piece, node);
        if (piece->state == PIECE_FLYING) {
            (void)read_piece_leave(piece);
        }
    }
}

void file_reads_close(struct pawl_file *file, int status)
{
    pawl_list_for_each_safe (node, &file->reads) {
        struct read_job *job = pawl_container_of(node, struct read_job, node);
        if (job->waits) {
            continue;
        }
        (void)pieces_take(job);
        read_job_stop(job, job->got == job->bytes ? 0 : status);
        pieces_leave(job);
        if (job->flying_count == 0) {
            job_end(job);
        }
    }
    read_ahead_drop(file);
}

void file_reads_free(struct pawl_file *file)
{
    pawl_assert(pawl_list_is_empty(&file->reads) && pawl_list_is_empty(&file->reads_done));
    read_ahead_free(file);
}

// ---- submitting ---------------------------------------------------------------------------------

int read_job_start(const struct read_job *template, struct read_job **ret)
{
    struct read_job *job = malloc(sizeof *job);
    if (job == NULL) {
        return -ENOMEM;
    }
    *job = *template;
    pawl_list_init(&job->pieces);
    pawl_list_push_back(&job->file->reads, &job->node);
    job->file->reads_count += job->landed == NULL;
    *ret = job;
    return 0;
}

// -EAGAIN: too many are under way.
static int submit(struct read_job *job, const struct pawl_read_options *options)
{
    struct pawl_file *file = job->file;
    bool ahead = job->bytes != 0;
    if (file->reads_count >= file->pawl->depth_max) {
        return -EAGAIN;
    }
    job->bytes = (size_t)PAWL_MIN((uint64_t)job->bytes, UINT64_MAX - job->offset);
    if (options != NULL) {
        job->server_id = options->server_id;
        job->only_that = options->only_that && options->server_id != 0;
        ahead = ahead && !options->no_read_ahead && options->server_id == 0;
    }
    // Into registered memory large reads go without a copy: who has that submits several of them.
    if (ahead && (job->bytes < AHEAD_COPY_MAX ||
                  registered_find(file->pawl, job->data, job->bytes) == NULL)) {
        read_ahead_note(file, job->offset, job->bytes, &job->may_ahead);
    }
    struct read_job *started;
    return read_job_start(job, &started);
}

// Devices and memory may need longer than an attempt has: that comes before the read's time runs.
static int open_fabric(struct pawl *pawl, size_t bytes)
{
    return bytes == 0 ? 0 : client_fabric(pawl);
}

static int check_read(const struct pawl_file *file, const void *data, size_t bytes,
                      const struct pawl_read_options *options)
{
    bool wrong = file == NULL || file->closed || (data == NULL && bytes != 0) ||
                 (options != NULL && options->size != sizeof *options);
    return wrong ? PAWL_EINVALID : 0;
}

int pawl_read_submit(struct pawl_file *file, uint64_t offset, void *data, size_t bytes,
                     const struct pawl_read_options *options, pawl_read_fn *done, void *user)
{
    int code = check_read(file, data, bytes, options);
    if (code != 0 || done == NULL) {
        return code != 0 ? code : PAWL_EINVALID;
    }
    struct read_job job = {
        .file = file, .offset = offset, .data = data, .bytes = bytes, .done = done, .user = user};
    code = open_fabric(file->pawl, bytes);
    job.deadline_ns = client_deadline_ns(file->pawl, options != NULL ? options->deadline_ms : 0);
    return code != 0 ? code : submit(&job, options);
}

struct read_wait_for {
    bool done;
    struct pawl_read_result result;
};

static void on_read_done(void *user, const struct pawl_read_result *result)
{
    struct read_wait_for *wait = user;
    wait->result = *result;
    wait->done = true;
}

int pawl_read(struct pawl_file *file, uint64_t offset, void *data, size_t bytes,
              const struct pawl_read_options *options, size_t *ret_bytes)
{
    struct read_wait_for wait = {0};
    int code = check_read(file, data, bytes, options);
    if (code != 0 || ret_bytes == NULL || file->pawl->in_callback) {
        return PAWL_EINVALID;
    }
    struct pawl *pawl = file->pawl;
    struct read_job job = {.file = file,
                           .offset = offset,
                           .data = data,
                           .bytes = bytes,
                           .waits = true,
                           .done = on_read_done,
                           .user = &wait};
    code = open_fabric(pawl, bytes);
    job.deadline_ns = client_deadline_ns(pawl, options != NULL ? options->deadline_ms : 0);
    file_keep(file);
    code = code != 0 ? code : submit(&job, options);
    while (code == -EAGAIN && !file->closed && pawl_clock_ns() < job.deadline_ns) {
        client_turn(pawl, job.deadline_ns);
        code = submit(&job, options);
    }
    while (code == 0 && !wait.done) {
        client_turn(pawl, UINT64_MAX); // the read's own deadline ends it
    }
    file_outside_done(file);
    *ret_bytes = wait.result.bytes;
    return code == 0 ? wait.result.status : code == -EAGAIN ? PAWL_EDEADLINE : code;
}
