// SPDX-License-Identifier: Apache-2.0
// Facts about open chunks, as they come in: answers to commands, members that go and come. Each is
// noted with its member; master_chunk_drive() sees what follows from it.
#include "base/mark.h"
#include "controlplane/core/master_core_private.h"

static bool fenced_is_sound(const struct master_chunk *chunk, const Pawl__Fenced *fenced)
{
    return fenced->handle == chunk->handle && fenced->version == chunk->version &&
           fenced->length <= chunk->file->chunk_bytes && !fenced->sealed;
}

static void fence_answered(struct master_core *core, struct master_chunk *chunk, uint32_t index,
                           const Pawl__Reply *reply)
{
    struct master_member *member = &chunk->work->members[index];
    struct master_server *server = master_chunk_member(core, chunk, index);
    const Pawl__Fenced *fenced =
        reply && reply->body_case == PAWL__REPLY__BODY_FENCED ? reply->fenced : NULL;
    if (!fenced || !fenced_is_sound(chunk, fenced)) {
        master_note(core, MASTER_LEVEL_WARN,
                    "chunk %lu version %lu fence: no use in the answer of server %s", chunk->handle,
                    chunk->version, server->name);
        member->step = MASTER_STEP_FAILED;
        return;
    }
    member->step = MASTER_STEP_DONE;
    member->fenced = true;
    member->count = fenced->count;
    member->length = fenced->length;
    member->replicated_count = PAWL_MIN(fenced->replicated_count, fenced->count);
    // A replica may know of more committed records than it holds: then it has lost some.
    chunk->work->commit_heard = PAWL_MAX(chunk->work->commit_heard, fenced->commit_count);
    struct master_replica *replica = master_replica_add(core, chunk, server);
    if (replica) {
        replica->version = fenced->version;
        replica->count = fenced->count;
        replica->length = fenced->length;
    }
}

static void level_answered(struct master_core *core, struct master_chunk *chunk, uint32_t index,
                           const Pawl__Reply *reply)
{
    struct master_work *work = chunk->work;
    struct master_member *member = &work->members[index];
    const Pawl__Levelled *levelled =
        reply && reply->body_case == PAWL__REPLY__BODY_LEVELLED ? reply->levelled : NULL;
    member->level = levelled && levelled->handle == chunk->handle &&
                    levelled->version == chunk->version && levelled->count == work->target_count &&
                    levelled->length == work->target_length;
    member->step = member->level ? MASTER_STEP_DONE : MASTER_STEP_FAILED;
    struct master_replica *replica =
        master_replica_find(chunk, master_chunk_member(core, chunk, index));
    if (member->level && replica) {
        replica->count = levelled->count;
        replica->length = levelled->length;
    }
}

// The source's bytes are bad: it must not lead, so the fences are asked again without it.
static void level_found_damage(struct master_core *core, struct master_chunk *chunk)
{
    struct master_server *source = master_server_get(core, chunk->work->source_id);
    struct master_replica *replica = master_replica_find(chunk, source);
    if (replica && !replica->damaged) {
        master_replica_damaged(core, chunk, source);
        master_chunk_again(core, chunk, true);
    }
}

void master_chunk_answered(struct master_core *core, struct master_chunk *chunk,
                           const struct master_command *command, int status,
                           const Pawl__Reply *reply)
{
    int index = master_chunk_member_index(chunk, command->server->id);
    struct master_work *work = chunk->work;
    if (!work || index < 0 || work->members[index].token != command->token) {
        PAWL_MARK(answer_of_phase_that_is_over);
        return; // of a phase that is over
    }
    struct master_member *member = &work->members[index];
    int code = status ? status : reply ? reply->code : PAWL_EPROTOCOL;
    if (PAWL_MUTANT(empty_replica_answers) && code == PAWL_ENOCHUNK &&
        command->kind == MASTER_COMMAND_FENCE) {
        member->step = MASTER_STEP_DONE; // with no record
        code = 0;
    }
    member->token = 0;
    member->refused = status == 0 && code != 0;
    if (code != 0) {
        member->step = MASTER_STEP_FAILED;
        master_note(core, MASTER_LEVEL_WARN, "chunk %lu version %lu server %s failed a command: %s",
                    chunk->handle, chunk->version, command->server->name, pawl_strerror(code));
        if (command->kind == MASTER_COMMAND_LEVEL && code == PAWL_ECORRUPT) {
            level_found_damage(core, chunk);
        }
    } else if (command->kind == MASTER_COMMAND_FENCE && member->step != MASTER_STEP_DONE) {
        fence_answered(core, chunk, (uint32_t)index, reply);
    } else if (command->kind == MASTER_COMMAND_LEVEL) {
        level_answered(core, chunk, (uint32_t)index, reply);
    } else {
        member->step = MASTER_STEP_DONE;
    }
    master_chunk_drive(core, chunk);
}

void master_chunk_member_lost(struct master_core *core, struct master_chunk *chunk,
                              struct master_server *server)
{
    struct master_work *work = chunk->work;
    struct master_member *member = &work->members[master_chunk_member_index(chunk, server->id)];
    bool took_part = member->step != MASTER_STEP_NONE && member->step != MASTER_STEP_FAILED;
    if (!server->conn && member->step == MASTER_STEP_ASKED) {
        member->step = MASTER_STEP_FAILED;
        member->token = 0;
    }
    // Its part in a levelling or a grant under way is void, whatever it had answered: begin anew.
    bool anew =
        work->phase == MASTER_PHASE_LEVELLING ? took_part : work->phase == MASTER_PHASE_GRANTING;
    if (!server->conn && anew) {
        PAWL_MARK(recovery_loses_member);
        work->cause = MASTER_CAUSE_LOST;
        work->cause_server = server->id;
        master_chunk_again(core, chunk, true);
    }
    master_chunk_drive(core, chunk);
}

void master_chunk_member_here(struct master_core *core, struct master_chunk *chunk,
                              struct master_server *server)
{
    struct master_work *work = chunk->work;
    uint32_t index = (uint32_t)master_chunk_member_index(chunk, server->id);
    switch (work->phase) {
    case MASTER_PHASE_FENCING:
        if (work->members[index].step != MASTER_STEP_DONE) {
            PAWL_MARK(fence_of_late_member);
            master_chunk_fence(core, chunk, index);
        }
        break;
    case MASTER_PHASE_OPENING:
        if (work->members[index].step != MASTER_STEP_DONE) {
            PAWL_MARK(open_of_late_member);
            master_opening_ask(core, chunk, index);
        }
        break;
    case MASTER_PHASE_IDLE:
        // The first one back after all were gone: the others may be a moment behind it.
        if (master_chunk_connected_count(core, chunk) == 1) {
            work->grace_ns = core->now_ns + master_ms_to_ns(core->options.suspect_ms);
        }
        work->retry_ns = 0;
        break;
    default:
        work->retry_ns = 0;
        break;
    }
    master_chunk_drive(core, chunk);
}
