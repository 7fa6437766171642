# SPDX-License-Identifier: Apache-2.0
"""One rotten byte in one replica: that replica is never returned, another one is, the log names it.

BIN WHERE; WHERE is chunk (a large record, in its chunk file) or journal (a small one). A server reads what is in its
journal from memory, so that rot on the disk is met when it is started again.
"""
import fcntl
import glob
import os
import time

from harness import check, main, say

PATTERN = bytes(range(1, 251))


def find(server_dir, needle):
    """(path, offset) of needle in a server's files."""
    for path in sorted(glob.glob(os.path.join(server_dir, "data", "**"), recursive=True)):
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            data = file.read()
        at = data.find(needle)
        if at >= 0:
            yield path, at


def rot(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))
        file.flush()
        os.fsync(file.fileno())


def wait(condition, what, seconds=120):
    until = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < until, f"not within {seconds} s: {what}")
        time.sleep(0.02)


def is_free(server_dir):
    """No process has its store."""
    fd = os.open(os.path.join(server_dir, "data"), os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(fd)


def stop(cluster, server):
    cluster.kill(server)
    wait(lambda: is_free(os.path.join(cluster.dir, server)), f"{server} ends")


def start(cluster, server):
    line = "registered with the master"
    before = cluster.log(server).count(line)
    cluster.restart(server)
    wait(lambda: cluster.log(server).count(line) > before, f"{server} is back")


def run(cluster, arguments):
    where = arguments[0]
    count = 4000 if where == "chunk" else 20
    data = b"".join(PATTERN + i.to_bytes(4, "little") for i in range(count))
    source = os.path.join(cluster.dir, "source")
    with open(source, "wb") as file:
        file.write(data)
    cluster.pawl("put", source, "/rot")
    tail = cluster.tail("/rot")
    # The primary is asked first by default, so its rot must be met and left.
    victim = tail["primary"]
    say(f"tail on {[r['name'] for r in tail['replicas']]}, rotting {victim}")
    needle = PATTERN + (count // 2).to_bytes(4, "little")
    places = list(find(os.path.join(cluster.dir, victim), needle))
    check(places, "the payload was not found in the server's files")
    kinds = {"chunk" if "chunk" in os.path.relpath(p, cluster.dir) else "journal" for p, _ in places}
    check(where in kinds, f"the payload is not in a {where}: {places}")
    if where == "journal":
        stop(cluster, victim)
    for path, at in places:
        say(f"rot in {os.path.relpath(path, cluster.dir)} at {at}")
        rot(path, at + 100)
    if where == "journal":
        start(cluster, victim)
    direct = cluster.pawl("cat", "--server", victim, "/rot", code=None)
    check(direct.returncode == 5, f"directed read: exit {direct.returncode} {direct.stderr}")
    check(data.startswith(direct.stdout), "rotten bytes were returned")
    mismatches = [line for line in cluster.log(victim).splitlines()
                  if "does not match its checksum" in line]
    check(mismatches, "no mismatch was logged")
    check(any(f"replica on {victim}" in line for line in mismatches), "the log does not name it")
    whole = cluster.pawl("cat", "/rot").stdout
    check(whole == data, "the bytes from another replica differ")
    servers = {s["name"]: s for s in cluster.json("servers")["servers"]}
    say(f"mismatches counted: {servers[victim]['mismatches']}")


main(run)
