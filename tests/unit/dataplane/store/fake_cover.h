// SPDX-License-Identifier: Apache-2.0
// In the place of cover.c, whose answer hangs on the real disk: a test says it. Needs --wrap=store_covered_end and
// --wrap=pawl_device_lacks_fua.
#ifndef PAWL_TESTS_FAKE_COVER_H
#define PAWL_TESTS_FAKE_COVER_H

#include <stdbool.h>
#include <stdint.h>

extern struct fake_cover {
    uint64_t end;      // of what is covered, in every file
    bool write_covers; // a durable write is a flush, too
} covered;

#endif
