#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The example program, compiled against an installed tree, on a cluster of the installed programs: run
twice with the same lines it stores them once. test_example.py BUILD CMAKE CC"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD, CMAKE, CC = sys.argv[1:4]


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def trial(work):
    prefix = work / "prefix"
    run(CMAKE, "--install", BUILD, "--prefix", prefix)
    pc = next(prefix.glob("lib*/**/pkgconfig/pawl.pc"))
    env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), LD_LIBRARY_PATH=str(pc.parents[1]))
    flags = run("pkg-config", "--cflags", "--libs", "pawl", env=env).stdout.split()
    run(CC, ROOT / "docs/examples/append.c", *flags, "-o", work / "append")
    pawl = [prefix / "bin/pawl", "--dir", work / "cluster"]
    run(*pawl, "local", "start")
    try:
        master = json.loads(run(*pawl, "--json", "local", "status").stdout)["master"]
        run(*pawl, "mkdir", "/jobs")
        command = [work / "append", master, "/jobs/log", "worker-1"]
        first = run(*command, input="one\ntwo\n", env=env)
        assert first.stdout == "one\ntwo\n", first
        again = run(*command, input="one\ntwo\nthree\n", env=env)
        assert again.stdout == "one\ntwo\nthree\n", again
        assert again.stderr.count("line ") == 1, again.stderr  # the others were there
    finally:
        run(*pawl, "local", "stop")


if __name__ == "__main__":
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pawl-example-"))
    try:
        trial(folder)
    finally:
        shutil.rmtree(folder)
    print("stored once")
