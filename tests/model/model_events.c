// SPDX-License-Identifier: Apache-2.0
// What may happen next, and how it happens.
//
// Moves come first: messages, ends of connections, flushes, servers that register. Timers fire where
// nothing moves; a budget lets them fire elsewhere. Faults have budgets. A server that is down may
// start at any moment, and may stay down for any time: it does not count as something that moves.
#include <stdio.h>
#include <string.h>

#include <pawl/error.h>

#include "model.h"

struct list {
    struct model_event *items;
    uint32_t count;
};

static struct model_net *net(void)
{
    return model_part(MODEL_PART_NET);
}

static void add(struct list *list, struct model_event event)
{
    pawl_assert(list->count < MODEL_EVENTS_MAX);
    list->items[list->count++] = event;
}

static const struct model_facts *facts_of(uint32_t node)
{
    return model_world.facts[node];
}

static bool has_timer(uint32_t node, uint32_t timer)
{
    return (facts_of(node)->timers >> timer & 1) != 0;
}

static uint32_t conn_node(uint32_t conn, uint32_t side)
{
    return side == 0 ? model_conn_from(conn) : model_conn_to(conn);
}

static bool has_budget(enum model_budget budget)
{
    return net()->budgets[budget] > 0;
}

// A fault of a budget that it is to be taken from: fault - 1 is the budget.
static void add_fault(struct list *list, struct model_event event, enum model_budget budget)
{
    if (has_budget(budget)) {
        event.fault = (uint8_t)(budget + 1);
        add(list, event);
    }
}

// ---- what may happen ---------------------------------------------------------------------------------

static void conn_moves(struct list *list, uint32_t conn)
{
    const struct model_conn *c = model_conn_at(conn);
    for (uint8_t side = 0; side < 2; side++) {
        if (!c->open[side]) {
            continue;
        }
        if (c->count[side] > 0) {
            add(list,
                (struct model_event){.kind = MODEL_EV_DELIVER, .a = (uint16_t)conn, .b = side});
        }
        if (c->cut || !c->open[1 - side]) {
            add(list,
                (struct model_event){.kind = MODEL_EV_CLOSED, .a = (uint16_t)conn, .b = side});
        }
    }
}

static void server_moves(struct list *list, uint32_t server)
{
    const struct model_facts *facts = facts_of(server);
    struct model_event event = {.a = (uint16_t)server};
    if (!facts->up) {
        return;
    }
    for (uint32_t left = facts->flushes; left != 0; left &= left - 1) {
        event.kind = MODEL_EV_FLUSH;
        event.b = (uint8_t)__builtin_ctz(left);
        add(list, event);
    }
    event.b = 0;
    if (facts->control == 0 && facts_of(MODEL_MASTER)->up) {
        event.kind = MODEL_EV_REGISTER;
        add(list, event);
    }
    if (facts->commit) {
        event.kind = MODEL_EV_COMMIT;
        add(list, event);
    }
}

static bool is_ended(const struct model_conn *c, uint8_t side)
{
    return c->open[side] && c->count[side] == 0 && (c->cut || !c->open[1 - side]);
}

// Ends that change nothing which anybody could see: whenever one happens, all states before it and
// behind it do the same. So it happens first, alone. They are the end of a connection that a server
// accepted and owes no answer on; and the end of a server's connection to the master, after which it
// may register: what it sends is lost before it as behind it, and it may register later.
static bool end_is_silent(uint32_t conn, uint8_t *ret_side)
{
    const struct model_conn *c = model_conn_at(conn);
    if (model_conn_to(conn) == MODEL_MASTER) {
        *ret_side = 0;
        return model_conn_from(conn) < MODEL_MASTER && is_ended(c, 0);
    }
    *ret_side = 1;
    if (!is_ended(c, 1)) {
        return false;
    }
    return (facts_of(model_conn_to(conn))->conns[conn / 64] >> conn % 64 & 1) == 0;
}

static void moves(struct list *list)
{
    const struct model_config *config = model_world.config;
    for (uint32_t conn = 0; (conn = model_conn_next(conn)) != 0;) {
        conn_moves(list, conn);
    }
    for (uint32_t server = 0; server < config->servers_count; server++) {
        server_moves(list, server);
    }
    for (uint32_t client = 0; client < config->clients_count; client++) {
        for (uint32_t server = 0; server < config->servers_count; server++) {
            if ((facts_of(MODEL_CLIENT(client))->closing >> server & 1) != 0) {
                add(list, (struct model_event){.kind = MODEL_EV_DESTROYED,
                                               .a = (uint16_t)client,
                                               .b = (uint8_t)server});
            }
        }
    }
}

static void starts(struct list *list)
{
    for (uint32_t server = 0; server < model_world.config->servers_count; server++) {
        if (!facts_of(server)->up) {
            add(list, (struct model_event){.kind = MODEL_EV_RESTART, .a = (uint16_t)server});
        }
    }
    if (!facts_of(MODEL_MASTER)->up) {
        add(list, (struct model_event){.kind = MODEL_EV_MASTER_RESTART});
    }
    for (uint32_t i = 0; i < MODEL_LIMBO_MAX; i++) {
        const struct model_late *late = &net()->limbo[i];
        if (late->message != 0 && facts_of(late->node)->up) {
            add(list, (struct model_event){.kind = MODEL_EV_GHOST, .a = (uint16_t)i});
        }
    }
}

static void timer(struct list *list, struct model_event event, bool still)
{
    if (still) {
        add(list, event);
    } else {
        add_fault(list, event, MODEL_EARLY);
    }
}

// A heartbeat brings something new: a lease has run out, or the master does not know the connection.
static bool beat_counts(uint32_t server)
{
    uint32_t conn = facts_of(server)->control;
    bool known = (facts_of(MODEL_MASTER)->conns[conn / 64] >> conn % 64 & 1) != 0;
    return has_timer(server, MODEL_BEAT) || !known;
}

static void timers(struct list *list, bool still)
{
    const struct model_config *config = model_world.config;
    for (uint32_t client = 0; client < config->clients_count; client++) {
        if (has_timer(MODEL_CLIENT(client), MODEL_EARLY)) {
            timer(list, (struct model_event){.kind = MODEL_EV_WAKE, .a = (uint16_t)client}, still);
        }
    }
    for (uint8_t which = MODEL_TIMER_RETRY; which <= MODEL_TIMER_GRACE; which++) {
        if (has_timer(MODEL_MASTER, which)) {
            timer(list, (struct model_event){.kind = MODEL_EV_MASTER_TIMER, .a = which}, still);
        }
    }
    for (uint32_t server = 0; server < config->servers_count; server++) {
        if (has_timer(server, MODEL_EARLY)) {
            timer(list, (struct model_event){.kind = MODEL_EV_REPORT, .a = (uint16_t)server},
                  still);
        }
        if (facts_of(server)->control != 0) {
            struct model_event beat = {.kind = MODEL_EV_BEAT, .a = (uint16_t)server};
            if (still && beat_counts(server)) {
                add(list, beat);
            } else {
                add_fault(list, beat, MODEL_BEAT);
            }
        }
    }
}

// A message may arrive twice if it is a request whose sender does not depend on its connection.
static bool may_come_twice(const struct model_entry *entry)
{
    const struct model_message *message = model_message_at(entry->message);
    if (entry->reply) {
        return false;
    }
    return message->kind == MODEL_WIRE ||
           (message->request->body_case != PAWL__REQUEST__BODY_REGISTER &&
            message->request->body_case != PAWL__REQUEST__BODY_HEARTBEAT);
}

static bool has_limbo(void)
{
    for (uint32_t i = 0; i < MODEL_LIMBO_MAX; i++) {
        if (net()->limbo[i].message == 0) {
            return true;
        }
    }
    return false;
}

static void conn_faults(struct list *list, uint32_t conn)
{
    const struct model_conn *c = model_conn_at(conn);
    for (uint8_t side = 0; side < 2; side++) {
        if (!c->open[side] || c->count[side] == 0) {
            continue;
        }
        struct model_event event = {.a = (uint16_t)conn, .b = side};
        const struct model_entry *entry = &c->queue[side][0];
        const struct model_message *message = model_message_at(entry->message);
        uint32_t to = conn_node(conn, side);
        if (may_come_twice(entry) && has_limbo()) {
            event.kind = MODEL_EV_TWIN;
            add_fault(list, event, MODEL_TWIN);
        }
        if (message->payload != 0) {
            event.kind = MODEL_EV_TORN;
            add_fault(list, event, MODEL_TORN);
        }
        if (to == MODEL_MASTER && model_master_hint_counts(message)) {
            event.kind = MODEL_EV_HINT;
            add_fault(list, event, MODEL_HINT);
        }
    }
    if (c->open[0] && c->open[1] && !c->cut) {
        add_fault(list, (struct model_event){.kind = MODEL_EV_BREAK, .a = (uint16_t)conn},
                  MODEL_BREAK);
    }
}

static void node_faults(struct list *list)
{
    const struct model_config *config = model_world.config;
    for (uint32_t server = 0; server < config->servers_count; server++) {
        struct model_event event = {.kind = MODEL_EV_CRASH, .a = (uint16_t)server};
        if (!facts_of(server)->up) {
            continue;
        }
        add_fault(list, event, MODEL_CRASH);
        event.kind = MODEL_EV_SERVER;
        for (event.b = 0; event.b < MODEL_BUDGETS; event.b++) {
            bool of_server = event.b == MODEL_SUSPECT || event.b == MODEL_LAPSE;
            if (of_server && has_budget(event.b) && has_timer(server, event.b)) {
                add_fault(list, event, event.b);
            }
        }
    }
    for (uint32_t client = 0; client < config->clients_count; client++) {
        struct model_event event = {.kind = MODEL_EV_CLIENT, .a = (uint16_t)client};
        for (event.b = MODEL_ATTEMPT; event.b <= MODEL_DEADLINE; event.b++) {
            if (has_budget(event.b) && has_timer(MODEL_CLIENT(client), event.b)) {
                add_fault(list, event, event.b);
            }
        }
    }
    if (!facts_of(MODEL_MASTER)->up) {
        return;
    }
    add_fault(list, (struct model_event){.kind = MODEL_EV_MASTER_CRASH}, MODEL_MASTER_CRASH);
    if (has_budget(MODEL_LAPSE) && has_timer(MODEL_MASTER, MODEL_TIMER_LEASE)) {
        add_fault(list, (struct model_event){.kind = MODEL_EV_LEASE}, MODEL_LAPSE);
    }
    for (uint32_t left = facts_of(MODEL_MASTER)->commands; left != 0; left &= left - 1) {
        add_fault(list,
                  (struct model_event){.kind = MODEL_EV_LATE, .a = (uint16_t)__builtin_ctz(left)},
                  MODEL_LATE);
    }
}

// Without images the facts are looked up in the parts.
static void facts_refresh(void)
{
    static struct model_facts facts[MODEL_PARTS];
    for (uint32_t part = 0; part < MODEL_PARTS && !model_world.images; part++) {
        model_facts_take(part, &facts[part]);
        model_world.facts[part] = &facts[part];
    }
}

uint32_t model_events(struct model_event *ret)
{
    struct list list = {.items = ret};
    facts_refresh();
    for (uint32_t conn = 0; (conn = model_conn_next(conn)) != 0;) {
        struct model_event event = {.kind = MODEL_EV_CLOSED, .a = (uint16_t)conn};
        if (end_is_silent(conn, &event.b)) {
            add(&list, event);
            return list.count;
        }
    }
    moves(&list);
    bool still = list.count == 0;
    starts(&list);
    timers(&list, still);
    for (uint32_t conn = 0; (conn = model_conn_next(conn)) != 0;) {
        conn_faults(&list, conn);
    }
    node_faults(&list);
    return list.count;
}

// ---- how it happens ----------------------------------------------------------------------------------

static void limbo_put(uint32_t node, uint32_t conn, uint32_t message)
{
    for (uint32_t i = 0; i < MODEL_LIMBO_MAX; i++) {
        if (net()->limbo[i].message == 0) {
            net()->limbo[i] = (struct model_late){
                .message = message, .conn = (uint16_t)conn, .node = (uint8_t)node};
            return;
        }
    }
    pawl_assert(false);
}

// Takes the message out of the network.
static void pop(struct model_act *act)
{
    struct model_event event = act->event;
    struct model_conn *c = model_conn_at(event.a);
    pawl_assert(c->count[event.b] > 0);
    act->entry = c->queue[event.b][0];
    c->count[event.b]--;
    memmove(&c->queue[event.b][0], &c->queue[event.b][1],
            c->count[event.b] * sizeof(c->queue[0][0]));
    c->queue[event.b][c->count[event.b]] = (struct model_entry){0};
    if (event.kind == MODEL_EV_TWIN) {
        limbo_put(act->node, event.a, act->entry.message);
    }
}

static void deliver(const struct model_act *act)
{
    struct model_event event = act->event;
    uint32_t node = act->node;
    if (node < MODEL_MASTER) {
        model_server_frame(node, event.a, &act->entry, event.kind == MODEL_EV_TORN);
    } else if (node == MODEL_MASTER) {
        model_master_frame(event.a, &act->entry, event.kind == MODEL_EV_HINT);
    } else {
        model_client_frame(node - MODEL_CLIENT(0), event.a, &act->entry, event.chance);
    }
}

// A late twin comes by a connection of its own; a report is known by its sender's connection.
static void pop_late(struct model_act *act)
{
    struct model_late *late = &net()->limbo[act->event.a];
    act->entry = (struct model_entry){.message = late->message};
    act->node = late->node;
    act->conn = late->node == MODEL_MASTER ? late->conn : MODEL_GHOST;
    act->event.a = 0; // which place it had does not matter
    *late = (struct model_late){0};
}

static void ghost(const struct model_act *act)
{
    if (act->node == MODEL_MASTER) {
        model_master_frame(act->conn, &act->entry, false);
    } else {
        model_server_frame(act->node, act->conn, &act->entry, false);
    }
}

static void closed(struct model_event event, uint32_t node)
{
    if (node < MODEL_MASTER) {
        model_server_closed(node, event.a);
    } else if (node == MODEL_MASTER) {
        model_master_closed(event.a);
    } else {
        model_client_closed(node - MODEL_CLIENT(0), event.a);
    }
}

static void apply_timer(struct model_event event)
{
    switch (event.kind) {
    case MODEL_EV_WAKE:
        model_client_timer(event.a, MODEL_EARLY);
        break;
    case MODEL_EV_MASTER_TIMER:
        model_master_timer(event.a);
        break;
    case MODEL_EV_REPORT:
        model_server_timer(event.a, MODEL_EARLY);
        break;
    case MODEL_EV_BEAT:
        model_server_beat(event.a);
        break;
    case MODEL_EV_SERVER:
        model_server_timer(event.a, event.b);
        break;
    case MODEL_EV_CLIENT:
        model_client_timer(event.a, event.b);
        break;
    case MODEL_EV_LEASE:
        model_master_timer(MODEL_TIMER_LEASE);
        break;
    default:
        pawl_assert(event.kind == MODEL_EV_LATE);
        model_master_late(event.a);
    }
}

void model_act(const struct model_act *act)
{
    struct model_event event = act->event;
    switch (event.kind) {
    case MODEL_EV_DELIVER:
    case MODEL_EV_TWIN:
    case MODEL_EV_TORN:
    case MODEL_EV_HINT:
        deliver(act);
        break;
    case MODEL_EV_CLOSED:
        closed(event, act->node);
        break;
    case MODEL_EV_FLUSH:
        model_server_flushed(event.a, event.b);
        break;
    case MODEL_EV_REGISTER:
        model_server_register(event.a);
        model_world.touched[event.a] = true;
        break;
    case MODEL_EV_DESTROYED:
        model_client_destroyed(event.a, event.b);
        break;
    case MODEL_EV_COMMIT:
        model_server_tell_commit(event.a);
        break;
    case MODEL_EV_GHOST:
        ghost(act);
        break;
    case MODEL_EV_RESTART:
        model_server_start(event.a);
        break;
    case MODEL_EV_MASTER_RESTART:
        model_master_start();
        break;
    case MODEL_EV_CRASH:
        model_server_crash(event.a);
        break;
    case MODEL_EV_MASTER_CRASH:
        model_master_crash();
        break;
    case MODEL_EV_RENAME:
        model_normalise_conn(act->node, act->conn, event.a);
        break;
    default:
        apply_timer(event);
    }
    if (!model_world.violated) {
        model_oracle_check();
    }
}

static uint32_t node_of(struct model_event event)
{
    switch (event.kind) {
    case MODEL_EV_DELIVER:
    case MODEL_EV_TWIN:
    case MODEL_EV_TORN:
    case MODEL_EV_HINT:
    case MODEL_EV_CLOSED:
        return conn_node(event.a, event.b);
    case MODEL_EV_DESTROYED:
    case MODEL_EV_WAKE:
    case MODEL_EV_CLIENT:
        return MODEL_CLIENT(event.a);
    case MODEL_EV_MASTER_RESTART:
    case MODEL_EV_MASTER_TIMER:
    case MODEL_EV_MASTER_CRASH:
    case MODEL_EV_LEASE:
    case MODEL_EV_LATE:
        return MODEL_MASTER;
    default:
        return event.a; // servers; late twins: pop_late()
    }
}

static bool act_at(const struct model_act *act)
{
    if (model_world.images) {
        return model_memo_act(act);
    }
    model_act(act);
    return true;
}

// The connections of a server to the master have the least numbers that are free: which one of the
// past has ended by now is no part of a state.
static void rename_conns(void)
{
    bool lots = model_world.lots;
    for (uint32_t conn = 0; (conn = model_conn_next(conn)) != 0;) {
        uint32_t server = model_conn_from(conn);
        bool control = server < MODEL_MASTER && model_conn_to(conn) == MODEL_MASTER;
        uint32_t lower = control ? model_conn_lower(conn) : 0;
        if (lower == 0) {
            continue;
        }
        struct model_act act = {
            .event = {.kind = MODEL_EV_RENAME, .a = (uint16_t)lower}, .node = server, .conn = conn};
        model_conn_rename(conn, lower);
        bool done = act_at(&act);
        act.node = MODEL_MASTER;
        pawl_assert(done && act_at(&act));
    }
    model_world.lots = lots;
}

void model_event_apply(struct model_event event)
{
    model_world.chance = event.chance;
    model_world.lots = false;
    model_world.refused = false;
    struct model_net *n = net();
    if (event.fault != 0) {
        n->budgets[event.fault - 1]--;
    }
    model_world.touched[MODEL_PART_NET] = true;
    if (event.kind == MODEL_EV_BREAK) {
        model_conn_at(event.a)->cut = true; // nobody has a part in it
        return;
    }
    struct model_act act = {.event = event, .node = node_of(event)};
    if (event.kind == MODEL_EV_DELIVER || event.kind == MODEL_EV_TWIN ||
        event.kind == MODEL_EV_TORN || event.kind == MODEL_EV_HINT) {
        pop(&act);
    } else if (event.kind == MODEL_EV_GHOST) {
        pop_late(&act);
    }
    act.event.fault = 0; // the network has taken note of it
    model_world.unrepeated = !act_at(&act);
    if (model_world.merge && !model_world.unrepeated && !model_world.violated) {
        rename_conns();
    }
}

// ---- text ------------------------------------------------------------------------------------------

static const char *node_name(uint32_t node)
{
    static const char *const names[MODEL_NODES] = {"cs1",    "cs2",     "cs3",
                                                   "master", "client1", "client2"};
    return names[node];
}

static void text_conn(struct model_event event, const char *verb, char *buf, size_t bytes)
{
    const struct model_conn *c = model_conn_at(event.a);
    uint32_t nodes[2] = {model_conn_from(event.a), model_conn_to(event.a)};
    char text[160] = "";
    if (event.kind != MODEL_EV_CLOSED && event.kind != MODEL_EV_BREAK) {
        model_message_text(c->queue[event.b][0].message, text, sizeof(text));
    }
    snprintf(buf, bytes, "%s < %s %s%s", node_name(nodes[event.b]), node_name(nodes[1 - event.b]),
             verb, text);
}

static void text_ghost(uint32_t at, char *buf, size_t bytes)
{
    char text[160];
    model_message_text(net()->limbo[at].message, text, sizeof(text));
    snprintf(buf, bytes, "%s < late twin: %s", node_name(net()->limbo[at].node), text);
}

static const char *const event_names[MODEL_EV_KINDS] = {
    [MODEL_EV_DELIVER] = "",
    [MODEL_EV_CLOSED] = "connection closed",
    [MODEL_EV_FLUSH] = "flush ends",
    [MODEL_EV_REGISTER] = "registers",
    [MODEL_EV_DESTROYED] = "endpoint destroyed",
    [MODEL_EV_COMMIT] = "tells its commit count",
    [MODEL_EV_RESTART] = "starts",
    [MODEL_EV_MASTER_RESTART] = "master starts",
    [MODEL_EV_WAKE] = "pause is over",
    [MODEL_EV_MASTER_TIMER] = "master's timer",
    [MODEL_EV_REPORT] = "repeats its reports",
    [MODEL_EV_BEAT] = "heartbeat",
    [MODEL_EV_CRASH] = "CRASH",
    [MODEL_EV_MASTER_CRASH] = "CRASH master",
    [MODEL_EV_BREAK] = "BREAK",
    [MODEL_EV_TWIN] = "(a twin will come) ",
    [MODEL_EV_TORN] = "TORN ",
    [MODEL_EV_HINT] = "(the grant is old) ",
    [MODEL_EV_SERVER] = "TIMER",
    [MODEL_EV_CLIENT] = "TIMER",
    [MODEL_EV_LEASE] = "LEASE lapses at the master",
    [MODEL_EV_LATE] = "LATE command",
};

void model_event_text(struct model_event event, char *buf, size_t bytes)
{
    const char *name = event_names[event.kind];
    switch (event.kind) {
    case MODEL_EV_DELIVER:
    case MODEL_EV_CLOSED:
    case MODEL_EV_TWIN:
    case MODEL_EV_TORN:
    case MODEL_EV_HINT:
    case MODEL_EV_BREAK:
        text_conn(event, name, buf, bytes);
        break;
    case MODEL_EV_GHOST:
        text_ghost(event.a, buf, bytes);
        break;
    case MODEL_EV_MASTER_RESTART:
    case MODEL_EV_MASTER_CRASH:
    case MODEL_EV_MASTER_TIMER:
    case MODEL_EV_LEASE:
    case MODEL_EV_LATE:
        snprintf(buf, bytes, "%s %u", name, event.a);
        break;
    case MODEL_EV_DESTROYED:
    case MODEL_EV_WAKE:
    case MODEL_EV_CLIENT:
        snprintf(buf, bytes, "%s %s %u", node_name(MODEL_CLIENT(event.a)), name, event.b);
        break;
    default:
        snprintf(buf, bytes, "%s %s %u", node_name(event.a), name, event.b);
    }
}
