#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cluster/softroce/run: what the guest has, how results come back, and how it can fail. Each test boots once
at most. As root the tests run it as nobody too: it needs no rights of its own."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN = ROOT / "cluster/softroce/run"
KERNELS = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "softroce"

DEVICES = r"""
set -eu
pkts() { cat /sys/class/infiniband/$1/ports/1/hw_counters/$2; }
echo "memlock $(ulimit -l)"
rdma link | sed 's/^link/device/'
for i in 1 2; do fi_info -p verbs -t FI_EP_MSG | grep -c "domain: rxe$((i - 1))$" || true; done
before=$(pkts rxe0 sent_pkts)
for server in 10.77.0.2 10.77.0.1; do
    fi_pingpong -p verbs -e msg -I 10 -S 65536 >/tmp/server 2>&1 &
    for try in 1 2 3 4 5 6 7 8 9 10; do # until the server listens
        fi_pingpong -p verbs -e msg -I 10 -S 65536 $server >/tmp/client 2>&1 && break
        sleep 1
    done
    wait
    grep -c 64k /tmp/client
done
echo "crossed $(($(pkts rxe0 sent_pkts) - before > 20 * 65536 / 4096)) $(($(pkts rxe1 rcvd_pkts) > 20 * 65536 / 4096))"
dd if=/dev/zero of=/disk/direct bs=64k count=16 oflag=direct 2>&1 | grep -c "1.0 MB"
"""

TWO_HOSTS = r"""
echo "$SOFTROCE"
rdma link | sed 's/^link/device/'
for host in 0 1; do ip netns exec host$host fi_info -p verbs -t FI_EP_MSG | grep -E "domain|protocol" | sort -u; done
ip netns exec host1 fi_pingpong -p verbs -e msg -I 10 -S 65536 >/tmp/server 2>&1 &
for try in 1 2 3 4 5 6 7 8 9 10; do # until the server listens
    fi_pingpong -p verbs -e msg -I 10 -S 65536 10.78.0.2 >/tmp/client 2>&1 && break
    sleep 1
done
wait
grep -c 64k /tmp/client
crossed=$(ip netns exec host1 cat /sys/class/net/iwarp1/statistics/rx_bytes)
echo "crossed $((crossed > 10 * 65536))"
"""


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)


class Guest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="softroce test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def test_output_status_folder_and_environment_are_the_commands(self):
        script = ('pwd; echo "$WORDS"; printf "%s|" "$@"; echo; id -u; echo to-stderr >&2; '
                  'head -c 3000000 /dev/urandom >"$KEEP/bytes"; base64 -w0 "$KEEP/bytes"; '
                  'echo lost >/etc/softroce-test; sleep 3000 & exit 7')
        results = self.folder / "results"
        done = run(RUN, "--results", results, "--timeout", 300, "sh", "-c", script, "name", "a b", "$HOME 'q'", "",
                   cwd=self.folder, env=dict(os.environ, WORDS="several 'words'\nhere", KEEP=str(results)))
        self.assertEqual(done.returncode, 7, done.stderr)
        head, _, body = done.stdout.rpartition("\n")
        self.assertEqual(head, f"{self.folder}\nseveral 'words'\nhere\na b|$HOME 'q'||\n0")
        self.assertEqual(done.stderr, "to-stderr\n")
        kept = run("base64", "-w0", results / "bytes").stdout
        self.assertEqual(hashlib.sha256(body.encode()).digest(), hashlib.sha256(kept.encode()).digest())
        self.assertEqual(len(kept), 4000000)
        self.assertFalse(pathlib.Path("/etc/softroce-test").exists())

    @unittest.skipUnless(shutil.which("fi_pingpong"), "needs libfabric-bin (scripts/install-packages softroce)")
    def test_devices_carry_data_both_ways_and_the_disk_takes_direct_writes(self):
        as_nobody = []
        if os.getuid() == 0:
            cache = self.folder / "cache"
            cache.mkdir()
            for kernel in KERNELS.glob("linux-image-*"):
                shutil.copytree(kernel, cache / kernel.name)
            self.folder.chmod(0o777)
            subprocess.run(["chown", "-R", "nobody", cache], check=True)
            as_nobody = ["setpriv", "--reuid=nobody", "--clear-groups", "env", f"XDG_CACHE_HOME={self.folder}"]
            cache.rename(self.folder / "softroce")
        done = run(*as_nobody, RUN, "--timeout", 400, "bash", "-c", DEVICES, cwd="/")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0], "memlock unlimited")
        self.assertRegex(lines[1], r"device rxe0/1 state ACTIVE .* netdev roce0")
        self.assertRegex(lines[2], r"device rxe1/1 state ACTIVE .* netdev roce1")
        self.assertGreater(int(lines[3]), 0)
        self.assertGreater(int(lines[4]), 0)
        self.assertEqual(lines[5:], ["1", "1", "crossed 1 1", "1"])

    @unittest.skipUnless(shutil.which("fi_pingpong"), "needs libfabric-bin (scripts/install-packages softroce)")
    def test_siw_has_two_hosts(self):
        done = run(RUN, "--siw", "--timeout", 300, "bash", "-c", TWO_HOSTS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        lines = [line.strip() for line in done.stdout.splitlines()]
        self.assertEqual(lines[0], "siw0=10.78.0.1 siw1=10.78.0.2")
        self.assertRegex(lines[1], r"device siw0/1 state ACTIVE")
        self.assertRegex(lines[2], r"device siw1/1 state ACTIVE")
        self.assertEqual(lines[3:], ["domain: siw0", "protocol: FI_PROTO_IWARP", "domain: siw1", "protocol: FI_PROTO_IWARP",
                                     "1", "crossed 1"])

    def test_panic_has_its_own_status_and_shows_the_console(self):
        done = run(RUN, "--timeout", 300, "sh", "-c", "echo before; echo c >/proc/sysrq-trigger; sleep 300")
        self.assertEqual(done.returncode, 123, done.stderr)
        self.assertEqual(done.stdout, "before\n")
        self.assertIn("the guest's kernel panicked", done.stderr)
        self.assertIn("sysrq triggered crash", done.stderr)

    def test_time_out_has_its_own_status_and_ends_the_guest(self):
        started = time.monotonic()
        console = self.folder / "console"
        done = run(RUN, "--timeout", 90, "--console", console, "sh", "-c", "echo before; exec sleep 100000")
        self.assertEqual(done.returncode, 124, done.stderr)
        self.assertEqual(done.stdout, "before\n")
        self.assertGreaterEqual(time.monotonic() - started, 90)
        self.assertIn("time-out after 90 s", done.stderr)
        self.assertIn("console", done.stderr)
        self.assertTrue(console.read_text())


class NoGuest(unittest.TestCase):
    """What can be said without a boot."""

    def said(self, status, text, *words, **options):
        done = run(sys.executable, RUN, *words, **options)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(text, done.stdout + done.stderr)

    def test_help(self):
        self.said(0, "exit status:", "--help")

    def test_no_command(self):
        self.said(2, "COMMAND is missing")

    def test_no_qemu(self):
        self.said(125, "apt-get install qemu-system-x86", "true", env={"PATH": "/nowhere"})

    def test_no_such_package(self):
        with tempfile.TemporaryDirectory() as cache:
            self.said(125, "No such file", "--cache", cache, "--package", "/nowhere/kernel.deb", "true")
            self.assertEqual([path.name for path in pathlib.Path(cache).iterdir()], ["lock"])

    def test_kernel_without_modules(self):
        with tempfile.TemporaryDirectory() as cache:
            modules = pathlib.Path(cache, "linux-image-test/lib/modules/1")
            modules.mkdir(parents=True)
            busybox = pathlib.Path(cache, "linux-image-test/bin/busybox")
            busybox.parent.mkdir()
            busybox.write_text("")
            (modules / "modules.dep").write_text("kernel/virtio_pci.ko:\n")
            self.said(125, "has no module virtio_blk", "--cache", cache, "true")

    def test_siw_without_the_source_of_its_kernel(self):
        with tempfile.TemporaryDirectory() as cache:
            modules, boot = (pathlib.Path(cache, "linux-image-test", name) for name in ("lib/modules/1", "boot"))
            modules.mkdir(parents=True)
            (modules / "modules.dep").write_text("")
            boot.mkdir()
            (boot / "vmlinuz-0.0.0-none").write_text("Debian 0.0-0 (")
            self.said(125, "linux-headers-0.0.0-none=0.0-0 can't be fetched", "--cache", cache, "--siw", "true")
            self.assertEqual(sorted(path.name for path in pathlib.Path(cache).iterdir()), ["linux-image-test", "lock"])


if __name__ == "__main__":
    if not shutil.which("qemu-system-x86_64"):
        print("qemu-system-x86_64 is missing: scripts/install-packages softroce")
        sys.exit(77)
    unittest.main()
