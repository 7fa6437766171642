# SPDX-License-Identifier: Apache-2.0
"""The check of the fault tests' writers finds nothing where nothing is wrong, and what is wrong where it was
told something else: lines taken from what the writers were told, and one that never was.

BIN
"""
import os
import time

from harness import check, main, say

PATH = "/overlap"


def verdict(cluster, lines):
    """What the check says of those lines: its exit status and its complaints."""
    told = os.path.join(cluster.dir, "changed")
    with open(told, "w", encoding="ascii") as file:
        file.writelines(lines)
    result = cluster.run("pawl-trial-overlap", "check", cluster.master, PATH, told, code=None)
    return result.returncode, result.stderr.decode()


def run(cluster, _arguments):
    told = os.path.join(cluster.dir, "told")
    writers = cluster.start("pawl-trial-overlap", "writers", cluster.master, PATH, told, "3", "600", "1")
    until = time.monotonic() + 120
    lines = []
    while len(lines) < 400:
        check(writers.poll() is None, "a writer gave up")
        check(time.monotonic() < until, "too few writes")
        time.sleep(0.05)
        if os.path.exists(told):
            with open(told, encoding="ascii") as file:
                lines = file.readlines()
    writers.terminate()
    out, error = writers.communicate(timeout=120)
    say(f"{out.decode().strip()} {error.decode(errors='replace')[-500:]}")
    check(writers.returncode == 0, "a writer gave up")
    with open(told, encoding="ascii") as file:
        lines = file.readlines()
    code, text = verdict(cluster, lines)
    check(code == 0, f"nothing is wrong: {text}")

    fields = [line.split() for line in lines]
    # Of one whose outcome is unknown nobody knows the end.
    acked = [i for i in range(len(lines)) if fields[i][2] == "acked"]
    newest = max(acked, key=lambda i: int(fields[i][5]))
    code, text = verdict(cluster, lines[:newest] + lines[newest + 1:])
    check(code != 0 and "nobody was told of" in text, f"a write that nobody was told of: {text}")
    last = int(fields[newest][6]) + 1
    more = f"1 1000000 acked 0 1044480 {last} {last}\n"  # over all, and it is not there
    code, text = verdict(cluster, [*lines, more])
    check(code != 0 and "an acknowledged write is missing" in text, f"a write that is lost: {text}")
    _, _, _, offset, size, _, _ = fields[newest]
    code, text = verdict(cluster, [*lines, f"1 1000000 acked {offset} {size} {last} {last}\n"])
    check(code != 0 and "an older write stands over" in text, f"a write that came too late: {text}")
    code, _ = verdict(cluster, [*lines, more.replace("acked", "unknown").replace(f" {last}\n", f" {2**64 - 1}\n")])
    check(code == 0, "an unknown write need not be there")


main(run)
