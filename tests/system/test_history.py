# SPDX-License-Identifier: Apache-2.0
"""No limit to history: many records of one producer over at least 100 chunks; then a retry of the first
one, of one in the middle and of the last gets the first offset, and nothing is stored again; the same
after a kill and restart of everything. Times and memory are reported, not judged.

BIN RECORDS
"""
import json
import time

from harness import check, main, say

PROCESSES = ["cs1", "cs2", "cs3", "master"]
BYTES = 40
CHUNKS = 130  # about; at least 100 are wanted


def run(cluster, arguments):
    records = int(arguments[0])
    chunk_bytes = max(65536, records * BYTES // CHUNKS // 4096 * 4096)
    wanted = records * BYTES // chunk_bytes
    check(wanted >= 100, f"{records} records of {BYTES} bytes fill {wanted} chunks only")
    begin = {name: cluster.rss_bytes(name) for name in PROCESSES}

    out = json.loads(cluster.trial("history", cluster.master, "/history", "abc", str(records), str(BYTES),
                                   "65", str(chunk_bytes), "512", timeout=14400).stdout)
    check(out["acked"] == records, f"acknowledged: {out}")
    say(f"{records} records in {out['seconds']} s, {records / max(out['seconds'], 0.1):.0f} a second, "
        f"{out['retried']} of them by a retry")

    def chunks():
        stat = cluster.stat("/history")
        check(stat["bytes"] == records * BYTES, f"the file has {stat['bytes']} bytes")
        return len(stat["chunks"])

    def memory(when):
        for name in PROCESSES:
            rss = cluster.rss_bytes(name)
            say(f"memory {when}: {name} {rss >> 20} MiB, {(rss - begin[name]) / records:.1f} bytes a record more "
                "than at the start")

    def retry(when):
        for sequence in (1, records // 2, records):
            again = json.loads(cluster.trial("repeat", cluster.master, "/history", "abc", str(sequence),
                                             str(BYTES), "65").stdout)
            check(again["status"] == 0, f"{when}, record {sequence}: {again}")
            check(again["offset"] == (sequence - 1) * BYTES, f"{when}, record {sequence}: {again}")
            check(again["duplicate"], f"{when}: record {sequence} was stored again")
            say(f"{when}: record {sequence} is at {again['offset']}, told in {again['ms']} ms")
        other = json.loads(cluster.trial("repeat", cluster.master, "/history", "abc", "1", str(BYTES),
                                         "66").stdout)
        check("used before" in other["text"], f"{when}: another payload was taken: {other}")
        check(chunks() >= 100, f"only {chunks()} chunks")

    say(f"{chunks()} chunks of {chunk_bytes} bytes")
    memory("at the end")
    retry("before the restart")

    for process in PROCESSES:
        cluster.kill(process)
    restart_begin = time.monotonic()
    for process in reversed(PROCESSES):
        cluster.restart(process)
    cluster.wait_live(3, seconds=600)
    say(f"all live {time.monotonic() - restart_begin:.1f} s after the restart began")
    memory("after the restart")
    retry("after the restart")


main(run)
