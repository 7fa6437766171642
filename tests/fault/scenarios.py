# SPDX-License-Identifier: Apache-2.0
"""The short form: one scenario for each kind of fault, each a ctest test `fault_<name>`.

No scenario asserts a time. What has to happen has the patience of world.py to happen in.
"""
import json
import os
import shutil
import time

from world import Failed, World, check, copy_tree, make_file, say, sha256

SCENARIOS = {}


def scenario(**options):
    """Registers a scenario with the world that it wants."""
    def register(function):
        SCENARIOS[function.__name__] = (function, options)
        return function
    return register


def hold(world, low, high):
    """A fault stays for a time drawn from the seed."""
    time.sleep(world.random.uniform(low, high))


def target(world, trial, role):
    if role == "master":
        return "master"
    primary, secondary = world.primary(trial.path)
    return primary if role == "primary" else secondary


# ---- processes ---------------------------------------------------------------------------------

@scenario()
def kill(world):
    """SIGKILL and restart: of the primary, a secondary, the master, of all at once; put and repeated
    ids meanwhile."""
    trial = world.start_appenders()
    source = os.path.join(world.dir, "source")
    digest = make_file(source, 24 << 20, world.seed)
    put = world.start_client("pawl", "--master", world.master_address, "--timeout", "120", "put",
                             "--chunk-bytes", "4MiB", source, "/put")
    first = repeat(world, 1)
    for role in ("primary", "secondary", "master"):
        name = target(world, trial, role)
        world.kill(name)
        if role != "master":
            say(f"without {name}: {trial.progress(f'without {name}'):.2f} s to the next appends")
        hold(world, 0.1, 0.6)
        world.restart(name)
        world.wait_live(3)
        say(f"with {name} again: {trial.progress(f'with {name} again'):.2f} s to the next appends")
    for name in world.names:
        world.kill(name)
    for name in reversed(world.names):
        world.restart(name)
    world.wait_live(3)
    say(f"after all were killed: {trial.progress('after all were killed'):.2f} s to the next appends")
    _, error = put.communicate(timeout=180)
    check(put.returncode == 0, f"put failed: {error.decode(errors='replace')}")
    copy = os.path.join(world.dir, "copy")
    world.pawl("get", "/put", copy)
    check(sha256(copy) == digest, "put and get: SHA-256 differs")
    again = repeat(world, 1)
    check(again["duplicate"] and again["offset"] == first["offset"], f"repeated id: {again}, {first}")


def repeat(world, sequence):
    out = world.trial("repeat", world.master_address, "/ids", "abc", str(sequence), "1000", "65").stdout
    result = json.loads(out)
    check(result["status"] == 0, f"append by its id: {result}")
    return result


@scenario()
def freeze(world):
    """SIGSTOP and SIGCONT: shorter than failure detection, and longer; of the primary, a secondary, the
    master."""
    trial = world.start_appenders()
    for role in ("primary", "secondary", "master"):
        name = target(world, trial, role)
        say(f"SIGSTOP to {name} ({role}), short")
        world.nodes[name].freeze()
        hold(world, 0.1, 0.4)
        world.nodes[name].thaw()
        trial.progress(f"after a short stop of {name}")
        name = target(world, trial, role)
        say(f"SIGSTOP to {name} ({role}), long")
        world.nodes[name].freeze()
        if role != "master":
            say(f"frozen {name}: {trial.progress(f'while {name} is frozen'):.2f} s to the next appends")
        hold(world, 3.2, 4)  # dead to the master; leases have run out when the master is frozen
        world.nodes[name].thaw()
        world.wait_live(3)
        trial.progress(f"after a long stop of {name}")


# ---- networks ----------------------------------------------------------------------------------

def cut_each(world, how, pairs):
    trial = world.start_appenders()
    for one, two, both, goes_on, long in pairs:
        primary, secondary = world.primary(trial.path)
        roles = {"primary": primary, "secondary": secondary, "client": "client", "master": "master"}
        source, sink = roles[one], roles[two]
        say(f"{how}: {source} {'<->' if both else '->'} {sink} ({one}, {two})")
        world.net.cut(source, sink, how, both)
        if goes_on:
            say(f"cut: {trial.progress(f'while {source} and {sink} are cut'):.2f} s to the next appends")
        hold(world, *((3.2, 3.6) if long else (0.3, 1)))
        if goes_on:
            trial.progress(f"{source} and {sink} are still cut")
        world.net.join(source, sink)
        say(f"joined: {trial.progress('after the cut'):.2f} s to the next appends")
        world.wait_live(3)


# (from, to, both ways, appends must go on meanwhile, longer than leases and failure detection)
PAIRS = [("client", "primary", True, True, False), ("primary", "secondary", True, True, False),
         ("primary", "master", True, True, True), ("secondary", "master", True, True, False),
         ("client", "master", True, False, False)]
ONE_WAY = [("primary", "secondary", False, True, False), ("secondary", "primary", False, True, False),
           ("client", "primary", False, True, False), ("primary", "client", False, True, False),
           ("primary", "master", False, True, True), ("master", "primary", False, True, False)]


@scenario()
def cut_silent(world):
    """Pairs that don't hear of each other any more; packets vanish."""
    cut_each(world, "drop", PAIRS)


@scenario()
def cut_reset(world):
    """Pairs whose connections are reset at each packet."""
    cut_each(world, "reset", PAIRS)


@scenario()
def cut_one_way(world):
    """One hears the other, and not the other way round."""
    cut_each(world, "drop", ONE_WAY)


@scenario()
def cut_node(world):
    """A whole node is cut off: the primary, then the master."""
    trial = world.start_appenders()
    for role in ("primary", "master"):
        name = target(world, trial, role)
        others = [other for other in [*world.names, "client"] if other != name]
        say(f"{name} ({role}) is cut off")
        for other in others:
            world.net.cut(name, other)
        if role == "primary":
            say(f"cut off: {trial.progress(f'without {name}'):.2f} s to the next appends")
        hold(world, 3.2, 4)
        for other in others:
            world.net.join(name, other)
        say(f"joined: {trial.progress(f'with {name} again'):.2f} s to the next appends")
        world.wait_live(3)


def counter(world, key, names):
    servers = world.json("servers")["servers"]
    return sum(server[key] for server in servers if server["name"] in names)


@scenario(chunkd={"push": {"route": "chain"}})
def cut_chain(world):
    """The secondaries of a file don't reach each other: what the chain does not bring any more goes by
    star. The primary reaches both all the time."""
    source = os.path.join(world.dir, "source")
    digest = make_file(source, 48 << 20, world.seed)
    progress = os.path.join(world.dir, "progress")
    open(progress, "w", encoding="ascii").close()
    world.net.slow("client", "160mbit")  # so that the put lasts
    put = world.start_client("pawl", "--master", world.master_address, "--timeout", "120", "put",
                             "--progress-file", progress, source, "/chain")
    world.wait("acknowledged bytes", lambda: os.path.getsize(progress) > 0 or put.poll() is not None)
    primary, _ = world.primary("/chain")
    one, two = [name for name in world.servers if name != primary]
    world.wait("a payload by chain", lambda: counter(world, "relayed", [one, two]) > 0)
    check(put.poll() is None, "the put was over before the cut")
    say(f"primary {primary}: {one} <-> {two}")
    world.net.cut(one, two, "reset")
    _, error = put.communicate(timeout=180)
    check(put.returncode == 0, f"put failed: {error.decode(errors='replace')}")
    say(error.decode(errors="replace").strip().splitlines()[-1:] or "put ended")
    world.wait("a payload by star", lambda: counter(world, "relays_failed", [primary]) > 0)
    world.net.join(one, two)
    world.net.fast("client")
    copy = os.path.join(world.dir, "copy")
    world.pawl("get", "/chain", copy)
    check(sha256(copy) == digest, "put and get: SHA-256 differs")
    say(f"relayed {counter(world, 'relayed', world.servers)}, "
        f"by star after all {counter(world, 'relays_failed', world.servers)}, "
        f"recoveries {world.json('servers')['recoveries']}")
    world.start_appenders()


@scenario()
def slow_links(world):
    """A slow link is no dead one: the primary's, then a secondary's, with large records meanwhile."""
    trial = world.start_appenders()
    source = os.path.join(world.dir, "source")
    digest = make_file(source, 6 << 20, world.seed)
    for role in ("primary", "secondary"):
        name = target(world, trial, role)
        say(f"the link of {name} ({role}) is slow")
        world.net.slow(name, "40mbit")
        world.pawl("--timeout", "120", "put", "--chunk-bytes", "4MiB", source, f"/slow-{role}")
        trial.progress("over a slow link")
        world.net.fast(name)
        copy = os.path.join(world.dir, "copy")
        world.pawl("get", f"/slow-{role}", copy)
        check(sha256(copy) == digest, "put and get over a slow link: SHA-256 differs")
        os.unlink(copy)


# ---- disks -------------------------------------------------------------------------------------

SMALL_JOURNAL = {"journal": {"segment": "512KiB", "segments": 2}}  # so that it is soon written back


@scenario(servers=4, disks={"cs1": ("ext4", 256), "cs2": ("tmpfs", 256)}, chunkd=SMALL_JOURNAL)
def full_chunkd(world):
    """The disk of one chunk server is full: the file goes on with the others, and comes back to it. cs1
    has filled its disk itself and sees it coming; on the disk of cs2 somebody else takes the last block."""
    trial = world.start_appenders()
    for name, leave in (("cs1", 3 << 20), ("cs2", 0)):
        node = world.nodes[name]
        say(f"the {node.disk.kind} of {name} fills up")
        node.disk.fill(leave)
        wait_left(world, trial, name)
        trial.progress(f"with a full {name}", 500)
        check(node.alive, f"{name} has ended")
        failed = "has failed" in node.log
        say(f"{name} is full, and {'out of service' if failed else 'in service'}")
        check(not failed or leave == 0, f"{name} did not see that its disk was filling up")
        node.disk.empty()
        if failed:
            world.kill(name)
            world.restart(name)
            world.wait_live(4)
        wait_used(world, trial, name)
    # A server that comes up with a full disk serves what it holds, or says why not.
    world.nodes["cs1"].disk.fill()
    world.kill("cs1")
    world.restart("cs1")
    world.killed.add("cs1")
    trial.progress("with a full cs1 that was restarted")
    world.nodes["cs1"].disk.empty()
    world.kill("cs1")
    world.restart("cs1")
    world.wait_live(4)
    wait_used(world, trial, "cs1")


@scenario(disks={f"cs{i}": ("ext4", 96) for i in (1, 2, 3)}, chunkd=SMALL_JOURNAL)
def full_all(world):
    """All disks are full: appends wait or end with a clear error, reads go on, and when there is room
    again so do the appends, with no restart."""
    trial = world.start_appenders()
    for name in world.servers:
        world.nodes[name].disk.fill(3 << 20)
    say("all disks fill up")
    texts = []

    def refused():
        trial.going()
        result = world.pawl("--timeout", "2", "put", "--chunk-bytes", "1MiB", __file__,
                            f"/more-{len(texts)}", code=None)
        texts.append(result.stderr.decode(errors="replace").strip())
        # One that was under way when the room ended is unknown; the next one is told why.
        return result.returncode != 0 and "space" in texts[-1]
    world.wait("a put is refused for want of space", refused)
    say(f"a put is refused: {texts[-1]}")
    world.pawl("cat", "--length", "1024", trial.path)
    for name in world.servers:
        check(world.nodes[name].alive, f"{name} has ended")
        world.nodes[name].disk.empty()
    say("there is room again")
    trial.progress("with room again", 200)


def tail_members(world, trial):
    return {replica["name"] for replica in world.tail(trial.path)["replicas"]}


def wait_used(world, trial, name):
    """By the tail, or by copies: who is lent so many of those that it is the fullest gets no tail for a while."""
    def copies():
        return world.nodes["master"].log.count(f"to server {name}\n")
    before = copies()
    world.wait(f"{name} gets chunks again",
               lambda: trial.going() or name in tail_members(world, trial) or copies() > before)
    say(f"{name} gets chunks again")


def wait_left(world, trial, name):
    """Until the tail is on others. It moves on with each chunk; three in a row are no chance any more."""
    left = []

    def gone():
        trial.going()
        tail = world.tail(trial.path)
        if name in {replica["name"] for replica in tail["replicas"]}:
            left.clear()
        elif tail["handle"] not in left:
            left.append(tail["handle"])
        return len(left) == 3
    world.wait(f"the tail leaves {name}", gone)


@scenario(servers=3, disks={"master": ("ext4", 16)})
def full_master(world):
    """No room for the master's log: what is acknowledged stays, and it goes on when there is room."""
    trial = world.start_appenders()
    master = world.nodes["master"]
    world.killed.add("master")  # it may end with a clear error
    master.disk.fill()
    say("the master's disk is full")
    names_until_full(world)
    hold(world, 0.2, 1)
    master.disk.empty()
    if not master.alive:
        say(f"the master has ended with {master.process.returncode}")
        check("No space left" in master.log, "the master does not say why it has ended")
        world.restart("master")
    else:
        world.killed.discard("master")
    world.wait_live(3)
    trial.progress("with room for the log again")
    listed = {item["name"] for item in world.json("ls", "/")}
    check(world.made <= listed, f"acknowledged and lost: {sorted(world.made - listed)[:5]}")


def names_until_full(world):
    """Makes names until the log takes no more; those that were acknowledged are remembered."""
    world.made = set()
    for first in range(0, 100000, 16):
        names = [f"name-{number}-" + "x" * 200 for number in range(first, first + 16)]
        result = world.pawl("--timeout", "2", "mkdir", *("/" + name for name in names), code=None)
        errors = result.stderr.decode(errors="replace")
        failed = {name for name in names if name in errors}
        check((result.returncode != 0) == bool(errors), f"exit {result.returncode} with: {errors}")
        if failed or not errors:  # else it was not connected
            world.made.update(set(names) - failed)
        if errors:
            say(f"{len(world.made)} names were made, then: {errors.splitlines()[0][-80:]}")
            return
    raise Failed("the master's disk was never full")


@scenario(servers=4, disks={"cs1": ("ext4", 96)}, chunkd=SMALL_JOURNAL)
def eio(world):
    """A disk breaks off under a chunk server: reads and writes fail, flushes are lost. The server is not
    trusted for what it held there, the others go on; with a new disk it is a new server."""
    trial = world.start_appenders()
    node = world.nodes["cs1"]
    wait_used(world, trial, "cs1")
    say("the disk of cs1 breaks off")
    node.disk.break_off(2)
    trial.progress("with a broken disk", 1200)
    world.wait("cs1 says that its disk has failed",
               lambda: not node.alive or "has failed" in node.log)
    world.wait("the tail has left the broken disk", lambda: "cs1" not in tail_members(world, trial))
    # The device is whole again, with zeros where acknowledged bytes were: the flushes are lost.
    node.disk.mend()
    if node.alive:
        world.kill("cs1")
    trial.progress("without it")
    world.killed.add("cs1")
    node.start()
    world.wait("cs1 is there, or refuses to be",
               lambda: not node.alive or world.server_states().get("cs1") == "live")
    say(f"on the mended disk: {'in service' if node.alive else 'refuses to start'}")
    for line in [line for line in node.log.splitlines() if " error " in line][-3:]:
        say(f"    {line}")
    trial.progress("with what is left of it", 500)
    node.kill()
    node.disk.replace()
    world.restart("cs1")
    world.wait_live(4)
    trial.progress("with a new disk", 1200)


@scenario(servers=4, disks={f"cs{i}": ("ext4", 96) for i in (1, 2, 3, 4)})
def hung_disk(world):
    """A disk that neither answers nor fails: of the primary, then of a secondary."""
    trial = world.start_appenders()
    for role in ("primary", "secondary"):
        name = target(world, trial, role)
        say(f"the disk of {name} ({role}) hangs")
        world.nodes[name].disk.hang()
        say(f"hanging: {trial.progress(f'while the disk of {name} hangs'):.2f} s to the next appends")
        trial.progress(f"while the disk of {name} still hangs", 1200)
        world.nodes[name].disk.go_on()
        trial.progress(f"with the disk of {name} again")
        world.wait_live(4)


@scenario()
def lost_flush(world):
    """A disk has acknowledged flushes and lost what they covered: the server comes back with an old state
    and without knowing. The others do know; what they hold wins."""
    trial = world.start_appenders()
    node = world.nodes["cs1"]
    node.freeze()
    old = node.data + ".old"
    copy_tree(node.data, old)
    node.thaw()
    trial.progress("after the copy", 1200)
    world.kill("cs1")
    shutil.rmtree(node.data)
    os.rename(old, node.data)
    say("cs1 has lost what it wrote since")
    world.restart("cs1")
    world.wait_live(3)
    trial.progress("with an old state of cs1", 200)
    world.kill("cs2")
    trial.progress("with cs1 and cs3 only")
    world.restart("cs2")
    world.wait_live(3)


# ---- the master's disk is lost -------------------------------------------------------------------

@scenario(master={"snapshot_after": "1MiB"})
def master_lost(world):
    """The master comes back with an older copy of its directory, with a log that was cut short, with an
    empty directory: each is refused with a clear message, nothing is deleted, and with the right
    directory everything goes on."""
    trial = world.start_appenders()
    master = world.nodes["master"]
    world.kill("master")
    copy, newest = master.data + ".copy", master.data + ".newest"
    shutil.copytree(master.data, copy)
    world.restart("master")
    world.wait_live(3)
    trial.progress("with the master again", 1200)  # seals and new chunks
    world.stop_trials()
    world.pawl("mkdir", "/since-the-copy")
    world.kill("master")
    os.rename(master.data, newest)
    for what, prepare in (("an older copy", lambda: shutil.copytree(copy, master.data)),
                          ("a log that was cut short", lambda: cut_log(newest, master.data))):
        before = chunk_files(world)
        prepare()
        say(f"the master starts with {what}")
        master.start()
        world.wait("the master says that records are missing",
                   lambda: "records of this log are missing" in master.log)
        for words in (("ls", "/"), ("servers",), ("mkdir", "/new")):
            result = world.pawl("--timeout", "5", *words, code=None)
            text = result.stderr.decode(errors="replace").strip()
            check(result.returncode != 0 and "lacks what its cluster has seen" in text,
                  f"pawl {words[0]}: exit {result.returncode} {text}")
        say(f"    {text.splitlines()[0]}")
        hold(world, 0.5, 1)
        check(before <= chunk_files(world), "chunk files were deleted")
        master.kill()
        shutil.rmtree(master.data)
        with open(os.path.join(master.dir, "log"), "ab") as log:
            log.truncate(0)
    empty_master(world, master, chunk_files(world))
    say("the master has its own directory again")
    shutil.rmtree(master.data)
    os.rename(newest, master.data)
    for name in world.names:
        world.restart(name)
    world.wait_live(3)
    world.start_appenders("/after").progress("with the right directory", 200)
    names = [item["name"] for item in world.json("ls", "/")]
    check("since-the-copy" in names, f"acknowledged and lost: {names}")


def empty_master(world, master, before):
    say("the master starts with an empty directory")
    master.start()
    for name in world.servers:
        world.killed.add(name)
    world.wait("the servers refuse another cluster",
               lambda: all(not world.nodes[name].alive for name in world.servers))
    for name in world.servers:
        node = world.nodes[name]
        check(node.process.returncode == 3, f"{name} ended with {node.process.returncode}")
        check("nothing of them is touched" in node.log, f"{name} does not say what is the matter")
    check(before <= chunk_files(world), "chunk files were deleted")
    master.kill()


def chunk_files(world):
    return {(name, file) for name in world.servers
            for file in os.listdir(os.path.join(world.nodes[name].data, "chunks"))}


def cut_log(source, target):
    """A copy whose log lacks its last records."""
    shutil.copytree(source, target)
    last = max(name for name in os.listdir(target) if name.startswith("log."))
    path = os.path.join(target, last)
    with open(path, "rb") as log:
        used = len(log.read().rstrip(b"\0"))  # without what was written ahead
    os.truncate(path, used - 400)


def world_of(name, bin_dir, seed):
    return World(bin_dir, seed, **SCENARIOS[name][1])
