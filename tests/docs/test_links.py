#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Links of the pages lead somewhere: to files of the tree, and to headings in them. Pictures are whole."""
import pathlib
import re
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def pages():
    git = subprocess.run(["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
                         capture_output=True, text=True)
    names = git.stdout.split() if git.returncode == 0 else [
        str(path.relative_to(ROOT)) for path in ROOT.rglob("*.md") if "build" not in path.parts]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def prose(path):
    """The page without its blocks of code."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path):
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page):
    found = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            found.append(target)
    return found


class Links(unittest.TestCase):
    def test_links_lead_somewhere(self):
        self.assertGreater(len(pages()), 10)
        self.assertEqual({}, {str(page.relative_to(ROOT)): broken(page) for page in pages() if broken(page)})

    def test_every_page_of_docs_can_be_reached_from_the_readme(self):
        seen, ahead = set(), [ROOT / "README.md"]
        while ahead:
            page = ahead.pop()
            if page in seen or page.suffix != ".md" or not page.is_file():
                continue
            seen.add(page)
            ahead += [(page.parent / target.partition("#")[0]).resolve()
                      for target in LINK.findall(prose(page)) if "://" not in target]
        lost = [str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")
                if path not in seen and path.name != "0000-template.md"]
        self.assertEqual([], lost)

    def test_pictures_are_whole(self):
        pictures = sorted((ROOT / "docs/pictures").glob("*.svg"))
        self.assertGreater(len(pictures), 1)
        for path in pictures:
            root = xml.parse(path).getroot()
            self.assertEqual("{http://www.w3.org/2000/svg}svg", root.tag, path.name)
            self.assertIn("viewBox", root.attrib, path.name)

    def test_a_broken_link_is_found(self):
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder) / "a.md"
            (page.parent / "b.md").write_text("# One heading\n")
            page.write_text("[x](b.md) [x](b.md#one-heading) [x](https://example.org/) `[x](code.md)`\n"
                            "[x](none.md) [x](b.md#two) ![x](c.svg) [x](#here)\n")
            self.assertEqual(["none.md", "b.md#two", "c.svg", "#here"], broken(page))


if __name__ == "__main__":
    unittest.main()
