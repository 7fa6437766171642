# SPDX-License-Identifier: Apache-2.0
"""Servers that offer two fabrics: clients of each see the same bytes, servers go by their own order, and who
finds no fabric in common says so and harms nobody. The second fabric is another provider of libfabric that
works over sockets, so that no device is needed.

BIN
"""
import os
import subprocess
import sys
import time

from harness import check, main, make_file, say

BYTES = 5 << 20


def other_provider():
    """`net` is a part of `tcp` from libfabric 1.18 on, and there is no other one that needs no device."""
    # In a process of its own: loading libfabric takes over signals.
    version = int(subprocess.run([sys.executable, "-c", "import ctypes; print(ctypes.CDLL('libfabric.so.1').fi_version())"],
                                 capture_output=True, check=True).stdout)
    return "net" if version < (1 << 16 | 18) else None


def configure(cluster, server, fabrics):
    """Rewrites the configuration that `local start` made: what it finds it keeps."""
    path = os.path.join(cluster.dir, server, "config.yaml")
    with open(path, encoding="ascii") as file:
        text = file.read().split("fabric:")[0].split("fabrics:")[0]
    with open(path, "w", encoding="ascii") as file:
        file.write(text + "fabrics:\n" + "".join(f"- {{provider: {provider}, host: {host}}}\n"
                                                 for provider, host in fabrics))


def recoveries(cluster):
    return cluster.json("servers")["recoveries"]


def addresses(cluster):
    return {server["name"]: [address.split("://")[0] for address in server["addresses"]]
            for server in cluster.json("servers")["servers"]}


def by(cluster, provider, *arguments, **options):
    return cluster.pawl("--provider", provider, "--timeout", "60", *arguments, **options)


def both_clients(cluster, other):
    """All servers offer both."""
    check(addresses(cluster) == {f"cs{i}": [other, "tcp"] for i in (1, 2, 3)}, f"addresses: {addresses(cluster)}")
    source = os.path.join(cluster.dir, "source")
    make_file(source, BYTES)
    with open(source, "rb") as file:
        data = file.read()
    by(cluster, "tcp", "put", "--chunk-bytes", "2MiB", source, "/mixed")
    check(by(cluster, other, "cat", "/mixed").stdout == data, f"{other} reads other bytes than tcp wrote")
    by(cluster, other, "append", "/mixed", "-", stdin=b"by the other")
    check(by(cluster, "tcp", "cat", "/mixed").stdout == data + b"by the other", "tcp reads other bytes")
    for server in ("cs1", "cs2", "cs3"):
        lines = [line for line in cluster.log(server).splitlines() if "connected to server" in line]
        check(all(f" over {other}," in line for line in lines), f"{server} does not go by its own order: {lines}")
    shown = cluster.stat("/mixed")["chunks"][0]["replicas"][0]["addresses"]
    check([address.split("://")[0] for address in shown] == [other, "tcp"], f"stat shows {shown}")
    check(recoveries(cluster) == 0, "a recovery in an undisturbed run")
    findings = [entry for entry in cluster.json("doctor") if entry["check"] == "cluster fabric"]
    check(len(findings) == 1 and findings[0]["ok"], f"doctor: {findings}")
    say(f"both clients see the same bytes; servers replicate over {other}")


def file_on(cluster, other, server):
    """A file whose only replica is on that server."""
    for number in range(64):
        path = f"/one{number}"
        by(cluster, other, "put", "--replicas", "1", "-", path, stdin=b"first")
        if cluster.tail(path)["primary"] == server:
            return path
    raise AssertionError(f"no chunk was placed on {server}")


def wrong_client(cluster, other):
    """cs3 offers only the other one, and a client of tcp has to append there."""
    configure(cluster, "cs3", [(other, "127.0.0.2")])
    cluster.kill("cs3", "TERM")
    cluster.restart("cs3")
    cluster.wait_live(3)
    path = file_on(cluster, other, "cs3")
    before, tail = recoveries(cluster), cluster.tail(path)
    begin = time.monotonic()
    failed = by(cluster, "tcp", "append", path, "-", stdin=b"never sent", code=1)
    said = failed.stderr.decode()
    check(f"server cs3 offers {other} only; this client speaks tcp" in said, f"it says: {said}")
    check("--provider" in said and "unknown" not in said, f"it says: {said}")
    failed = by(cluster, "tcp", "append", "--record-bytes", "1000", path, "-", stdin=bytes(64000), code=1)
    check("unknown" not in failed.stderr.decode(), f"with many in flight: {failed.stderr.decode()}")
    failed = by(cluster, "tcp", "cat", path, code=1)
    check(f"server cs3 offers {other} only" in failed.stderr.decode(), f"a reader says: {failed.stderr.decode()}")
    say(f"refused after {time.monotonic() - begin:.1f} s")
    after = cluster.tail(path)
    check((after["handle"], after["version"]) == (tail["handle"], tail["version"]), f"{tail} became {after}")
    check(recoveries(cluster) == before, "a client of the wrong provider caused a recovery")
    by(cluster, other, "append", path, "-", stdin=b" second")
    check(by(cluster, other, "cat", path).stdout == b"first second", "what was never sent is in the file")
    findings = [entry for entry in cluster.json("--provider", "tcp", "doctor") if entry["check"] == "cluster fabric"]
    check(any(f"cs3 offers {other} only" in entry["found"] for entry in findings), f"doctor: {findings}")
    # Where a replica can be reached, it is read: the set holds cs1 and cs2 too.
    by(cluster, "tcp", "cat", "/mixed")


def wrong_server(cluster, other):
    """cs3 has nothing in common with the others: nothing is placed on it, and nobody reports it."""
    for server in ("cs1", "cs2"):
        configure(cluster, server, [(other, "127.0.0.1")])
    configure(cluster, "cs3", [("tcp", "127.0.0.1")])
    cluster.pawl("local", "stop")
    cluster.pawl("local", "start")
    cluster.wait_live(3)
    check("server cs3 offers tcp only" in cluster.log("master"), "the master does not warn")
    # A set from before goes on without cs3.
    by(cluster, other, "append", "/mixed", "-", stdin=b" and on")
    check(by(cluster, other, "cat", "/mixed").stdout.endswith(b"by the other and on"), "the record is not there")
    before = recoveries(cluster)
    source = os.path.join(cluster.dir, "source")
    by(cluster, other, "put", "--chunk-bytes", "2MiB", source, "/apart")
    for chunk in cluster.stat("/apart")["chunks"]:
        names = sorted(replica["name"] for replica in chunk["replicas"])
        check(names == ["cs1", "cs2"], f"chunk {chunk['index']} is on {names}")
    check(recoveries(cluster) == before, "a recovery in an undisturbed run")
    findings = [entry for entry in cluster.json("--provider", other, "doctor") if entry["check"] == "cluster fabric"]
    check(any("no provider in common" in entry["found"] for entry in findings), f"doctor: {findings}")
    say("a server that is alone with its provider is left out")


def run(cluster, _arguments):
    other = other_provider()
    if other is None:
        say("SKIPPED: this libfabric has no second provider of connected endpoints without a device")
        return
    cluster.pawl("local", "stop")
    for server, host in (("cs1", "127.0.0.1"), ("cs2", "127.0.0.2"), ("cs3", "127.0.0.2")):
        configure(cluster, server, [(other, host), ("tcp", "127.0.0.1")])
    cluster.pawl("local", "start")
    cluster.wait_live(3)
    both_clients(cluster, other)
    wrong_client(cluster, other)
    wrong_server(cluster, other)


main(run)
