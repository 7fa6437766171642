// SPDX-License-Identifier: Apache-2.0
// Links: one connection to each reactor of a chunk server in use, the slots of its window (window.c) and its request
// credits.
//
// Requests leave in the order in which they were submitted: a request that has to wait for slots or
// credits holds those behind it, so that a producer's sequences stay in order. A request that is not
// answered by its deadline closes the link: its slots are used again only on a new connection, with a
// new window (design.md 3.1). One that could not even leave by then, and that no other depends on, ends alone.
//
// A payload in registered memory is written from where it is, without a copy. It is its owner's again when
// the write is complete, or when the endpoint is destroyed, which is when the fabric stops to read it.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "client/client_private.h"

#define LINK_CONNECT_MS 2000u
#define LINK_DRAIN_MS 1000u // for a write whose owner waits for its memory

static struct pawl_log_limit refuse_limit; // connecting is tried again and again

static struct link *link_find(const struct pawl *pawl, uint64_t place)
{
    pawl_list_for_each (node, &pawl->links) {
        struct link *link = pawl_container_of(node, struct link, node);
        if (link->place == place && link->state != LINK_CLOSING) {
            return link;
        }
    }
    return NULL;
}

bool link_exists(const struct pawl *pawl, uint64_t place)
{
    pawl_list_for_each (node, &pawl->links) {
        if (pawl_container_of(node, struct link, node)->place == place) {
            return true;
        }
    }
    return false;
}

static int link_open(struct pawl *pawl, uint64_t place, struct link **ret)
{
    struct client_address address;
    int code = client_address(pawl, place, &address);
    code = code != 0 ? code : client_fabric(pawl);
    if (code != 0) {
        return code;
    }
    struct link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        return -ENOMEM;
    }
    link->pawl = pawl;
    link->place = place;
    link->server_id = address.server_id;
    link->reactor = address.reactor;
    link->reactors_count = address.reactors_count;
    link->state = LINK_CONNECTING;
    link->next_id = 1;
    link->wake_ns = UINT64_MAX;
    pawl_list_init(&link->queue);
    pawl_list_init(&link->sent);
    code = fabric_connect(pawl->fabric, address.text, LINK_CONNECT_MS, link, &link->conn);
    if (code != 0) {
        free(link);
        return code == -ENOMEM ? code : PAWL_EDISCONNECTED; // another server may do
    }
    pawl_list_push_back(&pawl->links, &link->node);
    *ret = link;
    return 0;
}

static void request_free(struct link *link, struct link_request *request)
{
    if (request->answered && !request->writing) {
        if (request->staged != NULL) {
            staging_put(&link->pawl->staging, request->staged, request->payload_bytes);
        }
        pawl_list_remove(&request->node);
        pawl_pool_put(&link->pawl->requests, request);
    }
}

// The fabric reads the owner's memory no more.
static void request_give_back(struct link_request *request)
{
    if (request->borrowed != NULL) {
        registered_release(request->borrowed);
        request->borrowed = NULL;
        pawl_assert(request->use->writes_count > 0);
        request->use->writes_count--;
        if (request->drain_ns != 0) {
            request->use = NULL; // that was all that its owner waited for
        }
    }
}

static void request_end(struct link *link, struct link_request *request, int status,
                        const struct wire_header *reply)
{
    if (!request->answered) {
        request->answered = true;
        if (request->use != NULL) {
            request->use->requests_count--;
        }
        request->done(request->user, status, reply);
    }
    request_free(link, request);
}

// Its endpoint is destroyed: nothing is read any more from what its requests have borrowed.
static void list_give_back(const struct pawl_list *list)
{
    pawl_list_for_each (node, list) {
        request_give_back(pawl_container_of(node, struct link_request, node));
    }
}

static void link_break(struct link *link, int status)
{
    if (link->state != LINK_CLOSING) {
        pawl_log_debug("link to server %016llx closes: %s", (unsigned long long)link->server_id,
                       pawl_strerror(status));
        link->state = LINK_CLOSING;
        fabric_conn_close(link->conn, status);
        list_give_back(&link->sent);
        list_give_back(&link->queue); // one whose bytes went and whose message could not
    }
}

// ---- sending ------------------------------------------------------------------------------------

static uint64_t slots_mask(uint32_t first, uint32_t count)
{
    return (count == 64 ? UINT64_MAX : ((1ull << count) - 1)) << first;
}

static bool slots_take(struct link *link, uint32_t count, uint32_t *ret_first)
{
    for (uint32_t first = 0; first + count <= link->window_slots; first++) {
        uint64_t mask = slots_mask(first, count);
        if ((link->slots_used & mask) == 0) {
            link->slots_used |= mask;
            *ret_first = first;
            return true;
        }
    }
    return false;
}

// Where the payload is written from: itself if it lies in registered memory, else a copy. NULL: no room for one.
static const void *push_source(struct link *link, struct link_request *request,
                               struct fabric_region **ret_region)
{
    struct pawl *pawl = link->pawl;
    request->borrowed = registered_find(pawl, request->payload, request->payload_bytes);
    if (request->borrowed != NULL) {
        registered_hold(request->borrowed);
        request->use->writes_count++;
        *ret_region = registered_region(request->borrowed);
        return request->payload;
    }
    request->staged = staging_get(&pawl->staging, request->payload_bytes);
    if (request->staged != NULL) {
        memcpy(request->staged, request->payload, request->payload_bytes);
        request->use->copied_bytes += request->payload_bytes;
    }
    *ret_region = pawl->staging.region;
    return request->staged;
}

static void push_undo(struct link *link, struct link_request *request)
{
    request_give_back(request);
    if (request->staged != NULL) {
        staging_put(&link->pawl->staging, request->staged, request->payload_bytes);
        request->staged = NULL;
    }
}

// Puts the payload into the peer's window. 0, or -EAGAIN when there is no room yet.
static int request_push(struct link *link, struct link_request *request)
{
    uint32_t count = (request->payload_bytes + link->slot_bytes - 1) / link->slot_bytes;
    uint32_t first;
    int code = window_serves(link, count, &request->use->window_since_ns);
    if (code != 0) {
        return code;
    }
    if (!slots_take(link, count, &first)) {
        window_is_full(link);
        return -EAGAIN;
    }
    struct fabric_region *region;
    const void *source = push_source(link, request, &region);
    uint64_t address = link->window_address + (uint64_t)first * link->slot_bytes;
    code = source == NULL ? -EAGAIN
                          : fabric_write(link->conn, region, source, request->payload_bytes,
                                         address, link->window_key, (uint64_t)(uintptr_t)request);
    if (code != 0) {
        push_undo(link, request);
        link->slots_used &= ~slots_mask(first, count);
        return code;
    }
    request->slot_first = first;
    request->slot_count = count;
    request->writing = true;
    if (request->message.header.type == WIRE_PUSH) {
        request->message.push.slot_first = (uint16_t)first;
        request->message.push.slot_count = (uint16_t)count;
    } else {
        request->message.append.slot_first = (uint16_t)first;
        request->message.append.slot_count = (uint16_t)count;
    }
    return 0;
}

static int request_send(struct link *link, struct link_request *request)
{
    uint16_t type = request->message.header.type;
    uint32_t bytes = wire_struct_bytes(type);
    bool push = request->payload_bytes > WIRE_INLINE_MAX;
    request->sent_ns = request->use != NULL ? pawl_clock_ns() : 0;
    if (push) {
        int code = request_push(link, request);
        window_pushed(link, code != -EAGAIN);
        if (code != 0) {
            return code;
        }
    }
    uint32_t inline_bytes = push ? 0 : request->payload_bytes;
    request->id = link->next_id++;
    wire_header_init(&request->message.header, type, bytes + inline_bytes, request->id);
    int code = fabric_send2(link->conn, &request->message, bytes, request->payload, inline_bytes);
    if (code == -EAGAIN && push) {
        // The bytes are on their way but the message that names them can't follow: start afresh.
        return PAWL_EDISCONNECTED;
    }
    return code;
}

// The queue's first `count` are on their way, in one message.
static void queue_sent(struct link *link, uint32_t count)
{
    link->requests_sent += count;
    for (uint32_t i = 0; i < count; i++) {
        struct link_request *request =
            pawl_container_of(pawl_list_first(&link->queue), struct link_request, node);
        request->run_count = i == 0 && count > 1 ? count : 0;
        if (request->slot_count == 0 && request->payload_bytes > 0) {
            request->use->copied_bytes += request->payload_bytes; // into the message
        }
        pawl_list_remove(&request->node);
        pawl_list_push_back(&link->sent, &request->node);
    }
}

static void link_pump(struct link *link)
{
    while (link->state == LINK_READY && !pawl_list_is_empty(&link->queue) &&
           link->requests_sent < link->requests_max) {
        struct link_request *request =
            pawl_container_of(pawl_list_first(&link->queue), struct link_request, node);
        uint32_t count = run_reach(link, request);
        int code = count > 1 ? run_send(link, request, count) : request_send(link, request);
        if (code == 0) {
            queue_sent(link, count);
        }
        if (code == -EAGAIN) {
            return;
        }
        if (code == PAWL_ETOOLARGE) {
            request_end(link, request, code, NULL);
        } else if (code != 0) {
            link_break(link, code);
        }
    }
}

int link_submit(struct pawl *pawl, uint64_t place, const struct link_request *template)
{
    struct link *link = link_find(pawl, place);
    if (link == NULL) {
        int code = link_open(pawl, place, &link);
        if (code != 0) {
            return code;
        }
    }
    struct link_request *request = pawl_pool_get(&pawl->requests);
    if (request == NULL) {
        return -ENOMEM;
    }
    *request = *template;
    if (request->use != NULL) {
        request->use->requests_count++;
    }
    link->wake_ns = PAWL_MIN(link->wake_ns, request->deadline_ns);
    pawl_list_push_back(&link->queue, &request->node);
    return 0; // sent by the next turn
}

void link_cancel(struct pawl *pawl, const void *owner)
{
    pawl_list_for_each (link_node, &pawl->links) {
        struct link *link = pawl_container_of(link_node, struct link, node);
        pawl_list_for_each_safe (node, &link->queue) {
            struct link_request *request = pawl_container_of(node, struct link_request, node);
            if (request->owner == owner) {
                request->payload = NULL;
                request_end(link, request, PAWL_ESHUTDOWN, NULL);
            }
        }
        pawl_list_for_each (node, &link->sent) {
            struct link_request *request = pawl_container_of(node, struct link_request, node);
            if (request->owner != owner) {
                continue;
            }
            if (request->borrowed == NULL) {
                request->use = NULL;
            } else if (request->drain_ns == 0) {
                request->drain_ns = pawl_clock_ns() + LINK_DRAIN_MS * PAWL_NS_PER_MS;
                link->wake_ns = PAWL_MIN(link->wake_ns, request->drain_ns);
            }
        }
    }
}

void link_close(struct pawl *pawl, uint64_t place, int status)
{
    struct link *link = link_find(pawl, place);
    if (link != NULL) {
        link_break(link, status);
    }
}

// ---- events -------------------------------------------------------------------------------------

static void link_greet(struct link *link)
{
    struct wire_hello hello = {0};
    wire_header_init(&hello.header, WIRE_HELLO, sizeof hello, link->next_id++);
    hello.cluster_id = link->pawl->cluster_id;
    hello.target_id = link->server_id;
    hello.reactor = (uint16_t)link->reactor;
    hello.reactors_count = wire_reactors_count(link->reactors_count);
    link->state = LINK_GREETING;
    int code = fabric_send(link->conn, &hello, sizeof hello);
    if (code != 0) {
        link_break(link, code);
    }
}

static void link_welcome(struct link *link, const struct wire_header *header)
{
    if (header->status != 0) {
        if (header->status != PAWL_EBUSY) { // it is not registered yet
            pawl_log_limited(&refuse_limit, PAWL_LOG_WARN, "server at %s refuses us: %s",
                             fabric_conn_peer(link->conn), pawl_strerror(header->status));
        }
        link_break(link, header->status);
        return;
    }
    const struct wire_welcome *welcome = (const struct wire_welcome *)header;
    if (welcome->server_id != link->server_id || welcome->reactor != link->reactor ||
        welcome->window_slots > WIRE_WINDOW_SLOTS_MAX || welcome->slot_bytes == 0 ||
        welcome->slot_bytes > WIRE_RECORD_MAX || welcome->requests_count == 0) {
        pawl_log_limited(&refuse_limit, PAWL_LOG_WARN,
                         "server at %s is not the one it was taken for, or its window makes no "
                         "sense",
                         fabric_conn_peer(link->conn));
        link_break(link, PAWL_EPROTOCOL);
        return;
    }
    window_welcome(link, welcome->window_address, welcome->window_key, welcome->window_slots);
    link->slot_bytes = welcome->slot_bytes;
    link->run_bytes_max = PAWL_MIN(welcome->run_bytes_max,
                                   fabric_message_bytes(link->pawl->fabric) - WIRE_STRUCT_MAX);
    link->requests_max = welcome->requests_count;
    link->state = LINK_READY;
}

// What the primary tells of its own time, by its own clock; the rest of ours was spent on the way.
static void request_stages(const struct link_request *request, const struct wire_header *header)
{
    const struct wire_appended *reply = (const void *)header;
    if (request->use == NULL || header->type != (WIRE_APPEND | WIRE_REPLY) || header->status != 0) {
        return;
    }
    struct pawl_append_stages *stages = &request->use->stages;
    *stages = (struct pawl_append_stages){.prepare_ns = reply->prepare_ns,
                                          .flush_ns = reply->flush_ns,
                                          .commit_ns = reply->commit_ns,
                                          .answer_ns = reply->answer_ns};
    uint64_t there_ns =
        stages->prepare_ns + stages->flush_ns + stages->commit_ns + stages->answer_ns;
    uint64_t whole_ns = pawl_clock_ns() - request->sent_ns;
    stages->push_ns = whole_ns > there_ns ? whole_ns - there_ns : 0;
}

static void request_answered(struct link *link, struct link_request *request,
                             const struct wire_header *header)
{
    request_stages(request, header);
    if (request->slot_count != 0) {
        link->slots_used &= ~slots_mask(request->slot_first, request->slot_count);
        request->slot_count = 0;
        window_slots_free(link);
    }
    request_end(link, request, 0, header);
}

// They stand behind each other, as they were sent.
static void run_answered(struct link *link, struct link_request *first,
                         const struct wire_header *header)
{
    uint64_t rest_bytes;
    if (!run_answer_is_sound(link, first, header, &rest_bytes)) {
        pawl_log_warn("server %016llx answered a run with another record's place",
                      (unsigned long long)link->server_id);
        link_break(link, PAWL_EPROTOCOL);
        return;
    }
    struct link_request *request = first;
    for (uint32_t left = first->run_count; left > 0; left--) {
        struct wire_appended one = run_answer(request, header, rest_bytes);
        struct link_request *next =
            pawl_container_of(request->node.next, struct link_request, node);
        rest_bytes -= left > 1 ? request->payload_bytes : 0;
        request_answered(link, request, &one.header); // frees it
        request = next;
    }
}

static void end_all(struct link *link, struct pawl_list *list, int status)
{
    while (!pawl_list_is_empty(list)) {
        struct link_request *request =
            pawl_container_of(pawl_list_first(list), struct link_request, node);
        pawl_assert(!request->writing); // FABRIC_DONE comes before FABRIC_CLOSED
        request_end(link, request, status, NULL);
    }
}

// There is no window now: what waits for one, and behind it, was not sent and may come again. Of what was sent
// that says nothing.
static void queue_refuse(struct link *link)
{
    struct pawl_list refused;
    pawl_list_init(&refused);
    pawl_list_append_all(&refused, &link->queue);
    end_all(link, &refused, PAWL_EBUSY);
}

// The line for windows is long, which says nothing bad about the server: the WINDOW stays there, and these come again.
// They were not sent.
static void queue_put_off(struct link *link)
{
    struct pawl_list late;
    pawl_list_init(&late);
    pawl_list_for_each_safe (node, &link->queue) {
        if (pawl_container_of(node, struct link_request, node)->message.header.type ==
            WIRE_APPEND) {
            pawl_list_remove(node);
            pawl_list_push_back(&late, node);
        }
    }
    end_all(link, &late, PAWL_EBUSY);
    link->pawl->answered = true;
}

static void link_reply(struct link *link, const struct wire_header *header)
{
    if (header->request == 0 && header->type == (WIRE_WINDOW | WIRE_REPLY)) {
        window_reply(link, header);
        return;
    }
    if (link->window_request != 0 && header->request == link->window_request) {
        int code = window_granted(link, header);
        if (code == PAWL_EBUSY) {
            queue_refuse(link);
            return;
        }
        if (code != 0) {
            link_break(link, code);
            return;
        }
        link_pump(link); // others may wait already: it is used once before it goes back
        window_reply(link, header);
        return;
    }
    pawl_list_for_each_safe (node, &link->sent) {
        struct link_request *request = pawl_container_of(node, struct link_request, node);
        if (request->id != header->request || request->answered) {
            continue;
        }
        if ((header->type & ~WIRE_REPLY) != request->message.header.type) {
            break;
        }
        link->requests_sent -= PAWL_MAX(request->run_count, 1u);
        if (request->run_count > 1) {
            run_answered(link, request, header);
        } else {
            request_answered(link, request, header);
        }
        window_reply(link, header);
        return;
    }
    pawl_log_warn("server %016llx answered a request that was not made",
                  (unsigned long long)link->server_id);
    link_break(link, PAWL_EPROTOCOL);
}

static void link_message(struct link *link, const struct fabric_event *event)
{
    const char *why = NULL;
    int code = wire_check(event->message, event->message_bytes, &why);
    const struct wire_header *header = event->message;
    if (code != 0 || (header->type & WIRE_REPLY) == 0) {
        pawl_log_warn("message from %s refused: %s", fabric_conn_peer(link->conn),
                      why == NULL ? "not a reply" : why);
        link_break(link, PAWL_EPROTOCOL);
    } else if (link->state == LINK_GREETING && header->type == (WIRE_HELLO | WIRE_REPLY)) {
        link_welcome(link, header);
    } else if (link->state == LINK_READY) {
        link_reply(link, header);
    } else {
        pawl_log_warn("message from %s refused: %s before the welcome",
                      fabric_conn_peer(link->conn), wire_type_name(header->type));
        link_break(link, PAWL_EPROTOCOL);
    }
}

static void link_closed(struct link *link, int status)
{
    struct pawl *pawl = link->pawl;
    uint64_t place = link->place;
    link->state = LINK_CLOSING;
    link->conn = NULL;
    // Who says that he is busy refuses what was not sent yet, and of that only it is sure that it was not done.
    end_all(link, &link->sent, PAWL_EDISCONNECTED);
    end_all(link, &link->queue, status == PAWL_EBUSY ? PAWL_EBUSY : PAWL_EDISCONNECTED);
    pawl_list_remove(&link->node);
    free(link);
    pawl_list_for_each_safe (node, &pawl->files) {
        file_disconnected(pawl_container_of(node, struct pawl_file, node), place);
    }
}

void link_event(struct pawl *pawl, const struct fabric_event *event)
{
    (void)pawl;
    struct link *link = event->user;
    switch (event->type) {
    case FABRIC_CONNECTED:
        if (link->state == LINK_CONNECTING) {
            link_greet(link);
        }
        break;
    case FABRIC_MESSAGE:
        if (link->state != LINK_CLOSING) {
            link_message(link, event);
        }
        break;
    case FABRIC_DONE: {
        struct link_request *request = (struct link_request *)(uintptr_t)event->token;
        request->writing = false;
        request_give_back(request);
        request_free(link, request);
        break;
    }
    case FABRIC_CLOSED:
        link_closed(link, event->status);
        break;
    case FABRIC_ACCEPTED:
        break; // clients don't listen
    }
}

// ---- deadlines ----------------------------------------------------------------------------------

static uint64_t list_deadline(const struct pawl_list *list)
{
    uint64_t earliest = UINT64_MAX;
    pawl_list_for_each (node, list) {
        struct link_request *request = pawl_container_of(node, struct link_request, node);
        if (!request->answered) {
            earliest = PAWL_MIN(earliest, request->deadline_ns);
        }
        if (request->borrowed != NULL && request->drain_ns != 0) {
            earliest = PAWL_MIN(earliest, request->drain_ns);
        }
    }
    return earliest;
}

// Nothing else hangs on when it leaves.
static bool request_is_ordered(const struct link_request *request)
{
    uint16_t type = request->message.header.type;
    return type == WIRE_APPEND || type == WIRE_PUSH;
}

// Questions that never left, since a payload before them waits for slots, end alone: that says nothing about the server.
static void queue_expire(struct link *link, uint64_t now_ns)
{
    pawl_list_for_each_safe (node, &link->queue) {
        struct link_request *request = pawl_container_of(node, struct link_request, node);
        if (link->state == LINK_READY && request->deadline_ns <= now_ns &&
            !request_is_ordered(request)) {
            request_end(link, request, PAWL_EBUSY, NULL);
            link->pawl->answered = true;
        }
    }
}

void link_deadlines(struct pawl *pawl, uint64_t now_ns)
{
    pawl_list_for_each_safe (node, &pawl->links) {
        struct link *link = pawl_container_of(node, struct link, node);
        if (link->state == LINK_CLOSING) {
            continue;
        }
        // Most requests end before their deadline: all are looked at only when one may have passed.
        if (link->wake_ns <= now_ns) {
            queue_expire(link, now_ns);
            link->wake_ns = PAWL_MIN(list_deadline(&link->queue), list_deadline(&link->sent));
        }
        if (link->wake_ns <= now_ns) {
            link_break(link, PAWL_EDEADLINE);
            continue;
        }
        link_pump(link);
        if (link->state == LINK_READY && window_puts_off(link, now_ns)) {
            queue_put_off(link);
        }
        int code = link->state == LINK_READY ? window_turn(link, now_ns) : 0;
        if (code != 0) {
            link_break(link, code);
        }
    }
}

uint64_t link_wake_ns(const struct pawl *pawl)
{
    uint64_t earliest = UINT64_MAX;
    pawl_list_for_each_safe (node, &pawl->links) {
        const struct link *link = pawl_container_of(node, struct link, node);
        if (link->state != LINK_CLOSING) {
            earliest = PAWL_MIN(earliest, link->wake_ns);
            earliest = PAWL_MIN(earliest, window_wake_ns(link));
        }
    }
    return earliest;
}

// At pawl_close(): the endpoints are destroyed and the fabric is not polled any more.
void link_fail_all(struct pawl *pawl)
{
    while (!pawl_list_is_empty(&pawl->links)) {
        struct link *link = pawl_container_of(pawl_list_first(&pawl->links), struct link, node);
        link_break(link, PAWL_ESHUTDOWN);
        pawl_list_append_all(&link->sent, &link->queue); // one of them may be writing, too
        pawl_list_for_each_safe (node, &link->sent) {
            pawl_container_of(node, struct link_request, node)->writing = false;
        }
        link_closed(link, PAWL_ESHUTDOWN);
    }
}
