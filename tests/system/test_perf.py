# SPDX-License-Identifier: Apache-2.0
"""pawl-perf: each verb for a moment against a running cluster, and against one of its own. What it tells must agree
with itself and with what the cluster says. Nothing here asks for speed."""
import glob
import json
import math
import os
import re
import shutil
import signal
import subprocess
import time
import xml.etree.ElementTree

from harness import Failed, check, main, say

SHORT = ["--duration", "200ms", "--warm-up", "50ms", "--timeout", "120s"]
LONGER = ["--duration", "1s", "--warm-up", "1s", "--timeout", "120s"]  # where something must have been answered in both
TWICE = SHORT + ["--repeat", "2"]
FIGURES = ["ops_per_s", "bytes_per_s", "p50_us", "p99_us", "p999_us", "max_us", "cpu_s_per_gb", "replica_cpu_s_per_gb",
           "copies_per_byte", "syscalls_per_op", "client_syscalls_per_op", "server_syscalls_per_op", "failover_ms",
           "failover_max_ms"]
KEYS = FIGURES + ["verb", "version", "loop", "peak_ops_per_s", "options", "machine", "cluster", "spread", "errors", "retries",
                  "roofline", "ratio", "rounds", "stages"]
ROUND = FIGURES + ["ops", "bytes", "latencies", "seconds", "errors", "error", "retries", "unsent", "cpu_s", "roofline",
                   "kinds", "files", "stages", "syscalls_why", "pauses_ms"]
STAGES = ["client", "push", "prepare", "flush", "commit", "answer"]


def close_to(one, two):
    return math.isclose(one, two, rel_tol=1e-6, abs_tol=1e-9)


def same_keys(what, wanted, got):
    check(set(wanted) == set(got), f"{what}: keys {sorted(set(wanted) ^ set(got))} are on one side only")


def check_stages(stages, latencies):
    """Each append's stages add up to its latency, so the means add up to the mean, and no stage is above the worst."""
    same_keys("stages", STAGES, stages)
    check(close_to(sum(stage["share"] for stage in stages.values()), 1), f"shares: {stages}")
    total = sum(stage["mean_us"] for stage in stages.values())
    for name, stage in stages.items():
        check(close_to(stage["mean_us"], total * stage["share"]), f"{name}: {stage} of {total}")
        check(0 <= stage["p50_us"] <= stage["p99_us"], f"{name}: {stage}")
    check(stages["flush"]["mean_us"] > 0 and stages["push"]["mean_us"] > 0, f"nothing was flushed: {stages}")
    check(total <= latencies["max_us"], f"{total} us on average, at most {latencies['max_us']}")


def check_round(result, item):
    same_keys("a round", ROUND, item)
    check(item["errors"] == 0 and item["error"] is None, f"errors: {item}")
    check(close_to(item["ops_per_s"] * item["seconds"], item["ops"]), f"ops_per_s: {item}")
    check(close_to(item["bytes_per_s"] * item["seconds"], item["bytes"]), f"bytes_per_s: {item}")
    check(sum(kind["ops"] for kind in item["kinds"].values()) == item["ops"], f"kinds: {item}")
    check(sum(kind["bytes"] for kind in item["kinds"].values()) == item["bytes"], f"bytes of kinds: {item}")
    size = result["options"]["bytes"]
    for name, kind in item["kinds"].items():
        moves = name in ("append", "read", "write", "push")
        check(kind["bytes"] == (kind["ops"] * size if moves else 0), f"{name}: {kind} of {size} bytes")
    if item["latencies"]:
        order = [item[name] for name in ("p50_us", "p99_us", "p999_us", "max_us")]
        check(0 < order[0] and order == sorted(order), f"percentiles: {order}")
    none = result["verb"] not in ("append", "failover") or item["latencies"] == item["unsent"]
    check((item["stages"] is None) == none, f"stages: {item['stages']}")
    if item["stages"]:
        check_stages(item["stages"], item)
    calls = [item[name] for name in ("syscalls_per_op", "client_syscalls_per_op", "server_syscalls_per_op")]
    check((None in calls) == bool(item["syscalls_why"]), f"system calls: {calls}, {item['syscalls_why']}")
    if None not in calls:
        check(0 < calls[1] <= calls[0] and 0 <= calls[2] and calls[1] + calls[2] <= calls[0] * 1.000001, f"calls: {calls}")
    used = item["cpu_s"]
    if item["bytes"] and None not in used.values():
        check(close_to(item["cpu_s_per_gb"] * item["bytes"] / 1e9, sum(used.values())), f"cpu_s: {item}")


def check_result(result, verb, rounds):
    same_keys(verb, KEYS, result)
    check(result["verb"] == verb and len(result["rounds"]) == rounds, f"{len(result['rounds'])} rounds of {verb}")
    counts = verb not in ("meta", "failover")
    check((result["copies_per_byte"] is None) != counts, f"copies: {result['copies_per_byte']}")
    if not result["options"]["roofline"]:
        check(set(result["roofline"].values()) == {None} and set(result["ratio"].values()) == {None}, "a roofline")
    for name in FIGURES:
        values = [item[name] for item in result["rounds"] if item[name] is not None]
        spread = result["spread"][name]
        check(spread["median"] == result[name], f"{name}: {result[name]} is not the median {spread}")
        if not values:
            check(set(spread.values()) == {None}, f"{name}: {spread} of nothing")
            continue
        check(spread["min"] == min(values) and spread["max"] == max(values), f"{name}: {spread} of {values}")
        half = sorted(values)[(len(values) - 1) // 2:len(values) // 2 + 1]
        check(close_to(spread["median"], sum(half) / len(half)), f"{name}: {spread} of {values}")


def perf(cluster, *words, rounds=2):
    """A run against the test's cluster."""
    out = cluster.run("pawl-perf", *words, "--cluster", cluster.dir, "--json").stdout
    result = json.loads(out)
    check_result(result, words[0], rounds)
    check(not result["cluster"]["own"], "whose cluster it is")
    if words[0] != "failover":
        for item in result["rounds"]:
            check_round(result, item)
    return result


def check_files(cluster, result, size):
    """Files are as long as what was acknowledged, by their own account and by the cluster's."""
    for item in result["rounds"]:
        for file in item["files"]:
            check(file["bytes"] == file["ops"] * size == file["stat_bytes"], f"{file}, records of {size} bytes")
            check(cluster.stat(file["path"])["bytes"] == file["bytes"], f"{file}: pawl stat tells otherwise")


def appends(cluster, _where):
    result = perf(cluster, "append", *TWICE, "--bytes", "777", "--clients", "3", "--files", "2", "--depth", "4", "--keep")
    check_files(cluster, result, 777)
    for item in result["rounds"]:
        check(len(item["files"]) == 2 and min(file["ops"] for file in item["files"]) > 0, f"files: {item}")
        check(sum(file["ops"] for file in item["files"]) >= item["ops"], f"more counted than stored: {item}")
    paths = [file["path"] for item in result["rounds"] for file in item["files"]]
    check(len(set(paths)) == 4, f"files of two rounds: {paths}")
    cluster.pawl("rm", "-r", os.path.dirname(os.path.dirname(paths[0])))


def calm(cluster, *words, rounds):
    """A run without retries: what is sent twice is copied twice."""
    for _ in range(5):
        result = perf(cluster, *words, rounds=rounds)
        if result["retries"] == 0:
            return result
        say(f"{result['retries']} retries: once more")
    raise Failed("there are always retries")


def copies(cluster, _where):
    """Large records leave from registered memory and land in the disk's; others are copied once, by the client."""
    large = ["append", *SHORT, "--repeat", "1", "--bytes", "100KiB"]
    for words, copied in (([], 0), (["--unregistered"], 1)):
        result = calm(cluster, *large, *words, rounds=1)
        check(result["copies_per_byte"] == copied, f"{words}: {result['copies_per_byte']} copies of each byte")
    # On the way back, too: into registered memory nobody copies, into other memory the client does.
    reads = ["read", *SHORT, "--repeat", "1", "--bytes", "1MiB", "--depth", "2", "--file-bytes", "8MiB"]
    for words, copied in (([], 0), (["--unregistered"], 1)):
        result = calm(cluster, *reads, *words, rounds=1)
        check(result["copies_per_byte"] == copied, f"{words}: {result['copies_per_byte']} copies of each byte read")
    for mix in ("append=70,read=30", "append=20,read=20,write=60"):
        result = calm(cluster, "mixed", *SHORT, "--repeat", "1", "--bytes", "100KiB", "--record-bytes", "100KiB", "--file-bytes",
                      "1MiB", "--mix", mix, rounds=1)
        check(result["copies_per_byte"] == 0, f"{mix}: {result['copies_per_byte']} copies of each byte")
    prepared = ["--file-bytes", "1MiB", "--record-bytes", "100KiB"]
    for verb, more in (("write", prepared), ("push", [])):
        for words, copied in (([], 0), (["--unregistered"], 1)):
            result = calm(cluster, verb, *SHORT, "--repeat", "1", "--bytes", "100KiB", *more, *words, rounds=1)
            check(result["copies_per_byte"] == copied, f"{verb} {words}: {result['copies_per_byte']} copies of each byte")
    result = calm(cluster, "write", *SHORT, "--repeat", "1", "--bytes", "1KiB", *prepared, rounds=1)
    check(1 < result["copies_per_byte"] <= 5, f"small writes: {result['copies_per_byte']} copies of each byte")
    result = calm(cluster, "append", *SHORT, "--repeat", "1", "--bytes", "1KiB", rounds=1)
    check(1 < result["copies_per_byte"] <= 5, f"small records: {result['copies_per_byte']} copies of each byte")


def breakdown(cluster, _where):
    """Of appends, whatever the loop: where the time goes, and what a record costs. System calls are known where the kernel
    tells; this process then counts more than none."""
    for words in ([], ["--rate", "100"]):
        result = perf(cluster, "append", *LONGER, "--repeat", "1", "--ack", "durable", *words, rounds=1)
        check(sorted(result["stages"]) == sorted(STAGES) and result["rounds"][0]["stages"] == result["stages"], "stages")
        check(result["cpu_s_per_gb"] > 0 and result["copies_per_byte"] > 1, f"{words}: {result}")
        calls = [result[name] for name in ("syscalls_per_op", "client_syscalls_per_op", "server_syscalls_per_op")]
        check(result["rounds"][0]["syscalls_why"] or min(calls) > 0, f"{words}: system calls {calls}")
        out = cluster.run("pawl-perf", "append", *LONGER, "--repeat", "1", "--cluster", cluster.dir, *words).stdout.decode()
        rows = {re.split("  +", line.strip())[0] for line in out.splitlines()}
        wanted = {"copies per byte", "CPU s per GB", *STAGES}
        if None not in calls:
            wanted |= {"system calls per op", "by the client", "by the servers"}
        check(wanted <= rows, f"{words}: the table lacks {wanted - rows}: {out}")
        check((None in calls) == ("were not counted" in out), f"{words}: {out}")


def counted(cluster, _where):
    """--ops: as many as were asked for, on however many threads."""
    for words in (["append", "--clients", "3", "--depth", "4"], ["meta", "--depth", "2"],
                  ["read", "--clients", "2", "--bytes", "4KiB", "--file-bytes", "1MiB"]):
        result = perf(cluster, *words, "--ops", "20", "--duration", "10min", "--warm-up", "0s", "--repeat", "2")
        for item in result["rounds"]:
            check(item["latencies"] == 20, f"--ops 20: {item['latencies']} of {words}")
            check(0 < item["seconds"] < 600, f"ended with its time: {item['seconds']}")


def open_loop(cluster, _where):
    """All that was due in the time is in the latencies, though a server stands still in between."""
    for words in (["append", "--rate", "50"], ["append", "--rate", "1000000"], ["meta", "--rate", "200", "--depth", "3"],
                  ["append", "--rate", "100", "--clients", "3"]):
        result = perf(cluster, *words, *TWICE)
        due = result["options"]["rate_per_s"] * result["options"]["duration_ms"] // 1000
        for item in result["rounds"]:
            check(abs(item["latencies"] - due) <= 1, f"{words}: {item['latencies']} latencies of {due} due")
            check(item["unsent"] <= due, f"{words}: {item['unsent']} unsent")
    run = cluster.start("pawl-perf", "append", "--rate", "100", "--duration", "3s", "--warm-up", "0s", "--repeat", "1",
                        "--timeout", "120s", "--cluster", cluster.dir, "--json")
    cluster.kill("cs1", "STOP")
    time.sleep(1)  # it is the time that stands still
    cluster.kill("cs1", "CONT")
    out, error = run.communicate(timeout=240)
    check(run.returncode == 0, f"open loop: {error.decode(errors='replace')}")
    item = json.loads(out)["rounds"][0]
    check(abs(item["latencies"] - 300) <= 1, f"{item['latencies']} latencies of 300 due")
    cluster.wait_live(3)


def reads(cluster, _where):
    words = ["--clients", "2", "--depth", "2", "--file-bytes", "1MiB", "--record-bytes", "100000", "--bytes", "65536"]
    result = perf(cluster, "read", *TWICE, *words, "--keep")
    check(result["cluster"]["direct"] in (True, False), "direct")
    check(re.fullmatch(r"tcp \([a-z0-9]+\)", result["cluster"]["transport"]), f"transport: {result['cluster']}")
    folder = "/" + [entry["name"] for entry in cluster.json("ls", "/") if entry["name"].startswith("pawl-perf")][0]
    check(cluster.stat(folder + "/prepared-0")["bytes"] == 1100000, "the file that was read")
    cluster.pawl("rm", "-r", folder)


def writes(cluster, _where):
    result = perf(cluster, "write", *TWICE, "--clients", "2", "--bytes", "4096", "--file-bytes", "256KiB",
                  "--record-bytes", "64KiB")
    check(all(set(item["kinds"]) == {"write"} for item in result["rounds"]), "kinds of write")


def relayed(cluster):
    return sum(server["relayed"] for server in cluster.json("servers")["servers"])


def pushes(cluster, _where):
    """To every replica, by chain, and no file changes: each has the one record that opened it."""
    before = relayed(cluster)
    result = perf(cluster, "push", *TWICE, "--clients", "2", "--files", "2", "--depth", "4", "--bytes", "300KiB", "--keep")
    check_files(cluster, result, 300 << 10)
    for item in result["rounds"]:
        check(set(item["kinds"]) == {"push"} and item["ops"] > 0, f"kinds of push: {item['kinds']}")
        check([file["ops"] for file in item["files"]] == [1, 1], f"a push has stored something: {item['files']}")
    until = time.monotonic() + 60  # servers report some times a second
    while relayed(cluster) == before and time.monotonic() < until:
        time.sleep(0.05)
    check(relayed(cluster) > before, "nothing went by chain")
    cluster.pawl("rm", "-r", os.path.dirname(os.path.dirname(result["rounds"][0]["files"][0]["path"])))


def names(cluster, _where):
    result = perf(cluster, "meta", *TWICE, "--clients", "2")
    check(all(set(item["kinds"]) <= {"create", "stat", "remove"} for item in result["rounds"]), "kinds of meta")
    check(result["bytes_per_s"] == 0 and result["cpu_s_per_gb"] is None, "bytes of names")


def mixed(cluster, _where):
    result = perf(cluster, "mixed", *TWICE, "--mix", "append=40,read=30,write=20,stat=10", "--file-bytes", "1MiB",
                  "--record-bytes", "64KiB", "--bytes", "2000", "--keep")
    check_files(cluster, result, 2000)
    cluster.pawl("rm", "-r", os.path.dirname(os.path.dirname(result["rounds"][0]["files"][0]["path"])))


def failover(cluster, _where):
    before = cluster.pids()
    result = perf(cluster, "failover", "--repeat", "2", "--timeout", "120s", "--keep")
    check(all(item["failover_ms"] > 0 and item["errors"] == 0 for item in result["rounds"]), f"{result['rounds']}")
    check(all(item["pauses_ms"] == [] for item in result["rounds"]) and result["failover_max_ms"] is None, "clients")
    check(result["ops_per_s"] is None and result["p50_us"] is None, "a failover has no rate")
    check_files(cluster, result, 1024)
    file = result["rounds"][-1]["files"][0]
    # 20 appends and one more, twice; where the tail has just been sealed to be healed, one opens the next: once for
    # each of the two servers that come back.
    check(42 <= file["ops"] <= 44, f"{file}")
    cluster.pawl("rm", file["path"])
    after = cluster.pids()
    killed = [name for name in before if before[name] != after[name]]
    check(1 <= len(killed) <= 2 and "master" not in killed and 0 not in after.values(), f"{before} and {after}")
    cluster.wait_live(3)


def failover_load(cluster, _where):
    """Clients go on over the death of the primary; each has its pause, and none of its records is lost."""
    before = cluster.pids()
    result = perf(cluster, "failover", *TWICE, "--clients", "3", "--depth", "4", "--files", "2", "--keep")
    for item in result["rounds"]:
        check_round(result, item)
        pauses = sorted(item["pauses_ms"])
        check(len(pauses) == 3 and pauses[0] > 0, f"pauses: {pauses}")
        check(item["failover_ms"] == pauses[1] and item["failover_max_ms"] == pauses[2], f"{item['failover_ms']}: {pauses}")
    check(result["retries"] > 0, "nothing was in flight when the primary was killed")
    check_files(cluster, result, 1024)
    cluster.pawl("rm", "-r", os.path.dirname(os.path.dirname(result["rounds"][0]["files"][0]["path"])))
    after = cluster.pids()
    killed = [name for name in before if before[name] != after[name]]
    check(1 <= len(killed) <= 2 and "master" not in killed and 0 not in after.values(), f"{before} and {after}")


def page_of(path):
    """The page: its text, its plots by name, and the rows of its table of all figures."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for word in ("<script", "src=", "href=", "url(", "@import", ">nan", "-nan"):
        check(word not in text, f"the page has {word}")
    body = xml.etree.ElementTree.fromstring(re.search("<body>.*</body>", text, re.S).group(0))
    plots = {plot.get("aria-label"): plot for plot in body.iter("{http://www.w3.org/2000/svg}svg")}
    return text, plots, list(list(body.iter("table"))[-1].iter("tr"))[1:]


def check_fractions(path, runs, bars):
    """Each run with a roofline has its share in the column, and a bar; what is not valid is hollow."""
    text, plots, rows = page_of(path)
    check("was not measured in this run" not in text, "the page denies its roofline")
    measured = [run for run in runs if run["options"]["roofline"]]
    drawn = [item.get("class") for item in plots["Fraction of the roofline"].iter("{http://www.w3.org/2000/svg}rect")]
    labels = ["".join(item.itertext()) for item in plots["Fraction of the roofline"].iter("{http://www.w3.org/2000/svg}text")]
    known = [label for label in labels if re.search(r": [0-9.]+(, target [0-9.]+)?(, not valid)?$", label)]
    check(len(drawn) == len(known) <= bars, f"{len(drawn)} bars: {known}")
    check(sum("not valid" in label for label in known) == sum("hollow" in name for name in drawn), f"{drawn}, {known}")
    check(len(rows) == len(runs) and measured, f"{len(rows)} rows of {len(runs)} runs")
    for row, run in zip(rows, runs):
        shown = "".join(row[-1].itertext())
        if run not in measured:
            check(shown == ("-" if run["verb"] in ("append", "read") else "none"), f"{run['group']}: {shown}")
            continue
        share = run["ratio"]["ops"]
        if run["loop"] == "open":
            share = run["ratio"]["p999"] and 1 / run["ratio"]["p999"]
        known = shown.split()[0] == "-" if share is None else math.isclose(float(shown.split()[0]), share, rel_tol=0.02,
                                                                           abs_tol=0.001)
        check(known, f"{run['group']}: {shown}, not {share}")
        check(("not valid" in shown) == (not run["roofline"]["valid"]), f"{run['group']}: {shown}")
    return text, labels


def report(cluster, where):
    """One page that needs nothing else, with the numbers that the JSON has."""
    page = os.path.join(where, "page.html")
    out = cluster.run("pawl-perf", "report", "--duration", "50ms", "--warm-up", "0s", "--repeat", "2", "--timeout",
                      "120s", "--cluster", cluster.dir, "--output", page, "--json").stdout
    result = json.loads(out)
    check(result["suite"] == "quick" and result["output"] == page, f"{result['suite']} {result['output']}")
    check(len(result["runs"]) == 9, f"{len(result['runs'])} runs")
    for run in result["runs"]:
        check(run.pop("group") and run.pop("limit_share") is None, "a group, and no limit")
        check_result(run, run["verb"], 2)
        for item in run["rounds"]:
            check_round(run, item)
    check(os.listdir(where) == ["page.html"], f"{os.listdir(where)}")
    text, plots, rows = page_of(page)
    check(sorted(plots) == ["Latency percentiles", "Scaling by clients", "Stages of appends", "Throughput by clients"],
          f"{sorted(plots)}")
    check(text.count("<table>") == 5 and "The roofline was not measured in this run" in text, "tables, or the roofline")
    check(len(rows) == 9, f"{len(rows)} rows")
    for row, run in zip(rows, result["runs"]):
        shown = float("".join(row[1].itertext()).split()[0])
        check(math.isclose(shown, run["ops_per_s"], rel_tol=0.01, abs_tol=0.01), f"{shown}, not {run['ops_per_s']}")
    error = cluster.run("pawl-perf", "report", "--cluster", cluster.dir, "--output", os.path.join(where, "no/such"),
                        code=1).stderr
    check(b"--output" in error, f"{error}")


def suite(cluster, where, name, *words):
    """A suite, very short: its runs by JSON, its page, and each run's share of its limit."""
    page = os.path.join(where, "page.html")
    command = [os.path.join(cluster.bin, "pawl-perf"), "report", "--suite", name, "--duration", "50ms", "--warm-up", "10ms",
               "--repeat", "1", "--timeout", "120s", "--cluster", cluster.dir, "--output", page, "--json", *words]
    out = subprocess.run(command, env={**os.environ, "PATH": "/nowhere"}, stdout=subprocess.PIPE, check=True, timeout=400)
    result = json.loads(out.stdout)
    check(result["suite"] == name and result["output"] == page, f"{result['suite']} {result['output']}")
    shares = []
    for run in result["runs"]:
        shares.append(run.pop("limit_share"))
        check_result({key: run[key] for key in run if key != "group"}, run["verb"], 1)
        check_round(run, run["rounds"][0])
    return result["runs"], page, shares


def gfs(cluster, where):
    """Readers, writers, appenders, each beside what the network alone gives."""
    runs, page, shares = suite(cluster, where, "gfs")
    shapes = [(run["group"], run["verb"], run["options"]["clients"], run["options"]["files"]) for run in runs]
    limits = {"limit: pushed to one server": "push", "limit: pushed to all replicas": "push"}
    wanted = [(group, verb, count, 1 if group == "appenders to one file" else count)
              for group, verb in {**limits, "readers": "read", "writers, a file each": "append",
                                  "appenders to one file": "append"}.items() for count in (1, 2, 4)]
    check(shapes == wanted, f"{shapes}")
    rate = {(run["group"], run["options"]["clients"]): run["bytes_per_s"] for run in runs}
    for run, share in zip(runs, shares):
        if run["verb"] == "push":
            check(share is None and run["options"]["replicas"] in (1, 3), f"a limit's own limit: {share}")
            continue
        limit = rate[list(limits)[run["verb"] == "append"], run["options"]["clients"]]
        check(close_to(share * limit, run["bytes_per_s"]), f"{share} of {limit}: {run['bytes_per_s']}")
    text, _, rows = page_of(page)
    column = ["".join(row[-1].itertext()) for row in rows]
    check(column == ["none" if run["verb"] == "push" else "-" for run in runs], f"rooflines: {column}")
    check(text.count("<th>of the limit</th>") == 1, "the page has no shares of the limit")
    for name in ("Throughput by clients", "Scaling by clients", "Latency percentiles"):
        check(f'aria-label="{name}"' in text, f"the page lacks {name}")


def reference(cluster, where):
    """1 to 4 clients, and the latency of 200 operations; with the roofline, without its tools."""
    runs, page, shares = suite(cluster, where, "reference", "--roofline")
    check([run["options"]["clients"] for run in runs] == [1, 2, 3, 4, 1] and set(shares) == {None}, f"{shares}")
    check(all(run["verb"] == "append" and run["options"]["bytes"] == 1024 for run in runs), "what it appends")
    check(runs[4]["options"]["ops"] == 200 and 0 < runs[4]["rounds"][0]["latencies"] <= 200, f"{runs[4]['rounds']}")
    check(all(run["options"]["roofline"] for run in runs), "a run without a roofline")
    check_fractions(page, runs, 5)


def beside(cluster, _where):
    """The roofline of the same run: what the shares are of, and whether it counts."""
    for verb in ("append", "read"):
        words = ["--file-bytes", "4MiB"] if verb == "read" else []
        result = perf(cluster, verb, "--roofline", *words, *SHORT, "--repeat", "1", rounds=1)
        roofline, ratio = result["roofline"], result["ratio"]
        for name, figure in (("ops", "ops_per_s"), ("bytes", "bytes_per_s"), ("p50", "p50_us"), ("p999", "p999_us")):
            check(roofline[figure] > 0 and close_to(ratio[name] * roofline[figure], result[figure]), f"{name}: {ratio}")
        check(roofline["valid"] in (True, False) and (roofline["valid"] or roofline["why"]), f"valid: {roofline}")
        model = roofline["model"]
        check(close_to(sum(step["us"] for step in model["steps"]), model["latency_us"])
              and model["ops_per_s"] == min(bound["ops_per_s"] for bound in model["bounds"]), f"model: {model}")
        check({"processors", "latency"} <= {bound["name"] for bound in model["bounds"]}, f"model: {model}")
        above = ratio["ops"] > 1.1 or ratio["p50"] < 0.9
        check(not (above and roofline["valid"]), f"faster than the roofline, and valid: {ratio}")


def duties(cluster, _where):
    """What is left of the roofline once its servers do what a store has to."""
    result = perf(cluster, "append", "--roofline", "--duties", *SHORT, "--repeat", "1", rounds=1)
    found = result["roofline"]["duties"]
    check(found["ops_per_s"] > 0 and found["p999_us"] > 0 and found["replica_cpu_s_per_gb"] > 0, f"{found}")


def check_half(result):
    """Half of the peak was found and offered; all that was due is in the latencies."""
    peak, rate = result["peak_ops_per_s"], result["options"]["rate_per_s"]
    check(result["loop"] == "open" and rate == int(peak / 2), f"{rate}/s of a peak of {peak}/s")
    due = rate * result["options"]["duration_ms"] // 1000
    for item in result["rounds"]:
        check(abs(item["latencies"] - due) <= 1, f"{item['latencies']} latencies of {due} due")


def half(cluster, _where):
    check_half(perf(cluster, "append", "--rate", "half", "--clients", "2", "--depth", "4", *TWICE))
    check_half(perf(cluster, "meta", "--rate", "half", "--depth", "2", *TWICE))


def settle(cluster, _where):
    """Rounds before the first write as much, are not in the result, and leave no file."""
    def appends():
        return sum(server["appends"] for server in cluster.json("servers")["servers"])

    before, result = appends(), perf(cluster, "append", "--settle", "2", "--ops", "50", "--duration", "60s", "--warm-up",
                                     "0s", "--repeat", "1", rounds=1)
    check(result["options"]["settle"] == 2 and result["rounds"][0]["ops"] < 3 * 50, f"{result['rounds']}")
    until = time.monotonic() + 60
    while appends() < before + 3 * 50:  # told by the next heartbeat
        check(time.monotonic() < until, f"{appends() - before} appends in three rounds of 50")
        time.sleep(0.1)


def targets(cluster, where):
    """The suite of targets, without its tools: every target has its run, and none of them counts."""
    page = os.path.join(where, "page.html")
    out = subprocess.run([os.path.join(cluster.bin, "pawl-perf"), "report", "--suite", "targets", "--duration", "100ms",
                          "--warm-up", "0s", "--repeat", "1", "--timeout", "120s", "--cluster", cluster.dir, "--output",
                          page, "--json"], env={**os.environ, "PATH": "/nowhere"}, stdout=subprocess.PIPE, check=True,
                         timeout=400).stdout
    result = json.loads(out)
    runs = {run["group"]: run for run in result["runs"]}
    check(len(result["runs"]) == 10 and len(result["targets"]) == 8, f"{sorted(runs)}")
    offered = runs["1 KiB append, half of the peak"]
    check_half(offered)
    check(offered["roofline"]["p999_us"] > 0, f"half of the peak without a roofline: {offered['roofline']}")
    for target in result["targets"]:
        run = runs[target["run"]]
        reported = target["at_least"] is None and target["at_most"] is None
        check(target["reached"] == run[target["figure"]], f"{target} of {run[target['figure']]}")
        if reported:
            check(target["met"] is None and target["share"] is None, f"{target}")
            continue
        share, bound = target["share"], target["at_least"] or target["at_most"]
        if share is None:  # of so short a time: nothing was answered in it, on one side
            check(not target["met"], f"met by nothing: {target}")
            continue
        reached = share >= bound if target["at_least"] else share <= bound
        check(target["met"] == (target["valid"] and reached), f"{target}")
        why = run["roofline"]["why"]
        check(not target["valid"] and ("was not compared" in why or "faster" in why), f"valid without tools: {why}")
        check(close_to(share * target["roofline"], target["reached"]), f"{target}")
    many = next(target for target in result["targets"] if target["figure"] == "ops_per_s")
    check((many["with_duties"] or 0) == runs[many["run"]]["roofline"]["duties"]["ops_per_s"], f"{many}")
    text, labels = check_fractions(page, result["runs"], 7)
    check("<h2>Targets</h2>" in text and all(target["what"] in text for target in result["targets"]), "the page")
    check(sum(", target " in label for label in labels) == 7, f"targets in the plot: {labels}")


def table(cluster, _where):
    """For people: the same figures by name, and nothing left in the cluster."""
    out = cluster.run("pawl-perf", "append", *SHORT, "--repeat", "1", "--cluster", cluster.dir).stdout.decode()
    for text in ("operations/s", "GB/s", "latency P99.9", "1 round, 0 errors", "stages of an append", "1024 bytes, 3 replicas"):
        check(text in out, f"the table lacks {text}: {out}")
    left = [entry["name"] for entry in cluster.json("ls", "/")]
    check(not left, f"left behind: {left}")


def refusals(cluster, where):
    for words, code, text in ((["append", "--bytes", "1x"], 2, b"--bytes 1x: right is a size"),
                              (["append", "--cluster", os.path.join(where, "none")], 3, b"cluster.yaml"),
                              (["append", "--dir", os.path.join(where, "none")], 2, b"--dir"),
                              (["append", "--roofline", "--depth", "4096"], 2, b"--roofline: there is none of this shape"),
                              (["append", "--duties"], 2, b"--duties: right is together with --roofline"),
                              (["write", "--roofline"], 2, b"--roofline is no option of write"), ([], 2, b"a verb is missing")):
        error = cluster.run("pawl-perf", *words, code=code).stderr
        check(text in error, f"{words}: {error}")


def own_pids(where):
    """The daemons of the cluster that pawl-perf has started in there."""
    pids = []
    for folder, _, files in os.walk(where):
        if "pid" in files:
            with open(os.path.join(folder, "pid"), encoding="ascii") as file:
                pids += file.read().split()[:1]
    return pids


def await_daemons(run, where, count):
    while len(own_pids(where)) < count and run.poll() is None:
        time.sleep(0.01)
    return own_pids(where)


def check_gone(pids, where):
    alive = [pid for pid in pids if os.path.exists(f"/proc/{pid}/exe")]
    check(pids and not alive, f"processes {alive} of {pids} are left")
    check(os.listdir(where) == [], f"left behind: {os.listdir(where)}")


def own_cluster(cluster, where):
    run = cluster.start("pawl-perf", "append", *SHORT, "--repeat", "1", "--servers", "2", "--replicas", "2", "--dir", where,
                        "--json")
    pids = await_daemons(run, where, 3)
    out, error = run.communicate(timeout=240)
    check(run.returncode == 0, f"{error.decode(errors='replace')}")
    result = json.loads(out)
    check_result(result, "append", 1)
    check(result["cluster"]["own"] and result["cluster"]["servers"] == 2, f"{result['cluster']}")
    check_gone(pids, where)


def interrupted(cluster, where):
    """By a signal while it measures, and while it starts: all is taken down."""
    for number, wanted in ((signal.SIGINT, 3), (signal.SIGTERM, 3), (signal.SIGINT, 1)):
        run = subprocess.Popen([os.path.join(cluster.bin, "pawl-perf"), "append", "--servers", "2", "--replicas", "2",
                                "--duration", "10min", "--dir", where], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        pids = await_daemons(run, where, wanted)
        run.send_signal(number)
        _, error = run.communicate(timeout=240)
        check(run.returncode == 128 + number, f"ended with {run.returncode}: {error.decode(errors='replace')}")
        check_gone(pids, where)


def children(pid, name):
    """Processes of that name that it has started."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="utf-8") as file:
                fields = file.read().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0].partition("(")[2] == name and int(fields[2].split()[1]) == pid:
            found.append(int(fields[0].split()[0]))
    return found


def interrupted_roofline(cluster, where):
    """By a signal while the roofline runs, to this process alone, or as from a terminal to its group: that is all that
    there is to say, no figures and no word of processes that have ended."""
    for number, send in ((signal.SIGTERM, os.kill), (signal.SIGINT, os.killpg)):
        run = subprocess.Popen([os.path.join(cluster.bin, "pawl-perf"), "append", "--duration", "200ms", "--warm-up", "0s",
                                "--repeat", "1", "--roofline", "--cluster", cluster.dir, "--json"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=True)
        nodes = []
        while len(nodes) < 4 and run.poll() is None:  # three servers and the clients
            nodes = children(run.pid, "pawl-roofline-n")
            time.sleep(0.01)
        send(run.pid, number)
        out, error = run.communicate(timeout=240)
        check(run.returncode == 128 + number, f"ended with {run.returncode}: {error.decode(errors='replace')}")
        check(out == b"" and error == b"", f"it says {out} {error}")
        check(not [pid for pid in nodes if os.path.exists(f"/proc/{pid}/exe")], f"processes of {nodes} are left")


PARTS = [appends, copies, breakdown, counted, open_loop, reads, writes, pushes, names, mixed, failover, failover_load, report, gfs, reference, beside, duties, half, settle, targets, table,
         refusals, own_cluster, interrupted, interrupted_roofline]


def run_parts(cluster, arguments):
    for part in PARTS:
        if arguments and part.__name__ not in arguments:
            continue
        where = os.path.join(cluster.dir, "test-" + part.__name__)
        os.makedirs(where)
        begin = time.monotonic()
        part(cluster, where)
        shutil.rmtree(where)
        say(f"{part.__name__}: well, {time.monotonic() - begin:.1f} s")


main(run_parts)
