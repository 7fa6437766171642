// SPDX-License-Identifier: Apache-2.0
// Connections: two queues of messages, and ends that each side learns of in its own time.
//
// As with TCP nothing is lost from the middle of a stream. A connection whose other side has closed
// may still deliver what is under way, or lose any end of it: the notice of the close may come at
// any moment.
#include <string.h>

#include "model.h"

static struct model_net_log *recorded; // NULL: nothing is recorded

static struct model_net *net(void)
{
    return model_part(MODEL_PART_NET);
}

void model_net_record(struct model_net_log *log)
{
    recorded = log;
}

static void record(struct model_net_op op)
{
    if (recorded != NULL) {
        pawl_assert(recorded->count < MODEL_NET_OPS_MAX);
        recorded->ops[recorded->count++] = op;
    }
}

struct model_conn *model_conn_at(uint32_t conn)
{
    pawl_assert(conn >= 1 && conn <= MODEL_CONNS);
    return &net()->conns[conn - 1];
}

static bool is_used(uint32_t conn)
{
    return (net()->used[conn / 64] >> conn % 64 & 1) != 0;
}

uint32_t model_conn_next(uint32_t conn)
{
    const struct model_net *n = net();
    uint32_t at = conn + 1;
    for (; at <= MODEL_CONNS; at = (at | 63) + 1) {
        uint64_t left = n->used[at / 64] >> at % 64;
        if (left != 0) {
            return at + (uint32_t)__builtin_ctzll(left);
        }
    }
    return 0;
}

uint32_t model_conn_from(uint32_t conn)
{
    uint32_t from = (conn - 1) / MODEL_GENERATIONS / (MODEL_SERVERS_MAX + 1);
    return from < MODEL_SERVERS_MAX ? from : from + 1;
}

uint32_t model_conn_to(uint32_t conn)
{
    return (conn - 1) / MODEL_GENERATIONS % (MODEL_SERVERS_MAX + 1);
}

int model_conn_side(uint32_t conn, uint32_t node)
{
    return model_conn_from(conn) == node ? 0 : 1;
}

static bool node_is_up(uint32_t node)
{
    return node > MODEL_MASTER || model_world.up[node];
}

uint32_t model_conn_lower(uint32_t conn)
{
    uint32_t first = conn - (conn - 1) % MODEL_GENERATIONS;
    for (uint32_t i = 0; i < MODEL_LIMBO_MAX; i++) {
        const struct model_late *late = &net()->limbo[i];
        if (late->message != 0 && late->conn >= first && late->conn < first + MODEL_GENERATIONS) {
            return 0; // its number is one of the past
        }
    }
    for (uint32_t lower = first; lower < conn; lower++) {
        if (!is_used(lower)) {
            return lower;
        }
    }
    return 0;
}

void model_conn_rename(uint32_t from, uint32_t to)
{
    pawl_assert(is_used(from) && !is_used(to));
    *model_conn_at(to) = *model_conn_at(from);
    *model_conn_at(from) = (struct model_conn){0};
    net()->used[to / 64] |= UINT64_C(1) << to % 64;
    net()->used[from / 64] &= ~(UINT64_C(1) << from % 64);
}

static uint32_t pair_index(uint32_t from, uint32_t to)
{
    return (from < MODEL_MASTER ? from : from - 1) * (MODEL_SERVERS_MAX + 1) + to;
}

static uint32_t generation_free(uint32_t index)
{
    uint32_t generation = 0;
    while (generation < MODEL_GENERATIONS && is_used(1 + index * MODEL_GENERATIONS + generation)) {
        generation++;
    }
    return generation;
}

// Refused at once where nobody listens: the notice is the answer.
uint32_t model_connect(uint32_t from, uint32_t to)
{
    pawl_assert(from != MODEL_MASTER && to <= MODEL_MASTER);
    uint32_t index = pair_index(from, to);
    uint32_t generation = generation_free(index);
    pawl_assert(generation < MODEL_GENERATIONS);
    bool up = node_is_up(to);
    model_world.refused |= !up;
    uint32_t conn = 1 + index * MODEL_GENERATIONS + generation;
    net()->used[conn / 64] |= UINT64_C(1) << conn % 64;
    *model_conn_at(conn) = (struct model_conn){.cut = !up, .open = {true, up}};
    record((struct model_net_op){
        .kind = MODEL_NET_CONNECT, .node = (uint8_t)from, .conn = (uint16_t)conn, .to = to});
    return conn;
}

uint32_t model_net_next(uint32_t node)
{
    uint32_t next = 0;
    for (uint32_t to = 0; node != MODEL_MASTER && to <= MODEL_MASTER; to++) {
        next = next << 4 | generation_free(pair_index(node, to));
    }
    return next;
}

void model_send(uint32_t conn, uint32_t from, struct model_entry entry)
{
    struct model_conn *c = model_conn_at(conn);
    int side = model_conn_side(conn, from);
    int to = 1 - side;
    record((struct model_net_op){
        .kind = MODEL_NET_SEND, .node = (uint8_t)from, .conn = (uint16_t)conn, .entry = entry});
    pawl_assert(is_used(conn));
    if (!c->open[side] || !c->open[to] || c->cut) {
        return;
    }
    pawl_assert(c->count[to] < MODEL_QUEUE_MAX);
    c->queue[to][c->count[to]++] = entry;
}

// The other side may be closed already: then nobody knows the connection any more.
void model_close(uint32_t conn, uint32_t node)
{
    struct model_conn *c = model_conn_at(conn);
    int side = model_conn_side(conn, node);
    record((struct model_net_op){
        .kind = MODEL_NET_CLOSE, .node = (uint8_t)node, .conn = (uint16_t)conn});
    pawl_assert(is_used(conn) && c->open[side]);
    c->open[side] = false;
    memset(c->queue[side], 0, sizeof(c->queue[side]));
    c->count[side] = 0;
    if (!c->open[1 - side]) {
        *c = (struct model_conn){0};
        net()->used[conn / 64] &= ~(UINT64_C(1) << conn % 64);
    }
}

void model_cut(uint32_t conn)
{
    record((struct model_net_op){.kind = MODEL_NET_CUT, .conn = (uint16_t)conn});
    model_conn_at(conn)->cut = true;
}

void model_net_crashed(uint32_t node)
{
    struct model_net_log *log = recorded;
    record((struct model_net_op){.kind = MODEL_NET_CRASHED, .node = (uint8_t)node});
    recorded = NULL; // which connections there are is no part of it
    for (uint32_t conn = 0; (conn = model_conn_next(conn)) != 0;) {
        const struct model_conn *c = model_conn_at(conn);
        bool own = model_conn_from(conn) == node || model_conn_to(conn) == node;
        if (own && c->open[model_conn_side(conn, node)]) {
            model_close(conn, node);
        }
    }
    recorded = log;
}

bool model_net_repeat(const struct model_net_op *ops, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct model_net_op *op = &ops[i];
        switch ((enum model_net_op_kind)op->kind) {
        case MODEL_NET_CONNECT:
            if (model_connect(op->node, op->to) != op->conn) {
                return false;
            }
            break;
        case MODEL_NET_SEND:
            model_send(op->conn, op->node, op->entry);
            break;
        case MODEL_NET_CLOSE:
            model_close(op->conn, op->node);
            break;
        case MODEL_NET_CUT:
            model_cut(op->conn);
            break;
        case MODEL_NET_CRASHED:
            model_net_crashed(op->node);
            break;
        }
    }
    return true;
}

// ---- images --------------------------------------------------------------------------------------------

static uint64_t entry_pack(const struct model_entry *entry)
{
    return (uint64_t)entry->message << 32 | (uint64_t)entry->request << 16 | entry->reply;
}

static struct model_entry entry_unpack(uint64_t word)
{
    return (struct model_entry){.message = (uint32_t)(word >> 32),
                                .request = (uint16_t)(word >> 16),
                                .reply = (word & 1) != 0};
}

static uint32_t conn_pack(const struct model_conn *c, uint64_t *ret)
{
    uint32_t count = 1;
    ret[0] = (uint64_t)(c->cut | c->open[0] << 1 | c->open[1] << 2 | c->count[0] << 8 |
                        c->count[1] << 16);
    for (uint32_t side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < c->count[side]; i++) {
            ret[count++] = entry_pack(&c->queue[side][i]);
        }
    }
    return count;
}

static uint32_t conn_unpack(struct model_conn *c, const uint64_t *words)
{
    uint32_t count = 1;
    *c = (struct model_conn){.cut = (words[0] & 1) != 0,
                             .open = {(words[0] & 2) != 0, (words[0] & 4) != 0},
                             .count = {(uint8_t)(words[0] >> 8), (uint8_t)(words[0] >> 16)}};
    for (uint32_t side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < c->count[side]; i++) {
            c->queue[side][i] = entry_unpack(words[count++]);
        }
    }
    return count;
}

#define USED_WORDS PAWL_ARRAY_COUNT(((struct model_net *)0)->used)

uint32_t model_net_pack(uint64_t *ret)
{
    const struct model_net *n = net();
    uint32_t count = 0;
    for (uint32_t i = 0; i < USED_WORDS; i++) {
        ret[count++] = n->used[i];
    }
    for (uint32_t i = 0; i < MODEL_BUDGETS; i++) {
        ret[count + i / 8] = (i % 8 == 0 ? 0 : ret[count + i / 8]) | (uint64_t)n->budgets[i]
                                                                         << i % 8 * 8;
    }
    count += (MODEL_BUDGETS + 7) / 8;
    for (uint32_t i = 0; i < MODEL_LIMBO_MAX; i++) {
        const struct model_late *late = &n->limbo[i];
        ret[count++] = (uint64_t)late->message << 32 | (uint64_t)late->conn << 16 | late->node;
    }
    for (uint32_t conn = 0; (conn = model_conn_next(conn)) != 0;) {
        count += conn_pack(&n->conns[conn - 1], ret + count);
    }
    return count;
}

void model_net_unpack(const uint64_t *image)
{
    struct model_net *n = net();
    for (uint32_t conn = 0; (conn = model_conn_next(conn)) != 0;) {
        n->conns[conn - 1] = (struct model_conn){0};
    }
    for (uint32_t i = 0; i < USED_WORDS; i++) {
        n->used[i] = *image++;
    }
    for (uint32_t i = 0; i < MODEL_BUDGETS; i++) {
        n->budgets[i] = (uint8_t)(image[i / 8] >> i % 8 * 8);
    }
    image += (MODEL_BUDGETS + 7) / 8;
    for (uint32_t i = 0; i < MODEL_LIMBO_MAX; i++, image++) {
        n->limbo[i] = (struct model_late){.message = (uint32_t)(*image >> 32),
                                          .conn = (uint16_t)(*image >> 16),
                                          .node = (uint8_t)*image};
    }
    for (uint32_t conn = 0; (conn = model_conn_next(conn)) != 0;) {
        image += conn_unpack(&n->conns[conn - 1], image);
    }
}
