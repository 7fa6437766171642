#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs and libraries that users get hold no planted bug: no symbol, no name, no sentence of one.

The simulator does, which shows that the search would find them. Debug information is not searched:
compilers may keep macros there.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

SYMBOL = b"pawl_mutant_active"


def needles(list_header):
    text = list_header.read_text()
    rules = re.findall(r'X\(\w+,\s*"[^"]*",\s*"([^"]*)"\)', text.replace("\\\n", " "))
    assert len(rules) >= 25, f"only {len(rules)} planted bugs are listed"
    return [SYMBOL] + [rule.encode() for rule in rules]


def code_of(path, folder):
    """The file's bytes without its debug information."""
    bare = pathlib.Path(folder) / path.name
    subprocess.run(["strip", "--strip-debug", "-o", str(bare), str(path)], check=True)
    return bare.read_bytes()


def main():
    root, build = (pathlib.Path(arg) for arg in sys.argv[1:3])
    wanted = needles(root / "base" / "mutant_list.h")
    programs = [build / "bin" / name for name in ("pawl", "pawl-master", "pawl-chunkd")]
    files = [p for p in programs if p.exists()]
    files += [p for p in (build / "lib").glob("*") if p.is_file() and not p.is_symlink()]
    errors = []
    with tempfile.TemporaryDirectory() as folder:
        simulator = code_of(build / "bin" / "pawl-sim", folder)
        errors += [f"pawl-sim lacks {needle!r}: this test looks for the wrong thing"
                   for needle in wanted if needle not in simulator]
        for path in files:
            code = code_of(path, folder)
            errors += [f"{path.name} holds {needle!r}" for needle in wanted if needle in code]
    if not files:
        errors.append(f"no programs and no libraries in {build}")
    print("\n".join(errors) or f"{len(files)} files hold none of {len(wanted)} traces of a planted bug")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
