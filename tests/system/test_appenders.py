# SPDX-License-Identifier: Apache-2.0
"""Many appenders of 1 KiB records to one file while servers are killed and restarted in turn.

BIN CLIENTS KILLS [SEED]
"""
import os
import subprocess
import time

from harness import check, main, say, scaled


def run(cluster, arguments):
    clients, kills = str(scaled(int(arguments[0]), least=3)), scaled(int(arguments[1]), least=4)
    seed = arguments[2] if len(arguments) > 2 else "7"
    log = os.path.join(cluster.dir, "told")
    # Small chunks: seals and recoveries meet.
    cluster.pawl("put", "--chunk-bytes", "4MiB", "/dev/null", "/many")
    master = cluster.master
    trial = subprocess.Popen(
        [os.path.join(cluster.bin, "pawl-trial"), "appenders", master, "/many", log, clients,
         "300", seed], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told = 0
    victims = ["cs1", "cs2", "cs3", "master"]
    for kill in range(kills):
        victim = victims[kill % len(victims)]
        told = cluster.wait_for_growth(log, told, trial)
        time.sleep(0.7)  # appends go on
        cluster.kill(victim)
        time.sleep(0.7)  # without it
        cluster.restart(victim)
        cluster.wait_live(3)
        check(trial.poll() is None, "an appender gave up")
    trial.terminate()
    out, error = trial.communicate(timeout=200)
    say(f"appenders: {out.decode().strip()} {error.decode(errors='replace')[-500:]}")
    check(trial.returncode == 0, "an appender gave up")
    result = cluster.trial("check", master, "/many", log, seed, code=None)
    say(f"check: {result.stdout.decode().strip()} after {kills} kills")
    check(result.returncode == 0, result.stderr.decode(errors="replace"))
    check(cluster.json("servers")["recoveries"] > 0, "no recovery happened")


main(run)
