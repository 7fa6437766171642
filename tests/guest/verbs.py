#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots one guest with soft-RoCE devices and runs the system tests in it over verbs (cluster/softroce, suite.py)."""
import argparse
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUEST = {123: "the guest's kernel panicked", 124: "time was up", 125: "there was no guest"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--build", type=pathlib.Path, default=ROOT / "build/release", help="where the tests were built (build/release)")
    add("--results", type=pathlib.Path, default=ROOT / "build/verbs", help="for logs (build/verbs)")
    add("--label", default="verbs", help="which tests: verbs (all), verbs_quick, or another label of theirs")
    add("--only", metavar="REGEX", help="only tests with such a name")
    add("--scale", default="0.015625", help="what sizes and counts are multiplied by (1/64)")
    add("--provider", default="verbs", help="of libfabric; with tcp every test must fail")
    add("--timeout", type=float, default=3000, help="seconds for all (3000)")
    add("--may-skip", action="store_true", help="end with 77 when the guest's kernel can't be fetched or made ready")
    add("--real-time", action="store_true", help="the guest's clock is this machine's, and it has all processors; without it "
        "the clock counts instructions, so that a busy machine makes no test miss a limit")
    return parser.parse_args()


def main():
    args = arguments()
    if not shutil.which("qemu-system-x86_64"):
        print("verbs: not run: qemu-system-x86_64 is missing (scripts/install-packages softroce)")
        return 77
    results = args.results.resolve()
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    # A test file of our own: the build's own folder may be in use by the ctest that runs us.
    (results / "CTestTestfile.cmake").write_text(f'subdirs("{args.build.resolve()}")\n')
    words = ["ctest", "--test-dir", results, "--show-only=json-v1", "-L", f"^{args.label}$"]
    words += ["-R", args.only] if args.only else []
    (results / "tests.json").write_bytes(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
    command = [ROOT / "cluster/softroce/run", "--results", results, "--console", results / "console",
               "--timeout", args.timeout, *([] if args.real_time else ["--steady"]),
               os.path.realpath(sys.executable), ROOT / "tests/guest/suite.py", results / "tests.json", results, args.provider]
    begin = time.monotonic()
    guest = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             env={**os.environ, "PAWL_TEST_SCALE": args.scale, "PAWL_TEST_DIR": "/disk"},
                             preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGTERM))  # the guest ends with us
    started = begin
    with (results / "log").open("w", encoding="utf-8") as log:
        for raw in guest.stdout:
            line = raw.decode(errors="replace")
            if "     Start " in line:
                started = time.monotonic()
            elif " Test #" in line:  # seconds here are the guest's
                line = f"{line.rstrip()} ({time.monotonic() - started:.0f} s here)\n"
            for file in (sys.stdout, log):
                file.write(line)
                file.flush()
    status = guest.wait()
    print(f"verbs: {time.monotonic() - begin:.0f} s with the boot; the whole log: {results}/log")
    if args.may_skip and status == 125 and not (results / "console").exists():
        print("verbs: not run: the guest's kernel can't be had here, see above")
        return 77
    if status:
        print(f"verbs: FAILED: {GUEST.get(status, f'exit status {status}')}")
    return status


if __name__ == "__main__":
    sys.exit(main())
