// SPDX-License-Identifier: Apache-2.0
// Healing: every sealed chunk has as many good replicas as its file wants, and no others.
//
//   too few, a server can take one    COPY to it from a good replica, most endangered chunk first
//   too many for a while              the surplus one is dropped
//   stale, damaged                    dropped, when there are enough good ones or its server is needed
//   open, on fewer servers than could be, with records    sealed, and healed as a sealed chunk
//
// A chunk of a write log is of use only where the chunk that it is about is good too: only there it is
// copied to and counted, and elsewhere it goes. Of a chunk that has a write log no copy is made under a
// write lease: the log's open chunk is sealed first, and the next one is not opened before the copy ends.
//
// Good is a replica that its server reported in its present registration as sealed and undamaged. What
// is sealed never changes, so the version that it was sealed under says nothing about it. A copy counts
// when its target has said that its seal is durable and the chunk's version is still the one that the
// copy began with: every grant and fence raises it, and cancels the copy.
//
// A replica that may still come back counts for what is copied (its server is not dead), never for what
// is dropped. Nothing is dropped while no good replica is left on a live server, and of good ones only
// what is beyond the count. Where nothing can be done the chunk waits in its list; a change of servers
// looks at all chunks once more.
#include "controlplane/core/master_core_private.h"

#define HEAL_COPIES_MAX 2u      // under way from one server, and to one server
#define HEAL_LOOKS_MAX 128u     // chunks of a level, and open ones, that one tick tries
#define HEAL_PATIENCE_MS 10000u // a copy that comes no further in this time is given up
#define HEAL_AVOID_MS 5000u     // a target that failed is not chosen so long, if there is a choice
#define HEAL_OPEN_PAUSE_MS 30000u  // between two seals of one file for this reason
#define HEAL_DROPS_BATCH_MAX 1024u // surplus chunks of a tick

struct census {
    uint32_t sources;  // on live servers
    uint32_t good;     // of these, those that are of use where they are
    uint32_t expected; // those, and what is about to be sealed or may come back
};

static bool replica_is_sound(const struct master_chunk *chunk, const struct master_replica *replica)
{
    return master_replica_is_valid(replica) && !replica->damaged && !replica->stale &&
           !replica->refused && replica->count >= chunk->count;
}

static bool replica_is_good(const struct master_chunk *chunk, const struct master_replica *replica)
{
    return replica_is_sound(chunk, replica) && replica->sealed &&
           master_server_is_live(replica->server);
}

static bool server_is_apt(const struct master_chunk *chunk, const struct master_server *server)
{
    const struct master_chunk *written = chunk->file->written;
    const struct master_replica *base = written ? master_replica_find(written, server) : NULL;
    return !written || (base && replica_is_sound(written, base));
}

static struct census take_census(const struct master_chunk *chunk)
{
    struct census census = {0};
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        const struct master_replica *replica = &chunk->replicas[i];
        if (!replica_is_sound(chunk, replica)) {
            continue;
        }
        bool apt = server_is_apt(chunk, replica->server);
        bool good = replica_is_good(chunk, replica);
        census.sources += good;
        census.good += good && apt;
        census.expected += apt && replica->server->state != MASTER_SERVER_DEAD;
    }
    return census;
}

// ---- dropping ------------------------------------------------------------------------------------

static void replica_drop(struct master_core *core, struct master_chunk *chunk,
                         struct master_replica *replica, const char *why)
{
    struct master_server *server = replica->server;
    uint64_t version = PAWL_MAX(chunk->version, replica->version);
    master_note(core, MASTER_LEVEL_INFO, "chunk %lu replica on server %s dropped: %s",
                chunk->handle, server->name, why);
    master_replica_remove(chunk, server);
    master_server_drop(core, server, chunk->handle, version);
}

static bool replica_may_go(const struct master_replica *replica)
{
    return master_replica_is_valid(replica) && replica->server->conn != 0 && !replica->seal_token;
}

// Up to `count` of those that nobody can use; there is a good one besides.
static uint32_t drop_bad(struct master_core *core, struct master_chunk *chunk, uint32_t count)
{
    uint32_t dropped = 0;
    for (uint32_t i = chunk->replicas_count; i-- > 0 && dropped < count;) {
        struct master_replica *replica = &chunk->replicas[i];
        if (replica_may_go(replica) && (replica->damaged || replica->stale)) {
            replica_drop(core, chunk, replica, replica->stale ? "stale" : "damaged");
            dropped++;
        }
    }
    return dropped;
}

// A part of a write log where the chunk is not that it is about. It is whole, and so a source; there are
// enough others.
static void drop_inapt(struct master_core *core, struct master_chunk *chunk)
{
    for (uint32_t i = chunk->replicas_count; i-- > 0;) {
        struct master_replica *replica = &chunk->replicas[i];
        if (replica_may_go(replica) && !server_is_apt(chunk, replica->server)) {
            replica_drop(core, chunk, replica, "what it is about is not here");
        }
    }
}

static bool location_is_shared(const struct master_chunk *chunk, const struct master_server *server)
{
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        const struct master_replica *replica = &chunk->replicas[i];
        if (replica->server != server && replica_is_good(chunk, replica) &&
            strcmp(replica->server->location, server->location) == 0) {
            return true;
        }
    }
    return false;
}

static bool log_is_open_on(const struct master_chunk *chunk, const struct master_server *server)
{
    const struct master_chunk *tail = chunk->log ? master_file_tail(chunk->log) : NULL;
    return tail && !tail->sealed && tail->ready && master_chunk_member_index(tail, server->id) >= 0;
}

// One that lacks a part of the write log first, then one whose location has another, then the fullest
// server's. None of a server that takes writes to it now.
static struct master_replica *choose_surplus(struct master_core *core, struct master_chunk *chunk)
{
    struct master_replica *best = NULL;
    uint64_t best_lot = 0;
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        struct master_replica *replica = &chunk->replicas[i];
        if (!replica_is_good(chunk, replica) || replica->seal_token ||
            log_is_open_on(chunk, replica->server)) {
            continue;
        }
        uint64_t lot = (uint64_t)!master_log_is_held(chunk, replica->server) << 61 |
                       (uint64_t)location_is_shared(chunk, replica->server) << 60 |
                       (uint64_t)replica->server->chunks_count << 20 |
                       pawl_random_below(&core->random, 1u << 20);
        if (!best || lot > best_lot) {
            best = replica;
            best_lot = lot;
        }
    }
    return best;
}

static void drop_surplus(struct master_core *core, struct master_chunk *chunk)
{
    uint32_t keep = PAWL_MUTANT(last_copy_dropped) ? 0 : chunk->file->replicas;
    while (!chunk->copy && take_census(chunk).good > keep) {
        struct master_replica *replica = choose_surplus(core, chunk);
        if (!replica) {
            break;
        }
        replica_drop(core, chunk, replica, "more than its file wants");
    }
}

// ---- what a chunk needs --------------------------------------------------------------------------

static void chunk_look(struct master_core *core, struct master_chunk *chunk)
{
    struct census census = take_census(chunk);
    if (census.good >= chunk->file->replicas) {
        drop_bad(core, chunk, MASTER_REPLICAS_MAX);
        drop_inapt(core, chunk);
    }
    // Surplus parts of a write log go with surplus replicas of what was written.
    if (census.good > chunk->file->replicas && !chunk->file->written) {
        if (chunk->surplus_ns == 0) {
            chunk->surplus_ns = core->now_ns + master_ms_to_ns(core->options.surplus_ms);
            pawl_list_remove(&chunk->heal_node);
            pawl_list_push_back(&core->heal_surplus, &chunk->heal_node);
        }
        return;
    }
    chunk->surplus_ns = 0;
    pawl_list_remove(&chunk->heal_node);
    if (census.sources > 0 && census.expected < chunk->file->replicas && !chunk->copy) {
        pawl_list_push_back(&core->heal_short[PAWL_MIN(census.good, MASTER_SET_MAX)],
                            &chunk->heal_node);
    }
}

void master_healing_look(struct master_core *core, struct master_chunk *chunk)
{
    if (!core->started || core->failed || !chunk->sealed) {
        return;
    }
    chunk_look(core, chunk);
    for (uint32_t i = 0; chunk->log && i < chunk->log->chunks_count; i++) {
        if (chunk->log->chunks[i]->sealed) {
            chunk_look(core, chunk->log->chunks[i]);
        }
    }
}

// ---- copies --------------------------------------------------------------------------------------

static void copy_end(struct master_core *core, struct master_chunk *chunk)
{
    struct master_copy *copy = chunk->copy;
    copy->source->copies_out--;
    copy->target->copies_in--;
    chunk->copy = NULL;
    pawl_alloc_free(core->alloc, copy);
}

static void copy_send(struct master_core *core, struct master_chunk *chunk)
{
    struct master_copy *copy = chunk->copy;
    Pawl__Request *request = MASTER_MESSAGE(core, Pawl__Request, pawl__request__init);
    request->body_case = PAWL__REQUEST__BODY_COPY;
    request->copy = MASTER_MESSAGE(core, Pawl__Copy, pawl__copy__init);
    request->copy->term = core->term;
    request->copy->handle = chunk->handle;
    request->copy->version = copy->version;
    request->copy->file_id = chunk->file->id;
    request->copy->index = chunk->index;
    request->copy->base_offset = chunk->base_offset;
    request->copy->chunk_bytes = chunk->file->chunk_bytes;
    request->copy->count = chunk->count;
    request->copy->length = chunk->length;
    request->copy->source = master_member_message(core, copy->source);
    request->copy->written_handle = chunk->file->written ? chunk->file->written->handle : 0;
    request->copy->zero_bytes = chunk->zero_bytes;
    request->copy->order = ++core->order;
    copy->token =
        master_command(core, copy->target, MASTER_COMMAND_COPY, request, core->options.command_ms);
}

// Ends it, wherever it has got to: what there is at the target goes.
static void copy_give_up(struct master_core *core, struct master_chunk *chunk)
{
    struct master_server *target = chunk->copy->target;
    uint64_t version = chunk->copy->version;
    copy_end(core, chunk);
    if (core->started && target->conn && !master_replica_find(chunk, target)) {
        master_server_drop(core, target, chunk->handle, version);
    }
}

void master_healing_cancel(struct master_core *core, struct master_chunk *chunk)
{
    if (chunk->copy) {
        copy_give_up(core, chunk);
    }
}

void master_healing_forget(struct master_core *core, struct master_chunk *chunk)
{
    master_healing_cancel(core, chunk);
    pawl_list_remove(&chunk->heal_node);
}

static struct master_server *choose_source(struct master_core *core,
                                           const struct master_chunk *chunk)
{
    struct master_server *best = NULL;
    uint64_t best_lot = 0;
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        const struct master_replica *replica = &chunk->replicas[i];
        if (!replica_is_good(chunk, replica) || replica->server->copies_out >= HEAL_COPIES_MAX) {
            continue;
        }
        uint64_t lot = (uint64_t)replica->server->copies_out << 32 |
                       pawl_random_below(&core->random, 1u << 30);
        if (!best || lot < best_lot) {
            best = replica->server;
            best_lot = lot;
        }
    }
    return best;
}

// Holds nothing of the chunk, has room for it and reaches the source.
static bool target_is_possible(const struct master_chunk *chunk, const struct master_server *source,
                               const struct master_server *server)
{
    return master_server_is_live(server) && !master_replica_find(chunk, server) &&
           (server->providers & source->providers) != 0 && server_is_apt(chunk, server) &&
           !pawl_map_get(&server->drops, chunk->handle) &&
           master_server_free_bytes(server) >= chunk->length;
}

// NULL: there is none, or (*ret_busy) all that there are have enough to do.
static struct master_server *choose_target(struct master_core *core,
                                           const struct master_chunk *chunk,
                                           const struct master_server *source, bool *ret_busy)
{
    struct master_server *best = NULL;
    uint64_t best_lot = 0;
    *ret_busy = false;
    for (uint32_t i = 0; i < core->servers_count; i++) {
        struct master_server *server = core->servers_order[i];
        if (!target_is_possible(chunk, source, server)) {
            continue;
        }
        if (server->copies_in >= HEAL_COPIES_MAX) {
            *ret_busy = true;
            continue;
        }
        bool failed = server->avoid_ns > core->now_ns || server->copy_avoid_ns > core->now_ns;
        uint64_t lot = (uint64_t)failed << 61 | (uint64_t)location_is_shared(chunk, server) << 60 |
                       (uint64_t)server->chunks_count << 20 |
                       pawl_random_below(&core->random, 1u << 20);
        if (!best || lot < best_lot) {
            best = server;
            best_lot = lot;
        }
    }
    return best;
}

static void copy_begin(struct master_core *core, struct master_chunk *chunk,
                       struct master_server *source, struct master_server *target)
{
    struct master_copy *copy = pawl_alloc_new(core->alloc, sizeof(*copy));
    if (!copy) {
        core->failed = -ENOMEM;
        return;
    }
    *copy = (struct master_copy){
        .source = source, .target = target, .version = chunk->version, .progress_ns = core->now_ns};
    pawl_assert(!chunk->copy);
    chunk->copy = copy;
    pawl_list_remove(&chunk->heal_node); // one that is adopted was waiting for a copy perhaps
    source->copies_out++;
    target->copies_in++;
    master_place_reserve(core, &target->id, 1, chunk->length);
    master_note(core, MASTER_LEVEL_DEBUG, "chunk %lu is being copied from server %s to server %s",
                chunk->handle, source->name, target->name);
    copy_send(core, chunk);
}

static bool is_quiet(const struct master_work *work)
{
    return work->phase == MASTER_PHASE_GRANTED ||
           (work->phase == MASTER_PHASE_IDLE && !work->wanted);
}

// Ends the write lease, so that a copy of the chunk can be made; not again and again.
static void writes_pause(struct master_core *core, struct master_chunk *chunk)
{
    struct master_chunk *tail = master_file_tail(chunk->log);
    if (tail->ready && is_quiet(tail->work) && core->now_ns >= tail->file->heal_ns) {
        tail->file->heal_ns = core->now_ns + master_ms_to_ns(HEAL_OPEN_PAUSE_MS);
        master_note(core, MASTER_LEVEL_INFO, "chunk %lu is sealed so that chunk %lu can be copied",
                    tail->handle, chunk->handle);
        master_chunk_want(core, tail, MASTER_CAUSE_HEAL, 0);
    }
}

// Begins a copy if it can. False: not now.
static bool try_copy(struct master_core *core, struct master_chunk *chunk)
{
    bool busy;
    struct master_server *source = choose_source(core, chunk);
    if (take_census(chunk).expected >= chunk->file->replicas) {
        return true; // no more needed: servers have come back
    }
    if (core->now_ns < chunk->heal_retry_ns || !source) {
        return false;
    }
    struct master_server *target = choose_target(core, chunk, source, &busy);
    if (target && !master_chunk_is_copyable(chunk)) {
        writes_pause(core, chunk);
        return false;
    }
    if (target) {
        copy_begin(core, chunk, source, target);
        return true;
    }
    if (!busy) {
        // The only server that could take a copy may be the one that has a bad replica.
        drop_bad(core, chunk, 1);
    }
    return false;
}

static void copy_registered(struct master_core *core, struct master_chunk *chunk)
{
    struct master_server *source = chunk->copy->source;
    struct master_server *target = chunk->copy->target;
    struct master_replica *replica = master_replica_add(core, chunk, target);
    if (!replica) {
        copy_give_up(core, chunk); // there are more replicas than can be remembered
        return;
    }
    replica->version = chunk->version;
    replica->count = chunk->count;
    replica->length = chunk->length;
    replica->sealed = true;
    replica->stale = false;
    replica->damaged = false;
    chunk->heal_backoff_ms = 0;
    master_note(core, MASTER_LEVEL_INFO, "chunk %lu copied from server %s to server %s",
                chunk->handle, source->name, target->name);
    copy_end(core, chunk);
}

static void copy_failed(struct master_core *core, struct master_chunk *chunk, int code)
{
    struct master_copy *copy = chunk->copy;
    struct master_server *source = copy->source;
    struct master_server *target = copy->target;
    master_note(core, MASTER_LEVEL_WARN, "chunk %lu copy from server %s to server %s failed: %s",
                chunk->handle, source->name, target->name, pawl_strerror(code));
    if (code == PAWL_EEXISTS) {
        copy_end(core, chunk);
    } else {
        // Whatever the code, what was begun before may still go on: a refusal need not be the copy's own.
        copy_give_up(core, chunk);
    }
    chunk->heal_backoff_ms = chunk->heal_backoff_ms == 0
                                 ? MASTER_BACKOFF_MIN_MS
                                 : PAWL_MIN(chunk->heal_backoff_ms * 2, MASTER_BACKOFF_MAX_MS);
    chunk->heal_retry_ns = core->now_ns + master_ms_to_ns(chunk->heal_backoff_ms);
    struct master_replica *replica;
    switch (code) {
    case PAWL_ECORRUPT:
        master_replica_damaged(core, chunk, source);
        break;
    case PAWL_EEXISTS:
        // It holds something else under this name. If it has not told us of that in the meantime, it is
        // no good.
        replica =
            master_replica_find(chunk, target) ? NULL : master_replica_add(core, chunk, target);
        if (replica) {
            replica->stale = true;
        }
        break;
    default:
        target->copy_avoid_ns = core->now_ns + master_ms_to_ns(HEAL_AVOID_MS);
        break;
    }
}

static bool copied_is_sound(const struct master_chunk *chunk, const Pawl__Copied *copied)
{
    bool is_whole = copied->count == chunk->count && copied->length == chunk->length;
    return copied->handle == chunk->handle && copied->version == chunk->copy->version &&
           copied->count <= chunk->count && (is_whole || !copied->sealed);
}

#define COPY_GOES_ON 1

// 0: done. COPY_GOES_ON. Else it has failed.
static int copy_judge(struct master_core *core, struct master_chunk *chunk, int status,
                      const Pawl__Reply *reply)
{
    struct master_copy *copy = chunk->copy;
    int code = status ? status : reply ? reply->code : PAWL_EPROTOCOL;
    const Pawl__Copied *copied = NULL;
    if (code == 0) {
        copied = reply->body_case == PAWL__REPLY__BODY_COPIED ? reply->copied : NULL;
        if (!copied || !copied_is_sound(chunk, copied)) {
            return PAWL_EPROTOCOL;
        }
        if (copied->sealed || PAWL_MUTANT(half_copy_registered)) {
            return copy->version == chunk->version ? 0 : PAWL_ESTALE;
        }
        if (copied->count > copy->count) {
            copy->count = copied->count;
            copy->progress_ns = core->now_ns;
        }
    } else if (status != PAWL_EDEADLINE) {
        return code;
    }
    bool late = core->now_ns >= copy->progress_ns + master_ms_to_ns(HEAL_PATIENCE_MS);
    return late ? PAWL_EDEADLINE : COPY_GOES_ON;
}

void master_healing_answered(struct master_core *core, struct master_chunk *chunk,
                             const struct master_command *command, int status,
                             const Pawl__Reply *reply)
{
    if (!chunk->copy || chunk->copy->token != command->token) {
        return; // of a copy that was given up
    }
    int code = copy_judge(core, chunk, status, reply);
    if (code == COPY_GOES_ON && chunk->copy->target->conn) {
        copy_send(core, chunk);
        return;
    }
    if (code) {
        copy_failed(core, chunk, code == COPY_GOES_ON ? PAWL_EDISCONNECTED : code);
    } else {
        copy_registered(core, chunk);
    }
    master_healing_look(core, chunk);
    master_healing_pump(core);
}

// Half a copy that this master, or the connection, has forgotten: it is asked to go on, when it is
// needed. It does so if it is given the source that it has, and begins anew if not.
bool master_healing_adopt(struct master_core *core, struct master_chunk *chunk,
                          struct master_server *server, uint64_t version)
{
    struct master_server *source = choose_source(core, chunk);
    if (chunk->copy || !source || version != chunk->version || !master_chunk_is_copyable(chunk) ||
        !server_is_apt(chunk, server) || (server->providers & source->providers) == 0 ||
        server->copies_in >= HEAL_COPIES_MAX || !master_server_is_live(server) ||
        take_census(chunk).expected >= chunk->file->replicas) {
        return false;
    }
    master_replica_remove(chunk, server);
    copy_begin(core, chunk, source, server);
    return true;
}

void master_healing_reported(struct master_core *core, struct master_chunk *chunk,
                             const struct master_server *server)
{
    if (chunk->copy && chunk->copy->target == server) {
        copy_end(core, chunk); // it has become a replica; its answer was lost
    }
}

// ---- open chunks ---------------------------------------------------------------------------------

// Members that have or may come back with the chunk's records.
static uint32_t members_expected(const struct master_core *core, const struct master_chunk *chunk)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        const struct master_server *server = master_chunk_member(core, chunk, i);
        const struct master_replica *replica = master_replica_find(chunk, server);
        count += server->state != MASTER_SERVER_UNKNOWN && server->state != MASTER_SERVER_DEAD &&
                 !(replica && replica->damaged) && server_is_apt(chunk, server);
    }
    return count;
}

// How many servers the next chunk could be opened on, once this one is sealed and healed. 0: too few.
static uint32_t members_possible(struct master_core *core, const struct master_chunk *chunk)
{
    uint64_t set[MASTER_SET_MAX];
    uint32_t count = 0;
    if (chunk->file->written) {
        return take_census(chunk->file->written).good;
    }
    return master_place(core, chunk->file, set, &count) ? 0 : count;
}

static bool members_hold_records(const struct master_chunk *chunk)
{
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        const struct master_replica *replica = &chunk->replicas[i];
        if (master_replica_is_valid(replica) && replica->count > 0 &&
            master_chunk_member_index(chunk, replica->server->id) >= 0) {
            return true;
        }
    }
    return false;
}

// A tail that opened with few servers is sealed once there are more, by an ordinary recovery: its
// successor opens on all of them, and it heals like any other. An empty one has nothing to lose. Each
// such seal has records behind it and a larger set before it, so there is an end to them.
static void open_look(struct master_core *core, struct master_chunk *chunk)
{
    struct master_inode *file = chunk->file;
    if (!chunk->ready || !is_quiet(chunk->work) || core->now_ns < file->heal_ns) {
        return;
    }
    uint32_t expected = members_expected(core, chunk);
    // A server that has lost what is written to can't take writes to it, be it the only one to lead.
    bool maimed = file->written && expected < chunk->set_count;
    bool small = expected < file->replicas && members_hold_records(chunk);
    if (!maimed && (!small || members_possible(core, chunk) <= expected)) {
        return;
    }
    file->heal_ns = core->now_ns + master_ms_to_ns(HEAL_OPEN_PAUSE_MS);
    master_note(core, MASTER_LEVEL_INFO, "chunk %lu is sealed to be healed: %u of %u replicas",
                chunk->handle, expected, file->replicas);
    master_chunk_want(core, chunk, MASTER_CAUSE_HEAL, 0);
}

// Some each time, by turns. One that is sealed by this leaves the list, its successor joins.
static void open_turn(struct master_core *core)
{
    for (uint32_t i = 0; i < HEAL_LOOKS_MAX && !core->failed; i++) {
        struct pawl_list *node = pawl_list_first(&core->open_chunks);
        if (!node) {
            return;
        }
        pawl_list_remove(node);
        pawl_list_push_back(&core->open_chunks, node);
        open_look(core, pawl_container_of(node, struct master_chunk, open_node));
    }
}

// ---- time ----------------------------------------------------------------------------------------

static void scan(struct master_core *core)
{
    size_t cursor = 0;
    uint64_t handle;
    void *chunk;
    core->heal_scan = false;
    while (pawl_map_iterate(&core->chunks, &cursor, &handle, &chunk)) {
        master_healing_look(core, chunk);
    }
}

static void surplus_turn(struct master_core *core)
{
    for (uint32_t i = 0; i < HEAL_DROPS_BATCH_MAX && !core->failed; i++) {
        struct pawl_list *node = pawl_list_first(&core->heal_surplus);
        struct master_chunk *chunk =
            node ? pawl_container_of(node, struct master_chunk, heal_node) : NULL;
        if (!chunk || core->now_ns < chunk->surplus_ns) {
            return;
        }
        pawl_list_remove(node);
        chunk->surplus_ns = 0;
        drop_surplus(core, chunk);
        master_healing_look(core, chunk);
    }
}

// The most endangered chunks first. Those of a level that can't go on now go behind the others.
void master_healing_pump(struct master_core *core)
{
    if (core->now_ns < core->heal_ns) {
        return;
    }
    for (uint32_t level = 0; level <= MASTER_SET_MAX; level++) {
        struct pawl_list waiting;
        struct pawl_list *node;
        pawl_list_init(&waiting);
        for (uint32_t i = 0; i < HEAL_LOOKS_MAX && !core->failed; i++) {
            node = pawl_list_pop_front(&core->heal_short[level]);
            if (!node) {
                break;
            }
            if (!try_copy(core, pawl_container_of(node, struct master_chunk, heal_node))) {
                pawl_list_push_back(&waiting, node);
            }
        }
        pawl_list_append_all(&core->heal_short[level], &waiting);
    }
}

void master_healing_tick(struct master_core *core)
{
    // A master that has just started does not know yet what there is.
    if (core->now_ns < core->heal_ns || core->failed) {
        return;
    }
    if (core->heal_scan) {
        scan(core);
    }
    surplus_turn(core);
    master_healing_pump(core);
    open_turn(core);
}
