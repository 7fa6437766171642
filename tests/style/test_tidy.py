#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each rule of scripts/tidy can fail, and names the place; clean files pass."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEAD = "// SPDX-License-Identifier: Apache-2.0\n// A test file.\n"


class Tidy(unittest.TestCase):
    def setUp(self):
        self.tree = pathlib.Path(tempfile.mkdtemp(prefix="pawl-tidy-"))
        self.addCleanup(shutil.rmtree, self.tree)
        shutil.copy(ROOT / ".clang-format", self.tree)

    def tidy(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        run = subprocess.run([sys.executable, str(ROOT / "scripts/tidy"), "--root", str(self.tree)],
                             capture_output=True, text=True,
                             env=dict(os.environ, GIT_CEILING_DIRECTORIES=str(self.tree.parent)))
        return run.returncode, run.stdout

    def refused(self, name, text, place):
        code, said = self.tidy(name, text)
        self.assertEqual(code, 1, said)
        self.assertIn(place, said)

    def accepted(self, name, text):
        code, said = self.tidy(name, text)
        self.assertEqual(code, 0, said)

    def test_clean_file(self):
        self.accepted("base/a.c", HEAD + "int a(void)\n{\n    return 0;\n}\n")

    def test_format(self):
        self.refused("base/a.c", HEAD + "int a(void) { return  0; }\n", "base/a.c:3: format")

    def test_spdx(self):
        self.refused("base/a.c", "int a;\n", "base/a.c:1: spdx")
        self.refused("base/a.c", "// SPDX-License-Identifier: Apache-2.0\nint a;\n", "base/a.c:2: spdx")
        self.refused("scripts/do", "#!/bin/sh\necho\n", "scripts/do:1: spdx")

    def test_function_length(self):
        def body(lines):
            return HEAD + "void a(void)\n{\n" + "    (void)0;\n" * lines + "}\n"
        self.accepted("base/a.c", body(70))
        self.refused("base/a.c", body(71), "base/a.c:4: function-length: 71")

    def test_file_length(self):
        self.accepted("base/a.c", HEAD + "int a;\n" * 798)
        self.refused("base/a.c", HEAD + "int a;\n" * 799, "base/a.c:801: file-length")

    def test_long_initialiser_is_no_function(self):
        self.accepted("base/a.c", HEAD + "static int a[] = {\n" + "    1, //\n" * 100 + "};\n")

    def test_banned_call_in_core(self):
        for call in ("malloc(1)", "free(p)", "clock_gettime(0, t)", "time(NULL)", "printf(x)", "read(0)",
                     "pthread_mutex_lock(m)", "pawl_clock_ns()", "pawl_log_info(x)", "usleep(1)",
                     "pawl_alloc_heap()", "io_uring_submit(r)", "fopen(x)"):
            text = HEAD + f"void a(void)\n{{\n    {call};\n}}\n"
            self.refused("dataplane/core/a.c", text, "dataplane/core/a.c:5: banned-call")
        self.refused("client/core/a.h", HEAD + "#include <pthread.h>\n", "a.h:3: banned-call")
        self.refused("controlplane/core/a.h", HEAD + '#include "base/log.h"\n', "a.h:3: banned-call")

    def test_allowed_in_core(self):
        text = "void a(void)\n{\n    core->alloc->free(0, p); // malloc(1)\n    pawl_alloc_free(x, p);\n}\n"
        self.accepted("dataplane/core/a.c", HEAD + text + 'const char *b = "read(x)";\n')

    def test_same_call_outside_of_core(self):
        self.accepted("dataplane/store/a.c", HEAD + "void a(void)\n{\n    free(p);\n}\n")

    def test_assert(self):
        self.refused("base/a.c", HEAD + "void a(void)\n{\n    assert(1);\n}\n", "base/a.c:5: assert")
        self.refused("base/a.c", HEAD + "#include <assert.h>\n", "base/a.c:3: assert")
        text = '#include <assert.h>\n\nstatic_assert(1, "x");\n\nvoid a(void)\n{\n    pawl_assert(1);\n}\n'
        self.accepted("base/a.c", HEAD + text)

    def test_typedef_struct(self):
        self.refused("base/a.c", HEAD + "typedef struct a b;\n", "base/a.c:3: typedef-struct")

    def test_whitespace(self):
        self.refused("cmake/a.cmake", "# SPDX-License-Identifier: Apache-2.0\nset(a b) \n",
                     "cmake/a.cmake:2: whitespace")


if __name__ == "__main__":
    unittest.main()
