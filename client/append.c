// SPDX-License-Identifier: Apache-2.0
// Appends: the driver of a file's append core.
//
// What happens on links and at the master is queued as events of the core; file_run() lets the core take
// them one by one and carries out its actions. The core is never entered from a callback.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/assert.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/util.h"
#include "client/client_private.h"

#define APPEND_TAIL_MS 2000u
#define APPEND_TAIL_WAIT_MS 200u // asked again, the master hears of it if what is waited for failed
#define APPEND_GUARD_MS 10000u   // a link's own deadline, behind the core's attempt_ms
#define LOOKUP_MS 2000u

struct file_append {
    struct pawl_list node;
    uint64_t sequence; // 0 for an epoch record
    const void *data;
    uint32_t bytes;
    uint32_t crc;
    bool replicated; // PAWL_ACK_REPLICATED
    pawl_append_fn *done;
    void *user;
    struct pawl_append_result result;
    uint64_t reply_sequence;
    struct link_use use; // `done` waits for the end of writes that read from `data`
};

struct file_event {
    struct pawl_list node;
    struct append_event event;
};

// A call on a link or to the master on behalf of a file's core.
struct file_call {
    struct pawl_file *file;
    uint32_t core_generation; // of when the call was made: answers to an older core are dropped
    struct append_action action;
};

static void post(struct pawl_file *file, const struct append_event *event)
{
    struct file_event *item = pawl_pool_get(&file->pawl->events);
    pawl_assert(item != NULL); // events are bounded by depth_max; there is no way on without memory
    item->event = *event;
    pawl_list_push_back(&file->events, &item->node);
}

// What the append core takes for servers are places: it loses one connection at a time.
uint64_t file_place(const struct pawl_file *file, uint64_t server_id, uint64_t handle)
{
    return client_place(file->pawl, server_id,
                        file->written_handle != 0 ? file->written_handle : handle);
}

void file_disconnected(struct pawl_file *file, uint64_t place)
{
    struct append_event event = {
        .type = APPEND_EVENT_DISCONNECTED, .server = place, .status = PAWL_EDISCONNECTED};
    if (!file->closed) {
        post(file, &event);
    }
}

static struct file_call *call_new(struct pawl_file *file, const struct append_action *action)
{
    struct file_call *call = pawl_pool_get(&file->pawl->calls);
    pawl_assert(call != NULL);
    *call = (struct file_call){
        .file = file, .core_generation = file->core_generation, .action = *action};
    file->outside_count++;
    return call;
}

// Ends a call: its file, or NULL when nobody waits for the answer any more.
static struct pawl_file *call_end(struct file_call *call)
{
    struct pawl_file *file = call->file;
    bool current = file->core_generation == call->core_generation && !file->closed;
    pawl_pool_put(&file->pawl->calls, call);
    file_outside_done(file);
    return current ? file : NULL;
}

// ---- actions: the tail --------------------------------------------------------------------------

static void learn_chunk(struct pawl *pawl, const Pawl__Chunk *chunk)
{
    for (size_t i = 0; i < chunk->n_replicas; i++) {
        client_learn(pawl, chunk->replicas[i]);
    }
}

static void on_tail(void *user, int code, const Pawl__Reply *reply)
{
    struct file_call *call = user;
    struct append_event event = {.type = APPEND_EVENT_TAIL};
    event.status = control_code(code, reply);
    if (event.status == 0 &&
        (reply->body_case != PAWL__REPLY__BODY_TAIL || reply->tail->chunk == NULL)) {
        event.status = PAWL_EPROTOCOL;
    }
    if (event.status == 0) {
        const Pawl__Chunk *chunk = reply->tail->chunk;
        learn_chunk(call->file->pawl, chunk);
        event.tail = (struct append_tail){
            .handle = chunk->handle,
            .version = chunk->version,
            .base_offset = chunk->base_offset,
            .chunk_bytes = reply->tail->chunk_bytes,
            .primary_id = file_place(call->file, chunk->primary_id, chunk->handle)};
    }
    struct pawl_file *file = call_end(call);
    if (file != NULL) {
        post(file, &event);
    }
}

static void act_get_tail(struct pawl_file *file, const struct append_action *action)
{
    Pawl__Hint hint = PAWL__HINT__INIT;
    Pawl__GetTail get = PAWL__GET_TAIL__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_GET_TAIL;
    request.get_tail = &get;
    get.file_id = file->file_id;
    get.append = true;
    get.wait_ms = APPEND_TAIL_WAIT_MS;
    if (action->hint_code != 0) {
        hint.handle = action->hint_handle;
        hint.version = action->hint_version;
        hint.server_id = client_place_server(file->pawl, action->hint_server);
        hint.code = action->hint_code;
        get.hint = &hint;
    }
    struct file_call *call = call_new(file, action);
    int code = control_submit(file->pawl, &request, APPEND_TAIL_MS, on_tail, call);
    if (code != 0) {
        struct append_event event = {.type = APPEND_EVENT_TAIL, .status = PAWL_EBUSY};
        (void)call_end(call);
        post(file, &event);
    }
}

// ---- actions: sending ---------------------------------------------------------------------------

// A refusal may be a bare header.
static struct wire_appended appended_of(const struct wire_header *reply)
{
    struct wire_appended appended = {0};
    memcpy(&appended, reply, PAWL_MIN((size_t)reply->bytes, sizeof appended));
    return appended;
}

// What a reply says, except that an earlier chunk has to be named, and not the one that was asked.
static int status_of(const struct wire_appended *reply, uint64_t asked_chunk)
{
    bool lost = reply->header.status == PAWL_EEARLIER &&
                (reply->earlier_chunk == 0 || reply->earlier_chunk == asked_chunk);
    return lost ? PAWL_EPROTOCOL : reply->header.status;
}

static void on_appended(void *user, int status, const struct wire_header *reply)
{
    struct file_call *call = user;
    struct append_event event = {.type = APPEND_EVENT_REPLY,
                                 .status = status,
                                 .sequence = call->action.sequence,
                                 .attempt = call->action.attempt,
                                 .server = call->action.tail.primary_id};
    if (reply != NULL) {
        event.reply = appended_of(reply);
        event.status = status_of(&event.reply, call->action.tail.handle);
    }
    struct pawl_file *file = call_end(call);
    // A lost connection is told to the core once, when its endpoint is destroyed.
    if (file != NULL && event.status != PAWL_EDISCONNECTED) {
        post(file, &event);
    }
}

// A run must be no larger than the largest record of its file, or it is put off. What is too large for a message when it
// is alone is not copied into one in company either.
static uint32_t run_bytes_max(const struct pawl_file *file, const struct append_action *action,
                              uint32_t bytes)
{
    bool joins = action->fresh && action->record_flags == 0 && bytes <= WIRE_INLINE_MAX;
    uint64_t most = PAWL_MIN(pawl_record_bytes_max(file), (uint64_t)WIRE_RUN_BYTES_MAX);
    return joins ? (uint32_t)most : 0;
}

static void act_send(struct pawl_file *file, const struct append_action *action, uint64_t now_ns)
{
    struct file_append *append = (struct file_append *)(uintptr_t)action->user;
    struct link_request request = {0};
    struct wire_append *message = &request.message.append;
    message->header.type = WIRE_APPEND;
    message->chunk = action->tail.handle;
    message->version = action->tail.version;
    message->id.producer_hi = file->producer.producer_hi;
    message->id.producer_lo = file->producer.producer_lo;
    message->id.epoch = file->producer.epoch;
    message->id.sequence = (action->record_flags & WIRE_RECORD_EPOCH) != 0 ? 0 : action->sequence;
    message->id.flags = action->record_flags;
    message->length = append->bytes;
    message->crc = append->crc;
    message->flags = (uint16_t)(action->replicated ? WIRE_APPEND_REPLICATED : 0);
    request.payload = append->data;
    request.owner = append;
    request.payload_bytes = append->bytes;
    request.run_bytes_max = run_bytes_max(file, action, append->bytes);
    request.use = &append->use;
    request.deadline_ns = client_deadline_from(file->pawl, now_ns, APPEND_GUARD_MS);
    request.done = on_appended;
    request.user = call_new(file, action);
    int code = link_submit(file->pawl, action->tail.primary_id, &request);
    if (code == PAWL_EDISCONNECTED) {
        (void)call_end(request.user);
        file_disconnected(file, action->tail.primary_id);
    } else if (code != 0) {
        on_appended(request.user, code, NULL); // no data plane here: final
    }
}

static void act_disconnect(struct pawl_file *file, const struct append_action *action)
{
    if (link_exists(file->pawl, action->server)) {
        link_close(file->pawl, action->server, PAWL_EDEADLINE);
    } else {
        file_disconnected(file, action->server);
    }
}

// ---- actions: looking up an old record ----------------------------------------------------------

static void lookup_end(struct file_call *call, int status, const struct wire_header *reply)
{
    struct append_event event = {.type = APPEND_EVENT_LOOKED_UP,
                                 .status = status,
                                 .sequence = call->action.sequence,
                                 .attempt = call->action.attempt};
    if (reply != NULL) {
        event.reply = appended_of(reply);
        event.status = status_of(&event.reply, call->action.chunk);
    }
    struct pawl_file *file = call_end(call);
    if (file != NULL) {
        post(file, &event);
    }
}

static void on_looked_up(void *user, int status, const struct wire_header *reply)
{
    lookup_end(user, status, reply);
}

static void lookup_send(struct file_call *call, uint64_t server_id)
{
    struct pawl_file *file = call->file;
    struct link_request request = {0};
    struct wire_lookup *message = &request.message.lookup;
    message->header.type = WIRE_LOOKUP;
    message->chunk = call->action.chunk;
    message->id.producer_hi = file->producer.producer_hi;
    message->id.producer_lo = file->producer.producer_lo;
    message->id.epoch = file->producer.epoch;
    message->id.sequence = call->action.sequence;
    message->id.flags = call->action.record_flags;
    message->length = call->action.length;
    message->crc = call->action.crc;
    message->compare = 1;
    request.deadline_ns = client_deadline_ns(file->pawl, LOOKUP_MS);
    request.done = on_looked_up;
    request.user = call;
    uint64_t place = file_place(file, server_id, message->chunk);
    int code = link_submit(file->pawl, place, &request);
    if (code != 0) {
        lookup_end(call, code, NULL);
    }
}

static void on_lookup_place(void *user, int code, const Pawl__Reply *reply)
{
    struct file_call *call = user;
    code = control_code(code, reply);
    if (code == 0 && (reply->body_case != PAWL__REPLY__BODY_CHUNKS ||
                      reply->chunks->n_chunks != 1 || reply->chunks->chunks[0]->n_replicas == 0 ||
                      reply->chunks->chunks[0]->handle != call->action.chunk)) {
        code = PAWL_EBUSY;
    }
    if (code != 0 || call->file->closed) {
        lookup_end(call, code != 0 ? code : PAWL_ESHUTDOWN, NULL);
        return;
    }
    const Pawl__Chunk *chunk = reply->chunks->chunks[0];
    learn_chunk(call->file->pawl, chunk);
    // Any replica knows; a random one, so that a repeat does not meet the same dead server again.
    uint64_t pick = pawl_random_below(&call->file->pawl->random, chunk->n_replicas);
    lookup_send(call, chunk->replicas[pick]->server_id);
}

static void act_lookup(struct pawl_file *file, const struct append_action *action)
{
    Pawl__GetChunks get = PAWL__GET_CHUNKS__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_GET_CHUNKS;
    request.get_chunks = &get;
    get.file_id = file->file_id;
    get.handle = action->chunk;
    struct file_call *call = call_new(file, action);
    int code = control_submit(file->pawl, &request, APPEND_TAIL_MS, on_lookup_place, call);
    if (code != 0) {
        lookup_end(call, PAWL_EBUSY, NULL);
    }
}

// ---- actions: the end ---------------------------------------------------------------------------

static void append_end(struct pawl_file *file, struct file_append *append, int status)
{
    append->result.status = status;
    // It may still stand in a link's queue, or be on its way, and its bytes are to be the caller's again.
    if (append->use.requests_count > 0 || append->use.writes_count > 0) {
        link_cancel(file->pawl, append);
    }
    append->result.stages = append->use.stages;
    file->payload_bytes += status == 0 ? append->bytes : 0;
    file->payload_copied_bytes += append->use.copied_bytes;
    pawl_list_remove(&append->node);
    pawl_list_push_back(&file->done, &append->node);
    file->pending_count--;
}

static void act_done(struct pawl_file *file, const struct append_action *action)
{
    struct file_append *append = (struct file_append *)(uintptr_t)action->user;
    append->result.offset = action->file_offset;
    append->result.duplicate = action->duplicate;
    append->result.durable = action->status == 0 && !action->replicated;
    append->result.lost_sequence = action->lost_sequence;
    append->reply_sequence = action->reply_sequence;
    append_end(file, append, action->status);
}

static void carry_out(struct pawl_file *file, const struct append_actions *actions, uint64_t now_ns)
{
    for (uint32_t i = 0; i < actions->count; i++) {
        const struct append_action *action = &actions->items[i];
        switch (action->type) {
        case APPEND_ACTION_GET_TAIL:
            act_get_tail(file, action);
            break;
        case APPEND_ACTION_SEND:
            act_send(file, action, now_ns);
            break;
        case APPEND_ACTION_LOOKUP:
            act_lookup(file, action);
            break;
        case APPEND_ACTION_DISCONNECT:
            act_disconnect(file, action);
            break;
        case APPEND_ACTION_DONE:
            act_done(file, action);
            break;
        }
    }
}

static int step(struct pawl_file *file, const struct append_event *event)
{
    const struct append_actions *actions;
    int code = append_core_step(file->core, event, &actions);
    if (code == 0) {
        carry_out(file, actions, event->now_ns);
    }
    return code;
}

bool file_run(struct pawl_file *file, uint64_t now_ns)
{
    bool busy = file_chunks_run(file, now_ns);
    busy |= file_reads_run(file, now_ns);
    if (file->closed) { // its core still counts on appends that were given back
        return busy;
    }
    while (!pawl_list_is_empty(&file->events)) {
        struct file_event *item =
            pawl_container_of(pawl_list_first(&file->events), struct file_event, node);
        pawl_list_remove(&item->node);
        item->event.now_ns = now_ns;
        int code = step(file, &item->event);
        pawl_assert(code == 0);
        pawl_pool_put(&file->pawl->events, item);
        busy = true;
    }
    if (append_core_wake_ns(file->core) <= now_ns) {
        struct append_event tick = {.type = APPEND_EVENT_TICK, .now_ns = now_ns};
        int code = step(file, &tick);
        pawl_assert(code == 0);
        busy = true;
    }
    return busy;
}

void append_pools_init(struct pawl *pawl)
{
    pawl_pool_init(&pawl->appends, sizeof(struct file_append));
    pawl_pool_init(&pawl->calls, sizeof(struct file_call));
    pawl_pool_init(&pawl->events, sizeof(struct file_event));
}

void file_events_drop(struct pawl_file *file)
{
    while (!pawl_list_is_empty(&file->events)) {
        struct pawl_list *node = pawl_list_pop_front(&file->events);
        pawl_pool_put(&file->pawl->events, pawl_container_of(node, struct file_event, node));
    }
}

int file_callbacks(struct pawl_file *file)
{
    int ran = 0;
    while (!pawl_list_is_empty(&file->done)) {
        struct file_append *append =
            pawl_container_of(pawl_list_first(&file->done), struct file_append, node);
        if (append->use.writes_count > 0) {
            break; // a write reads its memory: the link sees to it that it ends
        }
        pawl_list_remove(&append->node);
        append->done(append->user, &append->result);
        pawl_pool_put(&file->pawl->appends, append);
        ran++;
    }
    return ran + pusher_callbacks(file->pusher) + file_reads_callbacks(file);
}

void file_fail_pending(struct pawl_file *file, int status)
{
    while (!pawl_list_is_empty(&file->pending)) {
        struct file_append *append =
            pawl_container_of(pawl_list_first(&file->pending), struct file_append, node);
        append_end(file, append, status);
    }
}

// ---- submitting ---------------------------------------------------------------------------------

static struct file_append *append_new(struct pawl_file *file)
{
    struct file_append *append = pawl_pool_get(&file->pawl->appends);
    if (append != NULL) {
        *append = (struct file_append){0};
    }
    return append;
}

static int submit(struct pawl_file *file, struct file_append *append, uint64_t now_ns,
                  uint64_t deadline_ns, uint32_t record_flags)
{
    // Devices and memory may need longer than an attempt has. That is this side's time: a server that
    // was not asked yet must not be reported for it.
    if (file->pawl->fabric == NULL) {
        int code = client_fabric(file->pawl);
        if (code != 0) {
            return code;
        }
        now_ns = pawl_clock_ns();
    }
    struct append_event event = {.type = APPEND_EVENT_SUBMIT,
                                 .now_ns = now_ns,
                                 .sequence = append->sequence,
                                 .deadline_ns = deadline_ns,
                                 .user = (uint64_t)(uintptr_t)append,
                                 .length = append->bytes,
                                 .crc = append->crc,
                                 .record_flags = record_flags,
                                 .replicated = append->replicated};
    uint64_t next = append_core_next_sequence(file->core);
    if (append->sequence == 0 && (record_flags & WIRE_RECORD_EPOCH) == 0) {
        append->sequence = next;
    }
    append->result.id = file->producer;
    append->result.id.sequence = append->sequence;
    pawl_list_push_back(&file->pending, &append->node);
    file->pending_count++;
    int code = step(file, &event);
    if (code != 0) {
        pawl_list_remove(&append->node);
        file->pending_count--;
    }
    return code;
}

static int check_submit(const struct pawl_file *file, const void *data, size_t bytes,
                        const struct pawl_append_options *options)
{
    if (file == NULL || file->closed || file->no_producer || data == NULL || bytes == 0 ||
        (options != NULL &&
         (options->size != sizeof *options ||
          (options->ack != PAWL_ACK_DURABLE && options->ack != PAWL_ACK_REPLICATED)))) {
        return PAWL_EINVALID;
    }
    return bytes > pawl_record_bytes_max(file) ? PAWL_ETOOLARGE : 0;
}

int pawl_append_submit(struct pawl_file *file, const void *data, size_t bytes,
                       const struct pawl_append_options *options, pawl_append_fn *done, void *user)
{
    int code = check_submit(file, data, bytes, options);
    if (code != 0 || done == NULL) {
        return code != 0 ? code : PAWL_EINVALID;
    }
    if (options == NULL || options->sequence == 0) {
        code = session_renew(file);
        if (code != 0) {
            return code;
        }
    }
    struct file_append *append = append_new(file);
    if (append == NULL) {
        return -ENOMEM;
    }
    append->sequence = options != NULL ? options->sequence : 0;
    append->replicated = options != NULL && options->ack == PAWL_ACK_REPLICATED;
    append->data = data;
    append->bytes = (uint32_t)bytes;
    append->crc = pawl_crc32c(0, data, bytes);
    append->done = done;
    append->user = user;
    uint64_t now_ns = pawl_clock_ns();
    uint32_t deadline_ms = options != NULL ? options->deadline_ms : 0;
    code = submit(file, append, now_ns, client_deadline_from(file->pawl, now_ns, deadline_ms), 0);
    if (code != 0) {
        pawl_pool_put(&file->pawl->appends, append);
    }
    return code;
}

struct append_wait {
    bool done;
    struct pawl_append_result result;
};

static void on_append_done(void *user, const struct pawl_append_result *result)
{
    struct append_wait *wait = user;
    wait->result = *result;
    wait->done = true;
}

// Submits and waits. The code of the submit, or the append's status.
static int append_and_wait(struct pawl_file *file, const void *data, size_t bytes,
                           const struct pawl_append_options *options, uint64_t until_ns,
                           struct append_wait *wait)
{
    int code = pawl_append_submit(file, data, bytes, options, on_append_done, wait);
    while (code == -EAGAIN && pawl_clock_ns() < until_ns) {
        client_turn(file->pawl, until_ns);
        code = pawl_append_submit(file, data, bytes, options, on_append_done, wait);
    }
    while (code == 0 && !wait->done) {
        client_turn(file->pawl, UINT64_MAX); // the append's own deadline ends it
    }
    return code != 0 ? code : wait->result.status;
}

// What is left of the time, for one more attempt.
static struct pawl_append_options again_options(const struct pawl_append_options *options,
                                                uint64_t until_ns)
{
    uint64_t now_ns = pawl_clock_ns();
    uint64_t left_ms = until_ns > now_ns ? (until_ns - now_ns) / PAWL_NS_PER_MS + 1 : 1;
    return (struct pawl_append_options){.size = sizeof(struct pawl_append_options),
                                        .deadline_ms = (uint32_t)left_ms,
                                        .ack = options != NULL ? options->ack : PAWL_ACK_DURABLE};
}

int pawl_append(struct pawl_file *file, const void *data, size_t bytes,
                const struct pawl_append_options *options, struct pawl_append_result *ret_result)
{
    struct append_wait wait = {0};
    int code = file == NULL || file->pawl->in_callback ? PAWL_EINVALID
                                                       : check_submit(file, data, bytes, options);
    if (code == 0) {
        uint64_t until_ns =
            client_deadline_ns(file->pawl, options != NULL ? options->deadline_ms : 0);
        file_keep(file);
        code = append_and_wait(file, data, bytes, options, until_ns, &wait);
        // It is not in the file, and the next attempt goes by another session.
        while (code == PAWL_ESESSION && (options == NULL || options->sequence == 0) &&
               !file->closed && pawl_clock_ns() < until_ns) {
            struct pawl_append_options again = again_options(options, until_ns);
            wait = (struct append_wait){0};
            code = append_and_wait(file, data, bytes, &again, until_ns, &wait);
        }
        file_outside_done(file);
    }
    if (code != 0 && !wait.done) {
        wait.result.status = code == -EAGAIN ? PAWL_EDEADLINE : code;
        wait.result.lost_sequence = code == PAWL_ELOST ? append_core_lost_sequence(file->core) : 0;
    }
    if (ret_result != NULL) {
        *ret_result = wait.result;
    }
    return wait.result.status;
}

int file_write_append(struct pawl_file *log, const void *data, size_t bytes, uint32_t record_flags,
                      uint64_t sequence, uint64_t deadline_ns, struct pawl_append_result *ret)
{
    struct append_wait wait = {0};
    struct file_append *append = log->closed ? NULL : append_new(log);
    if (append == NULL) {
        return log->closed ? PAWL_ESHUTDOWN : -ENOMEM;
    }
    append->sequence = sequence;
    append->data = data;
    append->bytes = (uint32_t)bytes;
    append->crc = pawl_crc32c(0, data, bytes);
    append->done = on_append_done;
    append->user = &wait;
    int code = submit(log, append, pawl_clock_ns(), deadline_ns, record_flags);
    if (code != 0) {
        pawl_pool_put(&log->pawl->appends, append);
        return code;
    }
    while (!wait.done) {
        client_turn(log->pawl, UINT64_MAX); // the append's own deadline ends it
    }
    *ret = wait.result;
    return wait.result.status;
}

struct epoch_wait {
    struct append_wait wait;
    uint64_t last_sequence;
};

static void on_epoch_done(void *user, const struct pawl_append_result *result)
{
    struct epoch_wait *epoch = user;
    const struct file_append *append = pawl_container_of(result, struct file_append, result);
    epoch->last_sequence = append->reply_sequence;
    on_append_done(&epoch->wait, result);
}

int file_epoch_append(struct pawl_file *file, uint64_t deadline_ns, uint64_t *ret_last_sequence)
{
    struct epoch_wait epoch = {0};
    struct file_append *append = file->closed ? NULL : append_new(file);
    if (append == NULL) {
        return file->closed ? PAWL_ESHUTDOWN : -ENOMEM;
    }
    append->done = on_epoch_done;
    append->user = &epoch;
    int code = submit(file, append, pawl_clock_ns(), deadline_ns, WIRE_RECORD_EPOCH);
    if (code != 0) {
        pawl_pool_put(&file->pawl->appends, append);
        return code;
    }
    while (!epoch.wait.done) {
        client_turn(file->pawl, UINT64_MAX); // its own deadline ends it, or the end of the file
    }
    if (file->closed) {
        return PAWL_ESHUTDOWN;
    }
    if (epoch.wait.result.status == 0) {
        *ret_last_sequence = epoch.last_sequence;
    }
    return epoch.wait.result.status;
}
