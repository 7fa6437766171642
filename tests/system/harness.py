# SPDX-License-Identifier: Apache-2.0
"""What system tests share: a local cluster of real processes in a folder of its own, and helpers.

A test is a program: `python3 test_x.py BIN [arguments]`, BIN being the folder of pawl, its daemons and
pawl-trial. It ends with 0 when all holds, and leaves the cluster's folder behind when something fails.
"""
import atexit
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


class Failed(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failed(text)


def say(text):
    print(f"[{time.monotonic() - BEGIN:7.2f}] {text}", flush=True)


BEGIN = time.monotonic()


class Cluster:
    def __init__(self, bin_dir, servers=3):
        self.bin = os.path.abspath(bin_dir)
        self.dir = tempfile.mkdtemp(prefix="pawl-trial-", dir=os.environ.get("PAWL_TEST_DIR", "."))
        self.dir = os.path.abspath(self.dir)
        self.keep = True
        atexit.register(self.end)
        self.pawl("local", "start", "--servers", str(servers))

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
        return self.run("pawl", "--dir", self.dir, *arguments, **options)

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
        return subprocess.Popen(
            [os.path.join(self.bin, "pawl"), "--dir", self.dir, "--json", "--timeout", "120", "put",
             *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @property
    def master(self):
        return self.json("local", "status")["master"]

    def pids(self):
        return {process["id"]: process["pid"]
                for process in self.json("local", "status")["processes"]}

    def kill(self, server, name="KILL"):
        say(f"SIG{name} to {server}")
        self.pawl("local", "kill", server, "--signal", name)

    def restart(self, server):
        say(f"restart of {server}")
        self.pawl("local", "restart", server)

    def stat(self, path):
        return self.json("stat", path)

    def tail(self, path):
        return self.stat(path)["chunks"][-1]

    def log(self, server):
        with open(os.path.join(self.dir, server, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def rss_bytes(self, server):
        with open(f"/proc/{self.pids()[server]}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def wait_live(self, count, seconds=30):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            servers = self.json("servers")["servers"]
            if sum(server["state"] == "live" for server in servers) >= count:
                return
            time.sleep(0.05)
        raise Failed(f"not {count} live servers after {seconds} s")

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


def main(run, servers=3):
    """Runs run(cluster, arguments) on a new cluster."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cluster = Cluster(sys.argv[1], servers)
    try:
        run(cluster, sys.argv[2:])
        cluster.check_logs()
    except Failed as failed:
        print(f"FAILED: {failed}", flush=True)
        for server in ["master"] + [f"cs{i + 1}" for i in range(servers)]:
            print(f"--- log of {server}", flush=True)
            print("\n".join(cluster.log(server).splitlines()[-25:]), flush=True)
        sys.exit(1)
    cluster.keep = False
    say("passed")
