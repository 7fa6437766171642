// SPDX-License-Identifier: Apache-2.0
// What Linux tells of the block device below a file.
#ifndef PAWL_BASE_DEVICE_H
#define PAWL_BASE_DEVICE_H

#include <stdbool.h>

// True when the device is known to have no FUA (forced unit access). Linux makes a write there that is durable by itself
// (RWF_DSYNC, O_DIRECT) out of a write and a flush, which empties the whole device's cache (iomap_dio_complete of Linux).
// False also when it can't be known. Any thread; reads a file of sysfs.
bool pawl_device_lacks_fua(int fd);

#endif
