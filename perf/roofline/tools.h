// SPDX-License-Identifier: Apache-2.0
// Inside of the roofline: fi_pingpong and fio, which are started as they come with the system.
#ifndef PAWL_PERF_ROOFLINE_TOOLS_H
#define PAWL_PERF_ROOFLINE_TOOLS_H

#include "perf/roofline/roofline.h"

#define TOOL_OUTPUT_MAX (256u << 10)

// What fi_pingpong prints: microseconds one way, of its last line. 0, or -EBADMSG.
int tools_pingpong_parse(const char *text, double *ret_us) PAWL_MUST_CHECK;
// What fio prints with --output-format=json: operations a second of its one job. 0, or -EBADMSG.
int tools_fio_parse(const char *text, bool is_read, double *ret_per_s) PAWL_MUST_CHECK;

struct tool_ping {
    const char *provider, *host;
    uint32_t bytes;
    uint32_t rounds;
    uint32_t timeout_ms;
    int stop_fd; // of roofline_options
};
struct tool_disk {
    const char *path;
    uint64_t file_bytes;
    uint32_t bytes, depth;
    bool is_read, is_durable;
    uint32_t duration_ms, timeout_ms;
    int stop_fd;
};

// Run the tool. *ret_command: the command line. 0, -ENOENT (the tool is missing), -ETIMEDOUT, -EINTR (by
// stop_fd), -EBADMSG, -errno.
int tools_pingpong(const struct tool_ping *ping, char *command, size_t command_bytes,
                   double *ret_us) PAWL_MUST_CHECK;
int tools_fio(const struct tool_disk *disk, char *command, size_t command_bytes,
              double *ret_per_s) PAWL_MUST_CHECK;

#endif
