# SPDX-License-Identifier: Apache-2.0
"""Writers write over a file at random while servers are killed and restarted in turn; a reader looks on.

BIN WRITERS KILLS [SEED]

The file is compared byte for byte at the end, after a restart of everything, and its removal gives back all.
"""
import os
import subprocess
import time

from harness import check, main, say, scaled, sha256


def run(cluster, arguments):
    writers, kills = arguments[0], scaled(int(arguments[1]), least=4)
    seed = arguments[2] if len(arguments) > 2 else "3"
    expected = os.path.join(cluster.dir, "expected")
    copy = os.path.join(cluster.dir, "copy")
    trial = subprocess.Popen(
        [os.path.join(cluster.bin, "pawl-trial-write"), cluster.master, "/over", expected, writers, "300",
         seed], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check(trial.stdout.readline() == b"ready\n", "the file was not made")
    victims = ["cs1", "cs2", "cs3", "master"]
    for kill in range(kills):
        victim = victims[kill % len(victims)]
        time.sleep(0.5)  # writes go on
        cluster.kill(victim)
        time.sleep(0.5)  # without it
        cluster.restart(victim)
        cluster.wait_live(3)
        check(trial.poll() is None, "a writer gave up")
    trial.terminate()
    out, error = trial.communicate(timeout=200)
    say(f"writers: {out.decode().strip()} {error.decode(errors='replace')[-500:]}")
    check(trial.returncode == 0, "a writer gave up, or the bytes are not those that were written")
    length = cluster.stat("/over")["bytes"]
    check(length == os.path.getsize(expected), f"the length has changed: {length}")
    for name in ("master", "cs1", "cs2", "cs3"):
        cluster.kill(name)
    for name in ("master", "cs1", "cs2", "cs3"):
        cluster.restart(name)
    cluster.wait_live(3)
    cluster.pawl("get", "/over", copy)
    check(sha256(copy) == sha256(expected), "other bytes after a restart of everything")
    cluster.pawl("rm", "/over")
    until = time.monotonic() + 60
    while any(server["chunks"] for server in cluster.json("servers")["servers"]):
        check(time.monotonic() < until, "chunks of a removed file, or of its write logs, stay")
        time.sleep(0.1)


main(run)
