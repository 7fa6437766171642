# SPDX-License-Identifier: Apache-2.0
"""In the guest: runs tests and tells which way their bytes took. LIST RESULTS PROVIDER

LIST is what `ctest --show-only=json-v1` says, RESULTS a folder for the output of each test. A test fails, too, when its
bytes have not left the devices of $SOFTROCE, and when it leaves queue pairs, regions or connection ids behind. With the
provider verbs the tests of the label verbs_refused are run over tcp, too, and pass only when that is found out."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

DEVICES, HOSTS = zip(*(word.split("=") for word in os.environ["SOFTROCE"].split()))
os.environ["PAWL_TEST_DEVICES"] = " ".join(DEVICES)
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
import devices  # noqa: E402

WRONG_WAY = "the bytes took another way"
LEFT_S = 20  # for the kernel to take down what a process had that has ended
STOP_S = 60
DISK = pathlib.Path("/disk")


def properties(entry):
    return {each["name"]: each["value"] for each in entry["properties"]}


class Test:
    """One of LIST; `refused`: it must fail, for its bytes take another way."""

    def __init__(self, entry, provider, refused=False):
        self.command, self.provider, self.refused = [sys.executable, *entry["command"][1:]], provider, refused
        self.name = entry["name"] + (f"_{provider}_is_found_out" if refused else "")
        values = properties(entry)
        self.limit = 2 * values["TIMEOUT"]  # emulation is slow
        self.environment = dict(word.split("=", 1) for word in values.get("ENVIRONMENT", []))
        self.environment["PAWL_TEST_FABRIC"] = " ".join([provider, *HOSTS])

    def execute(self, log):
        """The exit status; None when time was up."""
        with log.open("wb") as file:
            process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                       env={**os.environ, **self.environment}, cwd=DISK, start_new_session=True)
            try:
                return process.wait(self.limit)
            except subprocess.TimeoutExpired:
                process.terminate()  # it stops its cluster
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                pass
            for pid in session_and_daemons(process.pid, pathlib.Path(self.command[2])):
                os.kill(pid, signal.SIGKILL)
            process.wait()
            return None

    def faults(self, status, output, sent):
        """Why it has failed: nothing, when it has not."""
        if self.refused:
            return [] if status == 1 and WRONG_WAY in output else [f"was not refused: exit status {status}"]
        found = [] if status == 0 else [f"no end after {self.limit} s" if status is None else f"exit status {status}"]
        if "devices: the test: " not in output and status == 0:
            found.append("has not looked at the devices")
        if sent == 0:
            found.append("nothing left the devices")
        return found + [f"left behind: {entry}" for entry in left_behind()]


def session_and_daemons(session, programs):
    for place in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            program = pathlib.Path(os.readlink(place / "exe"))
            if program.parent == programs or os.getsid(int(place.name)) == session:
                yield int(place.name)
        except OSError:
            pass  # it has ended, or is the kernel's


def left_behind():
    until = time.monotonic() + LEFT_S
    while True:
        left = [f"{kind} {entry}" for kind in ("qp", "mr", "cm_id") for entry in devices.resources(kind)]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.2)


def counters():
    return {"cable": devices.cable_packets(), **{device: devices.counter(device, "sent_pkts") for device in DEVICES}}


def path_text(before, provider):
    """What the devices have sent since, and by which way."""
    now = counters()
    sent = {device: now[device] - before[device] for device in DEVICES}
    total = sum(sent.values())
    text = ", ".join(f"{device} {count:,}" for device, count in sent.items())
    cable = min(now["cable"] - before["cable"], total)
    return total, f"{provider}: packets of {text}" + (
        f"; {100 * cable // total} % by the cable, the others inside a device" if total else "; none went over a device")


def run(test, number, count, width, results):
    print(f"      Start {number:2}: {test.name}", flush=True)
    log = results / f"{test.name}.log"
    before, begin = counters(), time.monotonic()
    status = test.execute(log)
    seconds = time.monotonic() - begin
    output = log.read_text(errors="replace")
    sent, path = path_text(before, test.provider)
    faults = test.faults(status, output, sent)
    print(f"{number:2}/{count} Test #{number:2}: {test.name + ' ':.<{width}}  "
          f"{'***Failed' if faults else '   Passed'} {seconds:7.2f} sec\n         {path}", flush=True)
    for line in re.findall(r"devices: put .*|failover: .*", output):
        print(f"         {line.removeprefix('devices: ')}", flush=True)
    if faults:
        print("".join(f"         FAILED: {fault}\n" for fault in faults), output[-12000:], sep="", flush=True)
    return not faults


def main():
    entries = json.loads(pathlib.Path(sys.argv[1]).read_text())["tests"]
    results, provider = pathlib.Path(sys.argv[2]), sys.argv[3]
    tests = [Test(entry, provider) for entry in entries]
    if provider == "verbs":
        tests += [Test(entry, "tcp", refused=True) for entry in entries if "verbs_refused" in properties(entry)["LABELS"]]
    width = max(len(test.name) for test in tests) + 4
    begin = time.monotonic()
    failed = [test.name for number, test in enumerate(tests, 1) if not run(test, number, len(tests), width, results)]
    print(subprocess.run(["rdma", "statistic"], capture_output=True, text=True, check=False).stdout, end="")
    print(f"\n{100 * (len(tests) - len(failed)) // len(tests)}% tests passed, {len(failed)} tests failed out of {len(tests)}\n\n"
          f"Total Test time (real) = {time.monotonic() - begin:6.2f} sec", flush=True)
    if failed:
        print("\nThe following tests FAILED:", *failed, sep="\n\t")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
