# SPDX-License-Identifier: Apache-2.0
"""put of a large file while a process is killed at half of the acknowledged bytes.

BIN VICTIM BYTES; VICTIM is secondary, primary (of the tail chunk; not restarted) or master (restarted).
"""
import json
import os
import signal

from harness import check, main, make_file, say, sha256, wait_for_bytes


def recoveries(cluster):
    return cluster.json("servers")["recoveries"]


def pick(cluster, victim):
    tail = cluster.json("stat", "--quick", "/big")["chunks"][-1]
    say(f"tail: handle {tail['handle']} {tail['state']} primary {tail['primary']}")
    names = [replica["name"] for replica in tail["replicas"]]
    if victim == "primary":
        return tail["primary"] or names[0]
    return next(name for name in names if name != tail["primary"])


def check_replicas(cluster, dead):
    chunks = cluster.stat("/big")["chunks"]
    base = 0
    for chunk in chunks:
        check(chunk["base_offset"] == base, f"chunk {chunk['index']} begins at the wrong offset")
        base += chunk["length"]
        alive = [r for r in chunk["replicas"] if r["state"] == "live"]
        check(len(alive) >= 2, f"chunk {chunk['index']} has {len(alive)} live replicas")
        if dead is not None:
            check(chunk["under_replicated"], f"chunk {chunk['index']} is not reported")
    say(f"{len(chunks)} chunks, all accounted for")


def run(cluster, arguments):
    victim, size = arguments[0], int(arguments[1])
    source = os.path.join(cluster.dir, "source")
    copy = os.path.join(cluster.dir, "copy")
    progress = os.path.join(cluster.dir, "progress")
    digest = make_file(source, size)
    term = cluster.json("servers")["term"]
    before = recoveries(cluster)
    pids = cluster.pids()  # looked up before, so that the kill itself takes no time
    put = cluster.start_put(source, "/big", "--progress-file", progress)
    acked = wait_for_bytes(progress, put, size // 2)
    dead = None
    if victim != "master":
        dead = pick(cluster, victim)
    check(put.poll() is None, "put was over before the kill")
    os.kill(pids[dead or "master"], signal.SIGKILL)
    say(f"SIGKILL to {dead or 'master'}")
    if victim == "master":
        cluster.restart("master")
    say(f"{acked} of {size} bytes were acknowledged")
    out, error = put.communicate(timeout=300)
    check(put.returncode == 0, f"put failed: {error.decode(errors='replace')}")
    result = json.loads(out)
    say(f"put: {result}")
    check(result["bytes"] == size, "not all bytes acknowledged")
    if dead is not None:
        check(result["retries"] > 0 or result["recoveries"] > 0, "no append was in flight")
        check(recoveries(cluster) > before, "no recovery counted")
        check("recovery begins" in cluster.log("master"), "no recovery logged")
    else:
        check(cluster.json("servers")["term"] > term, "the master was not restarted")
    check(cluster.stat("/big")["bytes"] == size, "file has another length")
    cluster.pawl("get", "/big", copy)
    check(sha256(copy) == digest, "SHA-256 differs")
    if dead is not None:
        check_replicas(cluster, dead)
    again = cluster.json("put", source, "/big")
    check(again["records"] == 0 and again["resumed_bytes"] == size, "put again stored something")


main(run)
