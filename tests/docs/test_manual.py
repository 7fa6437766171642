#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The manual says what the programs, headers and schemas say: verbs, options, exit codes, configuration
keys, prototypes, structs, error codes. test_manual.py BIN"""
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.argv[1])
MAN = ROOT / "docs/man"
OPTION = re.compile(r"(?<![\w*-])(?:--[a-z][a-z-]+|-[a-zA-Z])(?![\w-])")
SECTIONS = {
    "1": ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"],
    "3": ["NAME", "SYNOPSIS", "DESCRIPTION", "ERRORS", "THREADS", "EXAMPLES", "SEE ALSO"],
    "8": ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "CONFIGURATION", "EXIT STATUS", "EXAMPLES", "SEE ALSO"],
}


def help_of(program, *words):
    return subprocess.run([BIN / program, *words, "--help"], capture_output=True, text=True, check=True).stdout


def page(name):
    return (MAN / f"{name}.scd").read_text()


def section(text, name):
    """The text of one section of a page."""
    parts = re.split(r"^# (.+)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2])).get(name, "")


def entries(text, name):
    """Options or keys that have an entry of their own in a section: bold words of a line before a tab."""
    lines = re.findall(r"^(\*.+)\n\t", section(text, name), re.M)
    return {word for line in lines for word in re.findall(r"\*([^*]+)\*", line)}


def flat(text):
    return re.sub(r"\s+", " ", re.sub(r"\s*//[^\n]*", "", text)).strip()


def prototypes(header):
    """Name and flat text of every function that a header declares."""
    text = flat(re.sub(r"^\s*#(?:[^\n]*\\\n)*[^\n]*", "", header.read_text(), flags=re.M))
    found = re.findall(r"PAWL_API ([^;]*?\b(pawl_\w+)\([^;]*\));", text)
    return {name: declaration for declaration, name in found}


def structs(text):
    return {name: flat(body) for name, body in re.findall(r"^struct (\w+) \{\n(.*?)^\};", text, re.M | re.S)}


def keys_of(source):
    """Configuration keys of a daemon's schema; those of nested mappings as outer.inner."""
    tables = re.findall(r"(\w*fields)\[\] = \{(.*?)CYAML_FIELD_END", source, re.S)
    keys = {}
    for table, body in tables:
        keys[table] = re.findall(r'CYAML_FIELD_(\w+)\(\s*"(\w+)"', body)
    top = keys.pop("fields")
    names = set()
    for kind, key in top:
        nested = keys.get(f"{key}_fields") if kind.startswith("MAPPING") else None
        names |= {f"{key}.{inner}" for _, inner in nested} if nested else {key}
    return names


class Manual(unittest.TestCase):
    maxDiff = None

    def test_every_page_has_its_sections(self):
        for path in sorted(MAN.glob("*.scd")):
            text = path.read_text()
            name, number = path.stem.rpartition(".")[::2]
            self.assertTrue(text.startswith(f"{name}({number}) "), path.name)
            found = re.findall(r"^# (.+)$", text, re.M)
            self.assertEqual([], [part for part in SECTIONS[number] if part not in found], path.name)
            self.assertEqual("SEE ALSO", found[-1], path.name)

    def test_references_lead_to_pages(self):
        pages = {path.stem for path in MAN.glob("*.scd")}
        for path in MAN.glob("pawl*.3.scd"):
            pages |= {f"{name}.3" for name in section(path.read_text(), "NAME").split(" - ")[0].strip().split(", ")}
        for path in sorted(MAN.glob("*.scd")):
            for name, number in re.findall(r"\*(pawl[\w.-]*)\*\((\d)\)", path.read_text()):
                self.assertIn(f"{name}.{number}", pages, path.name)

    def test_verbs(self):
        text = help_of("pawl")
        verbs = re.findall(r"^  ([a-z]+) ", text, re.M)
        self.assertGreater(len(verbs), 10)
        self.assertEqual({f"pawl-{verb}.1.scd" for verb in verbs},
                         {path.name for path in MAN.glob("pawl-*.1.scd")} - {"pawl-perf.1.scd"})
        self.assertEqual({f"pawl-{verb}" for verb in verbs}, entries(page("pawl.1"), "VERBS"))

    def test_common_options(self):
        told = set(OPTION.findall(help_of("pawl").partition("\noptions")[2].partition("exit codes")[0]))
        self.assertEqual(told | {"-h"}, entries(page("pawl.1"), "OPTIONS"))

    def test_options_of_verbs(self):
        common = entries(page("pawl.1"), "OPTIONS")
        for path in sorted(set(MAN.glob("pawl-*.1.scd")) - {MAN / "pawl-perf.1.scd"}):
            verb = path.stem.partition("-")[2].partition(".")[0]
            told = set(OPTION.findall(help_of("pawl", verb))) - common
            self.assertEqual(told, entries(path.read_text(), "OPTIONS"), path.name)
            synopsis = section(path.read_text(), "SYNOPSIS").replace("*", " ")
            self.assertEqual(told, set(OPTION.findall(synopsis)), path.name)

    def test_exit_codes(self):
        told = set(re.findall(r"(\d) ", help_of("pawl").partition("exit codes:")[2]))
        self.assertEqual(told, entries(page("pawl.1"), "EXIT STATUS"))
        for daemon in ("pawl-master", "pawl-chunkd"):
            told = set(re.findall(r"(\d) [a-z]", help_of(daemon).partition("Exit status:")[2]))
            self.assertEqual(told, entries(page(f"{daemon}.8"), "EXIT STATUS"), daemon)

    def test_pawl_perf(self):
        text = help_of("pawl-perf")
        verbs = re.findall(r"^  ([a-z]+) ", text, re.M)
        self.assertGreater(len(verbs), 5)
        self.assertEqual(set(verbs), entries(page("pawl-perf.1"), "VERBS"))
        told = {"-h"}
        own = {verb: set(re.findall(r"^  (--[a-z-]+)", help_of("pawl-perf", verb), re.M)) for verb in verbs}
        self.assertEqual(own.pop("roofline"), entries(page("pawl-perf.1"), "OPTIONS OF ROOFLINE"))
        told.update(*own.values())
        self.assertGreater(len(told), 20)
        self.assertEqual(told, entries(page("pawl-perf.1"), "OPTIONS"))
        self.assertEqual(set(re.findall(r"(\d+) [a-z]", text.partition("exit codes:")[2])),
                         entries(page("pawl-perf.1"), "EXIT STATUS"))
        figures = re.findall(r"^    X\((\w+), ", (ROOT / "perf/stats.h").read_text(), re.M)
        manual = page("pawl-perf.1")
        self.assertGreater(len(figures), 5)
        self.assertEqual([], [figure for figure in figures if f"_{figure}_" not in manual])

    def test_options_of_daemons(self):
        for daemon in ("pawl-master", "pawl-chunkd"):
            told = set(OPTION.findall(help_of(daemon).partition("\n\n")[2]))
            self.assertEqual(told, entries(page(f"{daemon}.8"), "OPTIONS"), daemon)

    def test_configuration_keys(self):
        guide = (ROOT / "docs/operations.md").read_text()
        for daemon, source in (("pawl-master", "controlplane/master/master_config.c"),
                               ("pawl-chunkd", "dataplane/chunkd/chunkd_config.c")):
            keys = keys_of((ROOT / source).read_text())
            self.assertIn("dir", keys)
            self.assertEqual(keys, entries(page(f"{daemon}.8"), "CONFIGURATION"), daemon)
            table = guide.partition(f"### {daemon}")[2].partition("\n#")[0]
            self.assertEqual(keys, set(re.findall(r"^\| `([\w.]+)` \|", table, re.M)), f"operations.md {daemon}")

    def test_prototypes(self):
        synopses = "".join(section(path.read_text(), "SYNOPSIS") for path in MAN.glob("*.3.scd"))
        told = {name: text for name, text in
                ((re.search(r"\b(pawl_\w+)\(", line).group(1), flat(line.rstrip(";")))
                 for line in re.findall(r"^[a-z][\w *]*\bpawl_\w+\(.*;$", synopses, re.M)
                 if not line.startswith("typedef"))}
        declared = {}
        for header in (ROOT / "include/pawl").glob("*.h"):
            declared.update(prototypes(header))
        self.assertEqual(declared, told)

    def test_functions_are_listed(self):
        listed = set()
        for path in MAN.glob("pawl_*.3.scd"):
            listed |= set(section(path.read_text(), "NAME").split(" - ")[0].strip().split(", "))
        declared = set()
        for header in (ROOT / "include/pawl").glob("*.h"):
            declared |= prototypes(header).keys()
        self.assertEqual(declared, listed)
        overview = page("pawl.h.3")
        self.assertEqual([], sorted(name for name in declared if not re.search(rf"\b{name}\b", overview)))

    def test_structs(self):
        declared = structs((ROOT / "include/pawl/pawl.h").read_text())
        count = 0
        for path in MAN.glob("*.3.scd"):
            for name, body in structs(section(path.read_text(), "SYNOPSIS")).items():
                self.assertEqual(declared[name], body, f"{path.name}: struct {name}")
                count += 1
        self.assertGreater(count, 4)

    def test_error_codes(self):
        table = re.findall(r'X\((PAWL_E\w+), -\d+, "([^"]+)", (\w+)\)', (ROOT / "include/pawl/error.h").read_text())
        told = re.findall(r"^\*(PAWL_E\w+)\*\n\t(.+)\. (\w+)\.$", section(page("pawl_strerror.3"), "ERRORS"), re.M)
        self.assertEqual([(name, text.lower(), reaction) for name, text, reaction in table],
                         [(name, text.lower(), reaction) for name, text, reaction in told])
        names = {name for name, _, _ in table}
        for path in MAN.glob("*.scd"):
            for name in re.findall(r"\bPAWL_E[A-Z]+\b", path.read_text()):
                self.assertIn(name, names | {"PAWL_E"}, path.name)

    def test_the_readers_find_what_changes(self):
        """What the comparisons stand on can tell a difference."""
        text = "x(1)\n\n# OPTIONS\n\n*--a* _N_\n\tText *--b*.\n\n*-c*, *--dd*\n\tText.\n\n# NEXT\n\n*--e*\n\tText.\n"
        self.assertEqual({"--a", "-c", "--dd"}, entries(text, "OPTIONS"))
        self.assertEqual(["--a-b", "-c"], OPTION.findall("[--a-b N] x-y -c 1-2"))
        source = ('f_fields[] = { CYAML_FIELD_UINT("inner", 0), CYAML_FIELD_END };\n'
                  'fields[] = { CYAML_FIELD_MAPPING("f", 0), CYAML_FIELD_UINT("g", 0), CYAML_FIELD_END };')
        self.assertEqual({"f.inner", "g"}, keys_of(source))
        self.assertEqual({"s": "int a; int b;"}, structs("struct s {\n    int a; // one\n    int b;\n};\n"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
