// SPDX-License-Identifier: Apache-2.0
// Placement by hwloc: the list of hardware threads in the order in which reactors take them.
#include <errno.h>
#include <hwloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "dataplane/memory/placement.h"

struct placement_pu {
    unsigned pu;
    unsigned numa_node;
    bool has_node;
    unsigned rank; // 0: first hardware thread of its core
    unsigned core; // the number of that first one
};

struct placement {
    hwloc_topology_t topology;
    bool synthetic; // not this machine's
    unsigned cores_count;
    unsigned pus_count;
    struct placement_pu *pus; // in the topology's order
};

static void core_find(hwloc_topology_t topology, hwloc_obj_t obj, struct placement_pu *pu)
{
    hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, obj);

    pu->rank = 0;
    pu->core = obj->os_index;
    for (hwloc_obj_t i = obj->prev_cousin; core != NULL && i != NULL; i = i->prev_cousin) {
        if (hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, i) == core) {
            pu->rank++;
            pu->core = i->os_index;
        }
    }
}

static int placement_list(struct placement *placement)
{
    int count = hwloc_get_nbobjs_by_type(placement->topology, HWLOC_OBJ_PU);

    if (count <= 0) {
        return -EIO;
    }
    placement->pus = calloc((size_t)count, sizeof(*placement->pus));
    if (placement->pus == NULL) {
        return -ENOMEM;
    }
    placement->pus_count = (unsigned)count;
    for (int i = 0; i < count; i++) {
        hwloc_obj_t obj = hwloc_get_obj_by_type(placement->topology, HWLOC_OBJ_PU, (unsigned)i);
        struct placement_pu *pu = &placement->pus[i];
        pu->pu = obj->os_index;
        core_find(placement->topology, obj, pu);
        int node = obj->nodeset != NULL ? hwloc_bitmap_first(obj->nodeset) : -1;
        pu->has_node = node >= 0;
        pu->numa_node = node >= 0 ? (unsigned)node : 0;
        placement->cores_count += pu->rank == 0;
    }
    return 0;
}

// What is read: this machine, or what the options describe. Network devices too.
static int source_set(hwloc_topology_t topology, const struct placement_options *options)
{
    if (hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_IMPORTANT) != 0) {
        return -EIO;
    }
    if (options == NULL) {
        return hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_IS_THISSYSTEM |
                                                      HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING) ==
                       0
                   ? 0
                   : -EIO;
    }
    int rc =
        options->synthetic != NULL
            ? hwloc_topology_set_synthetic(topology, options->synthetic)
            : hwloc_topology_set_xmlbuffer(topology, options->xml, (int)strlen(options->xml) + 1);
    return rc == 0 ? 0 : -EINVAL;
}

static int cpus_restrict(hwloc_topology_t topology, const char *cpus)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();

    if (set == NULL) {
        return -ENOMEM;
    }
    int rc = hwloc_bitmap_list_sscanf(set, cpus);
    rc = rc == 0 ? hwloc_topology_restrict(topology, set, HWLOC_RESTRICT_FLAG_REMOVE_CPULESS) : rc;
    hwloc_bitmap_free(set);
    return rc == 0 ? 0 : -EINVAL;
}

int placement_open(const struct placement_options *options, struct placement **ret)
{
    struct placement *placement = calloc(1, sizeof(*placement));
    int code = -ENOMEM;

    if (placement == NULL) {
        return -ENOMEM;
    }
    if (hwloc_topology_init(&placement->topology) != 0) {
        goto fail;
    }
    placement->synthetic = options != NULL;
    code = source_set(placement->topology, options);
    if (code != 0) {
        goto fail_topology;
    }
    if (hwloc_topology_load(placement->topology) != 0) {
        code = -EIO;
        goto fail_topology;
    }
    if (options != NULL && options->cpus != NULL) {
        code = cpus_restrict(placement->topology, options->cpus);
        if (code != 0) {
            goto fail_topology;
        }
    }
    code = placement_list(placement);
    if (code != 0) {
        goto fail_topology;
    }
    *ret = placement;
    return 0;

fail_topology:
    hwloc_topology_destroy(placement->topology);
fail:
    free(placement);
    return code;
}

void placement_close(struct placement *placement)
{
    if (placement == NULL) {
        return;
    }
    hwloc_topology_destroy(placement->topology);
    free(placement->pus);
    free(placement);
}

unsigned placement_cores_count(const struct placement *placement)
{
    return placement->cores_count;
}

unsigned placement_pus_count(const struct placement *placement)
{
    return placement->pus_count;
}

int placement_device_node(const struct placement *placement, const char *device, uint32_t *ret_node)
{
    hwloc_obj_t obj = NULL;

    while ((obj = hwloc_get_next_osdev(placement->topology, obj)) != NULL) {
        if (obj->name == NULL || strcmp(obj->name, device) != 0) {
            continue;
        }
        hwloc_obj_t home = hwloc_get_non_io_ancestor_obj(placement->topology, obj);
        if (home == NULL || home->nodeset == NULL || hwloc_bitmap_weight(home->nodeset) != 1) {
            return -ENODATA; // it hangs off the machine as a whole
        }
        *ret_node = (uint32_t)hwloc_bitmap_first(home->nodeset);
        return 0;
    }
    return -ENODATA;
}

static bool pu_is_near(const struct placement_pu *pu, uint32_t near_node)
{
    return near_node == PLACEMENT_ANY_NODE || !pu->has_node || pu->numa_node == near_node;
}

unsigned placement_cores_near(const struct placement *placement, uint32_t near_node)
{
    unsigned count = 0;

    for (unsigned i = 0; i < placement->pus_count; i++) {
        count += placement->pus[i].rank == 0 && pu_is_near(&placement->pus[i], near_node);
    }
    return count;
}

// Copies the hardware threads of one rank, near or far ones, while there is room.
static unsigned placement_take(const struct placement *placement, uint32_t near_node, unsigned rank,
                               bool near, unsigned room, struct placement_core *ret_cores)
{
    unsigned taken = 0;

    for (unsigned i = 0; i < placement->pus_count && taken < room; i++) {
        const struct placement_pu *pu = &placement->pus[i];
        if (pu->rank != rank || pu_is_near(pu, near_node) != near) {
            continue;
        }
        ret_cores[taken++] = (struct placement_core){
            .pu = pu->pu,
            .numa_node = pu->numa_node,
            .has_node = pu->has_node,
            .core = pu->core,
        };
    }
    return taken;
}

static void shared_mark(unsigned count, struct placement_core *cores)
{
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < count && !cores[i].shared; j++) {
            cores[i].shared = i != j && cores[i].core == cores[j].core;
        }
    }
}

int placement_choose(const struct placement *placement, uint32_t near_node, unsigned count,
                     struct placement_core *ret_cores)
{
    unsigned taken = 0;

    if (count == 0) {
        return -EINVAL;
    }
    for (unsigned rank = 0; taken < count && taken < placement->pus_count; rank++) {
        pawl_assert(rank < placement->pus_count);
        taken += placement_take(placement, near_node, rank, true, count - taken, ret_cores + taken);
        taken +=
            placement_take(placement, near_node, rank, false, count - taken, ret_cores + taken);
    }
    for (unsigned i = taken; i < count; i++) {
        ret_cores[i] = ret_cores[i - taken];
    }
    shared_mark(count, ret_cores);
    return 0;
}

int placement_bind(const struct placement *placement, const struct placement_core *core)
{
    int code = 0;

    if (placement->synthetic) {
        return -ENOSYS;
    }
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    if (set == NULL) {
        return -ENOMEM;
    }
    hwloc_bitmap_only(set, core->pu);
    if (hwloc_set_cpubind(placement->topology, set, HWLOC_CPUBIND_THREAD) != 0) {
        code = errno != 0 ? -errno : -EINVAL;
    }
    hwloc_bitmap_free(set);
    return code;
}
