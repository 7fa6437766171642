# SPDX-License-Identifier: Apache-2.0
"""A server is killed for good: its chunks come back to their replica count on the others. Another one is
killed: the bytes are still there. The first comes back: what is too many goes.

BIN BYTES
"""
import os
import time

from harness import Failed, check, main, make_file, say, scaled, sha256

CHUNK = 1 << 20
REPLICAS = 3


def wait_for(what, condition, seconds=180):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            say(what)
            return
        time.sleep(0.2)
    raise Failed(f"not within {seconds} s: {what}")


def live_names(cluster):
    return {server["name"] for server in cluster.json("servers")["servers"]
            if server["state"] == "live"}


def sealed(cluster):
    return [chunk for chunk in cluster.stat("/heal")["chunks"] if chunk["state"] == "sealed"]


def counts(cluster):
    """Replicas of each sealed chunk on live servers."""
    live = live_names(cluster)
    return [sum(replica["name"] in live for replica in chunk["replicas"])
            for chunk in sealed(cluster)]


def all_healed(cluster):
    chunks = sealed(cluster)
    return (chunks and not any(chunk["under_replicated"] for chunk in chunks)
            and min(counts(cluster)) >= REPLICAS)


def check_bytes(cluster, digest):
    target = os.path.join(cluster.dir, "back")
    cluster.pawl("get", "/heal", target)
    check(sha256(target) == digest, "the bytes that came back differ")
    os.unlink(target)
    say("the bytes are right")


def run(cluster, arguments):
    source = os.path.join(cluster.dir, "source")
    digest = make_file(source, scaled(int(arguments[0]), least=12 << 20))
    cluster.pawl("put", "--chunk-bytes", str(CHUNK), "--record-bytes", str(CHUNK // 8), source,
                 "/heal")
    check(len(sealed(cluster)) > 10, "too few chunks to speak of")

    victims = [replica["name"] for replica in sealed(cluster)[0]["replicas"][:2]]
    cluster.kill(victims[0])
    wait_for("chunks are under-replicated",
             lambda: any(chunk["under_replicated"] for chunk in sealed(cluster)))
    wait_for(f"all sealed chunks have {REPLICAS} replicas without {victims[0]}",
             lambda: victims[0] not in live_names(cluster) and all_healed(cluster))
    check("copied from server" in cluster.log("master"), "nothing was copied")

    cluster.kill(victims[1])
    wait_for(f"{victims[1]} is missed", lambda: victims[1] not in live_names(cluster))
    check_bytes(cluster, digest)

    cluster.restart(victims[0])
    cluster.wait_live(3)
    wait_for("all sealed chunks have their replicas on three servers",
             lambda: all_healed(cluster))
    cluster.restart(victims[1])
    cluster.wait_live(4)
    wait_for(f"the surplus is gone: {REPLICAS} replicas each",
             lambda: "more than its file wants" in cluster.log("master")
             and set(counts(cluster)) == {REPLICAS})
    check_bytes(cluster, digest)

    # The tail was opened while two servers lived. With a record in it, it is sealed and healed.
    before = len(cluster.stat("/heal")["chunks"])
    say(f"tail on {[replica['name'] for replica in cluster.tail('/heal')['replicas']]}")
    cluster.pawl("append", "/heal", stdin=b"one more record")
    wait_for("no chunk is under-replicated",
             lambda: not any(chunk["under_replicated"]
                             for chunk in cluster.stat("/heal")["chunks"]))
    check(len(cluster.stat("/heal")["chunks"]) <= before + 1, "the tail was sealed again and again")
    tail = cluster.pawl("cat", "/heal").stdout[-15:]
    check(tail == b"one more record", f"the last record reads {tail}")


main(run, servers=4)
