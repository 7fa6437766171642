# SPDX-License-Identifier: Apache-2.0
"""Records that are acknowledged in memory and lost: all servers are killed while no disk takes anything, and their producer
is told from which sequence on.

BIN LIBRARY   (disk_gate.c)
"""
import json
import os
import signal
import sys
import tempfile
import time

from harness import check, main, say

SERVERS = ("cs1", "cs2", "cs3")
DEPTH = 8  # of the trial
TRIES = 5
PATIENCE_S = 120
FOLDER = tempfile.TemporaryDirectory(prefix="pawl-gate-")
GATE = os.path.join(FOLDER.name, "gate")


def wait(condition, trial, seconds=PATIENCE_S):
    """False: not in this time, or the trial has ended."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until or trial.poll() is not None:
            return False
        time.sleep(0.005)
    return True


def acked(log):
    return os.path.getsize(log) if os.path.exists(log) else 0


def kill_with_records_in_memory(cluster, log, trial):
    """False: the set was broken before anything was acknowledged out of memory alone."""
    pids = cluster.pids()
    with open(GATE, "w", encoding="ascii"):
        count = acked(log) + DEPTH  # so many may have been on their way before
    kept = wait(lambda: acked(log) > count, trial, seconds=5)
    if kept:
        for server in SERVERS:
            os.kill(pids[server], signal.SIGKILL)
    os.unlink(GATE)
    return kept


def attempt(cluster, number):
    """The trial's account."""
    log = os.path.join(cluster.dir, f"acked{number}")
    trial = cluster.start("pawl-trial-ack", cluster.master, f"/lost{number}", str(1 + number), log)
    check(wait(lambda: acked(log) > 100, trial), "no appends")
    if kill_with_records_in_memory(cluster, log, trial):
        for server in SERVERS:
            cluster.restart(server)
        cluster.wait_live(3)
    count = acked(log) + DEPTH
    wait(lambda: acked(log) > count, trial)  # it ends at once when it is told of a loss
    trial.terminate()
    out, error = trial.communicate(timeout=300)
    check(trial.returncode == 0, f"{out} {error.decode(errors='replace')}")
    return json.loads(out)


def run(cluster, _):
    if any("io_uring is not used" in cluster.log(server) for server in SERVERS):
        say("no io_uring here: no disk can be shut")
        return
    for number in range(TRIES):
        result = attempt(cluster, number)
        say(f"lost: {result}")
        if result["lost_sequence"] != 0:
            check(result["absent"] > 0, "a loss of nothing")
            return
    check(False, f"nothing was lost in {TRIES} tries")


os.environ["PAWL_TEST_GATE"] = GATE
os.environ["LD_PRELOAD"] = sys.argv[2]
main(run)
