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
    {.name = "2r2w1c1m",
     .text = "1 crash, 1 crash of the master",
     CLUSTER(2, 1, 2),
     SMALL,
     .budgets = {[MODEL_CRASH] = 1, [MODEL_MASTER_CRASH] = 1}},
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
