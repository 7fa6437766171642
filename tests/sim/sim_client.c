// SPDX-License-Identifier: Apache-2.0
// The client: an application that appends, dies, comes back and tells its unfinished appends again.
#include "sim_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "sim_write.h"

#define ULL(x) ((unsigned long long)(x))
#define SIM_FINISH_APPENDS 5u
#define SIM_FINISH_DEADLINE_MS 30000u

// ---- notes -----------------------------------------------------------------------------------------------

struct sim_notes *sim_notes_new(struct sim *sim, uint32_t client)
{
    struct sim_notes *notes = sim_alloc(sizeof(*notes));
    notes->client = client;
    notes->capacity = 4096;
    notes->pending = sim_alloc(notes->capacity * sizeof(notes->pending[0]));
    notes->acked = sim_alloc(notes->capacity * sizeof(notes->acked[0]));
    notes->shared = sim->params.shared_name && client < 2;
    uint32_t file = notes->shared ? 0 : client % sim->params.files_count;
    snprintf(notes->path, sizeof(notes->path), "/f%u", file);
    if (sim->params.named) {
        snprintf(notes->name, sizeof(notes->name), "p%u", notes->shared ? 0 : client);
    }
    notes->sessions = sim->params.sessions && notes->name[0] == 0;
    notes->zombie = notes->sessions && sim->seed / 2 % 2 == client % 2;
    if (client >= sim->params.clients_count - sim->params.writers_count) {
        notes->writer = true;
        notes->name[0] = 0;
        notes->shared = false;
    }
    notes->producer_hi = sim_below(sim, UINT64_MAX);
    notes->producer_lo = 1000 + client;
    return notes;
}

void sim_notes_free(struct sim_notes *notes)
{
    if (notes != NULL) {
        free(notes->pending);
        free(notes->acked);
        free(notes);
    }
}

static void pending_add(struct sim_notes *notes, struct sim_append *append)
{
    pawl_assert(notes->pending_count < notes->capacity);
    notes->pending[notes->pending_count++] = append;
}

static void pending_remove(struct sim_notes *notes, const struct sim_append *append)
{
    for (uint32_t i = 0; i < notes->pending_count; i++) {
        if (notes->pending[i] == append) {
            notes->pending_count--;
            memmove(&notes->pending[i], &notes->pending[i + 1],
                    (notes->pending_count - i) * sizeof(notes->pending[0]));
            return;
        }
    }
}

static void ack(struct sim *sim, struct sim_notes *notes, struct sim_append *append,
                const struct append_action *done)
{
    sim_oracle_told(sim, append, done->replicated ? SIM_TOLD_HELD : SIM_TOLD_OK, done->file_offset);
    pending_remove(notes, append);
    notes->last_acked = PAWL_MAX(notes->last_acked, append->id.sequence);
    notes->finish_count += notes->finishing ? 1 : 0;
    if (notes->acked_count < notes->capacity) {
        notes->acked[notes->acked_count++] = append;
    }
}

static void absent(struct sim *sim, struct sim_notes *notes, struct sim_append *append)
{
    sim_oracle_told(sim, append, SIM_TOLD_ABSENT, 0);
    pending_remove(notes, append);
}

// ---- jobs: what the core has been given -----------------------------------------------------------------------

static void job_free(struct sim_job *job)
{
    if (job != NULL) {
        free(job->own_payload);
        free(job);
    }
}

struct sim_job *client_job(struct sim_client *c, uint64_t sequence, uint32_t crc)
{
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    while (pawl_map_iterate(&c->jobs, &cursor, &key, &value)) {
        struct sim_job *job = value;
        bool same = job->append != NULL && job->append->id.sequence == sequence;
        same |= PAWL_MUTANT(expect_renumbers) || PAWL_MUTANT(retry_renumbers);
        if (same && job->append != NULL && job->crc == crc) {
            return job;
        }
    }
    return NULL;
}

static int job_submit(struct sim *sim, struct sim_client *c, struct sim_job job, uint64_t sequence)
{
    uint32_t deadline_ms = c->notes->finishing ? SIM_FINISH_DEADLINE_MS : sim->params.deadline_ms;
    struct append_event event = {.type = APPEND_EVENT_SUBMIT,
                                 .sequence = sequence,
                                 .now_ns = sim_clock(sim, c->node),
                                 .crc = job.crc};
    struct sim_job *kept = sim_copy(&job, sizeof(job));
    kept->number = ++c->job_last;
    event.user = kept->number;
    event.deadline_ns = event.now_ns + deadline_ms * SIM_MS;
    event.length = job.epoch ? 0 : job.append->length;
    event.replicated = !job.epoch && job.append->replicated;
    event.record_flags = job.epoch   ? WIRE_RECORD_EPOCH
                         : job.flags ? job.flags
                                     : job.append->id.flags;
    // Before the step: its actions may end the job at once.
    pawl_assert(pawl_map_put(&c->jobs, kept->number, kept) == 0);
    int code = client_step(sim, c, event);
    if (code != 0) {
        pawl_map_remove(&c->jobs, kept->number);
        job_free(kept);
    }
    return code;
}

static bool is_under_way(const struct sim_client *c, const struct sim_append *append)
{
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    while (pawl_map_iterate(&c->jobs, &cursor, &key, &value)) {
        const struct sim_job *job = value;
        if (job->append != NULL && job->append->id.sequence == append->id.sequence) {
            return true;
        }
    }
    return false;
}

// ---- the producer ----------------------------------------------------------------------------------------------

static void core_start(struct sim *sim, struct sim_client *c, uint64_t last_sequence)
{
    const struct sim_params *p = &sim->params;
    struct append_core_options options = {.file_id = c->notes->file_id,
                                          .producer_hi = c->producer_hi,
                                          .producer_lo = c->producer_lo,
                                          .epoch = c->epoch,
                                          .last_sequence = last_sequence,
                                          .depth_max = p->depth_max,
                                          .attempt_ms = p->attempt_ms,
                                          .random_seed = sim_below(sim, UINT64_MAX),
                                          .alloc = pawl_alloc_heap()};
    pawl_assert(c->core == NULL);
    pawl_assert(append_core_new(&options, &c->core) == 0);
}

void client_core_stop(struct sim *sim, struct sim_client *c)
{
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    while (pawl_map_iterate(&c->jobs, &cursor, &key, &value)) {
        job_free(value);
    }
    pawl_map_fini(&c->jobs);
    pawl_map_init(&c->jobs, pawl_alloc_heap());
    for (uint32_t i = 0; i < c->notes->pending_count; i++) {
        sim_oracle_told(sim, c->notes->pending[i], SIM_TOLD_UNKNOWN, 0);
    }
    link_forget(sim, c);
    append_core_free(c->core);
    c->core = NULL;
    c->tick_ns = UINT64_MAX;
}

void client_run(struct sim *sim, struct sim_client *c)
{
    c->producer_hi = c->notes->producer_hi;
    c->producer_lo = c->notes->producer_lo;
    c->epoch = 0;
    core_start(sim, c, c->notes->last_acked);
    c->state = SIM_RUNNING;
}

// The last sequence that is in the file decides about everything that was sent in older epochs: what
// lies behind it can never get there.
static void epoch_opened(struct sim *sim, struct sim_client *c, uint64_t last_sequence)
{
    struct wire_record_id id = {
        .producer_hi = c->producer_hi, .producer_lo = c->producer_lo, .epoch = c->epoch};
    sim_oracle_epoch(sim, c->notes->file_id, &id, last_sequence);
    sim_note(sim, "%s epoch %u opens after sequence %llu", c->node->name, c->epoch,
             ULL(last_sequence));
    for (uint32_t i = 0; i < c->notes->pending_count;) {
        if (c->notes->pending[i]->id.sequence > last_sequence) {
            absent(sim, c->notes, c->notes->pending[i]);
        } else {
            i++;
        }
    }
    if (!c->notes->shared && last_sequence < c->notes->last_acked) {
        sim_note(sim, "%s was told last sequence %llu after %llu was acknowledged", c->node->name,
                 ULL(last_sequence), ULL(c->notes->last_acked));
        client_lost(sim, c->notes, c->producer_lo, last_sequence + 1);
    }
    c->state = SIM_RUNNING;
}

// The file was deleted: the application makes a new one under the same name and begins anew.
static void file_lost(struct sim *sim, struct sim_client *c)
{
    struct sim_notes *notes = c->notes;
    sim_note(sim, "%s file %llu is gone", c->node->name, ULL(notes->file_id));
    if (c->core != NULL) {
        client_core_stop(sim, c);
    }
    reader_fini(c);
    notes->file_id = 0;
    notes->real_file_id = 0;
    notes->written = 0;
    notes->pending_count = 0;
    notes->acked_count = 0;
    notes->last_acked = 0;
    notes->producer_lo += 100;
    c->gone = c->lost = false;
    c->state = SIM_CREATING;
}

static bool means_gone(const struct sim *sim, int code)
{
    return sim->params.remove && (code == PAWL_EDELETED || code == PAWL_ENOTFOUND);
}

static void producer_lost(struct sim *sim, struct sim_client *c)
{
    sim_note(sim, "%s epoch %u is over", c->node->name, c->epoch);
    client_core_stop(sim, c);
    c->state = SIM_RESTING;
}

// The anonymous one goes on under another id, the named one in another epoch.
static void on_lost(struct sim *sim, struct sim_client *c, uint64_t sequence)
{
    if (c->lost_records) {
        return; // told by the first of several
    }
    c->lost_records = true;
    sim_note(sim, "%s is told that its records from sequence %llu on are lost", c->node->name,
             ULL(sequence));
    client_lost(sim, c->notes, c->producer_lo, sequence);
}

static void producer_anew(struct sim *sim, struct sim_client *c)
{
    struct sim_notes *notes = c->notes;
    producer_lost(sim, c);
    c->lost_records = false;
    if (notes->name[0] == 0) {
        client_forget(notes);
        notes->producer_lo += 100;
        notes->pending_count = 0; // of the old one; what is unknown stays so
        notes->last_acked = 0;
        c->state = notes->sessions ? SIM_OPENING : SIM_CREATING;
    }
}

// ---- ends of appends ---------------------------------------------------------------------------------------------

// Nobody gave out a tail until the deadline.
static bool means_no_room(int code)
{
    return code == PAWL_ENOSPACE || code == PAWL_ENOSERVERS;
}

static void on_epoch_done(struct sim *sim, struct sim_client *c, const struct append_action *done)
{
    if (done->status == 0) {
        epoch_opened(sim, c, done->reply_sequence);
    } else {
        c->lost = true;
        c->gone |= means_gone(sim, done->status);
        if (!c->gone && done->status != PAWL_EFENCED && done->status != PAWL_EUNKNOWN &&
            done->status != PAWL_EDEADLINE && !means_no_room(done->status)) {
            sim_violation(sim, "%s epoch record ends with %d", c->node->name, done->status);
        }
    }
}

static void on_append_done(struct sim *sim, struct sim_client *c, struct sim_append *append,
                           const struct append_action *done)
{
    if (means_gone(sim, done->status)) {
        sim_oracle_told(sim, append, SIM_TOLD_GONE, 0);
        pending_remove(c->notes, append);
        c->gone = true;
        return;
    }
    switch (done->status) {
    case 0:
        ack(sim, c->notes, append, done);
        break;
    case PAWL_EUNKNOWN:
        sim_oracle_told(sim, append, SIM_TOLD_UNKNOWN, 0);
        break;
    case PAWL_EDEADLINE:
    case PAWL_ENOSPACE:
    case PAWL_ENOSERVERS:
        absent(sim, c->notes, append);
        break;
    case PAWL_ESESSION:
        absent(sim, c->notes, append);
        c->session_over = true;
        if (!c->notes->sessions) {
            sim_violation(sim, "%s has no session, and it has ended", c->node->name);
        }
        break;
    case PAWL_ELOST:
        on_lost(sim, c, done->lost_sequence);
        absent(sim, c->notes, append);
        break;
    case PAWL_EFENCED:
    case PAWL_EIDREUSED:
        absent(sim, c->notes, append);
        if (!c->notes->shared) {
            sim_violation(sim, "%s sequence %llu ends with %d", c->node->name,
                          ULL(append->id.sequence), done->status);
        }
        break;
    default:
        sim_violation(sim, "%s sequence %llu ends with %d", c->node->name, ULL(append->id.sequence),
                      done->status);
        break;
    }
    c->lost |= done->status == PAWL_EFENCED;
}

void client_done(struct sim *sim, struct sim_client *c, const struct append_action *done)
{
    struct sim_job *job = pawl_map_remove(&c->jobs, done->user);
    if (job == NULL) {
        sim_violation(sim, "%s append ends twice", c->node->name);
        return;
    }
    sim_note(sim, "%s sequence %llu ends with %d at %llu%s%s", c->node->name, ULL(done->sequence),
             done->status, ULL(done->file_offset), done->duplicate ? " duplicate" : "",
             job->repeat   ? " (repeat)"
             : job->forged ? " (forged)"
                           : "");
    if (sim->script != NULL) {
        sim->script->told(sim, c->node, done);
    }
    if (job->epoch) {
        on_epoch_done(sim, c, done);
    } else if (job->forged) {
        if (done->status == 0) {
            sim_violation(sim, "%s sequence %llu is accepted with another payload", c->node->name,
                          ULL(done->sequence));
        }
    } else if (job->repeat) {
        if (done->status == 0) {
            sim_oracle_told(sim, job->append, done->replicated ? SIM_TOLD_HELD : SIM_TOLD_OK,
                            done->file_offset);
        } else if (done->status == PAWL_ELOST) {
            on_lost(sim, c, done->lost_sequence);
        } else if (done->status == PAWL_EIDREUSED || done->status == PAWL_EDEADLINE ||
                   done->status == PAWL_ESESSION || means_no_room(done->status)) {
            sim_violation(sim, "%s repeats sequence %llu: %d", c->node->name, ULL(done->sequence),
                          done->status);
        }
    } else {
        on_append_done(sim, c, job->append, done);
    }
    job_free(job);
}

void client_created(struct sim *sim, struct sim_client *c, int status, const Pawl__Reply *reply)
{
    c->asked = false;
    if (status != 0 || c->state != SIM_CREATING) {
        return;
    }
    uint64_t *file_id = c->notes->writer ? &c->notes->real_file_id : &c->notes->file_id;
    if (*file_id != 0 && *file_id != reply->file->file_id) {
        if (!sim->params.remove) {
            sim_violation(sim, "%s finds another file", c->node->name);
        }
        file_lost(sim, c);
    }
    *file_id = reply->file->file_id;
    c->state = SIM_OPENING;
    if (c->notes->name[0] == 0 && !c->notes->sessions && !c->notes->writer) {
        client_run(sim, c);
    }
}

void client_producer(struct sim *sim, struct sim_client *c, int status, const Pawl__Reply *reply)
{
    c->asked = false;
    c->gone |= means_gone(sim, status);
    if (status != 0 || c->state != SIM_OPENING) {
        return;
    }
    c->producer_hi = reply->producer->producer_hi;
    c->producer_lo = reply->producer->producer_lo;
    c->epoch = reply->producer->epoch;
    core_start(sim, c, 0);
    c->state = SIM_EPOCH;
    int code = job_submit(sim, c, (struct sim_job){.epoch = true}, 0);
    pawl_assert(code == 0);
}

// ---- the application ------------------------------------------------------------------------------------------------------

static void ask_create(struct sim *sim, struct sim_client *c)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__Create body = PAWL__CREATE__INIT;
    body.path = c->notes->path;
    body.replicas = sim->params.replicas;
    body.min_replicas = sim->params.min_replicas;
    body.chunk_bytes = sim->params.chunk_bytes;
    message.body_case = PAWL__REQUEST__BODY_CREATE;
    message.create = &body;
    c->asked = true;
    link_ask_master(sim, c, (struct sim_ask){.kind = SIM_CALL_CREATE}, &message);
}

static void ask_producer(struct sim *sim, struct sim_client *c)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__OpenProducer body = PAWL__OPEN_PRODUCER__INIT;
    body.file_id = c->notes->file_id;
    body.name = c->notes->name;
    message.body_case = PAWL__REQUEST__BODY_OPEN_PRODUCER;
    message.open_producer = &body;
    c->asked = true;
    link_ask_master(sim, c, (struct sim_ask){.kind = SIM_CALL_PRODUCER}, &message);
}

static void ask_read(struct sim *sim, struct sim_client *c)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__GetChunks body = PAWL__GET_CHUNKS__INIT;
    body.file_id = client_named_file(c->notes);
    body.handle = sim_permille(sim, 500) ? c->notes->written : 0;
    message.body_case = PAWL__REQUEST__BODY_GET_CHUNKS;
    message.get_chunks = &body;
    link_ask_master(
        sim, c, (struct sim_ask){.kind = SIM_CALL_CHUNKS, .acks_count = sim_writes_acks_count(sim)},
        &message);
}

static void ask_remove(struct sim *sim, struct sim_client *c)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__Remove body = PAWL__REMOVE__INIT;
    Pawl__Call call = PAWL__CALL__INIT;
    message.call = session_call(sim, c, &call);
    sim_note(sim, "%s removes %s", c->node->name, c->notes->path);
    body.path = c->notes->path;
    message.body_case = PAWL__REQUEST__BODY_REMOVE;
    message.remove = &body;
    link_ask_master(sim, c, (struct sim_ask){.kind = SIM_CALL_REMOVE}, &message);
}

static void check_submit(struct sim *sim, struct sim_client *c, int code)
{
    c->lost |= code == PAWL_EFENCED;
    c->gone |= means_gone(sim, code);
    bool over = code == PAWL_ESESSION && c->notes->sessions;
    c->session_over |= over;
    if (!c->gone && !over && !c->lost_records && code != 0 && code != -EAGAIN &&
        code != PAWL_EUNKNOWN && code != PAWL_EFENCED) {
        sim_violation(sim, "%s submit is refused with %d", c->node->name, code);
    }
}

// What has an unknown outcome is told again before anything new, in order. True when there is none.
static bool resubmit(struct sim *sim, struct sim_client *c)
{
    bool none = true;
    for (uint32_t i = 0; i < c->notes->pending_count; i++) {
        struct sim_append *append = c->notes->pending[i];
        if (!is_under_way(c, append)) {
            struct sim_job job = {.append = append, .payload = append->payload, .crc = append->crc};
            check_submit(sim, c, job_submit(sim, c, job, append->id.sequence));
            none = false;
            break; // the list may have changed
        }
    }
    return none;
}

// `flags`: of the record; a writer's say where it is written to.
static int submit_length(struct sim *sim, struct sim_client *c, uint32_t length, uint32_t flags,
                         bool named, struct sim_append **ret)
{
    struct wire_record_id id = {.producer_hi = c->producer_hi,
                                .producer_lo = c->producer_lo,
                                .sequence = append_core_next_sequence(c->core),
                                .epoch = c->epoch,
                                .flags = flags};
    struct sim_append *append = sim_oracle_submit(sim, c->notes->file_id, &id, length);
    // By lot, but not by one that would move the others.
    append->replicated =
        !c->notes->writer && !c->notes->shared &&
        pawl_hash_u64(sim->seed ^ append->serial) % 1000 < sim->params.replicated_permille;
    struct sim_job job = {.append = append, .payload = append->payload, .crc = append->crc};
    pending_add(c->notes, append);
    c->notes->submitted_count++;
    *ret = append;
    int code = job_submit(sim, c, job, named ? id.sequence : 0);
    check_submit(sim, c, code);
    if (code != 0) {
        absent(sim, c->notes, append);
    }
    return code;
}

static void submit_new(struct sim *sim, struct sim_client *c)
{
    struct sim_append *append = NULL;
    uint32_t length = 8 + (uint32_t)sim_below(sim, sim->params.record_bytes_max - 7);
    bool named = sim_permille(sim, 200);
    uint32_t flags = c->notes->writer ? sim_write_draw(sim, c, &length) : 0;
    (void)submit_length(sim, c, length, flags, named, &append);
}

static void job_forge(struct sim_job *job)
{
    const struct sim_append *append = job->append;
    job->own_payload = sim_copy(append->payload, append->length);
    job->own_payload[append->length - 1] ^= 0x55;
    job->payload = job->own_payload;
    job->crc = pawl_crc32c(0, job->own_payload, append->length);
    job->repeat = false;
    job->forged = true;
}

// An old id again, with the same payload or with another one.
static void submit_old(struct sim *sim, struct sim_client *c)
{
    struct sim_append *append = c->notes->acked[sim_below(sim, c->notes->acked_count)];
    struct sim_job job = {
        .append = append, .payload = append->payload, .crc = append->crc, .repeat = true};
    if (is_under_way(c, append) || append->id.producer_lo != c->producer_lo ||
        append->id.sequence >= append_core_next_sequence(c->core)) {
        return;
    }
    job.flags = c->notes->writer && sim_permille(sim, 200) ? sim_write_forge(append) : 0;
    if (job.flags != 0) {
        job.repeat = false;
        job.forged = true;
    } else if (sim_permille(sim, 300)) {
        job_forge(&job);
    }
    int code = job_submit(sim, c, job, append->id.sequence);
    check_submit(sim, c, code);
}

// False when there was nothing to do, or no room for it.
static bool work(struct sim *sim, struct sim_client *c)
{
    const struct sim_notes *notes = c->notes;
    if (sim->script != NULL) {
        return false;
    }
    bool more = notes->finishing ? notes->finish_count < SIM_FINISH_APPENDS
                                 : notes->submitted_count < sim->params.records_count;
    if (append_core_inflight(c->core) >= sim->params.depth_max || !resubmit(sim, c)) {
        return false;
    }
    if (!notes->finishing && sim->params.remove && sim_permille(sim, 5)) {
        ask_remove(sim, c);
    } else if (!notes->finishing && sim_permille(sim, notes->writer ? 150 : 30)) {
        ask_read(sim, c);
    } else if (!notes->finishing && notes->writer && sim_permille(sim, 30)) {
        return sim_write_other(sim, c);
    } else if (!notes->finishing && notes->acked_count > 0 && sim_permille(sim, 50)) {
        submit_old(sim, c);
    } else if (more) {
        submit_new(sim, c);
    } else {
        return false;
    }
    return true;
}

static bool appends_finished(const struct sim_client *c)
{
    return c->notes->finishing && c->state == SIM_RUNNING && c->notes->pending_count == 0 &&
           append_core_inflight(c->core) == 0 && c->notes->finish_count >= SIM_FINISH_APPENDS;
}

static void on_pump(struct sim *sim, struct sim_event *event)
{
    if (!sim_alive(event->node, event->life)) {
        return;
    }
    struct sim_client *c = event->node->state;
    uint64_t us = 10 + sim_below(sim, sim->params.think_max_us);
    link_tick(sim, c);
    if (c->gone) {
        file_lost(sim, c);
    } else if (c->lost_records) {
        producer_anew(sim, c);
    } else if (c->lost) {
        c->lost = false;
        producer_lost(sim, c);
        us += sim_below(sim, 1000000);
    } else if (c->notes->retired) {
        return;
    } else if (c->notes->sessions && session_pump(sim, c)) {
        us = PAWL_MAX(us, 1000u);
    } else if (c->state == SIM_RESTING) {
        c->state = SIM_OPENING;
    } else if (c->state == SIM_CREATING && !c->asked) {
        ask_create(sim, c);
    } else if (c->state == SIM_OPENING && c->notes->writer && c->notes->finishing &&
               c->notes->written == 0) {
        c->notes->retired = true; // there may be no sealed chunk to write to
    } else if (c->state == SIM_OPENING && c->notes->writer) {
        if (sim->script == NULL ||
            c->notes->written != 0) { // else the script says what to write to
            sim_write_ask(sim, c);
        }
    } else if (c->state == SIM_OPENING && !c->asked) {
        ask_producer(sim, c);
    } else if (c->state == SIM_RUNNING && appends_finished(c)) {
        us = reader_work(sim, c) ? 10 : PAWL_MIN(PAWL_MAX(us, 1000u), 5000u);
    } else if (c->state == SIM_RUNNING && !work(sim, c)) {
        us = PAWL_MAX(us, 1000u);
    }
    if (c->state != SIM_RUNNING) {
        us = PAWL_MAX(us, 20000u); // asks the master no faster than that
    }
    sim_at(sim, sim_world_ns(c->node, us * SIM_US),
           (struct sim_event){.run = on_pump, .node = event->node});
}

void sim_client_start(struct sim *sim, struct sim_node *node)
{
    struct sim_client *c = sim_alloc(sizeof(*c));
    node->state = c;
    c->node = node;
    c->notes = sim->client_notes[node->index];
    c->state = SIM_CREATING;
    c->tick_ns = UINT64_MAX;
    if (c->notes->sessions) {
        session_start(c);
    }
    pawl_map_init(&c->jobs, pawl_alloc_heap());
    sim_at(sim, sim_below(sim, 50) * SIM_MS, (struct sim_event){.run = on_pump, .node = node});
}

// ---- a script's application ----------------------------------------------------------------------------------

bool sim_client_is_running(const struct sim_node *node)
{
    const struct sim_client *c = node->state;
    return c != NULL && c->state == SIM_RUNNING;
}

int sim_client_append(struct sim *sim, struct sim_node *node, uint32_t length,
                      struct sim_append **ret)
{
    return submit_length(sim, node->state, length, 0, false, ret);
}

int sim_client_write(struct sim *sim, struct sim_node *node, uint32_t offset, uint32_t length,
                     struct sim_append **ret)
{
    return submit_length(sim, node->state, length, wire_record_write_flags(offset), false, ret);
}

int sim_client_repeat(struct sim *sim, struct sim_node *node, struct sim_append *append,
                      bool forged)
{
    struct sim_client *c = node->state;
    struct sim_job job = {.append = append,
                          .payload = append->payload,
                          .crc = append->crc,
                          .repeat = append->told == SIM_TOLD_OK};
    if (forged && c->notes->writer) {
        job.flags = sim_write_forge(append);
        job.repeat = false;
        job.forged = true;
    } else if (forged) {
        job_forge(&job);
    }
    int code = job_submit(sim, c, job, append->id.sequence);
    check_submit(sim, c, code);
    return code;
}

void sim_client_ask_tail(struct sim *sim, struct sim_node *node)
{
    struct sim_client *c = node->state;
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__GetTail body = PAWL__GET_TAIL__INIT;
    body.file_id = c->notes->file_id;
    body.append = true;
    message.body_case = PAWL__REQUEST__BODY_GET_TAIL;
    message.get_tail = &body;
    link_ask_master(sim, c, (struct sim_ask){.kind = SIM_CALL_REMOVE}, &message);
}

void sim_client_retire(const struct sim_node *node)
{
    struct sim_client *c = node->state;
    c->notes->retired = true;
}

void sim_client_stop(struct sim *sim, struct sim_node *node)
{
    struct sim_client *c = node->state;
    client_core_stop(sim, c);
    pawl_map_fini(&c->jobs);
    link_fini(c);
    reader_fini(c);
    free(c);
    node->state = NULL;
}

void sim_client_finish(struct sim *sim, struct sim_node *node)
{
    struct sim_client *c = node->state;
    (void)sim;
    c->notes->finishing = true;
    // Two that fight for one name would fight for ever.
    if (c->notes->shared && c->notes->client == 1) {
        c->notes->retired = true;
        client_core_stop(sim, c);
        c->state = SIM_RESTING;
        c->lost = c->gone = false;
    }
}

bool sim_client_finished(const struct sim *sim, const struct sim_node *node)
{
    const struct sim_client *c = node->state;
    (void)sim;
    if (c == NULL) {
        return false;
    }
    return c->notes->retired || (appends_finished(c) && c->notes->has_read);
}

bool sim_client_is_excused(struct sim *sim, const struct sim_node *node)
{
    const struct sim_notes *notes = sim->client_notes[node->index];
    return sim_oracle_has_losses(sim, client_named_file(notes)) ||
           sim_writes_have_losses(sim, client_named_file(notes));
}

void sim_client_describe(const struct sim *sim, const struct sim_node *node, char *buf,
                         size_t bytes)
{
    const struct sim_client *c = node->state;
    (void)sim;
    snprintf(
        buf, bytes,
        "state %d, %u pending, %u in flight, %u of %u acknowledged at last, reads chunk %u of %u",
        (int)c->state, c->notes->pending_count, c->core != NULL ? append_core_inflight(c->core) : 0,
        c->notes->finish_count, SIM_FINISH_APPENDS, c->reader.at, c->reader.count);
}
