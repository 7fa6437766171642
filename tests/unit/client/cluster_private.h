// SPDX-License-Identifier: Apache-2.0
// What the played cluster's two files share.
#ifndef PAWL_TESTS_CLIENT_CLUSTER_PRIVATE_H
#define PAWL_TESTS_CLIENT_CLUSTER_PRIVATE_H

#include "cluster.h"

#define CLUSTER_ID(number) (0xa0u + (number))

uint64_t cluster_base(const struct cluster *cluster, unsigned index);
void tail_seal(struct cluster *cluster); // under the lock
struct cluster_chunk *log_open(struct cluster *cluster, unsigned index);
void master_open(struct cluster *cluster);
void master_close(struct cluster *cluster);

#endif
