# SPDX-License-Identifier: Apache-2.0
"""One appender of 1 KiB records goes on when its primary is killed. The longest pause is reported, never judged.

BIN ROUNDS SECONDS
"""
import json
import time

from harness import check, main, say, scaled


def appends(cluster):
    return sum(server["appends"] for server in cluster.json("servers")["servers"])


def pause_ms(cluster, path, seconds):
    before = cluster.json("servers")["recoveries"]
    seen = appends(cluster)
    bench = cluster.start("pawl-trial", "bench", cluster.master, path, "1", seconds, "1024", "1")
    until = time.monotonic() + 120
    while appends(cluster) < seen + 10:
        check(bench.poll() is None, "the appender ended before the kill")
        check(time.monotonic() < until, "no append")
    primary = cluster.json("stat", "--quick", path)["chunks"][-1]["primary"]
    check(bench.poll() is None, "the appender ended before the kill")
    cluster.kill(primary)
    out, error = bench.communicate(timeout=240)
    check(bench.returncode == 0, f"an append failed: {out} {error.decode(errors='replace')}")
    check(cluster.json("servers")["recoveries"] > before, "no recovery")
    cluster.restart(primary)
    cluster.wait_live(3)
    return json.loads(out)["pause_ms"]


def run(cluster, arguments):
    rounds, seconds = scaled(int(arguments[0]), least=2), arguments[1]
    for number in range(rounds):
        say(f"failover: {pause_ms(cluster, f'/failover{number}', seconds):.0f} ms from one append to the next")


main(run)
