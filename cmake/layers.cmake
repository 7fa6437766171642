# SPDX-License-Identifier: Apache-2.0
# The one table of rooms and their levels, read by CMake (links) and by scripts/check_layers.py (includes).
#
# A room may use any room of a lower level, never one of its own level or above. The public headers
# in include/pawl belong to nobody and may be included by everybody.
set(PAWL_LAYERS
    base:0
    proto:1
    client/core:2
    controlplane/core:2
    dataplane/core:2
    dataplane/memory:3
    dataplane/fabric:4
    dataplane/store:4
    controlplane/log:4
    controlplane/rpc:4
    dataplane/chunkd:5
    cli/local:5
    controlplane/master:5
    client:5
    perf/roofline:5
    cli:6
    perf:6
)
