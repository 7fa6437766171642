// SPDX-License-Identifier: Apache-2.0
// Partial order reduction: where it is enough to look at what a client does next (docs/model.md).
//
// The events of one client are a persistent set: what others do, before the client has moved, neither
// takes one of them away, nor adds one, nor changes what they do, nor the other way round. For that
// no fault may be left that could strike at a connection or at the client; everything that the
// client waits for on a connection that lives must have come already; and nothing that it does may
// hang on whether a server is up, which is known only when it has done it (model_world.refused).
#include <string.h>

#include "model.h"

static bool faults_are_over(void)
{
    static const enum model_budget budgets[] = {MODEL_CRASH,   MODEL_MASTER_CRASH, MODEL_BREAK,
                                                MODEL_ATTEMPT, MODEL_DEADLINE,     MODEL_EARLY};
    const struct model_net *net = model_part(MODEL_PART_NET);
    for (uint32_t i = 0; i < PAWL_ARRAY_COUNT(budgets); i++) {
        if (net->budgets[budgets[i]] > 0) {
            return false;
        }
    }
    return true;
}

static bool is_of_client(const struct model_event *event, uint32_t client)
{
    if (event->kind == MODEL_EV_DELIVER || event->kind == MODEL_EV_CLOSED) {
        return event->b == 0 && model_conn_from(event->a) == MODEL_CLIENT(client);
    }
    return event->kind == MODEL_EV_DESTROYED && event->a == client;
}

// Something may still come on a connection on which nothing is.
static bool waits(uint32_t client)
{
    const struct model_facts *facts = model_world.facts[MODEL_CLIENT(client)];
    for (uint32_t conn = 0; (conn = model_conn_next(conn)) != 0;) {
        const struct model_conn *c = model_conn_at(conn);
        bool lives = c->open[0] && c->open[1] && !c->cut;
        bool owed = (facts->conns[conn / 64] >> conn % 64 & 1) != 0;
        if (model_conn_from(conn) == MODEL_CLIENT(client) && lives && owed && c->count[0] == 0) {
            return true;
        }
    }
    return false;
}

uint32_t model_reduce(struct model_event *events, uint32_t count)
{
    if (!faults_are_over()) {
        return 0;
    }
    for (uint32_t client = 0; client < model_world.config->clients_count; client++) {
        uint32_t first = 0;
        for (uint32_t i = 0; i < count; i++) {
            if (is_of_client(&events[i], client)) {
                struct model_event event = events[i];
                memmove(&events[first + 1], &events[first], (i - first) * sizeof(events[0]));
                events[first++] = event;
            }
        }
        if (first > 0 && !waits(client)) {
            return first;
        }
    }
    return 0;
}
