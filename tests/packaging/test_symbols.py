#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""libpawl shows exactly the functions of include/pawl: the headers, the symbol map, the shared and the
static library agree. test_symbols.py LIBPAWL.SO LIBPAWL.A"""
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED, STATIC = (pathlib.Path(name) for name in sys.argv[1:3])


def declared(text):
    """Functions that a header declares (comments and macros do not count)."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"^\s*#(?:[^\n]*\\\n)*[^\n]*", "", text, flags=re.M)
    text = re.sub(r"\{[^{}]*\}", "{}", text)  # members of structs
    return set(re.findall(r"^(?!\s*typedef)[^;{}()]*?\b(pawl_\w+)\s*\(", text, re.M))


def mapped(text):
    text = re.sub(r"#[^\n]*", "", text)
    return set(re.findall(r"\b(pawl_\w+);", text.partition("local:")[0]))


def shown(library, *options):
    run = subprocess.run(["nm", "--defined-only", "--format=posix", *options, str(library)],
                         capture_output=True, text=True, check=True)
    names = (line.split()[:2] for line in run.stdout.splitlines() if len(line.split()) >= 2)
    return {name.partition("@")[0] for name, kind in names if kind != "A"}


class Symbols(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        headers = sorted((ROOT / "include/pawl").glob("*.h"))
        cls.declared = set().union(*(declared(path.read_text()) for path in headers))

    def test_headers_declare_something(self):
        self.assertLessEqual({"pawl_append", "pawl_connect", "pawl_strerror"}, self.declared)

    def test_map_lists_what_headers_declare(self):
        self.assertEqual(self.declared, mapped((ROOT / "client/libpawl.map").read_text()))

    def test_shared_library_shows_what_headers_declare(self):
        self.assertEqual(self.declared, shown(SHARED, "-D"))

    @unittest.skipUnless(STATIC.exists(), "no static library in this build")
    def test_static_library_shows_what_headers_declare(self):
        self.assertEqual(self.declared, shown(STATIC, "-g"))

    def test_every_declaration_is_marked(self):
        for path in sorted((ROOT / "include/pawl").glob("*.h")):
            text = path.read_text()
            for name in declared(text):
                self.assertRegex(text, rf"PAWL_API [^;]*\b{name}\(", f"{name} lacks PAWL_API")

    def test_reading_a_header_finds_additions(self):
        """The comparison can fail: a function that is only declared is found, other words are not."""
        text = ("// pawl_comment(void);\n#define pawl_macro(x) pawl_other(x)\ntypedef void pawl_fn(int a);\n"
                "struct pawl_s {\n    int (*pawl_member)(void);\n};\nint pawl_new(struct pawl_s *s,\n    int b);\n")
        self.assertEqual({"pawl_new"}, declared(text))
        self.assertEqual({"pawl_new"}, mapped("P { global:\n pawl_new; local:\n pawl_hidden; };"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
