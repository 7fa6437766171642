#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The comparison of golden traces can fail, and an update can't bless a wrong outcome."""
import pathlib
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]
GOOD = pathlib.Path(sys.argv[2]).read_text()
failed = []


def run(text, *options):
    """Exit status, messages and the file afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "x.trace"
        path.write_text(text)
        done = subprocess.run([PROGRAM, *options, str(path)], capture_output=True, text=True)
        return done.returncode, done.stderr, path.read_text()


def check(what, right):
    if not right:
        failed.append(what)
        print("FAILED", what)


def changed(old, new):
    assert old in GOOD, old
    return GOOD.replace(old, new)


code, _, after = run(GOOD)
check("the scenario itself passes and is not touched", code == 0 and after == GOOD)

code, said, _ = run(changed("PREPARED 1.0 v1 #0", "PREPARED 1.0 v1 #7"))
check("another trace is found", code == 1 and "differs" in said)

code, _, after = run(changed("PREPARED 1.0 v1 #0", "PREPARED 1.0 v1 #7"), "--update")
check("an update writes the trace", code == 0 and after == GOOD)

WRONG = [("expect p1/1 once at 0", "expect p1/1 once at 100"),
         ("expect p1/1 once at 0", "expect p1/1 absent"),
         ("expect versions 1.0 1", "expect versions 1.0 1 2"),
         ("expect holds cs1 1.0 1", "expect holds cs1 1.0 2"),
         ("from 0.1ms to 1ms", "from 0.2ms to 1ms"),
         ("from 0.1ms to 1ms", "from 10us to 50us"),
         ("expect versions 1.0 1", "expect sealed 1.0 1"),
         ("expect versions 1.0 1", "expect p1/1 ended EUNKNOWN"),
         ("expect versions 1.0 1", "expect never cs2 > cs1 PREPARED"),
         ("expect versions 1.0 1", "expect seen 2 times cs2 > cs1 PREPARED"),
         ("expect versions 1.0 1", "expect something"),
         ("until 100ms", "when c1 > cs2 APPEND : crash cs2\nuntil 100ms"),
         ("until 100ms", "draws cs1 cs2\nuntil 100ms")]
for old, new in WRONG:
    text = changed(old, new)
    code, said, after = run(text, "--update")
    check(f"'{new}' is not blessed", code == 1 and after == text and said != "")

for text in (changed("until 100ms", "untill 100ms"), changed("until 100ms", "until 100"),
             changed("\ntrace\n", "\n"), changed("at 0 c1 append 100", "at 0 c1 append 3"),
             "# Nothing\n\nat 0 c1 append 100\ntrace\n"):
    code, said, after = run(text, "--update")
    check("what is no scenario is refused: " + text[:40], code == 1 and after == text and said)

sys.exit(1 if failed else 0)
