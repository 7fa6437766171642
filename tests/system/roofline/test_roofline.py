# SPDX-License-Identifier: Apache-2.0
"""The roofline does what it counts: every record is answered once and stands whole in every server's file, with
as many messages, one-sided writes, disk writes and flushes as an append of Pawl has; and nothing is left behind,
whoever dies. BIN
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN = pathlib.Path(sys.argv.pop(1)).resolve()
PROGRAM = BIN / "pawl-roofline"
KIB = 1024
HANG_S = 120  # a run that takes so long hangs
SLICE = 64 * KIB


def stat_of(pid):
    """State, parent and session of a process; None when it is gone."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1]), int(fields[3])


def living(session):
    """Processes of a session that are not zombies."""
    found = []
    for path in pathlib.Path("/proc").iterdir():
        if path.name.isdigit():
            stat = stat_of(path.name)
            if stat and stat[2] == session and stat[0] not in "ZX":
                found.append(int(path.name))
    return found


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="pawl-roofline-", dir=".")
        self.addCleanup(shutil.rmtree, self.dir)

    def start(self, *words, **more):
        return subprocess.Popen([PROGRAM, "--dir", self.dir, "--json", *map(str, words)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, start_new_session=True, **more)

    def nothing_left(self, session):
        until = time.monotonic() + HANG_S
        while living(session) and time.monotonic() < until:
            time.sleep(0.01)
        self.assertEqual(living(session), [])
        self.assertEqual(os.listdir(self.dir), [])

    def run_to_end(self, *words, status=0, **more):
        process = self.start(*words, **more)
        out, err = process.communicate(timeout=HANG_S)
        self.assertEqual(process.returncode, status, f"{words}: {err}")
        self.nothing_left(process.pid)
        return json.loads(out) if out else err

    def nodes(self, process, count):
        """The run's processes, once all are there: the servers in the order of their numbers, then the clients."""
        until = time.monotonic() + HANG_S
        while time.monotonic() < until:
            self.assertIsNone(process.poll(), process.stderr.read() if process.poll() is not None else "")
            found = sorted(set(living(process.pid)) - {process.pid})
            names = [os.readlink(f"/proc/{pid}/exe") for pid in found]
            if len(found) == count and all(name.endswith("/pawl-roofline-node") for name in names):
                return found
            time.sleep(0.01)
        self.fail("the processes don't come")


class Appends(Case):
    def verified(self, records, clients, replicas, *words):
        counts = self.run_to_end("--verify", "--records", records, "--clients", clients, "--replicas", replicas,
                                 "--file-bytes", "4M", "--duration", "1min", *words)["counts"]
        self.assertEqual(counts["sent"], records * clients)
        self.assertEqual(counts["answered"], records * clients)
        self.assertEqual(counts["verified"], records * clients * replicas)
        return counts

    def one_by_one(self, replicas, route, size, slices=1, flush="fdatasync"):
        """At depth 1 nothing can travel together: the counts are those of single appends of Pawl. How often that flushes
        hangs on the disk (dataplane/store/file.c)."""
        records = 7
        in_place = size > 32 * KIB
        counts = self.verified(records, 1, replicas, "--route", route, "--bytes", size, "--batch", 1, "--wait",
                               "sleep", "--flush", flush, "--slice", SLICE if slices > 1 else "16M")
        pushed = size > 8 * KIB
        # APPEND, PREPARE and PREPARED for each secondary, APPENDED; and what announces a slice but the last
        self.assertEqual(counts["messages"], records * (2 * replicas + replicas * (slices - 1)))
        self.assertEqual(counts["transfers"], records * replicas * slices if pushed else 0)
        self.assertEqual(counts["disk_writes"], records * replicas * (2 if in_place else 1))
        apart = in_place and flush in ("fdatasync", "dsync")
        self.assertEqual(counts["flushes"], records * replicas * (2 if apart else 1))

    def test_one_by_one_as_many_of_everything_as_an_append(self):
        for route, replicas in ("star", 1), ("star", 2), ("star", 3), ("chain", 3):
            for size in 1001, 20000, 200000:
                with self.subTest(route=route, replicas=replicas, size=size):
                    self.one_by_one(replicas, route, size)

    def test_each_write_durable_by_itself_costs_as_many_flushes(self):
        self.one_by_one(3, "star", 200000, flush="dsync")

    def test_one_flush_for_a_payload_and_its_entry(self):
        for flush in "shared", "shared-dsync":
            with self.subTest(flush=flush):
                self.one_by_one(3, "star", 200000, flush=flush)
                self.one_by_one(1, "star", 1001, flush=flush)  # small ones are in the journal alone

    def test_one_flush_for_many_large_ones_in_flight(self):
        for flush in "shared", "shared-dsync":
            with self.subTest(flush=flush):
                counts = self.verified(12, 2, 3, "--route", "star", "--bytes", 300000, "--depth", 6, "--batch", 4,
                                       "--flush", flush, "--wait", "sleep", "--slice", "16M", "--file-bytes", "16M")
                self.assertLessEqual(counts["flushes"], 24 * 3)
                self.assertEqual(counts["disk_writes"], 24 * 3 + counts["flushes"])

    def test_in_slices_each_is_passed_on(self):
        for route in "star", "chain":
            with self.subTest(route=route):
                self.one_by_one(3, route, 3 * SLICE + 5, slices=4)

    def test_many_in_flight_travel_together_and_all_are_there(self):
        for route, wait in ("star", "sleep"), ("star", "spin"), ("star", "yield"), ("chain", "spin"):
            with self.subTest(route=route, wait=wait):
                counts = self.verified(150, 3, 3, "--route", route, "--depth", 32, "--batch", 16, "--wait", wait,
                                       "--file-bytes", "8M")
                self.assertLess(counts["flushes"], 450 * 3)
                self.assertGreaterEqual(counts["flushes"], 450 * 3 // 16)
                self.assertLess(counts["messages"], 450 * 6)

    def test_records_that_wait_together_travel_in_runs_as_pawls_do(self):
        """Sizes of proto/wire.h (docs/formats.md): a header; for each run what APPEND, PREPARE and APPENDED have behind it,
        a row for each record, the payloads, up to 56,832 bytes. One answer is for a run."""
        header, append, prepare, appended, row = 32, 96 - 32, 120 - 32, 88 - 32, 8
        for size, runs in (KIB, (55, 55, 1)), (100, (64, 12)), (5000, (11, 1)):
            with self.subTest(size=size):
                records = sum(runs)
                counts = self.verified(records, 1, 3, "--bytes", size, "--depth", records, "--batch", records, "--wait",
                                       "sleep")
                behind = sum(-(-(run * size + (run * row if run > 1 else 0)) // 8) * 8 for run in runs)
                self.assertEqual(counts["messages"], 6)  # APPEND, 2 PREPAREs, 2 PREPAREDs, APPENDED
                self.assertEqual(counts["message_bytes"], header + len(runs) * append + behind
                                 + 2 * (header + len(runs) * prepare + behind) + 2 * 64 + header + len(runs) * appended)
                self.assertEqual(counts["disk_writes"], 3)

    def test_runs_that_a_batch_divides_are_whole_again(self):
        """Batches of the journal and runs end at different records."""
        for size, depth, batch in (KIB, 32, 5), (100, 100, 48), (100, 200, 3):
            with self.subTest(size=size, depth=depth, batch=batch):
                self.verified(500, 3, 3, "--bytes", size, "--depth", depth, "--batch", batch, "--wait", "spin",
                              "--file-bytes", "16M")

    def test_many_large_ones_in_flight(self):
        for route, slice_bytes in ("star", "16M"), ("star", SLICE), ("chain", SLICE):
            with self.subTest(route=route, slice=slice_bytes):
                counts = self.verified(12, 2, 3, "--route", route, "--bytes", 300000, "--depth", 6, "--batch", 4,
                                       "--flush", "fdatasync", "--wait", "sleep", "--slice", slice_bytes, "--file-bytes", "16M")
                self.assertLessEqual(counts["flushes"], 24 * 3 * 2)

    def test_with_duties_all_are_there_and_are_written_twice(self):
        records, clients, replicas = 700, 3, 3
        counts = self.verified(records, clients, replicas, "--duty", "all", "--route", "star", "--depth", 32, "--batch", 16,
                               "--wait", "sleep", "--bytes", KIB, "--file-bytes", "32M")
        pieces = replicas * (records * clients * KIB // (256 * KIB))
        self.assertEqual(counts["disk_writes"], counts["flushes"] + pieces)

    def test_second_writes_go_in_circles(self):
        counts = self.run_to_end("--duty", "second-write", "--records", 3000, "--depth", 32, "--batch", 32, "--wait", "sleep",
                                 "--bytes", KIB, "--file-bytes", "1M")["counts"]
        self.assertEqual(counts["answered"], 3000)
        self.assertEqual(counts["disk_writes"], counts["flushes"] + 3 * (3000 * KIB // (256 * KIB)))

    def test_duties_of_large_ones_in_slices(self):
        counts = self.verified(12, 2, 3, "--duty", "checksum", "--duty", "table", "--route", "chain", "--bytes", 300000,
                               "--depth", 6, "--batch", 4, "--flush", "dsync", "--wait", "sleep", "--slice", SLICE,
                               "--file-bytes", "16M")
        self.assertEqual(counts["disk_writes"], counts["flushes"])

    def test_in_memory_the_disk_is_left_alone(self):
        counts = self.run_to_end("--memory", "--records", 50, "--depth", 8, "--batch", 8, "--wait", "sleep")["counts"]
        self.assertEqual((counts["sent"], counts["answered"]), (50, 50))
        self.assertEqual((counts["disk_writes"], counts["flushes"]), (0, 0))

    def test_both_routes_by_turns_and_all_are_answered(self):
        result = self.run_to_end("--duration", 40, "--warm-up", 10, "--depth", 4, "--bytes", 100000, "--file-bytes",
                                 "8M")
        points = [(p["batch"], p["wait"], p["route"], p["slice_bytes"]) for p in result["points"]]
        self.assertEqual(len(set(points)), 2 * 3 * 2)
        self.assertEqual({p["route"] for p in result["points"]}, {"star", "chain"})
        self.assertIn(result["flush"], ("fdatasync", "dsync", "shared", "shared-dsync"))
        self.assertEqual(result["counts"]["sent"], result["counts"]["answered"])

    def test_a_sweep_ends_with_its_best_point(self):
        result = self.run_to_end("--duration", "40ms", "--warm-up", 10, "--depth", 8, "--file-bytes", "4MiB")
        self.assertEqual(len(result["points"]), 3 * 3)
        self.assertIn((result["batch"], result["wait"]), [(p["batch"], p["wait"]) for p in result["points"]])
        self.assertEqual(result["counts"]["sent"], result["counts"]["answered"])
        self.assertFalse(result["is_valid"])  # it was not checked

    def test_open_loop_what_is_owed_is_in_the_latencies(self):
        """Far more is due than can be sent: half of the latencies are of what waited until the end."""
        result = self.run_to_end("--rate", 2000000, "--batch", 1, "--wait", "sleep", "--file-bytes", "4M", "--duration",
                                 400, "--warm-up", 0)
        self.assertGreater(result["p50_us"], 100000)
        self.assertLess(result["ops_per_s"], 1000000)

    def test_open_loop_all_that_is_due_is_sent(self):
        counts = self.run_to_end("--rate", 100, "--records", 20, "--clients", 2, "--depth", 8, "--batch", 1, "--wait",
                                 "sleep", "--file-bytes", "4M", "--duration", 60000)["counts"]
        self.assertEqual((counts["sent"], counts["answered"]), (40, 40))


class Reads(Case):
    def test_reads_bring_the_files_bytes(self):
        """Of 16 that are outstanding."""
        for servers, sources, slices, at_disk in (1, 1, 1, 16), (2, 2, 1, 1), (3, 2, 2, 2), (3, 3, 1, 16), (1, 1, 2, 1):
            with self.subTest(servers=servers, sources=sources, slices=slices, at_disk=at_disk):
                counts = self.run_to_end("--read", "--verify", "--bytes", "128K", "--records", 60, "--clients", 2,
                                         "--depth", 8, "--replicas", servers, "--file-bytes", "4M", "--wait", "sleep",
                                         "--sources", sources, "--slice", 128 // slices * KIB,
                                         "--disk-reads", at_disk, "--duration", 60000)["counts"]
                for name, times in ("sent", 1), ("answered", 1), ("verified", 1), ("disk_reads", slices), \
                        ("transfers", slices):
                    self.assertEqual(counts[name], 120 * times, name)
                self.assertEqual(counts["messages"], 240)
                self.assertEqual((counts["disk_writes"], counts["flushes"]), (0, 0))

    def test_a_sweep_tries_some_at_the_disk_and_all_are_answered(self):
        result = self.run_to_end("--read", "--bytes", "128K", "--depth", 8, "--file-bytes", "4M", "--duration", 40,
                                 "--warm-up", 10, "--wait", "sleep", "--slice", "128K")
        points = [(point["sources"], point["disk_reads"]) for point in result["points"]]
        self.assertEqual(points, [(1, 0), (2, 0), (3, 0), (3, 1), (3, 2)])
        self.assertIn((result["sources"], result["disk_reads"]), points)
        self.assertEqual(result["counts"]["sent"], result["counts"]["answered"])


class Ends(Case):
    ENDLESS = "--duration", 300000, "--wait", "sleep", "--batch", 1, "--depth", 2, "--file-bytes", "4M"

    def test_a_killed_process_ends_the_run_and_is_named(self):
        for victim, name in (0, "server 0"), (2, "server 2"), (3, "the clients"):
            with self.subTest(victim=name):
                process = self.start(*self.ENDLESS)
                os.kill(self.nodes(process, 4)[victim], signal.SIGKILL)
                _, err = process.communicate(timeout=HANG_S)
                self.assertEqual(process.returncode, 1, err)
                self.assertIn(name, err)
                self.nothing_left(process.pid)

    def test_a_frozen_server_ends_the_run_by_its_deadline(self):
        process = self.start(*self.ENDLESS, "--deadline", 500)
        os.kill(self.nodes(process, 4)[1], signal.SIGSTOP)
        _, err = process.communicate(timeout=HANG_S)
        self.assertEqual(process.returncode, 1, err)
        self.nothing_left(process.pid)

    def test_when_the_caller_is_killed_all_end(self):
        process = self.start(*self.ENDLESS)
        self.nodes(process, 4)
        process.kill()
        process.communicate(timeout=HANG_S)
        self.nothing_left(process.pid)

    def test_without_the_tools_a_roofline_is_not_valid(self):
        result = self.run_to_end("--check", "--records", 5, "--replicas", 1, "--file-bytes", "4M", "--batch", 1,
                                 "--wait", "sleep", status=3, env={**os.environ, "PATH": "/nowhere"})
        self.assertFalse(result["is_valid"])
        self.assertIn("was not compared", result["why"])
        self.assertTrue(all(part["ours"] > 0 and part["tools"] == 0 for part in result["parts"]))

    WITHOUT_TOOLS = "--check", "--records", 3, "--replicas", 3, "--file-bytes", "8M", "--batch", 1, "--wait", "sleep"

    def test_parts_have_units_and_a_model_says_what_they_add_up_to(self):
        for words, units, steps, bounds in (
                (("--bytes", "1K"), ["us", "1/s"], ["APPEND", "PREPARE", "journal", "PREPARED", "APPENDED"],
                 ["wire", "disk flushes", "processors", "latency"]),
                (("--bytes", "64K", "--route", "star", "--flush", "dsync", "--slice", "1M"),
                 ["us", "bytes_per_s", "1/s", "bytes_per_s"],
                 ["payload and APPEND", "payload and PREPARE", "payloads to disk", "their flush", "journal", "PREPARED",
                  "APPENDED"], ["wire", "disk flushes", "disk bandwidth", "processors", "latency"]),
                (("--read", "--bytes", "64K", "--sources", 1, "--slice", "1M"), ["us", "bytes_per_s", "bytes_per_s"],
                 ["READ", "disk", "payload and READ_DONE"], ["wire", "disk bandwidth", "processors", "latency"])):
            with self.subTest(words=words):
                result = self.run_to_end(*self.WITHOUT_TOOLS, *words, status=3, env={**os.environ, "PATH": "/nowhere"})
                model = result["model"]
                self.assertEqual([part["unit"] for part in result["parts"]], units)
                self.assertEqual([step["name"] for step in model["steps"]], steps)
                self.assertEqual([bound["name"] for bound in model["bounds"]], bounds)
                self.assertAlmostEqual(sum(step["us"] for step in model["steps"]), model["latency_us"], delta=0.01)
                least = min(model["bounds"], key=lambda bound: bound["ops_per_s"])
                self.assertEqual((model["bound"], model["ops_per_s"]), (least["name"], least["ops_per_s"]))

    @unittest.skipUnless(shutil.which("fio") and shutil.which("fi_pingpong"), "without fio and fi_pingpong")
    def test_each_part_is_compared_with_its_tool(self):
        """That a comparison was made: how fast either was is nothing for a test."""
        process = self.start(*self.WITHOUT_TOOLS, "--bytes", "64K", "--route", "star", "--flush", "shared", "--slice", "1M")
        out, err = process.communicate(timeout=HANG_S)
        self.assertIn(process.returncode, (0, 3), err)
        self.nothing_left(process.pid)
        result = json.loads(out)
        self.assertEqual([part["tool"].split()[0] for part in result["parts"]], ["fi_pingpong", "fi_pingpong", "fio", "fio"])
        for part in result["parts"]:
            self.assertGreater(min(part["ours"], part["tools"], part["ratio"]), 0, part)
        self.assertNotIn("not compared", result["why"])
        self.assertEqual(process.returncode, 0 if result["is_valid"] else 3)

    def test_bandwidth_is_printed_in_gb_a_second(self):
        run = subprocess.run([PROGRAM, "--dir", self.dir, "--read", "--bytes", "64K", "--sources", "1", "--slice", "1M",
                              *map(str, self.WITHOUT_TOOLS)], capture_output=True, text=True, timeout=HANG_S,
                             env={**os.environ, "PATH": "/nowhere"})
        self.assertEqual(run.returncode, 3, run.stderr)
        self.assertNotIn("MB/s", run.stdout)
        self.assertRegex(run.stdout, r"read of 65536 bytes, depth 1 +[0-9.]+ +0\.000 GB/s")
        self.assertRegex(run.stdout, r"(?m)^model: a record alone takes [0-9.]+ us: READ [0-9.]+ \+ disk ")
        self.assertRegex(run.stdout, r"(?m)^model: \d+/s, bound by [a-z ]+: wire \d+, ")

    def test_without_a_check_there_is_no_model(self):
        self.assertIsNone(self.run_to_end("--records", 3, "--file-bytes", "4M", "--batch", 1, "--wait", "sleep")["model"])

    def test_a_folder_that_is_not_there_is_an_error(self):
        self.assertIn("O_DIRECT", self.run_to_end("--dir", self.dir + "/none", status=1))

    def test_options_that_make_no_sense_are_refused(self):
        for words in ("--replicas", 4), ("--bytes", "x"), ("--route", "ring"), ("--wait", "best"), ("--flush", "no"), ("--sources", 4), ("--disk-reads", 16385), ("more",), ("--what",):
            with self.subTest(words=words):
                self.run_to_end(*words, status=2)

    def test_the_node_does_not_run_by_itself(self):
        run = subprocess.run([BIN / "pawl-roofline-node"], capture_output=True, text=True, timeout=HANG_S)
        self.assertEqual(run.returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
