# SPDX-License-Identifier: Apache-2.0
"""The long form: rounds of faults drawn from a seed, one or two at a time, over all kinds.

The draw needs nothing but the seed: what a round will do is said before it begins. Whom a role means
(primary, secondary) is known only when its turn comes.
"""
import os
import random
import shutil
import time

from world import World, check, copy_tree, make_file, say, sha256

SMALL_JOURNAL = {"journal": {"segment": "512KiB", "segments": 2}}


def draw_step(draw, servers):
    """(kind, arguments, seconds) of one fault."""
    role = draw.choice(["primary", "secondary", "master", *servers])
    server = draw.choice(["primary", "secondary", *servers])
    other = draw.choice(["primary", "secondary", "master", "client"])
    kind, arguments = draw.choice([
        ("kill", (role,)), ("kill", (server,)), ("kill_all", ()), ("freeze", (role,)),
        ("freeze", (server,)), ("cut", (server, other, "drop", True)),
        ("cut", (server, other, "reset", True)), ("cut", (server, other, "drop", False)),
        ("cut", (other, server, "drop", False)), ("cut_off", (role,)), ("slow", (server,)),
        ("fill", (server,)), ("fill", ("master",))])
    return kind, arguments, round(draw.choice([0.05, 0.3, 1, 2.5, 4.5]) * draw.uniform(0.7, 1.3), 2)


def draw_round(seed):
    draw = random.Random(seed)
    servers = [f"cs{i + 1}" for i in range(draw.choice([3, 3, 4, 5]))]
    disks = {name: (draw.choice(["dir", "ext4", "tmpfs"]), 192) for name in [*servers, "master"]}
    # A disk that loses what it held comes first: later, a chunk may have but one good replica.
    first = draw.choice([None, None, "break_off", "forget"])
    if first == "break_off":
        disks["cs1"] = ("ext4", 192)
    steps = []
    for _ in range(draw.randrange(5, 10)):
        steps.append([draw_step(draw, servers) for _ in range(draw.choice([1, 1, 2]))])
    return {"servers": servers, "disks": disks, "first": first, "steps": steps,
            "clients": draw.choice([1, 2, 4]), "chunk": draw.choice(["64KiB", "1MiB", "8MiB"])}


class Storm:
    def __init__(self, world, plan):
        self.world, self.plan = world, plan
        self.trial = world.start_appenders("/storm", plan["clients"], plan["chunk"])

    def name_of(self, role):
        if role in ("primary", "secondary"):
            primary, secondary = self.world.primary(self.trial.path)
            return primary if role == "primary" else secondary or primary
        return role

    # ---- faults: each begins, and returns what ends it --------------------------------------------

    def kill(self, role):
        name = self.name_of(role)
        self.world.kill(name)
        return lambda: None  # settle() starts what is down

    def kill_all(self):
        for name in self.world.names:
            self.world.kill(name)
        return lambda: None

    def freeze(self, role):
        node = self.world.nodes[self.name_of(role)]
        if node.alive:
            node.freeze()
        return node.thaw

    def cut(self, one, two, how, both):
        source, target = self.name_of(one), self.name_of(two)
        if source == target:
            return lambda: None
        self.world.net.cut(source, target, how, both)
        return lambda: self.world.net.join(source, target)

    def cut_off(self, role):
        name = self.name_of(role)
        others = [other for other in [*self.world.names, "client"] if other != name]
        for other in others:
            self.world.net.cut(name, other)
        return lambda: [self.world.net.join(name, other) for other in others]

    def slow(self, role):
        name = self.name_of(role)
        self.world.net.slow(name, "20mbit")
        return lambda: self.world.net.fast(name)

    def fill(self, role):
        name = self.name_of(role)
        disk = self.world.nodes[name].disk
        if disk is None or disk.is_full:
            return lambda: None
        self.world.killed.add(name)  # it may end, with a clear error
        disk.fill()
        return disk.empty

    # ---- disks that lose what they held -----------------------------------------------------------

    def break_off(self):
        node = self.world.nodes["cs1"]
        node.disk.break_off(2)
        self.trial.progress("with a broken disk", 200)
        self.world.kill("cs1")
        node.disk.mend()
        node.disk.replace()
        self.settle()

    def forget(self):
        node = self.world.nodes["cs1"]
        old = os.path.join(self.world.dir, "old")
        node.freeze()
        copy_tree(node.data, old)
        node.thaw()
        self.trial.progress("after the copy", 200)
        self.world.kill("cs1")
        shutil.rmtree(node.data)
        copy_tree(old, node.data)
        self.settle()

    # ---- a round ----------------------------------------------------------------------------------

    def settle(self):
        """Everything is up again, and appends go on."""
        for name in self.world.names:
            node = self.world.nodes[name]
            # A full disk is an error that a daemon may end with, or stay out of service for.
            if node.alive and name in self.world.killed and "has failed" in node.log:
                self.world.kill(name)
            if not node.alive:
                check(name in self.world.killed, f"{name} has ended by itself")
                self.world.restart(name)
            self.world.killed.discard(name)
        self.world.wait_live(len(self.world.servers))
        say(f"{self.trial.progress('after the faults'):.2f} s to the next appends")

    def step(self, faults):
        ends = []
        for kind, arguments, _ in faults:
            say(f"{kind} {' '.join(str(word) for word in arguments)}")
            if all(node.alive for node in self.world.nodes.values()):  # else a role means nobody
                ends.append(getattr(self, kind)(*arguments))
        time.sleep(max(seconds for _, _, seconds in faults))
        for end in ends:
            end()
        self.settle()

    def run(self, _world):
        source = os.path.join(self.world.dir, "source")
        digest = make_file(source, 16 << 20, self.world.seed)
        put = self.world.start_client("pawl", "--master", self.world.master_address, "--timeout", "300",
                                      "put", "--chunk-bytes", "4MiB", source, "/put")
        if self.plan["first"]:
            say(self.plan["first"])
            getattr(self, self.plan["first"])()
        for faults in self.plan["steps"]:
            self.step(faults)
        _, error = put.communicate(timeout=300)
        check(put.returncode == 0, f"put failed: {error.decode(errors='replace')}")
        copy = os.path.join(self.world.dir, "copy")
        self.world.pawl("get", "/put", copy)
        check(sha256(copy) == digest, "put and get: SHA-256 differs")


def say_plan(seed):
    plan = draw_round(seed)
    print(f"round seed {seed}: servers {len(plan['servers'])} chunk {plan['chunk']} clients "
          f"{plan['clients']} disks {' '.join(kind for kind, _ in plan['disks'].values())} first "
          f"{plan['first']}", flush=True)
    return plan


def world_of(bin_dir, seed, plan):
    return World(bin_dir, seed, len(plan["servers"]), plan["disks"], chunkd=SMALL_JOURNAL)
