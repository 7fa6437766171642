// SPDX-License-Identifier: Apache-2.0
// The limit of open descriptors, RLIMIT_NOFILE.
#include "base/descriptors.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

#define PAWL_LOG_SUBSYSTEM "base"
#include "base/log.h"

uint64_t pawl_descriptors_raise(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return 0;
    }
    struct rlimit raised = {.rlim_cur = files.rlim_max, .rlim_max = files.rlim_max};
    if (files.rlim_cur < files.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) != 0) {
        pawl_log_warn("open files: %" PRIu64 " at most; the limit can't be raised: %s",
                      (uint64_t)files.rlim_cur, strerror(errno));
        return files.rlim_cur;
    }
    pawl_log_info("open files: %" PRIu64 " at most", (uint64_t)raised.rlim_cur);
    return raised.rlim_cur;
}
