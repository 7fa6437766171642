// SPDX-License-Identifier: Apache-2.0
// Waiting for a lock whose holder may be ending.
#define PAWL_LOG_SUBSYSTEM "lock"
#include "base/lock.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/file.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

int pawl_lock(int fd, uint32_t wait_ms)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    uint64_t deadline_ms = pawl_clock_ms() + wait_ms;
    bool is_told = false;

    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return -errno;
        }
        if (pawl_clock_ms() >= deadline_ms) {
            return -EBUSY;
        }
        if (!is_told) {
            pawl_log_info("waits up to %u ms for another process that has it, or was killed",
                          wait_ms);
            is_told = true;
        }
        nanosleep(&pause, NULL);
    }
    return 0;
}
