# SPDX-License-Identifier: Apache-2.0
"""A cluster of real daemons, each in a network namespace of its own, with a workload that remembers
what it was told and a check of the files against that."""
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from disk import Disk
from net import Net

HERE = os.path.dirname(os.path.abspath(__file__))
BEGIN = time.monotonic()
PORT = 7001
MEMORY = "384MiB"  # a window for each peer, appender, writer and command, and for connections that were cut
WRITTEN = "/written"  # what the writers write over
MARKS = ("Sanitizer", "runtime error:", "assertion failed")
SLOW = 5 if os.environ.get("PAWL_SANITIZE") else 1  # sanitizers take their time
# No test asserts a time. This is how long something that has to happen may take before a run is
# given up as hanging.
PATIENCE_S = 200 * (2 if SLOW > 1 else 1)


class Failed(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failed(text)


def say(text):
    print(f"[{time.monotonic() - BEGIN:7.2f}] {text}", flush=True)


class Node:
    """A daemon: its configuration, its process, its log."""

    def __init__(self, world, name, disk_kind="dir", disk_mib=0):
        self.world, self.name = world, name
        self.dir = os.path.join(world.dir, name)
        self.disk = None
        self.process = None
        self.frozen = False
        os.makedirs(self.dir)
        where = os.path.join(self.dir, "disk")
        if disk_kind == "dir":
            os.makedirs(where)
        else:
            self.disk = Disk(where, disk_kind, disk_mib)
        self.data = os.path.join(where, "data")

    @property
    def address(self):
        return self.world.net.address[self.name]

    def configure(self, **keys):
        lines = [f"{key}: {value}" for key, value in keys.items() if not isinstance(value, dict)]
        for key, inner in keys.items():
            if isinstance(inner, dict):
                lines.append(f"{key}:")
                lines += [f"  {name}: {value}" for name, value in inner.items()]
        with open(os.path.join(self.dir, "config.yaml"), "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")

    def start(self):
        program = "pawl-master" if self.name == "master" else "pawl-chunkd"
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen(
                Net.inside(self.name, os.path.join(self.world.bin, program), "--config",
                           os.path.join(self.dir, "config.yaml")),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def send(self, number):
        self.process.send_signal(number)

    def kill(self, number=signal.SIGKILL):
        self.thaw()
        if self.alive:
            self.send(number)
        self.process.wait(timeout=PATIENCE_S)

    def freeze(self):
        self.send(signal.SIGSTOP)
        self.frozen = True

    def thaw(self):
        if self.frozen and self.alive:
            self.send(signal.SIGCONT)
        self.frozen = False

    @property
    def log(self):
        try:
            with open(os.path.join(self.dir, "log"), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""


class World:
    """disks: {node: (kind, MiB)}; kinds are in disk.py."""

    def __init__(self, bin_dir, seed, servers=3, disks=None, master=None, chunkd=None):
        self.bin = os.path.abspath(bin_dir)
        self.seed = seed
        self.random = random.Random(seed)
        self.dir = os.path.abspath(
            tempfile.mkdtemp(prefix="pawl-fault-", dir=os.environ.get("PAWL_TEST_DIR", ".")))
        self.servers = [f"cs{i + 1}" for i in range(servers)]
        self.names = ["master", *self.servers]
        self.trials = []
        self.killed = set()  # processes that the test itself has ended, or that may end
        try:
            self.net = Net([*self.names, "client"])
            disks = disks or {}
            self.nodes = {name: Node(self, name, *disks.get(name, ("dir", 0))) for name in self.names}
        except SystemExit:  # skipped
            shutil.rmtree(self.dir, ignore_errors=True)
            raise
        self.master_address = f"{self.net.address['master']}:{PORT}"
        self.nodes["master"].configure(
            listen=self.master_address, dir=self.nodes["master"].data, security="none", **(master or {}))
        for name in self.servers:
            self.configure_server(name, **(chunkd or {}))
        for name in self.names:
            self.nodes[name].start()
        self.wait_live(servers)

    def configure_server(self, name, **more):
        node = self.nodes[name]
        keys = {"master": self.master_address, "name": name, "dir": node.data, "security": "none",
                "fabric": {"host": node.address},
                "journal": {"segment": "4MiB"},
                "memory": {"region": MEMORY}}
        node.configure(**{**keys, **more})

    # ---- commands ---------------------------------------------------------------------------------

    def run(self, *words, code=0, timeout=PATIENCE_S * 3):
        result = subprocess.run(Net.inside("client", *words), capture_output=True, timeout=timeout,
                                check=False)
        if code is not None and result.returncode != code:
            raise Failed(f"{' '.join(words)}: exit {result.returncode}, wanted {code}\n"
                         f"{result.stdout[-2000:].decode(errors='replace')}\n"
                         f"{result.stderr[-4000:].decode(errors='replace')}")
        return result

    def pawl(self, *words, **options):
        return self.run(os.path.join(self.bin, "pawl"), "--master", self.master_address, *words, **options)

    def json(self, *words, **options):
        return json.loads(self.pawl("--json", *words, **options).stdout)

    def trial(self, *words, **options):
        return self.run(os.path.join(self.bin, "pawl-trial"), *words, **options)

    def start_client(self, program, *words):
        return subprocess.Popen(Net.inside("client", os.path.join(self.bin, program), *words),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    # ---- what the master thinks -------------------------------------------------------------------

    def wait(self, what, condition, seconds=PATIENCE_S):
        until = time.monotonic() + seconds
        while not condition():
            check(time.monotonic() < until, f"{what}: not within {seconds} s")
            time.sleep(0.02)

    def server_states(self):
        result = self.pawl("--json", "--timeout", "2", "servers", code=None)
        if result.returncode != 0:
            return {}
        return {server["name"]: server["state"] for server in json.loads(result.stdout)["servers"]}

    def wait_live(self, count):
        def enough():
            for name in self.names:
                node = self.nodes[name]
                check(node.alive or name in self.killed, f"{name} has ended by itself")
            return sum(state == "live" for state in self.server_states().values()) >= count
        self.wait(f"{count} live servers", enough)

    def tail(self, path):
        return self.json("stat", "--quick", path)["chunks"][-1]

    def primary(self, path):
        """The primary of the file's tail and one of its secondaries."""
        found = {}

        def granted():
            tail = self.tail(path)
            found.update(tail)
            return bool(tail["primary"])
        self.wait("a primary", granted)
        others = sorted(r["name"] for r in found["replicas"] if r["name"] != found["primary"])
        return found["primary"], self.random.choice(others) if others else None

    # ---- faults that several scenarios share ------------------------------------------------------

    def kill(self, name):
        say(f"SIGKILL to {name}")
        self.killed.add(name)
        self.nodes[name].kill()

    def restart(self, name):
        say(f"restart of {name}")
        self.nodes[name].start()
        self.killed.discard(name)

    # ---- workload ---------------------------------------------------------------------------------

    def start_appenders(self, path="/many", clients=4, chunk="1MiB", seconds=3600):
        """Appenders, and beside the first ones writers that write over a file of their own."""
        self.pawl("put", "--chunk-bytes", chunk, "/dev/null", path)
        trial = Appenders(self, path, clients, seconds)
        if not self.trials:
            self.trials.append(Writers(self, WRITTEN, 2, seconds))
        self.trials.append(trial)
        return trial

    def stop_trials(self):
        """Ends the workloads; none of them may have come to a halt."""
        for trial in self.trials:
            if not trial.stopped:
                trial.progress("at the end")
        for trial in self.trials:
            trial.stop()

    def finish(self):
        """Ends the workloads, checks the files, then the daemons and their logs."""
        self.stop_trials()
        for trial in self.trials:
            trial.check()
        for name in self.names:
            check(self.nodes[name].alive or name in self.killed, f"{name} has ended by itself")
        for name in reversed(self.names):
            node = self.nodes[name]
            if node.alive:
                self.killed.add(name)
                node.kill(signal.SIGTERM)
            for mark in MARKS:
                check(mark not in node.log, f"the log of {name} speaks of '{mark}'")

    def clean(self, keep):
        for trial in self.trials:
            trial.process.kill()
        for node in self.nodes.values():
            if node.disk is not None:
                node.disk.go_on()
            if node.alive:
                node.process.kill()
                node.process.wait()
            if node.disk is not None:
                subprocess.run(["umount", "--lazy", node.disk.path], capture_output=True, check=False)
        if keep:
            say(f"kept for a look: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


class Appenders:
    """pawl-trial appenders: 1 KiB records by several clients; what they were told is in a file."""
    PROGRAM, VERB, WHO = "pawl-trial", "appenders", "an appender"

    def __init__(self, world, path, clients, seconds):
        self.world, self.path, self.stopped = world, path, False
        self.seed = str(world.random.randrange(1 << 32))
        self.told = os.path.join(world.dir, "told" + path.replace("/", "-"))
        self.process = world.start_client(self.PROGRAM, self.VERB, world.master_address, path,
                                          self.told, str(clients), str(seconds), self.seed)
        self.progress("the first ones")

    def count(self):
        """Lines so far: acknowledged records or writes, but for those that nobody knows about."""
        try:
            with open(self.told, "rb") as file:
                return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
        except FileNotFoundError:
            return 0

    def going(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.WHO} gave up: " + self.process.stderr.read().decode(errors="replace")[-2000:])

    def progress(self, what, records=20):
        """Waits until so many more records are acknowledged; returns the seconds that it took."""
        begin, first = time.monotonic(), self.count()

        def moved():
            self.going()
            return self.count() >= first + records
        self.world.wait(f"{what}: acknowledged by {self.path}", moved)
        return time.monotonic() - begin

    def stop(self):
        if self.stopped:
            return
        self.going()
        self.stopped = True
        self.process.terminate()
        out, error = self.process.communicate(timeout=PATIENCE_S * 2)
        say(f"{self.path}: {out.decode().strip()} {error.decode(errors='replace')[-500:]}")
        check(self.process.returncode == 0, f"{self.WHO} of {self.path} gave up")

    def ask(self):
        return self.world.trial("check", self.world.master_address, self.path, self.told, self.seed,
                                code=None)

    def check(self):
        result = self.ask()
        say(f"{self.path}: check {result.stdout.decode().strip()}")
        check(result.returncode == 0, result.stderr.decode(errors="replace"))


class Writers(Appenders):
    """pawl-trial-overlap: writers over one file, half of whose unknown writes may still come at any time."""
    PROGRAM, VERB, WHO = "pawl-trial-overlap", "writers", "a writer"

    def ask(self):
        return self.world.run(os.path.join(self.world.bin, self.PROGRAM), "check",
                              self.world.master_address, self.path, self.told, code=None)


def copy_tree(source, target):
    """Chunk files are sparse, and far larger than what they hold."""
    subprocess.run(["cp", "-a", "--sparse=always", source, target], check=True)


def make_file(path, size, seed):
    """Bytes that don't repeat, and their SHA-256."""
    data = random.Random(seed).randbytes(size)
    with open(path, "wb") as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def exit_code(run, world, keep=False):
    """Runs a scenario; 0 or 1, and what there is to look at after a failure."""
    try:
        run(world)
        world.finish()
    except (Failed, subprocess.TimeoutExpired) as failed:
        print(f"FAILED: {failed}", flush=True)
        for name in world.names:
            print(f"--- log of {name}", flush=True)
            print("\n".join(world.nodes[name].log.splitlines()[-40:]), flush=True)
        say(f"kept for a look: {world.dir}")
        return 1
    world.clean(keep)
    return 0


if __name__ == "__main__":
    sys.exit("this is a part of tests/fault/run")
