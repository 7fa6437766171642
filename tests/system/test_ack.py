# SPDX-License-Identifier: Apache-2.0
"""Records that are acknowledged in memory: the kill of one server loses none of them; the kill of all three may lose the
last ones, and then their producer is told which (test_lost.py sees to it that it does).

BIN ROUNDS
"""
import json
import os
import signal
import time

from harness import check, main, say, scaled


def wait_for_appends(cluster, count, trial):
    """Until so many more were committed, as the servers tell the master."""
    def appends():
        return sum(server["appends"] for server in cluster.json("servers")["servers"] if server["state"] == "live")

    first = appends()
    until = time.monotonic() + 120
    while (now := appends()) < first + count and trial.poll() is None:
        check(time.monotonic() < until, "no append for 120 s")
        first = min(first, now)  # a dead server's are not counted any more
        time.sleep(0.05)


def end(trial):
    trial.terminate()
    out, error = trial.communicate(timeout=300)
    check(trial.returncode == 0, f"{out} {error.decode(errors='replace')}")
    result = json.loads(out)
    check(result["from_memory"] > 0, f"no record was acknowledged in memory: {result}")
    return result


def one_killed(cluster, number):
    path = f"/one{number}"
    trial = cluster.start("pawl-trial-ack", cluster.master, path, str(1000 + number))
    # The servers' counts may still grow by what an earlier trial has appended.
    cluster.wait_primary(path, trial)
    wait_for_appends(cluster, 50, trial)
    victim = cluster.wait_primary(path, trial) if number % 2 == 0 else f"cs{1 + number % 3}"
    cluster.kill(victim)
    wait_for_appends(cluster, 50, trial)
    cluster.restart(victim)
    cluster.wait_live(3)
    result = end(trial)
    check(result["lost_sequence"] == 0, f"{victim} was killed alone, and records are lost: {result}")
    say(f"ack: {victim} killed: {result}")


def all_killed(cluster, number):
    trial = cluster.start("pawl-trial-ack", cluster.master, f"/all{number}", str(2000 + number))
    wait_for_appends(cluster, 50, trial)
    pids = cluster.pids()
    for server in ("cs1", "cs2", "cs3"):  # at once: what is not on a disk then is lost
        os.kill(pids[server], signal.SIGKILL)
    for server in ("cs1", "cs2", "cs3"):
        cluster.restart(server)
    cluster.wait_live(3)
    wait_for_appends(cluster, 50, trial)  # or it was told of a loss
    say(f"ack: all killed: {end(trial)}")


def run(cluster, arguments):
    for number in range(scaled(int(arguments[0]), least=2)):
        one_killed(cluster, number)
        all_killed(cluster, number)


main(run)
