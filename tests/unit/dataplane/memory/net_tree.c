// SPDX-License-Identifier: Apache-2.0
// Interfaces as the kernel shows them, with the links as it makes them.
#include "net_tree.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void folder(const char *root, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
}

int net_tree_setup(void **state)
{
    char *root = calloc(1, NET_TREE_BYTES);
    if (root == NULL) {
        return -1;
    }
    snprintf(root, NET_TREE_BYTES, "/tmp/pawl-net-XXXXXX");
    *state = root;
    if (mkdtemp(root) == NULL) {
        return -1;
    }
    folder(root, "sys");
    folder(root, "sys/class");
    folder(root, "sys/class/net");
    return 0;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

int net_tree_teardown(void **state)
{
    int code = nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return code;
}

void net_tree_add(const char *root, const char *interface)
{
    char name[NAME_MAX];
    snprintf(name, sizeof(name), "sys/class/net/%s", interface);
    folder(root, name);
}

void net_tree_device(const char *root, const char *interface)
{
    char name[NAME_MAX];
    net_tree_add(root, interface);
    snprintf(name, sizeof(name), "sys/class/net/%s/device", interface);
    folder(root, name);
}

void net_tree_lower(const char *root, const char *interface, const char *lower)
{
    char target[NAME_MAX];
    char path[PATH_MAX];
    net_tree_add(root, interface);
    net_tree_add(root, lower);
    snprintf(target, sizeof(target), "../%s", lower);
    snprintf(path, sizeof(path), "%s/sys/class/net/%s/lower_%s", root, interface, lower);
    assert_int_equal(symlink(target, path), 0);
}
