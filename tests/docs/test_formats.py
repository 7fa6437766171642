#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/formats.md says what the headers say, and the comparison sees every kind of difference."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = ("proto/wire.h", "proto/disk.h", "controlplane/log/log_format.h", "controlplane/rpc/frame.h",
         "docs/formats.md")


def check(root):
    return subprocess.run([sys.executable, str(ROOT / "scripts/format-tables"), "--check", "--root", str(root)],
                          capture_output=True, text=True)


class Formats(unittest.TestCase):
    def setUp(self):
        self.tree = pathlib.Path(tempfile.mkdtemp(prefix="pawl-formats-"))
        self.addCleanup(shutil.rmtree, self.tree)
        for name in FILES:
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.tree / name)

    def refused(self, name, before, after):
        path = self.tree / name
        text = path.read_text()
        self.assertIn(before, text)
        path.write_text(text.replace(before, after, 1))
        done = check(self.tree)
        self.assertEqual(1, done.returncode, done.stdout)
        return done.stdout + done.stderr

    def test_page_is_as_the_headers(self):
        done = check(ROOT)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_a_field_that_moved_is_seen(self):
        self.refused("proto/wire.h", "    uint64_t cluster_id;\n    uint64_t server_id;      // 0: a client\n",
                     "    uint64_t server_id;      // 0: a client\n    uint64_t cluster_id;\n")

    def test_a_field_that_grew_is_seen(self):
        said = self.refused("proto/disk.h", "uint32_t index;             // NN", "uint64_t index;             // NN")
        self.assertIn("disk_segment", said)

    def test_a_new_struct_is_seen(self):
        said = self.refused("proto/wire.h", "struct wire_hello {", "struct wire_new {\n    uint32_t a;\n};\nstruct wire_hello {")
        self.assertIn("wire_new", said)

    def test_other_numbers_are_seen(self):
        self.refused("proto/wire.h", "WIRE_INLINE_MAX 8192u", "WIRE_INLINE_MAX 4096u")

    def test_another_enum_is_seen(self):
        self.refused("proto/wire.h", "WIRE_LOOKUP = 7", "WIRE_LOOKUP = 9")

    def test_another_frame_is_seen(self):
        self.refused("controlplane/rpc/frame.h", "12  features  u32", "12  flavour   u32")

    def test_an_edited_table_is_seen(self):
        self.refused("docs/formats.md", "| 40 | 8 | server_id |", "| 44 | 8 | server_id |")


if __name__ == "__main__":
    unittest.main()
