# SPDX-License-Identifier: Apache-2.0
"""A written file loses a server for good: its chunks and their write logs come back to their replica
count, every server that holds a chunk has all that was written, and an old write's id is still known.

BIN
"""
import os
import random
import time

from harness import Failed, check, main, say

CHUNK = 256 << 10
REPLICAS = 3
PATH = "/written"
PRODUCER = "77"
PIECE = 48 << 10  # of the writes that cross chunks; records and so writes are at most 64 KiB


def wait_for(what, condition, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            say(what)
            return
        time.sleep(0.1)
    raise Failed(f"not within {seconds} s: {what}")


class Written:
    """The file, and what it is to hold."""

    def __init__(self, cluster):
        self.cluster, self.random, self.bytes = cluster, random.Random(5), bytearray()

    def append(self, size):
        data = self.random.randbytes(size)
        source = os.path.join(self.cluster.dir, "piece")
        with open(source, "wb") as file:
            file.write(data)
        self.cluster.pawl("append", "--record-bytes", str(CHUNK // 8), PATH, source)
        self.bytes += data

    def extend(self, size):
        self.cluster.pawl("extend", PATH, str(size))
        self.bytes += bytes(size - len(self.bytes))

    def write(self, offset, size):
        data = self.random.randbytes(size)
        self.cluster.pawl("write", "--offset", str(offset), PATH, stdin=data)
        self.bytes[offset:offset + size] = data

    def write_by_id(self, offset, size, sequence, fill):
        result = self.cluster.trial("write", self.cluster.master, PATH, str(offset), PRODUCER,
                                    str(sequence), str(size), str(fill))
        self.bytes[offset:offset + size] = bytes([fill]) * size
        return result

    def chunks(self):
        return self.cluster.stat(PATH)["chunks"]

    def bounds(self):
        return [chunk["base_offset"] for chunk in self.chunks()[1:]]

    def check(self, text, *options):
        copy = os.path.join(self.cluster.dir, "copy")
        self.cluster.pawl("get", *options, PATH, copy)
        with open(copy, "rb") as file:
            data = file.read()
        if data != self.bytes:
            check(len(data) == len(self.bytes), f"{text}: {len(data)} bytes, not {len(self.bytes)}")
            first = next(i for i in range(len(data)) if data[i] != self.bytes[i])
            raise Failed(f"{text}: other bytes from {first} on")
        say(f"the bytes are right {text}")

    def check_each(self, servers):
        """The whole file, as each of them has it."""
        for name in servers:
            self.check(f"on {name} alone", "--server", name, "--length", str(len(self.bytes)))


def make(cluster):
    """Appended, extended, appended; written over in all of them, at all of their borders and in the tail."""
    file = Written(cluster)
    cluster.pawl("put", "--chunk-bytes", str(CHUNK), "/dev/null", PATH)
    file.append(2 * CHUNK + CHUNK // 2)
    appended = len(file.bytes)
    file.extend(appended + CHUNK + CHUNK // 2)
    tail = len(file.bytes)
    file.append(CHUNK // 2)
    check(file.chunks()[-1]["state"] != "sealed", "there is no open tail")
    file.write(tail + 1000, 3000)  # seals it
    check(all(chunk["state"] == "sealed" for chunk in file.chunks() if chunk["base_offset"] <= tail),
          "the tail was written to and not sealed")
    for offset, size in ((1000, 5000), (3000, 5000), (appended + 100, 9000), (appended + 50, 77)):
        file.write(offset, size)
    for bound in file.bounds():
        if bound + PIECE // 3 <= len(file.bytes):
            file.write(bound - PIECE // 2, PIECE // 2 + PIECE // 3)
    file.write(0, CHUNK * 2)  # one write to each chunk after the other
    for sequence in (1, 2):
        check(b'"duplicate": false' in file.write_by_id(10000 * sequence, 15000, sequence,
                                                       64 + sequence).stdout, "a new id is old")
    file.write(26000, 500)  # over a part of the second
    return file


def check_id(file):
    """The second write again: answered as then, and nothing is written over what came later."""
    before = bytes(file.bytes)
    result = file.write_by_id(20000, 15000, 2, 66).stdout
    file.bytes[:] = before
    check(b'"status": 0' in result and b'"bytes": 15000' in result and b'"duplicate": true' in result,
          f"an old id: {result.decode()}")
    result = file.write_by_id(20000, 15000, 2, 99).stdout
    file.bytes[:] = before
    check(b'"status": 0' not in result, f"an old id with other bytes: {result.decode()}")


def healed(file, lost):
    """Chunks and logs have all their replicas, on servers other than the lost one."""
    for chunk in file.chunks():
        live = {replica["name"] for replica in chunk["replicas"]
                if replica["state"] == "live"} - {lost}
        if chunk["under_replicated"] or chunk["log_under_replicated"] or len(live) < REPLICAS:
            return False
    return True


def run(cluster, _arguments):
    file = make(cluster)
    chunks = file.chunks()
    say(f"{len(chunks)} chunks, {sum(chunk['log_chunks'] for chunk in chunks)} chunks of write logs")
    check(all(chunk["log_chunks"] > 0 for chunk in chunks if chunk["length"] > 0), "a chunk was not written to")
    check(b"written to" in cluster.pawl("stat", PATH).stdout, "stat does not speak of write logs")

    lost = chunks[0]["replicas"][0]["name"]
    cluster.kill(lost)
    file.write(500, 20000)  # while it is missed or not yet
    wait_for(f"all chunks and logs have {REPLICAS} replicas without {lost}",
             lambda: healed(file, lost))
    check("copied from server" in cluster.log("master"), "nothing was copied")
    others = sorted({f"cs{i + 1}" for i in range(REPLICAS + 1)} - {lost})
    file.check_each(others)
    check_id(file)
    file.write(400, 300)  # the copies are written to like the others
    file.write(file.bounds()[0] - 1000, 2000)
    file.check_each(others)

    for name in others:  # with each of them away in turn
        cluster.kill(name)
        file.check(f"without {name}")
        cluster.restart(name)
        cluster.wait_live(REPLICAS)
    check_id(file)
    file.check("at the end")


main(run, servers=4)
