// SPDX-License-Identifier: Apache-2.0
// doctor, placement: which hardware threads the reactors of a chunk server here would be bound to, and in which order.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/doctor.h"
#include "dataplane/memory/placement.h"

#define PLACES_MAX 64u // reactors of a server

PAWL_PRINTF(3, 4)
static void append(char *text, size_t bytes, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, bytes - used, format, args);
    va_end(args);
}

// Those that are told together: of one memory node, first hardware threads of their cores or further ones.
static bool is_alike(const struct placement_core *one, const struct placement_core *other)
{
    return one->has_node == other->has_node && one->numa_node == other->numa_node &&
           (one->pu == one->core) == (other->pu == other->core);
}

static void append_places(char *text, size_t bytes, const struct placement_core *places,
                          unsigned count)
{
    for (unsigned i = 0; i < count;) {
        unsigned first = i;
        for (; i < count && is_alike(&places[i], &places[first]); i++) {
            append(text, bytes, "%s%u", i > first ? "," : first > 0 ? "; " : "", places[i].pu);
        }
        if (places[first].has_node) {
            append(text, bytes, " of node %u", places[first].numa_node);
        }
        if (places[first].pu != places[first].core) {
            append(text, bytes, " on cores that have one already");
        }
    }
}

static void report_places(const struct placement *placement, uint32_t node, const char *where,
                          const struct doctor_report *report)
{
    struct placement_core places[PLACES_MAX];
    char found[1024] = "";
    unsigned count = PAWL_MIN(placement_pus_count(placement), PLACES_MAX);
    if (count == 0 || placement_choose(placement, node, count, places) != 0) {
        return;
    }
    append(found, sizeof found,
           "%s; `reactors: auto` is %u; hardware threads in this order: ", where,
           PAWL_MIN(PAWL_MAX(placement_cores_near(placement, node), 1u), PLACES_MAX));
    append_places(found, sizeof found, places, count);
    report->finding(report->user, "placement", true, found, "");
}

void doctor_placement(const struct placement *placement, const char *root,
                      const char *const *devices, unsigned devices_count,
                      const struct doctor_report *report)
{
    bool is_any = false;
    for (unsigned i = 0; i < devices_count; i++) {
        uint32_t node;
        char where[128];
        if (placement_interface_node(placement, root, devices[i], &node) == 0) {
            snprintf(where, sizeof where, "%s is on NUMA node %u", devices[i], node);
            report_places(placement, node, where, report);
            is_any = true;
        }
    }
    if (!is_any) {
        report_places(placement, PLACEMENT_ANY_NODE, "no network device tells its node", report);
    }
}
