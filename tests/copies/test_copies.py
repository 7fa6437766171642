# SPDX-License-Identifier: Apache-2.0
"""How often payload is copied between a client's memory and the disks of its replicas, and back: counted from
outside (copies.c), held against the limits, and against what the counters say. A planted copy is found.

BIN LIBPAWL-COPIES.SO PAWL-CHUNKD-PLANTED
"""
import atexit
import collections
import os
import shutil
import struct
import sys
import tempfile
import time

from harness import Cluster, Failed, check, say

ROW = struct.Struct("48s2Q")
# What moves bytes for the provider. Everybody else is nobody.
PROVIDER = ("libfabric.so", "libc.so", "libibverbs.so", "librdmacm.so", "libmlx5", "librxe")
MIB = 1 << 20
COUNTERS = ("stored_bytes", "copied_bytes", "written_back_bytes", "read_bytes", "read_copied_bytes")


def is_same(change):
    """Whether a server's counters say what was counted. What is written back goes in pieces of 128 KiB, and the end of a
    record in the next one may be too short to be counted."""
    told = change["copied_bytes"] + change["written_back_bytes"] + change["read_copied_bytes"]
    pieces = change["written_back_bytes"] // (128 << 10)
    return told - 256 * pieces <= change["counted"] <= told


class Trial:
    def __init__(self, bin_dir, library, where):
        self.library = library
        self.where = where
        os.environ["PAWL_COPIES_DIR"] = where
        os.environ["LD_PRELOAD"] = library
        self.cluster = Cluster(bin_dir)
        self.pids = {name: pid for name, pid in self.cluster.pids().items() if name.startswith("cs")}
        check(len(self.pids) == 3, f"not three servers: {self.pids}")

    def counted(self, name):
        """Payload that a process has copied for Pawl. `name`: of its file."""
        with open(os.path.join(self.where, name), "rb") as file:
            rows = list(ROW.iter_unpack(file.read()))
        check(any(payload or other for _, payload, other in rows), f"{name}: nothing was counted at all")
        return sum(payload for owner, payload, _ in rows if not owner.startswith(tuple(p.encode() for p in PROVIDER)))

    def servers(self):
        """What each server has copied, by the library and by its own account."""
        told = {server["name"]: server for server in self.cluster.json("servers")["servers"]}
        return {name: collections.Counter(counted=self.counted(self.file_of(name, pid)),
                                          **{key: told[name][key] for key in COUNTERS})
                for name, pid in self.pids.items()}

    def file_of(self, name, pid):
        names = [file for file in os.listdir(self.where) if file.endswith(f".{pid}")]
        check(len(names) == 1, f"{name}: {names} for process {pid}")
        return names[0]

    def settled(self, before, key, wanted):
        """What has changed, once the servers' reports hold all of it."""
        seen, until = None, 0
        while True:
            now = self.servers()
            if now != seen:  # reports come five times a second; what is written back meanwhile is in the next one
                seen, until = now, time.monotonic() + 10
            changed = {name: collections.Counter({key: now[name][key] - before[name][key] for key in now[name]})
                       for name in now}
            total = sum(change[key] for change in changed.values())
            same = all(map(is_same, changed.values()))
            if (total >= wanted and same) or time.monotonic() > until:
                check(total == wanted, f"{total} bytes {key}, not {wanted}")
                check(same, f"servers say otherwise than what was counted: {changed}")
                return changed
            time.sleep(0.05)

    def client(self, *arguments):
        process = self.cluster.start("pawl-trial-copies", self.cluster.master, *map(str, arguments))
        out, error = process.communicate(timeout=200)
        check(process.returncode == 0, f"{arguments}: {error.decode(errors='replace')}")
        told = dict(zip(("payload", "copied", "retries"), map(int, out.split())))
        counted = self.counted(self.file_of("client", process.pid))
        return told, counted

    def stores(self, what, path_of, memory, size, count, depth=None):
        """Copies of each byte: the client's, and the servers' in the order of their share. What is sent twice may be
        copied twice: then once more, on the file that `path_of` names for the try."""
        for again in range(5):
            told, copies = self.stores_once(what, path_of(again), memory, size, count, depth)
            if told["retries"] == 0:
                break
            say(f"{told['retries']} retries: once more")
        check(told["retries"] == 0, "there are always retries")
        return told["copied"] / (size * count), copies

    def appends(self, path, memory, size, count, depth=8):
        return self.stores("append", lambda again: f"{path}-{again}" if again else path, memory, size, count, depth)

    def writes(self, path, memory, size, count):
        """Over the file's first bytes, and again there."""
        return self.stores("write", lambda _: path, memory, size, count)

    def pushes(self, path, memory, size, count):
        """To the tail's servers, which store nothing of it."""
        before = self.servers()
        told, counted = self.client(path, "push", memory, size, count)
        check(told["payload"] == size * count, f"{told}")
        check(counted == told["copied"], f"the client copied {counted} bytes and says {told['copied']}")
        changed = self.settled(before, "stored_bytes", 0)
        moved = sum(change["counted"] - change["written_back_bytes"] for change in changed.values())
        say(f"{count} x {size} bytes pushed from {memory}: copies of each byte: client {counted / (size * count):.3f}, "
            f"servers {moved / (size * count):.3f}")
        return counted / (size * count), moved

    def stores_once(self, what, path, memory, size, count, depth=None):
        before, recoveries = self.servers(), self.cluster.json("servers")["recoveries"]
        told, counted = self.client(path, what, memory, size, count, *([depth] if depth else []))
        total = size * count
        check(told["payload"] == total, f"{told}")
        # A failure here and no other: only then was a planted copy found for what it is.
        check(counted == told["copied"], f"the client copied {counted} bytes and says {told['copied']}")
        recovered = self.cluster.json("servers")["recoveries"] - recoveries
        if recovered > 0:  # not every replica has all of it
            time.sleep(2)  # until reports of what was stored meanwhile are in: the next try begins with them
            return {**told, "retries": told["retries"] + recovered}, None
        changed = self.settled(before, "stored_bytes", 3 * total)
        copies = sorted(change["copied_bytes"] / total for change in changed.values())
        at_once = f", {depth} at a time" if depth else ""
        say(f"{count} {what}s of {size} bytes from {memory}{at_once}: copies of each byte: client {told['copied'] / total:.3f}, "
            f"replicas {', '.join(f'{copy:.3f}' for copy in copies)}; written back meanwhile: "
            f"{sum(change['written_back_bytes'] for change in changed.values())} bytes")
        return told, copies

    def reads(self, path, memory, size, count):
        before = self.servers()
        told, counted = self.client(path, "read", memory, size, count)
        total = size * count
        check(told["payload"] == total, f"{told}")
        check(counted == told["copied"], f"the client copied {counted} bytes and says {told['copied']}")
        changed = self.settled(before, "read_bytes", total)
        moved = sum(change["read_copied_bytes"] for change in changed.values()) / total
        say(f"{count} x {size} bytes read to {memory}: copies of each byte: client {counted / total:.3f}, servers {moved:.3f}")
        return counted / total, moved

    def relayed(self):
        """Once it is the same in several reports: a slice may be on its way when what it belongs to is stored."""
        seen = None
        while (now := sum(server["relayed"] for server in self.cluster.json("servers")["servers"])) != seen:
            seen = now
            time.sleep(0.5)
        return seen

    def end(self):
        os.environ.pop("LD_PRELOAD")
        self.cluster.check_logs()
        self.cluster.keep = False


def limits(trial):
    """Above the thresholds nobody copies; below them it is bounded."""
    for memory in ("alloc", "register"):
        client, replicas = trial.appends(f"/large-{memory}", memory, MIB, 48)
        check(client == 0 and replicas == [0, 0, 0], f"large records from {memory} were copied")
    check(trial.relayed() > 0, "none of these went by chain")
    # By star, and of a length that no disk takes as it is.
    before = trial.relayed()
    client, replicas = trial.appends("/odd", "alloc", 100001, 200)
    check(client == 0 and replicas == [0, 0, 0], "records of an odd length were copied")
    check(trial.relayed() == before, "these went by chain")
    client, replicas = trial.appends("/heap", "heap", MIB, 16)
    check(client == 1 and replicas == [0, 0, 0], "from other memory the client copies once, and nobody else")
    # Above the threshold of messages (8 KiB), below the journal's (32 KiB).
    client, replicas = trial.appends("/middle", "alloc", 16 << 10, 4000)
    check(client == 0 and replicas == [1, 1, 1], "into the journal, once")
    # Two of them would fit in a run, but what is too large for a message alone is not copied in company either.
    client, replicas = trial.appends("/middle-together", "alloc", 10000, 2000)
    check(client == 0 and replicas == [1, 1, 1], "into the journal, once, and into no message")
    small(trial, "/small")
    runs(trial, "/runs")
    for memory in ("alloc", "register"):
        client, servers = trial.reads("/large-alloc", memory, MIB, 48)
        check(client == 0 and servers == 0, f"large reads to {memory} are copied")
    client, servers = trial.reads("/middle", "alloc", 16 << 10, 4000)
    check(client == 0 and 0 < servers <= 1, "what is in a journal is copied once; what was written back, not at all")
    client, servers = trial.reads("/large-alloc", "heap", MIB, 48)
    check(client == 1 and servers == 0, "into other memory the client copies once, and nobody else")


def limits_of_writes(trial):
    """A write is a record of a log: the same, and no more for being read from there."""
    for memory in ("alloc", "register"):
        client, replicas = trial.writes("/large-alloc", memory, MIB, 24)
        check(client == 0 and replicas == [0, 0, 0], f"large writes from {memory} were copied")
    client, replicas = trial.writes("/heap", "heap", MIB, 8)
    check(client == 1 and replicas == [0, 0, 0], "from other memory the client copies once, and nobody else")
    client, replicas = trial.writes("/middle", "alloc", 16 << 10, 500)
    check(client == 0 and replicas == [1, 1, 1], "into the journal, once")
    client, replicas = trial.writes("/middle", "alloc", 1 << 10, 500)
    check(client == 1 and replicas == [1, 1, 1], "small writes")
    for memory in ("alloc", "register"):
        client, servers = trial.reads("/large-alloc", memory, MIB, 48)  # half of it was written to
        check(client == 0 and servers == 0, f"large reads of written chunks to {memory} are copied")


def limits_of_pushes(trial):
    client, servers = trial.pushes("/large-register", "alloc", MIB, 24)
    check(client == 0 and servers == 0, "pushes from registered memory were copied")
    client, servers = trial.pushes("/large-register", "heap", MIB, 8)
    check(client == 1 and servers == 0, "from other memory the client copies once, and nobody else")


def small(trial, path):
    """Into the message; into each journal; and into no message for the others."""
    client, replicas = trial.appends(path, "alloc", 1 << 10, 2000, depth=1)
    check(client == 1 and replicas == [1, 1, 1], f"small records are copied more than once: {replicas}")


def together(trial, path):
    """Under load, from several clients at once: their runs are long, and of these none is copied for company."""
    clients, count = 4, 10000
    total = clients * count << 10
    before = trial.servers()
    arguments = [str(word) for word in (trial.cluster.master, path, "append", "alloc", 1 << 10, count, 64)]
    processes = [trial.cluster.start("pawl-trial-copies", *arguments) for _ in range(clients)]
    for process in processes:
        out, error = process.communicate(timeout=200)
        check(process.returncode == 0, f"{arguments}: {error.decode(errors='replace')}")
        check(int(out.split()[2]) < count // 10, f"payload, copied, retries: {out.decode()}")
    copies = [change["copied_bytes"] / total for change in trial.settled(before, "stored_bytes", 3 * total).values()]
    say(f"4 x 64 appends of 1 KiB: copies of each byte: {', '.join(f'{copy:.3f}' for copy in copies)}")
    # Short runs among them may be, to both others.
    check(all(1 <= copy < 1.1 for copy in copies), "under load records are copied more than once")


def runs(trial, path):
    """The same of what travels together. When more than two short messages find the primary busy it copies those between
    into the packet for the others: that is seldom the case of so few, but nobody can say when."""
    for again in range(5):
        client, replicas = trial.appends(f"{path}{again}", "alloc", 1 << 10, 4000, depth=8)
        check(client == 1 and replicas[:2] == [1, 1] and replicas[2] <= 3, "runs")
        if replicas[2] == 1:
            return
    raise Failed("runs of small records are copied more than once, again and again")


def planted_in_the_client(trial):
    try:
        trial.appends("/planted", "plant", MIB, 4)
    except Failed as found:
        check("the client copied" in str(found), f"another failure: {found}")
        say(f"found: {found}")
    else:
        raise Failed("a copy in the client was not found")


def planted_in_a_server(trial, size, count):
    try:
        trial.appends(f"/planted-{size}", "alloc", size, count)
    except Failed as found:
        check("servers say otherwise" in str(found), f"another failure: {found}")
        say(f"found: {str(found)[:200]}")
    else:
        raise Failed(f"a copy of {size} bytes in the servers was not found")


def planted_in_messages(trial):
    try:
        small(trial, "/planted-small")
    except Failed as found:
        check("more than once: [1.0, 1.0, 3.0]" in str(found), f"another failure: {found}")
        say(f"found: {found}")
    else:
        raise Failed("copies into the messages for the others were not found")
    try:
        runs(trial, "/planted-runs")
    except Failed as found:
        check("again and again" in str(found), f"another failure: {found}")
        say(f"found: {found}")
    else:
        raise Failed("copies of runs into the messages for the others were not found")


def run(bin_dir, library, planted, where):
    names = [os.path.join(where, name) for name in ("counted", "bin", "counted-planted")]
    for name in names:
        os.mkdir(name)
    trial = Trial(bin_dir, library, names[0])
    try:
        limits(trial)
        limits_of_pushes(trial)
        limits_of_writes(trial)
        together(trial, "/together")
        planted_in_the_client(trial)
    finally:
        trial.end()
    for name in ("pawl", "pawl-master", "pawl-trial-copies"):
        shutil.copy(os.path.join(bin_dir, name), names[1])
    shutil.copy(planted, os.path.join(names[1], "pawl-chunkd"))
    trial = Trial(names[1], library, names[2])
    try:
        planted_in_a_server(trial, MIB, 4)
        planted_in_a_server(trial, 512, 400)  # runs
        planted_in_messages(trial)
    finally:
        trial.end()


if __name__ == "__main__":
    folder = tempfile.mkdtemp(prefix="pawl-copies-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # behind those of the clusters
    try:
        run(*map(os.path.abspath, sys.argv[1:4]), folder)
    except Failed as failed:
        print(f"FAILED: {failed}", flush=True)
        sys.exit(1)
    say("passed")
