// SPDX-License-Identifier: Apache-2.0
// System calls of this process and of the cluster's, counted by the kernel: the tracepoint raw_syscalls:sys_enter.
//
// A count makes each system call a little slower, so a round counts in its warm-up, where the load is the same and nothing
// is measured. Main thread only.
#ifndef PAWL_PERF_SYSCALLS_H
#define PAWL_PERF_SYSCALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum perf_process {
    PERF_PROCESS_CLIENT,
    PERF_PROCESS_MASTER,
    PERF_PROCESS_SERVER,
    PERF_PROCESSES_COUNT
};

#define PERF_SYSCALLS_THREADS_MAX 4096u

struct perf_syscalls {
    struct perf_syscalls_thread *threads; // OWNED
    size_t threads_count;
    char why[160]; // it can't be counted; "": it is
};

void perf_syscalls_init(struct perf_syscalls *syscalls);
void perf_syscalls_fini(struct perf_syscalls *syscalls);
// From now on; all threads that the process has, and those that they start. Does nothing once `why` is set.
void perf_syscalls_add(struct perf_syscalls *syscalls, pid_t pid, enum perf_process process);
// Since they were added. False: not known, `why` is set.
bool perf_syscalls_read(struct perf_syscalls *syscalls, uint64_t ret[static PERF_PROCESSES_COUNT]);

#endif
