// SPDX-License-Identifier: Apache-2.0
// The named configurations: how large a cluster, how many faults.
#include <string.h>

#include "model.h"

// Every replica set may shrink to one member, so that a crash stops nobody for long.
#define CLUSTER(servers, clients, records)                                                         \
    .servers_count = (servers), .replicas = (servers), .clients_count = (clients),                 \
    .records_count = (records), .min_replicas = 1, .depth_max = 4, .chances = 2, .versions_max = 9

#define SMALL .record_bytes = 16
// Four of them fill a chunk.
#define LARGE .record_bytes = 16384

static const struct model_config configs[] = {
    {.name = "2r2w", .text = "no fault", CLUSTER(2, 1, 2), SMALL},
    {.name = "2r1w1c", .text = "1 crash", CLUSTER(2, 1, 1), SMALL, .budgets = {[MODEL_CRASH] = 1}},
    {.name = "2r2w1c", .text = "1 crash", CLUSTER(2, 1, 2), SMALL, .budgets = {[MODEL_CRASH] = 1}},
    {.name = "2r2w1c-settled",
     .text = "1 crash, long after the start of the master",
     CLUSTER(2, 1, 2),
     SMALL,
     .settled = true,
     .budgets = {[MODEL_CRASH] = 1}},
    {.name = "2r2w1m",
     .text = "1 crash of the master",
     CLUSTER(2, 1, 2),
     SMALL,
     .budgets = {[MODEL_MASTER_CRASH] = 1}},
    {.name = "2r1w1c1m",
     .text = "1 crash, 1 crash of the master",
     CLUSTER(2, 1, 1),
     SMALL,
     .budgets = {[MODEL_CRASH] = 1, [MODEL_MASTER_CRASH] = 1}},
    {.name = "2r2w1c1m",
     .text = "1 crash, 1 crash of the master",
     CLUSTER(2, 1, 2),
     SMALL,
     .budgets = {[MODEL_CRASH] = 1, [MODEL_MASTER_CRASH] = 1}},
    {.name = "2r1w1c1t",
     .text = "1 crash, 1 request arrives twice",
     CLUSTER(2, 1, 1),
     SMALL,
     .budgets = {[MODEL_CRASH] = 1, [MODEL_TWIN] = 1}},
    {.name = "2r2w1c1t",
     .text = "1 crash, 1 request arrives twice",
     CLUSTER(2, 1, 2),
     SMALL,
     .budgets = {[MODEL_CRASH] = 1, [MODEL_TWIN] = 1}},
    {.name = "2r2w1m1t",
     .text = "1 crash of the master, 1 request arrives twice",
     CLUSTER(2, 1, 2),
     SMALL,
     .budgets = {[MODEL_MASTER_CRASH] = 1, [MODEL_TWIN] = 1}},
    {.name = "2r2w1c1m1t",
     .text = "1 crash, 1 crash of the master, 1 request arrives twice",
     CLUSTER(2, 1, 2),
     SMALL,
     .budgets = {[MODEL_CRASH] = 1, [MODEL_MASTER_CRASH] = 1, [MODEL_TWIN] = 1}},
    {.name = "2r2w1c1m1t-settled",
     .text = "1 crash, 1 crash of the master, 1 request arrives twice, long after its start",
     CLUSTER(2, 1, 2),
     SMALL,
     .settled = true,
     .budgets = {[MODEL_CRASH] = 1, [MODEL_MASTER_CRASH] = 1, [MODEL_TWIN] = 1}},
    {.name = "2r1w2c",
     .text = "2 crashes",
     CLUSTER(2, 1, 1),
     SMALL,
     .budgets = {[MODEL_CRASH] = 2}},
    {.name = "2r2w1b",
     .text = "1 connection breaks",
     CLUSTER(2, 1, 2),
     SMALL,
     .budgets = {[MODEL_BREAK] = 1}},
    {.name = "2r2w1s",
     .text = "1 secondary is suspected, 1 late command, 1 torn payload",
     CLUSTER(2, 1, 2),
     SMALL,
     .budgets = {[MODEL_SUSPECT] = 1, [MODEL_LATE] = 1, [MODEL_TORN] = 1}},
    {.name = "2r1w1c1s",
     .text = "1 crash, 1 secondary is suspected",
     CLUSTER(2, 1, 1),
     SMALL,
     .budgets = {[MODEL_CRASH] = 1, [MODEL_SUSPECT] = 1}},
    {.name = "2r2w1d",
     .text = "1 append given up at its deadline, 1 late attempt, 1 hint, 1 lease lapses",
     CLUSTER(2, 1, 2),
     SMALL,
     .budgets = {[MODEL_DEADLINE] = 1, [MODEL_ATTEMPT] = 1, [MODEL_HINT] = 1, [MODEL_LAPSE] = 1}},
    {.name = "2r2w1f",
     .text = "a chunk fills, 1 crash",
     CLUSTER(2, 1, 2),
     LARGE,
     .preload_count = 3,
     .budgets = {[MODEL_CRASH] = 1}},
    {.name = "2r1w1p",
     .text = "2 producers, 1 crash",
     CLUSTER(2, 2, 1),
     SMALL,
     .budgets = {[MODEL_CRASH] = 1}},
    {.name = "2r1w1o",
     .text = "the first chunk is opened, 1 crash, 1 crash of the master",
     CLUSTER(2, 1, 1),
     SMALL,
     .cold = true,
     .budgets = {[MODEL_CRASH] = 1, [MODEL_MASTER_CRASH] = 1}},
    {.name = "2r2w1v",
     .text = "flushes end in any order, 1 crash",
     CLUSTER(2, 1, 2),
     SMALL,
     .overtake = true,
     .budgets = {[MODEL_CRASH] = 1}},
    {.name = "3r1w1c", .text = "1 crash", CLUSTER(3, 1, 1), SMALL, .budgets = {[MODEL_CRASH] = 1}},
    {.name = "3r2w1m",
     .text = "1 crash of the master",
     CLUSTER(3, 1, 2),
     SMALL,
     .budgets = {[MODEL_MASTER_CRASH] = 1}},
    {.name = "3r2w1t",
     .text = "1 request arrives twice",
     CLUSTER(3, 1, 2),
     SMALL,
     .budgets = {[MODEL_TWIN] = 1}},
    {.name = "3r2w1m1t",
     .text = "1 crash of the master, 1 request arrives twice",
     CLUSTER(3, 1, 2),
     SMALL,
     .budgets = {[MODEL_MASTER_CRASH] = 1, [MODEL_TWIN] = 1}},
    {.name = "3r1w1c1t",
     .text = "1 crash, 1 request arrives twice",
     CLUSTER(3, 1, 1),
     SMALL,
     .budgets = {[MODEL_CRASH] = 1, [MODEL_TWIN] = 1}},
    {.name = "3r1w1c1m",
     .text = "1 crash, 1 crash of the master",
     CLUSTER(3, 1, 1),
     SMALL,
     .budgets = {[MODEL_CRASH] = 1, [MODEL_MASTER_CRASH] = 1}},
    {.name = "3r2w1c-settled",
     .text = "1 crash, long after the start of the master",
     CLUSTER(3, 1, 2),
     SMALL,
     .settled = true,
     .budgets = {[MODEL_CRASH] = 1}},
    {.name = "3r2w1c", .text = "1 crash", CLUSTER(3, 1, 2), SMALL, .budgets = {[MODEL_CRASH] = 1}},
};

const struct model_config *model_config_at(size_t index)
{
    return index < PAWL_ARRAY_COUNT(configs) ? &configs[index] : NULL;
}

const struct model_config *model_config_find(const char *name)
{
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(configs); i++) {
        if (strcmp(configs[i].name, name) == 0) {
            return &configs[i];
        }
    }
    return NULL;
}
