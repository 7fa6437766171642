# SPDX-License-Identifier: Apache-2.0
"""The client library leaves nothing behind: valgrind over a program that appends, repeats and reads.

BIN SUPPRESSIONS
"""
import os
import shutil
import subprocess

from harness import check, main, say


def run(cluster, arguments):
    valgrind = shutil.which("valgrind")
    check(valgrind is not None, "valgrind is not installed")
    log = os.path.join(cluster.dir, "told")
    cluster.pawl("put", "--chunk-bytes", "1MiB", "/dev/null", "/leaks")
    trial = os.path.join(cluster.bin, "pawl-trial")
    for command in (["appenders", cluster.master, "/leaks", log, "2", "3", "5"],
                    ["check", cluster.master, "/leaks", log, "5"],
                    ["repeat", cluster.master, "/ids", "abc", "1", "100000", "65"]):
        result = subprocess.run(
            [valgrind, "--leak-check=full", "--show-leak-kinds=definite,indirect,possible",
             "--errors-for-leak-kinds=definite,indirect,possible", "--error-exitcode=9", "-q",
             f"--suppressions={arguments[0]}", trial, *command],
            capture_output=True, timeout=300, check=False)
        say(f"{command[0]}: exit {result.returncode} {result.stdout.decode().strip()}")
        check(result.returncode == 0, result.stderr.decode(errors="replace")[-6000:])


main(run)
