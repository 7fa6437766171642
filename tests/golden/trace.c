// SPDX-License-Identifier: Apache-2.0
// What happens, in one line each: names instead of numbers, and only what the protocol says.
//
// Files, chunks and producers are named in the order in which they come up: file 1 has the chunks
// 1.0, 1.1, ...; p2/7 is sequence 7 of the second producer, p1e3/7 one of a named producer's epoch 3.
// No id that was drawn, no address, no term and no size of a message gets into a line.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "golden.h"

#define ULL(x) ((unsigned long long)(x))

// ---- names -----------------------------------------------------------------------------------------

const char *golden_code(int code)
{
    static char name[32];
    const char *text = pawl_strerror(code);
    if (strncmp(text, "PAWL_", 5) == 0) {
        text += 5;
    }
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, ":"), text);
    return name;
}

static const char *node_name(const struct sim_node *node)
{
    return node->role == SIM_MASTER ? "m" : node->name;
}

static const char *server_name(struct golden_run *run, uint64_t server_id)
{
    const struct sim_node *node = sim_server_node(run->sim, server_id);
    return node != NULL ? node->name : "cs?";
}

static void server_names(struct golden_run *run, const uint64_t *ids, size_t count, char *buf,
                         size_t bytes)
{
    size_t at = 0;
    buf[0] = 0;
    for (size_t i = 0; i < count && at + 8 < bytes; i++) {
        at += (size_t)snprintf(buf + at, bytes - at, "%s%s", i > 0 ? " " : "",
                               server_name(run, ids[i]));
    }
    if (count == 0) {
        snprintf(buf, bytes, "nobody");
    }
}

static uint32_t file_number(struct golden_run *run, uint64_t file_id)
{
    uint32_t i = 0;
    while (i < run->files_count && run->files[i] != file_id) {
        i++;
    }
    if (i == run->files_count && i < GOLDEN_NAMES_MAX) {
        run->files[run->files_count++] = file_id;
    }
    return i + 1;
}

static uint32_t producer_number(struct golden_run *run, uint64_t hi, uint64_t lo)
{
    uint32_t i = 0;
    while (i < run->producers_count && (run->producers[i].hi != hi || run->producers[i].lo != lo)) {
        i++;
    }
    if (i == run->producers_count && i < GOLDEN_NAMES_MAX) {
        run->producers[run->producers_count++] = (struct golden_name){.hi = hi, .lo = lo};
    }
    return i + 1;
}

void golden_id(struct golden_run *run, const struct wire_record_id *id, char *buf, size_t bytes)
{
    int n = snprintf(buf, bytes, "p%u", producer_number(run, id->producer_hi, id->producer_lo));
    if (id->epoch != 0) {
        n += snprintf(buf + n, bytes - (size_t)n, "e%u", id->epoch);
    }
    if ((id->flags & WIRE_RECORD_EPOCH) != 0) {
        snprintf(buf + n, bytes - (size_t)n, "/epoch");
    } else {
        snprintf(buf + n, bytes - (size_t)n, "/%llu", ULL(id->sequence));
    }
}

struct golden_chunk *golden_chunk_of(struct golden_run *run, uint64_t handle)
{
    for (uint32_t i = 0; i < run->chunks_count; i++) {
        if (run->chunks[i].handle == handle) {
            return &run->chunks[i];
        }
    }
    return NULL;
}

static struct golden_chunk *chunk_add(struct golden_run *run, uint64_t handle, uint32_t file,
                                      uint32_t index)
{
    struct golden_chunk *chunk = golden_chunk_of(run, handle);
    if (chunk == NULL && run->chunks_count < PAWL_ARRAY_COUNT(run->chunks)) {
        chunk = &run->chunks[run->chunks_count++];
        *chunk = (struct golden_chunk){
            .handle = handle, .file = file, .index = index, .versions = {1}, .versions_count = 1};
    }
    return chunk;
}

// "1.0"; four of these may be used in one line.
static const char *chunk_name(struct golden_run *run, uint64_t handle)
{
    static char names[4][16];
    static unsigned at;
    const struct golden_chunk *chunk = golden_chunk_of(run, handle);
    char *name = names[at++ % 4];
    if (chunk != NULL) {
        snprintf(name, sizeof(names[0]), "%u.%u", chunk->file, chunk->index);
    } else {
        snprintf(name, sizeof(names[0]), "?.?");
    }
    return name;
}

struct golden_chunk *golden_chunk_named(struct golden_run *run, const char *name)
{
    for (uint32_t i = 0; name != NULL && i < run->chunks_count; i++) {
        if (strcmp(chunk_name(run, run->chunks[i].handle), name) == 0) {
            return &run->chunks[i];
        }
    }
    return NULL;
}

bool golden_like(const char *line, const char *pattern)
{
    while (*pattern != 0) {
        pattern += strspn(pattern, " ");
        size_t bytes = strcspn(pattern, " ");
        if (bytes == 0) {
            break;
        }
        for (;;) {
            line += strspn(line, " ,:");
            size_t word_bytes = strcspn(line, " ,:");
            if (word_bytes == 0) {
                return false;
            }
            bool equal = word_bytes == bytes && memcmp(line, pattern, bytes) == 0;
            line += word_bytes;
            if (equal) {
                break;
            }
        }
        pattern += bytes;
    }
    return true;
}

// ---- requests that an answer belongs to ----------------------------------------------------------

static void request_add(struct golden_run *run, const struct sim_conn *conn, int from,
                        const struct sim_frame *frame, uint64_t request, const char *what)
{
    for (uint32_t i = 0; i < run->requests_count; i++) {
        struct golden_request *r = &run->requests[i];
        if (r->conn == conn->id && r->request == request && r->from == from) {
            snprintf(r->what, sizeof(r->what), "%s", what);
            return;
        }
    }
    if (run->requests_count == run->requests_capacity) {
        run->requests_capacity = 2 * run->requests_capacity + 64;
        run->requests = realloc(run->requests, run->requests_capacity * sizeof(run->requests[0]));
        pawl_assert(run->requests != NULL);
    }
    struct golden_request *r = &run->requests[run->requests_count++];
    *r = (struct golden_request){
        .conn = conn->id, .request = request, .from = from, .control = frame->control};
    snprintf(r->what, sizeof(r->what), "%s", what);
}

static const char *request_what(const struct golden_run *run, const struct sim_conn *conn, int from,
                                uint64_t request)
{
    for (uint32_t i = run->requests_count; i > 0; i--) {
        const struct golden_request *r = &run->requests[i - 1];
        if (r->conn == conn->id && r->request == request && r->from == from) {
            return r->what;
        }
    }
    return "?";
}

// ---- the data plane --------------------------------------------------------------------------------

static void describe_request(struct golden_run *run, const struct sim_frame *frame, char *what,
                             size_t what_bytes, char *more, size_t more_bytes)
{
    union {
        struct wire_header header;
        struct wire_append append;
        struct wire_prepare prepare;
        struct wire_commit commit;
        struct wire_fetch fetch;
        struct wire_lookup lookup;
        struct wire_read read;
    } m = {0};
    char id[32];
    char place[32] = "";
    memcpy(&m, frame->data, PAWL_MIN(sizeof(m), (size_t)frame->bytes));
    more[0] = 0;
    switch (m.header.type) {
    case WIRE_APPEND:
        golden_id(run, &m.append.id, id, sizeof(id));
        snprintf(what, what_bytes, "APPEND %s", id);
        if (wire_record_is_write(&m.append.id)) {
            snprintf(place, sizeof(place), " at %u", wire_record_offset(&m.append.id));
        }
        snprintf(more, more_bytes, " %u bytes%s to %s v%llu", m.append.length, place,
                 chunk_name(run, m.append.chunk), ULL(m.append.version));
        break;
    case WIRE_PREPARE:
        golden_id(run, &m.prepare.id, id, sizeof(id));
        snprintf(what, what_bytes, "PREPARE %s v%llu #%llu", chunk_name(run, m.prepare.chunk),
                 ULL(m.prepare.version), ULL(m.prepare.index));
        snprintf(more, more_bytes, " %s at %llu, commit %llu", id, ULL(m.prepare.offset),
                 ULL(m.prepare.commit_count));
        break;
    case WIRE_COMMIT:
        snprintf(what, what_bytes, "COMMIT %s v%llu", chunk_name(run, m.commit.chunk),
                 ULL(m.commit.version));
        snprintf(more, more_bytes, " count %llu", ULL(m.commit.commit_count));
        break;
    case WIRE_FETCH:
        snprintf(place, sizeof(place), "#%llu", ULL(m.fetch.index));
        snprintf(what, what_bytes, "FETCH %s %s", chunk_name(run, m.fetch.chunk),
                 m.fetch.index == WIRE_FETCH_TABLE ? "table" : place);
        break;
    case WIRE_READ:
        snprintf(what, what_bytes, "READ %s", chunk_name(run, m.read.chunk));
        snprintf(more, more_bytes, ", log chunks %u%s", m.read.log_chunks,
                 (m.read.flags & WIRE_READ_ALL) != 0 ? ", all" : "");
        break;
    case WIRE_LOOKUP:
        golden_id(run, &m.lookup.id, id, sizeof(id));
        snprintf(what, what_bytes, "LOOKUP %s", id);
        snprintf(more, more_bytes, " in %s", chunk_name(run, m.lookup.chunk));
        break;
    default:
        snprintf(what, what_bytes, "%s", wire_type_name(m.header.type));
        break;
    }
}

static void describe_reply(struct golden_run *run, const struct sim_frame *frame, const char *what,
                           char *buf, size_t bytes)
{
    struct wire_appended appended = {0};
    struct wire_header header;
    memcpy(&header, frame->data, sizeof(header));
    memcpy(&appended, frame->data, PAWL_MIN(sizeof(appended), (size_t)frame->bytes));
    uint16_t type = header.type & (uint16_t)~WIRE_REPLY;
    bool of_append = type == WIRE_APPEND || type == WIRE_LOOKUP;
    const char *rest = strchr(what, ' ');
    rest = rest != NULL ? rest : "";
    if (of_append && header.status == PAWL_EEARLIER) {
        snprintf(buf, bytes, "%s: EEARLIER, look in %s", what,
                 chunk_name(run, appended.earlier_chunk));
    } else if (of_append && header.status == PAWL_EEXPECT) {
        snprintf(buf, bytes, "%s refused: EEXPECT %llu", what, ULL(appended.sequence));
    } else if (header.status != 0) {
        snprintf(buf, bytes, "%s refused: %s", what, golden_code(header.status));
    } else if (of_append && strstr(rest, "/epoch") != NULL) {
        snprintf(buf, bytes, "APPENDED%s, last sequence %llu", rest, ULL(appended.sequence));
    } else if (of_append) {
        snprintf(buf, bytes, "%s%s at %llu%s", type == WIRE_APPEND ? "APPENDED" : "FOUND", rest,
                 ULL(appended.file_offset), appended.duplicate != 0 ? ", duplicate" : "");
    } else if (type == WIRE_PREPARE) {
        snprintf(buf, bytes, "PREPARED%s", rest);
    } else if (type == WIRE_FETCH) {
        snprintf(buf, bytes, "FETCHED%s", rest);
    } else if (type == WIRE_READ) {
        struct wire_read_done done;
        memcpy(&done, frame->data, sizeof(done));
        snprintf(buf, bytes, "%s: %u bytes, log chunks %u, log bytes %llu", what, done.length,
                 done.log_chunks, ULL(done.log_bytes));
    } else {
        snprintf(buf, bytes, "%s: done", what);
    }
}

static void describe_wire(struct golden_run *run, const struct sim_conn *conn, int to,
                          const struct sim_frame *frame, struct golden_line *ret)
{
    struct wire_header header;
    char what[64] = "";
    char more[96] = "";
    memcpy(&header, frame->data, sizeof(header));
    size_t at = strlen(ret->text);
    if ((header.type & WIRE_REPLY) != 0) {
        describe_reply(run, frame, request_what(run, conn, to, header.request), ret->text + at,
                       GOLDEN_TEXT - at);
        ret->hidden = (header.type & (uint16_t)~WIRE_REPLY) == WIRE_COMMIT && header.status == 0;
        return;
    }
    describe_request(run, frame, what, sizeof(what), more, sizeof(more));
    request_add(run, conn, 1 - to, frame, header.request, what);
    snprintf(ret->text + at, GOLDEN_TEXT - at, "%s%s", what, more);
}

// ---- the control plane -------------------------------------------------------------------------------

static const char *body_name(const ProtobufCMessage *message, int body_case)
{
    static char name[32];
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(message->descriptor, (unsigned)body_case);
    size_t i = 0;
    for (; field != NULL && field->name[i] != 0 && i + 1 < sizeof(name); i++) {
        char c = field->name[i];
        name[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    name[i] = 0;
    return name;
}

static void describe_tail_question(struct golden_run *run, const Pawl__GetTail *get, char *more,
                                   size_t bytes)
{
    const Pawl__Hint *hint = get->hint;
    if (hint != NULL) {
        snprintf(more, bytes, ", hint: %s%s%s at %s v%llu", golden_code(hint->code),
                 hint->server_id != 0 ? " of " : "",
                 hint->server_id != 0 ? server_name(run, hint->server_id) : "",
                 chunk_name(run, hint->handle), ULL(hint->version));
    }
}

static void describe_replicas(struct golden_run *run, Pawl__Replica **replicas, size_t count,
                              char *more, size_t bytes)
{
    size_t at = 0;
    for (size_t i = 0; i < count && at + 40 < bytes; i++) {
        const Pawl__Replica *r = replicas[i];
        at += (size_t)snprintf(more + at, bytes - at, "%s %s v%llu %llu records%s",
                               i == 0 ? ", holds" : ",", chunk_name(run, r->handle),
                               ULL(r->version), ULL(r->count), r->sealed ? " sealed" : "");
    }
}

static void describe_report(struct golden_run *run, const Pawl__Report *report, char *what,
                            size_t what_bytes)
{
    static const char *const kinds[] = {"NONE", "BROKEN", "FULL", "DAMAGED"};
    bool known = report->kind >= 0 && (size_t)report->kind < PAWL_ARRAY_COUNT(kinds);
    bool broken = report->kind == PAWL__REPORT_KIND__REPORT_BROKEN;
    snprintf(what, what_bytes, "REPORT %s %s v%llu%s%s", known ? kinds[report->kind] : "?",
             chunk_name(run, report->handle), ULL(report->version), broken ? " " : "",
             broken ? server_name(run, report->server_id) : "");
}

static void describe_command(struct golden_run *run, const Pawl__Request *m, char *what,
                             size_t what_bytes, char *more, size_t more_bytes)
{
    // All commands begin with term, handle, version.
    snprintf(what, what_bytes, "%s %s v%llu", body_name(&m->base, (int)m->body_case),
             chunk_name(run, m->fence->handle), ULL(m->fence->version));
    if (m->body_case == PAWL__REQUEST__BODY_LEVEL) {
        snprintf(more, more_bytes, " to %llu records from %s", ULL(m->level->count),
                 server_name(run, m->level->source->server_id));
    } else if (m->body_case == PAWL__REQUEST__BODY_SEAL) {
        snprintf(more, more_bytes, " at %llu records, %llu bytes", ULL(m->seal->count),
                 ULL(m->seal->length));
    } else if (m->body_case == PAWL__REQUEST__BODY_COPY) {
        snprintf(more, more_bytes, " of %llu records from %s", ULL(m->copy->count),
                 server_name(run, m->copy->source->server_id));
    } else if (m->body_case == PAWL__REQUEST__BODY_OPEN) {
        int n =
            snprintf(more, more_bytes, " at offset %llu, %zu producers", ULL(m->open->base_offset),
                     m->open->producers.len / sizeof(struct wire_producer));
        if (m->open->zero_bytes != 0) {
            snprintf(more + n, more_bytes - (size_t)n, ", %llu zeros", ULL(m->open->zero_bytes));
        }
    } else if (m->body_case == PAWL__REQUEST__BODY_GRANT) {
        uint64_t ids[8];
        size_t count = PAWL_MIN(m->grant->n_members, PAWL_ARRAY_COUNT(ids));
        for (size_t i = 0; i < count; i++) {
            ids[i] = m->grant->members[i]->server_id;
        }
        int n = snprintf(more, more_bytes, " at %llu records, set ", ULL(m->grant->commit_count));
        server_names(run, ids, count, more + n, more_bytes - (size_t)n);
    }
}

static void describe_control_request(struct golden_run *run, const Pawl__Request *m, char *what,
                                     size_t what_bytes, char *more, size_t more_bytes)
{
    switch (m->body_case) {
    case PAWL__REQUEST__BODY_GET_TAIL:
        snprintf(what, what_bytes, "TAIL? file %u", file_number(run, m->get_tail->file_id));
        describe_tail_question(run, m->get_tail, more, more_bytes);
        break;
    case PAWL__REQUEST__BODY_GET_CHUNKS:
        snprintf(what, what_bytes, "WHERE? %s",
                 m->get_chunks->handle != 0 ? chunk_name(run, m->get_chunks->handle) : "");
        break;
    case PAWL__REQUEST__BODY_OPEN_PRODUCER:
        snprintf(what, what_bytes, "PRODUCER? %s", m->open_producer->name);
        break;
    case PAWL__REQUEST__BODY_OPEN_WRITE_LOG:
        snprintf(what, what_bytes, "LOG? %s", chunk_name(run, m->open_write_log->handle));
        break;
    case PAWL__REQUEST__BODY_SEAL_TAIL:
        snprintf(what, what_bytes, "FINISH %s", chunk_name(run, m->seal_tail->handle));
        break;
    case PAWL__REQUEST__BODY_EXTEND:
        snprintf(what, what_bytes, "EXTEND file %u", file_number(run, m->extend->file_id));
        snprintf(more, more_bytes, " to %llu bytes", ULL(m->extend->bytes));
        break;
    case PAWL__REQUEST__BODY_REGISTER:
        snprintf(what, what_bytes, "REGISTER");
        describe_replicas(run, m->register_->replicas, m->register_->n_replicas, more, more_bytes);
        break;
    case PAWL__REQUEST__BODY_REPORT:
        describe_report(run, m->report, what, what_bytes);
        break;
    case PAWL__REQUEST__BODY_FENCE:
    case PAWL__REQUEST__BODY_LEVEL:
    case PAWL__REQUEST__BODY_SEAL:
    case PAWL__REQUEST__BODY_OPEN:
    case PAWL__REQUEST__BODY_GRANT:
    case PAWL__REQUEST__BODY_DROP:
    case PAWL__REQUEST__BODY_COPY:
        describe_command(run, m, what, what_bytes, more, more_bytes);
        break;
    default:
        snprintf(what, what_bytes, "%s", body_name(&m->base, (int)m->body_case));
        break;
    }
}

static void describe_chunks(const Pawl__ChunkList *list, const char *what, char *buf, size_t bytes)
{
    int n = snprintf(buf, bytes, "%s: %zu listed", what, list->n_chunks);
    if (list->n_chunks == 1 && list->chunks[0]->log_chunks > 0) {
        snprintf(buf + n, bytes - (size_t)n, ", replicas %zu, log chunks %u",
                 list->chunks[0]->n_replicas, (unsigned)list->chunks[0]->log_chunks);
    }
}

static void describe_control_reply(struct golden_run *run, const Pawl__Reply *m, const char *what,
                                   char *buf, size_t bytes)
{
    const char *rest = strchr(what, ' ');
    rest = rest != NULL ? rest : "";
    if (m->code != 0) {
        snprintf(buf, bytes, "%s refused: %s", what, golden_code(m->code));
        return;
    }
    switch (m->body_case) {
    case PAWL__REPLY__BODY_TAIL:
        if (m->tail->chunk == NULL) {
            snprintf(buf, bytes, "TAIL none");
            break;
        }
        snprintf(buf, bytes, "TAIL %s v%llu from offset %llu, primary %s",
                 chunk_name(run, m->tail->chunk->handle), ULL(m->tail->chunk->version),
                 ULL(m->tail->chunk->base_offset), server_name(run, m->tail->chunk->primary_id));
        break;
    case PAWL__REPLY__BODY_PRODUCER:
        snprintf(buf, bytes, "PRODUCER p%u epoch %u",
                 producer_number(run, m->producer->producer_hi, m->producer->producer_lo),
                 m->producer->epoch);
        break;
    case PAWL__REPLY__BODY_FENCED:
        snprintf(buf, bytes, "FENCED%s, %llu records, commit %llu", rest, ULL(m->fenced->count),
                 ULL(m->fenced->commit_count));
        break;
    case PAWL__REPLY__BODY_LEVELLED:
        snprintf(buf, bytes, "LEVELLED%s, %llu records", rest, ULL(m->levelled->count));
        break;
    case PAWL__REPLY__BODY_SEALED:
        snprintf(buf, bytes, "SEALED%s, %zu producers", rest,
                 m->sealed->producers.len / sizeof(struct wire_producer));
        break;
    case PAWL__REPLY__BODY_CHUNKS:
        describe_chunks(m->chunks, what, buf, bytes);
        break;
    case PAWL__REPLY__BODY_WRITE_LOG:
        snprintf(buf, bytes, "%s: file %u", what, file_number(run, m->write_log->file_id));
        break;
    case PAWL__REPLY__BODY_COPIED:
        snprintf(buf, bytes, "COPIED%s, %llu records%s", rest, ULL(m->copied->count),
                 m->copied->sealed ? ", sealed" : "");
        break;
    default:
        snprintf(buf, bytes, "%s: done", what);
        break;
    }
}

// Questions that time repeats, and answers that say nothing.
static bool is_quiet(const char *what)
{
    return strncmp(what, "HEARTBEAT", 9) == 0 || strncmp(what, "CREATE", 6) == 0;
}

// Of one client's questions for the tail only the first in a row is shown: the pauses between the
// others are drawn.
static bool is_repeated(struct golden_run *run, const struct sim_node *client, const char *what,
                        const Pawl__Request *request, int code)
{
    bool *busy = &run->busy[client->index];
    if (client->role != SIM_CLIENT || strncmp(what, "TAIL?", 5) != 0) {
        return false;
    }
    bool repeated = *busy;
    if (request == NULL) {
        *busy = code == PAWL_EBUSY || code == PAWL_ENOSERVERS;
        return repeated && *busy;
    }
    return repeated;
}

static void describe_control(struct golden_run *run, const struct sim_conn *conn, int to,
                             const struct sim_frame *frame, struct golden_line *ret)
{
    char what[64] = "";
    char more[160] = "";
    size_t at = strlen(ret->text);
    const struct sim_node *from = conn->side[1 - to].node;
    if (frame->reply) {
        Pawl__Reply *reply = pawl__reply__unpack(NULL, frame->bytes, frame->data);
        pawl_assert(reply != NULL);
        snprintf(what, sizeof(what), "%s", request_what(run, conn, to, frame->request));
        describe_control_reply(run, reply, what, ret->text + at, GOLDEN_TEXT - at);
        ret->hidden = is_quiet(what) || strncmp(what, "RE", 2) == 0 || // reports, registrations
                      is_repeated(run, conn->side[to].node, what, NULL, reply->code);
        pawl__reply__free_unpacked(reply, NULL);
        return;
    }
    Pawl__Request *request = pawl__request__unpack(NULL, frame->bytes, frame->data);
    pawl_assert(request != NULL);
    describe_control_request(run, request, what, sizeof(what), more, sizeof(more));
    request_add(run, conn, 1 - to, frame, frame->request, what);
    ret->hidden = is_quiet(what) || is_repeated(run, from, what, request, 0);
    snprintf(ret->text + at, GOLDEN_TEXT - at, "%s%s", what, more);
    pawl__request__free_unpacked(request, NULL);
}

void golden_describe(struct golden_run *run, const struct sim_conn *conn, int to,
                     const struct sim_frame *frame, struct golden_line *ret)
{
    ret->hidden = false;
    snprintf(ret->text, GOLDEN_TEXT, "%s > %s ", node_name(conn->side[1 - to].node),
             node_name(conn->side[to].node));
    if (frame->control) {
        describe_control(run, conn, to, frame, ret);
    } else {
        describe_wire(run, conn, to, frame, ret);
    }
}

// ---- disks -----------------------------------------------------------------------------------------------

static void describe_version(struct golden_run *run, const char *what, uint64_t handle,
                             uint64_t version, const uint64_t *set, size_t set_count,
                             struct golden_line *ret)
{
    char names[64];
    struct golden_chunk *chunk = golden_chunk_of(run, handle);
    if (chunk != NULL && chunk->versions_count < PAWL_ARRAY_COUNT(chunk->versions)) {
        chunk->versions[chunk->versions_count++] = version;
    }
    server_names(run, set, set_count, names, sizeof(names));
    snprintf(ret->text, GOLDEN_TEXT, "m logs %s %s v%llu, set %s", what, chunk_name(run, handle),
             ULL(version), names);
}

static void describe_written(struct golden_run *run, const Pawl__LogChunkWritten *written,
                             struct golden_line *ret)
{
    struct golden_chunk *chunk = golden_chunk_of(run, written->handle);
    if (chunk != NULL && chunk->versions_count < PAWL_ARRAY_COUNT(chunk->versions)) {
        chunk->versions[chunk->versions_count++] = written->version;
    }
    snprintf(ret->text, GOLDEN_TEXT, "m logs WRITTEN %s v%llu", chunk_name(run, written->handle),
             ULL(written->version));
}

static void describe_seal(struct golden_run *run, const Pawl__LogChunkSeal *seal,
                          struct golden_line *ret)
{
    char names[64];
    char next[64];
    struct golden_chunk *chunk = golden_chunk_of(run, seal->handle);
    server_names(run, seal->set, seal->n_set, names, sizeof(names));
    int n =
        snprintf(ret->text, GOLDEN_TEXT, "m logs SEAL %s v%llu at %llu records, %llu bytes, set %s",
                 chunk_name(run, seal->handle), ULL(seal->version), ULL(seal->count),
                 ULL(seal->length), names);
    if (chunk == NULL) {
        return;
    }
    chunk->sealed = true;
    chunk->count = seal->count;
    chunk->length = seal->length;
    if (seal->next_handle != 0) {
        (void)chunk_add(run, seal->next_handle, chunk->file, chunk->index + 1);
        server_names(run, seal->next_set, seal->n_next_set, next, sizeof(next));
        n += snprintf(ret->text + n, GOLDEN_TEXT - (size_t)n, "; creates %s on %s",
                      chunk_name(run, seal->next_handle), next);
        if (seal->next_zero_bytes != 0) {
            snprintf(ret->text + n, GOLDEN_TEXT - (size_t)n, ", %llu zeros",
                     ULL(seal->next_zero_bytes));
        }
    }
}

void golden_describe_log(struct golden_run *run, const Pawl__LogRecord *record,
                         struct golden_line *ret)
{
    char names[64];
    const Pawl__LogChunkCreate *create = record->chunk_create;
    ret->hidden = false;
    switch (record->body_case) {
    case PAWL__LOG_RECORD__BODY_CHUNK_CREATE:
        (void)chunk_add(run, create->handle, file_number(run, create->file_id), 0);
        server_names(run, create->set, create->n_set, names, sizeof(names));
        snprintf(ret->text, GOLDEN_TEXT, "m logs CREATE %s on %s", chunk_name(run, create->handle),
                 names);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_VERSION:
        describe_version(run, "VERSION", record->chunk_version->handle,
                         record->chunk_version->version, record->chunk_version->set,
                         record->chunk_version->n_set, ret);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_PLACE:
        describe_version(run, "PLACE", record->chunk_place->handle, record->chunk_place->version,
                         record->chunk_place->set, record->chunk_place->n_set, ret);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_READY:
        snprintf(ret->text, GOLDEN_TEXT, "m logs READY %s",
                 chunk_name(run, record->chunk_ready->handle));
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_SEAL:
        describe_seal(run, record->chunk_seal, ret);
        break;
    case PAWL__LOG_RECORD__BODY_WRITE_LOG:
        snprintf(ret->text, GOLDEN_TEXT, "m logs LOG of %s: file %u",
                 chunk_name(run, record->write_log->handle),
                 file_number(run, record->write_log->file_id));
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_WRITTEN:
        describe_written(run, record->chunk_written, ret);
        break;
    case PAWL__LOG_RECORD__BODY_PRODUCER:
        snprintf(ret->text, GOLDEN_TEXT, "m logs PRODUCER p%u epoch %u",
                 producer_number(run, record->producer->producer_hi, record->producer->producer_lo),
                 record->producer->epoch);
        break;
    default:
        snprintf(ret->text, GOLDEN_TEXT, "m logs %s",
                 body_name(&record->base, (int)record->body_case));
        break;
    }
}

void golden_describe_disk(struct golden_run *run, const struct sim_node *node,
                          const struct sim_disk_op *op, struct golden_line *ret)
{
    const char *chunk = chunk_name(run, op->handle);
    ret->hidden = false;
    switch (op->kind) {
    case SIM_DISK_CREATE:
        snprintf(ret->text, GOLDEN_TEXT, "%s flushed %s v%llu created", node->name, chunk,
                 ULL(op->create.version));
        break;
    case SIM_DISK_APPEND:
        snprintf(ret->text, GOLDEN_TEXT, "%s flushed %s #%llu", node->name, chunk, ULL(op->index));
        break;
    case SIM_DISK_PROMISE:
        snprintf(ret->text, GOLDEN_TEXT, "%s flushed %s promise v%llu", node->name, chunk,
                 ULL(op->version));
        break;
    case SIM_DISK_SEAL:
        snprintf(ret->text, GOLDEN_TEXT, "%s flushed %s sealed at %llu records", node->name, chunk,
                 ULL(op->count));
        break;
    case SIM_DISK_DROP:
        snprintf(ret->text, GOLDEN_TEXT, "%s flushed %s dropped", node->name, chunk);
        break;
    default:
        snprintf(ret->text, GOLDEN_TEXT, "%s flushed %s operation %d", node->name, chunk,
                 (int)op->kind);
        break;
    }
}
