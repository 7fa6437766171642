// SPDX-License-Identifier: Apache-2.0
// The client's connection to the master: kept up, and calls that are repeated over lost connections.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "client/client_private.h"

#define CONTROL_PAUSE_MIN_MS 10u
#define CONTROL_PAUSE_MAX_MS 500u
#define CONTROL_CONNECT_MS 2000u
#define CONTROL_ATTEMPT_MS 5000u
#define CONTROL_BUSY_MS 20u // between calls that the master has no room for
#define CONTROL_TURN_NS (10u * PAWL_NS_PER_MS)

static void on_open(void *user, struct rpc_conn *conn)
{
    struct pawl *pawl = user;
    (void)conn;
    pawl->answered = true;
    pawl->master_pause_ms = CONTROL_PAUSE_MIN_MS;
}

static void on_close(void *user, struct rpc_conn *conn, int why)
{
    struct pawl *pawl = user;
    if (pawl->master != conn) {
        return;
    }
    pawl->master = NULL;
    pawl->session_here = false;
    pawl->answered = true;
    pawl->master_retry_ns = pawl_clock_ns() + (uint64_t)pawl->master_pause_ms * 1000000u;
    pawl->master_pause_ms = PAWL_MIN(pawl->master_pause_ms * 2, CONTROL_PAUSE_MAX_MS);
    if (!pawl->closing) {
        pawl_log_debug("connection to the master at %s ended: %s", pawl->master_text,
                       pawl_strerror(why));
    }
}

// Connects when there is no connection and the pause is over.
void control_keep(struct pawl *pawl, uint64_t now_ns)
{
    if (pawl->master != NULL && !pawl->closing) {
        session_keep(pawl, now_ns);
    }
    if (pawl->master != NULL || pawl->closing || now_ns < pawl->master_retry_ns) {
        return;
    }
    struct rpc_options options = {.size = sizeof options,
                                  .host = pawl->master_host,
                                  .port = pawl->master_port,
                                  .connect_ms = CONTROL_CONNECT_MS};
    struct rpc_handlers handlers = {.on_open = on_open, .on_close = on_close};
    int code = rpc_connect(&pawl->loop, &options, &handlers, pawl, &pawl->master);
    if (code != 0) {
        pawl->master = NULL;
        pawl->master_retry_ns = now_ns + (uint64_t)CONTROL_PAUSE_MAX_MS * 1000000u;
    }
}

void control_close(struct pawl *pawl)
{
    if (pawl->master != NULL) {
        session_close(pawl);
        rpc_conn_close_flushed(pawl->master, PAWL_ESHUTDOWN);
    }
}

int control_submit(struct pawl *pawl, const Pawl__Request *request, uint32_t deadline_ms,
                   rpc_call_fn *done, void *user)
{
    if (pawl->master == NULL || !rpc_conn_is_open(pawl->master)) {
        return PAWL_EDISCONNECTED;
    }
    pawl->control_due = true; // what the call begins is not known to the kernel yet
    return rpc_call(pawl->master, request, deadline_ms, done, user);
}

int control_code(int code, const Pawl__Reply *reply)
{
    if (code == 0) {
        code = reply->code > 0 ? PAWL_EPROTOCOL : reply->code;
    }
    return code;
}

struct control_wait {
    struct pawl *pawl;
    bool done;
    int code;
    control_take_fn *take;
    void *user;
};

static void on_reply(void *user, int code, const Pawl__Reply *reply)
{
    struct control_wait *wait = user;
    wait->done = true;
    wait->pawl->answered = true;
    wait->code = control_code(code, reply);
    if (code == 0 && reply->code != 0 && reply->text != NULL && reply->text[0] != '\0') {
        pawl_log_debug("master: %s", reply->text);
    }
    if (wait->code == 0 && wait->take != NULL) {
        wait->code = wait->take(wait->user, reply);
    }
}

static int attempt(struct pawl *pawl, const Pawl__Request *request, uint64_t deadline_ns,
                   struct control_wait *wait)
{
    uint64_t now_ns = pawl_clock_ns();
    uint64_t left_ms = deadline_ns > now_ns ? (deadline_ns - now_ns) / 1000000u + 1 : 1;
    wait->done = false;
    int code = control_submit(pawl, request, (uint32_t)PAWL_MIN(left_ms, CONTROL_ATTEMPT_MS),
                              on_reply, wait);
    if (code != 0) {
        return code;
    }
    while (!wait->done) {
        client_turn(pawl, UINT64_MAX); // the call's own deadline ends it
    }
    return wait->code;
}

bool control_is_transient(int code)
{
    return code == PAWL_EDISCONNECTED || code == PAWL_EDEADLINE || code == -EAGAIN;
}

int control_call(struct pawl *pawl, const Pawl__Request *request, uint64_t deadline_ns,
                 control_take_fn *take, void *user, uint32_t *ret_attempts)
{
    uint32_t attempts = 0;
    for (;;) {
        uint64_t now_ns = pawl_clock_ns();
        if (now_ns >= deadline_ns) {
            return PAWL_EDEADLINE;
        }
        if (pawl->master == NULL || !rpc_conn_is_open(pawl->master)) {
            client_turn(pawl, PAWL_MIN(deadline_ns, now_ns + CONTROL_TURN_NS));
            continue;
        }
        struct control_wait wait = {.pawl = pawl, .take = take, .user = user};
        int code = attempt(pawl, request, deadline_ns, &wait);
        attempts += code != -EAGAIN;
        if (ret_attempts != NULL) {
            *ret_attempts = attempts;
        }
        if (!control_is_transient(code)) {
            return code;
        }
        if (code == -EAGAIN) { // the queue to the master is full
            client_turn(pawl, PAWL_MIN(deadline_ns, now_ns + CONTROL_TURN_NS));
        }
    }
}

int control_call_once(struct pawl *pawl, Pawl__Request *request, uint64_t deadline_ns,
                      control_take_fn *take, void *user)
{
    Pawl__Call call = PAWL__CALL__INIT;
    call.number = ++pawl->calls_count;
    request->call = &call;
    bool is_sent = false; // and may have been carried out, whatever is answered to a later one
    int code;
    do {
        uint32_t attempts = 0;
        call.session_id = pawl->session; // the same in all attempts
        code = control_call(pawl, request, deadline_ns, take, user, &attempts);
        bool is_again = is_sent || attempts > 1;
        if (is_again && (code == PAWL_ESESSION || code == -ENOMEM)) {
            code = PAWL_EUNKNOWN;
        } else if (code == PAWL_ESESSION) {
            code = session_another(pawl, call.session_id, deadline_ns);
        } else if (code == PAWL_EBUSY) {
            // Too much waits for the master's disk: it has not looked at this message.
            is_sent = is_again;
            client_pause(pawl, CONTROL_BUSY_MS);
            code = 0;
        } else {
            break;
        }
    } while (code == 0);
    request->call = NULL;
    return code;
}
