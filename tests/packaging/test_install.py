#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An installed tree is whole: programs run, the example compiles against it (shared and static, C and
C++), the manual answers. test_install.py BUILD CMAKE CC CXX"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD, CMAKE, CC, CXX = sys.argv[1:5]
EXAMPLE = ROOT / "docs/examples/append.c"
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.prefix = pathlib.Path(tempfile.mkdtemp(prefix="pawl-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.prefix)
        done = run(CMAKE, "--install", BUILD, "--prefix", cls.prefix)
        assert done.returncode == 0, done.stderr
        cls.pc = next(cls.prefix.glob("lib*/**/pkgconfig/pawl.pc"))
        cls.lib = cls.pc.parents[1]

    def pkg_config(self, *options):
        env = dict(os.environ, PKG_CONFIG_PATH=str(self.pc.parent), PKG_CONFIG_LIBDIR=str(self.pc.parent))
        done = run("pkg-config", *options, "pawl", env=env)
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout.split()

    def compile(self, compiler, *words):
        program = self.prefix / "program"
        done = run(compiler, *STRICT, "-o", program, *words)
        self.assertEqual(0, done.returncode, done.stderr)
        return program

    def assert_runs(self, program, **options):
        done = run(program, **options)
        self.assertIn("usage: append", done.stderr)
        self.assertEqual(1, done.returncode)

    def test_files_are_there(self):
        names = ["bin/pawl", "bin/pawl-master", "bin/pawl-chunkd", "bin/pawl-perf", "bin/pawl-roofline-node", "include/pawl/pawl.h",
                 "include/pawl/error.h", "include/pawl/api.h", "share/doc/pawl/examples/append.c",
                 "share/bash-completion/completions/pawl", "share/zsh/site-functions/_pawl",
                 "share/bash-completion/completions/pawl-perf", "share/zsh/site-functions/_pawl-perf"]
        self.assertEqual([], [name for name in names if not (self.prefix / name).is_file()])
        self.assertTrue((self.lib / "libpawl.so.0").is_symlink())
        self.assertFalse(list(self.prefix.glob("include/**/*.map")))

    def test_programs_run(self):
        for name in ("pawl", "pawl-master", "pawl-chunkd", "pawl-perf"):
            done = run(self.prefix / "bin" / name, "--version")
            self.assertEqual((0, name), (done.returncode, done.stdout.split()[0]))

    def test_example_with_shared_library(self):
        program = self.compile(CC, "-std=c11", EXAMPLE, *self.pkg_config("--cflags", "--libs"))
        self.assert_runs(program, env=dict(os.environ, LD_LIBRARY_PATH=str(self.lib)))
        done = run(program, env={name: value for name, value in os.environ.items()
                                 if name != "LD_LIBRARY_PATH"})
        self.assertEqual(127, done.returncode, "it ran without the library: it was linked to another one")

    @unittest.skipUnless((pathlib.Path(BUILD) / "lib/libpawl.a").exists(), "no static library in this build")
    def test_example_with_static_library(self):
        words = ["-l:libpawl.a" if word == "-lpawl" else word
                 for word in self.pkg_config("--static", "--cflags", "--libs")]
        self.assert_runs(self.compile(CC, "-std=c11", EXAMPLE, *words))

    @unittest.skipUnless((pathlib.Path(BUILD) / "lib/libpawl.a").exists(), "no static library in this build")
    def test_names_of_a_program_do_not_meet_ours(self):
        source = self.prefix / "names.c"
        source.write_text("#include <pawl/pawl.h>\n#include <stdlib.h>\n"
                          "int link_submit(void);\nint fabric_open(void);\nint pawl_clock_ns(void);\n"
                          "int link_submit(void) { abort(); }\nint fabric_open(void) { abort(); }\n"
                          "int pawl_clock_ns(void) { abort(); }\n"
                          "int main(void)\n{\n    struct pawl_options o = {.size = sizeof o, .deadline_ms = 50,\n"
                          "        .master = \"127.0.0.1:1\"};\n    struct pawl *p;\n"
                          "    return pawl_connect(&o, &p) == 0;\n}\n")
        words = ["-l:libpawl.a" if word == "-lpawl" else word
                 for word in self.pkg_config("--static", "--cflags", "--libs")]
        done = run(self.compile(CC, "-std=c11", source, *words))
        self.assertEqual(0, done.returncode, done.stderr)

    def test_header_from_cpp(self):
        source = self.prefix / "header.cpp"
        source.write_text("#include <pawl/pawl.h>\nint main() { return pawl_version()[0] == '\\0'; }\n")
        program = self.compile(CXX, "-std=c++17", source, *self.pkg_config("--cflags", "--libs"))
        done = run(program, env=dict(os.environ, LD_LIBRARY_PATH=str(self.lib)))
        self.assertEqual(0, done.returncode)

    @unittest.skipUnless(shutil.which("scdoc"), "scdoc is not installed: no manual")
    def test_manual(self):
        pages = {path.name for path in self.prefix.glob("share/man/man*/*")}
        sources = {path.name[:-len(".scd")] for path in (ROOT / "docs/man").glob("*.scd")}
        self.assertLessEqual(sources, pages)
        for alias in ("pawl_close.3", "pawl_append_submit.3", "pawl_error_reaction.3"):
            self.assertIn(alias, pages)
            self.assertRegex((self.prefix / "share/man/man3" / alias).read_text(), r"^\.so man3/pawl_\w+\.3\n")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
