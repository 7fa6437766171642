// SPDX-License-Identifier: Apache-2.0
// The end of a chain: payloads that another server has brought, and the PREPAREs that they belong to.
//
// The two come by different connections, in any order. A PREPARE without its payload is held, and with it
// those of the same chunk that came behind it: the core takes records in index order. To the core a held
// PREPARE has not arrived yet. A payload whose PREPARE doesn't come expires. Those of a push alone wait for
// nothing but their own payload, and nothing waits behind them: the core never sees them.
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "dataplane/chunkd/chunkd_private.h"

static bool belongs(const struct wire_push *push, const struct wire_prepare *prepare)
{
    return push->chunk == prepare->chunk && push->version == prepare->version &&
           push->length == prepare->length &&
           memcmp(&push->id, &prepare->id, sizeof(push->id)) == 0;
}

static bool is_push_only(const struct wire_prepare *prepare)
{
    return (prepare->flags & WIRE_PREPARE_PUSH_ONLY) != 0;
}

static struct held *held_first(struct reactor *reactor, const struct session *session,
                               uint64_t chunk)
{
    pawl_list_for_each (node, &reactor->held) {
        struct held *held = pawl_container_of(node, struct held, node);
        if (held->session == session && held->message.chunk == chunk &&
            !is_push_only(&held->message)) {
            return held;
        }
    }
    return NULL;
}

static void held_free(struct held *held)
{
    pawl_list_remove(&held->node);
    free(held);
}

// The core never hears of it.
static void held_drop(struct reactor *reactor, struct held *held)
{
    struct payload *payload = held->payload != 0 ? payload_find(reactor, held->payload) : NULL;
    held_free(held);
    payload_unuse(reactor, payload);
}

static void held_step(struct reactor *reactor, struct held *held)
{
    struct held now = *held;
    held_free(held);
    session_step(reactor, now.session, now.request, &now.message.header,
                 now.payload != 0 ? payload_find(reactor, now.payload) : NULL);
}

// Gives the core what nothing is missing of any more.
static void held_run(struct reactor *reactor, struct session *session, uint64_t chunk)
{
    struct held *held;
    while ((held = held_first(reactor, session, chunk)) != NULL &&
           (held->payload != 0 || !held->awaited)) {
        held_step(reactor, held);
    }
}

// ---- payloads ---------------------------------------------------------------------------------

// The request has done its part; its reply goes out when the slots are free again.
static void arrival_answer(struct reactor *reactor, uint64_t name, int status)
{
    struct request *request = slab_find(&reactor->requests, name);
    if (request != NULL) {
        request_refuse(reactor, request, status);
    }
}

void pushed_arrive(struct reactor *reactor, struct request *request, const struct wire_push *push,
                   struct payload *payload)
{
    pawl_list_for_each (node, &reactor->held) {
        struct held *held = pawl_container_of(node, struct held, node);
        if (held->awaited && held->payload == 0 && belongs(push, &held->message)) {
            held->payload = payload->name;
            request_refuse(reactor, request, 0);
            if (is_push_only(&held->message)) {
                held_step(reactor, held);
            } else {
                held_run(reactor, held->session, push->chunk);
            }
            return;
        }
    }
    struct arrival *arrival = calloc(1, sizeof(*arrival));
    if (arrival == NULL) {
        request_refuse(reactor, request, PAWL_EBUSY);
        payload_unuse(reactor, payload);
        return;
    }
    arrival->push = *push;
    arrival->payload = payload->name;
    arrival->request = request->name;
    arrival->deadline_ns = reactor->now_ns + CHUNKD_ARRIVAL_MS * PAWL_NS_PER_MS;
    pawl_list_push_back(&reactor->arrivals, &arrival->node);
}

// NULL: it has not come yet.
static struct payload *arrival_take(struct reactor *reactor, const struct wire_prepare *prepare)
{
    pawl_list_for_each (node, &reactor->arrivals) {
        struct arrival *arrival = pawl_container_of(node, struct arrival, node);
        if (belongs(&arrival->push, prepare)) {
            struct payload *payload = payload_find(reactor, arrival->payload);
            arrival_answer(reactor, arrival->request, 0);
            pawl_list_remove(&arrival->node);
            free(arrival);
            return payload;
        }
    }
    return NULL;
}

// ---- PREPAREs ---------------------------------------------------------------------------------

// Those of an older version would be refused anyway: nothing waits behind them.
static void held_outdate(struct reactor *reactor, uint64_t chunk, uint64_t version)
{
    pawl_list_for_each_safe (node, &reactor->held) {
        struct held *held = pawl_container_of(node, struct held, node);
        if (held->message.chunk == chunk && held->message.version < version) {
            arrival_answer(reactor, held->request, PAWL_ESTALE);
            held_drop(reactor, held);
        }
    }
}

bool pushed_hold(struct reactor *reactor, struct request *request,
                 const struct wire_prepare *prepare, struct payload **payload)
{
    struct session *session = request->session;
    held_outdate(reactor, prepare->chunk, prepare->version);
    bool behind = !is_push_only(prepare) && held_first(reactor, session, prepare->chunk) != NULL;
    bool awaited = (prepare->flags & WIRE_PREPARE_PUSHED) != 0;
    if (awaited) {
        *payload = arrival_take(reactor, prepare);
    }
    if (!behind && (!awaited || *payload != NULL)) {
        return false;
    }
    struct held *held = calloc(1, sizeof(*held));
    if (held == NULL) {
        request_refuse(reactor, request, PAWL_EBUSY);
        payload_unuse(reactor, *payload);
        return true;
    }
    held->session = session;
    held->request = request->name;
    held->message = *prepare;
    held->message.header.bytes = sizeof(held->message); // an inline payload stays where it is
    held->awaited = awaited;
    held->payload = *payload != NULL ? (*payload)->name : 0;
    held->deadline_ns = reactor->now_ns + CHUNKD_HELD_MS * PAWL_NS_PER_MS;
    pawl_list_push_back(&reactor->held, &held->node);
    return true;
}

void pushed_session_closed(struct reactor *reactor, const struct session *session)
{
    pawl_list_for_each_safe (node, &reactor->held) {
        struct held *held = pawl_container_of(node, struct held, node);
        if (held->session == session) {
            held_drop(reactor, held);
        }
    }
}

// ---- time ---------------------------------------------------------------------------------------

static void arrivals_expire(struct reactor *reactor)
{
    pawl_list_for_each_safe (node, &reactor->arrivals) {
        struct arrival *arrival = pawl_container_of(node, struct arrival, node);
        if (reactor->now_ns < arrival->deadline_ns) {
            return; // in the order in which they came
        }
        struct payload *payload = payload_find(reactor, arrival->payload);
        arrival_answer(reactor, arrival->request, PAWL_EDEADLINE);
        pawl_list_remove(&arrival->node);
        free(arrival);
        payload_unuse(reactor, payload);
    }
}

// The primary has brought it neither way: those behind it leave a hole, and the core says so.
static void held_expire(struct reactor *reactor)
{
    struct pawl_list *node;
    while ((node = pawl_list_first(&reactor->held)) != NULL) {
        struct held *held = pawl_container_of(node, struct held, node);
        if (reactor->now_ns < held->deadline_ns) {
            return;
        }
        struct session *session = held->session;
        uint64_t chunk = held->message.chunk;
        if (held->awaited && held->payload == 0) {
            arrival_answer(reactor, held->request, PAWL_EBADPAYLOAD);
            held_free(held);
        }
        held_run(reactor, session, chunk);
    }
}

void pushed_tick(struct reactor *reactor)
{
    arrivals_expire(reactor);
    held_expire(reactor);
}

void pushed_free_all(struct reactor *reactor)
{
    struct pawl_list *node;
    while ((node = pawl_list_pop_front(&reactor->held)) != NULL) {
        free(pawl_container_of(node, struct held, node));
    }
    while ((node = pawl_list_pop_front(&reactor->arrivals)) != NULL) {
        free(pawl_container_of(node, struct arrival, node));
    }
}
