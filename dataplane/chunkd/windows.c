// SPDX-License-Identifier: Apache-2.0
// Windows of sessions: asked for when a payload needs one, waited for in order, given back.
//
// There is memory for so many windows and no more, and there may be more peers than windows. A peer that pushes
// nothing needs none. Who can't be granted one now waits behind those that asked before; servers and clients have each
// a part of the memory that the others can't take, since what a client pushes has to go on to servers. While somebody
// waits, those with a window are told so, and give theirs back as soon as no slot is in use: windows go round. A client
// that sits on an unused one is disconnected; of servers the master hears when they hang.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include <errno.h>
#include <string.h>

#include <pawl/error.h>

#include "base/clock.h"
#include "dataplane/chunkd/chunkd_private.h"

static struct pawl_log_limit windows_log_limit;

static struct pawl_list *waiting_of(struct reactor *reactor, const struct session *session)
{
    return session->server_id != 0 ? &reactor->windows_servers : &reactor->windows_clients;
}

void windows_init(struct reactor *reactor)
{
    pawl_list_init(&reactor->windows_servers);
    pawl_list_init(&reactor->windows_clients);
}

static bool some_wait(const struct reactor *reactor)
{
    return !pawl_list_is_empty(&reactor->windows_servers) ||
           !pawl_list_is_empty(&reactor->windows_clients);
}

static void window_give(struct reactor *reactor, struct session *session, struct window *window)
{
    session->window = window;
    session->window_used_ns = reactor->now_ns;
    session->window_scarce_ns = 0;
    reactor->windows_moved_ns = reactor->now_ns;
}

// One to spare, if it can be had without waiting. It is a part of what is free, for a server too: nobody waits for it,
// so others need not wait for its end.
static void window_spare(struct reactor *reactor, struct session *session, uint32_t slots_wanted)
{
    struct window *window;
    struct window_wish wish = {.slots_wanted = slots_wanted,
                               .slots_needed = 1,
                               .of_server = session->server_id != 0,
                               .shared = true,
                               .others_wait = true};
    if (slots_wanted != 0 && !some_wait(reactor) &&
        window_new(&reactor->buffers, reactor->fabrics[session->fabric], &wish, &window) == 0) {
        window_give(reactor, session, window);
    }
}

static void granted_send(struct reactor *reactor, struct request *request,
                         const struct window *window)
{
    struct wire_granted granted;
    memset(&granted, 0, sizeof(granted));
    wire_header_init(&granted.header, WIRE_WINDOW | WIRE_REPLY, sizeof(granted), request->id);
    if (window != NULL) {
        granted.window_address = fabric_region_remote(window->region, window->bytes);
        granted.window_key = fabric_region_key(window->region);
        granted.window_slots = window->slots_count;
        granted.header.flags = windows_flags(reactor, request->session);
    }
    request_answer_bytes(reactor, request, &granted, sizeof(granted));
}

// Who appends to a file whose chunks fill soon goes from one server's line to the next, and keeps his place.
static void window_wait(struct reactor *reactor, struct session *session, uint32_t waited_ms)
{
    struct pawl_list *waiting = waiting_of(reactor, session);
    struct pawl_list *next = waiting;
    uint64_t waited_ns = PAWL_MIN(waited_ms, CHUNKD_WAITED_MS) * PAWL_NS_PER_MS;
    session->window_since_ns = reactor->now_ns - PAWL_MIN(reactor->now_ns, waited_ns);
    if (session->server_id == 0) {
        pawl_list_for_each (node, waiting) {
            if (pawl_container_of(node, struct session, window_waits)->window_since_ns >
                session->window_since_ns) {
                next = node;
                break;
            }
        }
    }
    pawl_list_insert_before(next, &session->window_waits);
}

const char *windows_request(struct reactor *reactor, struct session *session,
                            struct request *request, const struct wire_window *message)
{
    if (session->slots_used != 0) {
        return "it gives back a window of which slots are in use";
    }
    if (session->window_request != 0) {
        return "it asks for a second window";
    }
    window_unuse(&reactor->buffers, session->window);
    session->window = NULL;
    if (message->slots_needed == 0) {
        window_spare(reactor, session, message->slots_wanted);
        granted_send(reactor, request, session->window);
        return NULL;
    }
    if (!some_wait(reactor)) {
        reactor->windows_since_ns = reactor->now_ns;
    }
    session->window_request = request->name;
    session->window_wanted = message->slots_wanted;
    session->window_needed = message->slots_needed;
    session->window_asked_ns = reactor->now_ns;
    session->window_told_ns = reactor->now_ns;
    window_wait(reactor, session, message->waited_ms);
    return NULL; // granted at the end of the turn, if there is room
}

void windows_forget(struct reactor *reactor, struct session *session)
{
    if (session->window_request != 0) {
        session->window_request = 0;
        pawl_list_remove(&session->window_waits);
    }
    window_unuse(&reactor->buffers, session->window);
    session->window = NULL;
}

// False: there is no room for it.
static bool window_grant(struct reactor *reactor, struct session *session, bool shared)
{
    struct request *request = slab_find(&reactor->requests, session->window_request);
    struct window *window = NULL;
    uint64_t name = session->window_request;
    session->window_request = 0;
    pawl_list_remove(&session->window_waits);
    struct window_wish wish = {.slots_wanted = session->window_wanted,
                               .slots_needed = session->window_needed,
                               .of_server = session->server_id != 0,
                               .shared = shared,
                               .others_wait = some_wait(reactor)};
    int code = window_new(&reactor->buffers, reactor->fabrics[session->fabric], &wish, &window);
    if (code == -EAGAIN) {
        session->window_request = name;
        pawl_list_push_front(waiting_of(reactor, session), &session->window_waits);
        return false;
    }
    if (code != 0) {
        request_refuse(reactor, request, PAWL_EBUSY); // it may come again
        return true;
    }
    window_give(reactor, session, window);
    granted_send(reactor, request, window);
    return true;
}

static struct session *first_of(const struct pawl_list *waiting)
{
    struct pawl_list *node = pawl_list_first(waiting);
    return node != NULL ? pawl_container_of(node, struct session, window_waits) : NULL;
}

// Nobody is passed by his like who has not waited for longer, and what is kept for neither kind goes to who asked first: who needs much would wait
// for ever.
void windows_turn(struct reactor *reactor)
{
    bool granted = true;
    while (granted) {
        struct session *server = first_of(&reactor->windows_servers);
        struct session *client = first_of(&reactor->windows_clients);
        bool client_first =
            server == NULL || (client != NULL && client->window_asked_ns < server->window_asked_ns);
        struct session *first = client_first ? client : server;
        struct session *second = client_first ? server : client;
        granted = (first != NULL && window_grant(reactor, first, true)) ||
                  (second != NULL && window_grant(reactor, second, false));
    }
}

uint32_t windows_flags(const struct reactor *reactor, struct session *session)
{
    // What is kept for servers no client would have.
    bool scarce =
        session->window != NULL && (!pawl_list_is_empty(&reactor->windows_servers) ||
                                    (!pawl_list_is_empty(&reactor->windows_clients) &&
                                     !window_is_of_servers(&reactor->buffers, session->window)));
    if (scarce && session->window_scarce_ns == 0) {
        session->window_scarce_ns = reactor->now_ns;
    }
    return scarce ? WIRE_SCARCE : 0;
}

// Answers nothing.
static void window_tell(struct session *session, uint32_t flags)
{
    struct wire_granted told;
    memset(&told, 0, sizeof(told));
    wire_header_init(&told.header, WIRE_WINDOW | WIRE_REPLY, sizeof(told), 0);
    told.header.flags = flags;
    session_send(session, &told, sizeof(told));
}

// Who has asked nothing would hear of it with no answer.
static void window_recall(struct reactor *reactor, struct session *session)
{
    if (session->window_scarce_ns != 0 || session->requests_count != 0) {
        return;
    }
    uint32_t flags = windows_flags(reactor, session);
    if (flags != 0) {
        window_tell(session, flags);
    }
}

// A client that waits in line is to know that it does: else this server is silent. So it is where the line stands still,
// since what has come is never stored.
static void window_wait_tell(struct reactor *reactor, struct session *session)
{
    uint64_t moved_ns = PAWL_MAX(reactor->windows_moved_ns, reactor->windows_since_ns);
    if (session->server_id == 0 && session->window_request != 0 &&
        reactor->now_ns < moved_ns + CHUNKD_MOVE_MS * PAWL_NS_PER_MS &&
        reactor->now_ns >= session->window_told_ns + CHUNKD_TELL_MS * PAWL_NS_PER_MS) {
        session->window_told_ns = reactor->now_ns;
        window_tell(session, 0);
    }
}

void windows_tick(struct reactor *reactor)
{
    if (!some_wait(reactor)) {
        return;
    }
    pawl_list_for_each_safe (node, &reactor->sessions) {
        struct session *session = pawl_container_of(node, struct session, node);
        window_recall(reactor, session);
        window_wait_tell(reactor, session);
        uint64_t since_ns = PAWL_MAX(session->window_used_ns, reactor->windows_since_ns);
        if (session->server_id == 0 && session->window != NULL && session->slots_used == 0 &&
            reactor->now_ns >= since_ns + CHUNKD_SIT_MS * PAWL_NS_PER_MS) {
            pawl_log_limited(&windows_log_limit, PAWL_LOG_WARN,
                             "connection %llu from %s closed: it does not use its window, and "
                             "others wait for one",
                             (unsigned long long)session->id, fabric_conn_peer(session->conn));
            session_close(session, PAWL_EBUSY);
        }
    }
}
