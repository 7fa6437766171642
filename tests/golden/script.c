// SPDX-License-Identifier: Apache-2.0
// Plays a case: sets the cluster up, carries rules out, and writes the trace.
//
// Nothing is left to chance. A hop takes 10 us and a flush 20, ticks come at fixed times, and what is
// still drawn (ids, the master's choice among equal primaries, jitter of a client's pauses) comes
// from fixed seeds; for the master's choice the seed is one that gives the primaries that the case
// names.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/hash.h"
#include "golden.h"

// Time 0 of a trace: all are there, and have just sent a heartbeat.
#define ZERO_NS (1050 * SIM_MS + 500 * SIM_US)
#define WARM_NS (400 * SIM_MS)
#define SLICE_NS (5 * SIM_MS)

static struct golden_run *run_of(struct sim *sim)
{
    return sim->script->user;
}

void golden_error(struct golden_run *run, uint32_t line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "line %u: ", line);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    run->failed = true;
}

struct sim_node *golden_node(struct golden_run *run, const char *name)
{
    for (uint32_t i = 0; i < run->sim->nodes_count; i++) {
        struct sim_node *node = &run->sim->nodes[i];
        if (strcmp(node->role == SIM_MASTER ? "m" : node->name, name) == 0) {
            return node;
        }
    }
    return NULL;
}

// ---- the trace ---------------------------------------------------------------------------------------

static void trace(struct golden_run *run, const char *text, bool hidden)
{
    double ms = (double)(run->sim->now_ns - run->zero_ns) / (double)SIM_MS;
    if (!run->playing) {
        return;
    }
    golden_text_add(&run->lines, "%s", text);
    if (!hidden) {
        golden_text_add(&run->trace, "    %9.3f  %s", ms, text);
    }
}

static void act(struct golden_run *run, const struct golden_rule *rule);

// The rule that has waited for this line.
static const struct golden_rule *rule_of(struct golden_run *run, const char *text)
{
    const struct golden_rule *hit = NULL;
    for (uint32_t i = 0; run->playing && i < run->test->rules_count; i++) {
        struct golden_rule *rule = &run->rules[i];
        if (rule->timed || !golden_like(text, rule->pattern) || ++rule->seen != rule->nth) {
            continue;
        }
        if (hit != NULL) {
            golden_error(run, rule->line, "two rules have waited for this: %s", text);
        }
        hit = rule;
    }
    return hit;
}

static void on_rule(struct sim *sim, struct sim_event *event)
{
    act(run_of(sim), &run_of(sim)->rules[event->a]);
}

// Something has happened inside a node: what follows from it comes right after, and what the node
// says in between is not heard if it is to crash.
static void happened(struct golden_run *run, const char *text, bool hidden)
{
    struct sim *sim = run->sim;
    trace(run, text, hidden);
    const struct golden_rule *rule = rule_of(run, text);
    if (rule == NULL) {
        return;
    }
    for (uint32_t i = 0; i < rule->actions_count; i++) {
        const struct golden_action *action = &rule->actions[i];
        const struct sim_node *node = golden_node(run, action->node);
        for (size_t c = 0; action->verb == GOLDEN_CRASH && action->after_ns == 0 && node != NULL &&
                           c < sim->conns_count;
             c++) {
            struct sim_conn *conn = sim->conns[c];
            int side = conn->side[0].node == node ? 0 : conn->side[1].node == node ? 1 : -1;
            if (side >= 0) {
                conn->cut[1 - side] = true;
            }
        }
    }
    sim_at(sim, 0, (struct sim_event){.run = on_rule, .a = (uint64_t)(rule - run->rules)});
}

// ---- actions -------------------------------------------------------------------------------------------

static void do_crash(struct golden_run *run, const struct golden_action *action,
                     struct sim_node *node)
{
    char text[64];
    snprintf(text, sizeof(text), "%s crashes", action->node);
    if (node->up) {
        trace(run, text, false);
        run->keep = action->number;
        sim_crash(run->sim, node);
        run->keep = 0;
    }
}

static void node_start(struct golden_run *run, struct sim_node *node)
{
    run->draws = 0;
    sim_start(run->sim, node);
}

static void do_start(struct golden_run *run, const struct golden_action *action,
                     struct sim_node *node)
{
    char text[64];
    snprintf(text, sizeof(text), "%s starts", action->node);
    trace(run, text, false);
    node_start(run, node);
}

static void do_freeze(struct golden_run *run, const struct golden_action *action,
                      struct sim_node *node)
{
    char text[64];
    snprintf(text, sizeof(text), "%s freezes for %llu ms", action->node,
             (unsigned long long)(action->time_ns / SIM_MS));
    trace(run, text, false);
    node->frozen_until_ns = run->sim->now_ns + action->time_ns;
}

static void do_cut(struct golden_run *run, const struct golden_action *action,
                   const struct sim_node *node)
{
    char text[64];
    struct sim *sim = run->sim;
    uint64_t until_ns = sim->now_ns + action->time_ns;
    snprintf(text, sizeof(text), "%s %s %s: cut for %llu ms", action->node,
             action->one_way ? ">" : "-", action->other,
             (unsigned long long)(action->time_ns / SIM_MS));
    trace(run, text, false);
    for (uint32_t i = 0; i < sim->nodes_count; i++) {
        const struct sim_node *other = &sim->nodes[i];
        if (other != node &&
            (strcmp(action->other, "all") == 0 || golden_node(run, action->other) == other)) {
            sim->blocks[node->id][other->id] = (struct sim_block){.until_ns = until_ns};
            if (!action->one_way) {
                sim->blocks[other->id][node->id] = (struct sim_block){.until_ns = until_ns};
            }
        }
    }
}

static void do_reset(struct golden_run *run, const struct golden_action *action,
                     const struct sim_node *node)
{
    char text[64];
    struct sim *sim = run->sim;
    const struct sim_node *other = golden_node(run, action->other);
    snprintf(text, sizeof(text), "%s - %s: reset", action->node, action->other);
    trace(run, text, false);
    for (size_t i = 0; i < sim->conns_count; i++) {
        struct sim_conn *conn = sim->conns[i];
        const struct sim_node *a = conn->side[0].node;
        const struct sim_node *b = conn->side[1].node;
        if (((a == node && b == other) || (a == other && b == node)) && conn->side[0].open) {
            sim_break(sim, conn);
        }
    }
}

static void trace_submit(struct golden_run *run, const struct sim_node *node, const char *verb,
                         const struct sim_append *append, int code)
{
    char id[32];
    char text[GOLDEN_TEXT];
    golden_id(run, &append->id, id, sizeof(id));
    snprintf(text, sizeof(text), "%s %s %s%s%s", node->name, verb, id,
             code != 0 ? ", refused: " : "", code != 0 ? golden_code(code) : "");
    happened(run, text, false);
}

static void do_append(struct golden_run *run, const struct golden_rule *rule,
                      const struct golden_action *action, struct sim_node *node)
{
    for (uint64_t i = 0; i < action->number && !run->failed; i++) {
        struct golden_append *a = &run->appends[run->appends_count];
        if (!sim_client_is_running(node)) {
            golden_error(run, rule->line, "%s is not ready to append", action->node);
            return;
        }
        if (run->appends_count == GOLDEN_APPENDS_MAX) {
            golden_error(run, rule->line, "too many appends");
            return;
        }
        *a = (struct golden_append){.client = node->index, .told_ns = UINT64_MAX};
        run->appends_count++;
        int code = sim_client_append(run->sim, node, action->bytes, &a->append);
        if (code != 0) {
            a->status = a->first_status = code;
            a->times_told = 1;
        }
        trace_submit(run, node, "appends", a->append, code);
    }
}

static struct golden_append *append_of(struct golden_run *run, uint32_t client, uint64_t sequence)
{
    for (uint32_t i = run->appends_count; i > 0; i--) {
        struct golden_append *a = &run->appends[i - 1];
        if (a->client == client && a->append->id.sequence == sequence) {
            return a;
        }
    }
    return NULL;
}

static void do_again(struct golden_run *run, const struct golden_rule *rule,
                     const struct golden_action *action, struct sim_node *node)
{
    const struct golden_append *a = append_of(run, node->index, action->number);
    bool forge = action->verb == GOLDEN_FORGE;
    if (a == NULL || !sim_client_is_running(node)) {
        golden_error(run, rule->line, "%s has nothing to repeat", action->node);
        return;
    }
    int code = sim_client_repeat(run->sim, node, a->append, forge);
    trace_submit(run, node, forge ? "forges" : "repeats", a->append, code);
}

// ---- writes at an offset -----------------------------------------------------------------------------

static void do_write(struct golden_run *run, const struct golden_rule *rule,
                     const struct golden_action *action, struct sim_node *node)
{
    struct golden_append *a = &run->appends[run->appends_count];
    if (!sim_client_is_running(node) || run->appends_count == GOLDEN_APPENDS_MAX) {
        golden_error(run, rule->line, "%s is not ready to write", action->node);
        return;
    }
    *a = (struct golden_append){.client = node->index, .told_ns = UINT64_MAX};
    run->appends_count++;
    int code =
        sim_client_write(run->sim, node, (uint32_t)action->number, action->bytes, &a->append);
    if (code != 0) {
        a->status = a->first_status = code;
        a->times_told = 1;
    }
    trace_submit(run, node, "writes", a->append, code);
}

static void do_with_chunk(struct golden_run *run, const struct golden_rule *rule,
                          const struct golden_action *action, struct sim_node *node)
{
    char text[64];
    const struct golden_chunk *chunk = golden_chunk_named(run, action->chunk);
    const struct sim_node *server = golden_node(run, action->other);
    bool read = action->verb == GOLDEN_READ;
    if (chunk == NULL || node->role != SIM_CLIENT || node->state == NULL ||
        (read && (server == NULL || server->role != SIM_CHUNKD))) {
        golden_error(run, rule->line, "there is no chunk %s, or not these nodes", action->chunk);
        return;
    }
    const char *verb = read ? "reads" : action->verb == GOLDEN_SEAL ? "seals" : "opens";
    snprintf(text, sizeof(text), "%s %s %s%s%s", node->name, verb, action->chunk,
             read ? " from " : "", read ? server->name : "");
    happened(run, text, false);
    if (read) {
        sim_client_read(run->sim, node, chunk->handle, server->index);
    } else if (action->verb == GOLDEN_SEAL) {
        sim_client_seal_tail(run->sim, node, chunk->handle);
    } else {
        sim_client_open_log(run->sim, node, chunk->handle, chunk->length);
    }
}

static void do_extend(struct golden_run *run, const struct golden_action *action,
                      struct sim_node *node)
{
    char text[64];
    snprintf(text, sizeof(text), "%s extends its file to %llu bytes", node->name,
             (unsigned long long)action->number);
    happened(run, text, false);
    sim_client_extend(run->sim, node, action->number);
}

// False: it is none of these.
static bool carry_out_write(struct golden_run *run, const struct golden_rule *rule,
                            const struct golden_action *action, struct sim_node *node)
{
    switch (action->verb) {
    case GOLDEN_WRITE:
        do_write(run, rule, action, node);
        return true;
    case GOLDEN_OPENS:
    case GOLDEN_READ:
    case GOLDEN_SEAL:
        do_with_chunk(run, rule, action, node);
        return true;
    case GOLDEN_EXTEND:
        do_extend(run, action, node);
        return true;
    default:
        return false;
    }
}

static void carry_out(struct golden_run *run, const struct golden_rule *rule,
                      const struct golden_action *action)
{
    struct sim_node *node = golden_node(run, action->node);
    if (node == NULL) {
        golden_error(run, rule->line, "there is no node '%s'", action->node);
        return;
    }
    switch (action->verb) {
    case GOLDEN_CRASH:
        do_crash(run, action, node);
        break;
    case GOLDEN_START:
        do_start(run, action, node);
        break;
    case GOLDEN_FREEZE:
        do_freeze(run, action, node);
        break;
    case GOLDEN_CUT:
        do_cut(run, action, node);
        break;
    case GOLDEN_RESET:
        do_reset(run, action, node);
        break;
    case GOLDEN_APPEND:
        do_append(run, rule, action, node);
        break;
    case GOLDEN_REPEAT:
    case GOLDEN_FORGE:
        do_again(run, rule, action, node);
        break;
    default:
        if (!carry_out_write(run, rule, action, node)) {
            golden_error(run, rule->line, "only a message can be lost, held or doubled");
        }
        break;
    }
}

static bool is_of_message(const struct golden_action *action)
{
    return action->verb == GOLDEN_LOSE || action->verb == GOLDEN_HOLD ||
           action->verb == GOLDEN_TWICE;
}

static void on_late(struct sim *sim, struct sim_event *event)
{
    const struct golden_rule *rule = &run_of(sim)->rules[event->a];
    carry_out(run_of(sim), rule, &rule->actions[event->b]);
}

// All but what concerns the message itself.
static void act(struct golden_run *run, const struct golden_rule *rule)
{
    for (uint32_t i = 0; i < rule->actions_count && !run->failed; i++) {
        const struct golden_action *action = &rule->actions[i];
        if (action->after_ns != 0) {
            sim_at(run->sim, action->after_ns,
                   (struct sim_event){.run = on_late, .a = (uint64_t)(rule - run->rules), .b = i});
        } else if (!is_of_message(action)) {
            carry_out(run, rule, action);
        }
    }
}

// ---- messages ---------------------------------------------------------------------------------------------

static uint64_t hold_until(const struct golden_run *run, const struct sim_conn *conn, int to)
{
    for (uint32_t i = run->holds_count; i > 0; i--) {
        if (run->holds[i - 1].conn == conn->id && run->holds[i - 1].to == to) {
            return run->holds[i - 1].until_ns;
        }
    }
    return 0;
}

// A frame whose time has come is not looked at again.
static bool was_released(struct golden_run *run, const struct sim_frame *frame)
{
    for (uint32_t i = 0; i < run->released_count; i++) {
        if (run->released[i] == frame) {
            run->released[i] = run->released[--run->released_count];
            return true;
        }
    }
    return false;
}

static void hold(struct golden_run *run, struct sim_conn *conn, int to, struct sim_frame *frame,
                 uint64_t time_ns)
{
    if (run->holds_count < PAWL_ARRAY_COUNT(run->holds) &&
        run->released_count < PAWL_ARRAY_COUNT(run->released)) {
        run->holds[run->holds_count].conn = conn->id;
        run->holds[run->holds_count].to = to;
        run->holds[run->holds_count++].until_ns = run->sim->now_ns + time_ns;
        run->released[run->released_count++] = frame;
    } else {
        golden_error(run, 0, "too many messages are held");
    }
    conn->side[to].last_ns = PAWL_MAX(conn->side[to].last_ns, run->sim->now_ns + time_ns);
    sim_deliver(run->sim, conn, to, frame, time_ns);
}

static void twice(struct golden_run *run, struct sim_conn *conn, int to,
                  const struct sim_frame *frame, uint64_t time_ns)
{
    struct sim_frame *twin = sim_frame_copy(frame);
    if (frame->control) {
        twin->request += 1000000;
    } else {
        struct wire_header header;
        memcpy(&header, twin->data, sizeof(header));
        header.request += 1000000;
        memcpy(twin->data, &header, sizeof(header));
    }
    sim_deliver(run->sim, conn, to, twin, time_ns);
}

// The fate of the message that a rule has waited for. False: it has been taken.
static bool decide(struct golden_run *run, const struct golden_rule *rule, struct sim_conn *conn,
                   int to, struct sim_frame *frame, const struct golden_line *line)
{
    char text[2 * GOLDEN_TEXT];
    const char *fate = "";
    const struct golden_action *held = NULL;
    bool lost = false;
    for (uint32_t i = 0; i < rule->actions_count; i++) {
        const struct golden_action *action = &rule->actions[i];
        if (action->verb == GOLDEN_LOSE) {
            fate = "  [lost]";
            lost = true;
        } else if (action->verb == GOLDEN_HOLD) {
            fate = "  [held]";
            held = action;
        } else if (action->verb == GOLDEN_TWICE) {
            fate = "  [twice]";
            twice(run, conn, to, frame, action->time_ns);
        }
    }
    snprintf(text, sizeof(text), "%s%s", line->text, fate);
    if (fate[0] != 0) {
        trace(run, text, line->hidden);
    }
    act(run, rule);
    if (lost) {
        conn->cut[to] = true;
        sim_frame_free(frame);
        return false;
    }
    if (held != NULL) {
        hold(run, conn, to, frame, held->time_ns);
        return false;
    }
    const struct sim_side *side = &conn->side[to];
    if (side->node->frozen_until_ns > run->sim->now_ns) {
        hold(run, conn, to, frame, side->node->frozen_until_ns - run->sim->now_ns);
        return false;
    }
    // Otherwise its loss is traced when it is found.
    bool whole = side->open && sim_alive(side->node, side->life) && !conn->cut[to];
    if (fate[0] == 0 && whole) {
        trace(run, text, line->hidden);
    }
    return true;
}

static void note_grant(struct golden_run *run, const struct sim_conn *conn, int to,
                       const struct sim_frame *frame)
{
    if (!frame->control || frame->reply || run->granted_count == GOLDEN_DRAWS_MAX) {
        return;
    }
    Pawl__Request *m = pawl__request__unpack(NULL, frame->bytes, frame->data);
    bool grant = m != NULL && m->body_case == PAWL__REQUEST__BODY_GRANT &&
                 (m->grant->handle != run->grant_handle || m->grant->version != run->grant_version);
    if (grant) {
        char *name = run->granted[run->granted_count];
        run->grant_handle = m->grant->handle;
        run->grant_version = m->grant->version;
        snprintf(name, sizeof(run->granted[0]), "%.7s", conn->side[to].node->name);
        run->drawn_wrong |= run->granted_count < run->test->draws_count &&
                            strcmp(name, run->test->draws[run->granted_count]) != 0;
        run->granted_count++;
    }
    pawl__request__free_unpacked(m, NULL);
}

static bool on_arrives(struct sim *sim, struct sim_conn *conn, int to, struct sim_frame *frame)
{
    struct golden_run *run = run_of(sim);
    struct golden_line line;
    bool released = was_released(run, frame);
    uint64_t until_ns = hold_until(run, conn, to);
    if (until_ns > sim->now_ns) {
        sim_deliver(sim, conn, to, frame, until_ns - sim->now_ns);
        return false;
    }
    note_grant(run, conn, to, frame);
    golden_describe(run, conn, to, frame, &line);
    const struct golden_rule *rule = released ? NULL : rule_of(run, line.text);
    if (rule != NULL) {
        return decide(run, rule, conn, to, frame, &line);
    }
    trace(run, line.text, line.hidden);
    return true;
}

// Lost with its connection or its receiver.
static void on_lost(struct sim *sim, struct sim_conn *conn, int to, const struct sim_frame *frame)
{
    struct golden_run *run = run_of(sim);
    struct golden_line line;
    char text[2 * GOLDEN_TEXT];
    if (run->over) {
        return;
    }
    (void)was_released(run, frame);
    note_grant(run, conn, to, frame);
    golden_describe(run, conn, to, frame, &line);
    snprintf(text, sizeof(text), "%s  [lost]", line.text);
    trace(run, text, line.hidden);
}

static void on_closed(struct sim *sim, const struct sim_conn *conn, int side)
{
    char text[64];
    const struct sim_node *node = conn->side[side].node;
    const struct sim_node *other = conn->side[1 - side].node;
    snprintf(text, sizeof(text), "%s: connection %s %s is gone",
             node->role == SIM_MASTER ? "m" : node->name, side == 0 ? "to" : "from",
             other->role == SIM_MASTER ? "m" : other->name);
    happened(run_of(sim), text, false);
}

// ---- what is seen -------------------------------------------------------------------------------------------

static void on_durable(struct sim *sim, const struct sim_node *node, const struct sim_disk_op *op)
{
    struct golden_line line;
    golden_describe_disk(run_of(sim), node, op, &line);
    happened(run_of(sim), line.text, line.hidden);
}

static void on_logged(struct sim *sim, const Pawl__LogRecord *record)
{
    struct golden_line line;
    golden_describe_log(run_of(sim), record, &line);
    happened(run_of(sim), line.text, line.hidden);
}

static void on_told(struct sim *sim, const struct sim_node *client,
                    const struct append_action *done)
{
    struct golden_run *run = run_of(sim);
    char text[GOLDEN_TEXT];
    if ((done->record_flags & WIRE_RECORD_EPOCH) != 0) {
        snprintf(text, sizeof(text), "%s opened its epoch: %s, last sequence %llu", client->name,
                 done->status == 0 ? "done" : golden_code(done->status),
                 (unsigned long long)done->reply_sequence);
        happened(run, text, false);
        return;
    }
    struct golden_append *a = append_of(run, client->index, done->sequence);
    char id[32] = "?";
    if (a != NULL) {
        golden_id(run, &a->append->id, id, sizeof(id));
        a->first_status = a->times_told == 0 ? done->status : a->first_status;
        a->times_told++;
        a->status = done->status;
        a->offset = done->status == 0 ? done->file_offset : a->offset;
        if (done->status == 0 && a->told_ns == UINT64_MAX) {
            a->told_ns = sim->now_ns - run->zero_ns;
        }
    }
    if (done->status == 0) {
        snprintf(text, sizeof(text), "%s has %s at %llu%s", client->name, id,
                 (unsigned long long)done->file_offset, done->duplicate ? ", duplicate" : "");
    } else {
        snprintf(text, sizeof(text), "%s ends %s: %s", client->name, id, golden_code(done->status));
    }
    if (done->status == PAWL_EFENCED) {
        sim_client_retire(client); // it does not open another epoch
    }
    happened(run, text, false);
}

// Of the master's notes those about servers are a part of the story.
static void on_noted(struct sim *sim, const char *text)
{
    char line[GOLDEN_TEXT];
    const char *about = strncmp(text, "m1 note: server ", 16) == 0 ? text + 16 : NULL;
    if (about != NULL && (strstr(about, " suspect:") != NULL || strstr(about, " dead:") != NULL)) {
        snprintf(line, sizeof(line), "m calls %.*s", (int)strcspn(about, ":"), about);
        happened(run_of(sim), line, false);
    }
}

// Bounds of times give 0, ids something that differs from draw to draw.
static uint64_t on_draw(struct sim *sim, uint64_t bound)
{
    struct golden_run *run = run_of(sim);
    if (bound > UINT32_MAX) {
        return pawl_hash_u64(run->seed * 1000003 + ++run->draws) % bound;
    }
    return bound > 0 ? PAWL_MIN(run->keep, bound - 1) : 0;
}

// ---- the run -----------------------------------------------------------------------------------------------

static void on_ask(struct sim *sim, struct sim_event *event);

// Opens the file's first chunk before time 0: a question for the tail whose answer nobody waits for.
static void ask_tail(struct sim *sim)
{
    sim_at(sim, 20 * SIM_MS, (struct sim_event){.run = on_ask});
}

static void on_ask(struct sim *sim, struct sim_event *event)
{
    struct golden_run *run = run_of(sim);
    struct sim_node *node = sim_node_of(sim, SIM_CLIENT, 0);
    (void)event;
    if (run->granted_count > 0 || run->playing) {
        return;
    }
    if (sim_client_is_running(node)) {
        sim_client_ask_tail(sim, node);
    }
    ask_tail(sim);
}

static void start_all(struct golden_run *run)
{
    struct sim *sim = run->sim;
    for (uint32_t i = 0; i < sim->nodes_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        bool later = (node->role == SIM_CLIENT && run->test->later[node->index]) ||
                     (node->role == SIM_CHUNKD && run->test->later_servers[node->index]);
        if (!later) {
            node_start(run, node);
        }
    }
}

static void run_to(struct golden_run *run, uint64_t end_ns)
{
    struct sim *sim = run->sim;
    while (sim->now_ns < end_ns && !sim->violated && !run->failed && !run->drawn_wrong) {
        sim_run_until(sim, PAWL_MIN(end_ns, sim->now_ns + SLICE_NS));
    }
}

static bool is_set_up(struct golden_run *run)
{
    struct sim *sim = run->sim;
    // Writers have nothing to write to yet.
    for (uint32_t i = 0; i < sim->params.clients_count - sim->params.writers_count; i++) {
        const struct sim_node *node = sim_node_of(sim, SIM_CLIENT, i);
        if (!run->test->later[i] && !sim_client_is_running(node)) {
            return false;
        }
    }
    return run->test->cold || run->granted_count > 0;
}

static void plan(struct golden_run *run)
{
    for (uint32_t i = 0; i < run->test->rules_count; i++) {
        if (run->rules[i].timed) {
            sim_at(run->sim, run->rules[i].at_ns, (struct sim_event){.run = on_rule, .a = i});
        }
    }
}

static void check_rules(struct golden_run *run)
{
    for (uint32_t i = 0; i < run->test->rules_count && !run->failed; i++) {
        const struct golden_rule *rule = &run->rules[i];
        if (!rule->timed && rule->seen < rule->nth) {
            golden_error(run, rule->line, "it never came to this: %s", rule->pattern);
        }
    }
}

bool golden_play(const struct golden_case *test, uint64_t seed, struct golden_run *run)
{
    *run = (struct golden_run){.test = test, .seed = seed, .zero_ns = ZERO_NS};
    run->script = (struct sim_script){.user = run,
                                      .draw = on_draw,
                                      .arrives = on_arrives,
                                      .lost = on_lost,
                                      .closed = on_closed,
                                      .durable = on_durable,
                                      .logged = on_logged,
                                      .told = on_told,
                                      .noted = on_noted};
    run->rules = sim_copy(test->rules, test->rules_count * sizeof(test->rules[0]));
    run->sim = sim_new_scripted(&test->params, &run->script);
    start_all(run);
    run_to(run, WARM_NS);
    if (!test->cold) {
        ask_tail(run->sim);
    }
    run_to(run, ZERO_NS);
    if (run->drawn_wrong) {
        return true;
    }
    if (!is_set_up(run)) {
        golden_error(run, 0, "the cluster is not ready at time 0");
        return false;
    }
    memset(run->busy, 0, sizeof(run->busy));
    run->playing = true;
    plan(run);
    run_to(run, ZERO_NS + test->until_ns);
    if (run->drawn_wrong) {
        return true;
    }
    // A grant too few is none of the master's luck.
    if (!run->failed && run->granted_count < test->draws_count) {
        golden_error(run, 0, "only %u of the %u grants were made", run->granted_count,
                     test->draws_count);
    }
    check_rules(run);
    return !run->failed;
}

void golden_run_free(struct golden_run *run)
{
    run->over = true; // of frames that are still on their way nothing is said
    sim_free(run->sim);
    free(run->rules);
    free(run->requests);
    free(run->trace.data);
    free(run->lines.data);
}
