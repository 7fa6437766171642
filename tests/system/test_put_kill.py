# SPDX-License-Identifier: Apache-2.0
"""put of a large file while a process is killed when half of the bytes are acknowledged.

BIN VICTIM BYTES; VICTIM is secondary, primary (of the tail chunk; not restarted) or master (restarted).

What was acknowledged must be there in every trial. A kill that falls between two chunks, when nothing is
in flight, or comes after the put, shows no recovery: such a trial does not count and another one follows, five at most.
"""
import os
import signal

from harness import check, main, make_file, say, scaled, sha256, wait_for_bytes

TRIALS = 5


def tail_of(cluster, path):
    return cluster.json("stat", "--quick", path)["chunks"][-1]


def pick(cluster, path, put, victim):
    """The victim in a tail that was granted just now, so that it is not full before the kill; None: too late."""
    first = tail_of(cluster, path)["handle"]
    while True:
        tail = tail_of(cluster, path)
        if put.poll() is not None:
            return None
        if tail["handle"] != first and tail["state"] == "open" and tail["primary"]:
            break
    names = [replica["name"] for replica in tail["replicas"]]
    dead = tail["primary"]
    if victim == "secondary":
        dead = next(name for name in names if name != tail["primary"])
    say(f"tail: handle {tail['handle']} primary {tail['primary']} of {names}")
    return dead


def check_replicas(cluster, path, dead):
    chunks = cluster.stat(path)["chunks"]
    base = 0
    for chunk in chunks:
        check(chunk["base_offset"] == base, f"chunk {chunk['index']} begins at the wrong offset")
        base += chunk["length"]
        alive = [r for r in chunk["replicas"] if r["state"] == "live"]
        check(len(alive) >= 2, f"chunk {chunk['index']} has {len(alive)} live replicas")
        if dead is not None:
            check(chunk["under_replicated"], f"chunk {chunk['index']} is not reported")
    say(f"{len(chunks)} chunks, all accounted for")


def trial(cluster, victim, path, source, digest):
    """One put with a kill; True when it counts."""
    size = os.path.getsize(source)
    copy = os.path.join(cluster.dir, "copy")
    progress = os.path.join(cluster.dir, "progress")
    open(progress, "w", encoding="ascii").close()
    before = cluster.json("servers")
    pids = cluster.pids()  # looked up before, so that the kill itself takes no time
    logged = cluster.log("master").count("recovery begins")
    chunk = min(max(size // 16, 2 << 20), 64 << 20)
    put = cluster.start_put("--chunk-bytes", str(chunk), "--progress-file", progress, source, path)
    acked = wait_for_bytes(progress, put, size // 2)
    dead = None if victim == "master" else pick(cluster, path, put, victim)
    if put.poll() is not None or (dead is None and victim != "master"):
        cluster.end_put(put, path)
        say("the put was over before the kill")
        return False
    os.kill(pids[dead or "master"], signal.SIGKILL)
    say(f"SIGKILL to {dead or 'master'}; {acked} of {size} bytes were acknowledged before")
    if victim == "master":
        cluster.restart("master")
    result = cluster.end_put(put, path)
    say(f"put: {result}")
    check(result["bytes"] == size, "not all bytes acknowledged")
    check(cluster.stat(path)["bytes"] == size, "file has another length")
    cluster.pawl("get", path, copy)
    check(sha256(copy) == digest, "SHA-256 differs")
    check_replicas(cluster, path, dead)
    again = cluster.json("put", source, path)
    check(again["records"] == 0 and again["resumed_bytes"] == size, "put again stored something")
    after = cluster.json("servers")
    if victim == "master":
        check(after["term"] > before["term"], "the master was not restarted")
        return True
    counts = (after["recoveries"] > before["recoveries"] and result["retries"] > 0 and
              cluster.log("master").count("recovery begins") > logged)
    cluster.restart(dead)
    cluster.wait_live(3)
    return counts


def run(cluster, arguments):
    victim, size = arguments[0], scaled(int(arguments[1]))
    source = os.path.join(cluster.dir, "source")
    digest = make_file(source, size)
    for number in range(TRIALS):
        if trial(cluster, victim, f"/big{number}", source, digest):
            return
        say("nothing was in flight at the kill: the trial does not count")
    check(False, f"none of {TRIALS} trials counted: nothing in flight at the kill, or no recovery logged")


main(run)
