// SPDX-License-Identifier: Apache-2.0
// doctor, disk: whether a flush is sent on to the disk below a folder, as far as the kernel shows it.
//
// What the device does with it no file tells: docs/operations.md, "What is assumed of a disk".
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/doctor.h"

// A partition has no queue of its own: its disk's is one folder up. False: there is neither.
static bool cache_read(const char *root, unsigned major, unsigned minor, char cache[32])
{
    static const char *const places[] = {"queue", "../queue"};
    char path[PATH_MAX];
    FILE *file = NULL;
    for (unsigned i = 0; i < 2 && file == NULL; i++) {
        if (snprintf(path, sizeof path, "%s/sys/dev/block/%u:%u/%s/write_cache", root, major, minor,
                     places[i]) < (int)sizeof path) {
            file = fopen(path, "re");
        }
    }
    bool has_line = file != NULL && fgets(cache, 32, file) != NULL;
    if (file != NULL) {
        fclose(file);
    }
    cache[has_line ? strcspn(cache, "\n") : 0] = '\0';
    return has_line;
}

// As in /proc/self/mountinfo: "36 35 98:0 /mnt1 /mnt2 rw,noatime - ext4 /dev/root rw,nobarrier".
static bool line_has_no_barrier(const char *line, unsigned major, unsigned minor)
{
    unsigned of_major;
    unsigned of_minor;
    const char *options = strstr(line, " - ");
    return sscanf(line, "%*u %*u %u:%u", &of_major, &of_minor) == 2 && of_major == major &&
           of_minor == minor && options != NULL &&
           (strstr(options, "nobarrier") != NULL || strstr(options, "barrier=0") != NULL);
}

static bool mount_has_no_barrier(const char *root, unsigned major, unsigned minor)
{
    char path[PATH_MAX];
    char *line = NULL;
    size_t room = 0;
    bool is_found = false;
    FILE *file = NULL;
    if (snprintf(path, sizeof path, "%s/proc/self/mountinfo", root) < (int)sizeof path) {
        file = fopen(path, "re");
    }
    while (file != NULL && !is_found && getline(&line, &room, file) > 0) {
        is_found = line_has_no_barrier(line, major, minor);
    }
    if (file != NULL) {
        fclose(file);
    }
    free(line);
    return is_found;
}

void doctor_disk(const char *root, unsigned major, unsigned minor,
                 const struct doctor_report *report)
{
    char cache[32];
    char found[160];
    bool is_known = cache_read(root, major, minor, cache);
    if (mount_has_no_barrier(root, major, minor)) {
        report->finding(report->user, "disk flushes", false, "mounted without barriers",
                        "no flush reaches the disk: what is acknowledged may be gone after a power "
                        "cut; mount it without nobarrier or barrier=0");
        return;
    }
    if (!is_known) {
        snprintf(found, sizeof found,
                 "not known: device %u:%u has no queue of its own (tmpfs, btrfs, overlay, network)",
                 major, minor);
    } else if (strcmp(cache, "write back") == 0) {
        snprintf(found, sizeof found, "write back: the disk has a cache, flushes are sent to it");
    } else {
        snprintf(found, sizeof found,
                 "%s: no flushes are sent; right for a cache that survives a power cut, or none",
                 cache);
    }
    report->finding(report->user, "disk flushes", true, found, "");
}
