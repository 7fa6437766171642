// SPDX-License-Identifier: Apache-2.0
// A pause after each operation of a trial: PAWL_TEST_PAUSE_US in the environment (none without it). The
// machine may be an emulated one, where a trial at full speed takes all of the only processor.
#pragma once

#include <stdlib.h>
#include <time.h>

static inline void pace(void)
{
    static _Thread_local long us = -1;
    if (us < 0) {
        const char *text = getenv("PAWL_TEST_PAUSE_US");
        us = text ? strtol(text, NULL, 10) : 0;
    }
    if (us > 0) {
        struct timespec pause = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
        nanosleep(&pause, NULL);
    }
}
