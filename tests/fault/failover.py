# SPDX-License-Identifier: Apache-2.0
"""Failover times, reported and never asserted: the longest pause of one appender (1 KiB, depth 1) around a
fault of its primary, that is from the fault to the next acknowledged append."""
import json
import os
import statistics
import time

from world import PATIENCE_S, World, check, say

SETTINGS = [("heartbeat_ms", 200), ("suspect_ms", 1000), ("dead_ms", 3000),
            ("lease_ms", 15000)]  # longer than any time that is reported
BUILT_IN = "a secondary's answer 1000 ms, a client's attempt 2000 ms, a command of the master 1000 ms"
SECONDS = 7  # of each trial; the fault comes after one and a half


def kill(world, name):
    world.kill(name)
    return lambda: world.restart(name)


def freeze(world, name):
    world.nodes[name].freeze()
    return world.nodes[name].thaw


def cut_off(world, name, how):
    others = [other for other in [*world.names, "client"] if other != name]
    for other in others:
        world.net.cut(name, other, how)
    return lambda: [world.net.join(name, other) for other in others]


KINDS = {
    "SIGKILL": kill,
    "SIGSTOP": freeze,
    "partition, silent": lambda world, name: cut_off(world, name, "drop"),
    "partition, resets": lambda world, name: cut_off(world, name, "reset"),
}


def trial(world, kind, number):
    path = f"/{kind.replace(' ', '-')}-{number}"
    bench = world.start_client("pawl-trial", "bench", world.master_address, path, "1", str(SECONDS),
                               "1024", "1")
    time.sleep(1.5)
    name, _ = world.primary(path)
    end = KINDS[kind](world, name)
    out, error = bench.communicate(timeout=PATIENCE_S)
    end()
    check(bench.returncode == 0, f"{kind}: {error.decode(errors='replace')}")
    world.wait_live(len(world.servers))
    return json.loads(out)["pause_ms"]


def run(bin_dir, seed, rounds):
    """Rounds of all kinds by turns, on one cluster."""
    world = World(bin_dir, seed, 4, master=dict(SETTINGS))
    pauses = {kind: [] for kind in KINDS}
    print(f"load average at the start: {os.getloadavg()}", flush=True)
    for number in range(rounds):
        for kind in KINDS:
            pauses[kind].append(trial(world, kind, number))
            say(f"{kind}: {pauses[kind][-1]:.0f} ms")
    print(f"4 servers, 3 replicas; {', '.join(f'{key} {value}' for key, value in SETTINGS)}; {BUILT_IN}")
    print("fault of the primary to the next acknowledged append:")
    for kind, values in pauses.items():
        print(f"    {kind:18} median {statistics.median(values):6.0f} ms (lowest {min(values):.0f}, "
              f"highest {max(values):.0f}, {len(values)} rounds)")
    print(f"load average at the end: {os.getloadavg()}", flush=True)
    world.clean(False)
    return 0
