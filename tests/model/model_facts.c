// SPDX-License-Identifier: Apache-2.0
// What of a part decides what may happen next.
#include "controlplane/core/master_core_private.h"
#include "model.h"

static void conns_add(struct model_facts *ret, uint32_t conn)
{
    if (conn != 0 && conn != MODEL_GHOST) {
        ret->conns[conn / 64] |= UINT64_C(1) << conn % 64;
    }
}

static void facts_of_server(uint32_t server, struct model_facts *ret)
{
    static const enum model_budget timers[] = {MODEL_EARLY, MODEL_BEAT, MODEL_SUSPECT, MODEL_LAPSE};
    const struct model_server *s = model_server_at(server);
    const uint64_t *words = (const void *)s->disk.chunks;
    ret->up = s->core != NULL;
    ret->control = (uint16_t)s->control;
    for (uint32_t at = 0; at < s->disk.queue_count; at++) {
        bool ends = model_disk_may_finish(server, at, model_world.config->overtake);
        ret->flushes |= (uint16_t)(ends ? 1u << at : 0);
    }
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        conns_add(ret, s->served[i].conn);
    }
    for (uint32_t i = 0; i < PAWL_ARRAY_COUNT(timers); i++) {
        bool runs = model_server_has_timer(server, timers[i]);
        ret->timers |= (uint16_t)(runs ? 1u << timers[i] : 0);
    }
    ret->commit = model_world.config->commits && model_server_has_commit(server);
    size_t bytes = sizeof(s->disk.chunks);
    for (size_t i = 0; i < bytes / sizeof(*words); i++) {
        model_hash_mix(&ret->disk, words[i]);
    }
}

static void facts_of_master(struct model_facts *ret)
{
    const struct model_master *m = model_master_node();
    ret->up = m->core != NULL;
    for (uint32_t i = 0; m->core != NULL && i < m->core->servers_count; i++) {
        conns_add(ret, (uint32_t)m->core->servers_order[i]->conn);
    }
    for (uint32_t which = MODEL_TIMER_RETRY; which <= MODEL_TIMER_LEASE; which++) {
        ret->timers |= (uint16_t)(model_master_has_timer(which) ? 1u << which : 0);
    }
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        ret->commands |= (uint16_t)(m->commands[i].token != 0 ? 1u << i : 0);
    }
}

static void facts_of_client(uint32_t client, struct model_facts *ret)
{
    static const enum model_budget timers[] = {MODEL_EARLY, MODEL_ATTEMPT, MODEL_DEADLINE};
    ret->up = true;
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        const struct model_ask *ask = &model_client_at(client)->asks[i];
        conns_add(ret, ask->kind != 0 ? ask->conn : 0);
    }
    for (uint32_t server = 0; server < MODEL_SERVERS_MAX; server++) {
        ret->closing |= (uint8_t)(model_client_at(client)->closing[server] ? 1u << server : 0);
    }
    for (uint32_t i = 0; i < PAWL_ARRAY_COUNT(timers); i++) {
        bool runs = model_client_has_timer(client, timers[i]);
        ret->timers |= (uint16_t)(runs ? 1u << timers[i] : 0);
    }
}

void model_facts_take(uint32_t part, struct model_facts *ret)
{
    *ret = (struct model_facts){0};
    if (part < MODEL_MASTER) {
        facts_of_server(part, ret);
    } else if (part == MODEL_MASTER) {
        facts_of_master(ret);
    } else if (part < MODEL_PART_NET) {
        facts_of_client(part - MODEL_CLIENT(0), ret);
    } else if (part == MODEL_PART_ORACLE) {
        ret->answered = model_oracle_all_answered();
        ret->version = model_oracle_version();
    }
}
