// SPDX-License-Identifier: Apache-2.0
// Connections: two queues of messages, and ends that each side learns of in its own time.
//
// As with TCP nothing is lost from the middle of a stream. A connection whose other side has closed
// may still deliver what is under way, or lose any end of it: the notice of the close may come at
// any moment.
#include <string.h>

#include "model.h"

static struct model_net *net(void)
{
    return model_region_root(model_world.regions[MODEL_PART_NET]);
}

struct model_conn *model_conn_at(uint32_t conn)
{
    pawl_assert(conn >= 1 && conn <= MODEL_PAIRS * MODEL_GENERATIONS);
    return &net()->conns[(conn - 1) / MODEL_GENERATIONS][(conn - 1) % MODEL_GENERATIONS];
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
    if (node == MODEL_MASTER) {
        return model_master_node()->core != NULL;
    }
    return node > MODEL_MASTER || model_server_at(node)->core != NULL;
}

// Refused at once where nobody listens: the notice is the answer.
uint32_t model_connect(uint32_t from, uint32_t to)
{
    pawl_assert(from != MODEL_MASTER && to <= MODEL_MASTER);
    uint32_t index = (from < MODEL_MASTER ? from : from - 1) * (MODEL_SERVERS_MAX + 1) + to;
    struct model_conn *pair = net()->conns[index];
    uint32_t generation = 0;
    while (generation < MODEL_GENERATIONS && pair[generation].used) {
        generation++;
    }
    pawl_assert(generation < MODEL_GENERATIONS);
    bool up = node_is_up(to);
    pair[generation] = (struct model_conn){.used = true, .cut = !up, .open = {true, up}};
    return 1 + index * MODEL_GENERATIONS + generation;
}

void model_send(uint32_t conn, uint32_t from, struct model_entry entry)
{
    struct model_conn *c = model_conn_at(conn);
    int side = model_conn_side(conn, from);
    int to = 1 - side;
    pawl_assert(c->used);
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
    pawl_assert(c->used && c->open[side]);
    c->open[side] = false;
    memset(c->queue[side], 0, sizeof(c->queue[side]));
    c->count[side] = 0;
    if (!c->open[1 - side]) {
        *c = (struct model_conn){0};
    }
}

void model_net_crashed(uint32_t node)
{
    for (uint32_t conn = 1; conn <= MODEL_PAIRS * MODEL_GENERATIONS; conn++) {
        const struct model_conn *c = model_conn_at(conn);
        bool own = model_conn_from(conn) == node || model_conn_to(conn) == node;
        if (c->used && own && c->open[model_conn_side(conn, node)]) {
            model_close(conn, node);
        }
    }
}
