#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""suite.py passes what holds and finds out what does not. Counters and resources are made up here: no guest, no device."""
import contextlib
import io
import os
import pathlib
import sys
import tempfile
import unittest

os.environ["SOFTROCE"] = "rxe0=10.77.0.1 rxe1=10.77.0.2"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import suite  # noqa: E402

LOOKED = "print('devices: the test: 12 packets, at least 1')"
FOUND_OUT = f"print('FAILED: put /a: 0 packets left the devices, not 3: {suite.WRONG_WAY}')\nraise SystemExit(1)"


class Suite(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.packets, self.step, self.resources = 0, 7, []
        suite.DISK, suite.STOP_S, suite.LEFT_S = self.folder, 1, 0
        suite.devices.counter = self.counter
        suite.devices.cable_packets = lambda: self.packets
        suite.devices.resources = lambda kind: self.resources

    def counter(self, _device, _name):
        self.packets += self.step
        return self.packets

    def run_test(self, code, limit=60, provider="verbs", refused=False):
        """Whether it passes, and what is said of it."""
        program = self.folder / "program.py"
        program.write_text(code)
        entry = {"name": "trial", "command": ["python3", str(program), str(self.folder)],
                 "properties": [{"name": "TIMEOUT", "value": limit}]}
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            passed = suite.run(suite.Test(entry, provider, refused), 1, 1, 30, self.folder)
        return passed, said.getvalue()

    def fails(self, text, *arguments, **options):
        passed, said = self.run_test(*arguments, **options)
        self.assertFalse(passed, said)
        self.assertIn("***Failed", said)
        self.assertIn(text, said)

    def passes(self, text, *arguments, **options):
        passed, said = self.run_test(*arguments, **options)
        self.assertTrue(passed, said)
        self.assertIn(text, said)

    def test_what_holds_passes_and_its_packets_are_told(self):
        self.passes("verbs: packets of rxe0 14, rxe1 14", LOOKED)

    def test_what_the_test_says_of_puts_and_failovers_is_told(self):
        self.passes("         put /a: 5 packets", LOOKED + "\nprint('[1.0] devices: put /a: 5 packets')")

    def test_exit_status(self):
        self.fails("exit status 3", LOOKED + "\nraise SystemExit(3)")

    def test_time_limit_also_when_the_test_does_not_want_to_end(self):
        self.fails("no end after", LOOKED + "\nimport signal\nsignal.signal(15, signal.SIG_IGN)\n"
                   "while True: signal.pause()", limit=1)

    def test_no_look_at_the_devices(self):
        self.fails("has not looked at the devices", "print('passed')")

    def test_no_packet(self):
        self.step = 0
        self.fails("nothing left the devices", LOOKED)

    def test_queue_pairs_that_stay_behind(self):
        self.resources = [{"lqpn": 17, "pid": 3}]
        self.fails("left behind: qp {'lqpn': 17", LOOKED)

    def test_tcp_must_be_found_out_and_by_the_right_message(self):
        self.passes("trial_tcp_is_found_out", FOUND_OUT, provider="tcp", refused=True)
        self.fails("was not refused", LOOKED, provider="tcp", refused=True)
        self.fails("was not refused", "raise SystemExit(1)", provider="tcp", refused=True)


if __name__ == "__main__":
    unittest.main()
