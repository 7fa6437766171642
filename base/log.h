// SPDX-License-Identifier: Apache-2.0
// Log lines: `2026-01-02T03:04:05.678Z info store chunk 42 version 7 sealed length 1048576`.
//
// A source file names its subsystem before the include: #define PAWL_LOG_SUBSYSTEM "store". A line
// is one write(2) to the descriptor, so lines of threads and processes that share it don't mix. Any
// thread. Bytes below 0x20 in a line are replaced, so that a peer can't forge lines.
#ifndef PAWL_BASE_LOG_H
#define PAWL_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"

enum pawl_log_level {
    PAWL_LOG_ERROR = 0,
    PAWL_LOG_WARN = 1,
    PAWL_LOG_INFO = 2,
    PAWL_LOG_DEBUG = 3,
    PAWL_LOG_TRACE = 4,
};

// Before that: level warn, standard error. BORROWS the descriptor. Call before threads start.
void pawl_log_init(enum pawl_log_level level, int fd);

// "error", "warn", "info", "debug" or "trace". 0 or -EINVAL.
int pawl_log_level_parse(const char *text, enum pawl_log_level *ret_level) PAWL_MUST_CHECK;

const char *pawl_log_level_name(enum pawl_log_level level);

bool pawl_log_enabled(enum pawl_log_level level);

// Use the macros below.
void pawl_log_write(enum pawl_log_level level, const char *subsystem, const char *format, ...)
    PAWL_PRINTF(3, 4);

#define pawl_log_at(level, ...)                                                                    \
    do {                                                                                           \
        if (pawl_log_enabled(level)) {                                                             \
            pawl_log_write(level, PAWL_LOG_SUBSYSTEM, __VA_ARGS__);                                \
        }                                                                                          \
    } while (0)

#define pawl_log_error(...) pawl_log_at(PAWL_LOG_ERROR, __VA_ARGS__)
#define pawl_log_warn(...) pawl_log_at(PAWL_LOG_WARN, __VA_ARGS__)
#define pawl_log_info(...) pawl_log_at(PAWL_LOG_INFO, __VA_ARGS__)
#define pawl_log_debug(...) pawl_log_at(PAWL_LOG_DEBUG, __VA_ARGS__)
#define pawl_log_trace(...) pawl_log_at(PAWL_LOG_TRACE, __VA_ARGS__)

// A limit on lines that a peer or a broken disk could cause without end: `burst` lines in each
// interval. The first line of the next interval is preceded by one that says how many were held
// back. Zero fields mean 10 lines in 10 s. Usually a static of the place that logs. Any thread.
struct pawl_log_limit {
    uint32_t burst;
    uint32_t interval_ms;
    _Atomic uint64_t start_ms;
    _Atomic uint32_t used;
    _Atomic uint32_t held_back;
};

// True when the line may go out; *ret_held_back is what to report first. Pure but for its own
// counters.
bool pawl_log_limit_pass(struct pawl_log_limit *limit, uint64_t now_ms, uint32_t *ret_held_back);

// The same against the clock; writes the line about those held back itself. Use the macro below.
bool pawl_log_limit_check(struct pawl_log_limit *limit, enum pawl_log_level level,
                          const char *subsystem);

#define pawl_log_limited(limit, level, ...)                                                        \
    do {                                                                                           \
        if (pawl_log_enabled(level) &&                                                             \
            pawl_log_limit_check((limit), (level), PAWL_LOG_SUBSYSTEM)) {                          \
            pawl_log_write(level, PAWL_LOG_SUBSYSTEM, __VA_ARGS__);                                \
        }                                                                                          \
    } while (0)

#endif
