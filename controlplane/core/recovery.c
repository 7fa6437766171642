// SPDX-License-Identifier: Apache-2.0
// The open chunk's machine: grants, fences, levelling, seals (docs/protocol.md, "Recovery = grant").
//
//   WAITING > TABLE > OPENING > GRANTING > GRANTED          a new chunk, see opening.c
//   GRANTED > IDLE > FENCING > (LEVELLING) > GRANTING       all members are equal again
//                                          > sealed         otherwise, or when it is full; without what
//                                                           too few hold when that is sure to be no loss
// Every failure on the way leads back to IDLE with a pause, and from there with a higher version on.
// Nothing waits without a deadline: commands have one, pauses have one, and where nobody is there to
// talk to, the next registration goes on.
#include "base/mark.h"
#include "controlplane/core/master_core_private.h"

static const bool phase_moves[MASTER_PHASES][MASTER_PHASES] = {
    [MASTER_PHASE_WAITING] = {[MASTER_PHASE_TABLE] = true, [MASTER_PHASE_OPENING] = true},
    [MASTER_PHASE_TABLE] = {[MASTER_PHASE_WAITING] = true},
    [MASTER_PHASE_OPENING] = {[MASTER_PHASE_WAITING] = true, [MASTER_PHASE_GRANTING] = true},
    [MASTER_PHASE_IDLE] = {[MASTER_PHASE_FENCING] = true, [MASTER_PHASE_GRANTED] = true},
    [MASTER_PHASE_FENCING] = {[MASTER_PHASE_IDLE] = true,
                              [MASTER_PHASE_LEVELLING] = true,
                              [MASTER_PHASE_GRANTING] = true},
    [MASTER_PHASE_LEVELLING] = {[MASTER_PHASE_IDLE] = true, [MASTER_PHASE_GRANTING] = true},
    [MASTER_PHASE_GRANTING] = {[MASTER_PHASE_IDLE] = true, [MASTER_PHASE_GRANTED] = true},
    [MASTER_PHASE_GRANTED] = {[MASTER_PHASE_IDLE] = true},
};

static bool phase_has_primary(enum master_phase phase)
{
    return phase == MASTER_PHASE_GRANTING || phase == MASTER_PHASE_GRANTED;
}

void master_chunk_move(struct master_core *core, struct master_chunk *chunk, enum master_phase to)
{
    struct master_work *work = chunk->work;
    enum master_phase from = work->phase;
    pawl_assert(phase_moves[from][to]);
    // Only a chunk whose replicas all hold the producer table is ever fenced or granted.
    pawl_assert(chunk->ready == (to >= MASTER_PHASE_IDLE));
    pawl_assert(!phase_has_primary(to) || master_chunk_member_index(chunk, work->primary_id) >= 0);
    if (phase_has_primary(from) != phase_has_primary(to)) {
        struct master_server *primary = master_server_get(core, work->primary_id);
        primary->primaries_count += phase_has_primary(to) ? 1 : UINT32_MAX;
    }
    work->phase = to;
    core->moved = true;
}

void master_chunk_reset_members(struct master_work *work)
{
    memset(work->members, 0, sizeof(work->members));
}

void master_chunk_backoff(struct master_core *core, struct master_work *work)
{
    work->backoff_ms = work->backoff_ms == 0
                           ? MASTER_BACKOFF_MIN_MS
                           : PAWL_MIN(work->backoff_ms * 2, MASTER_BACKOFF_MAX_MS);
    work->retry_ns = core->now_ns + master_ms_to_ns(work->backoff_ms);
}

// Back to IDLE, to begin again: at once, or after a pause.
void master_chunk_again(struct master_core *core, struct master_chunk *chunk, bool at_once)
{
    struct master_work *work = chunk->work;
    master_chunk_reset_members(work);
    work->wanted = true;
    master_chunk_move(core, chunk, MASTER_PHASE_IDLE);
    if (at_once) {
        work->retry_ns = 0;
    } else {
        master_chunk_backoff(core, work);
    }
}

void master_chunk_want(struct master_core *core, struct master_chunk *chunk,
                       enum master_cause cause, uint64_t server_id)
{
    struct master_work *work = chunk->work;
    if (!chunk->ready || !work) {
        return;
    }
    bool fresh =
        work->phase == MASTER_PHASE_GRANTED || (work->phase == MASTER_PHASE_IDLE && !work->wanted);
    if (fresh) {
        work->cause = cause;
        work->cause_server = server_id;
        work->want_seal = cause == MASTER_CAUSE_FULL || cause == MASTER_CAUSE_HEAL;
        work->backoff_ms = 0;
        if (work->phase == MASTER_PHASE_GRANTED) {
            master_chunk_again(core, chunk, true);
        }
        work->wanted = true;
    }
    master_chunk_drive(core, chunk);
}

// ---- IDLE > FENCING ------------------------------------------------------------------------------

static const char *cause_text(struct master_core *core, const struct master_work *work)
{
    const struct master_server *server = master_server_get(core, work->cause_server);
    const char *name = server ? server->name : "of its set";
    switch (work->cause) {
    case MASTER_CAUSE_LOST:
        return master_arena_printf(core, "server %s lost", name);
    case MASTER_CAUSE_BROKEN:
        return master_arena_printf(core, "its primary can't reach server %s", name);
    case MASTER_CAUSE_HINT:
        return master_arena_printf(core, "a client can't append at server %s", name);
    case MASTER_CAUSE_DAMAGED:
        return master_arena_printf(core, "replica on server %s is damaged", name);
    default:
        return "nobody holds a lease";
    }
}

void master_chunk_fence(struct master_core *core, struct master_chunk *chunk, uint32_t index)
{
    struct master_server *server = master_chunk_member(core, chunk, index);
    struct master_member *member = &chunk->work->members[index];
    if (!server->conn) {
        return;
    }
    Pawl__Request *request = MASTER_MESSAGE(core, Pawl__Request, pawl__request__init);
    request->body_case = PAWL__REQUEST__BODY_FENCE;
    request->fence = MASTER_MESSAGE(core, Pawl__Fence, pawl__fence__init);
    request->fence->term = core->term;
    request->fence->handle = chunk->handle;
    request->fence->version = chunk->version;
    *member = (struct master_member){.step = MASTER_STEP_ASKED};
    member->token =
        master_command(core, server, MASTER_COMMAND_FENCE, request, core->options.command_ms);
}

// The new version is in the log before anybody hears of it: master_log() comes first.
static void recovery_begin(struct master_core *core, struct master_chunk *chunk)
{
    struct master_work *work = chunk->work;
    bool failure = work->cause != MASTER_CAUSE_FULL && work->cause != MASTER_CAUSE_HEAL;
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_CHUNK_VERSION);
    record->chunk_version =
        MASTER_MESSAGE(core, Pawl__LogChunkVersion, pawl__log_chunk_version__init);
    record->chunk_version->handle = chunk->handle;
    record->chunk_version->version = chunk->version + 1;
    record->chunk_version->set = master_arena_ids(core, chunk->set, chunk->set_count);
    record->chunk_version->n_set = chunk->set_count;
    record->chunk_version->failure = failure && !work->counted;
    if (!PAWL_MUTANT(version_not_raised)) {
        master_log(core, record);
    }
    if (failure) {
        master_note(core, MASTER_LEVEL_INFO, "chunk %lu version %lu recovery begins: %s",
                    chunk->handle, chunk->version, cause_text(core, work));
        work->counted = true;
    } else {
        master_note(core, MASTER_LEVEL_DEBUG, "chunk %lu version %lu is fenced to be sealed",
                    chunk->handle, chunk->version);
    }
    work->wanted = false;
    work->blocked = false;
    master_chunk_reset_members(work);
    master_chunk_move(core, chunk, MASTER_PHASE_FENCING);
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        master_chunk_fence(core, chunk, i);
    }
}

uint32_t master_chunk_connected_count(const struct master_core *core,
                                      const struct master_chunk *chunk)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        count += master_chunk_member(core, chunk, i)->conn != 0;
    }
    return count;
}

static bool idle_drive(struct master_core *core, struct master_chunk *chunk)
{
    struct master_work *work = chunk->work;
    uint32_t count = master_chunk_connected_count(core, chunk);
    if (!work->wanted || count == 0 || core->now_ns < work->retry_ns) {
        return false;
    }
    // A server that is just coming back, like its neighbours, need not be sealed out of its set.
    uint64_t grace_ns = PAWL_MAX(core->grace_ns, work->grace_ns);
    if (count < chunk->set_count && core->now_ns < grace_ns) {
        PAWL_MARK(recovery_waits_for_neighbours);
        return false;
    }
    recovery_begin(core, chunk);
    return true;
}

// ---- FENCING -------------------------------------------------------------------------------------

static bool member_is_damaged(const struct master_core *core, const struct master_chunk *chunk,
                              uint32_t index)
{
    const struct master_replica *replica =
        master_replica_find(chunk, master_chunk_member(core, chunk, index));
    return replica && replica->damaged;
}

// Who has not answered and is believed alive is waited for; while nobody has answered, everybody.
static bool fence_is_pending(const struct master_core *core, const struct master_chunk *chunk)
{
    uint32_t answered = 0;
    uint32_t asked = 0;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        const struct master_member *member = &chunk->work->members[i];
        answered += member->step == MASTER_STEP_DONE;
        if (member->step == MASTER_STEP_ASKED) {
            asked++;
            bool live = master_server_is_live(master_chunk_member(core, chunk, i));
            if (live && !PAWL_MUTANT(alive_not_awaited)) {
                return true;
            }
        }
    }
    return answered == 0 && asked > 0;
}

// The member with the longest log. -1: nobody has answered.
static int longest_member(const struct master_core *core, const struct master_chunk *chunk,
                          bool with_damaged)
{
    int longest = -1;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        const struct master_member *member = &chunk->work->members[i];
        if (member->step == MASTER_STEP_DONE &&
            (with_damaged || !member_is_damaged(core, chunk, i)) &&
            (longest < 0 ||
             (member->count > chunk->work->members[longest].count) != PAWL_MUTANT(shortest_wins))) {
            longest = (int)i;
        }
    }
    return longest;
}

// Logs are prefixes of each other: equal counts with unequal lengths are damage, not a race.
static bool lengths_agree(const struct master_core *core, const struct master_chunk *chunk,
                          int longest, bool with_damaged)
{
    const struct master_member *source = &chunk->work->members[longest];
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        const struct master_member *member = &chunk->work->members[i];
        if (member->step != MASTER_STEP_DONE ||
            (!with_damaged && member_is_damaged(core, chunk, i))) {
            continue;
        }
        bool wrong = member->count == source->count  ? member->length != source->length
                     : member->count < source->count ? member->length > source->length
                                                     : false;
        if (wrong) {
            return false;
        }
    }
    return true;
}

// Never settles below what somebody knows to be committed: waits for somebody who has it.
static void recovery_block(struct master_core *core, struct master_chunk *chunk, const char *why)
{
    PAWL_MARK(recovery_blocked);
    struct master_work *work = chunk->work;
    uint32_t answered = 0;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        answered += work->members[i].step == MASTER_STEP_DONE;
    }
    master_note(core, MASTER_LEVEL_ERROR,
                "chunk %lu version %lu is damaged: %s; recovery waits for other replicas (%u of %u "
                "answered)",
                chunk->handle, chunk->version, why, answered, chunk->set_count);
    master_chunk_again(core, chunk, false);
    work->blocked = true;
    work->all_heard = answered == chunk->set_count;
    work->retry_ns = core->now_ns + master_ms_to_ns(MASTER_BLOCKED_MS);
}

static void level_send(struct master_core *core, struct master_chunk *chunk, uint32_t index,
                       const struct master_server *source)
{
    struct master_server *server = master_chunk_member(core, chunk, index);
    struct master_member *member = &chunk->work->members[index];
    if (!server->conn) {
        member->step = MASTER_STEP_FAILED;
        return;
    }
    Pawl__Request *request = MASTER_MESSAGE(core, Pawl__Request, pawl__request__init);
    request->body_case = PAWL__REQUEST__BODY_LEVEL;
    request->level = MASTER_MESSAGE(core, Pawl__Level, pawl__level__init);
    request->level->term = core->term;
    request->level->handle = chunk->handle;
    request->level->version = chunk->version;
    request->level->count = chunk->work->target_count;
    request->level->source = master_member_message(core, source);
    member->step = MASTER_STEP_ASKED;
    member->token = master_command(core, server, MASTER_COMMAND_LEVEL, request,
                                   core->options.command_ms * MASTER_LEVEL_FACTOR);
}

// The longest log wins. Damaged replicas neither lead nor stay, as long as a sound one holds all
// that is known to be committed: they would only pass their damage on.
static bool fencing_decide(struct master_core *core, struct master_chunk *chunk)
{
    struct master_work *work = chunk->work;
    uint64_t committed = work->commit_heard;
    bool with_damaged = false;
    int longest = longest_member(core, chunk, false);
    if (longest < 0 || work->members[longest].count < committed) {
        PAWL_MARK(recovery_with_damaged);
        with_damaged = true;
        longest = longest_member(core, chunk, true);
    }
    if (longest < 0) {
        PAWL_MARK(recovery_without_answers);
        master_note(core, MASTER_LEVEL_WARN,
                    "chunk %lu version %lu recovery waits: no replica of its set answers",
                    chunk->handle, chunk->version);
        master_chunk_again(core, chunk, false);
        return true;
    }
    if (work->members[longest].count < committed && !PAWL_MUTANT(commit_heard_ignored) &&
        !PAWL_MUTANT(alive_not_awaited)) {
        recovery_block(core, chunk, "a replica knows of more committed records than any holds");
        return true;
    }
    if (!lengths_agree(core, chunk, longest, with_damaged)) {
        recovery_block(core, chunk, "replicas with the same records differ in length");
        return true;
    }
    const struct master_server *source = master_chunk_member(core, chunk, (uint32_t)longest);
    work->target_count = work->members[longest].count;
    work->target_length = work->members[longest].length;
    work->source_id = source->id;
    master_chunk_move(core, chunk, MASTER_PHASE_LEVELLING);
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        struct master_member *member = &work->members[i];
        bool candidate = member->step == MASTER_STEP_DONE &&
                         (with_damaged || !member_is_damaged(core, chunk, i));
        if (member->step == MASTER_STEP_ASKED) {
            PAWL_MARK(recovery_leaves_one_behind);
            member->step = MASTER_STEP_FAILED; // its answer to the fence comes too late
            member->token = 0;
        }
        member->level = candidate && member->count == work->target_count;
        if (candidate && member->count < work->target_count) {
            PAWL_MARK(recovery_levels);
            level_send(core, chunk, i, source);
        }
    }
    return true;
}

// ---- LEVELLING > GRANTING or sealed --------------------------------------------------------------

// A re-grant that brings no record again and again means that members can't reach each other, though
// the master reaches all of them: then the next chunk goes elsewhere.
static bool regrants_are_vain(const struct master_work *work)
{
    bool about_reach = work->cause == MASTER_CAUSE_BROKEN || work->cause == MASTER_CAUSE_HINT;
    uint32_t allowed = work->cause == MASTER_CAUSE_BROKEN ? 1 : MASTER_SET_MAX;
    return about_reach && work->regrants >= allowed && work->granted_count == work->target_count;
}

// Who is connected and failed at the fence or at levelling is cut off from its neighbours, or its disk
// is full or hangs: with it in the next set, the next chunk would only wait for the same deadlines again.
static void avoid_failed(struct master_core *core, const struct master_chunk *chunk)
{
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        struct master_server *server = master_chunk_member(core, chunk, i);
        if (server->conn && chunk->work->members[i].step == MASTER_STEP_FAILED) {
            server->avoid_ns = core->now_ns + master_ms_to_ns(MASTER_AVOID_MS);
        }
    }
}

static uint32_t level_members(const struct master_chunk *chunk, uint64_t set[MASTER_SET_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        if (chunk->work->members[i].level || PAWL_MUTANT(sealed_set_not_level)) {
            set[count++] = chunk->set[i];
        }
    }
    return count;
}

static char *set_text(struct master_core *core, const uint64_t *set, uint32_t count)
{
    char text[MASTER_SET_MAX * (MASTER_SERVER_NAME_MAX + 1) + 1];
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        const char *name = master_server_get(core, set[i])->name;
        size_t bytes = strlen(name);
        text[at++] = ' ';
        memcpy(text + at, name, bytes);
        at += bytes;
    }
    text[at] = '\0';
    return master_arena_text(core, text);
}

// Planted: the successor is created by a record of its own, before its predecessor is sealed.
static void successor_create(struct master_core *core, const struct master_chunk *chunk,
                             Pawl__LogChunkSeal *seal)
{
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_CHUNK_CREATE);
    record->chunk_create = MASTER_MESSAGE(core, Pawl__LogChunkCreate, pawl__log_chunk_create__init);
    record->chunk_create->file_id = chunk->file->id;
    record->chunk_create->handle = seal->next_handle;
    record->chunk_create->set = seal->next_set;
    record->chunk_create->n_set = seal->n_next_set;
    seal->next_handle = 0;
    master_log(core, record);
}

// One record seals N and creates N+1 with its base offset: there is never a second unsealed chunk,
// and never none.
static void recovery_seal(struct master_core *core, struct master_chunk *chunk)
{
    struct master_work *work = chunk->work;
    struct master_inode *file = chunk->file;
    avoid_failed(core, chunk);
    if (regrants_are_vain(work)) {
        PAWL_MARK(regrants_in_vain);
        struct master_server *blamed = master_server_get(core, work->cause_server);
        if (blamed) {
            blamed->avoid_ns = core->now_ns + master_ms_to_ns(MASTER_AVOID_MS);
        }
    }
    uint64_t next_set[MASTER_SET_MAX];
    uint32_t next_count = 0;
    if (master_place(core, file, next_set, &next_count)) {
        PAWL_MARK(next_chunk_waits_for_servers);
        next_count = 0; // it waits for servers
    }
    uint64_t set[MASTER_SET_MAX];
    uint32_t set_count = level_members(chunk, set);
    if (set_count < chunk->set_count) {
        PAWL_MARK(sealed_with_smaller_set);
    }
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_CHUNK_SEAL);
    Pawl__LogChunkSeal *seal = MASTER_MESSAGE(core, Pawl__LogChunkSeal, pawl__log_chunk_seal__init);
    record->chunk_seal = seal;
    seal->handle = chunk->handle;
    seal->version = chunk->version;
    seal->length = work->target_length;
    seal->count = work->target_count;
    seal->set = master_arena_ids(core, set, set_count);
    seal->n_set = set_count;
    seal->next_handle = core->next_handle;
    seal->next_set = master_arena_ids(core, next_set, next_count);
    seal->n_next_set = next_count;
    seal->next_zero_bytes =
        master_extend_zero_bytes(file, chunk->base_offset + work->target_length);
    if (PAWL_MUTANT(successor_first)) {
        successor_create(core, chunk, seal);
    }
    master_log(core, record); // frees chunk->work
    if (core->failed) {
        return;
    }
    master_place_reserve(core, next_set, next_count, file->chunk_bytes);
    master_note(core, MASTER_LEVEL_INFO, "chunk %lu sealed length %lu count %lu set%s",
                chunk->handle, chunk->length, chunk->count,
                set_text(core, chunk->set, chunk->set_count));
    master_chunk_wake(core, master_file_tail(file));
}

void master_chunk_seal_zeros(struct master_core *core, struct master_chunk *chunk)
{
    struct master_work *work = chunk->work;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        work->members[i].level = true;
    }
    work->target_count = 0;
    work->target_length = chunk->zero_bytes;
    recovery_seal(core, chunk);
}

// An empty chunk is as good as the next one: sealing it on a client's word would let that client make
// chunks without end. Zeros can't stand behind it, though, and what is written to can't be copied beside it.
static bool seal_is_wanted(const struct master_chunk *chunk)
{
    const struct master_work *work = chunk->work;
    uint64_t end = chunk->base_offset + work->target_length;
    return chunk->zero_bytes != 0 ||
           (work->want_seal &&
            (work->target_count > 0 || (chunk->file->written && work->cause == MASTER_CAUSE_HEAL) ||
             master_extend_zero_bytes(chunk->file, end) > 0));
}

// What may have been acknowledged: committed by somebody's word, or of the level for which memory is enough.
// The members may have lost the latter in a crash, all but one.
static uint64_t acknowledged_floor(const struct master_chunk *chunk)
{
    uint64_t count = chunk->work->commit_heard;
    for (uint32_t i = 0; i < chunk->set_count && !PAWL_MUTANT(replicated_settled_lower); i++) {
        count = PAWL_MAX(count, chunk->work->members[i].replicated_count);
    }
    return count;
}

// Fewer than the file's minimum have got level. What only they hold was never acknowledged when every member
// has answered the fence, as what is committed is in each of their logs; a retry would be answered from too
// few replicas. So the chunk ends with what enough members held when they answered, never below what
// may have been acknowledged. As long as one has not answered, or is damaged, nothing is left out.
static bool settle_lower(struct master_core *core, struct master_chunk *chunk)
{
    struct master_work *work = chunk->work;
    const struct master_member *best = NULL;
    uint64_t floor = acknowledged_floor(chunk);
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        const struct master_member *member = &work->members[i];
        uint32_t holders = 0;
        if (!member->fenced || member_is_damaged(core, chunk, i)) {
            return false;
        }
        for (uint32_t j = 0; j < chunk->set_count; j++) {
            const struct master_member *other = &work->members[j];
            if (other->count == member->count && other->length != member->length) {
                return false;
            }
            holders += other->count >= member->count;
        }
        bool enough = holders >= chunk->file->min_replicas && member->count >= floor;
        best = enough && (!best || member->count > best->count) ? member : best;
    }
    if (!best) {
        return false;
    }
    PAWL_MARK(recovery_settles_lower);
    master_note(core, MASTER_LEVEL_WARN,
                "chunk %lu version %lu ends with %lu of %lu records: the others were never "
                "acknowledged, and too few servers hold them",
                chunk->handle, chunk->version, best->count, work->target_count);
    work->target_count = best->count;
    work->target_length = best->length;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        work->members[i].level = work->members[i].count >= work->target_count;
    }
    return true;
}

static bool levelling_drive(struct master_core *core, struct master_chunk *chunk)
{
    struct master_work *work = chunk->work;
    uint32_t level_count = 0;
    uint32_t dead_count = 0;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        if (work->members[i].step == MASTER_STEP_ASKED) {
            return false;
        }
        level_count += work->members[i].level;
        dead_count += master_chunk_member(core, chunk, i)->state == MASTER_SERVER_DEAD;
    }
    pawl_assert(level_count > 0); // the source is level with itself
    // One that sends no heartbeats may answer all the same: a grant to such a set would be ended at
    // once, for ever.
    bool level = level_count == chunk->set_count || PAWL_MUTANT(grant_not_level);
    bool few = level_count < chunk->file->min_replicas && !PAWL_MUTANT(few_hold_settled);
    bool lower = few && settle_lower(core, chunk);
    bool equal = level && !lower && dead_count == 0;
    if (equal && !seal_is_wanted(chunk) && !regrants_are_vain(work)) {
        PAWL_MARK(granted_to_same_set);
        master_chunk_grant(core, chunk);
        return true;
    }
    recovery_seal(core, chunk);
    return false; // sealed: chunk->work is gone
}

// ---- the machine ---------------------------------------------------------------------------------

// One step; true: look again. *ret_waits: time alone may change something.
static bool drive_once(struct master_core *core, struct master_chunk *chunk, bool *ret_waits)
{
    *ret_waits = true;
    switch (chunk->work->phase) {
    case MASTER_PHASE_WAITING:
    case MASTER_PHASE_TABLE:
    case MASTER_PHASE_OPENING:
        return master_opening_drive(core, chunk);
    case MASTER_PHASE_IDLE:
        *ret_waits = chunk->work->wanted && master_chunk_connected_count(core, chunk) > 0;
        return idle_drive(core, chunk);
    case MASTER_PHASE_FENCING:
        return !fence_is_pending(core, chunk) && fencing_decide(core, chunk);
    case MASTER_PHASE_LEVELLING:
        return levelling_drive(core, chunk);
    case MASTER_PHASE_GRANTING:
        return master_granting_drive(core, chunk);
    default:
        *ret_waits = false;
        return master_granted_drive(core, chunk, ret_waits);
    }
}

void master_chunk_drive(struct master_core *core, struct master_chunk *chunk)
{
    bool waits = true;
    bool was_open = chunk->work != NULL;
    uint32_t rounds = 0;
    while (!core->failed && chunk->work && drive_once(core, chunk, &waits)) {
        pawl_assert(++rounds < 32);
    }
    if (core->failed) {
        return;
    }
    if (chunk->sealed) {
        waits = master_sealing_push(core, chunk);
        master_healing_look(core, chunk);
        if (was_open && chunk->file->written) {
            master_healing_pump(core); // before the next one opens
        }
        if (was_open) {
            // Its successor has just been created; it is not ready, so this goes no deeper.
            master_chunk_drive(core, master_file_tail(chunk->file));
        }
    }
    if (waits) {
        master_chunk_wake(core, chunk);
    } else {
        pawl_list_remove(&chunk->active_node);
    }
}
