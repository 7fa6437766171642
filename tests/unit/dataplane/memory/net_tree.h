// SPDX-License-Identifier: Apache-2.0
// A folder that stands for / and shows network interfaces as the kernel does below /sys/class/net.
#ifndef PAWL_TESTS_MEMORY_NET_TREE_H
#define PAWL_TESTS_MEMORY_NET_TREE_H

#define NET_TREE_BYTES 64

// Of cmocka: *state is the name of the folder.
int net_tree_setup(void **state);
int net_tree_teardown(void **state);

// An interface with nothing below it.
void net_tree_add(const char *root, const char *interface);
// The device that an interface is.
void net_tree_device(const char *root, const char *interface);
// One that this interface is made of.
void net_tree_lower(const char *root, const char *interface, const char *lower);

#endif
