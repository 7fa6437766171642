# SPDX-License-Identifier: Apache-2.0
"""An idle cluster costs next to nothing: what its daemons take of a core, and how often they wake up, when no client is
there and when a client has written before. With several reactors they are bound to cores, all servers to the same ones:
the kernel says so too, each reactor's memory is on its node, each server sees that it is not alone there and does not
spin, and sees it when it is alone again.

BIN REACTORS PERCENT

It is a budget of processor time, not of time: a busy machine makes the daemons later, not busier. But what a virtual
machine is made to wait by the one below it counts as the time of whoever ran: slices of 4 ms, where a daemon runs for 50
us when it wakes up, and in bad minutes several times as much as all daemons take. So what a thread has run is read every
few milliseconds, and of a longer run only its begin is counted; without that, there is a wider limit.
What daemons do right after a start or a write is none of an idle cluster's: looks are repeated until some in a row are
within.
"""
import os
import re
import sys
import time

from harness import Failed, check, main, say

SERVERS = ("cs1", "cs2", "cs3")
SHARED = "shares its core with another server"
ALONE = "has its core to itself"
LOOK_S = 3
IN_A_ROW = 3
LOOKS = 40
SAMPLE_S = 0.005
RUN_MAX_S = 0.00025  # is counted of what a thread ran between two samples
WAITED_PERCENT_MAX = 40  # of a core, with the waits of the machine below; who spins takes 100
WAKES_MAX = 60  # of a daemon in a second: a tick of 10 ms is 100


def threads_switched(pid):
    """How often each thread of a process went to sleep of its own accord."""
    counts = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
            counts += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt"))
    return counts


class Runs:
    """How long each thread of some processes has run, from /proc; threads that begin later are not seen."""

    def __init__(self, pids):
        self.files = []
        for pid in pids:
            for thread in os.listdir(f"/proc/{pid}/task"):
                try:
                    self.files.append(open(f"/proc/{pid}/task/{thread}/schedstat", "rb"))
                except FileNotFoundError:
                    pass  # the kernel's own threads for the disk come and go
        self.last = [self.read(file) for file in self.files]
        self.counted_s = 0
        self.whole_s = 0

    @staticmethod
    def read(file):
        try:
            file.seek(0)
            return int(file.read().split()[0]) / 1e9
        except ProcessLookupError:
            return None

    def sample(self):
        for i, file in enumerate(self.files):
            now = self.read(file)
            if now is not None and self.last[i] is not None:
                self.whole_s += now - self.last[i]
                self.counted_s += min(now - self.last[i], RUN_MAX_S)
            self.last[i] = now

    def close(self):
        for file in self.files:
            file.close()


def look(pids):
    """Percent of a core that all take together, the same with what the machine was made to wait, and wake-ups a second of
    each."""
    begin = time.monotonic()
    wakes_before = {name: threads_switched(pid) for name, pid in pids.items()}
    runs = Runs(pids.values())
    while time.monotonic() < begin + LOOK_S:
        time.sleep(SAMPLE_S)
        runs.sample()
    runs.close()
    wakes = {name: threads_switched(pid) - wakes_before[name] for name, pid in pids.items()}
    seconds = time.monotonic() - begin
    return (100 * runs.counted_s / seconds, 100 * runs.whole_s / seconds,
            {name: count / seconds for name, count in wakes.items()})


def check_idle(cluster, what, percent_max):
    pids = cluster.pids()
    check(len(pids) == 4, f"four daemons are to run: {pids}")
    row = 0
    for _ in range(LOOKS):
        percent, waited_percent, wakes = look(pids)
        say(f"{what}: {percent:.1f} % of a core ({waited_percent:.1f} % with the machine's waits), wake-ups a second: "
            + ", ".join(f"{name} {count:.0f}" for name, count in sorted(wakes.items())))
        within = percent < percent_max and waited_percent < WAITED_PERCENT_MAX and max(wakes.values()) < WAKES_MAX
        row = row + 1 if within else 0
        if row == IN_A_ROW:
            return
    raise Failed(f"{what}: not {IN_A_ROW} times in a row under {percent_max} % of a core and {WAKES_MAX} wake-ups a second")


def bind(cluster):
    """All servers begin anew, bound to the cores of this machine."""
    cluster.pawl("local", "stop")
    for server in SERVERS:
        config = os.path.join(cluster.dir, server, "config.yaml")
        with open(config, encoding="ascii") as file:
            text = file.read()
        check("pin: false" in text, f"{config} binds already")
        with open(config, "w", encoding="ascii") as file:
            file.write(text.replace("pin: false", "pin: true"))
        os.truncate(os.path.join(cluster.dir, server, "log"), 0)
    cluster.pawl("local", "start")
    cluster.wait_live(3)


def reactors_allowed(pid):
    """Where the kernel lets the threads run that are named after reactors: by number, the cpus of each."""
    allowed = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
                status = file.read()
        except FileNotFoundError:
            continue  # the kernel's own threads for the disk come and go
        name = re.search(r"^Name:\tpawl-reactor-(\d+)$", status, re.MULTILINE)
        if name:
            cpus = re.search(r"^Cpus_allowed_list:\t(.*)$", status, re.MULTILINE)
            allowed.setdefault(int(name[1]), set()).add(cpus[1])
    return allowed


def nodes_said(log):
    """Of the reactors' memory, the nodes that the log speaks of."""
    return sorted(re.findall(r" memory: \d+ MiB, .*\bnode (\d+)", log))


def check_unbound(cluster, reactors):
    for server in SERVERS:
        check(nodes_said(cluster.log(server)) == [], f"{server} asks for a node's memory and is bound to none")
        allowed = reactors_allowed(cluster.pids()[server])
        check(len(allowed) == reactors, f"{server} has other reactors than {reactors}: {allowed}")


def check_bound(cluster, reactors):
    """What the log says of threads and memory is what the kernel has been told. Where there are fewer cores than
    reactors several are bound to one."""
    for server in SERVERS:
        log = cluster.log(server)
        places = re.findall(r"placement: reactor (\d+) on hardware thread (\d+), NUMA node (-?\d+)", log)
        check(len(places) == reactors, f"{server} says nothing of {reactors} reactors' places: {places}")
        said = {int(reactor): {cpu} for reactor, cpu, _ in places}
        allowed = reactors_allowed(cluster.pids()[server])
        check(allowed == said, f"{server}: its log says {said}, the kernel {allowed}")
        check(log.count("it does not tell on which one lo is") == 1, f"{server} does not say that loopback is nowhere")
        nodes = sorted(node for _, _, node in places if node != "-1")
        check(nodes_said(log) == nodes, f"{server}: memory on nodes {nodes_said(log)}, reactors on {nodes}")
        say(f"{server}: reactors are bound to {said}, memory on nodes {nodes}")


def last_said(cluster, server):
    """Of the first reactor, about its core."""
    lines = [line for line in cluster.log(server).splitlines() if "placement: reactor 0 " in line and " its core " in line]
    return lines[-1] if lines else ""


def wait_said(cluster, server, text, seconds=120):
    until = time.monotonic() + seconds
    while text not in last_said(cluster, server):
        check(time.monotonic() < until, f"{server} does not say '{text}': {last_said(cluster, server)}")
        time.sleep(0.05)
    say(f"{server}: {last_said(cluster, server)}")


def check_cores(cluster):
    if "a core that another reactor has too" in cluster.log("cs1"):
        say("this machine has fewer cores than a server has reactors")
        return
    for server in SERVERS:
        wait_said(cluster, server, SHARED)
    cluster.kill("cs1")
    cluster.kill("cs2")
    wait_said(cluster, "cs3", ALONE)
    cluster.restart("cs1")
    cluster.restart("cs2")
    cluster.wait_live(3)
    for server in SERVERS:
        wait_said(cluster, server, SHARED)


def check_memory(cluster):
    """What the log says is taken at the start is there: regions and journals are touched."""
    said = re.search(r"memory: (\d+) MiB are taken at the start", cluster.log("cs1"))
    check(said, "cs1 does not say how much memory it takes")
    with open(f"/proc/{cluster.pids()['cs1']}/status", encoding="ascii") as file:
        resident = sum(int(line.split()[1]) for line in file if line.startswith(("VmRSS:", "HugetlbPages:"))) >> 10
    say(f"cs1: {said[0]}, {resident} MiB are resident")
    check(resident >= int(said[1]), "less than that is there")


def run(cluster, arguments):
    percent_max = float(arguments[1])
    cluster.wait_live(3)
    check_memory(cluster)
    if int(arguments[0]) > 1:
        reactors = int(arguments[0])
        check_unbound(cluster, reactors)
        bind(cluster)
        check_bound(cluster, reactors)
        check_cores(cluster)
    check_idle(cluster, "started", percent_max)
    cluster.pawl("append", "/log", stdin=b"a record")
    check_idle(cluster, "after a write", percent_max)


main(run, reactors=int(sys.argv[2]))
