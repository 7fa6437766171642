// SPDX-License-Identifier: Apache-2.0
// Leases of open chunks: who gets one, and what ends it.
#include "base/mark.h"
#include "controlplane/core/master_core_private.h"

// ---- GRANTING ------------------------------------------------------------------------------------

// The old primary by preference: clients are connected to it. Not the one that they can't reach.
static struct master_server *choose_primary(struct master_core *core,
                                            const struct master_chunk *chunk)
{
    const struct master_work *work = chunk->work;
    struct master_server *best = NULL;
    uint64_t best_lot = 0;
    bool keep = work->cause != MASTER_CAUSE_HINT;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        struct master_server *server = master_chunk_member(core, chunk, i);
        if (!server->conn) {
            continue;
        }
        bool old = server->id == work->primary_id;
        uint64_t rank = (old ? (keep ? 0 : 2) : 1) + (master_server_is_live(server) ? 0 : 4);
        uint64_t lot = rank << 56 | (uint64_t)server->primaries_count << 24 |
                       pawl_random_below(&core->random, 1u << 24);
        if (!best || lot < best_lot) {
            best = server;
            best_lot = lot;
        }
    }
    return best;
}

static Pawl__Grant *grant_message(struct master_core *core, const struct master_chunk *chunk)
{
    Pawl__Grant *grant = MASTER_MESSAGE(core, Pawl__Grant, pawl__grant__init);
    grant->term = core->term;
    grant->handle = chunk->handle;
    grant->version = chunk->version;
    grant->lease_ms = core->options.lease_ms;
    grant->commit_count = chunk->work->target_count;
    grant->members = master_arena_alloc(core, MASTER_SET_MAX * sizeof(Pawl__Member *));
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        grant->members[grant->n_members++] =
            master_member_message(core, master_chunk_member(core, chunk, i));
    }
    return grant;
}

// From LEVELLING or OPENING: every member of the set holds the same records.
void master_chunk_grant(struct master_core *core, struct master_chunk *chunk)
{
    struct master_work *work = chunk->work;
    struct master_server *primary = choose_primary(core, chunk);
    // An unanswered grant may have been taken, so a version has one primary and is never offered to
    // another: failure of this command leads to a new version.
    work->primary_id = primary ? primary->id : chunk->set[0];
    work->regrants = work->target_count == work->granted_count ? work->regrants + 1 : 0;
    work->granted_count = work->target_count;
    master_chunk_reset_members(work);
    master_chunk_move(core, chunk, MASTER_PHASE_GRANTING);
    int index = master_chunk_member_index(chunk, work->primary_id);
    struct master_member *member = &work->members[index];
    if (!primary) {
        member->step = MASTER_STEP_FAILED;
        return;
    }
    Pawl__Request *request = MASTER_MESSAGE(core, Pawl__Request, pawl__request__init);
    request->body_case = PAWL__REQUEST__BODY_GRANT;
    request->grant = grant_message(core, chunk);
    work->primary_incarnation = primary->incarnation;
    work->sent_ns = core->now_ns;
    member->step = MASTER_STEP_ASKED;
    member->token =
        master_command(core, primary, MASTER_COMMAND_GRANT, request, core->options.command_ms);
}

static void granted(struct master_core *core, struct master_chunk *chunk, const char *how)
{
    struct master_work *work = chunk->work;
    master_chunk_move(core, chunk, MASTER_PHASE_GRANTED);
    work->cause = MASTER_CAUSE_NONE;
    work->wanted = false;
    work->want_seal = false;
    work->counted = false;
    work->blocked = false;
    work->backoff_ms = 0;
    work->granted_ns = core->now_ns;
    work->full_ns = 0;
    pawl_alloc_free(core->alloc, work->table);
    work->table = NULL;
    work->table_bytes = 0;
    master_note(core, MASTER_LEVEL_INFO, "chunk %lu %s version %lu primary %s", chunk->handle, how,
                chunk->version, master_server_get(core, work->primary_id)->name);
}

bool master_granting_drive(struct master_core *core, struct master_chunk *chunk)
{
    struct master_work *work = chunk->work;
    int index = master_chunk_member_index(chunk, work->primary_id);
    const struct master_member *member = &work->members[index];
    if (member->step == MASTER_STEP_ASKED) {
        return false;
    }
    if (member->step == MASTER_STEP_DONE) {
        work->lease_until_ns = work->sent_ns + master_ms_to_ns(core->options.lease_ms);
        granted(core, chunk, "granted");
    } else {
        PAWL_MARK(grant_fails);
        if (work->cause == MASTER_CAUSE_NONE || work->cause == MASTER_CAUSE_FULL ||
            work->cause == MASTER_CAUSE_HEAL) {
            work->cause = MASTER_CAUSE_LOST;
            work->cause_server = work->primary_id;
        }
        master_chunk_again(core, chunk, false);
    }
    return true;
}

void master_chunk_adopt(struct master_core *core, struct master_chunk *chunk,
                        struct master_server *server)
{
    struct master_work *work = chunk->work;
    PAWL_MARK(lease_adopted_after_restart);
    pawl_assert(work->phase == MASTER_PHASE_IDLE);
    work->primary_id = server->id;
    work->primary_incarnation = server->incarnation;
    work->lease_until_ns = core->now_ns + master_ms_to_ns(core->options.lease_ms);
    granted(core, chunk, "adopted");
    master_chunk_drive(core, chunk);
}

// ---- GRANTED -------------------------------------------------------------------------------------

// A member that is gone stops the primary: there is no reason to wait for anybody's report.
bool master_granted_drive(struct master_core *core, struct master_chunk *chunk, bool *ret_waits)
{
    struct master_work *work = chunk->work;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        const struct master_server *server = master_chunk_member(core, chunk, i);
        if (server->conn && server->state != MASTER_SERVER_DEAD) {
            continue;
        }
        if (server->state == MASTER_SERVER_UNKNOWN && core->now_ns < core->grace_ns) {
            *ret_waits = true;
            continue;
        }
        work->cause = MASTER_CAUSE_LOST;
        work->cause_server = server->id;
        master_chunk_again(core, chunk, true);
        return true;
    }
    return false;
}
