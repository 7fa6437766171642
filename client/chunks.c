// SPDX-License-Identifier: Apache-2.0
// Chunk maps, and what is asked of chunk servers one call at a time: lookups and committed lengths.
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "client/client_private.h"

#define CHUNKS_PAUSE_MS 10u

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

static int link_call(struct pawl_file *file, uint64_t server_id, struct link_request *request,
                     uint64_t deadline_ns, struct link_wait *wait)
{
    struct pawl *pawl = file->pawl;
    *wait = (struct link_wait){0};
    int code = client_fabric(pawl); // before the attempt's time runs
    if (code != 0) {
        return code;
    }
    request->done = on_link_done;
    request->user = wait;
    request->deadline_ns = client_attempt_ns(deadline_ns);
    static_assert(offsetof(struct wire_lookup, chunk) == offsetof(struct wire_inspect, chunk),
                  "both name the chunk in the same place");
    uint64_t place = file_place(file, server_id, request->message.inspect.chunk);
    code = link_submit(pawl, place, request);
    while (code == 0 && !wait->done) {
        client_turn(pawl, UINT64_MAX); // the request's own deadline ends it
    }
    return code != 0 ? code : wait->status;
}

// ---- chunk maps ---------------------------------------------------------------------------------

struct chunks_take {
    struct pawl_file *file;
    uint32_t next;
    bool more;
    uint64_t handle;       // when a single chunk is asked for
    struct file_chunk one; // that one
};

static void fill_chunk(struct pawl *pawl, struct file_chunk *to, const Pawl__Chunk *from)
{
    *to = (struct file_chunk){.handle = from->handle,
                              .base_offset = from->base_offset,
                              .primary_id = from->primary_id,
                              .index = from->index,
                              .sealed = from->state == PAWL__CHUNK_STATE__CHUNK_SEALED,
                              .log_chunks = from->log_chunks,
                              .log_primary_id = from->log_primary_id};
    to->bytes = to->sealed ? from->length : 0;
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

// Chunks follow each other without gaps, and only the last one may be open.
static bool follows(const struct file_chunk *chunk, const struct file_chunk *before, uint32_t index)
{
    uint64_t base_offset = before == NULL ? 0 : before->base_offset + before->bytes;
    return chunk->handle != 0 && chunk->index == index && chunk->base_offset == base_offset &&
           chunk->bytes <= UINT64_MAX - base_offset && (before == NULL || before->sealed);
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
        uint32_t at = take->next + (uint32_t)i;
        fill_chunk(file->pawl, &chunks[at], reply->chunks->chunks[i]);
        if (!follows(&chunks[at], at == 0 ? NULL : &chunks[at - 1], at)) {
            return PAWL_EPROTOCOL;
        }
    }
    take->next += (uint32_t)count;
    file->chunks_count = take->next;
    return 0;
}

int file_chunks_refresh(struct pawl_file *file, uint64_t deadline_ns)
{
    struct chunks_take take = {.file = file};
    int code;
    file->chunks_count = 0;
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

static int take_one(void *user, const Pawl__Reply *reply)
{
    struct chunks_take *take = user;
    if (reply->body_case != PAWL__REPLY__BODY_CHUNKS) {
        return PAWL_EPROTOCOL;
    }
    if (reply->chunks->n_chunks != 1 || reply->chunks->chunks[0]->handle != take->handle) {
        return PAWL_ENOCHUNK;
    }
    fill_chunk(take->file->pawl, &take->one, reply->chunks->chunks[0]);
    return 0;
}

int file_chunk_by_handle(struct pawl_file *file, uint64_t handle, uint64_t deadline_ns,
                         struct file_chunk *ret)
{
    struct chunks_take take = {.file = file, .handle = handle};
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

int file_chunks_settle(struct pawl_file *file, uint64_t deadline_ns)
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
        if (pawl_clock_ns() >= deadline_ns) {
            return code != 0 ? code : PAWL_EDEADLINE;
        }
        client_pause(file->pawl, CHUNKS_PAUSE_MS);
    }
}

const struct file_chunk *file_chunk_at(const struct pawl_file *file, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = file->chunks_count; // the first that begins behind offset lies in [low, high]
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (file->chunks[middle].base_offset <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return NULL;
    }
    const struct file_chunk *chunk = &file->chunks[low - 1];
    return !chunk->sealed || offset - chunk->base_offset < chunk->bytes ? chunk : NULL;
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
        code = link_call(file, server_id, &request, deadline_ns, &wait);
        if (code == 0 || code == PAWL_EEARLIER) {
            *ret = wait.reply.appended;
        }
        if (code == PAWL_EEARLIER && (ret->earlier_chunk == 0 || ret->earlier_chunk == handle)) {
            code = PAWL_EPROTOCOL;
        }
        if (code == 0 || code == PAWL_EEARLIER || code == PAWL_EABSENT || code == PAWL_ESESSION) {
            break;
        }
    }
    return code;
}

int file_tail_inspect(struct pawl_file *file, const struct file_chunk *chunk, uint64_t deadline_ns,
                      struct wire_inspected *ret)
{
    struct link_request request = {0};
    request.message.inspect.header.type = WIRE_INSPECT;
    request.message.inspect.chunk = chunk->handle;
    struct link_wait wait;
    int code = link_call(file, chunk->primary_id, &request, deadline_ns, &wait);
    if (code == 0 && wait.reply.inspected.committed_bytes > file->chunk_bytes) {
        code = PAWL_EPROTOCOL;
    } else if (code == 0 && !wait.reply.inspected.primary && !wait.reply.inspected.sealed) {
        code = PAWL_ENOTPRIMARY;
    }
    if (code == 0) {
        *ret = wait.reply.inspected;
    }
    return code;
}

static int file_bytes(struct pawl_file *file, uint64_t *ret_bytes)
{
    uint64_t deadline_ns = client_deadline_ns(file->pawl, 0);
    for (;;) {
        int code = file_chunks_settle(file, deadline_ns);
        if (code != 0) {
            return code;
        }
        const struct file_chunk *last =
            file->chunks_count == 0 ? NULL : &file->chunks[file->chunks_count - 1];
        uint64_t bytes = last == NULL ? 0 : last->base_offset + last->bytes;
        struct wire_inspected tail = {0};
        if (last != NULL && !last->sealed) {
            code = file_tail_inspect(file, last, deadline_ns, &tail);
        }
        if (code == 0) {
            *ret_bytes = bytes + tail.committed_bytes;
            return 0;
        }
        if (pawl_error_reaction(code) == PAWL_REACTION_GIVE_UP || pawl_clock_ns() >= deadline_ns) {
            return code;
        }
        client_pause(file->pawl, CHUNKS_PAUSE_MS);
    }
}

int pawl_file_bytes(struct pawl_file *file, uint64_t *ret_bytes)
{
    if (file == NULL || ret_bytes == NULL || file->pawl->in_callback) {
        return PAWL_EINVALID;
    }
    file_keep(file);
    int code = file_bytes(file, ret_bytes);
    file_outside_done(file);
    return code;
}
