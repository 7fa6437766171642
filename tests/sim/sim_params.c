// SPDX-License-Identifier: Apache-2.0
// Swarm parameters: each seed switches another set of faults on, so that no fault hides another.
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "sim.h"

static uint32_t pick(struct pawl_random *random, const uint32_t *values, uint32_t count)
{
    return values[pawl_random_below(random, count)];
}
#define PICK(random, ...)                                                                          \
    pick((random), (const uint32_t[]){__VA_ARGS__},                                                \
         (uint32_t)(sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)))

static void draw_cluster(struct sim_params *p, struct pawl_random *r)
{
    p->servers_count = PICK(r, 1, 2, 3, 3, 3, 4, 4, 5, 5);
    p->clients_count = 1 + (uint32_t)pawl_random_below(r, SIM_CLIENTS_MAX);
    p->files_count = PICK(r, 1, 1, 2);
    p->replicas = PAWL_MIN(PICK(r, 1, 2, 3, 3, 3), p->servers_count);
    p->min_replicas = 1 + (uint32_t)pawl_random_below(r, p->replicas);
    p->chunk_bytes = PICK(r, 65536, 65536, 131072);
    p->named = pawl_random_chance(r, 1, 2);
    p->remove = pawl_random_chance(r, 1, 5);
    p->shared_name = p->named && pawl_random_chance(r, 1, 3);
}

static void draw_work(struct sim_params *p, struct pawl_random *r)
{
    p->record_bytes_max = PICK(r, 64, 1024, 4096, 8192);
    p->depth_max = PICK(r, 1, 2, 8, 32);
    p->records_count = PICK(r, 60, 150, 300);
    p->think_max_us = PICK(r, 100, 5000, 50000, 200000);
    p->deadline_ms = PICK(r, 300, 2000, 8000, 30000);
    p->attempt_ms = PICK(r, 150, 600, 2000);
    p->inline_max = PICK(r, 0, 256, 1024, 65536);
    p->window_slots = PICK(r, 20, 24, 32, 64);
}

static void draw_faults(struct sim_params *p, struct pawl_random *r)
{
    p->delay_max_us = PICK(r, 50, 500, 5000, 30000);
    p->spike_permille = PICK(r, 0, 0, 5, 50);
    p->disk_max_us = PICK(r, 100, 2000, 20000);
    p->stall_permille = PICK(r, 0, 0, 20, 100);
    p->tear_permille = PICK(r, 0, 0, 5, 40);
    p->double_permille = PICK(r, 0, 0, 10, 100);
    p->trip_permyriad = PICK(r, 0, 0, 10, 100);
    p->error_permyriad = PICK(r, 0, 0, 0, 10);
    p->reset_ms = PICK(r, 0, 0, 300, 1500);
    p->block_ms = PICK(r, 0, 0, 800, 2500);
    p->freeze_ms = PICK(r, 0, 0, 1000, 3000);
    p->crash_ms = PICK(r, 0, 700, 2000, 4000);
    p->master_crash_ms = PICK(r, 0, 0, 1500, 4000);
    p->client_crash_ms = PICK(r, 0, 0, 2000, 5000);
    p->all_crash_ms = PICK(r, 0, 0, 0, 5000);
    p->lose_permyriad = PICK(r, 0, 0, 5, 50);
    p->late_permille = PICK(r, 0, 200, 1000);
    p->clock_ppm = PICK(r, 100, 100, 100, 20000, 1000000);
    p->jump_ms = PICK(r, 0, 0, 0, 3000);
    p->rot_ms = PICK(r, 0, 0, 0, 1000);
    p->full_ms = PICK(r, 0, 0, 0, 3000);
    p->faults_ms = PICK(r, 3000, 8000, 15000);
    p->overtake = pawl_random_chance(r, 1, 2);
}

// Of a stream of their own, so that seeds without sessions are the runs that they were.
static void draw_sessions(struct sim_params *p, const struct pawl_random *random)
{
    struct pawl_random own = *random;
    (void)pawl_random_next(&own);
    pawl_random_seed(&own, pawl_random_next(&own) ^ 0x5e5510);
    p->sessions = !p->named && pawl_random_chance(&own, 3, 4);
    p->session_ms = PICK(&own, 300, 600, 1500, 10000);
    p->cut_ms = p->sessions ? PICK(&own, 0, 1000, 3000) : 0;
}

static void draw_writers(struct sim_params *p, const struct pawl_random *random)
{
    struct pawl_random own = *random;
    pawl_random_seed(&own, pawl_random_next(&own) ^ 0x3717e5);
    p->writers_count = PAWL_MIN(PICK(&own, 0, 0, 1, 2), p->clients_count - 1);
}

// What is acknowledged from memory is lost only when all replicas crash at once.
static void draw_levels(struct sim_params *p, const struct pawl_random *random)
{
    struct pawl_random own = *random;
    pawl_random_seed(&own, pawl_random_next(&own) ^ 0xac4);
    p->replicated_permille = PICK(&own, 0, 0, 300, 1000);
    if (p->replicated_permille != 0) {
        p->all_crash_ms = PICK(&own, 300, 1000, 5000);
        p->disk_max_us = PICK(&own, 2000, 20000, 100000);
    }
}

static void draw_runs(struct sim_params *p, const struct pawl_random *random)
{
    struct pawl_random own = *random;
    pawl_random_seed(&own, pawl_random_next(&own) ^ 0x9a7e5);
    p->gather_us = PICK(&own, 0, 0, 300, 5000);
}

static const struct {
    const char *name;
    size_t at;
    bool flag;
} fields[] = {
#define FIELD(name, field)                                                                         \
    {                                                                                              \
#name, offsetof(struct sim_params, field), false                                           \
    }
#define FLAG(name)                                                                                 \
    {                                                                                              \
#name, offsetof(struct sim_params, name), true                                             \
    }
    FIELD(servers, servers_count),
    FIELD(clients, clients_count),
    FIELD(writers, writers_count),
    FIELD(files, files_count),
    FIELD(replicas, replicas),
    FIELD(min_replicas, min_replicas),
    FIELD(chunk, chunk_bytes),
    FIELD(record, record_bytes_max),
    FIELD(depth, depth_max),
    FIELD(records, records_count),
    FIELD(think_us, think_max_us),
    FIELD(deadline_ms, deadline_ms),
    FIELD(attempt_ms, attempt_ms),
    FIELD(inline, inline_max),
    FIELD(slots, window_slots),
    FIELD(gather_us, gather_us),
    FIELD(delay_us, delay_max_us),
    FIELD(spike, spike_permille),
    FIELD(disk_us, disk_max_us),
    FIELD(stall, stall_permille),
    FIELD(tear, tear_permille),
    FIELD(double, double_permille),
    FIELD(lose, lose_permyriad),
    FIELD(late, late_permille),
    FIELD(replicated, replicated_permille),
    FIELD(rollback, rollback_permyriad),
    FIELD(wipe, wipe_permyriad),
    FIELD(trip, trip_permyriad),
    FIELD(error, error_permyriad),
    FIELD(clock_ppm, clock_ppm),
    FIELD(reset_ms, reset_ms),
    FIELD(block_ms, block_ms),
    FIELD(freeze_ms, freeze_ms),
    FIELD(crash_ms, crash_ms),
    FIELD(master_crash_ms, master_crash_ms),
    FIELD(client_crash_ms, client_crash_ms),
    FIELD(all_crash_ms, all_crash_ms),
    FIELD(jump_ms, jump_ms),
    FIELD(rot_ms, rot_ms),
    FIELD(full_ms, full_ms),
    FIELD(faults_ms, faults_ms),
    FIELD(lease_ms, lease_ms),
    FIELD(suspect_ms, suspect_ms),
    FIELD(dead_ms, dead_ms),
    FIELD(command_ms, command_ms),
    FIELD(session_ms, session_ms),
    FIELD(cut_ms, cut_ms),
    FLAG(remove),
    FLAG(named),
    FLAG(shared_name),
    FLAG(overtake),
    FLAG(sessions),
};

static int field_of(const char *name, size_t bytes)
{
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(fields); i++) {
        if (strlen(fields[i].name) == bytes && strncmp(fields[i].name, name, bytes) == 0) {
            return (int)i;
        }
    }
    return -1;
}

void sim_params_print(const struct sim_params *params, FILE *out)
{
    const char *base = (const char *)params;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(fields); i++) {
        uint32_t value = 0;
        if (fields[i].flag) {
            value = *(const bool *)(const void *)(base + fields[i].at);
        } else {
            memcpy(&value, base + fields[i].at, sizeof(value));
        }
        fprintf(out, "%s%s=%u", i > 0 ? "," : "", fields[i].name, value);
    }
    fprintf(out, "\n");
}

uint32_t *sim_params_field(struct sim_params *params, const char *name)
{
    int field = field_of(name, strlen(name));
    return field >= 0 && !fields[field].flag
               ? (uint32_t *)(void *)((char *)params + fields[field].at)
               : NULL;
}

bool sim_params_set(struct sim_params *params, const char *text)
{
    while (*text != '\0') {
        char *end = NULL;
        size_t bytes = strcspn(text, "=");
        int field = field_of(text, bytes);
        if (field < 0 || text[bytes] != '=') {
            return false;
        }
        unsigned long value = strtoul(text + bytes + 1, &end, 10);
        if (end == text + bytes + 1 || (*end != '\0' && *end != ',') || value > UINT32_MAX) {
            return false;
        }
        char *place = (char *)params + fields[field].at;
        if (fields[field].flag) {
            *(bool *)(void *)place = value != 0;
        } else {
            *(uint32_t *)(void *)place = (uint32_t)value;
        }
        text = end + (*end == ',' ? 1 : 0);
    }
    return true;
}

void sim_params_draw(struct sim_params *params, struct pawl_random *random)
{
    *params = (struct sim_params){0};
    draw_cluster(params, random);
    draw_work(params, random);
    draw_faults(params, random);
    params->lease_ms = 2000;
    params->suspect_ms = 1000;
    params->dead_ms = 3000;
    params->command_ms = 1000;
    draw_sessions(params, random);
    draw_writers(params, random);
    draw_levels(params, random);
    draw_runs(params, random);
}

void sim_params_losses(struct sim_params *params, uint64_t seed)
{
    uint64_t lot = pawl_hash_u64(seed ^ 0x1055) % 6;
    // A master that restarts has forgotten what it was told.
    bool told = params->master_crash_ms == 0 && params->all_crash_ms == 0;
    params->rollback_permyriad = lot < 2 && told ? 3000 : 0;
    params->wipe_permyriad = lot == 5 ? 2000 : 0;
}
