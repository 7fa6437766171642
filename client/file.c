// SPDX-License-Identifier: Apache-2.0
// Open files: creation, producers, resolving a record's outcome.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "client/client_private.h"

#define FILE_PRODUCER_NAME_MAX 255u
#define FILE_RETRY_MS 5u

uint64_t pawl_record_bytes_max(const struct pawl_file *file)
{
    return PAWL_MIN(file->chunk_bytes / 4, (uint64_t)WIRE_RECORD_MAX);
}

static void core_counters_add(struct append_counters *sum, const struct append_counters *part)
{
    sum->appends_count += part->appends_count;
    sum->retries_count += part->retries_count;
    sum->duplicates_count += part->duplicates_count;
    sum->failovers_count += part->failovers_count;
    sum->chunks_count += part->chunks_count;
}

int file_core_reset(struct pawl_file *file, uint64_t producer_hi, uint64_t producer_lo,
                    uint32_t epoch, uint64_t last_sequence)
{
    struct append_core_options options = {.file_id = file->file_id,
                                          .producer_hi = producer_hi,
                                          .producer_lo = producer_lo,
                                          .epoch = epoch,
                                          .last_sequence = last_sequence,
                                          .depth_max = file->pawl->depth_max,
                                          .random_seed = pawl_random_next(&file->pawl->random),
                                          .alloc = pawl_alloc_heap()};
    struct append_core *core;
    int code = append_core_new(&options, &core);
    if (code != 0) {
        return code;
    }
    if (file->core != NULL) {
        if (append_core_final(file->core) == PAWL_ELOST) {
            file->lost = file->producer;
        }
        core_counters_add(&file->past, append_core_counters(file->core));
        append_core_free(file->core);
    }
    file->core = core;
    file->core_generation++;
    file_events_drop(file);
    file->producer = (struct pawl_record_id){
        .producer_hi = producer_hi, .producer_lo = producer_lo, .epoch = epoch};
    return 0;
}

int file_new(struct pawl *pawl, struct pawl_file **ret)
{
    struct pawl_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        return -ENOMEM;
    }
    file->pawl = pawl;
    pawl_list_init(&file->events);
    pawl_list_init(&file->pending);
    pawl_list_init(&file->done);
    pawl_list_init(&file->streams);
    pawl_list_init(&file->reads);
    pawl_list_init(&file->reads_done);
    pawl_map_init(&file->seen, pawl_alloc_heap());
    int code = session_producer(file);
    if (code != 0) {
        free(file);
        return code;
    }
    pawl_list_push_back(&pawl->files, &file->node);
    *ret = file;
    return 0;
}

void file_free(struct pawl_file *file)
{
    pawl_list_remove(&file->node);
    file_events_drop(file);
    append_core_free(file->core);
    file_streams_free(file);
    file_seen_free(file);
    file_reads_free(file);
    free(file->pusher);
    free(file->fetch.chunks);
    free(file->chunks);
    free(file);
}

void file_keep(struct pawl_file *file)
{
    file->outside_count++;
}

void file_outside_done(struct pawl_file *file)
{
    pawl_assert(file->outside_count > 0);
    file->outside_count--;
}

void pawl_file_close(struct pawl_file *file)
{
    if (file == NULL) {
        return;
    }
    struct pawl *pawl = file->pawl;
    file->closed = true; // first, so that a callback submits nothing more
    file_fail_pending(file, PAWL_EUNKNOWN);
    file_streams_close(file);
    file_events_drop(file);
    file_reads_close(file, PAWL_ESHUTDOWN);
    if (pawl->in_callback) { // otherwise the caller's caller does it
        return;
    }
    file_keep(file);
    client_callbacks(pawl);
    // Writes from the memory of appends are under way, or servers' into that of reads.
    while (!pawl_list_is_empty(&file->done) || file->reads_count > 0 ||
           !pawl_list_is_empty(&file->reads_done)) {
        client_turn(pawl, UINT64_MAX);
    }
    file_outside_done(file);
    client_callbacks(pawl); // frees it, unless something else is to come
}

// ---- creating and opening -----------------------------------------------------------------------

static int take_file(void *user, const Pawl__Reply *reply)
{
    struct pawl_file *file = user;
    if (reply->body_case != PAWL__REPLY__BODY_FILE) {
        return PAWL_EPROTOCOL;
    }
    if (reply->file->directory) {
        return PAWL_EISDIR;
    }
    if (reply->file->file_id == 0 || reply->file->chunk_bytes == 0) {
        return PAWL_EPROTOCOL;
    }
    file->file_id = reply->file->file_id;
    file->chunk_bytes = reply->file->chunk_bytes;
    return 0;
}

static int open_by(struct pawl *pawl, Pawl__Request *request, struct pawl_file **ret)
{
    struct pawl_file *file;
    int code = file_new(pawl, &file);
    if (code != 0) {
        return code;
    }
    uint64_t deadline_ns = client_deadline_ns(pawl, 0);
    code = request->body_case == PAWL__REQUEST__BODY_CREATE
               ? control_call_once(pawl, request, deadline_ns, take_file, file)
               : control_call(pawl, request, deadline_ns, take_file, file, NULL);
    if (code != 0) {
        file_free(file);
        return code;
    }
    *ret = file;
    return 0;
}

int pawl_create(struct pawl *pawl, const char *path, const struct pawl_create_options *options,
                struct pawl_file **ret)
{
    if (pawl == NULL || path == NULL || ret == NULL || pawl->in_callback ||
        (options != NULL && options->size != sizeof *options)) {
        return PAWL_EINVALID;
    }
    Pawl__Create create = PAWL__CREATE__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_CREATE;
    request.create = &create;
    create.path = (char *)path;
    if (options != NULL) {
        create.replicas = options->replicas;
        create.min_replicas = options->min_replicas;
        create.chunk_bytes = options->chunk_bytes;
        create.exclusive = options->exclusive;
    }
    return open_by(pawl, &request, ret);
}

int pawl_open(struct pawl *pawl, const char *path, struct pawl_file **ret)
{
    if (pawl == NULL || path == NULL || ret == NULL || pawl->in_callback) {
        return PAWL_EINVALID;
    }
    Pawl__Stat stat = PAWL__STAT__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_STAT;
    request.stat = &stat;
    stat.path = (char *)path;
    return open_by(pawl, &request, ret);
}

// ---- producers ----------------------------------------------------------------------------------

static bool fresh(const struct pawl_file *file)
{
    return file != NULL && !file->pawl->in_callback && file->pending_count == 0 &&
           pawl_list_is_empty(&file->done);
}

static int take_producer(void *user, const Pawl__Reply *reply)
{
    struct pawl_record_id *id = user;
    if (reply->body_case != PAWL__REPLY__BODY_PRODUCER) {
        return PAWL_EPROTOCOL;
    }
    id->producer_hi = reply->producer->producer_hi;
    id->producer_lo = reply->producer->producer_lo;
    id->epoch = reply->producer->epoch;
    return 0;
}

static int open_producer(struct pawl_file *file, const char *name, uint64_t *ret_last_sequence)
{
    uint64_t deadline_ns = client_deadline_ns(file->pawl, 0);
    Pawl__OpenProducer open = PAWL__OPEN_PRODUCER__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_OPEN_PRODUCER;
    request.open_producer = &open;
    open.file_id = file->file_id;
    open.name = (char *)name;
    struct pawl_record_id id = {0};
    // Until its last sequence is known, an append would get a sequence that stands for another record.
    bool before = file->no_producer;
    file->no_producer = true;
    int code = control_call(file->pawl, &request, deadline_ns, take_producer, &id, NULL);
    if (code != 0) {
        file->no_producer = before;
        return code;
    }
    uint64_t last_sequence = 0;
    code = file->closed ? PAWL_ESHUTDOWN
                        : file_core_reset(file, id.producer_hi, id.producer_lo, id.epoch, 0);
    code = code != 0 ? code : file_epoch_append(file, deadline_ns, &last_sequence);
    if (code != 0) {
        return code;
    }
    code = file_core_reset(file, id.producer_hi, id.producer_lo, id.epoch, last_sequence);
    if (code == 0) {
        file->no_producer = false;
        *ret_last_sequence = last_sequence;
    }
    return code;
}

int pawl_producer_open(struct pawl_file *file, const char *name, uint64_t *ret_last_sequence)
{
    if (!fresh(file) || name == NULL || name[0] == '\0' || strlen(name) > FILE_PRODUCER_NAME_MAX ||
        ret_last_sequence == NULL) {
        return PAWL_EINVALID;
    }
    file_keep(file);
    int code = open_producer(file, name, ret_last_sequence);
    file_outside_done(file);
    return code;
}

int pawl_producer_set(struct pawl_file *file, uint64_t producer_hi, uint64_t producer_lo,
                      uint64_t last_sequence)
{
    if (!fresh(file) || (producer_hi == 0 && producer_lo == 0) ||
        (producer_hi & WIRE_SESSION_BIT) != 0) {
        return PAWL_EINVALID;
    }
    const struct pawl_record_id *lost =
        append_core_final(file->core) == PAWL_ELOST ? &file->producer : &file->lost;
    if (lost->producer_hi == producer_hi && lost->producer_lo == producer_lo && lost->epoch == 0) {
        return PAWL_ELOST;
    }
    int code = file_core_reset(file, producer_hi, producer_lo, 0, last_sequence);
    file->no_producer = file->no_producer && code != 0;
    return code;
}

void file_counters_add(const struct pawl_file *file, struct pawl_counters *sum)
{
    struct append_counters records = file->past;
    core_counters_add(&records, append_core_counters(file->core));
    sum->appends_count += records.appends_count;
    sum->retries_count += records.retries_count;
    sum->duplicates_count += records.duplicates_count;
    sum->failovers_count += records.failovers_count;
    sum->chunks_count += records.chunks_count;
    sum->payload_bytes += file->payload_bytes;
    sum->payload_copied_bytes += file->payload_copied_bytes;
}

void pawl_counters(const struct pawl_file *file, struct pawl_counters *ret)
{
    struct pawl_counters sum = file->written;
    file_streams_counters_add(file, &sum);
    sum.appends_count = 0; // these were writes
    file_counters_add(file, &sum);
    sum.read_failovers_count = file->read_failovers_count;
    sum.read_bytes = file->read_bytes;
    sum.read_copied_bytes = file->read_copied_bytes;
    *ret = sum;
}

// ---- resolving ----------------------------------------------------------------------------------

struct tail_place {
    uint64_t handle;
    uint64_t base_offset;
};

static int take_tail(void *user, const Pawl__Reply *reply)
{
    struct tail_place *place = user;
    *place = (struct tail_place){0};
    if (reply->body_case != PAWL__REPLY__BODY_TAIL) {
        return PAWL_EPROTOCOL;
    }
    if (reply->tail->chunk != NULL) {
        place->handle = reply->tail->chunk->handle;
        place->base_offset = reply->tail->chunk->base_offset;
    }
    return 0;
}

static int tail_place(struct pawl_file *file, uint64_t deadline_ns, struct tail_place *ret)
{
    Pawl__GetTail get = PAWL__GET_TAIL__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_GET_TAIL;
    request.get_tail = &get;
    get.file_id = file->file_id;
    return control_call(file->pawl, &request, deadline_ns, take_tail, ret, NULL);
}

// What is known to be committed stands no longer in the way of this producer's next appends.
static void learn_resolved(struct pawl_file *file, const struct pawl_record_id *id)
{
    if (id->producer_hi == file->producer.producer_hi &&
        id->producer_lo == file->producer.producer_lo && id->epoch == file->producer.epoch) {
        append_core_resolved(file->core, id->sequence);
    }
}

static int resolve(struct pawl_file *file, const struct pawl_record_id *id,
                   struct pawl_append_result *ret_result)
{
    uint64_t deadline_ns = client_deadline_ns(file->pawl, 0);
    struct tail_place place = {0};
    struct wire_appended found = {0};
    int code = PAWL_EBUSY;
    uint64_t handle = 0;
    while (pawl_clock_ns() < deadline_ns) {
        if (handle == 0) {
            code = tail_place(file, deadline_ns, &place);
            handle = place.handle;
        }
        if (code == 0 && handle == 0) {
            code = PAWL_EABSENT; // the file has no chunk yet
            break;
        }
        code = handle == 0 ? code : file_lookup(file, handle, id, deadline_ns, &found);
        if (code == PAWL_ESESSION) {
            code = session_lookup(file, id, deadline_ns, &found);
        }
        if (code == PAWL_EEARLIER && found.earlier_chunk != 0) {
            handle = found.earlier_chunk;
        } else if (code == 0 || pawl_error_reaction(code) == PAWL_REACTION_GIVE_UP) {
            break;
        } else {
            handle = 0; // the tail may have moved on
            client_turn(file->pawl, pawl_clock_ns() + (uint64_t)FILE_RETRY_MS * 1000000u);
        }
    }
    if (code == 0) {
        *ret_result = (struct pawl_append_result){
            .offset = found.file_offset, .id = *id, .duplicate = true, .durable = true};
        learn_resolved(file, id);
    }
    return code == PAWL_EEARLIER ? PAWL_EDEADLINE : code;
}

int pawl_resolve(struct pawl_file *file, const struct pawl_record_id *id,
                 struct pawl_append_result *ret_result)
{
    if (file == NULL || id == NULL || ret_result == NULL || file->pawl->in_callback) {
        return PAWL_EINVALID;
    }
    file_keep(file);
    int code = resolve(file, id, ret_result);
    file_outside_done(file);
    return code;
}
