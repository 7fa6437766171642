// SPDX-License-Identifier: Apache-2.0
// Placements of machines that are not this one: hwloc's synthetic topologies.
#ifndef PAWL_TESTS_MEMORY_SYNTHETIC_H
#define PAWL_TESTS_MEMORY_SYNTHETIC_H

#include "dataplane/memory/placement.h"

// A network device for the text of a topology. These numbers are nobody else's.
#define SYNTHETIC_DEVICE(number, name, type)                                                       \
    "<object type=\"OSDev\" gp_index=\"" number "\" name=\"" name "\" osdev_type=\"" type "\"/>"
#define SYNTHETIC_ETHERNET "2"
#define SYNTHETIC_INFINIBAND "3"

struct synthetic {
    const char *topology; // "package:2 [numa] core:8 pu:2"
    const char *cpus;     // as placement_options
    // Synthetic topologies have no devices, so these are put into the text of one; NULL: none.
    const char *on_node_0; // which must be there
    const char *on_node_1; // which must be there
    const char *on_machine;
};

struct placement *synthetic_open(const struct synthetic *synthetic);

#endif
