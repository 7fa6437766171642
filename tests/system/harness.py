# SPDX-License-Identifier: Apache-2.0
"""What system tests share: a local cluster of real processes in a folder of its own, and helpers.

A test is a program: `python3 test_x.py BIN [arguments]`, BIN being the folder of pawl, its daemons and
pawl-trial. It ends with 0 when all holds, and leaves the cluster's folder behind when something fails.

The environment says where it runs; without it: tcp on loopback, in full size.
  PAWL_TEST_FABRIC    provider and local addresses, "verbs 10.77.0.1 10.77.0.2": the servers take them in turn
  PAWL_TEST_SCALE     what sizes and counts are multiplied by, "0.03125"
  PAWL_TEST_DEVICES   RDMA devices that the bytes must take (devices.py)
  PAWL_TEST_DIR       where the cluster's folder is made
  PAWL_TEST_REACTORS  reactors of each server, for tests that don't say it
"""
import atexit
import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import devices

PROVIDER, *HOSTS = os.environ.get("PAWL_TEST_FABRIC", "").split() or [""]
SCALE = float(os.environ.get("PAWL_TEST_SCALE", "1"))
if PROVIDER:
    os.environ["PAWL_TEST_PROVIDER"] = PROVIDER  # for the trial programs
if SCALE < 1:
    os.environ["PAWL_TEST_PAUSE_US"] = "20000"  # pace.h
CALL = ["--provider", PROVIDER, "--timeout", "120"] if PROVIDER else []


def scaled(count, least=1):
    return max(least, int(count * SCALE))


class Failed(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failed(text)


def say(text):
    print(f"[{time.monotonic() - BEGIN:7.2f}] {text}", flush=True)


BEGIN = time.monotonic()


def undisturbed(cluster, section, tries=5):
    """section(n) for n = 0, until no chunk was recovered in it: a flush of a second makes the master do that."""
    for again in range(tries):
        result, failed, before = None, None, cluster.json("servers")["recoveries"]
        try:
            result = section(again)
        except Failed as error:
            failed = error
        if cluster.json("servers")["recoveries"] == before:
            if failed:
                raise failed
            return result
        say(f"a chunk was recovered meanwhile: {failed or 'once more'}")
    raise Failed("there is always a chunk that is recovered")


class Cluster:
    def __init__(self, bin_dir, servers=3, reactors=None):
        self.bin = os.path.abspath(bin_dir)
        self.dir = tempfile.mkdtemp(prefix="pawl-trial-", dir=os.environ.get("PAWL_TEST_DIR", "."))
        self.dir = os.path.abspath(self.dir)
        self.keep = True
        atexit.register(self.end)
        if PROVIDER:
            self.configure(servers)
        self.packets = devices.packets()
        reactors = reactors or os.environ.get("PAWL_TEST_REACTORS")
        more = ["--reactors", str(reactors)] if reactors else []
        patience = [] if CALL else ["--timeout", "120"]  # each server writes its whole journal first
        self.pawl(*patience, "local", "start", "--servers", str(servers), *more)

    def configure(self, servers):
        """The files that `pawl local start` would write otherwise."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            master = f"127.0.0.1:{free.getsockname()[1]}"
        texts = {"master": f"listen: {master}\n"}
        for i in range(servers):
            texts[f"cs{i + 1}"] = (f"master: {master}\nname: cs{i + 1}\nsecurity: none\nfabric:\n"
                                   f"  provider: {PROVIDER}\n  host: {HOSTS[i % len(HOSTS)]}\n"
                                   f"journal:\n  segment: {scaled(32 << 20, least=4 << 20)}\n")
        for name, text in texts.items():
            os.mkdir(os.path.join(self.dir, name))
            with open(os.path.join(self.dir, name, "config.yaml"), "w", encoding="ascii") as file:
                file.write(f"{text}dir: {self.dir}/{name}/data\n")
        with open(os.path.join(self.dir, "cluster.yaml"), "w", encoding="ascii") as file:
            file.write(f"master: {master}\nprovider: {PROVIDER}\nservers: {servers}\n")

    def run(self, program, *arguments, code=0, timeout=240, stdin=None):
        result = subprocess.run(
            [os.path.join(self.bin, program), *arguments],
            input=stdin, capture_output=True, timeout=timeout, check=False)
        if code is not None and result.returncode != code:
            raise Failed(
                f"{program} {' '.join(arguments)}: exit {result.returncode}, wanted {code}\n"
                f"{result.stdout[-2000:].decode(errors='replace')}\n"
                f"{result.stderr[-4000:].decode(errors='replace')}")
        return result

    def pawl(self, *arguments, **options):
        before = devices.packets()
        watched = devices.WATCHED and "put" in arguments[:2] and options.get("code", 0) == 0
        if watched and arguments[0] != "--json":
            arguments = ("--json", *arguments)
        result = self.run("pawl", "--dir", self.dir, *CALL, *arguments, **options)
        if watched:
            self.check_put(arguments[-1], json.loads(result.stdout), before)
        return result

    def check_put(self, path, result, before):
        """The devices have sent what was stored, to each server that has it now."""
        stored = result["bytes"] - result["resumed_bytes"]
        sent = devices.packets() - before
        copies = self.copies(path) if stored else [0]
        wanted = stored * min(copies) // devices.PACKET_BYTES
        say(f"devices: put {path}: {sent} packets for {stored} bytes on {min(copies)} servers, at least {wanted}")
        check(sent >= wanted, f"put {path}: {sent} packets left the devices, not {wanted}: the bytes took another way")

    def copies(self, path):
        """Live replicas of each chunk."""
        return [sum(replica["state"] == "live" for replica in chunk["replicas"])
                for chunk in self.json("stat", "--quick", path)["chunks"]]

    def json(self, *arguments, **options):
        return json.loads(self.pawl("--json", *arguments, **options).stdout)

    def trial(self, *arguments, **options):
        return self.run("pawl-trial", *arguments, **options)

    def start(self, program, *arguments):
        """A program in the background; returns the process."""
        return subprocess.Popen([os.path.join(self.bin, program), *arguments],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def start_put(self, *arguments):
        """A put in the background; returns the process."""
        before = devices.packets()
        put = subprocess.Popen(
            [os.path.join(self.bin, "pawl"), "--dir", self.dir, *CALL, "--json", "--timeout", "120", "put",
             *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        put.packets_before = before
        return put

    def end_put(self, put, path):
        """Waits for a put of start_put(); returns what it says."""
        out, error = put.communicate(timeout=300)
        check(put.returncode == 0, f"put failed: {error.decode(errors='replace')}")
        result = json.loads(out)
        if devices.WATCHED:
            self.check_put(path, result, put.packets_before)
        return result

    @property
    def master(self):
        return self.json("local", "status")["master"]

    def pids(self):
        return {process["id"]: process["pid"]
                for process in self.json("local", "status")["processes"]}

    def kill(self, server, name="KILL"):
        say(f"SIG{name} to {server}")
        self.pawl("local", "kill", server, "--signal", name)

    def hold(self, server, seconds=120):
        """The lock of a killed process, which the kernel gives back in its own time: before, the next one does not get
        its directory. Returns a descriptor that holds it."""
        until = time.monotonic() + seconds
        path = os.path.join(self.dir, server, "data", "lock" if server == "master" else "")
        lock = os.open(path, os.O_RDONLY)
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                check(time.monotonic() < until, f"{path} is still locked after {seconds} s")
                time.sleep(0.01)

    def wait_unlocked(self, server):
        os.close(self.hold(server))

    def wait_logged(self, server, text, behind=0, seconds=120):
        """Until the log has the text behind so many characters."""
        until = time.monotonic() + seconds
        while text not in self.log(server)[behind:]:
            check(time.monotonic() < until, f"{server} has not logged {text!r} after {seconds} s")
            time.sleep(0.01)

    def restart(self, server):
        say(f"restart of {server}")
        self.pawl("local", "restart", server)

    def stat(self, path):
        return self.json("stat", path)

    def tail(self, path):
        return self.stat(path)["chunks"][-1]

    def wait_primary(self, path, process, seconds=120):
        """The primary of the tail that `process` appends to. A chunk exists before its lease is granted, and a file
        before its first chunk."""
        until = time.monotonic() + seconds
        while True:
            stat = self.pawl("--json", "stat", "--quick", path, code=None)
            chunks = json.loads(stat.stdout)["chunks"] if stat.returncode == 0 else []
            if chunks and chunks[-1]["primary"]:
                return chunks[-1]["primary"]
            check(process.poll() is None, f"{process.args[:2]} has given up")
            check(time.monotonic() < until, f"{path} has no primary after {seconds} s {stat.stderr}")
            time.sleep(0.05)

    def log(self, server):
        with open(os.path.join(self.dir, server, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def rss_bytes(self, server):
        with open(f"/proc/{self.pids()[server]}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def wait_live(self, count, seconds=120):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            servers = self.json("servers")["servers"]
            if sum(server["state"] == "live" for server in servers) >= count:
                return
            time.sleep(0.05)
        raise Failed(f"not {count} live servers after {seconds} s")

    def wait_for_growth(self, path, size, process, seconds=120):
        """Waits until a file that `process` writes is longer than that; returns its size."""
        until = time.monotonic() + seconds
        while not os.path.exists(path) or os.path.getsize(path) <= size:
            check(process.poll() is None, f"{process.args[:2]} has given up")
            check(time.monotonic() < until, f"{path} has not grown within {seconds} s")
            time.sleep(0.01)
        return os.path.getsize(path)

    def check_devices(self):
        """All that is stored now has left the devices, to each server that has it."""
        if not devices.WATCHED:
            return
        sent = devices.packets() - self.packets
        wanted = 0
        for entry in self.json("ls", "/"):
            if entry["type"] == "file":
                path = "/" + entry["name"]
                lengths = [chunk["length"] for chunk in self.json("stat", "--quick", path)["chunks"]]
                wanted += sum(map(int.__mul__, lengths, self.copies(path))) // devices.PACKET_BYTES
        say(f"devices: the test: {sent} packets, at least {max(wanted, 1)}")
        check(sent >= max(wanted, 1), f"{sent} packets left the devices, not {wanted}: the bytes took another way")

    def check_logs(self):
        """Stops all; what sanitizers or assertions of the daemons said fails the test."""
        self.pawl("local", "stop")
        for name in sorted(os.listdir(self.dir)):
            path = os.path.join(self.dir, name, "log")
            if not os.path.isfile(path):
                continue
            for mark in ("Sanitizer", "runtime error:", "assertion failed"):
                check(mark not in self.log(name), f"the log of {name} speaks of '{mark}'")

    def end(self):
        subprocess.run([os.path.join(self.bin, "pawl"), "--dir", self.dir, "local", "stop"],
                       capture_output=True, timeout=60, check=False)
        if self.keep:
            say(f"kept for a look: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


def make_file(path, size, seed=1):
    """Bytes that don't repeat, made fast: random blocks, each with its number in front."""
    generator = random.Random(seed)
    block = generator.randbytes(1 << 20)
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        done = 0
        while done < size:
            piece = done.to_bytes(8, "little") + block[8:]
            turn = generator.randrange(1, 1 << 20)
            piece = (piece[:8] + block[turn:] + block[:turn])[: min(1 << 20, size - done)]
            file.write(piece)
            digest.update(piece)
            done += len(piece)
    return digest.hexdigest()


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def wait_for_bytes(progress_path, process, wanted, seconds=120):
    """Waits until a put's progress file says that so many bytes are acknowledged; returns them."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with open(progress_path, "rb") as file:
                file.seek(max(0, os.path.getsize(progress_path) - 200))
                lines = file.read().split(b"\n")
            numbers = lines[-2].split() if len(lines) > 1 else []
            if len(numbers) == 2 and int(numbers[0]) >= wanted:
                return int(numbers[0])
        except FileNotFoundError:
            pass
        if process.poll() is not None:
            raise Failed(f"put ended before {wanted} bytes were acknowledged: "
                         f"{process.stderr.read().decode(errors='replace')}")
        time.sleep(0.002)
    raise Failed(f"{wanted} bytes were not acknowledged within {seconds} s")


def main(run, servers=3, reactors=None):
    """Runs run(cluster, arguments) on a new cluster."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cluster = Cluster(sys.argv[1], servers, reactors)
    try:
        run(cluster, sys.argv[2:])
        cluster.check_devices()
        cluster.check_logs()
    except Failed as failed:
        print(f"FAILED: {failed}", flush=True)
        for server in ["master"] + [f"cs{i + 1}" for i in range(servers)]:
            print(f"--- log of {server}", flush=True)
            print("\n".join(cluster.log(server).splitlines()[-25:]), flush=True)
        sys.exit(1)
    cluster.keep = False
    say("passed")
