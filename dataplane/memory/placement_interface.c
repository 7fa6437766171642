// SPDX-License-Identifier: Apache-2.0
// Where a network interface is that is no device: on the node of the devices that it is made of. The kernel shows below
// each interface which ones it goes through: of bond0 lower_eth0 and lower_eth1, of bond0.100 lower_bond0.
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/memory/placement.h"

#define INTERFACE_LEVELS_MAX 8u // a bridge of a VLAN of a bond of devices has 4
#define INTERFACE_LOWER "lower_"

struct interface_look {
    const struct placement *placement;
    const char *root;
    uint32_t node; // of the devices that were found so far
};

static int below_look(struct interface_look *look, const char *interface, unsigned level);

static bool is_device(const struct interface_look *look, const char *interface)
{
    char path[PATH_MAX];
    int bytes = snprintf(path, sizeof(path), "%s/sys/class/net/%s/device", look->root, interface);
    return bytes < (int)sizeof(path) && access(path, F_OK) == 0;
}

// -ENODATA: a device does not tell its node, or it is another one.
static int interface_look(struct interface_look *look, const char *interface, unsigned level)
{
    uint32_t node;
    if (placement_device_node(look->placement, interface, &node) == 0) {
        bool is_other = look->node != PLACEMENT_ANY_NODE && look->node != node;
        look->node = node;
        return is_other ? -ENODATA : 0;
    }
    return is_device(look, interface) ? -ENODATA : below_look(look, interface, level + 1);
}

// What is neither a device nor made of any, as the end of a virtual machine at a bridge, says nothing.
static int below_look(struct interface_look *look, const char *interface, unsigned level)
{
    char path[PATH_MAX];
    int code = 0;
    int bytes = snprintf(path, sizeof(path), "%s/sys/class/net/%s", look->root, interface);
    if (level == INTERFACE_LEVELS_MAX || bytes >= (int)sizeof(path)) {
        return -ENODATA;
    }
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir != NULL && code == 0 && (entry = readdir(dir)) != NULL) {
        const char *lower = entry->d_name + strlen(INTERFACE_LOWER);
        if (strncmp(entry->d_name, INTERFACE_LOWER, strlen(INTERFACE_LOWER)) == 0 &&
            strlen(lower) < IF_NAMESIZE) {
            code = interface_look(look, lower, level);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return code;
}

int placement_interface_node(const struct placement *placement, const char *root,
                             const char *interface, uint32_t *ret_node)
{
    struct interface_look look = {.placement = placement, .root = root, .node = PLACEMENT_ANY_NODE};
    int code = interface_look(&look, interface, 0);
    if (code != 0 || look.node == PLACEMENT_ANY_NODE) {
        return -ENODATA;
    }
    *ret_node = look.node;
    return 0;
}
