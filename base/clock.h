// SPDX-License-Identifier: Apache-2.0
// The clocks. Leases and deadlines use CLOCK_BOOTTIME, which goes on while the machine is
// suspended.
#ifndef PAWL_BASE_CLOCK_H
#define PAWL_BASE_CLOCK_H

#include <stdint.h>

#define PAWL_NS_PER_MS UINT64_C(1000000)
#define PAWL_NS_PER_S UINT64_C(1000000000)

// Time since boot. Never goes back; not comparable between machines. Any thread.
uint64_t pawl_clock_ns(void);
uint64_t pawl_clock_ms(void);

// Milliseconds since 1970, for people and logs only: it may jump.
uint64_t pawl_clock_wall_ms(void);

#endif
