// SPDX-License-Identifier: Apache-2.0
// Sessions: clients whose anonymous producers live as long as their session, and what the oracle knows of
// sessions.
//
// Some clients never ask the master whether their session still lives (zombies): they go on with it, on
// whatever connections they have, until a chunk refuses them.
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/hash.h"
#include "sim_client.h"

#define ULL(x) ((unsigned long long)(x))

// ---- clients -----------------------------------------------------------------------------------

static void ask_session(struct sim *sim, struct sim_client *c)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__OpenSession body = PAWL__OPEN_SESSION__INIT;
    message.body_case = PAWL__REQUEST__BODY_OPEN_SESSION;
    message.open_session = &body;
    body.session_id = c->session;
    c->session_asked = true;
    link_ask_master(sim, c, (struct sim_ask){.kind = SIM_CALL_SESSION}, &message);
    c->session_conn = c->master.conn->id;
}

// By lot, but not by one that would move the others.
Pawl__Call *session_call(const struct sim *sim, struct sim_client *c, Pawl__Call *call)
{
    if (c->session == 0) {
        return NULL;
    }
    bool again = c->call_number != 0 && pawl_hash_u64(sim->seed ^ c->request_last) % 2 == 0;
    if (!again) {
        c->call_session = c->session;
        c->call_number++;
    }
    call->session_id = c->call_session;
    call->number = c->call_number;
    return call;
}

void session_answer(struct sim *sim, struct sim_client *c, int status, const Pawl__Reply *reply)
{
    c->session_asked = false;
    if (status != 0) {
        c->session_conn = 0;
        return;
    }
    c->session_next = reply->session->session_id;
    if (c->session_next != c->session) {
        sim_note(sim, "%s session %llu instead of %llu", c->node->name, ULL(c->session_next),
                 ULL(c->session));
    }
}

// What was under way is given up: its outcome stays unknown for its application.
static void session_change(struct sim *sim, struct sim_client *c)
{
    sim_note(sim, "%s leaves session %llu, %u appends unknown", c->node->name, ULL(c->session),
             c->notes->pending_count);
    client_core_stop(sim, c);
    client_forget(c->notes);
    c->notes->pending_count = 0;
    c->notes->acked_count = 0;
    c->notes->last_acked = 0;
    c->notes->producer_lo += 100;
    c->session_over = false;
    c->session = c->session_next != c->session ? c->session_next : 0;
    c->session_next = c->session;
    c->session_conn = c->session != 0 ? c->session_conn : 0;
    c->state = SIM_OPENING;
}

static void session_bye(struct sim *sim, struct sim_client *c)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__CloseSession body = PAWL__CLOSE_SESSION__INIT;
    message.body_case = PAWL__REQUEST__BODY_CLOSE_SESSION;
    message.close_session = &body;
    sim_note(sim, "%s says goodbye", c->node->name);
    link_ask_master(sim, c, (struct sim_ask){.kind = SIM_CALL_BYE}, &message);
    c->session_next = 0;
    session_change(sim, c);
    c->session = c->session_next = 0;
}

static bool is_idle(const struct sim_client *c)
{
    return c->notes->pending_count == 0 && append_core_is_clear(c->core);
}

bool session_pump(struct sim *sim, struct sim_client *c)
{
    bool lost = c->master.conn == NULL || c->master.conn->id != c->session_conn;
    if (c->session_over) {
        session_change(sim, c);
        return true;
    }
    if (c->state == SIM_OPENING) {
        bool unopened = c->notes->writer && c->notes->file_id == 0;
        if (unopened && c->session_next != 0) {
            return false; // the write log first
        }
        if (c->session_next != 0) {
            c->session = c->session_next;
            c->notes->producer_hi = WIRE_SESSION_BIT | c->session;
            client_run(sim, c);
        } else if (!c->session_asked) {
            ask_session(sim, c);
        }
        return true;
    }
    if (c->state != SIM_RUNNING) {
        return false;
    }
    if (c->session_next != c->session && is_idle(c)) {
        session_change(sim, c);
        return true;
    }
    if (!c->notes->zombie && lost && c->master.open && !c->session_asked) {
        ask_session(sim, c);
    }
    if (sim->faults && is_idle(c) && sim_permille(sim, 3)) {
        session_bye(sim, c);
        return true;
    }
    return false;
}

// A process that starts has no session; what an earlier one had under way it can't tell again.
void session_start(struct sim_client *c)
{
    client_forget(c->notes);
    c->notes->pending_count = 0;
    c->notes->acked_count = 0;
    c->notes->last_acked = 0;
    c->notes->producer_lo += 100;
}

// ---- producers that end ---------------------------------------------------------------------------

// The application hears that what was acknowledged from `sequence` on is lost: none of it was durable.
void client_lost(struct sim *sim, struct sim_notes *notes, uint64_t producer_lo, uint64_t sequence)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < notes->acked_count; i++) {
        struct sim_append *append = notes->acked[i];
        if (append->id.producer_lo == producer_lo && append->id.sequence >= sequence) {
            sim_oracle_told(sim, append, SIM_TOLD_LOST, 0);
        } else {
            notes->acked[kept++] = append;
        }
    }
    notes->acked_count = kept;
    notes->last_acked = PAWL_MIN(notes->last_acked, sequence - 1);
}

// A producer ends of which nobody hears any more.
void client_forget(struct sim_notes *notes)
{
    for (uint32_t i = 0; i < notes->acked_count; i++) {
        sim_oracle_forget(notes->acked[i]);
    }
}

// ---- the fault: a client is cut off for longer than its session lives ----------------------------

void sim_fault_cut(struct sim *sim)
{
    const struct sim_node *client =
        sim_node_of(sim, SIM_CLIENT, (uint32_t)sim_fault_below(sim, sim->params.clients_count));
    const struct sim_node *master = sim_node_of(sim, SIM_MASTER, 0);
    uint64_t length_ns = (sim->params.session_ms + sim_fault_below(sim, 3000)) * SIM_MS;
    sim_note(sim, "%s cut off the master for %llu ms", client->name, ULL(length_ns / SIM_MS));
    struct sim_block wall = {.until_ns = sim->now_ns + length_ns};
    struct sim_block *there = &sim->blocks[client->id][master->id];
    struct sim_block *back = &sim->blocks[master->id][client->id];
    *there = there->until_ns < wall.until_ns ? wall : *there;
    *back = back->until_ns < wall.until_ns ? wall : *back;
    sim->partitions_count++;
    for (size_t i = 0; i < sim->conns_count; i++) {
        struct sim_conn *conn = sim->conns[i];
        bool between = conn->side[0].node == client && conn->side[1].node == master;
        if (between && conn->side[0].open && conn->side[1].open) {
            sim_break(sim, conn);
        }
    }
}

// ---- the oracle's part -----------------------------------------------------------------------------

struct sim_sessions *sim_sessions_new(void)
{
    return sim_alloc(sizeof(struct sim_sessions));
}

void sim_sessions_free(struct sim_sessions *sessions)
{
    free(sessions->ended);
    free(sessions->calls);
    free(sessions);
}

void sim_sessions_log(struct sim *sim, struct sim_sessions *sessions, const Pawl__LogRecord *record)
{
    if (record->body_case == PAWL__LOG_RECORD__BODY_SESSIONS) {
        if (record->sessions->first != sessions->next + (sessions->next == 0)) {
            sim_violation(sim, "a block of sessions begins at %llu", ULL(record->sessions->first));
            return;
        }
        uint64_t next = record->sessions->last + 1;
        sessions->ended = realloc(sessions->ended, next);
        sessions->calls = realloc(sessions->calls, next * sizeof(sessions->calls[0]));
        pawl_assert(sessions->ended != NULL && sessions->calls != NULL);
        memset(sessions->calls + sessions->next, 0,
               (next - sessions->next) * sizeof(sessions->calls[0]));
        memset(sessions->ended + sessions->next, 0, next - sessions->next);
        sessions->next = next;
        return;
    }
    for (size_t i = 0; i < record->sessions_end->n_ranges; i++) {
        const Pawl__SessionRange *range = record->sessions_end->ranges[i];
        for (uint64_t id = range->first; id <= range->last; id++) {
            if (id >= sessions->next || sessions->ended[id]) {
                sim_violation(sim, "session %llu ends twice, or never began", ULL(id));
                return;
            }
            sessions->ended[id] = true;
            sessions->ended_count++;
        }
    }
}

void sim_sessions_call(struct sim *sim, const struct sim_sessions *sessions, const Pawl__Call *call)
{
    if (call == NULL) {
        return;
    }
    uint64_t id = call->session_id;
    if (id >= sessions->next || sessions->ended[id]) {
        sim_violation(sim, "a call of session %llu changes a name: it has ended, or never began",
                      ULL(id));
    } else if (call->number <= sessions->calls[id]) {
        sim_violation(sim, "call %llu of session %llu changes a name behind call %llu",
                      ULL(call->number), ULL(id), ULL(sessions->calls[id]));
    } else {
        sessions->calls[id] = call->number;
    }
}

static bool is_ended(const struct sim_sessions *sessions, uint64_t hi)
{
    uint64_t id = hi & WIRE_SESSION_MAX;
    return (hi & WIRE_SESSION_BIT) != 0 && id < sessions->next && sessions->ended[id];
}

static bool allows(const struct sim_allowed *allowed, uint64_t id)
{
    bool found = allowed->count == 0;
    for (uint32_t i = 0; i < allowed->count; i++) {
        found |= id >= allowed->rows[i].first && id <= allowed->rows[i].last;
    }
    return found;
}

// The rows of sessions in front of a replica's table: no live session is refused, and none that the chunk
// before has refused is taken. `before` is NULL for a file's first chunk.
static bool take_allowed(struct sim *sim, const struct sim_sessions *sessions,
                         const struct sim_allowed *before, const struct sim_chunk *replica,
                         struct sim_allowed *ret)
{
    ret->count = 0;
    while (ret->count < replica->producers_count && ret->count < WIRE_SESSIONS_MAX &&
           replica->producers[ret->count].producer_hi == 0 &&
           replica->producers[ret->count].producer_lo == 0) {
        memcpy(&ret->rows[ret->count], &replica->producers[ret->count], sizeof(ret->rows[0]));
        ret->count++;
    }
    for (uint64_t id = 1; id < sessions->next; id++) {
        if (!sessions->ended[id] && !allows(ret, id)) {
            sim_violation(sim, "chunk %llu refuses session %llu, which lives", ULL(replica->handle),
                          ULL(id));
            return false;
        }
        if (before != NULL && !allows(before, id) && allows(ret, id)) {
            sim_violation(sim, "chunk %llu takes session %llu, which the chunk before has refused",
                          ULL(replica->handle), ULL(id));
            return false;
        }
    }
    return true;
}

static bool row_is_there(const struct sim_chunk *replica, uint32_t from,
                         const struct sim_producer *own)
{
    for (uint32_t i = from; i < replica->producers_count; i++) {
        const struct wire_producer *row = &replica->producers[i];
        if (own->hi == row->producer_hi && own->lo == row->producer_lo) {
            return own->epoch == row->epoch && own->last_sequence == row->last_sequence;
        }
    }
    return false;
}

// A replica's inherited table, row by row; rows may stand in any order. Only what was bound to a session
// whose end is in the log may be missing, and nothing else is there.
bool sim_sessions_inherits(struct sim *sim, const struct sim_legacy *legacy,
                           const struct sim_chunk *replica, struct sim_allowed *ret_allowed,
                           uint64_t *ret_dropped_count)
{
    uint32_t found = 0;
    if (!take_allowed(sim, legacy->sessions, legacy->before, replica, ret_allowed)) {
        return false;
    }
    for (uint32_t i = 0; i < legacy->rows_count; i++) {
        const struct sim_producer *own = &legacy->rows[i];
        if (row_is_there(replica, ret_allowed->count, own)) {
            found++;
        } else if (own->epoch != 0 || !is_ended(legacy->sessions, own->hi)) {
            return false;
        }
    }
    *ret_dropped_count = legacy->rows_count - found;
    return found + ret_allowed->count == replica->producers_count;
}
