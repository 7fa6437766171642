// SPDX-License-Identifier: Apache-2.0
// Inside of a node (pawl-roofline-node): its roles and what they share.
#ifndef PAWL_PERF_ROOFLINE_NODE_H
#define PAWL_PERF_ROOFLINE_NODE_H

#include "perf/roofline/control.h"
#include "perf/roofline/disk.h"
#include "perf/roofline/outbox.h"
#include "perf/roofline/shape.h"
#include "perf/roofline/transport.h"

// Each runs until CONTROL_STOP or the end of the control socket; 0, or -errno with `error` filled.
int server_run(const struct node_config *config, char error[ROOFLINE_TEXT_MAX]);
int clients_run(const struct node_config *config, char error[ROOFLINE_TEXT_MAX]);
int ping_run(const struct node_config *config, char error[ROOFLINE_TEXT_MAX]);
int disk_part_run(const struct node_config *config, char error[ROOFLINE_TEXT_MAX]);

// Spinning and sleeping, the same for servers and clients.
struct idler {
    enum roofline_wait wait;
    uint64_t spin_until_ns;
    bool is_spinning;
};
// After a turn without work: true when the thread should sleep now. With work: reset.
bool idler_is_over(struct idler *idler, bool had_work);

// Zeroed, in huge pages where it is large, as Pawl's region has them: a disk takes a large payload in few pieces then.
// Free it with free(); NULL: none.
void *node_memory(size_t bytes);
uint64_t node_cpu_ns(void); // of the process
int node_error(char error[ROOFLINE_TEXT_MAX], int code, const char *why);

#endif
