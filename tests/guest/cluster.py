# SPDX-License-Identifier: Apache-2.0
"""In the guest: a cluster with servers at both ends of the cable. What went over the devices is read from their
counters, so that bytes that took another way fail the test. BIN PROVIDER"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time

BIN, PROVIDER = sys.argv[1:3]
DIR = pathlib.Path("/disk/trial")
BYTES = 16 << 20
REPLICAS = 3
PACKET_BYTES = 4096  # the path MTU


def pawl(*words, **options):
    done = subprocess.run([f"{BIN}/pawl", "--dir", DIR, "--provider", PROVIDER, "--timeout", "120", *words],
                          capture_output=True, check=False, **options)
    if done.returncode:
        sys.exit(f"pawl {words}: exit {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def check(holds, text):
    print("ok" if holds else "FAILED", text, flush=True)
    if not holds:
        for log in sorted(DIR.glob("*/log")):
            print(f"== {log}", log.read_text(errors="replace")[-3000:], sep="\n")
        sys.exit(1)


def packets():
    return sum(int(pathlib.Path(f"/sys/class/infiniband/rxe{end}/ports/1/hw_counters/sent_pkts").read_text())
               for end in (0, 1))


def resources(kind):
    """Of processes, not of the kernel."""
    shown = json.loads(subprocess.run(["rdma", "-j", "resource", "show", kind], capture_output=True, check=True).stdout)
    return [entry for entry in shown if entry.get("pid")]


def configure():
    for name, text in (("master", "listen: 127.0.0.1:7400\n"),
                       *((f"cs{i}", f"master: 127.0.0.1:7400\nname: cs{i}\nsecurity: none\n"
                          f"fabric:\n  provider: {PROVIDER}\n  host: 10.77.0.{1 + i % 2}\n") for i in (1, 2, 3))):
        (DIR / name).mkdir(parents=True)
        (DIR / name / "config.yaml").write_text(f"{text}dir: {DIR / name}/data\n")
    (DIR / "cluster.yaml").write_text(f"master: 127.0.0.1:7400\nprovider: {PROVIDER}\nservers: 3\n")


def put_and_get(source, digest):
    before = packets()
    pawl("put", "--chunk-bytes", "4MiB", source, "/whole")
    sent = packets() - before
    wanted = REPLICAS * BYTES // PACKET_BYTES
    check(sent >= wanted, f"put: {sent} packets left the devices, at least {wanted} for {REPLICAS} replicas")
    check(hashlib.sha256(pawl("cat", "/whole")).digest() == digest, "the same bytes come back")
    owners = {entry["pid"] for entry in resources("qp")}  # threads, in fact
    for process in json.loads(pawl("--json", "local", "status"))["processes"]:
        if process["role"] == "chunkd":
            threads = {int(path.name) for path in pathlib.Path(f"/proc/{process['pid']}/task").iterdir()}
            check(threads & owners, f"{process['id']} has queue pairs")


def put_with_a_kill(source, digest):
    progress = DIR / "progress"
    progress.touch()
    put = subprocess.Popen([f"{BIN}/pawl", "--dir", DIR, "--provider", PROVIDER, "--timeout", "120", "put", "--depth",
                            "2", "--chunk-bytes", "16MiB", "--progress-file", progress, source, "/killed"])
    while put.poll() is None and not any(int(line.split()[0]) >= BYTES // 4
                                         for line in progress.read_text().splitlines() if " " in line):
        time.sleep(0.01)
    tail = json.loads(pawl("--json", "stat", "--quick", "/killed"))["chunks"][-1]
    victim = next(replica["name"] for replica in tail["replicas"] if replica["name"] != tail["primary"])
    check(put.poll() is None, f"the put goes on while {victim} is killed")
    pawl("local", "kill", victim)
    check(put.wait() == 0, "the put ends well")
    check(hashlib.sha256(pawl("cat", "/killed")).digest() == digest, "the same bytes, each record once")
    again = json.loads(pawl("--json", "put", source, "/killed"))
    check(again["records"] == 0, "put again stores nothing")
    pawl("local", "restart", victim)


def main():
    source = DIR / "source"
    configure()
    source.write_bytes(os.urandom(BYTES))
    digest = hashlib.sha256(source.read_bytes()).digest()
    pawl("local", "start")
    put_and_get(source, digest)
    put_with_a_kill(source, digest)
    pawl("local", "stop")
    left = [f"{kind} {entry}" for kind in ("qp", "mr", "cm_id") for entry in resources(kind)]
    check(not left, f"nothing is left in the devices {left}")


main()
