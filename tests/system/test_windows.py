# SPDX-License-Identifier: Apache-2.0
"""More clients than the servers have windows for append large records, some as large as a record may be: none is refused, and none is left behind.

BIN CLIENTS
"""
import json
import os

from harness import check, main, say, scaled, undisturbed

MIB = 1 << 20
SKEW = 8  # half of it was never seen


def shrink_memory(cluster, route):
    """To the least that a reactor takes: room for three windows of 16 MiB."""
    for name in ("cs1", "cs2", "cs3"):
        path = os.path.join(cluster.dir, name, "config.yaml")
        with open(path, encoding="ascii") as file:
            text = file.read()
        with open(path, "w", encoding="ascii") as file:
            lines = [line for line in text.splitlines() if not line.startswith(("memory:", "push:", "  region:", "  route:"))]
            file.write("\n".join(lines) + f"\nmemory:\n  region: 96MiB\npush:\n  route: {route}\n")
        cluster.kill(name)
        cluster.wait_unlocked(name)
        cluster.restart(name)
    cluster.wait_live(3)


def append_by_many(cluster, path, clients, record_bytes, depth, each, skew=None):
    """All go on until each has had so many: who has had them does not make room. `skew`: nobody has had so many times as
    much as another."""
    cluster.pawl("put", "/dev/null", path)
    bench = cluster.start("pawl-trial", "bench", cluster.master, path, str(clients), "240", str(record_bytes), str(depth),
                          str(each))
    out, error = bench.communicate(timeout=300)
    check(bench.returncode == 0, f"an append failed: {out} {error.decode(errors='replace')}")
    result = json.loads(out)
    records = cluster.json("stat", "--quick", path)["bytes"] // record_bytes
    say(f"{clients} clients, records of {record_bytes >> 10} KiB: {records} records, "
        f"of one client {result['least']} to {result['most']}")
    check(result["least"] >= each, "a client was left behind")
    check(skew is None or result["most"] <= skew * result["least"], "a client has had far more than another")


def check_chains(cluster):
    servers = cluster.json("servers")
    relayed, failed = (sum(server[key] for server in servers["servers"]) for key in ("relayed", "relays_failed"))
    say(f"by chain {relayed}, by star after all {failed}, recoveries {servers['recoveries']}")
    check(relayed > 0, "nothing went by chain")


def run(cluster, arguments):
    clients = scaled(int(arguments[0]), least=12)
    shrink_memory(cluster, "chain")
    # Who waits for memory is not taken for broken; a slow disk may be, but hardly twice.
    undisturbed(cluster, lambda again: append_by_many(cluster, f"/many{again}", clients, MIB, 4, 12, SKEW), tries=2)
    check_chains(cluster)
    append_by_many(cluster, "/large", clients // 2, 16 * MIB, 1, 3, SKEW)  # chunks of four records, each of another primary
    shrink_memory(cluster, "star")
    append_by_many(cluster, "/star", clients, MIB, 4, 12, SKEW)
    for name in ("cs1", "cs2", "cs3"):
        check("a record is larger" not in cluster.log(name), "a window was too small for a record")


main(run)
