#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The example configurations are what the daemons take, one for each fabric, and the check can fail."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "cluster/examples"
BIN = pathlib.Path(sys.argv.pop(1))


def check(daemon, path):
    done = subprocess.run([BIN / daemon, "--config", path, "--check-config"], capture_output=True, text=True,
                          check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


class Examples(unittest.TestCase):
    def test_chunk_servers_of_each_fabric(self):
        for name, provider in (("tcp", "tcp"), ("softroce", "verbs"), ("roce", "verbs"), ("infiniband", "verbs"),
                               ("mixed", "verbs"), ("mixed", "tcp")):
            path = EXAMPLES / f"{name}.yaml"
            code, said = check("pawl-chunkd", path)
            self.assertEqual(code, 0, said)
            self.assertIn(f"provider: {provider} ", path.read_text().replace("\n", " \n"))

    def test_master(self):
        code, said = check("pawl-master", EXAMPLES / "master.yaml")
        self.assertEqual(code, 0, said)

    def test_every_example_is_checked(self):
        self.assertEqual(sorted(path.name for path in EXAMPLES.glob("*.yaml")),
                         ["infiniband.yaml", "master.yaml", "mixed.yaml", "roce.yaml", "softroce.yaml", "tcp.yaml"])

    def test_a_wrong_one_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "wrong.yaml")
            text = (EXAMPLES / "roce.yaml").read_text()
            path.write_text(text.replace("  port: 7500", "  prot: 7500"))
            code, said = check("pawl-chunkd", path)
            self.assertNotEqual(code, 0)
            self.assertIn("prot", said)
            path.write_text(text.replace("security: none", "# security:"))
            code, said = check("pawl-chunkd", path)
            self.assertNotEqual(code, 0)
            self.assertIn("security", said)


if __name__ == "__main__":
    unittest.main()
