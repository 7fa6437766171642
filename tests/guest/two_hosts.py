# SPDX-License-Identifier: Apache-2.0
"""In the guest of `run --siw`: a cluster on two hosts over soft-iWARP. Master, cs1 and clients are in the network
namespace host0, cs2 and cs3 in host1. siw has no counters and sends by TCP, so the packets of the chunk servers' ports
are counted, and those ports must be the kernel's: bytes of a process of ours fail the test. BIN PROVIDER"""
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

BIN, PROVIDER = sys.argv[1:3]
DIR = pathlib.Path("/disk/trial")
MASTER = "10.78.0.1:7400"
BYTES = 16 << 20
REPLICAS = 3
HOSTS = {"master": 0, "cs1": 0, "cs2": 1, "cs3": 1}
PORTS = {"cs1": 7501, "cs2": 7502, "cs3": 7503}
processes = {}


def on(host, *words, **options):
    return subprocess.run(["ip", "netns", "exec", f"host{host}", *words], capture_output=True, check=True, text=True,
                          **options).stdout


def pawl(*words):
    done = subprocess.run([f"{BIN}/pawl", "--master", MASTER, "--provider", PROVIDER, "--timeout", "120", *words],
                          capture_output=True, check=False)
    if done.returncode:
        check(False, f"pawl {words}: exit {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def check(holds, text):
    print("ok" if holds else "FAILED", text, flush=True)
    if not holds:
        for log in sorted(DIR.glob("*/log")):
            print(f"== {log}", log.read_text(errors="replace")[-3000:], sep="\n")
        sys.exit(1)


def count_packets():
    subprocess.run(["/run/busybox", "modprobe", "nf_tables"], check=True)
    rules = ["add table ip pawl", "add chain ip pawl out { type filter hook output priority 0; }",
             "add rule ip pawl out tcp dport 7501-7503 counter", "add rule ip pawl out tcp sport 7501-7503 counter"]
    for host in (0, 1):
        on(host, "nft", "-f", "-", input="\n".join(rules))


def sent_bytes():
    """To and from the chunk servers, by the cable or inside of a host."""
    return sum(int(count) for host in (0, 1)
               for count in re.findall(r"counter packets \d+ bytes (\d+)", on(host, "nft", "list", "table", "ip", "pawl")))


def resources(kind):
    """Of processes, not of the kernel."""
    shown = json.loads(subprocess.run(["rdma", "-j", "resource", "show", kind], capture_output=True, check=True).stdout)
    return [entry for entry in shown if entry.get("pid")]


def start(name):
    program = "pawl-master" if name == "master" else "pawl-chunkd"
    with (DIR / name / "log").open("ab") as log:
        processes[name] = subprocess.Popen(["ip", "netns", "exec", f"host{HOSTS[name]}", f"{BIN}/{program}", "--config",
                                            DIR / name / "config.yaml"], stdout=log, stderr=log)


def start_all():
    for name, host in HOSTS.items():
        (DIR / name).mkdir(parents=True)
        text = f"listen: {MASTER}\n" if name == "master" else (
            f"master: {MASTER}\nname: {name}\n"
            f"fabric:\n  provider: {PROVIDER}\n  host: 10.78.0.{1 + host}\n  port: {PORTS[name]}\n")
        (DIR / name / "config.yaml").write_text(f"{text}security: none\ndir: {DIR / name}/data\n")
        start(name)
    wait_live(len(PORTS))


def wait_live(count):
    until = time.monotonic() + 120
    while sum(server["state"] == "live" for server in json.loads(pawl("--json", "servers"))["servers"]) < count:
        if time.monotonic() > until:
            check(False, f"{count} servers are there")
        time.sleep(0.2)


def stop_all():
    for name in reversed(HOSTS):
        processes[name].terminate()
        check(processes[name].wait(60) == 0, f"{name} ends well")


def check_ports():
    for name, port in PORTS.items():
        found = on(HOSTS[name], "ss", "-Htlnp", f"sport = :{port}")
        check(f":{port}" in found and "users:" not in found, f"{name}: port {port} is the kernel's, of no process")


def put_and_get(source, digest):
    before = sent_bytes()
    pawl("put", "--chunk-bytes", "4MiB", source, "/whole")
    sent = sent_bytes() - before
    check(sent >= REPLICAS * BYTES, f"put: {sent} bytes left by siw, at least {REPLICAS * BYTES} for {REPLICAS} replicas")
    check(hashlib.sha256(pawl("cat", "/whole")).digest() == digest, "the same bytes come back")
    owners = {entry["pid"] for entry in resources("qp")}  # threads, in fact
    for name in PORTS:
        threads = {int(path.name) for path in pathlib.Path(f"/proc/{processes[name].pid}/task").iterdir()}
        check(threads & owners, f"{name} has queue pairs")


def put_with_a_kill(source, digest):
    progress = DIR / "progress"
    progress.touch()
    put = subprocess.Popen([f"{BIN}/pawl", "--master", MASTER, "--provider", PROVIDER, "--timeout", "120", "put", "--depth",
                            "2", "--chunk-bytes", "16MiB", "--progress-file", progress, source, "/killed"])
    while put.poll() is None and not any(int(line.split()[0]) >= BYTES // 4
                                         for line in progress.read_text().splitlines() if " " in line):
        time.sleep(0.01)
    tail = json.loads(pawl("--json", "stat", "--quick", "/killed"))["chunks"][-1]
    victim = next(replica["name"] for replica in tail["replicas"]
                  if replica["name"] != tail["primary"] and HOSTS[replica["name"]] == 1)
    check(put.poll() is None, f"the put goes on while {victim} is killed")
    processes[victim].send_signal(signal.SIGKILL)
    processes[victim].wait()
    check(put.wait() == 0, "the put ends well")
    check(hashlib.sha256(pawl("cat", "/killed")).digest() == digest, "the same bytes, each record once")
    check(json.loads(pawl("--json", "put", source, "/killed"))["records"] == 0, "put again stores nothing")
    start(victim)
    wait_live(len(PORTS))


def main():
    source = DIR / "source"
    count_packets()
    start_all()
    check_ports()
    source.write_bytes(os.urandom(BYTES))
    digest = hashlib.sha256(source.read_bytes()).digest()
    put_and_get(source, digest)
    put_with_a_kill(source, digest)
    stop_all()
    left = [f"{kind} {entry}" for kind in ("qp", "mr", "cm_id") for entry in resources(kind)]
    check(not left, f"nothing is left in the devices {left}")


main()
