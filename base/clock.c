// SPDX-License-Identifier: Apache-2.0
// The clocks of the machine.
#include "base/clock.h"

#include <time.h>

#include "base/assert.h"

static uint64_t clock_read_ns(clockid_t id)
{
    struct timespec now;
    int rc = clock_gettime(id, &now);
    pawl_assert(rc == 0);
    return (uint64_t)now.tv_sec * PAWL_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t pawl_clock_ns(void)
{
    return clock_read_ns(CLOCK_BOOTTIME);
}

uint64_t pawl_clock_ms(void)
{
    return pawl_clock_ns() / PAWL_NS_PER_MS;
}

uint64_t pawl_clock_wall_ms(void)
{
    return clock_read_ns(CLOCK_REALTIME) / PAWL_NS_PER_MS;
}
