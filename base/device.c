// SPDX-License-Identifier: Apache-2.0
// Block devices, by sysfs.
#include "base/device.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/util.h"

bool pawl_device_lacks_fua(int fd)
{
    static const char *const places[] = {"", "/.."}; // a partition has the queue of its disk
    struct stat file;

    if (fstat(fd, &file) != 0) {
        return false;
    }
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(places); i++) {
        char path[64];
        char text[8] = "";
        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u%s/queue/fua", major(file.st_dev),
                 minor(file.st_dev), places[i]);
        int sys = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t got = sys >= 0 ? read(sys, text, sizeof(text) - 1) : -1;
        if (sys >= 0) {
            close(sys);
        }
        if (got > 0) {
            return strcmp(text, "0\n") == 0;
        }
    }
    return false;
}
