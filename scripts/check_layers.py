#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuses an include that points to the same level or up: the table is cmake/layers.cmake."""
import argparse
import pathlib
import re
import sys

ENTRY = re.compile(r"^\s+([\w/]+):(\d+)\s*$", re.M)
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.M)


def room_of(path, levels):
    """The room of an include such as "dataplane/core/chunk_core.h": its folder, if that is a room."""
    folder = path.rpartition("/")[0]
    return folder if folder in levels else None


def check_room(root, room, levels):
    errors = []
    for file in sorted((root / room).glob("*.[ch]")):
        text = file.read_text(errors="replace")
        for match in INCLUDE.finditer(text):
            line = text.count("\n", 0, match.start(1)) + 1
            place = f"{file.relative_to(root)}:{line}"
            target = match.group(1)
            if ".." in target.split("/"):
                errors.append(f"{place}: include \"{target}\" climbs; write it from the root")
                continue
            other = room_of(target, levels)
            if other is None or other == room or levels[other] < levels[room]:
                continue
            errors.append(f"{place}: room '{room}' (level {levels[room]}) must not include "
                          f"\"{target}\" of '{other}' (level {levels[other]})")
    return errors


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parents[1])
    parser.add_argument("--room", help="only this room")
    args = parser.parse_args()
    table = (args.root / "cmake/layers.cmake").read_text()
    levels = {room: int(level) for room, level in ENTRY.findall(table)}
    if not levels:
        sys.exit("layers: cmake/layers.cmake has no rooms")
    errors = []
    for room in [args.room] if args.room else levels:
        errors += check_room(args.root, room, levels)
    for error in errors:
        print(f"layers: {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
