# SPDX-License-Identifier: Apache-2.0
"""One appender of 1 KiB records goes on when its primary is killed. The longest pause is reported, never judged.

BIN ROUNDS
"""
import json
import time

from harness import check, main, say, scaled


def wait_for_appends(cluster, count, bench):
    """Until so many more were acknowledged, as the servers tell the master."""
    def appends():
        return sum(server["appends"] for server in cluster.json("servers")["servers"] if server["state"] == "live")

    first = appends()
    until = time.monotonic() + 120
    while (now := appends()) < first + count:
        check(bench.poll() is None, "the appender has given up")
        check(time.monotonic() < until, "no append for 120 s")
        first = min(first, now)  # a dead server's are not counted any more
        time.sleep(0.05)


def pause_ms(cluster, path):
    before = cluster.json("servers")["recoveries"]
    bench = cluster.start("pawl-trial", "bench", cluster.master, path, "1", "600", "1024", "1")
    wait_for_appends(cluster, 20, bench)
    primary = cluster.wait_primary(path, bench)
    cluster.kill(primary)
    until = time.monotonic() + 120
    while cluster.json("servers")["recoveries"] == before:
        check(time.monotonic() < until, "no recovery for 120 s")
    wait_for_appends(cluster, 20, bench)
    bench.terminate()
    out, error = bench.communicate(timeout=240)
    check(bench.returncode == 0, f"an append failed: {out} {error.decode(errors='replace')}")
    cluster.restart(primary)
    cluster.wait_live(3)
    return json.loads(out)["pause_ms"]


def run(cluster, arguments):
    for number in range(scaled(int(arguments[0]), least=2)):
        say(f"failover: {pause_ms(cluster, f'/failover{number}'):.0f} ms from one append to the next")


main(run)
