#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The build refuses an include and a link that point up the layers, or to the same level."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOP = """cmake_minimum_required(VERSION 3.25)
project(tiny LANGUAGES C)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
include(cmake/layers.cmake)
include(cmake/PawlRooms.cmake)
add_subdirectory(base)
add_subdirectory(proto)
add_subdirectory(dataplane/core)
add_subdirectory(controlplane/core)
"""


class Layers(unittest.TestCase):
    def setUp(self):
        self.tree = pathlib.Path(tempfile.mkdtemp(prefix="pawl-layers-"))
        self.addCleanup(shutil.rmtree, self.tree)
        shutil.copytree(ROOT / "cmake", self.tree / "cmake")
        (self.tree / "scripts").mkdir()
        shutil.copy(ROOT / "scripts/check_layers.py", self.tree / "scripts")
        self.write("CMakeLists.txt", TOP)
        for room, deps in (("base", ""), ("proto", "base"), ("dataplane/core", "base proto"),
                           ("controlplane/core", "base proto")):
            stem = room.replace("/", "_")
            self.write(f"{room}/CMakeLists.txt", f"pawl_room({room} SOURCES {stem}.c DEPS {deps})\n")
            self.write(f"{room}/{stem}.h", f"int {stem}(void);\n")
            self.write(f"{room}/{stem}.c", f'#include "{room}/{stem}.h"\nint {stem}(void) {{ return 0; }}\n')

    def write(self, name, text, append=False):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if append else "") + text)

    def run_cmake(self, *args):
        run = subprocess.run(["cmake", *args], capture_output=True, text=True)
        return run.returncode, run.stdout + run.stderr

    def configure(self):
        return self.run_cmake("-G", "Ninja", "-S", str(self.tree), "-B", str(self.tree / "build"))

    def build(self):
        code, said = self.configure()
        self.assertEqual(code, 0, said)
        return self.run_cmake("--build", str(self.tree / "build"))

    def test_clean_tree_builds(self):
        self.write("dataplane/core/dataplane_core.c", '#include "proto/proto.h"\n', append=True)
        code, said = self.build()
        self.assertEqual(code, 0, said)

    def test_include_up_is_refused_by_the_build(self):
        self.write("proto/proto.h", '\n#include "dataplane/core/dataplane_core.h"\n', append=True)
        code, said = self.build()
        self.assertNotEqual(code, 0, said)
        self.assertIn("proto/proto.h:3: room 'proto' (level 1) must not include", said)

    def test_include_aside_is_refused_by_the_build(self):
        self.write("controlplane/core/x.h", '#include "dataplane/core/dataplane_core.h"\n')
        code, said = self.build()
        self.assertNotEqual(code, 0, said)
        self.assertIn("must not include", said)

    def test_include_that_climbs_is_refused(self):
        self.write("proto/x.h", '#include "../dataplane/core/dataplane_core.h"\n')
        run = subprocess.run([sys.executable, str(self.tree / "scripts/check_layers.py")],
                             capture_output=True, text=True)
        self.assertEqual(run.returncode, 1)
        self.assertIn("climbs", run.stderr)

    def refused_link(self, room, deps, text):
        self.write(f"{room}/CMakeLists.txt",
                   f"pawl_room({room} SOURCES {room.replace('/', '_')}.c DEPS {deps})\n")
        code, said = self.configure()
        self.assertNotEqual(code, 0, said)
        self.assertIn(text, " ".join(said.split()))

    def test_link_up_is_refused(self):
        self.refused_link("base", "dataplane/core", "'base' (level 0) must not depend on 'dataplane/core'")

    def test_link_aside_is_refused(self):
        self.refused_link("controlplane/core", "dataplane/core", "must not depend on 'dataplane/core'")

    def test_link_to_unknown_room_is_refused(self):
        self.refused_link("proto", "cellar", "'cellar' is not a room")

    def test_program_in_a_room_is_bound_by_its_level(self):
        self.write("proto/CMakeLists.txt",
                   "\npawl_program(tool SOURCES proto.c DEPS dataplane/core)\n", append=True)
        code, said = self.configure()
        self.assertNotEqual(code, 0, said)
        self.assertIn("must not depend on 'dataplane/core'", " ".join(said.split()))


if __name__ == "__main__":
    unittest.main()
