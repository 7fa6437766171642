// SPDX-License-Identifier: Apache-2.0
// Counting system calls with perf_event_open().
#include "perf/syscalls.h"

#include <dirent.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/util.h"

struct perf_syscalls_thread {
    int fd;
    enum perf_process process;
};

PAWL_PRINTF(2, 3)
static void give_up(struct perf_syscalls *syscalls, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(syscalls->why, sizeof syscalls->why, format, arguments);
    va_end(arguments);
}

void perf_syscalls_init(struct perf_syscalls *syscalls)
{
    *syscalls = (struct perf_syscalls){0};
    syscalls->threads = calloc(PERF_SYSCALLS_THREADS_MAX, sizeof *syscalls->threads);
    if (syscalls->threads == NULL) {
        give_up(syscalls, "out of memory");
    }
}

void perf_syscalls_fini(struct perf_syscalls *syscalls)
{
    for (size_t i = 0; i < syscalls->threads_count; i++) {
        close(syscalls->threads[i].fd);
    }
    free(syscalls->threads);
    syscalls->threads = NULL;
    syscalls->threads_count = 0;
}

// Where tracefs is mounted, by itself or in debugfs.
static int tracepoint_id(uint64_t *ret_id)
{
    static const char *const paths[] = {
        "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id",
        "/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id"};
    int code = -ENOENT;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(paths); i++) {
        unsigned long long id = 0;
        FILE *file = fopen(paths[i], "re");
        if (file == NULL) {
            code = errno != ENOENT ? -errno : code;
            continue;
        }
        int got = fscanf(file, "%llu", &id);
        fclose(file);
        if (got == 1) {
            *ret_id = id;
            return 0;
        }
        code = -EIO;
    }
    return code;
}

static void add_thread(struct perf_syscalls *syscalls, uint64_t id, pid_t thread,
                       enum perf_process process)
{
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_TRACEPOINT, .size = sizeof attributes, .config = id, .inherit = 1};
    if (syscalls->threads_count == PERF_SYSCALLS_THREADS_MAX) {
        give_up(syscalls, "more than %u threads", PERF_SYSCALLS_THREADS_MAX);
        return;
    }
    int fd = (int)syscall(SYS_perf_event_open, &attributes, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd >= 0) {
        syscalls->threads[syscalls->threads_count++] =
            (struct perf_syscalls_thread){.fd = fd, .process = process};
    } else if (errno != ESRCH) { // which says that it has ended
        give_up(syscalls, "perf_event_open: %s", pawl_strerror(-errno));
    }
}

void perf_syscalls_add(struct perf_syscalls *syscalls, pid_t pid, enum perf_process process)
{
    char path[64];
    uint64_t id = 0;
    int code = syscalls->why[0] == '\0' ? tracepoint_id(&id) : 0;
    if (code != 0) {
        give_up(syscalls, "tracepoint raw_syscalls:sys_enter: %s", pawl_strerror(code));
    }
    if (syscalls->why[0] != '\0') {
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    if (threads == NULL) {
        give_up(syscalls, "%s: %s", path, pawl_strerror(-errno));
        return;
    }
    for (struct dirent *entry; (entry = readdir(threads)) != NULL && syscalls->why[0] == '\0';) {
        long thread = strtol(entry->d_name, NULL, 10);
        if (thread > 0) {
            add_thread(syscalls, id, (pid_t)thread, process);
        }
    }
    closedir(threads);
}

bool perf_syscalls_read(struct perf_syscalls *syscalls, uint64_t ret[static PERF_PROCESSES_COUNT])
{
    uint64_t counts[PERF_PROCESSES_COUNT] = {0};
    for (size_t i = 0; i < syscalls->threads_count && syscalls->why[0] == '\0'; i++) {
        uint64_t count = 0;
        if (read(syscalls->threads[i].fd, &count, sizeof count) != sizeof count) {
            give_up(syscalls, "reading a count: %s", pawl_strerror(-errno));
        }
        counts[syscalls->threads[i].process] += count;
    }
    if (syscalls->why[0] != '\0') {
        return false;
    }
    memcpy(ret, counts, sizeof counts);
    return true;
}
