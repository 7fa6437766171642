#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cluster/setup-softroce with ip, rdma, modprobe and id played by this test, in a file system of its own."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "cluster/setup-softroce"

IP = r"""case "$*" in
*route*) echo "default via 10.0.0.254 dev eth7 proto dhcp" ;;
*address*) [ -e "$ROOT/no-address" ] || echo "3: $6    inet 10.0.0.9/24 brd 10.0.0.255 scope global $6" ;;
esac"""
RDMA = r"""case "$1 $2" in
"link show") cat "$ROOT/links" 2>/dev/null ;;
"link add") echo "link $3/1 state ACTIVE physical_state LINK_UP netdev $7" >>"$ROOT/links"
    mkdir -p "$ROOT/sys/class/infiniband/$3/ports/1/gids"
    echo 0000:0000:0000:0000:0000:ffff:0a00:0009 >"$ROOT/sys/class/infiniband/$3/ports/1/gids/1" ;;
"link delete") sed -i "\#^link $3/#d" "$ROOT/links" ;;
esac
echo "rdma $*" >>"$ROOT/done" """
MODPROBE = r"""echo "modprobe $*" >>"$ROOT/done"
case $1 in -r) rmdir "$ROOT/sys/module/$2" ;; rdma_rxe) [ ! -e "$ROOT/no-rxe" ] && mkdir -p "$ROOT/sys/module/$1" ;; *) mkdir -p "$ROOT/sys/module/$1" ;; esac"""


class Setup(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="pawl-setup-"))
        self.addCleanup(shutil.rmtree, self.root)
        for name in ("bin", "sys/module/ib_uverbs", "sys/class/net/eth7", "etc/libibverbs.d"):
            (self.root / name).mkdir(parents=True)
        (self.root / "sys/class/net/eth7/mtu").write_text("9000\n")
        (self.root / "etc/libibverbs.d/rxe.driver").write_text("driver rxe\n")
        self.user = "0"
        for name, body in (("ip", IP), ("rdma", RDMA), ("modprobe", MODPROBE), ("id", "echo $USER_ID")):
            path = self.root / "bin" / name
            path.write_text(f"#!/bin/sh\n{body}\n")
            path.chmod(0o755)

    def run_it(self, *words):
        env = dict(os.environ, ROOT=str(self.root), SETUP_SOFTROCE_ROOT=str(self.root), USER_ID=self.user,
                   PATH=f"{self.root}/bin:{os.environ['PATH']}")
        done = subprocess.run([str(SCRIPT), *words], env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def happened(self):
        lines = (self.root / "done").read_text().splitlines() if (self.root / "done").exists() else []
        return [line for line in lines if not line.startswith("rdma link show")]

    def tree(self):
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*")
                      if "infiniband" not in str(path) and path.name not in ("done", "links"))

    def test_up_then_down_leaves_what_was_there(self):
        before = self.tree()
        code, said = self.run_it("up")
        self.assertEqual(code, 0, said)
        self.assertIn("ok   rxe_eth7: active, on eth7", said)
        self.assertIn("ok   eth7: 10.0.0.9, GID index 1", said)
        self.assertEqual(self.happened(), ["modprobe rdma_rxe", "modprobe rdma_ucm",
                                           "rdma link add rxe_eth7 type rxe netdev eth7"])
        self.assertIn("memlock unlimited", (self.root / "etc/security/limits.d/90-softroce.conf").read_text())
        code, said = self.run_it("up")
        self.assertEqual(code, 0, said)
        self.assertEqual(len(self.happened()), 3, "nothing is done twice")
        code, said = self.run_it("down")
        self.assertEqual(code, 0, said)
        self.assertEqual(self.happened()[3:], ["rdma link delete rxe_eth7", "modprobe -r rdma_ucm",
                                               "modprobe -r rdma_rxe"])
        kept = [name for name in self.tree() if name not in ("etc/security", "etc/security/limits.d", "run")]
        self.assertEqual(kept, before)
        self.assertIn("nothing to undo", self.run_it("down")[1])

    def test_down_leaves_what_others_have_made(self):
        (self.root / "links").write_text("link rxe_eth7/1 state ACTIVE physical_state LINK_UP netdev eth7\n")
        self.run_it("--no-limits", "up")
        self.run_it("down")
        self.assertIn("rxe_eth7", (self.root / "links").read_text())

    def test_dry_run_changes_nothing_and_needs_no_root(self):
        self.user = "1000"
        before = self.tree()
        code, said = self.run_it("--dry-run", "up")
        self.assertEqual(code, 0, said)
        self.assertIn("+ rdma link add rxe_eth7 type rxe netdev eth7", said)
        self.assertIn("90-softroce.conf", said)
        self.assertEqual((self.tree(), self.happened()), (before, []))

    def test_up_without_root_says_so(self):
        self.user = "1000"
        code, said = self.run_it("up")
        self.assertEqual(code, 2)
        self.assertIn("needs root", said)

    def test_kernel_without_the_module_is_named(self):
        (self.root / "no-rxe").touch()
        code, said = self.run_it("up")
        self.assertEqual(code, 2)
        self.assertIn("module rdma_rxe can't be loaded", said)

    def test_check_finds_what_is_missing(self):
        code, said = self.run_it("check")
        self.assertEqual(code, 1)
        self.assertIn("BAD  rxe_eth7: no such device", said)
        self.run_it("up")
        (self.root / "no-address").touch()
        (self.root / "sys/class/net/eth7/mtu").write_text("1500\n")
        (self.root / "etc/libibverbs.d/rxe.driver").unlink()
        code, said = self.run_it("check")
        self.assertEqual(code, 1)
        for text in ("BAD  eth7: no IPv4 address", "note eth7: MTU 1500", "BAD  user space"):
            self.assertIn(text, said)

    def test_a_card_that_is_not_there(self):
        code, said = self.run_it("--interface", "eth8", "up")
        self.assertEqual(code, 2)
        self.assertIn("no network card eth8", said)
        self.assertEqual(self.happened(), [])


if __name__ == "__main__":
    unittest.main()
