// SPDX-License-Identifier: Apache-2.0
// Slices, by system calls for which not every C library has functions.
#include "base/slice.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

// The kernel's struct sched_attr as of its first version (sched_setattr(2)): linux/sched/types.h can't be included
// beside sched.h everywhere, and newer C libraries have one of that name.
struct slice_attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns;
    uint64_t deadline_ns;
    uint64_t period_ns;
};

static int attributes_get(struct slice_attributes *ret)
{
    *ret = (struct slice_attributes){.size = sizeof(*ret)};
    return syscall(SYS_sched_getattr, 0, ret, sizeof(*ret), 0) == 0 ? 0 : -errno;
}

int pawl_slice_shorten(void)
{
    struct slice_attributes attributes;
    int code = attributes_get(&attributes);

    if (code != 0 || (attributes.policy != SCHED_OTHER && attributes.policy != SCHED_BATCH)) {
        return code;
    }
    attributes.runtime_ns = PAWL_SLICE_NS;
    return syscall(SYS_sched_setattr, 0, &attributes, 0) == 0 ? 0 : -errno;
}

uint64_t pawl_slice_ns(void)
{
    struct slice_attributes attributes;

    return attributes_get(&attributes) == 0 ? attributes.runtime_ns : 0;
}
