// SPDX-License-Identifier: Apache-2.0
// Log lines: formatted on the stack, written at once.
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define LOG_LINE_BYTES 2048
#define LOG_LIMIT_BURST 10
#define LOG_LIMIT_INTERVAL_MS 10000

static const char *const log_level_names[] = {"error", "warn", "info", "debug", "trace"};

static _Atomic int log_level = PAWL_LOG_WARN;
static _Atomic int log_fd = STDERR_FILENO;

void pawl_log_init(enum pawl_log_level level, int fd)
{
    atomic_store(&log_level, (int)level);
    atomic_store(&log_fd, fd);
}

int pawl_log_level_parse(const char *text, enum pawl_log_level *ret_level)
{
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(log_level_names); i++) {
        if (strcmp(text, log_level_names[i]) == 0) {
            *ret_level = (enum pawl_log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *pawl_log_level_name(enum pawl_log_level level)
{
    return (size_t)level < PAWL_ARRAY_COUNT(log_level_names) ? log_level_names[level] : "?";
}

bool pawl_log_enabled(enum pawl_log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

// Time, level and subsystem; returns the length.
static size_t log_prefix(char *line, size_t bytes, enum pawl_log_level level, const char *subsystem)
{
    uint64_t now_ms = pawl_clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm tm;
    char when[32];
    gmtime_r(&seconds, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    int length = snprintf(line, bytes, "%s.%03uZ %s %s ", when, (unsigned)(now_ms % 1000),
                          pawl_log_level_name(level), subsystem);
    return length < 0 ? 0 : PAWL_MIN((size_t)length, bytes - 1);
}

void pawl_log_write(enum pawl_log_level level, const char *subsystem, const char *format, ...)
{
    int saved_errno = errno;
    char line[LOG_LINE_BYTES];
    // One byte stays free for the end of the line.
    size_t length = log_prefix(line, sizeof(line) - 1, level, subsystem);
    va_list args;
    va_start(args, format);
    int text = vsnprintf(line + length, sizeof(line) - 1 - length, format, args);
    va_end(args);
    if (text > 0) {
        length = PAWL_MIN(length + (size_t)text, sizeof(line) - 2);
    }
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = '?';
        }
    }
    line[length++] = '\n';
    // A log that can't be written must not stop the process.
    ssize_t written = write(atomic_load_explicit(&log_fd, memory_order_relaxed), line, length);
    (void)written;
    errno = saved_errno;
}

bool pawl_log_limit_pass(struct pawl_log_limit *limit, uint64_t now_ms, uint32_t *ret_held_back)
{
    uint32_t burst = limit->burst ? limit->burst : LOG_LIMIT_BURST;
    uint32_t interval_ms = limit->interval_ms ? limit->interval_ms : LOG_LIMIT_INTERVAL_MS;
    uint64_t start_ms = atomic_load(&limit->start_ms);
    *ret_held_back = 0;
    // Whoever moves the start opens the new interval; the others just count in it.
    if ((start_ms == 0 || now_ms - start_ms >= interval_ms) &&
        atomic_compare_exchange_strong(&limit->start_ms, &start_ms, now_ms ? now_ms : 1)) {
        atomic_store(&limit->used, 0);
        *ret_held_back = atomic_exchange(&limit->held_back, 0);
    }
    if (atomic_fetch_add(&limit->used, 1) < burst) {
        return true;
    }
    atomic_fetch_sub(&limit->used, 1);
    atomic_fetch_add(&limit->held_back, 1);
    return false;
}

bool pawl_log_limit_check(struct pawl_log_limit *limit, enum pawl_log_level level,
                          const char *subsystem)
{
    uint32_t held_back;
    bool pass = pawl_log_limit_pass(limit, pawl_clock_ms(), &held_back);
    if (held_back > 0) {
        pawl_log_write(level, subsystem, "%u lines like the next were held back", held_back);
    }
    return pass;
}
