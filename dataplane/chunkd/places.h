// SPDX-License-Identifier: Apache-2.0
// Places: which core each reactor of a chunk server gets, whether it is bound to it, whether it may spin there.
//
// A plain value, decided once at start from the configuration and the machine. Thread: any.
#ifndef PAWL_DATAPLANE_CHUNKD_PLACES_H
#define PAWL_DATAPLANE_CHUNKD_PLACES_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/chunkd/chunkd_config.h"
#include "dataplane/memory/placement.h"
#include "proto/reactor.h"

struct places {
    uint32_t near_node;       // of the network device, or PLACEMENT_ANY_NODE
    char device[IF_NAMESIZE]; // that is on this node; "": none
    char unknown
        [IF_NAMESIZE]; // where none is: the first that is ours, on a node that is not known; "": none
    uint32_t count;
    bool known; // false: the topology can't be read; nobody is bound
    bool bound;
    struct placement_core cores[REACTORS_MAX];
};

// The node of the first fabric's device that the machine tells of. placement may be NULL. `root` as of
// placement_interface_node(). Looks names up.
void places_find_device(struct places *places, const struct chunkd_config *config,
                        const struct placement *placement, const char *root);

// Cores for `count` reactors, those of the device's node first. placement may be NULL.
void places_choose(struct places *places, enum chunkd_pin pin, uint32_t count,
                   const struct placement *placement);

// Whether this reactor may look for work for a moment before it sleeps, as far as this server goes: only where it has
// a core of its own. Other servers may have that core too, see core_claims.h.
bool places_may_spin(const struct places *places, uint32_t number);

#endif
