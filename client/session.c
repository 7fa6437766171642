// SPDX-License-Identifier: Apache-2.0
// The client's session at the master: it bounds the life of anonymous producers.
//
// A session is taken up again on each new connection to the master. When the master has ended it, or a
// chunk says so, the client asks for another one; a file changes over to it as soon as nothing of its old
// producer is under way.
#include <errno.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "client/client_private.h"

#define SESSION_CALL_MS 5000u
#define SESSION_PAUSE_MS 200u
#define SESSION_CLOSE_MS 1000u

static int take_session(void *user, const Pawl__Reply *reply)
{
    struct pawl *pawl = user;
    if (reply->body_case != PAWL__REPLY__BODY_SESSION) {
        return PAWL_EPROTOCOL;
    }
    const Pawl__Session *session = reply->session;
    if (session->session_id == 0 || session->session_id > WIRE_SESSION_MAX) {
        return PAWL_EPROTOCOL;
    }
    if (session->session_id != pawl->session) {
        if (pawl->session != 0) {
            pawl_log_info("session %llu has ended; session %llu begins",
                          (unsigned long long)pawl->session,
                          (unsigned long long)session->session_id);
        }
        pawl->session = session->session_id;
        pawl->producers_count = 0;
    }
    pawl->cluster_id = session->cluster_id;
    pawl->session_here = true;
    return 0;
}

int session_open(struct pawl *pawl, uint64_t deadline_ns)
{
    Pawl__OpenSession open = PAWL__OPEN_SESSION__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_OPEN_SESSION;
    request.open_session = &open;
    return control_call(pawl, &request, deadline_ns, take_session, pawl, NULL);
}

static void on_session(void *user, int code, const Pawl__Reply *reply)
{
    struct pawl *pawl = user;
    pawl->session_asked = false;
    pawl->answered = true;
    code = control_code(code, reply);
    code = code != 0 ? code : take_session(pawl, reply);
    if (code != 0) {
        pawl->session_retry_ns = pawl_clock_ns() + SESSION_PAUSE_MS * PAWL_NS_PER_MS;
        pawl_log_debug("session %llu: %s", (unsigned long long)pawl->session, pawl_strerror(code));
    }
}

void session_keep(struct pawl *pawl, uint64_t now_ns)
{
    Pawl__OpenSession open = PAWL__OPEN_SESSION__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    if (pawl->session == 0 || pawl->session_here || pawl->session_asked ||
        now_ns < pawl->session_retry_ns) {
        return;
    }
    request.body_case = PAWL__REQUEST__BODY_OPEN_SESSION;
    request.open_session = &open;
    open.session_id = pawl->session;
    pawl->session_asked = control_submit(pawl, &request, SESSION_CALL_MS, on_session, pawl) == 0;
}

int session_another(struct pawl *pawl, uint64_t session, uint64_t deadline_ns)
{
    if (pawl->session == session) {
        pawl->session_here = false;
        pawl->control_due = true;
    }
    while (!pawl->session_here) {
        if (pawl_clock_ns() >= deadline_ns) {
            return PAWL_EDEADLINE;
        }
        client_pause(pawl, SESSION_PAUSE_MS / 100);
    }
    return 0;
}

static void ignore(void *user, int code, const Pawl__Reply *reply)
{
    (void)user;
    (void)code;
    (void)reply;
}

void session_close(struct pawl *pawl)
{
    Pawl__CloseSession close = PAWL__CLOSE_SESSION__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    request.body_case = PAWL__REQUEST__BODY_CLOSE_SESSION;
    request.close_session = &close;
    if (pawl->session_here) {
        // Nobody waits for the answer: a goodbye that is lost is a session that ends later.
        int code = control_submit(pawl, &request, SESSION_CLOSE_MS, ignore, NULL);
        (void)code;
        pawl->session_here = false;
    }
}

// ---- producers ----------------------------------------------------------------------------------

int session_producer(struct pawl_file *file)
{
    struct pawl *pawl = file->pawl;
    pawl_assert(pawl->session != 0);
    return file_core_reset(file, WIRE_SESSION_BIT | pawl->session, ++pawl->producers_count, 0, 0);
}

int session_renew(struct pawl_file *file)
{
    struct pawl *pawl = file->pawl;
    struct wire_record_id id = {.producer_hi = file->producer.producer_hi,
                                .epoch = file->producer.epoch};
    uint64_t session = wire_session_of(&id);
    bool over = append_core_final(file->core) == PAWL_ESESSION;
    if (append_core_final(file->core) == PAWL_ELOST) {
        return 0; // the program is to hear of it by each call, until it opens the file again
    }
    if (session == 0 || file->pending_count > 0 || (!over && !append_core_is_clear(file->core))) {
        return 0;
    }
    if (session != pawl->session) {
        return session_producer(file);
    }
    if (!over) {
        return 0;
    }
    pawl->session_here = false; // the file's chunks know better than we do: ask
    pawl->control_due = true;
    return -EAGAIN;
}

// ---- records of sessions that have ended ----------------------------------------------------------

// One answer of a sealed chunk about the record, whatever it is; transient failures are repeated.
static int lookup_sealed(struct pawl_file *file, uint64_t handle, const struct pawl_record_id *id,
                         uint64_t deadline_ns, struct wire_appended *ret)
{
    for (;;) {
        int code = file_lookup(file, handle, id, deadline_ns, ret);
        bool settled = code == 0 || code == PAWL_EEARLIER ||
                       pawl_error_reaction(code) == PAWL_REACTION_GIVE_UP;
        if (settled && code != PAWL_EDEADLINE) {
            return code;
        }
        if (pawl_clock_ns() >= deadline_ns) {
            return PAWL_EDEADLINE;
        }
        client_pause(file->pawl, SESSION_PAUSE_MS / 10);
    }
}

// The first chunks of the file knew the producer, or could have taken it; all behind some chunk refuse it.
// The last one before that knows all that it has stored.
int session_lookup(struct pawl_file *file, const struct pawl_record_id *id, uint64_t deadline_ns,
                   struct wire_appended *ret)
{
    int code = file_chunks_refresh(file, deadline_ns);
    int last_code = PAWL_EABSENT; // if even the first chunk refused it
    uint32_t low = 0;
    uint32_t high = file->chunks_count > 0 ? file->chunks_count - 1 : 0; // the tail has refused it
    while (code == 0 && low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct wire_appended found = {0};
        if (middle >= file->chunks_count) {
            return PAWL_EBUSY; // a map that failed meanwhile: it is asked for again
        }
        code = lookup_sealed(file, file->chunks[middle].handle, id, deadline_ns, &found);
        if (code == PAWL_ESESSION) {
            high = middle;
            code = 0;
        } else if (code == 0 || code == PAWL_EEARLIER || code == PAWL_EABSENT) {
            *ret = found;
            last_code = code;
            low = middle + 1;
            code = 0;
        }
    }
    return code != 0 ? code : last_code;
}
