// SPDX-License-Identifier: Apache-2.0
// The master's driver: the operation log, requests and commands.
//
// A record is durable at once. That loses nothing: what waits for a flush is seen by nobody, so a
// crash before the flush is the same as one before the step, whose message is lost with its
// connection; and a crash between the flush and the sending is one after it, whose messages are lost.
#include <string.h>

#include <pawl/error.h>

#include "controlplane/core/master_core_private.h"
#include "model.h"

#define ULL(x) ((unsigned long long)(x))

struct model_master *model_master_node(void)
{
    return model_part(MODEL_MASTER);
}

static struct model_served *asked_add(uint32_t conn, uint64_t request, uint32_t message)
{
    struct model_master *m = model_master_node();
    uint64_t number = 1;
    struct model_served *place = NULL;
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        number = PAWL_MAX(number, m->asked[i].number + 1);
        place = place == NULL && m->asked[i].number == 0 ? &m->asked[i] : place;
    }
    pawl_assert(place != NULL);
    *place = (struct model_served){
        .conn = conn, .request = request, .message = message, .number = number};
    return place;
}

static void carry_out_reply(const struct master_action *action, uint32_t *ret_reply)
{
    struct model_master *m = model_master_node();
    struct model_served *asked = NULL;
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        asked = m->asked[i].number == action->request ? &m->asked[i] : asked;
    }
    if (asked == NULL) {
        model_violation("the master answers request %llu twice, or nobody's", ULL(action->request));
        return;
    }
    struct model_served old = *asked;
    *asked = (struct model_served){0};
    *ret_reply = model_message_packed(MODEL_REPLY, action->reply);
    if (old.conn == 0 || old.conn == MODEL_GHOST) {
        return;
    }
    const Pawl__Request *request = model_message_at(old.message)->request;
    if (request->body_case == PAWL__REQUEST__BODY_REGISTER && action->reply->code != 0) {
        model_violation("the master refuses a server: %s", pawl_strerror(action->reply->code));
    }
    if (old.request != 0) { // else nobody looks at the reply
        model_send(old.conn, MODEL_MASTER,
                   (struct model_entry){
                       .message = *ret_reply, .request = (uint16_t)old.request, .reply = true});
    }
}

// A command to a connection that has gone ends as one whose connection goes.
static void carry_out_command(const struct master_action *action)
{
    struct model_master *m = model_master_node();
    struct model_call *place = NULL;
    uint16_t request = 1;
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        if (m->commands[i].conn == 0) {
            place = place != NULL ? place : &m->commands[i];
        } else if (m->commands[i].conn == action->conn) {
            request = PAWL_MAX(request, (uint16_t)(m->commands[i].request + 1));
        }
    }
    pawl_assert(place != NULL);
    *place = (struct model_call){
        .conn = (uint32_t)action->conn, .request = request, .token = action->token};
    model_send(place->conn, MODEL_MASTER,
               (struct model_entry){.message = model_message_packed(MODEL_REQUEST, action->command),
                                    .request = request});
}

static void log_add(const Pawl__LogRecord *record)
{
    struct model_master *m = model_master_node();
    pawl_assert(m->log_count < MODEL_LOG_MAX);
    m->log[m->log_count++] = model_message_packed(MODEL_LOG, record);
    model_oracle_log(record);
}

// Returns the last reply.
static uint32_t carry_out(const struct master_actions *actions)
{
    uint32_t reply = 0;
    for (uint32_t i = 0; i < actions->count && !model_world.violated; i++) {
        const struct master_action *action = &actions->items[i];
        switch (action->type) {
        case MASTER_ACTION_LOG:
            log_add(action->record);
            break;
        case MASTER_ACTION_REPLY:
            carry_out_reply(action, &reply);
            break;
        case MASTER_ACTION_COMMAND:
            carry_out_command(action);
            break;
        case MASTER_ACTION_NOTE:
            model_note("master: %s", action->text);
            break;
        }
    }
    return reply;
}

static uint32_t step(struct master_event event)
{
    struct model_master *m = model_master_node();
    const struct master_actions *actions = NULL;
    event.now_ns = MODEL_NOW_NS;
    event.wall_ms = 1;
    model_normalise_chance(m->core, model_world.chance);
    int code = master_core_step(m->core, &event, &actions);
    pawl_assert(code == 0);
    uint32_t reply = carry_out(actions);
    if (model_world.validate) {
        master_core_validate(m->core);
    }
    model_world.lots |= model_normalise_master(m->core, m, model_world.chance);
    model_world.touched[MODEL_MASTER] = true;
    return reply;
}

void model_master_start(void)
{
    struct model_master *m = model_master_node();
    const struct master_actions *actions = NULL;
    struct master_core_options options = {
        .random_seed = 1, .alloc = model_region_alloc(model_world.regions[MODEL_MASTER])};
    pawl_assert(m->core == NULL && master_core_new(&options, &m->core) == 0);
    model_world.up[MODEL_MASTER] = true;
    for (uint32_t i = 0; i < m->log_count; i++) {
        int code = master_core_apply(m->core, model_message_at(m->log[i])->record);
        if (code != 0) {
            model_violation("the master refuses record %u of its own log: %d", i, code);
            return;
        }
    }
    int code = master_core_start(m->core, 1, MODEL_NOW_NS, 1, &actions);
    pawl_assert(code == 0);
    (void)carry_out(actions);
    (void)model_normalise_master(m->core, m, 0);
    model_world.touched[MODEL_MASTER] = true;
}

void model_master_crash(void)
{
    struct model_master *m = model_master_node();
    struct model_master left = {.log_count = m->log_count};
    memcpy(left.log, m->log, sizeof(left.log));
    model_region_reset(model_world.regions[MODEL_MASTER]);
    *m = left;
    model_world.up[MODEL_MASTER] = false;
    model_net_crashed(MODEL_MASTER);
    model_world.touched[MODEL_MASTER] = true;
}

// ---- from the network ----------------------------------------------------------------------------------

uint32_t model_master_call(const Pawl__Request *request)
{
    const struct model_served *asked = asked_add(0, 0, 0);
    return step((struct master_event){.type = MASTER_EVENT_REQUEST,
                                      .conn = MODEL_GHOST,
                                      .request = asked->number,
                                      .message = request});
}

// One whose deadline has passed has no token any more; its answer is waited for, and thrown away.
static void command_ended(struct model_call *call, int status, const Pawl__Reply *answer)
{
    struct model_call old = *call;
    call->token = 0;
    if (status != PAWL_EDEADLINE) {
        *call = (struct model_call){0};
    }
    model_world.touched[MODEL_MASTER] = true;
    if (old.token == 0) {
        return;
    }
    (void)step((struct master_event){
        .type = MASTER_EVENT_ANSWER, .status = status, .token = old.token, .answer = answer});
}

static void on_answer(uint32_t conn, const struct model_entry *entry)
{
    struct model_master *m = model_master_node();
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        if (m->commands[i].conn == conn && m->commands[i].request == entry->request) {
            command_ended(&m->commands[i], 0, model_message_at(entry->message)->reply);
            return;
        }
    }
    model_world.touched[MODEL_MASTER] = true; // too late
}

// The chunk that a hint speaks of, if it would count.
static struct master_chunk *hinted(const struct model_message *message)
{
    const struct model_master *m = model_master_node();
    const Pawl__Request *request = message->request;
    if (request == NULL || request->body_case != PAWL__REQUEST__BODY_GET_TAIL ||
        request->get_tail->hint == NULL) {
        return NULL;
    }
    struct master_chunk *chunk = master_chunk_get(m->core, request->get_tail->hint->handle);
    bool counts = chunk != NULL && chunk->work != NULL &&
                  chunk->version == request->get_tail->hint->version &&
                  chunk->work->phase == MASTER_PHASE_GRANTED;
    return counts ? chunk : NULL;
}

bool model_master_hint_counts(const struct model_message *message)
{
    return hinted(message) != NULL;
}

void model_master_frame(uint32_t conn, const struct model_entry *entry, bool old)
{
    const struct model_message *message = model_message_at(entry->message);
    if (entry->reply) {
        on_answer(conn, entry);
        return;
    }
    if (old) {
        struct master_chunk *chunk = hinted(message);
        chunk->work->granted_ns = 0;
        chunk->work->full_ns = chunk->work->full_ns != 0 ? 1 : 0;
    }
    const struct model_served *asked = asked_add(conn, entry->request, entry->message);
    (void)step((struct master_event){.type = MASTER_EVENT_REQUEST,
                                     .conn = conn,
                                     .request = asked->number,
                                     .message = message->request});
}

static void end_commands(uint32_t conn)
{
    struct model_master *m = model_master_node();
    bool lost[MODEL_CALLS_MAX];
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        lost[i] = m->commands[i].conn == conn;
    }
    for (uint32_t i = 0; i < MODEL_CALLS_MAX && !model_world.violated; i++) {
        if (lost[i] && m->commands[i].conn == conn) {
            command_ended(&m->commands[i], PAWL_EDISCONNECTED, NULL);
        }
    }
}

// Between the ends of its commands and the end of the connection the core may still send something
// there: that ends too.
void model_master_closed(uint32_t conn)
{
    model_cut(conn);
    end_commands(conn);
    if (!model_world.violated) {
        (void)step((struct master_event){.type = MASTER_EVENT_CONN_CLOSED, .conn = conn});
    }
    end_commands(conn);
    model_close(conn, MODEL_MASTER);
}

void model_master_late(uint32_t command)
{
    command_ended(&model_master_node()->commands[command], PAWL_EDEADLINE, NULL);
}

// ---- timers --------------------------------------------------------------------------------------------

static bool fire(uint64_t *at_ns, bool now)
{
    bool runs = *at_ns > MODEL_NOW_NS;
    *at_ns = runs && now ? 0 : *at_ns;
    return runs;
}

static bool chunk_timer(struct master_chunk *chunk, enum model_master_timer which, bool now)
{
    struct master_work *work = chunk->work;
    if (work == NULL) {
        return false;
    }
    if (which == MODEL_TIMER_RETRY) {
        bool waits = work->phase == MASTER_PHASE_WAITING || work->phase == MASTER_PHASE_TABLE ||
                     (work->phase == MASTER_PHASE_IDLE && work->wanted);
        return waits && fire(&work->retry_ns, now);
    }
    if (which == MODEL_TIMER_GRACE) {
        return work->phase == MASTER_PHASE_IDLE && work->wanted && fire(&work->grace_ns, now);
    }
    return work->phase == MASTER_PHASE_GRANTED && fire(&work->lease_until_ns, now);
}

static bool timers(enum model_master_timer which, bool now)
{
    const struct model_master *m = model_master_node();
    bool runs = false;
    size_t cursor = 0;
    uint64_t handle;
    void *value;
    while (pawl_map_iterate(&m->core->chunks, &cursor, &handle, &value)) {
        struct master_chunk *chunk = value;
        runs |= chunk_timer(chunk, which, now);
        if (which == MODEL_TIMER_RETRY && chunk->sealed) {
            runs |= fire(&chunk->seal_retry_ns, now);
        }
    }
    for (uint32_t i = 0; which == MODEL_TIMER_RETRY && i < m->core->servers_count; i++) {
        pawl_list_for_each (node, &m->core->servers_order[i]->drops_waiting) {
            runs |= fire(&pawl_container_of(node, struct master_drop, node)->retry_ns, now);
        }
    }
    return which == MODEL_TIMER_GRACE ? runs | fire(&m->core->grace_ns, now) : runs;
}

bool model_master_has_timer(uint32_t which)
{
    return model_master_node()->core != NULL && timers(which, false);
}

void model_master_timer(uint32_t which)
{
    (void)timers(which, true);
    (void)step((struct master_event){.type = MASTER_EVENT_TICK});
}
