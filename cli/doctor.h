// SPDX-License-Identifier: Apache-2.0
// doctor: what its parts share. A part looks at one thing and reports findings.
#ifndef PAWL_CLI_DOCTOR_H
#define PAWL_CLI_DOCTOR_H

#include <stdbool.h>

struct doctor_report {
    // `advice` says what to do when it is not well. All strings are BORROWED during the call.
    void (*finding)(void *user, const char *check, bool well, const char *found,
                    const char *advice);
    void *user;
};

// RDMA as the kernel shows it below `root` ("" for this machine; tests have a tree of their own):
// devices, ports, addresses, MTU, device nodes, modules, drivers of libibverbs.
void doctor_rdma(const char *root, const struct doctor_report *report);

// What the kernel shows below `root` of flushes to this device (st_dev of a folder).
void doctor_disk(const char *root, unsigned major, unsigned minor,
                 const struct doctor_report *report);

// The congestion control that new connections of TCP have where no route says otherwise: "cubic".
void doctor_tcp(const char *congestion, const struct doctor_report *report);

struct placement;
// Where reactors would run on this topology, for each of these network interfaces that is on a node of it by what the
// kernel shows below `root`.
void doctor_placement(const struct placement *placement, const char *root,
                      const char *const *devices, unsigned devices_count,
                      const struct doctor_report *report);

struct cli;
// The servers of the cluster that the options name, if they name one: whether they can be reached by this
// client's provider and have one in common.
void doctor_cluster(const struct cli *cli, const struct doctor_report *report);

#endif
