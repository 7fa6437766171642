// SPDX-License-Identifier: Apache-2.0
// Swarm parameters: each seed switches another set of faults on, so that no fault hides another.
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
    p->writers_count = PAWL_MIN(PICK(r, 0, 0, 1, 2), p->clients_count - 1);
}

static void draw_work(struct sim_params *p, struct pawl_random *r)
{
    p->record_bytes_max = PICK(r, 64, 1024, 4096, 8192);
    p->depth_max = PICK(r, 1, 2, 8, 32);
    p->records_count = PICK(r, 60, 150, 300);
    p->think_max_us = PICK(r, 100, 5000, 50000, 200000);
    p->deadline_ms = PICK(r, 300, 2000, 8000, 30000);
    p->attempt_ms = PICK(r, 150, 600, 2000);
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
    p->faults_ms = PICK(r, 3000, 8000, 15000);
    p->overtake = pawl_random_chance(r, 1, 2);
}

void sim_params_draw(struct sim_params *params, struct pawl_random *random)
{
    *params = (struct sim_params){0};
    draw_cluster(params, random);
    draw_work(params, random);
    draw_faults(params, random);
}
