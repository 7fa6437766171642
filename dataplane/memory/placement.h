// SPDX-License-Identifier: Apache-2.0
// Placement: which cores the reactors of this process run on, and binding a thread to one.
//
// A network device sits on one memory node: its reads and writes of other nodes' memory, and the reactors there, go
// through the link between the nodes. So reactors take the cores of its node first.
//
// OWNS: the topology. Thread: any one at a time; placement_bind() acts on the calling thread.
#ifndef PAWL_DATAPLANE_PLACEMENT_H
#define PAWL_DATAPLANE_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"

struct placement;

struct placement_core {
    unsigned pu;        // the kernel's number of the hardware thread
    unsigned numa_node; // the kernel's number of its memory node
    bool has_node;      // false: the machine doesn't tell
    unsigned core;      // the core's first hardware thread, of those that may be used
    bool shared;        // another reactor of the list has the same core
};

#define PLACEMENT_ANY_NODE UINT32_MAX

// For tests: a topology that is not this machine's.
struct placement_options {
    const char *synthetic; // "node:2 core:4 pu:2", or
    const char *xml;       // as hwloc writes it
    const char *cpus;      // cut down to these, as a cpuset does: "0-3,8"; NULL: all
};

// Reads the topology of this machine, cut down to what this process may use (cpuset, affinity); or
// the one of the options (NULL: none). Errors: -EINVAL (bad description), -ENOMEM, -EIO.
int placement_open(const struct placement_options *options, struct placement **ret) PAWL_MUST_CHECK;
// NULL is fine.
void placement_close(struct placement *placement);

unsigned placement_cores_count(const struct placement *placement);
unsigned placement_pus_count(const struct placement *placement);

// The memory node of a network device ("eth0", "mlx5_0"). -ENODATA: there is no such device, or the machine doesn't
// tell where it sits, as with loopback.
int placement_device_node(const struct placement *placement, const char *device,
                          uint32_t *ret_node) PAWL_MUST_CHECK;

// The same of a network interface, which may be a bond, a VLAN or a bridge ("bond0.100"): the node of the devices that
// it is made of, as the kernel shows them below `root` ("" for this machine; tests have a tree of their own). -ENODATA:
// they are on several nodes, too, or one of them does not tell.
int placement_interface_node(const struct placement *placement, const char *root,
                             const char *interface, uint32_t *ret_node) PAWL_MUST_CHECK;

// Whole cores of that node, or of all nodes.
unsigned placement_cores_near(const struct placement *placement, uint32_t near_node);

// Chooses `count` places: a whole core each while there are any, those of near_node (of the NIC)
// first; then second hardware threads; then the same ones again. Fails only with -EINVAL for count
// 0.
int placement_choose(const struct placement *placement, uint32_t near_node, unsigned count,
                     struct placement_core *ret_cores) PAWL_MUST_CHECK;

// Binds the calling thread. Errors: -errno; -ENOSYS on a synthetic topology.
int placement_bind(const struct placement *placement,
                   const struct placement_core *core) PAWL_MUST_CHECK;

#endif
