# SPDX-License-Identifier: Apache-2.0
"""Hostile bytes on the control port and on the fabric port: the connection is closed with a logged
reason, the server lives, its memory stays bounded.

BIN
"""
import random
import socket
import struct

from harness import check, main, say


def talk(address, payload, seconds=30.0):
    """Sends payload; returns True when the peer closed the connection."""
    with socket.create_connection(address, timeout=5) as peer:
        peer.settimeout(seconds)
        try:
            peer.sendall(payload)
            while peer.recv(65536):
                pass
            return True
        except (ConnectionResetError, BrokenPipeError):
            return True
        except socket.timeout:
            return False


MAGIC, REQUEST = 0x4C435750, 1


def frame(payload, magic=MAGIC, version=1, kind=REQUEST, length=None):
    """A control frame as controlplane/rpc/frame.h describes it."""
    length = len(payload) if length is None else length
    return struct.pack("<IHHIIQQ", magic, version, kind, length, 0, 1, 0) + payload


def address_of(text):
    host, port = text.split("://")[-1].rsplit(":", 1)
    return host, int(port)


def run(cluster, _arguments):
    generator = random.Random(3)
    cluster.pawl("put", __file__, "/before")
    control = address_of(cluster.master)
    servers = cluster.json("servers")["servers"]
    rss = {name: cluster.rss_bytes(name) for name in ("master", "cs1", "cs2", "cs3")}
    junk = generator.randbytes(1 << 20)

    hostile = {
        "random bytes": (junk, "no Pawl frame"),
        "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 4, "no Pawl frame"),
        "a frame of another format": (frame(b"", version=9), "format"),
        "a frame that claims 4 GiB": (frame(b"", length=0xFFFFFFF0), "bytes"),
        "an unknown message": (frame(b"\xfa\x3f\x00"), "unknown"),
        "a message that doesn't unpack": (frame(b"\x0a\xff\xff\xff\xff\x0f"), "no valid message"),
    }
    for what, (payload, reason) in hostile.items():
        seen = cluster.log("master").count(reason)
        check(talk(control, payload), f"control port: {what}: connection stays open")
        check(cluster.log("master").count(reason) > seen, f"control port: {what}: not logged")
        say(f"control port: {what}: closed and logged")
    for _ in range(50):
        check(talk(control, generator.randbytes(200)), "control port: garbage was not refused")
    with socket.create_connection(control, timeout=5) as peer:
        peer.sendall(frame(b"\x52\x00")[:20])  # a truncated frame, and gone
    for server in servers:
        address = address_of(server["address"])
        for payload in (junk, generator.randbytes(64), b"\xff" * 4096):
            check(talk(address, payload), f"fabric port of {server['name']}: connection stays open")
        for payload in (b"", b"\x01"):
            talk(address, payload, 0.3)
        check("libfabric tcp" in cluster.log(server["name"]) or
              "refused" in cluster.log(server["name"]), "fabric port: nothing was logged")
    for name, before in rss.items():
        now = cluster.rss_bytes(name)
        say(f"{name}: {before >> 20} MiB before, {now >> 20} MiB after")
        check(now < before + (128 << 20), f"{name} grew from {before} to {now}")
    cluster.pawl("put", "/etc/passwd", "/after")
    result = cluster.pawl("cat", "/after").stdout
    with open("/etc/passwd", "rb") as file:
        check(result == file.read(), "the file differs")


main(run)
