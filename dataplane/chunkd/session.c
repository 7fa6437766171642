// SPDX-License-Identifier: Apache-2.0
// Sessions: connections that clients and other chunk servers made to us, their windows and
// requests.
//
// A peer says HELLO first; its window is in windows.c. From then on each of its messages is a request;
// it may have requests_count of them unanswered, and the slots that a request names are the
// server's until the reply. Whoever breaks one of these rules is disconnected, with the reason in
// the log.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "dataplane/chunkd/chunkd_private.h"

static struct pawl_log_limit session_log_limit;

void session_close(struct session *session, int status)
{
    if (session->state != SESSION_CLOSING) {
        session->state = SESSION_CLOSING;
        fabric_conn_close(session->conn, status);
    }
}

// The peer broke the protocol.
static void session_violation(struct session *session, const char *why)
{
    pawl_log_limited(&session_log_limit, PAWL_LOG_WARN, "connection %llu from %s closed: %s",
                     (unsigned long long)session->id, fabric_conn_peer(session->conn), why);
    session_close(session, PAWL_EPROTOCOL);
}

// A peer that doesn't take its replies is disconnected; a broken connection says so by itself.
void session_send(struct session *session, const void *message, uint32_t bytes)
{
    if (session->state == SESSION_CLOSING) {
        return;
    }
    int code = fabric_send(session->conn, message, bytes);
    if (code != 0) {
        pawl_log_debug("connection %llu takes no reply: %s", (unsigned long long)session->id,
                       pawl_strerror(code));
        session_close(session, code);
    }
}

// ---- PREPARED for a run of records -------------------------------------------------------------

// A flush makes many records durable: one answer for a run of them, at the end of the turn.
static void prepared_release(struct session *session)
{
    if (session->prepared.header.bytes != 0) {
        struct wire_prepared prepared = session->prepared;
        session->prepared.header.bytes = 0;
        pawl_list_remove(&session->answers);
        session_send(session, &prepared, sizeof(prepared));
    }
}

// The answer for `count` records of which it names the last.
static void prepared_hold(struct reactor *reactor, struct session *session,
                          const struct wire_prepared *prepared, uint32_t count)
{
    struct wire_prepared *held = &session->prepared;
    if (held->header.bytes != 0 && held->chunk == prepared->chunk &&
        held->version == prepared->version && held->index + count == prepared->index) {
        uint32_t earlier_count = held->earlier_count + count;
        uint32_t flags = held->header.flags | prepared->header.flags;
        *held = *prepared;
        held->header.flags = flags;
        held->earlier_count = earlier_count;
        return;
    }
    prepared_release(session);
    *held = *prepared;
    held->earlier_count = count - 1;
    pawl_list_push_back(&reactor->answering, &session->answers);
}

void sessions_answer(struct reactor *reactor)
{
    pawl_list_for_each_safe (node, &reactor->answering) {
        prepared_release(pawl_container_of(node, struct session, answers));
    }
}

// Of a run, rows and payloads: what comes by one fabric may have to go on by another.
static uint32_t run_bytes_max(const struct reactor *reactor)
{
    uint32_t bytes = WIRE_MESSAGE_MAX;
    for (uint32_t i = 0; i < reactor->fabrics_count; i++) {
        bytes = PAWL_MIN(bytes, fabric_message_bytes(reactor->fabrics[i]));
    }
    return bytes - WIRE_STRUCT_MAX;
}

// ---- beginning and end -------------------------------------------------------------------------

uint32_t session_requests_limit(const struct reactor *reactor, uint32_t fabric, bool is_server)
{
    uint32_t count = reactor->options.requests_count;

    return is_server && fabric_is_stream(reactor->fabrics[fabric])
               ? PAWL_MAX(count, CHUNKD_PEER_REQUESTS_COUNT)
               : count;
}

void session_accept(struct reactor *reactor, struct fabric_conn *conn, uint32_t fabric)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL || reactor->stopping) {
        free(session);
        fabric_conn_close(conn, reactor->stopping ? PAWL_ESHUTDOWN : PAWL_EBUSY);
        return;
    }
    session->endpoint.kind = ENDPOINT_SESSION;
    session->state = SESSION_FRESH;
    session->conn = conn;
    session->fabric = fabric;
    session->id = fabric_conn_id(conn);
    session->deadline_ns = reactor->now_ns + CHUNKD_HELLO_MS * PAWL_NS_PER_MS;
    pawl_list_init(&session->requests);
    pawl_list_init(&session->window_waits);
    pawl_list_push_back(&reactor->sessions, &session->node);
    fabric_conn_set_user(conn, session);
}

// ---- HELLO ------------------------------------------------------------------------------------

// 0, or the code that the peer is refused with.
static int hello_judge(const struct reactor *reactor, const struct wire_hello *hello,
                       const char **ret_why)
{
    if (reactor->stopping) {
        *ret_why = "this server is shutting down";
        return PAWL_ESHUTDOWN;
    }
    if (reactor->cluster_id == 0) {
        *ret_why = "this server is not registered with a master yet";
        return PAWL_EBUSY;
    }
    if (hello->cluster_id != 0 && hello->cluster_id != reactor->cluster_id) {
        *ret_why = "it belongs to another cluster";
        return PAWL_ECLUSTER;
    }
    if (hello->target_id != 0 && hello->target_id != reactor->server_id) {
        *ret_why = "it looks for another server, which had this address before";
        return PAWL_ESTALE;
    }
    if (hello->reactor != reactor->options.number ||
        PAWL_MAX(hello->reactors_count, 1u) != reactor->options.reactors_count) {
        *ret_why = "it looks for another reactor of this server, or for another number of them";
        return PAWL_ESTALE;
    }
    return 0;
}

static void session_hello(struct reactor *reactor, struct session *session,
                          const struct wire_hello *hello)
{
    const char *why = "";
    struct wire_welcome welcome;
    memset(&welcome, 0, sizeof(welcome));
    int code = hello_judge(reactor, hello, &why);
    wire_header_init(&welcome.header, WIRE_HELLO | WIRE_REPLY, sizeof(welcome),
                     hello->header.request);
    welcome.header.status = code;
    welcome.cluster_id = reactor->cluster_id;
    welcome.server_id = reactor->server_id;
    welcome.incarnation = reactor->incarnation;
    welcome.slot_bytes = WIRE_SLOT_BYTES;
    welcome.requests_count =
        session_requests_limit(reactor, session->fabric, hello->server_id != 0);
    welcome.reactor = (uint16_t)reactor->options.number;
    welcome.reactors_count = wire_reactors_count(reactor->options.reactors_count);
    welcome.run_bytes_max = run_bytes_max(reactor);
    if (code == 0) {
        session->state = SESSION_OPEN;
        session->server_id = hello->server_id;
        pawl_log_debug("connection %llu from %s opened: %s %llx", (unsigned long long)session->id,
                       fabric_conn_peer(session->conn),
                       session->server_id != 0 ? "server" : "client",
                       (unsigned long long)session->server_id);
    } else {
        // The refusal has to arrive, so it is the peer's turn to close.
        session->state = SESSION_REFUSED;
        session->deadline_ns = reactor->now_ns + CHUNKD_LINGER_MS * PAWL_NS_PER_MS;
        pawl_log_limited(&session_log_limit, PAWL_LOG_WARN, "connection %llu from %s refused: %s",
                         (unsigned long long)session->id, fabric_conn_peer(session->conn), why);
    }
    session_send(session, &welcome, sizeof(welcome));
}

// ---- requests ---------------------------------------------------------------------------------

static void request_free(struct reactor *reactor, struct request *request)
{
    struct session *session = request->session;
    if (request->slot_count > 0) {
        session->slots_used &= ~slots_mask(request->slot_first, request->slot_count);
        session->window_used_ns = reactor->now_ns;
    }
    session->requests_count--;
    pawl_list_remove(&request->node);
    slab_put(&reactor->requests, request->name);
}

static uint64_t fine_ns(const struct reactor *reactor)
{
    return reactor->clock_ns != NULL ? reactor->clock_ns() : reactor->now_ns;
}

static uint32_t stage_ns(uint64_t *from_ns, uint64_t until_ns)
{
    uint64_t begin_ns = *from_ns;
    *from_ns = PAWL_MAX(begin_ns, until_ns);
    return (uint32_t)PAWL_MIN(*from_ns - begin_ns, (uint64_t)UINT32_MAX);
}

// Each stage begins where the one before it ends, so that they add up to the time that the request was here. What
// came earlier than the end of an earlier stage has taken no time of its own: other replicas may be ready first.
static void request_stages(const struct reactor *reactor, const struct request *request,
                           struct wire_appended *appended)
{
    uint64_t at_ns = request->arrived_ns;
    appended->prepare_ns = stage_ns(&at_ns, request->handed_ns);
    appended->flush_ns = stage_ns(&at_ns, request->durable_ns);
    appended->commit_ns = stage_ns(&at_ns, request->committed_ns);
    appended->answer_ns = stage_ns(&at_ns, fine_ns(reactor));
}

void request_answer_bytes(struct reactor *reactor, struct request *request, const void *message,
                          uint32_t bytes)
{
    struct session *session = request->session;
    request_free(reactor, request);
    prepared_release(session); // replies keep their order
    session_send(session, message, bytes);
}

static void request_send(struct reactor *reactor, struct request *request)
{
    uint16_t type = (uint16_t)(request->type | WIRE_REPLY);
    uint32_t bytes = wire_struct_bytes(type);
    int32_t status = request->reply.header.status;
    struct session *session = request->session;
    union chunk_reply reply = request->reply;
    wire_header_init(&reply.header, type, bytes, request->id);
    reply.header.status = status;
    reply.header.flags = windows_flags(reactor, session);
    if (request->type == WIRE_APPEND && status == 0) {
        request_stages(reactor, request, &reply.appended);
    }
    // The slots are the peer's again with the reply, so they are free before it is sent.
    bool joins = request->joins;
    uint32_t records_count = wire_records_count(request->run_count);
    request_free(reactor, request);
    if (joins) {
        prepared_hold(reactor, session, &reply.prepared, records_count);
    } else {
        prepared_release(session); // replies keep their order
        session_send(session, &reply, bytes);
    }
}

void request_reply(struct reactor *reactor, uint64_t name, const union chunk_reply *reply)
{
    struct request *request = slab_find(&reactor->requests, name);
    if (request == NULL) {
        return; // its connection is gone
    }
    pawl_assert(!request->replied);
    request->replied = true;
    request->reply = *reply;
    // Only slots have to come back whole: a packet is held by whoever needs it.
    if (request->slot_count == 0 || request->payload == 0) {
        request_send(reactor, request);
    }
}

void request_take_back(struct reactor *reactor, uint64_t name)
{
    struct request *request = slab_find(&reactor->requests, name);
    if (request != NULL && request->type == WIRE_APPEND && request->replied &&
        request->reply.header.status == 0) {
        memset(&request->reply, 0, sizeof(request->reply));
        request->reply.header.status = PAWL_ESTALE; // as the core tells those who still wait
    }
}

void request_answer(struct reactor *reactor, const struct chunk_action *action)
{
    struct request *request = slab_find(&reactor->requests, action->request);
    if (request != NULL && request->type == WIRE_APPEND) {
        request->durable_ns = action->durable_ns;
        request->committed_ns = reactor->now_ns;
    }
    if (request != NULL && request->type == WIRE_PREPARE) {
        request->joins = action->reply.header.status == 0;
    }
    request_reply(reactor, action->request, &action->reply);
}

void request_payload_over(struct reactor *reactor, uint64_t name)
{
    struct request *request = slab_find(&reactor->requests, name);
    if (request == NULL) {
        return;
    }
    request->payload = 0;
    if (request->replied) {
        request_send(reactor, request);
    }
}

void request_refuse(struct reactor *reactor, struct request *request, int status)
{
    union chunk_reply reply;
    memset(&reply, 0, sizeof(reply));
    reply.header.status = status;
    request_reply(reactor, request->name, &reply);
}

// Where the payload of an APPEND or PREPARE is, in the two structs' own places.
struct payload_place {
    uint32_t length;
    uint32_t crc; // as the message says it
    uint16_t run_count;
    uint16_t slot_first;
    uint16_t slot_count;
    const unsigned char *bytes; // inline
    struct fabric_op *packet;   // that they came in
};

static struct payload_place payload_place(const struct wire_header *header)
{
    struct payload_place place = {0};
    const unsigned char *start = (const unsigned char *)header;
    if (header->type == WIRE_APPEND) {
        const struct wire_append *append = (const void *)header;
        place.length = append->length;
        place.slot_first = append->slot_first;
        place.slot_count = append->slot_count;
        place.bytes = start + sizeof(*append);
        place.run_count = append->run_count;
        place.crc = append->crc;
    } else if (header->type == WIRE_PREPARE) {
        const struct wire_prepare *prepare = (const void *)header;
        place.length = prepare->length;
        place.slot_first = prepare->slot_first;
        place.slot_count = prepare->slot_count;
        place.bytes = start + sizeof(*prepare);
        place.run_count = prepare->run_count;
        place.crc = prepare->crc;
        if ((prepare->flags & WIRE_PREPARE_PUSHED) != 0) {
            place.length = 0; // it comes by itself
        }
    } else if (header->type == WIRE_PUSH) {
        const struct wire_push *push = (const void *)header;
        place.slot_first = push->slot_first;
        place.slot_count = push->slot_count;
        place.length = push->next == 0 ? push->length : 0;
    }
    return place;
}

// NULL, or what is wrong with the slots that a request names.
static const char *session_slots_check(const struct reactor *reactor, const struct session *session,
                                       const struct payload_place *place)
{
    uint32_t end = (uint32_t)place->slot_first + place->slot_count;
    if (session->window == NULL) {
        return "a request names slots without a window";
    }
    if (session->window_scarce_ns != 0 &&
        reactor->now_ns >= session->window_scarce_ns + CHUNKD_SIT_MS * PAWL_NS_PER_MS) {
        return "it does not give its window back, and others wait for one";
    }
    if (end > session->window->slots_count) {
        return "a request names slots beyond its window";
    }
    if (place->length > (uint64_t)place->slot_count * WIRE_SLOT_BYTES) {
        return "a payload is longer than the slots that it names";
    }
    if ((session->slots_used & slots_mask(place->slot_first, place->slot_count)) != 0) {
        return "a request names a slot that is in use";
    }
    return NULL;
}

static struct payload *payload_of_slots(struct reactor *reactor, struct request *request,
                                        const struct payload_place *place)
{
    struct session *session = request->session;
    struct payload *payload = payload_new(reactor, PAYLOAD_SLOTS);
    if (payload == NULL) {
        return NULL;
    }
    session->slots_used |= slots_mask(place->slot_first, place->slot_count);
    request->slot_first = place->slot_first;
    request->slot_count = place->slot_count;
    payload->bytes = session->window->bytes + (size_t)place->slot_first * WIRE_SLOT_BYTES;
    payload->window = session->window;
    payload->window->uses_count++;
    relay_adopt(reactor, session, payload, place->slot_first);
    return payload;
}

// It stays where it landed: from there it goes to the journal and to the copies. It is copied when its peer
// has so much under way that the next packet might find no place; a held PREPARE may wait for that one.
static struct payload *payload_of_message(struct reactor *reactor,
                                          const struct payload_place *place)
{
    struct payload *payload = payload_new(reactor, PAYLOAD_INLINE);
    uint32_t rows_bytes = wire_rows_bytes(place->run_count);
    if (payload == NULL) {
        return NULL;
    }
    if (fabric_packet_hold(place->packet)) {
        payload->packet = place->packet;
        payload->bytes = (unsigned char *)(uintptr_t)place->bytes; // nobody writes to it
    } else {
        payload->kind = PAYLOAD_COPIED;
        payload->bytes = malloc(rows_bytes + place->length);
        if (payload->bytes == NULL) {
            slab_put(&reactor->payloads, payload->name);
            return NULL;
        }
        memcpy(payload->bytes, place->bytes, rows_bytes);
        memcpy(payload->bytes + rows_bytes, place->bytes + rows_bytes, place->length);
        reactor->copied_bytes += place->length;
    }
    if (rows_bytes > 0) {
        payload->rows = (const void *)payload->bytes;
        payload->bytes += rows_bytes;
    }
    return payload;
}

// 0 and *ret_payload (NULL: there is none), or PAWL_EBUSY.
static int request_payload(struct reactor *reactor, struct request *request,
                           const struct payload_place *place, struct payload **ret_payload)
{
    *ret_payload = NULL;
    if (place->length == 0) {
        return 0;
    }
    struct payload *payload = place->slot_count > 0 ? payload_of_slots(reactor, request, place)
                                                    : payload_of_message(reactor, place);
    if (payload == NULL) {
        return PAWL_EBUSY;
    }
    payload->length = place->length;
    payload->crc = payload->rows != NULL ? wire_run_crc(payload->rows, place->run_count,
                                                        payload->bytes, place->length, place->crc)
                                         : pawl_crc32c(0, payload->bytes, place->length);
    payload->request = request->name;
    request->payload = payload->name;
    *ret_payload = payload;
    return 0;
}

// Where the peer wants bytes, kept from the message until the bytes are there.
static void request_keep_buffer(struct request *request, const struct wire_header *header)
{
    if (header->type == WIRE_READ) {
        const struct wire_read *read = (const void *)header;
        request->buffer_address = read->buffer_address;
        request->buffer_key = read->buffer_key;
    } else if (header->type == WIRE_FETCH) {
        const struct wire_fetch *fetch = (const void *)header;
        request->buffer_address = fetch->buffer_address;
        request->buffer_key = fetch->buffer_key;
    }
}

static struct request *request_new(struct reactor *reactor, struct session *session,
                                   const struct wire_header *header)
{
    uint64_t name;
    struct request *request = slab_get(&reactor->requests, &name);
    if (request == NULL) {
        return NULL;
    }
    request->name = name;
    request->id = header->request;
    request->type = header->type;
    request->session = session;
    request->arrived_ns = header->type == WIRE_APPEND ? fine_ns(reactor) : 0;
    request_keep_buffer(request, header);
    if (header->type == WIRE_PREPARE) {
        request->run_count = ((const struct wire_prepare *)(const void *)header)->run_count;
    }
    pawl_list_push_back(&session->requests, &request->node);
    session->requests_count++;
    return request;
}

// NULL, or what is wrong with this message where it stands.
static const char *session_check(const struct reactor *reactor, const struct session *session,
                                 const struct wire_header *header)
{
    const struct wire_push *push = (const void *)header;
    bool for_servers = header->type == WIRE_PREPARE || header->type == WIRE_COMMIT ||
                       header->type == WIRE_FETCH || header->type == WIRE_HOLD ||
                       (header->type == WIRE_PUSH && push->next != 0);
    if ((header->type & WIRE_REPLY) != 0) {
        return "a reply to a request that was never made";
    }
    if (header->type == WIRE_HELLO) {
        return "a second HELLO";
    }
    if (for_servers && session->server_id == 0) {
        return "a client sent what only chunk servers may";
    }
    if (session->requests_count >=
        session_requests_limit(reactor, session->fabric, session->server_id != 0)) {
        return "more unanswered requests than were granted";
    }
    return NULL;
}

void session_step(struct reactor *reactor, struct session *session, uint64_t request,
                  const struct wire_header *header, struct payload *payload)
{
    const struct wire_prepare *prepare = (const void *)header;
    if (header->type == WIRE_PREPARE && (prepare->flags & WIRE_PREPARE_PUSH_ONLY) != 0) {
        push_only_end(reactor, request, prepare, payload);
        return;
    }
    struct chunk_event event = reactor_event(reactor, chunk_event_of(header->type));
    event.conn = session->id;
    event.request = request;
    event.server = session->server_id;
    event.message = header;
    if (payload != NULL) {
        event.payload = payload->name;
        event.payload_crc = payload->crc;
        event.rows = payload->rows;
    }
    reactor_step(reactor, &event);
}

// A request whose payload, if it has one, is here.
static void request_pass(struct reactor *reactor, struct request *request,
                         const struct wire_header *header, struct payload *payload)
{
    struct session *session = request->session;
    if (header->type == WIRE_PUSH && payload != NULL && session->server_id == 0) {
        push_only_begin(reactor, request, (const void *)header, payload);
    } else if (header->type == WIRE_PUSH && payload != NULL) {
        pushed_arrive(reactor, request, (const void *)header, payload);
    } else if (header->type == WIRE_PUSH) {
        relay_slice(reactor, session, request, (const void *)header);
    } else if (header->type != WIRE_PREPARE ||
               !pushed_hold(reactor, request, (const void *)header, &payload)) {
        uint64_t name = request->name;
        bool is_append = header->type == WIRE_APPEND;
        session_step(reactor, session, name, header, payload);
        // A refused one has been answered in there, and is free.
        request = is_append ? slab_find(&reactor->requests, name) : NULL;
        if (request != NULL) {
            request->handed_ns = fine_ns(reactor);
        }
    }
}

static void session_request(struct reactor *reactor, struct session *session,
                            const struct fabric_event *message)
{
    const struct wire_header *header = message->message;
    struct payload_place place = payload_place(header);
    place.packet = message->packet;
    const char *why = session_check(reactor, session, header);
    if (why == NULL && place.slot_count > 0) {
        why = session_slots_check(reactor, session, &place);
    }
    // A peer's goes no further.
    if (why == NULL && header->type == WIRE_APPEND && place.run_count > 0 &&
        place.length + wire_rows_bytes(place.run_count) > run_bytes_max(reactor)) {
        why = "a run that is longer than what was welcome";
    }
    if (why != NULL) {
        session_violation(session, why);
        return;
    }
    struct request *request = request_new(reactor, session, header);
    if (request == NULL) {
        pawl_log_limited(&session_log_limit, PAWL_LOG_WARN,
                         "connection %llu closed: no memory for its request",
                         (unsigned long long)session->id);
        session_close(session, PAWL_EBUSY);
        return;
    }
    struct payload *payload = NULL;
    int code =
        reactor->stopping ? PAWL_ESHUTDOWN : request_payload(reactor, request, &place, &payload);
    if (code != 0) {
        request_refuse(reactor, request, code);
    } else if (header->type == WIRE_WINDOW) {
        why = windows_request(reactor, session, request, (const void *)header);
    } else {
        request_pass(reactor, request, header, payload);
    }
    if (why != NULL) {
        session_violation(session, why);
    }
}

void session_message(struct reactor *reactor, struct session *session,
                     const struct fabric_event *event)
{
    if (session->state == SESSION_CLOSING || session->state == SESSION_REFUSED) {
        return;
    }
    const char *why = NULL;
    if (wire_check(event->message, event->message_bytes, &why) != 0) {
        session_violation(session, why != NULL ? why : "malformed message");
        return;
    }
    const struct wire_header *header = event->message;
    if (session->state == SESSION_OPEN) {
        session_request(reactor, session, event);
    } else if (header->type == WIRE_HELLO) {
        session_hello(reactor, session, event->message);
    } else {
        session_violation(session, "it did not say HELLO first");
    }
}

// ---- the end ----------------------------------------------------------------------------------

// No reply is possible any more; payloads stay until their last use.
static void session_requests_free(struct reactor *reactor, struct session *session)
{
    struct pawl_list *node;
    while ((node = pawl_list_first(&session->requests)) != NULL) {
        request_free(reactor, pawl_container_of(node, struct request, node));
    }
    pawl_assert(session->requests_count == 0);
}

static void session_free(struct reactor *reactor, struct session *session)
{
    session_requests_free(reactor, session);
    if (session->prepared.header.bytes != 0) {
        pawl_list_remove(&session->answers);
    }
    windows_forget(reactor, session);
    pawl_list_remove(&session->node);
    free(session);
}

void session_closed(struct reactor *reactor, struct session *session, int status)
{
    pawl_log_debug("connection %llu closed: %s", (unsigned long long)session->id,
                   pawl_strerror(status));
    struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_CONN_CLOSED);
    event.conn = session->id;
    pushed_session_closed(reactor, session);
    relay_session_closed(reactor, session);
    session_free(reactor, session);
    reactor_step(reactor, &event);
}

void session_tick(struct reactor *reactor)
{
    pawl_list_for_each_safe (node, &reactor->sessions) {
        struct session *session = pawl_container_of(node, struct session, node);
        if (reactor->now_ns < session->deadline_ns) {
            continue;
        }
        if (session->state == SESSION_FRESH) {
            session_violation(session, "it did not say HELLO in time");
        } else if (session->state == SESSION_REFUSED) {
            session_close(session, PAWL_ESHUTDOWN);
        }
    }
}

void session_free_all(struct reactor *reactor)
{
    pawl_list_for_each_safe (node, &reactor->sessions) {
        session_free(reactor, pawl_container_of(node, struct session, node));
    }
}
