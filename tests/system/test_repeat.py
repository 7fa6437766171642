# SPDX-License-Identifier: Apache-2.0
"""A record id that is used again gets the first offset: after success, after a lost answer, after a
failover, after a restart of everything. With another payload it is an error.

BIN
"""
import json
import os

from harness import check, main, say

PROCESSES = ["cs1", "cs2", "cs3", "master"]


def run(cluster, _arguments):
    master = cluster.master

    def append(sequence, fill="65", size="1000"):
        out = cluster.trial("repeat", master, "/ids", "abc", str(sequence), size, fill).stdout
        return json.loads(out)

    def same(first, sequence, when):
        again = append(sequence)
        check(again["status"] == 0, f"{when}: {again}")
        check(again["offset"] == first["offset"], f"{when}: {again} instead of {first}")
        check(again["duplicate"], f"{when}: was stored again")
        say(f"same offset {again['offset']} {when}")

    first = append(1)
    check(first["status"] == 0 and not first["duplicate"], f"first append: {first}")
    same(first, 1, "after success")

    cluster.trial("forget", master, "/ids", "abc", "2", "1000", "65")
    second = append(2)
    check(second["status"] == 0 and second["duplicate"], f"after a lost answer: {second}")
    same(second, 2, "after a lost answer")
    check(second["offset"] == 1000, f"a record was stored twice: {second}")

    primary = cluster.tail("/ids")["primary"]
    cluster.kill(primary)
    same(first, 1, "after failover")
    same(second, 2, "after failover")
    third = append(3)
    check(third["offset"] == 2000, f"third: {third}")
    cluster.restart(primary)
    cluster.wait_live(3)

    for process in PROCESSES:
        cluster.kill(process)
    logged = {process: len(cluster.log(process)) for process in PROCESSES}
    held = {process: cluster.hold(process) for process in ("master", "cs3")}  # as if they were not quite gone
    for process in reversed(PROCESSES):
        cluster.restart(process)
    for process, lock in held.items():
        cluster.wait_logged(process, "waits up to", behind=logged[process])
        os.close(lock)
    cluster.wait_live(3)
    for sequence, record in ((1, first), (2, second), (3, third)):
        same(record, sequence, "after a restart of everything")

    other = append(1, fill="66")
    check("used before" in other["text"], f"another payload was taken: {other}")
    other = append(3, size="999")
    check("used before" in other["text"], f"another length was taken: {other}")
    check(cluster.stat("/ids")["bytes"] == 3000, "the file has another length")


main(run)
