// SPDX-License-Identifier: Apache-2.0
// Locks that keep a second process out of a directory or a file.
#ifndef PAWL_BASE_LOCK_H
#define PAWL_BASE_LOCK_H

#include <stdint.h>

#include "base/util.h"

// For a daemon whose forerunner was killed: its end takes the kernel as long as its last flush does.
#define PAWL_LOCK_FORERUNNER_MS 15000u

// Takes the lock, flock(2), of an open file or directory, and waits up to wait_ms for whoever has it. A process that
// was killed still has it while one of its threads, or a direct write of its, is in the kernel; its parent may have
// been told of its end by then. -EBUSY: somebody has it after wait_ms, too; -errno. Waits by sleeping; any thread.
int pawl_lock(int fd, uint32_t wait_ms) PAWL_MUST_CHECK;

#endif
