// SPDX-License-Identifier: Apache-2.0
// SIGINT and SIGTERM as something to wait for: a run ends early and the cluster is taken down.
//
// Main thread only; threads that are started after perf_interrupt_init() don't get the signals.
#ifndef PAWL_PERF_INTERRUPT_H
#define PAWL_PERF_INTERRUPT_H

#include <stdint.h>

#include "base/util.h"

// 0 or -errno.
int perf_interrupt_init(void) PAWL_MUST_CHECK;

// The signal that has come; 0: none.
int perf_interrupted(void);

// Readable while a signal that has come is in no answer of perf_interrupted() yet; for who waits for other things, too.
int perf_interrupt_fd(void);

// Waits until then (pawl_clock_ns), a signal, or something to read on `fd` (-1: none), which is
// then taken.
void perf_wait_until(uint64_t until_ns, int fd);

#endif
