// SPDX-License-Identifier: Apache-2.0
// Inside of the roofline: what run and check share.
#ifndef PAWL_PERF_ROOFLINE_RUN_H
#define PAWL_PERF_ROOFLINE_RUN_H

#include "perf/roofline/control.h"

void run_config_fill(struct node_config *config, const struct roofline_options *options,
                     uint32_t batch_max, uint32_t block_bytes);

#endif
