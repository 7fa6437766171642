# SPDX-License-Identifier: Apache-2.0
"""What went over RDMA devices, read from their counters. PAWL_TEST_DEVICES names the devices that the bytes of a
test must take, so that another way is found out; without it nothing is watched."""
import json
import os
import pathlib
import subprocess

WATCHED = os.environ.get("PAWL_TEST_DEVICES", "").split()
PACKET_BYTES = 4096  # the largest path MTU there is: no packet carries more
CLASS = pathlib.Path("/sys/class/infiniband")


def counter(device, name):
    return int((CLASS / device / "ports/1/hw_counters" / name).read_text())


def packets():
    """That the watched devices have sent."""
    return sum(counter(device, "sent_pkts") for device in WATCHED)


def cable_packets():
    """That left through the network interfaces below them, of any protocol; what a device sends to itself does not."""
    names = ((CLASS / device / "ports/1/gid_attrs/ndevs/0").read_text().strip() for device in WATCHED)
    return sum(int(pathlib.Path("/sys/class/net", name, "statistics/tx_packets").read_text()) for name in names)


def resources(kind):
    """Queue pairs (qp), regions (mr) or connection ids (cm_id) of processes, not of the kernel."""
    shown = json.loads(subprocess.run(["rdma", "-j", "resource", "show", kind], capture_output=True,
                                      check=True, timeout=60).stdout)
    return [entry for entry in shown if entry.get("pid")]
