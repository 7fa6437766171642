// SPDX-License-Identifier: Apache-2.0
// Inside of the roofline, in the caller's process: its nodes (processes) and their files.
//
// OWNS: children, their control sockets and files without a name. nodes_stop() ends and reaps all.
// Thread: the one that started them.
#ifndef PAWL_PERF_ROOFLINE_NODES_H
#define PAWL_PERF_ROOFLINE_NODES_H

#include <sys/types.h>

#include "perf/roofline/control.h"

#define NODES_MAX (ROOFLINE_REPLICAS_MAX + 1)

struct node {
    pid_t pid; // 0: none
    int control_fd;
    int fds[2];    // journal and data; -1: none
    bool is_heard; // has answered the present command
    struct control_message said;
    struct node_config config;
};

struct nodes {
    char program[4096];
    struct node *items[NODES_MAX];
    uint32_t count;
    int stop_fd; // of the options
    char *error; // of ROOFLINE_TEXT_MAX
};

// Of the options node_program and stop_fd.
int nodes_init(struct nodes *nodes, const struct roofline_options *options,
               char *error) PAWL_MUST_CHECK;
// A file without a name in `dir`, written with zeros or, with pattern_bytes, with payloads of that size of
// client 0. Its O_DIRECT block goes to *ret_block_bytes.
int nodes_file(struct nodes *nodes, const char *dir, uint64_t bytes, uint32_t pattern_bytes,
               uint32_t *ret_block_bytes) PAWL_MUST_CHECK;
// fds are TAKEN, also on failure.
int nodes_start(struct nodes *nodes, const struct node_config *config, const int fds[2],
                struct node **ret) PAWL_MUST_CHECK;
// Sends each of [first, first + count) its `said`, with that type, and waits for all answers.
int nodes_ask(struct nodes *nodes, uint32_t first, uint32_t count, enum control_type type,
              uint32_t timeout_ms) PAWL_MUST_CHECK;
// 0, or -EPIPE when all went well until now and a process did not end well.
int nodes_stop(struct nodes *nodes);
int nodes_fail(struct nodes *nodes, int code, const char *format, ...) PAWL_PRINTF(3, 4);

#endif
