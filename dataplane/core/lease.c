// SPDX-License-Identifier: Apache-2.0
// The primary's right to order: grant, lease, members that broke, and what comes with time.
//
// No rule of safety hangs on a clock. A primary can't commit without every secondary, and a
// secondary that has promised a newer version answers it no more; the lease only ends service that
// nobody can vouch for.
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/mark.h"
#include "dataplane/core/chunk_core_private.h"

bool chunk_lease_is_held(const struct chunk_core *core, const struct chunk *chunk)
{
    uint64_t margin_ns = (uint64_t)core->options.lease_margin_ms * CHUNK_NS_PER_MS;
    return chunk->primary && core->now_ns + margin_ns < chunk->lease.until_ns;
}

bool chunk_has_broken_member(const struct chunk *chunk)
{
    for (uint32_t i = 0; i < chunk->lease.secondaries_count; i++) {
        if (chunk->lease.secondaries[i].broken) {
            return true;
        }
    }
    return false;
}

// ---- grant -----------------------------------------------------------------------------------

// The members: this server once, nobody twice, addresses that fit.
static int grant_members_check(const struct chunk_core *core, const Pawl__Grant *grant)
{
    bool is_member = false;
    if (grant->n_members == 0 || grant->n_members > CHUNK_SET_MAX) {
        return PAWL_EINVALID;
    }
    for (size_t i = 0; i < grant->n_members; i++) {
        const Pawl__Member *member = grant->members[i];
        if (member->server_id == 0 || strlen(member->fabric_address) >= CHUNK_ADDRESS_MAX) {
            return PAWL_EINVALID;
        }
        for (size_t j = 0; j < i; j++) {
            if (grant->members[j]->server_id == member->server_id) {
                return PAWL_EINVALID;
            }
        }
        is_member |= member->server_id == core->options.server_id;
    }
    return is_member ? 0 : PAWL_EINVALID;
}

// May this server order records of the chunk under the granted version?
static int grant_check(const struct chunk_core *core, const struct chunk *chunk,
                       const Pawl__Grant *grant)
{
    int rc = chunk_command_check(chunk, grant->version);
    if (rc) {
        return rc;
    }
    if (chunk_is_sealed(chunk) || grant->version != chunk->promised) {
        return PAWL_ESTALE;
    }
    if (chunk->zero_bytes != 0) {
        return PAWL_EINVALID; // it takes no record
    }
    if (chunk->primary) {
        PAWL_MARK(grant_repeated);
        return 0; // repeated
    }
    // A version never gives out an index twice. Closed here: the primary of this version crashed
    // after a secondary had its last record, before it had it itself; come back and granted the same
    // version again, it would give that index to another record. So the promise must be one of this
    // life of the server, and nothing may have been ordered under it.
    if ((!chunk->promise_fresh || chunk->promise_used) && !PAWL_MUTANT(restart_keeps_lease)) {
        PAWL_MARK(grant_of_older_life);
        return PAWL_ESTALE;
    }
    if (chunk->commands || chunk->persisting_count || chunk->state != CHUNK_STATE_OPEN) {
        return PAWL_EBUSY;
    }
    // All members are level at this count. A longer log would be a record that they don't have.
    if (grant->commit_count != record_table_count(&chunk->records)) {
        return PAWL_ESTALE;
    }
    return grant_members_check(core, grant);
}

static void grant_begin(struct chunk_core *core, struct chunk *chunk, const Pawl__Grant *grant)
{
    pawl_assert(chunk->durable_count == record_table_count(&chunk->records));
    chunk->commit_count = grant->commit_count;
    chunk->lease = (struct chunk_lease){0};
    for (size_t i = 0; i < grant->n_members; i++) {
        const Pawl__Member *member = grant->members[i];
        if (member->server_id == core->options.server_id) {
            continue;
        }
        chunk->lease.secondaries[chunk->lease.secondaries_count++] = (struct chunk_member){
            .server_id = member->server_id, .prepared_count = chunk->commit_count};
        chunk_connect_add(core, chunk, member->server_id, member->fabric_address);
    }
    chunk->primary = true;
    chunk->promise_used = true;
    inflight_reset(&chunk->inflight, chunk->commit_count);
    chunk->report_next_ns = 0;
    chunk_activate(core, chunk);
}

void chunk_grant(struct chunk_core *core, const Pawl__Grant *grant, uint64_t request)
{
    struct chunk *chunk = chunk_find(core, grant->handle);
    int rc = chunk ? grant_check(core, chunk, grant) : PAWL_ENOCHUNK;
    if (rc == 0) {
        if (!chunk->primary) {
            grant_begin(core, chunk, grant);
        }
        uint64_t until_ns = core->now_ns + (uint64_t)grant->lease_ms * CHUNK_NS_PER_MS;
        chunk->lease.until_ns = PAWL_MAX(chunk->lease.until_ns, until_ns);
    }
    chunk_answer_add(core, request, rc);
}

void chunk_lease_extend(struct chunk_core *core, const struct chunk_event *event)
{
    struct chunk *chunk = chunk_find(core, event->handle);
    if (chunk && chunk->primary && chunk->promised == event->version) {
        chunk->lease.until_ns = PAWL_MAX(chunk->lease.until_ns, event->until_ns);
    }
}

// The records in flight stay in the log: recovery decides about them. Their clients are told to ask
// again; the producer table of whoever orders next knows the records if they were kept.
void chunk_step_down(struct chunk_core *core, struct chunk *chunk)
{
    if (!chunk->primary) {
        return;
    }
    if (!inflight_is_empty(&chunk->inflight)) {
        PAWL_MARK(primary_stops_with_records_in_flight);
    }
    chunk_waiters_refuse(core, chunk, PAWL_ESTALE);
    chunk->primary = false;
    chunk->lease = (struct chunk_lease){0};
    inflight_settle(&chunk->inflight, chunk->durable_count);
    if (PAWL_MUTANT(primary_truncates) && chunk->persisting_count == 0) {
        chunk_log_cut(core, chunk, chunk->commit_count);
    }
    if (chunk->report_self == PAWL__REPORT_KIND__REPORT_NONE) {
        pawl_list_remove(&chunk->active);
    }
}

// ---- reports ---------------------------------------------------------------------------------

// There is no resending between servers: whatever a member did wrong, recovery makes all equal.
void chunk_member_break(struct chunk_core *core, struct chunk *chunk, struct chunk_member *member)
{
    if (member->broken) {
        return;
    }
    member->broken = true;
    chunk_report_add(core, chunk, PAWL__REPORT_KIND__REPORT_BROKEN, member->server_id);
    chunk->report_next_ns = core->now_ns + CHUNK_REPORT_NS;
}

void chunk_peer_down(struct chunk_core *core, uint64_t server)
{
    pawl_list_for_each (node, &core->active) {
        struct chunk *chunk = pawl_container_of(node, struct chunk, active);
        for (uint32_t i = 0; i < chunk->lease.secondaries_count; i++) {
            if (chunk->lease.secondaries[i].server_id == server) {
                chunk_member_break(core, chunk, &chunk->lease.secondaries[i]);
            }
        }
    }
}

static bool chunk_is_drained_full(const struct chunk *chunk)
{
    return chunk->primary && chunk->full && inflight_is_empty(&chunk->inflight);
}

void chunk_full_check(struct chunk_core *core, struct chunk *chunk)
{
    if (chunk_is_drained_full(chunk) && core->now_ns >= chunk->report_next_ns) {
        chunk_report_add(core, chunk, PAWL__REPORT_KIND__REPORT_FULL, core->options.server_id);
        chunk->report_next_ns = core->now_ns + CHUNK_REPORT_NS;
    }
}

// Everything that still holds is said again: a report may be lost, and the master may be new.
static void chunk_reports_repeat(struct chunk_core *core, struct chunk *chunk)
{
    if (core->now_ns < chunk->report_next_ns) {
        return;
    }
    chunk_full_check(core, chunk);
    if (chunk->report_self != PAWL__REPORT_KIND__REPORT_NONE) {
        chunk_report_add(core, chunk, chunk->report_self, core->options.server_id);
        chunk->report_next_ns = core->now_ns + CHUNK_REPORT_NS;
    }
    for (uint32_t i = 0; i < chunk->lease.secondaries_count; i++) {
        if (chunk->lease.secondaries[i].broken) {
            chunk_report_add(core, chunk, PAWL__REPORT_KIND__REPORT_BROKEN,
                             chunk->lease.secondaries[i].server_id);
            chunk->report_next_ns = core->now_ns + CHUNK_REPORT_NS;
        }
    }
}

// ---- time ------------------------------------------------------------------------------------

// A secondary that owes an answer for its next record for too long.
static void tick_deadlines(struct chunk_core *core, struct chunk *chunk)
{
    uint64_t prepare_ns = (uint64_t)core->options.prepare_ms * CHUNK_NS_PER_MS;
    for (uint32_t i = PAWL_MUTANT(commit_without_one); i < chunk->lease.secondaries_count; i++) {
        struct chunk_member *member = &chunk->lease.secondaries[i];
        if (member->prepared_count >= record_table_count(&chunk->records)) {
            continue;
        }
        uint64_t sent_ns = inflight_at(&chunk->inflight, member->prepared_count)->sent_ns;
        if (core->now_ns >= sent_ns + prepare_ns) {
            PAWL_MARK(prepare_deadline);
            chunk_member_break(core, chunk, member);
        }
    }
}

// The commit count rides on the next PREPARE. When none comes for a whole tick it is sent alone,
// once: readers of the secondaries see the last record, and a fence hears of it.
static void tick_commit(struct chunk_core *core, struct chunk *chunk)
{
    struct chunk_lease *lease = &chunk->lease;
    if (!inflight_is_empty(&chunk->inflight) || lease->told_count == chunk->commit_count) {
        lease->quiet = false;
        return;
    }
    if (!lease->quiet) {
        lease->quiet = true;
        return;
    }
    for (uint32_t i = 0; i < lease->secondaries_count; i++) {
        if (lease->secondaries[i].broken) {
            continue;
        }
        PAWL_MARK(commit_told_alone);
        struct chunk_action *action = chunk_action_add(core, CHUNK_ACTION_COMMIT);
        action->server = lease->secondaries[i].server_id;
        action->commit = (struct wire_commit){.chunk = chunk->handle,
                                              .version = chunk->promised,
                                              .commit_count = chunk->commit_count};
    }
    lease->told_count = chunk->commit_count;
}

void chunk_tick(struct chunk_core *core)
{
    pawl_list_for_each (node, &core->active) {
        struct chunk *chunk = pawl_container_of(node, struct chunk, active);
        if (chunk->copy) {
            chunk_copy_tick(core, chunk);
            continue;
        }
        if (chunk->primary) {
            tick_deadlines(core, chunk);
            tick_commit(core, chunk);
        }
        chunk_reports_repeat(core, chunk);
    }
}
