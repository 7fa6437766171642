# SPDX-License-Identifier: Apache-2.0
"""Hostile bytes on the control port and on the fabric port: the connection is closed with a logged
reason, the server lives, its memory stays bounded.

BIN
"""
import random
import socket
import struct
import time

from harness import check, main, say


def talk(address, payload, seconds=3.0):
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


def frame(magic=None, kind=1, length=0, good=b""):
    head = bytearray(good[:32] if good else 32)
    if magic is not None:
        head[0:4] = struct.pack("<I", magic)
    head[8:12] = struct.pack("<I", length)
    head[6:8] = struct.pack("<H", kind)
    return bytes(head)


def address_of(text):
    host, port = text.split("://")[-1].rsplit(":", 1)
    return host, int(port)


def run(cluster, _arguments):
    generator = random.Random(3)
    cluster.pawl("put", "/etc/services", "/before")
    control = address_of(cluster.master)
    servers = cluster.json("servers")["servers"]
    rss = {name: cluster.rss_bytes(name) for name in ("master", "cs1", "cs2", "cs3")}
    junk = generator.randbytes(1 << 20)

    check(talk(control, junk), "control port: garbage was not refused")
    check(talk(control, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 4), "control port: HTTP was not refused")
    for _ in range(50):
        check(talk(control, generator.randbytes(200)), "control port: garbage was not refused")
    check("magic" in cluster.log("master"), "the master did not log why it closed")
    for server in servers:
        for payload in (junk, generator.randbytes(64), b"\xff" * 4096, b""):
            talk(address_of(server["address"]), payload, 0.3)
        half_open = socket.create_connection(address_of(server["address"]), timeout=5)
        half_open.close()
    for name, before in rss.items():
        now = cluster.rss_bytes(name)
        say(f"{name}: {before >> 20} MiB before, {now >> 20} MiB after")
        check(now < before + (128 << 20), f"{name} grew from {before} to {now}")
    cluster.pawl("put", "/etc/passwd", "/after")
    result = cluster.pawl("cat", "/after").stdout
    with open("/etc/passwd", "rb") as file:
        check(result == file.read(), "the file differs")
    time.sleep(0)


main(run)
