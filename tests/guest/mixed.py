# SPDX-License-Identifier: Apache-2.0
"""In the guest: servers at both ends of the cable that offer verbs and tcp. A client of each sees the same bytes;
the devices' counters say what went by verbs: what servers pass on always, what a client moves only when it chose so.
BIN"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys

BIN = sys.argv[1]
DIR = pathlib.Path("/disk/mixed")
BYTES = 8 << 20
REPLICAS = 3
PACKET_BYTES = 4096  # the path MTU
PACKETS = BYTES // PACKET_BYTES


def pawl(*words, code=0):
    done = subprocess.run([f"{BIN}/pawl", "--dir", DIR, "--timeout", "120", *words], capture_output=True, check=False)
    if done.returncode != code:
        sys.exit(f"pawl {words}: exit {done.returncode}, wanted {code}\n{done.stderr.decode(errors='replace')}")
    return done.stdout if code == 0 else done.stderr


def check(holds, text):
    print("ok" if holds else "FAILED", text, flush=True)
    if not holds:
        for log in sorted(DIR.glob("*/log")):
            print(f"== {log}", log.read_text(errors="replace")[-3000:], sep="\n")
        sys.exit(1)


def packets():
    return sum(int(pathlib.Path(f"/sys/class/infiniband/rxe{end}/ports/1/hw_counters/sent_pkts").read_text())
               for end in (0, 1))


def counted(*words):
    """The output of a command, and how many packets left the devices meanwhile."""
    before = packets()
    output = pawl(*words)
    return output, packets() - before


def configure(server, fabrics):
    (DIR / server).mkdir(parents=True, exist_ok=True)
    (DIR / server / "config.yaml").write_text(
        f"master: 127.0.0.1:7400\nname: {server}\nsecurity: none\ndir: {DIR / server}/data\nfabrics:\n"
        + "".join(f"- {{provider: {provider}, host: {host}}}\n" for provider, host in fabrics))


def begin():
    (DIR / "master").mkdir(parents=True)
    (DIR / "master" / "config.yaml").write_text(f"listen: 127.0.0.1:7400\ndir: {DIR}/master/data\n")
    for i in (1, 2, 3):
        configure(f"cs{i}", [("verbs", f"10.77.0.{1 + i % 2}"), ("tcp", "127.0.0.1")])
    # No provider: clients speak tcp unless they say otherwise.
    (DIR / "cluster.yaml").write_text("master: 127.0.0.1:7400\nservers: 3\n")
    pawl("local", "start")


def write_and_read(source, data):
    digest = hashlib.sha256(data).digest()
    shown = {server["name"]: [address.split(":")[0] for address in server["addresses"]]
             for server in json.loads(pawl("--json", "servers"))["servers"]}
    check(shown == {f"cs{i}": ["verbs", "tcp"] for i in (1, 2, 3)}, f"servers offer {shown}")
    for writer, copies in (("tcp", REPLICAS - 1), ("verbs", REPLICAS)):
        _, sent = counted("--provider", writer, "put", "--chunk-bytes", "4MiB", source, f"/by-{writer}")
        check(sent >= copies * PACKETS, f"put by {writer}: {sent} packets, at least {copies * PACKETS} for {copies} copies")
    for writer in ("tcp", "verbs"):
        got, sent = counted("--provider", "tcp", "cat", f"/by-{writer}")
        check(hashlib.sha256(got).digest() == digest, f"tcp reads what {writer} wrote")
        check(sent < PACKETS // 10, f"... and {sent} packets leave the devices meanwhile, {PACKETS} would be its bytes")
        got, sent = counted("--provider", "verbs", "cat", f"/by-{writer}")
        check(hashlib.sha256(got).digest() == digest, f"verbs reads what {writer} wrote")
        check(sent >= PACKETS, f"... and {sent} packets leave the devices meanwhile, at least {PACKETS}")
    check(json.loads(pawl("--json", "servers"))["recoveries"] == 0, "no recovery")


def other_order(source, data):
    """tcp first: servers go by it among themselves, and verbs is their second fabric."""
    for i in (1, 2, 3):
        configure(f"cs{i}", [("tcp", "127.0.0.1"), ("verbs", f"10.77.0.{1 + i % 2}")])
    pawl("local", "stop")
    pawl("local", "start")
    _, sent = counted("--provider", "verbs", "put", "--chunk-bytes", "4MiB", source, "/other")
    check(PACKETS <= sent < 2 * PACKETS, f"put by verbs: {sent} packets, for one copy of {PACKETS}")
    got, sent = counted("--provider", "verbs", "cat", "/other")
    check(got == data and sent >= PACKETS, f"verbs reads it back, {sent} packets")
    got, sent = counted("--provider", "tcp", "cat", "/other")
    check(got == data and sent < PACKETS // 10, f"tcp reads it back, {sent} packets")


def verbs_only():
    """Servers that take tcp away again."""
    for i in (1, 2, 3):
        configure(f"cs{i}", [("verbs", f"10.77.0.{1 + i % 2}")])
    pawl("local", "stop")
    pawl("local", "start")
    pawl("--provider", "verbs", "append", "/by-tcp", DIR / "more")
    before = json.loads(pawl("--json", "servers"))["recoveries"]
    said = pawl("append", "/by-tcp", DIR / "more", code=1).decode()
    check("offers verbs only; this client speaks tcp" in said and "unknown" not in said, f"a client of tcp: {said}")
    check(json.loads(pawl("--json", "servers"))["recoveries"] == before, "no recovery for it")
    check(pawl("--provider", "verbs", "cat", "/by-tcp").endswith(b"more") and
          not pawl("--provider", "verbs", "cat", "/by-tcp").endswith(b"moremore"), "its record is not there")


def main():
    source = DIR / "source"
    begin()
    data = os.urandom(BYTES)
    source.write_bytes(data)
    (DIR / "more").write_bytes(b"more")
    write_and_read(source, data)
    other_order(source, data)
    verbs_only()
    pawl("local", "stop")


main()
