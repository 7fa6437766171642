// SPDX-License-Identifier: Apache-2.0
// The master's commands: OPEN, FENCE, SEAL, DROP (GRANT: lease.c, LEVEL: level.c, COPY: copy.c).
//
// A command is kept until what it asks for is durable, then answered from the chunk's state; the same
// command again joins it, or is answered at once when all is done. Commands of an older term or
// version are refused: the master that sent them has been overtaken.
#include <errno.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/mark.h"
#include "dataplane/core/chunk_core_private.h"

// ---- pending commands ------------------------------------------------------------------------

void chunk_command_add(struct chunk_core *core, struct chunk *chunk,
                       const struct chunk_command *command)
{
    struct chunk_command *copy = pawl_alloc_new(core->alloc, sizeof(*copy));
    if (!copy) {
        core->no_memory = true;
        return;
    }
    *copy = *command;
    copy->next = NULL;
    struct chunk_command **place = &chunk->commands;
    while (*place) {
        place = &(*place)->next;
    }
    *place = copy;
}

// Answers and forgets the command at `place`.
static void command_end(struct chunk_core *core, struct chunk *chunk, struct chunk_command **place,
                        int code)
{
    struct chunk_command *command = *place;
    *place = command->next;
    if (code) {
        chunk_answer_add(core, command->request, code);
    } else {
        chunk_answer_state(core, chunk, command);
    }
    pawl_alloc_free(core->alloc, command);
}

void chunk_commands_end(struct chunk_core *core, struct chunk *chunk, Pawl__Request__BodyCase kind,
                        int code)
{
    struct chunk_command **place = &chunk->commands;
    while (*place) {
        if (kind == PAWL__REQUEST__BODY__NOT_SET || (*place)->kind == kind) {
            command_end(core, chunk, place, code);
        } else {
            place = &(*place)->next;
        }
    }
}

static bool older_is_taken(void)
{
    return PAWL_MUTANT(older_command_taken) || PAWL_MUTANT(older_term_taken);
}

// Has this version's promise still to be made?
static bool fence_raises(const struct chunk *chunk, uint64_t version)
{
    bool again = PAWL_MUTANT(version_not_raised) && version == chunk->promised;
    return version > chunk->promised || again || (older_is_taken() && version < chunk->promised);
}

int chunk_command_check(const struct chunk *chunk, uint64_t version)
{
    if (version < chunk->promised && !older_is_taken()) {
        PAWL_MARK(command_of_older_version);
        return PAWL_ESTALE;
    }
    if (chunk->damaged) {
        PAWL_MARK(command_to_damaged);
    }
    return chunk->damaged ? chunk->damage_code : 0;
}

// Nothing is ordered or levelled here any more: who waits is refused, so that nothing is answered
// APPENDED or PREPARED behind the answer to a fence.
static void chunk_halt(struct chunk_core *core, struct chunk *chunk)
{
    chunk_step_down(core, chunk);
    if (!PAWL_MUTANT(prepared_after_fence)) {
        chunk_waiters_refuse(core, chunk, PAWL_ESTALE);
    }
    chunk_level_cancel(core, chunk, PAWL_ESTALE);
}

// Also ends the commands of the version before.
static void chunk_stop(struct chunk_core *core, struct chunk *chunk)
{
    chunk_halt(core, chunk);
    chunk_commands_end(core, chunk, PAWL__REQUEST__BODY__NOT_SET, PAWL_ESTALE);
}

static void chunk_report_end(struct chunk *chunk)
{
    pawl_list_remove(&chunk->active);
    chunk->report_self = PAWL__REPORT_KIND__REPORT_NONE;
    chunk->report_next_ns = 0;
}

// The promise to take nothing older counts from this moment, and is made durable: otherwise a crash
// would let the old primary go on with a replica whose log the master has counted.
static void chunk_promise(struct chunk_core *core, struct chunk *chunk, uint64_t version)
{
    if (chunk->persisting_count > 0) {
        PAWL_MARK(fence_drains);
    }
    chunk_stop(core, chunk);
    chunk_report_end(chunk);
    chunk->promised = version;
    chunk->promise_fresh = true;
    chunk->promise_used = false;
    if (PAWL_MUTANT(fence_not_durable)) {
        chunk->promised_durable = version;
    } else {
        chunk_persist_add(core, chunk, CHUNK_OP_PROMISE, version);
    }
    core->counters.fences_count++;
}

// ---- fence -----------------------------------------------------------------------------------

// A fence is a barrier: it is answered when all that was being written is durable (settle waits for
// it), so that the count in the answer can't change until the next grant.
static void command_fence(struct chunk_core *core, const Pawl__Fence *fence, uint64_t request)
{
    struct chunk *chunk = chunk_find(core, fence->handle);
    int rc = chunk ? chunk_command_check(chunk, fence->version) : PAWL_ENOCHUNK;
    if (rc == 0 && !chunk_is_sealed(chunk)) {
        if (fence_raises(chunk, fence->version)) {
            chunk_promise(core, chunk, fence->version);
        } else if (chunk->promise_used && !PAWL_MUTANT(version_not_logged)) {
            PAWL_MARK(fence_of_used_promise);
            rc = PAWL_ESTALE; // somebody orders under this version already: its count is no barrier
        } else {
            // Repeated, perhaps after a restart: the promise stands and nothing was ordered.
            PAWL_MARK(fence_repeated);
            chunk->promise_fresh = true;
        }
    }
    if (rc) {
        chunk_answer_add(core, request, rc);
        return;
    }
    struct chunk_command command = {
        .kind = PAWL__REQUEST__BODY_FENCE, .version = fence->version, .request = request};
    if (PAWL_MUTANT(fence_not_drained) || PAWL_MUTANT(prepared_after_fence)) {
        chunk_answer_state(core, chunk, &command);
        return;
    }
    chunk_command_add(core, chunk, &command);
    chunk_settle(core, chunk);
}

// ---- seal ------------------------------------------------------------------------------------

void chunk_log_cut(struct chunk_core *core, struct chunk *chunk, uint64_t count)
{
    if (count < record_table_count(&chunk->records)) {
        record_table_truncate(&chunk->records, count);
        chunk_producers_rebuild(core, chunk);
    }
    chunk->durable_count = count;
    inflight_reset(&chunk->inflight, count);
}

// The master has logged count and length; this is the only thing that ever cuts a log. What is cut
// was never committed: a committed record is on every member of the set, and the count is that of
// the longest log among those that answered, or one that all of them had. A count that would cut one, or
// bytes that don't add up, show that something was lost: nothing is cut then.
static int seal_begin(struct chunk_core *core, struct chunk *chunk,
                      const struct chunk_command *command)
{
    pawl_assert(chunk->state == CHUNK_STATE_OPEN && inflight_is_empty(&chunk->inflight));
    if (command->count > record_table_count(&chunk->records)) {
        return PAWL_ESTALE;
    }
    if (command->count < chunk->commit_count) {
        return PAWL_EDAMAGED;
    }
    if (chunk_bytes_at(chunk, command->count) != command->length) {
        return PAWL_ECORRUPT;
    }
    if (command->count < record_table_count(&chunk->records)) {
        PAWL_MARK(seal_cuts);
    }
    if (!PAWL_MUTANT(seal_not_cut)) {
        chunk_log_cut(core, chunk, command->count);
    }
    chunk->commit_count = record_table_count(&chunk->records);
    chunk->state = CHUNK_STATE_SEALING;
    chunk_persist_add(core, chunk, CHUNK_OP_SEAL, command->version)->count =
        record_table_count(&chunk->records);
    return 0;
}

static void command_seal(struct chunk_core *core, const Pawl__Seal *seal, uint64_t request)
{
    struct chunk *chunk = chunk_find(core, seal->handle);
    int rc = chunk ? chunk_command_check(chunk, seal->version) : PAWL_ENOCHUNK;
    if (rc == 0 && chunk_is_sealed(chunk)) {
        PAWL_MARK(seal_repeated);
        bool is_same = seal->count == record_table_count(&chunk->records) &&
                       seal->length == chunk_bytes_at(chunk, record_table_count(&chunk->records));
        rc = is_same ? 0 : PAWL_ESTALE; // a sealed chunk's length never changes
    }
    if (rc) {
        chunk_answer_add(core, request, rc);
        return;
    }
    if (!chunk_is_sealed(chunk)) {
        // A replica that missed the fence is fenced by the seal.
        if (seal->version > chunk->promised) {
            PAWL_MARK(seal_fences);
            chunk_promise(core, chunk, seal->version);
        } else {
            chunk_halt(core, chunk);
        }
    }
    struct chunk_command command = {.kind = PAWL__REQUEST__BODY_SEAL,
                                    .version = seal->version,
                                    .request = request,
                                    .count = seal->count,
                                    .length = seal->length};
    chunk_command_add(core, chunk, &command);
    chunk_settle(core, chunk);
}

// ---- open ------------------------------------------------------------------------------------

static void create_persist(struct chunk_core *core, struct chunk *chunk)
{
    chunk->state = CHUNK_STATE_CREATING;
    chunk->promise_fresh = true;
    chunk->promise_used = false;
    struct chunk_action *action = chunk_persist_add(core, chunk, CHUNK_OP_CREATE, chunk->promised);
    chunk->create_token = action->token;
    action->create = (struct chunk_create){.handle = chunk->handle,
                                           .version = chunk->promised,
                                           .file_id = chunk->file_id,
                                           .base_offset = chunk->base_offset,
                                           .chunk_bytes = chunk->chunk_bytes,
                                           .index = chunk->index,
                                           .producers_count = chunk->inherited_count,
                                           .producers = chunk->inherited,
                                           .written_handle = chunk->written_handle,
                                           .zero_bytes = chunk->zero_bytes};
}

// A chunk that was never ready holds no record: its place may be taken by a newer one.
static int open_replace(struct chunk_core *core, struct chunk *chunk,
                        const struct chunk_create *create, struct wire_producer *inherited)
{
    struct wire_producer *old = chunk->inherited;
    int rc = chunk_define(core, chunk, create, inherited);
    if (rc) {
        return rc;
    }
    PAWL_MARK(open_replaces);
    // The store may still be reading the old table.
    struct chunk_op *op = chunk_op_find(core, chunk->create_token);
    if (op) {
        PAWL_MARK(open_replaces_while_written);
        op->owned = old;
    } else {
        pawl_alloc_free(core->alloc, old);
    }
    chunk_stop(core, chunk);
    chunk_report_end(chunk);
    chunk->full = false;
    create_persist(core, chunk);
    return 0;
}

static int open_new(struct chunk_core *core, const struct chunk_create *create,
                    struct wire_producer *inherited)
{
    int rc;
    struct chunk *chunk = chunk_new(core, create, inherited, &rc);
    if (chunk) {
        create_persist(core, chunk);
    }
    return rc;
}

// The table that the chunk begins with: that of the chunk before, without those whose sessions have
// ended. Every replica is given the same of both, so every one begins with the same.
static int open_inherit(struct chunk_core *core, const Pawl__Open *open,
                        struct wire_producer **ret_rows, uint32_t *ret_count)
{
    struct producer_sessions sessions[WIRE_SESSIONS_MAX];
    struct producer_legacy legacy = {.producers = open->producers.data, .sessions = sessions};
    if (open->chunk_bytes == 0 || open->n_sessions > WIRE_SESSIONS_MAX ||
        open->producers.len % sizeof(struct wire_producer) != 0 ||
        open->producers.len / sizeof(struct wire_producer) > WIRE_TABLE_ROWS_MAX) {
        return PAWL_EINVALID;
    }
    for (size_t i = 0; i < open->n_sessions; i++) {
        sessions[i] = (struct producer_sessions){.first = open->sessions[i]->first,
                                                 .last = open->sessions[i]->last};
    }
    legacy.producers_count = (uint32_t)(open->producers.len / sizeof(struct wire_producer));
    legacy.sessions_count = (uint32_t)open->n_sessions;
    int rc = producer_table_legacy(core->alloc, &legacy, ret_rows, ret_count);
    core->no_memory |= rc == -ENOMEM;
    return rc == -ENOMEM ? 0 : rc;
}

// Creates or replaces the chunk. The inherited table is durable with the creation: a chunk that
// takes a record knows every duplicate that its file has had.
static int open_create(struct chunk_core *core, struct chunk *chunk, const Pawl__Open *open)
{
    struct chunk_create create = {.handle = open->handle,
                                  .version = open->version,
                                  .file_id = open->file_id,
                                  .base_offset = open->base_offset,
                                  .chunk_bytes = open->chunk_bytes,
                                  .index = open->index,
                                  .written_handle = open->written_handle,
                                  .zero_bytes = open->zero_bytes};
    // A chunk belongs to one log, or to none, for all of its lives.
    if (chunk_create_check(&create) || (chunk && chunk->written_handle != open->written_handle)) {
        return PAWL_EINVALID;
    }
    struct wire_producer *inherited = NULL;
    int rc = open_inherit(core, open, &inherited, &create.producers_count);
    if (rc || core->no_memory) {
        return rc;
    }
    rc = chunk ? open_replace(core, chunk, &create, inherited) : open_new(core, &create, inherited);
    if (rc) {
        pawl_alloc_free(core->alloc, inherited);
    }
    return rc;
}

static int open_check(const struct chunk *chunk, const Pawl__Open *open)
{
    if (chunk->state >= CHUNK_STATE_COPYING) {
        return PAWL_EBUSY; // what is here goes first
    }
    int rc = chunk_command_check(chunk, open->version);
    if (rc == 0 && chunk_is_sealed(chunk)) {
        rc = PAWL_ESTALE;
    }
    if (rc == 0 && open->version > chunk->promised && record_table_count(&chunk->records) > 0) {
        rc = PAWL_EEXISTS; // it was ready once: nothing replaces it
    }
    return rc;
}

static void command_open(struct chunk_core *core, const Pawl__Open *open, uint64_t request)
{
    struct chunk *chunk = pawl_map_get(&core->chunks, open->handle);
    int rc = chunk ? open_check(chunk, open) : 0;
    if (rc == 0 && (!chunk || open->version > chunk->promised)) {
        rc = open_create(core, chunk, open);
        chunk = pawl_map_get(&core->chunks, open->handle);
    } else if (rc == 0 && !chunk->promise_used) {
        PAWL_MARK(open_repeated);
        chunk->promise_fresh = true; // repeated, perhaps after a restart
    }
    if (rc || core->no_memory) {
        chunk_answer_add(core, request, rc);
        return;
    }
    struct chunk_command command = {
        .kind = PAWL__REQUEST__BODY_OPEN, .version = open->version, .request = request};
    chunk_command_add(core, chunk, &command);
    chunk_settle(core, chunk);
}

// ---- drop ------------------------------------------------------------------------------------

static void command_drop(struct chunk_core *core, const Pawl__Drop *drop, uint64_t request)
{
    struct chunk *chunk = pawl_map_get(&core->chunks, drop->handle);
    if (!chunk || chunk->state == CHUNK_STATE_GONE) {
        chunk_answer_add(core, request, 0);
        return;
    }
    if (drop->version < chunk->promised && !PAWL_MUTANT(drop_older_taken)) {
        PAWL_MARK(drop_of_older_version);
        chunk_answer_add(core, request, PAWL_ESTALE);
        return;
    }
    if (chunk->state == CHUNK_STATE_COPYING) {
        chunk_copy_stop(core, chunk, PAWL_ESTALE);
    }
    if (chunk->state == CHUNK_STATE_GONE) {
        chunk_settle(core, chunk);
        chunk_answer_add(core, request, 0);
        return;
    }
    struct chunk_command command = {
        .kind = PAWL__REQUEST__BODY_DROP, .version = drop->version, .request = request};
    if (chunk->state != CHUNK_STATE_DROPPING) {
        chunk_stop(core, chunk);
        chunk_report_end(chunk);
        chunk->state = CHUNK_STATE_DROPPING;
        chunk_persist_add(core, chunk, CHUNK_OP_DROP, drop->version);
    }
    chunk_command_add(core, chunk, &command);
}

// ---- settling --------------------------------------------------------------------------------

// Whether a command has to wait for something else than store operations.
static bool command_waits(const struct chunk *chunk, const struct chunk_command *command)
{
    return (command->kind == PAWL__REQUEST__BODY_LEVEL && chunk->level.source != 0) ||
           chunk->state == CHUNK_STATE_COPYING;
}

void chunk_settle(struct chunk_core *core, struct chunk *chunk)
{
    if (chunk->persisting_count > 0 || core->no_memory) {
        return;
    }
    if (chunk->state == CHUNK_STATE_GONE) {
        if (chunk->fetching_count == 0) {
            chunk_free(core, chunk);
        }
        return;
    }
    if (chunk->cut_wanted) {
        chunk_cut(core, chunk);
    }
    chunk_level_continue(core, chunk);
    struct chunk_command **place = &chunk->commands;
    while (*place) {
        struct chunk_command *command = *place;
        int rc = 0;
        if (command_waits(chunk, command)) {
            place = &command->next;
            continue;
        }
        if (command->kind == PAWL__REQUEST__BODY_SEAL && chunk->state == CHUNK_STATE_OPEN) {
            rc = seal_begin(core, chunk, command);
            if (rc == 0) {
                return; // goes on when the seal is durable
            }
        }
        if (rc == 0 && command->kind == PAWL__REQUEST__BODY_SEAL &&
            (command->count != record_table_count(&chunk->records))) {
            rc = PAWL_ESTALE; // another count than the seal that was carried out before it
        }
        command_end(core, chunk, place, rc);
    }
}

// ---- dispatch --------------------------------------------------------------------------------

struct command_place {
    uint64_t term;
    uint64_t handle;
    uint64_t version;
};

static bool command_place(const Pawl__Request *command, struct command_place *ret)
{
    switch (command->body_case) {
    case PAWL__REQUEST__BODY_FENCE:
        *ret = (struct command_place){command->fence->term, command->fence->handle,
                                      command->fence->version};
        return true;
    case PAWL__REQUEST__BODY_LEVEL:
        *ret = (struct command_place){command->level->term, command->level->handle,
                                      command->level->version};
        return true;
    case PAWL__REQUEST__BODY_SEAL:
        *ret = (struct command_place){command->seal->term, command->seal->handle,
                                      command->seal->version};
        return true;
    case PAWL__REQUEST__BODY_OPEN:
        *ret = (struct command_place){command->open->term, command->open->handle,
                                      command->open->version};
        return true;
    case PAWL__REQUEST__BODY_GRANT:
        *ret = (struct command_place){command->grant->term, command->grant->handle,
                                      command->grant->version};
        return true;
    case PAWL__REQUEST__BODY_DROP:
        *ret = (struct command_place){command->drop->term, command->drop->handle,
                                      command->drop->version};
        return true;
    case PAWL__REQUEST__BODY_COPY:
        *ret = (struct command_place){command->copy->term, command->copy->handle,
                                      command->copy->version};
        return true;
    default:
        return false;
    }
}

// A sealed chunk keeps its version when it is dropped and copied here again, so the version does not tell
// an old DROP or COPY. Their order does: of one term, the answers to registrations counted in. What is older
// than what was carried out, or than the inventory that the master goes by, is refused; and as long as it
// has not answered an inventory, all is. So a DROP meets only what the master has taken off its list, and a
// COPY is begun once, by the master that waits for it.
static int order_check(struct chunk_core *core, uint64_t order, bool *ret_again)
{
    *ret_again = false;
    if (PAWL_MUTANT(command_order_ignored) || PAWL_MUTANT(drop_older_taken)) {
        return 0;
    }
    if (!core->registered) {
        return PAWL_EBUSY;
    }
    if (order == 0) {
        return PAWL_EINVALID;
    }
    if (order < core->order) {
        PAWL_MARK(command_of_older_order);
        return PAWL_ESTALE;
    }
    *ret_again = order == core->order;
    core->order = order;
    return 0;
}

static void term_take(struct chunk_core *core, uint64_t term)
{
    core->order = term == core->term ? core->order : 0; // each term counts anew
    core->term = term;
}

void chunk_registered(struct chunk_core *core, uint64_t term, uint64_t order)
{
    if (term >= core->term) {
        term_take(core, term);
        core->order = PAWL_MAX(core->order, order);
        core->registered = true;
    }
}

void chunk_command(struct chunk_core *core, const struct chunk_event *event)
{
    const Pawl__Request *command = event->command;
    struct command_place place;
    int rc = 0;

    pawl_assert(command);
    if (!command_place(command, &place)) {
        rc = PAWL_EPROTOCOL;
    } else if (place.handle == 0 || place.version == 0) {
        rc = PAWL_EINVALID;
    } else if (place.term < core->term && !PAWL_MUTANT(older_term_taken)) {
        PAWL_MARK(command_of_older_term);
        rc = PAWL_ESTALE;
    }
    bool again = false;
    if (rc == 0) {
        term_take(core, place.term);
    }
    if (rc == 0 && command->body_case == PAWL__REQUEST__BODY_DROP) {
        rc = order_check(core, command->drop->order, &again);
    } else if (rc == 0 && command->body_case == PAWL__REQUEST__BODY_COPY) {
        rc = order_check(core, command->copy->order, &again);
    }
    if (rc) {
        chunk_answer_add(core, event->request, rc);
        return;
    }
    switch (command->body_case) {
    case PAWL__REQUEST__BODY_FENCE:
        command_fence(core, command->fence, event->request);
        break;
    case PAWL__REQUEST__BODY_LEVEL:
        chunk_level_begin(core, command->level, event->request);
        break;
    case PAWL__REQUEST__BODY_SEAL:
        command_seal(core, command->seal, event->request);
        break;
    case PAWL__REQUEST__BODY_OPEN:
        command_open(core, command->open, event->request);
        break;
    case PAWL__REQUEST__BODY_GRANT:
        chunk_grant(core, command->grant, event->request);
        break;
    case PAWL__REQUEST__BODY_COPY:
        chunk_copy_begin(core, command->copy, event->request, again);
        break;
    default:
        command_drop(core, command->drop, event->request);
    }
}
