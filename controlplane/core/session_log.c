// SPDX-License-Identifier: Apache-2.0
// The durable part of sessions: which numbers are live, and whose producers may start in a new chunk.
//
// Numbers come in blocks, each logged before one of it is given out, so that a client's connection costs
// no flush. All of a block are live from then on, given out or not, until a record says that they have
// ended. So "live" is a function of the log alone, whatever a master knew when it died.
//
// A new chunk takes unknown producers of these sessions only: the oldest live ones, one by one, and all
// from some number on (the floor). Rows of others are dropped. A retry from a session whose row has gone must
// be refused in every later chunk too, so what is allowed may only shrink, but for numbers that did not
// exist before: with `oldest` = the lowest SESSIONS_LISTED live numbers below the newest block and
// floor = the one behind them, or that block's first,
//  - the floor never falls: a set that only loses members and gains higher ones has no lower n-th one;
//  - a listed number was listed before or not below the floor: it was live then, and all live ones were.
// Ranges instead of single numbers would break the first: a range that falls apart has a lower n-th part.
#include "controlplane/core/calls.h"
#include "controlplane/core/master_core_private.h"

#define SESSIONS_LISTED (WIRE_SESSIONS_MAX - 1)
#define DUMP_RANGES_MAX 1024u

// The range that holds `id`, or live_count.
static uint32_t live_find(const struct master_sessions *sessions, uint64_t id)
{
    uint32_t low = 0;
    uint32_t high = sessions->live_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (sessions->live[middle].last < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < sessions->live_count && sessions->live[low].first <= id;
    return found ? low : sessions->live_count;
}

bool master_session_is_live(const struct master_core *core, uint64_t id)
{
    return live_find(&core->sessions, id) < core->sessions.live_count;
}

static int live_reserve(struct master_core *core, uint32_t count)
{
    struct master_sessions *sessions = &core->sessions;
    if (count <= sessions->live_capacity) {
        return 0;
    }
    uint32_t capacity = PAWL_MAX(count, 2 * sessions->live_capacity);
    struct master_sessions_range *live = pawl_alloc_grow(
        core->alloc, sessions->live, sessions->live_capacity, capacity, sizeof(*live));
    if (!live) {
        return -ENOMEM;
    }
    sessions->live = live;
    sessions->live_capacity = capacity;
    return 0;
}

int master_apply_sessions(struct master_core *core, const Pawl__LogSessions *record)
{
    struct master_sessions *sessions = &core->sessions;
    if (record->first != sessions->next || record->last < record->first ||
        record->last > WIRE_SESSION_MAX) {
        return PAWL_EFORMAT;
    }
    int rc = live_reserve(core, sessions->live_count + 1);
    if (rc) {
        return rc;
    }
    uint32_t count = sessions->live_count;
    if (count > 0 && sessions->live[count - 1].last + 1 == record->first) {
        sessions->live[count - 1].last = record->last;
    } else {
        sessions->live[sessions->live_count++] =
            (struct master_sessions_range){.first = record->first, .last = record->last};
    }
    sessions->next = record->last + 1;
    sessions->block_first = record->first;
    return 0;
}

static bool ends_fit(const struct master_sessions *sessions, const Pawl__LogSessionsEnd *record)
{
    uint64_t before = 0;
    for (size_t i = 0; i < record->n_ranges; i++) {
        const Pawl__SessionRange *range = record->ranges[i];
        uint32_t at = live_find(sessions, range->first);
        if (range->first <= before || range->last < range->first || at == sessions->live_count ||
            sessions->live[at].last < range->last) {
            return false;
        }
        before = range->last;
    }
    return true;
}

// There is room for one more range.
static void live_remove(struct master_sessions *sessions, uint64_t first, uint64_t last)
{
    uint32_t at = live_find(sessions, first);
    struct master_sessions_range range = sessions->live[at];
    struct master_sessions_range *place = &sessions->live[at];
    uint32_t behind = sessions->live_count - at - 1;
    if (range.first == first && range.last == last) {
        memmove(place, place + 1, behind * sizeof(*place));
        sessions->live_count--;
    } else if (range.first == first) {
        place->first = last + 1;
    } else if (range.last == last) {
        place->last = first - 1;
    } else {
        memmove(place + 2, place + 1, behind * sizeof(*place));
        place[0].last = first - 1;
        place[1] = (struct master_sessions_range){.first = last + 1, .last = range.last};
        sessions->live_count++;
    }
}

int master_apply_sessions_end(struct master_core *core, const Pawl__LogSessionsEnd *record)
{
    struct master_sessions *sessions = &core->sessions;
    if (!ends_fit(sessions, record)) {
        return PAWL_EFORMAT;
    }
    int rc = live_reserve(core, sessions->live_count + (uint32_t)record->n_ranges);
    for (size_t i = 0; rc == 0 && i < record->n_ranges; i++) {
        live_remove(sessions, record->ranges[i]->first, record->ranges[i]->last);
        master_calls_forget(core, record->ranges[i]->first, record->ranges[i]->last);
    }
    return rc;
}

// ---- chunks --------------------------------------------------------------------------------------

static int chunk_keep(struct master_core *core, struct master_chunk *chunk,
                      const struct master_sessions_range *ranges, uint32_t count)
{
    struct master_work *work = chunk->work;
    struct master_sessions_range *copy = NULL;
    if (count > 0) {
        copy = pawl_alloc_array(core->alloc, count, sizeof(*copy));
        if (!copy) {
            return -ENOMEM;
        }
        memcpy(copy, ranges, count * sizeof(*copy));
    }
    pawl_alloc_free(core->alloc, work->sessions);
    work->sessions = copy;
    work->sessions_count = count;
    return 0;
}

// Behind the last range; one that touches it makes it longer.
static void range_add(struct master_sessions_range *ranges, uint32_t *count, uint64_t first,
                      uint64_t last)
{
    if (*count > 0 && ranges[*count - 1].last + 1 == first) {
        ranges[*count - 1].last = last;
    } else {
        ranges[(*count)++] = (struct master_sessions_range){.first = first, .last = last};
    }
}

int master_chunk_set_sessions(struct master_core *core, struct master_chunk *chunk)
{
    const struct master_sessions *sessions = &core->sessions;
    struct master_sessions_range ranges[WIRE_SESSIONS_MAX];
    uint32_t count = 0;
    uint32_t listed = 0;
    uint64_t floor = PAWL_MAX(sessions->block_first, 1u);
    for (uint32_t i = 0; i < sessions->live_count && listed <= SESSIONS_LISTED; i++) {
        const struct master_sessions_range *live = &sessions->live[i];
        if (live->first >= floor) {
            break;
        }
        for (uint64_t id = live->first; id <= live->last && id < floor; id++) {
            if (listed++ == SESSIONS_LISTED) {
                floor = id;
            } else {
                range_add(ranges, &count, id, id);
            }
        }
    }
    range_add(ranges, &count, floor, WIRE_SESSION_MAX);
    bool all = count == 1 && floor == 1;
    return chunk_keep(core, chunk, ranges, all ? 0 : count);
}

int master_apply_chunk_sessions(struct master_core *core, const Pawl__LogChunkSessions *record)
{
    struct master_sessions_range ranges[WIRE_SESSIONS_MAX];
    struct master_chunk *chunk = master_chunk_get(core, record->handle);
    if (!chunk || chunk->ready || record->n_ranges > WIRE_SESSIONS_MAX) {
        return PAWL_EFORMAT;
    }
    uint64_t before = 0;
    for (size_t i = 0; i < record->n_ranges; i++) {
        const Pawl__SessionRange *range = record->ranges[i];
        if (range->first <= before || range->last < range->first ||
            range->last > WIRE_SESSION_MAX) {
            return PAWL_EFORMAT;
        }
        before = range->last;
        ranges[i] = (struct master_sessions_range){.first = range->first, .last = range->last};
    }
    return chunk_keep(core, chunk, ranges, (uint32_t)record->n_ranges);
}

Pawl__SessionRange **master_sessions_message(struct master_core *core,
                                             const struct master_sessions_range *ranges,
                                             size_t count)
{
    if (count == 0) {
        return NULL;
    }
    Pawl__SessionRange **message = master_arena_alloc(core, count * sizeof(*message));
    for (size_t i = 0; message && i < count; i++) {
        message[i] = MASTER_MESSAGE(core, Pawl__SessionRange, pawl__session_range__init);
        message[i]->first = ranges[i].first;
        message[i]->last = ranges[i].last;
    }
    return message;
}

// ---- snapshots -----------------------------------------------------------------------------------

typedef int emit_fn(void *user, const Pawl__LogRecord *record);

static int dump_block(emit_fn *emit, void *user, uint64_t first, uint64_t last)
{
    Pawl__LogSessions sessions = PAWL__LOG_SESSIONS__INIT;
    Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
    sessions.first = first;
    sessions.last = last;
    record.body_case = PAWL__LOG_RECORD__BODY_SESSIONS;
    record.sessions = &sessions;
    return emit(user, &record);
}

static int dump_ranges(emit_fn *emit, void *user, const struct master_chunk *chunk,
                       const struct master_sessions_range *ranges, uint32_t count)
{
    Pawl__SessionRange messages[DUMP_RANGES_MAX];
    Pawl__SessionRange *pointers[DUMP_RANGES_MAX];
    Pawl__LogSessionsEnd ends = PAWL__LOG_SESSIONS_END__INIT;
    Pawl__LogChunkSessions of_chunk = PAWL__LOG_CHUNK_SESSIONS__INIT;
    Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
    for (uint32_t i = 0; i < count; i++) {
        pawl__session_range__init(&messages[i]);
        messages[i].first = ranges[i].first;
        messages[i].last = ranges[i].last;
        pointers[i] = &messages[i];
    }
    if (chunk) {
        of_chunk.handle = chunk->handle;
        of_chunk.ranges = pointers;
        of_chunk.n_ranges = count;
        record.body_case = PAWL__LOG_RECORD__BODY_CHUNK_SESSIONS;
        record.chunk_sessions = &of_chunk;
    } else {
        ends.ranges = pointers;
        ends.n_ranges = count;
        record.body_case = PAWL__LOG_RECORD__BODY_SESSIONS_END;
        record.sessions_end = &ends;
    }
    return emit(user, &record);
}

// What is not live has ended: the gaps.
static int dump_ends(const struct master_sessions *sessions, emit_fn *emit, void *user)
{
    struct master_sessions_range gaps[DUMP_RANGES_MAX];
    uint32_t count = 0;
    uint64_t at = 1;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i <= sessions->live_count; i++) {
        bool end = i == sessions->live_count;
        uint64_t until = end ? sessions->next : sessions->live[i].first;
        if (until > at) {
            gaps[count++] = (struct master_sessions_range){.first = at, .last = until - 1};
        }
        if (count == DUMP_RANGES_MAX || (end && count > 0)) {
            rc = dump_ranges(emit, user, NULL, gaps, count);
            count = 0;
        }
        at = end ? at : sessions->live[i].last + 1;
    }
    return rc;
}

int master_sessions_dump(const struct master_core *core, emit_fn *emit, void *user)
{
    const struct master_sessions *sessions = &core->sessions;
    int rc = 0;
    if (sessions->next == 1) {
        return 0;
    }
    if (sessions->block_first > 1) {
        rc = dump_block(emit, user, 1, sessions->block_first - 1);
    }
    rc = rc ? rc : dump_block(emit, user, sessions->block_first, sessions->next - 1);
    return rc ? rc : dump_ends(sessions, emit, user);
}

int master_chunk_sessions_dump(const struct master_chunk *chunk, emit_fn *emit, void *user)
{
    return dump_ranges(emit, user, chunk, chunk->work->sessions, chunk->work->sessions_count);
}
