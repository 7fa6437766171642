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
#define CHUNKS_CALL_MS 5000u

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
// One fetch at a time per file, on behalf of all who want one. Who comes while one is under way waits for the
// next: the answer to the present one may be older than his question.

static void fill_chunk(struct pawl *pawl, struct file_chunk *to, const Pawl__Chunk *from)
{
    *to = (struct file_chunk){.handle = from->handle,
                              .base_offset = from->base_offset,
                              .primary_id = from->primary_id,
                              .version = from->version,
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
        to->well_count = pass == 0 ? to->replicas_count : to->well_count;
    }
}

// Chunks follow each other without gaps, and only the last one may be open.
static bool follows(const struct file_chunk *chunk, const struct file_chunk *before, uint32_t index)
{
    uint64_t base_offset = before == NULL ? 0 : before->base_offset + before->bytes;
    return chunk->handle != 0 && chunk->index == index && chunk->base_offset == base_offset &&
           chunk->bytes <= UINT64_MAX - base_offset && (before == NULL || before->sealed);
}

static int take_chunks(struct pawl_file *file, const Pawl__Reply *reply, bool *ret_more)
{
    struct chunks_fetch *fetch = &file->fetch;
    if (reply->body_case != PAWL__REPLY__BODY_CHUNKS) {
        return PAWL_EPROTOCOL;
    }
    size_t count = reply->chunks->n_chunks;
    struct file_chunk *chunks =
        realloc(fetch->chunks, (fetch->chunks_count + count + 1) * sizeof *fetch->chunks);
    if (chunks == NULL) {
        return -ENOMEM;
    }
    fetch->chunks = chunks;
    for (size_t i = 0; i < count; i++) {
        uint32_t at = fetch->chunks_count;
        fill_chunk(file->pawl, &chunks[at], reply->chunks->chunks[i]);
        if (!follows(&chunks[at], at == 0 ? NULL : &chunks[at - 1], at)) {
            return PAWL_EPROTOCOL;
        }
        fetch->chunks_count++;
    }
    *ret_more = reply->chunks->more && count != 0;
    return 0;
}

static bool tail_settled(const struct pawl_file *file)
{
    const struct file_chunk *last =
        file->chunks_count == 0 ? NULL : &file->chunks[file->chunks_count - 1];
    return last == NULL || last->sealed || last->primary_id != 0;
}

static void fetch_end(struct pawl_file *file, int code)
{
    struct chunks_fetch *fetch = &file->fetch;
    // A master that is away, or puts us off, says nothing of the map that is there: sealed bytes can be read by it.
    if (code != 0 && code != PAWL_EBUSY && !control_is_transient(code)) {
        file->chunks_count = 0; // whoever reads next asks anew
    }
    fetch->state = CHUNKS_IDLE;
    fetch->code = code;
    fetch->ended = fetch->begun;
    fetch->until_ns = fetch->wanted > fetch->begun ? fetch->until_ns : 0;
}

// A whole map is there: it takes the place of the one before it.
static void fetch_swap(struct pawl_file *file, uint64_t now_ns)
{
    struct chunks_fetch *fetch = &file->fetch;
    struct file_chunk *before = file->chunks;
    file->chunks = fetch->chunks;
    file->chunks_count = fetch->chunks_count;
    fetch->chunks = before;
    if (!fetch->settle || tail_settled(file)) {
        fetch_end(file, 0);
    } else { // ask for the tail, so that somebody holds its lease
        fetch->state = CHUNKS_TOUCH;
        fetch->due_ns = now_ns;
    }
}

static void on_page(void *user, int code, const Pawl__Reply *reply)
{
    struct pawl_file *file = user;
    struct chunks_fetch *fetch = &file->fetch;
    uint64_t now_ns = pawl_clock_ns();
    bool more = false;
    file->pawl->answered = true;
    fetch->asked = false;
    fetch->due_ns = now_ns;
    code = control_code(code, reply);
    if (control_is_transient(code)) {
        fetch->due_ns = now_ns + CHUNKS_PAUSE_MS * PAWL_NS_PER_MS;
    } else {
        code = code != 0 ? code : take_chunks(file, reply, &more);
        if (code != 0) {
            fetch_end(file, code);
        } else if (!more) {
            fetch_swap(file, now_ns);
        }
    }
    file_outside_done(file);
}

// PAWL_EBUSY and the like mean "not yet".
static void on_touch(void *user, int code, const Pawl__Reply *reply)
{
    struct pawl_file *file = user;
    struct chunks_fetch *fetch = &file->fetch;
    file->pawl->answered = true;
    fetch->asked = false;
    code = control_code(code, reply);
    if (code != 0 && !control_is_transient(code) &&
        pawl_error_reaction(code) == PAWL_REACTION_GIVE_UP) {
        fetch_end(file, code);
    } else {
        fetch->last_code = control_is_transient(code) ? 0 : code;
        fetch->state = CHUNKS_PAGES;
        fetch->chunks_count = 0;
        fetch->due_ns = pawl_clock_ns() + CHUNKS_PAUSE_MS * PAWL_NS_PER_MS;
    }
    file_outside_done(file);
}

static void fetch_ask(struct pawl_file *file, uint64_t now_ns)
{
    struct chunks_fetch *fetch = &file->fetch;
    Pawl__GetChunks get = PAWL__GET_CHUNKS__INIT;
    Pawl__GetTail tail = PAWL__GET_TAIL__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    uint64_t left_ms = (fetch->until_ns - now_ns) / PAWL_NS_PER_MS + 1;
    bool touch = fetch->state == CHUNKS_TOUCH;
    if (touch) {
        request.body_case = PAWL__REQUEST__BODY_GET_TAIL;
        request.get_tail = &tail;
        tail.file_id = file->file_id;
    } else {
        request.body_case = PAWL__REQUEST__BODY_GET_CHUNKS;
        request.get_chunks = &get;
        get.file_id = file->file_id;
        get.from_index = fetch->chunks_count;
    }
    int code = control_submit(file->pawl, &request, (uint32_t)PAWL_MIN(left_ms, CHUNKS_CALL_MS),
                              touch ? on_touch : on_page, file);
    if (code == 0) {
        fetch->asked = true;
        file_keep(file);
    } else if (control_is_transient(code)) {
        fetch->due_ns = now_ns + CHUNKS_PAUSE_MS * PAWL_NS_PER_MS;
    } else {
        fetch_end(file, code);
    }
}

bool file_chunks_run(struct pawl_file *file, uint64_t now_ns)
{
    struct chunks_fetch *fetch = &file->fetch;
    if (fetch->asked) {
        return false;
    }
    if (fetch->state == CHUNKS_IDLE) {
        if (fetch->wanted <= fetch->begun) {
            return false;
        }
        fetch->begun++;
        fetch->state = CHUNKS_PAGES;
        fetch->settle = fetch->settle_next;
        fetch->settle_next = false;
        fetch->chunks_count = 0;
        fetch->last_code = 0;
        fetch->due_ns = now_ns;
    }
    if (now_ns >= fetch->until_ns) {
        fetch_end(file, fetch->last_code != 0 ? fetch->last_code : PAWL_EDEADLINE);
        return true;
    }
    if (now_ns < fetch->due_ns) {
        return false;
    }
    fetch_ask(file, now_ns);
    return true;
}

uint64_t file_chunks_wake_ns(const struct pawl_file *file)
{
    const struct chunks_fetch *fetch = &file->fetch;
    if (fetch->asked) {
        return UINT64_MAX; // the call has a deadline of its own
    }
    if (fetch->state == CHUNKS_IDLE) {
        return fetch->wanted > fetch->begun ? 0 : UINT64_MAX;
    }
    return PAWL_MIN(fetch->due_ns, fetch->until_ns);
}

uint64_t file_chunks_want(struct pawl_file *file, bool settle, uint64_t deadline_ns)
{
    struct chunks_fetch *fetch = &file->fetch;
    fetch->wanted = fetch->begun + 1;
    fetch->settle_next |= settle;
    fetch->until_ns = PAWL_MAX(fetch->until_ns, deadline_ns);
    return fetch->wanted;
}

bool file_chunks_have(const struct pawl_file *file, uint64_t ticket, int *ret_code)
{
    if (file->fetch.ended < ticket) {
        return false;
    }
    *ret_code = file->fetch.code;
    return true;
}

static int chunks_wait(struct pawl_file *file, bool settle, uint64_t deadline_ns)
{
    uint64_t ticket = file_chunks_want(file, settle, deadline_ns);
    int code = PAWL_EDEADLINE;
    while (!file_chunks_have(file, ticket, &code)) {
        if (pawl_clock_ns() >= deadline_ns) {
            return PAWL_EDEADLINE;
        }
        client_turn(file->pawl, deadline_ns);
    }
    return code;
}

int file_chunks_refresh(struct pawl_file *file, uint64_t deadline_ns)
{
    return chunks_wait(file, false, deadline_ns);
}

int file_chunks_settle(struct pawl_file *file, uint64_t deadline_ns)
{
    return chunks_wait(file, true, deadline_ns);
}

// ---- one chunk ----------------------------------------------------------------------------------

struct chunk_take {
    struct pawl_file *file;
    uint64_t handle;
    struct file_chunk one;
};

static int take_one(void *user, const Pawl__Reply *reply)
{
    struct chunk_take *take = user;
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
    struct chunk_take take = {.file = file, .handle = handle};
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
    uint32_t damaged_count = 0;
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
            return code;
        }
        damaged_count += chunk.sealed && code == PAWL_ENOTPRIMARY; // it may have lost the record
    }
    if (damaged_count > 0) {
        return damaged_count == count ? PAWL_EDAMAGED : PAWL_EBUSY;
    }
    return code;
}

int file_tail_check(const struct pawl_file *file, const struct wire_inspected *tail)
{
    if (tail->committed_bytes > file->chunk_bytes) {
        return PAWL_EPROTOCOL;
    }
    return tail->primary || tail->sealed ? 0 : PAWL_ENOTPRIMARY;
}

int file_tail_inspect(struct pawl_file *file, const struct file_chunk *chunk, uint64_t deadline_ns,
                      struct wire_inspected *ret)
{
    struct link_request request = {0};
    request.message.inspect.header.type = WIRE_INSPECT;
    request.message.inspect.chunk = chunk->handle;
    struct link_wait wait;
    int code = link_call(file, chunk->primary_id, &request, deadline_ns, &wait);
    code = code != 0 ? code : file_tail_check(file, &wait.reply.inspected);
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
