# SPDX-License-Identifier: Apache-2.0
"""A large file is read while its servers are killed, stopped and restarted: every byte comes, in order, and is right.

BIN BYTES. `pawl cat` writes to a pipe that this test drains: a full pipe holds it up, so each fault comes in the
middle of the reading, whatever the machine's speed.
"""
import hashlib
import os
import subprocess

from harness import CALL, check, main, make_file, say, scaled, sha256


class Reader:
    def __init__(self, cluster, path):
        self.got = 0
        self.digest = hashlib.sha256()
        self.process = subprocess.Popen(
            [os.path.join(cluster.bin, "pawl"), "--dir", cluster.dir, *CALL, "cat", path],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def drain(self, until):
        """Reads on until so many bytes have come, or the end."""
        while self.got < until:
            data = self.process.stdout.read(min(1 << 20, until - self.got))
            if not data:
                break
            self.got += len(data)
            self.digest.update(data)

    def end(self):
        self.drain(1 << 62)
        error = self.process.stderr.read().decode(errors="replace")
        check(self.process.wait(60) == 0, f"cat failed after {self.got} bytes: {error}")


def run(cluster, arguments):
    # The ring of `cat` and a pipe hold 33 MiB: what is drained is at least so far behind the last fault.
    size = scaled(int(arguments[0]), least=64 << 20)
    source = os.path.join(cluster.dir, "source")
    make_file(source, size)
    cluster.pawl("put", "--chunk-bytes", "8MiB", source, "/large")
    quiet = cluster.json("get", "/large", os.path.join(cluster.dir, "quiet"))
    check(sha256(os.path.join(cluster.dir, "quiet")) == sha256(source), "a quiet read")
    check(quiet["failovers"] == 0, f"a quiet read left {quiet['failovers']} replicas")

    reader = Reader(cluster, "/large")
    reader.drain(1 << 20)
    check(reader.process.poll() is None, "the reading was over before the first fault")
    cluster.kill("cs1")
    reader.drain(size // 3)
    check(reader.process.poll() is None, "the reading was over before the second fault")
    cluster.restart("cs1")
    cluster.wait_live(3)
    cluster.kill("cs2", "STOP")
    reader.end()
    cluster.kill("cs2", "CONT")
    check(reader.got == size, f"{reader.got} of {size} bytes came")
    check(reader.digest.hexdigest() == sha256(source), "the bytes differ")
    say(f"{size} bytes were read while one server was killed and another one stood still")

    # Two at once, and a server that is gone from the beginning.
    cluster.wait_live(3)
    cluster.kill("cs3")
    readers = [Reader(cluster, "/large") for _ in range(2)]
    for step in range(4):
        for one in readers:
            one.drain((step + 1) * size // 5)
    for one in readers:
        one.end()
        check(one.got == size and one.digest.hexdigest() == sha256(source), "a reader got other bytes")
    left = cluster.json("get", "/large", os.path.join(cluster.dir, "left"))
    check(sha256(os.path.join(cluster.dir, "left")) == sha256(source), "a read from two of three")
    say(f"get with one of three servers gone: {left['failovers']} replicas were left for another one")
    cluster.restart("cs3")
    cluster.wait_live(3)


main(run)
