// SPDX-License-Identifier: Apache-2.0
// Slices: how long a thread may run while others wait for its core.
//
// Where more threads than cores wake each other many times in a millisecond, one that is woken waits for the end of
// the slice of the one that runs: 1.4 to 4 ms by default. Short slices let it go first at once, since Linux 6.12
// (EEVDF, sched(7): sched_setattr, sched_runtime of SCHED_OTHER); its share of the time stays what it was. An older
// kernel takes the wish and does nothing with it.
#ifndef PAWL_BASE_SLICE_H
#define PAWL_BASE_SLICE_H

#include <stdint.h>

#define PAWL_SLICE_NS 100000u // the shortest that Linux knows

// Asks for slices of PAWL_SLICE_NS for the calling thread, and for those that it starts afterwards. A thread of a
// policy other than SCHED_OTHER and SCHED_BATCH is left alone. Returns 0, or -errno: then all is as before, and nobody
// needs to mind.
int pawl_slice_shorten(void);

// Slice of the calling thread, ns, as the kernel tells it; 0: it doesn't.
uint64_t pawl_slice_ns(void);

#endif
