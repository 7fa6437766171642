# SPDX-License-Identifier: Apache-2.0
"""Servers of two reactors each: put, overwrite, one server killed for good and healed around, every byte back; restart
of all; a directory is not opened with another number of reactors; a server that begins anew with three of them works
with the others.

BIN BYTES
"""
import os
import re
import shutil
import time

from harness import Failed, check, main, make_file, say, scaled, sha256

CHUNK = 1 << 20
REACTORS = 2


def wait_for(what, condition, seconds=180):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            say(what)
            return
        time.sleep(0.2)
    raise Failed(f"not within {seconds} s: {what}")


def live(cluster):
    return {server["name"] for server in cluster.json("servers")["servers"] if server["state"] == "live"}


def reactor_of(handle, count):
    """proto/reactor.h"""
    mask = (1 << 64) - 1
    mixed = handle ^ handle >> 30
    mixed = mixed * 0xbf58476d1ce4e5b9 & mask
    mixed ^= mixed >> 27
    mixed = mixed * 0x94d049bb133111eb & mask
    mixed ^= mixed >> 31
    return (mixed >> 32) * count >> 32


def stored(cluster, server, count):
    """Handles of the chunk files of each reactor."""
    folders = [os.path.join(cluster.dir, server, "data", f"reactor-{i:02}", "chunks") for i in range(count)]
    return [{int(name.split(".")[0], 16) for name in os.listdir(folder) if not name.startswith("spare-")} for folder in folders]


def check_places(cluster, server, count=REACTORS):
    """Both reactors have chunks, each those of its handles; a chunk of a write log is with the one that is written."""
    handles = {chunk["handle"] for chunk in cluster.stat("/file")["chunks"]}
    places = stored(cluster, server, count)
    for i, here in enumerate(places):
        check(here & handles, f"reactor {i} of {server} stores nothing")
        wrong = [handle for handle in here & handles if reactor_of(handle, count) != i]
        check(not wrong, f"reactor {i} of {server} stores chunks {wrong} of another one")
    say(f"{server}: {[len(here) for here in places]} chunks")


def check_bytes(cluster, digest):
    target = os.path.join(cluster.dir, "back")
    cluster.pawl("get", "/file", target)
    check(sha256(target) == digest, "the bytes that came back differ")
    os.unlink(target)
    say("the bytes are right")


def overwrite(cluster, source, size):
    """A piece in every other chunk: each has a write log, and the log is where the chunk is."""
    piece = os.urandom(3000)
    for offset in range(CHUNK // 2, size - len(piece), 2 * CHUNK):
        cluster.pawl("write", "--offset", str(offset), "/file", stdin=piece)
        with open(source, "r+b") as file:
            file.seek(offset)
            file.write(piece)
    return sha256(source)


def all_healed(cluster, replicas):
    chunks = [chunk for chunk in cluster.stat("/file")["chunks"] if chunk["state"] == "sealed"]
    names = live(cluster)
    return (not any(chunk["under_replicated"] for chunk in chunks)
            and all(sum(replica["name"] in names for replica in chunk["replicas"]) >= replicas for chunk in chunks))


def refused(cluster, server, before, after):
    """The program with another number of reactors says what to do and ends."""
    config = os.path.join(cluster.dir, server, "config.yaml")
    with open(config, encoding="ascii") as file:
        text = file.read()
    other = os.path.join(cluster.dir, "other.yaml")
    with open(other, "w", encoding="ascii") as file:
        file.write(text.replace(before, after).replace("region: 256MiB", "region: 512MiB"))
    result = cluster.run("pawl-chunkd", "--config", other, code=1, timeout=60)
    check(b"say `reactors: 2`" in result.stderr, f"no advice: {result.stderr[-500:]}")
    say(f"{after}: refused")


def begin_anew(cluster, server, before, after):
    """A server with an empty directory and other reactors is a new one; what the old one had is copied."""
    shutil.rmtree(os.path.join(cluster.dir, server, "data"))
    config = os.path.join(cluster.dir, server, "config.yaml")
    with open(config, encoding="ascii") as file:
        text = file.read()
    with open(config, "w", encoding="ascii") as file:
        file.write(text.replace(before, after).replace("region: 256MiB", "region: 384MiB"))
    cluster.restart(server)
    cluster.wait_live(3)


def run(cluster, arguments):
    for server in ("cs1", "cs2", "cs3"):
        check(re.search(r"reactor-01: .*chunks", cluster.log(server)), f"{server} has one reactor only")
    address = cluster.json("servers")["servers"][0]["address"]
    check(re.fullmatch(r"tcp://127\.0\.0\.1:(\d+)-(\d+)", address), f"address {address}")
    source = os.path.join(cluster.dir, "source")
    size = scaled(int(arguments[0]), least=12 << 20)
    make_file(source, size)
    cluster.pawl("put", "--replicas", "2", "--chunk-bytes", str(CHUNK), "--record-bytes", str(CHUNK // 8), source,
                 "/file")
    digest = overwrite(cluster, source, size)
    check_bytes(cluster, digest)
    for server in ("cs1", "cs2", "cs3"):
        check_places(cluster, server)

    cluster.kill("cs2")
    wait_for("cs2 is missed", lambda: "cs2" not in live(cluster))
    check_bytes(cluster, digest)
    wait_for("all sealed chunks have 2 replicas without cs2", lambda: all_healed(cluster, 2))
    check("copied from server" in cluster.log("master"), "nothing was copied")
    for server in ("cs1", "cs3"):
        check_places(cluster, server)
    check_bytes(cluster, digest)

    cluster.pawl("local", "stop")
    refused(cluster, "cs1", "reactors: 2", "reactors: 1")
    refused(cluster, "cs1", "reactors: 2", "reactors: 3")
    cluster.pawl("local", "start")
    cluster.wait_live(3)
    check_bytes(cluster, digest)
    cluster.pawl("append", "/file", stdin=b"one more record")
    check(cluster.pawl("cat", "/file").stdout[-15:] == b"one more record", "the last record is another one")
    for server in ("cs1", "cs2", "cs3"):
        check_places(cluster, server)

    with open(source, "ab") as file:
        file.write(b"one more record")
    digest = sha256(source)
    cluster.kill("cs1")
    wait_for("cs1 is missed", lambda: "cs1" not in live(cluster))
    wait_for("all sealed chunks have 2 replicas without cs1", lambda: all_healed(cluster, 2))
    begin_anew(cluster, "cs1", "reactors: 2", "reactors: 3")
    cluster.kill("cs3")  # what it alone held of two goes from two reactors to three
    wait_for("all sealed chunks have 2 replicas without cs3", lambda: "cs3" not in live(cluster)
             and all_healed(cluster, 2))
    check_places(cluster, "cs1", 3)
    check_bytes(cluster, digest)
    digest = overwrite(cluster, source, size)
    cluster.restart("cs3")
    cluster.wait_live(3)
    cluster.kill("cs2")
    wait_for("cs2 is missed", lambda: "cs2" not in live(cluster))
    check_bytes(cluster, digest)


main(run, reactors=REACTORS)
