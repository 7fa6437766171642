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

// The text with the devices in it.
static char *with_devices(const char *xml, const struct synthetic *synthetic)
{
    const char *on_node = synthetic->on_node_1 != NULL ? synthetic->on_node_1 : "";
    const char *on_machine = synthetic->on_machine != NULL ? synthetic->on_machine : "";
    const char *at_node = xml;
    const char *at_machine = NULL; // before its end, the last one
    if (synthetic->on_node_1 != NULL) {
        at_node = strstr(xml, "<object type=\"NUMANode\" os_index=\"1\"");
        assert_non_null(at_node);
    }
    for (const char *at = xml; (at = strstr(at, "</object>")) != NULL; at++) {
        at_machine = at;
    }
    assert_true(at_machine > at_node);
    size_t room = strlen(xml) + strlen(on_node) + strlen(on_machine) + 1;
    char *text = calloc(1, room);
    assert_non_null(text);
    snprintf(text, room, "%.*s%s%.*s%s%s", (int)(at_node - xml), xml, on_node,
             (int)(at_machine - at_node), at_node, on_machine, at_machine);
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
