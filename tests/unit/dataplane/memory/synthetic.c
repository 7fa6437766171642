// SPDX-License-Identifier: Apache-2.0
// Placements of synthetic topologies.
#include "synthetic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hwloc.h>

// Where devices of a node go: before it, in what it is the memory of.
static const char *node_find(const char *xml, const char *node)
{
    const char *at = strstr(xml, node);
    assert_non_null(at);
    return at;
}

// The text with the devices in it.
static char *with_devices(const char *xml, const struct synthetic *synthetic)
{
    const char *on_node_0 = synthetic->on_node_0 != NULL ? synthetic->on_node_0 : "";
    const char *on_node_1 = synthetic->on_node_1 != NULL ? synthetic->on_node_1 : "";
    const char *on_machine = synthetic->on_machine != NULL ? synthetic->on_machine : "";
    const char *at_0 = xml;
    if (synthetic->on_node_0 != NULL) {
        at_0 = node_find(xml, "<object type=\"NUMANode\" os_index=\"0\"");
    }
    const char *at_1 = at_0;
    if (synthetic->on_node_1 != NULL) {
        at_1 = node_find(at_0, "<object type=\"NUMANode\" os_index=\"1\"");
    }
    const char *at_machine = NULL; // before its end, the last one
    for (const char *at = xml; (at = strstr(at, "</object>")) != NULL; at++) {
        at_machine = at;
    }
    assert_true(at_machine > at_1);
    size_t room = strlen(xml) + strlen(on_node_0) + strlen(on_node_1) + strlen(on_machine) + 1;
    char *text = calloc(1, room);
    assert_non_null(text);
    snprintf(text, room, "%.*s%s%.*s%s%.*s%s%s", (int)(at_0 - xml), xml, on_node_0,
             (int)(at_1 - at_0), at_0, on_node_1, (int)(at_machine - at_1), at_1, on_machine,
             at_machine);
    return text;
}

struct placement *synthetic_open(const struct synthetic *synthetic)
{
    hwloc_topology_t topology;
    char *xml = NULL;
    int bytes = 0;
    assert_int_equal(hwloc_topology_init(&topology), 0);
    assert_int_equal(hwloc_topology_set_synthetic(topology, synthetic->topology), 0);
    assert_int_equal(hwloc_topology_load(topology), 0);
    assert_int_equal(hwloc_topology_export_xmlbuffer(topology, &xml, &bytes, 0), 0);
    char *text = with_devices(xml, synthetic);
    struct placement_options options = {.xml = text, .cpus = synthetic->cpus};
    struct placement *placement = NULL;
    assert_int_equal(placement_open(&options, &placement), 0);
    free(text);
    hwloc_free_xmlbuffer(topology, xml);
    hwloc_topology_destroy(topology);
    return placement;
}
