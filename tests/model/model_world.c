// SPDX-License-Identifier: Apache-2.0
// The world: its parts, and how it comes to the state that the exploration begins with.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model.h"

struct model_world model_world;

void model_violation(const char *format, ...)
{
    va_list args;
    if (model_world.violated) {
        return; // the first one counts
    }
    va_start(args, format);
    vsnprintf(model_world.violation, sizeof(model_world.violation), format, args);
    va_end(args);
    model_world.violated = true;
}

void model_note(const char *format, ...)
{
    va_list args;
    if (!model_world.verbose) {
        return;
    }
    va_start(args, format);
    fputs("         ", stdout);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

static size_t root_bytes(uint32_t part)
{
    if (part < MODEL_MASTER) {
        return sizeof(struct model_server);
    }
    if (part == MODEL_MASTER) {
        return sizeof(struct model_master);
    }
    if (part < MODEL_PART_NET) {
        return sizeof(struct model_client);
    }
    return part == MODEL_PART_NET ? sizeof(struct model_net) : model_oracle_bytes();
}

void model_world_new(const struct model_config *config)
{
    struct model_world set = {.config = config,
                              .validate = model_world.validate,
                              .merge = model_world.merge,
                              .forgets = model_world.forgets};
    model_world = set;
    for (uint32_t part = 0; part < MODEL_PARTS; part++) {
        model_world.regions[part] = model_region_new(root_bytes(part));
        model_world.touched[part] = true;
    }
}

// Events without a choice: the first one, until nothing moves any more.
static void settle(void)
{
    struct model_event events[MODEL_EVENTS_MAX];
    for (uint32_t rounds = 0; rounds < 10000; rounds++) {
        uint32_t count = model_events(events);
        if (count == 0 || events[0].kind >= MODEL_EV_WAKE) {
            if (count == 0 || model_oracle_all_answered()) {
                return;
            }
        }
        model_event_apply(events[0]);
        pawl_assert(!model_world.violated);
    }
    pawl_assert(false);
}

static uint64_t create_file(void)
{
    static char path[] = "/file";
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__Create body = PAWL__CREATE__INIT;
    body.path = path;
    body.replicas = model_world.config->replicas;
    body.min_replicas = model_world.config->min_replicas;
    body.chunk_bytes = 64u << 10;
    message.body_case = PAWL__REQUEST__BODY_CREATE;
    message.create = &body;
    const Pawl__Reply *reply = model_message_at(model_master_call(&message))->reply;
    pawl_assert(reply->code == 0);
    return reply->file->file_id;
}

// Asks for the tail, so that the first chunk is opened and granted.
static void open_tail(uint64_t file_id)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__GetTail body = PAWL__GET_TAIL__INIT;
    body.file_id = file_id;
    body.append = true;
    message.body_case = PAWL__REQUEST__BODY_GET_TAIL;
    message.get_tail = &body;
    (void)model_master_call(&message);
}

void model_world_boot(void)
{
    const struct model_config *config = model_world.config;
    model_master_start();
    for (uint32_t server = 0; server < config->servers_count; server++) {
        model_server_start(server);
        model_server_register(server);
    }
    settle();
    uint64_t file_id = create_file();
    for (uint32_t client = 0; client < config->clients_count; client++) {
        model_client_start(client, file_id);
    }
    if (!config->cold) {
        open_tail(file_id);
        settle();
    }
    if (config->settled) {
        model_master_timer(MODEL_TIMER_GRACE);
        settle();
    }
    for (uint32_t i = 0; i < config->preload_count; i++) {
        model_client_submit(0);
        settle();
    }
    for (uint32_t client = 0; client < config->clients_count; client++) {
        for (uint32_t i = 0; i < config->records_count; i++) {
            model_client_submit(client);
        }
    }
    struct model_net *net = model_part(MODEL_PART_NET);
    memcpy(net->budgets, config->budgets, sizeof(net->budgets));
    model_world.touched[MODEL_PART_NET] = true;
    model_world.touched[MODEL_PART_ORACLE] = true;
}
