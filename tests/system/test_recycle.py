# SPDX-License-Identifier: Apache-2.0
"""Files of a removed file's chunks are used again: what is read is the new file, also after a restart.

BIN
"""
import os
import time

from harness import check, main, make_file, say, sha256

SIZE, CHUNK_BYTES, RECORD_BYTES = 8_000_000, 1 << 20, 100_000


def wait(what, done):
    until = time.monotonic() + 60
    while not done():
        check(time.monotonic() < until, what)
        time.sleep(0.1)


def run(cluster, _arguments):
    sources = [os.path.join(cluster.dir, name) for name in ("first", "second")]
    digests = [make_file(source, SIZE, seed) for seed, source in enumerate(sources)]
    copy = os.path.join(cluster.dir, "copy")

    def servers():
        return cluster.json("servers")["servers"]

    def put(source, path):
        cluster.pawl("put", "--chunk-bytes", str(CHUNK_BYTES), "--record-bytes", str(RECORD_BYTES), source, path)

    put(sources[0], "/first")
    check(not any(server["recycled_files"] for server in servers()), "there was nothing to be used again")
    cluster.pawl("rm", "/first")
    wait("chunks of a removed file stay", lambda: not any(server["chunks"] for server in servers()))
    put(sources[1], "/second")
    wait("no file was used again", lambda: all(server["recycled_files"] for server in servers()))
    say(f"files used again: {[server['recycled_files'] for server in servers()]}")
    for again in (False, True):
        cluster.pawl("get", "/second", copy)
        check(sha256(copy) == digests[1], "SHA-256 differs")
        for name in () if again else ("cs1", "cs2", "cs3"):
            cluster.kill(name)
            cluster.restart(name)
        cluster.wait_live(3)


main(run)
