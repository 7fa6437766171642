// SPDX-License-Identifier: Apache-2.0
// Sessions of clients: opened, taken up again on another connection, ended.
//
// An anonymous producer lives as long as its client's session. The clock decides only when the master
// writes down that a session has ended; what depends on an end depends on that record (session_log.c).
// A client that is cut off may be wrong about its session, a chunk is not.
#include "controlplane/core/calls.h"
#include "controlplane/core/master_core_private.h"

#define ENDING_MS 1000u // ends are logged together, so often at most ...
#define ENDING_MAX 256u // ... or when there are so many

void master_sessions_init(struct master_core *core)
{
    struct master_sessions *sessions = &core->sessions;
    pawl_map_init(&sessions->by_id, core->alloc);
    pawl_map_init(&sessions->by_conn, core->alloc);
    master_calls_init(core);
    pawl_list_init(&sessions->away);
    pawl_list_init(&sessions->ending);
    sessions->next = 1;
}

void master_sessions_fini(struct master_core *core)
{
    struct master_sessions *sessions = &core->sessions;
    size_t cursor = 0;
    uint64_t id;
    void *session;
    while (pawl_map_iterate(&sessions->by_id, &cursor, &id, &session)) {
        pawl_alloc_free(core->alloc, session);
    }
    pawl_map_fini(&sessions->by_id);
    pawl_map_fini(&sessions->by_conn);
    master_calls_fini(core);
    pawl_alloc_free(core->alloc, sessions->live);
}

void master_sessions_start(struct master_core *core)
{
    struct master_sessions *sessions = &core->sessions;
    sessions->before_term = sessions->next;
    sessions->unheard_ns = core->now_ns + master_ms_to_ns(core->options.session_ms);
}

void master_sessions_forgive(struct master_core *core, uint64_t gap_ns)
{
    core->sessions.unheard_ns += gap_ns;
    pawl_list_for_each (node, &core->sessions.away) {
        pawl_container_of(node, struct master_session, node)->away_ns += gap_ns;
    }
}

// ---- ends ----------------------------------------------------------------------------------------

static void session_end(struct master_core *core, struct master_session *session)
{
    struct master_sessions *sessions = &core->sessions;
    if (session->conn) {
        pawl_map_remove(&sessions->by_conn, session->conn);
        session->conn = 0;
    }
    pawl_list_remove(&session->node);
    pawl_list_push_back(&sessions->ending, &session->node);
    session->ending = true;
    sessions->ending_count++;
}

static void log_ends(struct master_core *core, const struct master_sessions_range *ranges,
                     size_t count)
{
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_SESSIONS_END);
    record->sessions_end = MASTER_MESSAGE(core, Pawl__LogSessionsEnd, pawl__log_sessions_end__init);
    record->sessions_end->ranges = master_sessions_message(core, ranges, count);
    record->sessions_end->n_ranges = record->sessions_end->ranges ? count : 0;
    master_log(core, record);
}

// Takes one session more into rising ranges; there is room for it.
static void range_insert(struct master_sessions_range *ranges, size_t *count, uint64_t id)
{
    size_t at = (*count)++;
    for (; at > 0 && ranges[at - 1].first > id; at--) {
        ranges[at] = ranges[at - 1];
    }
    ranges[at] = (struct master_sessions_range){.first = id, .last = id};
}

static void log_ending(struct master_core *core)
{
    struct master_sessions *sessions = &core->sessions;
    struct master_sessions_range ranges[ENDING_MAX];
    size_t count = 0;
    struct pawl_list *node;
    while (count < ENDING_MAX && (node = pawl_list_pop_front(&sessions->ending)) != NULL) {
        struct master_session *session = pawl_container_of(node, struct master_session, node);
        range_insert(ranges, &count, session->id);
        pawl_map_remove(&sessions->by_id, session->id);
        pawl_alloc_free(core->alloc, session);
        sessions->ending_count--;
    }
    sessions->ending_ns = core->now_ns;
    log_ends(core, ranges, count);
}

// Those that earlier terms have given out, or could have, and that nobody has come for.
static void end_unheard(struct master_core *core)
{
    struct master_sessions *sessions = &core->sessions;
    struct master_sessions_range ranges[ENDING_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < sessions->live_count && count < ENDING_MAX; i++) {
        struct master_sessions_range live = sessions->live[i];
        for (uint64_t id = live.first; id <= live.last && id < sessions->before_term; id++) {
            if (pawl_map_get(&sessions->by_id, id)) {
                continue;
            }
            if (count > 0 && ranges[count - 1].last + 1 == id) {
                ranges[count - 1].last = id;
            } else if (count < ENDING_MAX) {
                ranges[count++] = (struct master_sessions_range){.first = id, .last = id};
            } else {
                break; // the next tick goes on
            }
        }
    }
    sessions->unheard_are_over = count < ENDING_MAX;
    if (count > 0) {
        log_ends(core, ranges, count);
    }
}

void master_sessions_tick(struct master_core *core)
{
    struct master_sessions *sessions = &core->sessions;
    uint64_t session_ns = master_ms_to_ns(core->options.session_ms);
    pawl_list_for_each_safe (node, &sessions->away) {
        struct master_session *session = pawl_container_of(node, struct master_session, node);
        if (core->now_ns < session->away_ns + session_ns) {
            break;
        }
        session_end(core, session);
    }
    if (!sessions->unheard_are_over && core->now_ns >= sessions->unheard_ns) {
        end_unheard(core);
    }
    bool due = core->now_ns >= sessions->ending_ns + master_ms_to_ns(ENDING_MS);
    if (sessions->ending_count >= ENDING_MAX || (sessions->ending_count > 0 && due)) {
        log_ending(core);
    }
}

void master_session_away(struct master_core *core, uint64_t conn)
{
    struct master_session *session = pawl_map_remove(&core->sessions.by_conn, conn);
    if (session) {
        session->conn = 0;
        session->away_ns = core->now_ns;
        pawl_list_push_back(&core->sessions.away, &session->node);
    }
}

// ---- requests ------------------------------------------------------------------------------------

static struct master_session *session_new(struct master_core *core, uint64_t id)
{
    struct master_session *session = pawl_alloc_new(core->alloc, sizeof(*session));
    if (!session || pawl_map_put(&core->sessions.by_id, id, session)) {
        pawl_alloc_free(core->alloc, session);
        core->failed = -ENOMEM;
        return NULL;
    }
    pawl_list_init(&session->node);
    session->id = id;
    return session;
}

// A number that was never given out. 0: there is none.
static uint64_t next_id(struct master_core *core)
{
    struct master_sessions *sessions = &core->sessions;
    if (sessions->issue_next == 0 || sessions->issue_next == sessions->next) {
        if (sessions->next > WIRE_SESSION_MAX - core->options.session_block) {
            return 0;
        }
        Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_SESSIONS);
        record->sessions = MASTER_MESSAGE(core, Pawl__LogSessions, pawl__log_sessions__init);
        record->sessions->first = sessions->next;
        record->sessions->last = sessions->next + core->options.session_block - 1;
        sessions->issue_next = sessions->next;
        master_log(core, record);
    }
    return core->failed ? 0 : sessions->issue_next++;
}

bool master_session_serves(const struct master_core *core, uint64_t id)
{
    const struct master_session *session = pawl_map_get(&core->sessions.by_id, id);
    if (session) {
        return !session->ending;
    }
    return id < core->sessions.before_term && master_session_is_live(core, id);
}

// The session that a client says it has. NULL: it has ended, or never was.
static struct master_session *session_again(struct master_core *core, uint64_t id)
{
    if (!master_session_serves(core, id)) {
        return NULL;
    }
    struct master_session *session = pawl_map_get(&core->sessions.by_id, id);
    return session ? session : session_new(core, id);
}

static struct master_session *session_for(struct master_core *core, uint64_t id)
{
    struct master_session *session = id != 0 ? session_again(core, id) : NULL;
    if (!session && !core->failed) {
        uint64_t fresh = next_id(core);
        session = fresh != 0 ? session_new(core, fresh) : NULL;
    }
    return session;
}

static int session_bind(struct master_core *core, struct master_session *session, uint64_t conn)
{
    struct master_sessions *sessions = &core->sessions;
    if (session->conn) {
        pawl_map_remove(&sessions->by_conn, session->conn); // lost, and its end not seen here
    }
    pawl_list_remove(&session->node);
    session->conn = conn;
    return pawl_map_put(&sessions->by_conn, conn, session);
}

void master_request_open_session(struct master_core *core, const struct master_event *event)
{
    uint64_t id = event->message->open_session->session_id;
    struct master_session *session = pawl_map_get(&core->sessions.by_conn, event->conn);
    if (!session) { // otherwise: its answer was lost
        if (pawl_map_count(&core->sessions.by_id) >= MASTER_SESSIONS_MAX) {
            master_reply_code(core, event->request, PAWL_ELIMIT, "at most %u clients",
                              MASTER_SESSIONS_MAX);
            return;
        }
        session = session_for(core, id);
        if (!session) {
            master_reply_code(core, event->request, PAWL_ELIMIT, NULL);
            return;
        }
        if (session_bind(core, session, event->conn)) {
            core->failed = -ENOMEM;
            return;
        }
    }
    Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY_SESSION);
    reply->session = MASTER_MESSAGE(core, Pawl__Session, pawl__session__init);
    reply->session->session_id = session->id;
    reply->session->cluster_id = core->cluster_id;
    reply->session->session_ms = core->options.session_ms;
    master_reply(core, event->request, reply);
}

void master_request_close_session(struct master_core *core, const struct master_event *event)
{
    struct master_session *session = pawl_map_get(&core->sessions.by_conn, event->conn);
    if (session) {
        session_end(core, session);
    }
    master_reply_code(core, event->request, 0, NULL);
}

// ---- invariants ----------------------------------------------------------------------------------

static uint32_t list_length(const struct pawl_list *list)
{
    uint32_t count = 0;
    pawl_list_for_each (node, list) {
        count++;
    }
    return count;
}

void master_sessions_validate(const struct master_core *core)
{
    const struct master_sessions *sessions = &core->sessions;
    uint64_t before = 0;
    for (uint32_t i = 0; i < sessions->live_count; i++) {
        const struct master_sessions_range *range = &sessions->live[i];
        pawl_assert(range->first > before && range->last >= range->first);
        before = range->last + 1; // ranges that touch are one
    }
    pawl_assert(before <= sessions->next);
    pawl_assert(sessions->block_first < sessions->next);
    pawl_assert(sessions->issue_next <= sessions->next);
    master_calls_validate(core);
    uint32_t away_count = 0;
    size_t cursor = 0;
    uint64_t id;
    void *value;
    while (pawl_map_iterate(&sessions->by_id, &cursor, &id, &value)) {
        const struct master_session *session = value;
        pawl_assert(session->id == id && master_session_is_live(core, id));
        away_count += session->conn == 0 && !session->ending;
        pawl_assert(session->conn == 0 ||
                    pawl_map_get(&sessions->by_conn, session->conn) == session);
        pawl_assert((session->conn != 0) == pawl_list_is_empty(&session->node));
    }
    pawl_assert(list_length(&sessions->away) == away_count);
    pawl_assert(list_length(&sessions->ending) == sessions->ending_count);
    pawl_assert(pawl_map_count(&sessions->by_conn) + away_count + sessions->ending_count ==
                pawl_map_count(&sessions->by_id));
}
