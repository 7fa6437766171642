# SPDX-License-Identifier: Apache-2.0
"""The command line: usage, exit codes, help, JSON, and what each verb does with odd input.

BIN
"""
import json
import os
import resource
import signal
import subprocess
import time

from harness import Failed, check, main, make_file, say, sha256, wait_for_bytes

VERBS = ["local", "put", "get", "append", "write", "extend", "cat", "ls", "stat", "mkdir", "mv", "rm", "servers", "doctor"]

# Arguments that are wrong before any cluster is asked.
WRONG = [
    [], ["nonsense"], ["local"], ["local", "nonsense"], ["local", "stop", "x"], ["local", "status", "x"],
    ["local", "kill"], ["local", "kill", "cs99"], ["local", "kill", "cs1", "cs2"], ["local", "restart"],
    ["local", "kill", "cs1", "--signal", "NONSENSE"], ["local", "start", "x"],
    ["local", "start", "--servers", "0"], ["local", "start", "--servers", "3x"],
    ["local", "start", "--servers", "1000"], ["put"], ["put", "a"], ["put", "a", "/b", "c"],
    ["put", "--depth", "0", "a", "/b"], ["put", "--record-bytes", "many", "a", "/b"],
    ["put", "--nonsense", "a", "/b"], ["get"], ["get", "/a"], ["get", "--offset", "x", "/a", "b"],
    ["append"], ["append", "/a", "b", "c"], ["write", "/a"], ["write", "--offset", "x", "/a"],
    ["write", "--offset", "1", "/a", "b", "c"], ["extend", "/a"], ["extend", "/a", "many"], ["extend", "/a", "1", "2"], ["append", "--record-bytes", "0", "/a"], ["cat"],
    ["cat", "/a", "/b"], ["cat", "--length", "-1", "/a"], ["ls", "/a", "/b"], ["ls", "-x"], ["stat"],
    ["stat", "/a", "/b"], ["mkdir"], ["mkdir", "-x", "/a"], ["mv", "/a"], ["mv", "/a", "/b", "/c"],
    ["mv", "--nonsense", "/a"], ["rm"], ["rm", "-x", "/a"], ["servers", "x"], ["doctor", "x"],
    ["--timeout", "0", "ls"], ["--timeout", "x", "ls"], ["--timeout"], ["--dir"],
    ["--fabric-host"], ["--fabric-host", "", "ls"],
]


def usage(cluster, _where):
    for arguments in WRONG:
        result = cluster.pawl(*arguments, code=2)
        check(result.stderr, f"{arguments}: nothing is said")
        check(not result.stdout, f"{arguments}: output with a usage error")
    for verb in VERBS:
        for arguments in ([verb, "--help"], ["--help", verb], [verb, "-h"]):
            result = cluster.pawl(*arguments)
            check(result.stdout.startswith(f"usage: pawl {verb}".encode()), f"{arguments}: no help")
    for arguments in (["--help"], ["-h"]):
        text = cluster.run("pawl", *arguments).stdout.decode()
        check(all(f"\n  {verb} " in text for verb in VERBS), "a verb is missing in the help")
        check("exit codes" in text, "no exit codes in the help")
    check(cluster.run("pawl", "--version").stdout.startswith(b"pawl "), "no version")
    with open("/dev/full", "wb") as full:
        code = subprocess.run([os.path.join(cluster.bin, "pawl"), "--help"], stdout=full,
                              stderr=subprocess.PIPE, check=False).returncode
        check(code == 0, "help is not worth a failure")
        code = subprocess.run([os.path.join(cluster.bin, "pawl"), "--dir", cluster.dir, "servers"],
                              stdout=full, stderr=subprocess.PIPE, check=False).returncode
        check(code == 1, f"a full standard output is not seen: {code}")


def finding(cluster, where):
    """How a cluster is found."""
    def run(*arguments, code=0, config=None):
        environment = {**os.environ, "XDG_DATA_HOME": os.path.join(where, "nothing")}
        environment.pop("PAWL_CONFIG", None)
        if config is not None:
            environment["PAWL_CONFIG"] = config
        result = subprocess.run([os.path.join(cluster.bin, "pawl"), *arguments], env=environment,
                                capture_output=True, timeout=60, check=False)
        check(result.returncode == code,
              f"{arguments} {config}: exit {result.returncode}, wanted {code}: {result.stderr}")
        return result

    good = os.path.join(where, "good.yaml")
    bad = os.path.join(where, "bad.yaml")
    with open(good, "w", encoding="ascii") as file:
        file.write(f"master: {cluster.master}\n")
    with open(bad, "w", encoding="ascii") as file:
        file.write(f"master: {cluster.master}\nnonsense: 1\n")
    check(b"pawl local start" in run("ls", code=3).stderr, "no hint how to begin")
    run("--dir", cluster.dir, "ls")
    run("ls", "--dir=" + cluster.dir)
    run("--master", cluster.master, "ls")
    run("ls", config=good)
    run("--dir", cluster.dir, "ls", config=bad)  # --dir goes first
    run("--master", cluster.master, "ls", config=bad)
    error = run("ls", code=3, config=bad).stderr
    check(b"nonsense" in error and b"no cluster found" not in error, f"a bad file: {error}")
    error = run("ls", code=3, config=os.path.join(where, "missing.yaml")).stderr
    check(b"missing.yaml" in error, f"a missing file: {error}")
    run("--timeout", "0.3", "--master", "127.0.0.1:1", "ls", code=3)
    run("--master", "nonsense", "ls", code=2)


def json_outputs(cluster, _where):
    cluster.pawl("mkdir", "/json")
    cluster.pawl("append", "/json/f", stdin=b"one\n")
    for arguments in (["local", "status"], ["ls", "/json"], ["ls", "/json/f"], ["stat", "/json"],
                      ["stat", "/json/f"], ["stat", "--quick", "/json/f"], ["servers"], ["doctor"]):
        cluster.json(*arguments)
    placed = [finding["found"] for finding in cluster.json("doctor") if finding["check"] == "placement"]
    check(placed and all("hardware threads in this order: " in found for found in placed), f"doctor: placement {placed}")
    check([e["name"] for e in cluster.json("ls", "/json")] == ["f"], "ls --json")
    check(cluster.json("stat", "/json/f")["bytes"] == 4, "stat --json")
    write_log(cluster)
    check(not cluster.pawl("--json", "stat", "/json/none", code=1).stdout, "JSON of nothing")


def write_log(cluster):
    """stat tells of a write log once there is one."""
    chunk = cluster.json("stat", "/json/f")["chunks"][0]
    check((chunk["log_chunks"], chunk["log_bytes"]) == (0, 0), f"a log that is not there: {chunk}")
    check(b"written to" not in cluster.pawl("stat", "/json/f").stdout, "a log that is not there")
    cluster.pawl("write", "--offset", "1", "/json/f", stdin=b"n")
    chunk = cluster.json("stat", "/json/f")["chunks"][0]
    check(chunk["log_chunks"] == 1 and not chunk["log_under_replicated"], f"stat of a write log: {chunk}")
    check(b"written to: a log of 1 chunks" in cluster.pawl("stat", "/json/f").stdout, "stat: write log")


def put_twice(cluster, where):
    source = os.path.join(where, "source")
    copy = os.path.join(where, "copy")
    open(source, "wb").close()
    for expected in (0, 0):
        result = cluster.json("put", source, "/empty")
        check(result["records"] == expected and result["bytes"] == 0, f"empty put: {result}")
    check(cluster.json("get", "/empty", copy)["bytes"] == 0, "get of an empty file")
    check(os.path.getsize(copy) == 0, "an empty file has bytes")
    check(cluster.pawl("cat", "/empty").stdout == b"", "cat of an empty file")
    digest = make_file(source, 2500000)
    first = cluster.json("put", source, "/twice")
    check(first["records"] == 3, f"first put: {first}")
    again = cluster.json("put", source, "/twice")
    check(again["records"] == 0 and again["resumed_bytes"] == 2500000, f"second put: {again}")
    cluster.pawl("get", "/twice", copy)
    check(sha256(copy) == digest, "put twice: other bytes")
    # Another record size is another put.
    cluster.pawl("put", "--record-bytes", "64KiB", source, "/twice", code=1)
    # The source changes afterwards.
    with open(source, "ab") as file:
        file.write(b"more")
    result = cluster.pawl("put", source, "/twice", code=1)
    check(b"pawl rm /twice" in result.stderr, f"what to do is not said: {result.stderr}")
    check(cluster.stat("/twice")["bytes"] == 2500000, "a changed source was stored")
    # Somebody else's bytes behind ours.
    digest = make_file(source, 100000, seed=2)
    cluster.pawl("put", source, "/shared")
    cluster.pawl("append", "/shared", stdin=b"x")
    result = cluster.pawl("put", source, "/shared", code=1)
    check(b"somebody else" in result.stderr, f"foreign bytes are not seen: {result.stderr}")
    # Bad sources leave nothing behind, and the message is about them.
    result = cluster.pawl("put", os.path.join(where, "none"), "/none", code=1)
    check(b"none: No such file" in result.stderr, f"missing source: {result.stderr}")
    result = cluster.pawl("put", where, "/none", code=1)
    check(where.encode() in result.stderr, f"directory as source: {result.stderr}")
    cluster.pawl("stat", "/none", code=1)
    result = cluster.pawl("put", "--progress-file", "/nonsense/p", source, "/progress", code=1)
    check(b"/nonsense/p" in result.stderr, f"progress file: {result.stderr}")


def put_changing(cluster, where):
    """A source that grows while it is stored is refused, and that is said."""
    source = os.path.join(where, "growing")
    progress = os.path.join(where, "growing-progress")
    make_file(source, 96 << 20)
    put = cluster.start_put("--depth", "1", "--record-bytes", "64KiB", "--progress-file", progress,
                            source, "/growing")
    wait_for_bytes(progress, put, 1 << 20)
    with open(source, "ab") as file:
        file.write(b"x" * 100)
    error = put.communicate(timeout=120)[1]
    check(put.returncode == 1, f"put of a growing file: exit {put.returncode}")
    check(b"pawl rm /growing" in error, f"what to do is not said: {error}")


def put_killed(cluster, where):
    """SIGKILL of the put itself; the second run goes on."""
    source = os.path.join(where, "killed")
    progress = os.path.join(where, "killed-progress")
    size = (96 << 20) + 12345
    digest = make_file(source, size, seed=3)
    for turn in (1, 2):
        put = cluster.start_put("--depth", "8", "--record-bytes", "128KiB", "--progress-file", progress,
                                source, "/killed")
        wait_for_bytes(progress, put, turn * size // 4)
        put.send_signal(signal.SIGKILL)
        put.communicate(timeout=60)
        check(put.returncode == -signal.SIGKILL, "put was over before the kill")
    result = cluster.json("put", "--record-bytes", "128KiB", source, "/killed")
    check(result["resumed_bytes"] >= size // 2, f"did not go on: {result}")
    check(result["bytes"] == size, f"not all bytes: {result}")
    check(cluster.stat("/killed")["bytes"] == size, "another length: records are missing or doubled")
    cluster.pawl("get", "/killed", os.path.join(where, "copy"))
    check(sha256(os.path.join(where, "copy")) == digest, "SHA-256 differs")


def standard_input(cluster, _where):
    data = os.urandom(3000000)
    cluster.pawl("put", "-", "/stdin", stdin=data)
    check(cluster.pawl("cat", "/stdin").stdout == data, "put -: other bytes")
    cluster.pawl("put", "-", "/stdin", code=1, stdin=data)  # it could only be added again
    check(cluster.stat("/stdin")["bytes"] == len(data), "put - twice stored twice")
    cluster.pawl("put", "-", "/stdin-empty", stdin=b"")
    check(cluster.stat("/stdin-empty")["bytes"] == 0, "put - of nothing")


def append_lines(cluster, where):
    lines = b"".join(b"line %d\n" % i for i in range(50)) + b"\n\0odd\xff\nno newline"
    for expected in (b"53 records appended, 0 were", b"0 records appended, 53 were"):
        out = cluster.pawl("append", "--lines", "--producer", "p", "/lines", stdin=lines).stdout
        check(expected in out, f"append --lines: {out}")
    check(cluster.pawl("cat", "/lines").stdout == lines, "append --lines: other bytes")
    out = cluster.pawl("append", "--lines", "--producer", "p", "/lines", stdin=lines + b"\nmore\n").stdout
    check(b"1 records appended" in out or b"2 records appended" in out, f"append of more lines: {out}")
    shown = cluster.pawl("--json", "append", "--lines", "/json-lines", stdin=b"a\nbb\n").stdout
    offsets = [json.loads(line)["offset"] for line in shown.splitlines()]
    check(offsets == [0, 2], f"append --json: {shown}")
    result = cluster.pawl("append", "/new", os.path.join(where, "none"), code=1)
    check(b"none" in result.stderr, f"missing source: {result.stderr}")
    cluster.pawl("stat", "/new", code=1)  # was not created
    source = os.path.join(where, "large")
    make_file(source, 3000000)
    cluster.pawl("append", "--record-bytes", "100000", "/large", source)
    check(cluster.stat("/large")["bytes"] == 3000000, "append of a file")
    result = cluster.pawl("append", "--lines", "/large", code=1, stdin=b"ok\n" + b"x" * (17 << 20))
    check(b"1 records of this run are stored" in result.stderr, f"a long line: {result.stderr}")


def reading(cluster, where):
    data = os.urandom(1 << 20)
    cluster.pawl("put", "--record-bytes", "10000", "--chunk-bytes", "64KiB", "-", "/read", stdin=data)
    chunks = cluster.stat("/read")["chunks"]
    check(len(chunks) > 16, f"only {len(chunks)} chunks")
    for offset, length in ((0, 1), (9999, 2), (65530, 100000), ((1 << 20) - 3, 100), (1 << 20, 5),
                           (1 << 40, 5), (5, 0), (0, 1 << 62)):
        out = cluster.pawl("cat", "--offset", str(offset), "--length", str(length), "/read").stdout
        check(out == data[offset:offset + length], f"cat {offset} {length}: {len(out)} bytes")
    check(cluster.pawl("cat", "--offset", "1000000", "/read").stdout == data[1000000:], "cat --offset")
    copy = os.path.join(where, "part")
    with open(copy, "wb") as file:
        file.write(b"old")
    os.chmod(copy, 0o600)
    cluster.pawl("get", "--offset", "100", "--length", "70001", "/read", copy)
    with open(copy, "rb") as file:
        check(file.read() == data[100:70101], "get of a part")
    check(os.stat(copy).st_mode & 0o777 == 0o600, "get changed the file's mode")
    name = chunks[0]["replicas"][0]["name"]
    check(cluster.pawl("cat", "--server", name, "--length", "1000", "/read").stdout == data[:1000],
          "cat --server")
    result = cluster.pawl("cat", "--server", "nobody", "/read", code=1)
    check(b"no chunk server nobody" in result.stderr, f"cat --server nobody: {result.stderr}")
    result = cluster.pawl("get", "/read", os.path.join(where, "no", "such"), code=1)
    check(b"no/such: No such file" in result.stderr, f"get to nowhere: {result.stderr}")
    result = cluster.pawl("get", "/read", where, code=1)
    check(where.encode() in result.stderr, f"get onto a directory: {result.stderr}")
    cluster.pawl("get", "/read", "/dev/full", code=1)
    cluster.pawl("get", "/read", "/dev/null")
    check(not os.path.isfile("/dev/null"), "a device was replaced")
    check(not os.path.exists(copy + ".part"), "a part was left behind")
    cluster.pawl("cat", "/", code=1)
    cluster.pawl("cat", "/none", code=1)
    pipe = subprocess.Popen([os.path.join(cluster.bin, "pawl"), "--dir", cluster.dir, "cat", "/read"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pipe.stdout.close()  # as `| head` does
    pipe.stderr.close()
    check(pipe.wait(60) != 0, "cat into a closed pipe")


def names(cluster, _where):
    def ls(path):
        return cluster.pawl("ls", path).stdout.decode().splitlines()

    cluster.pawl("mkdir", "/a/b/c", code=1)
    cluster.pawl("mkdir", "-p", "/a/b/c")
    cluster.pawl("mkdir", "-p", "/a/b/c")
    cluster.pawl("mkdir", "/a", code=1)
    cluster.pawl("mkdir", "/m1", "/a", "/m2", code=1)  # the others are made
    check({"m1/", "m2/"} <= set(ls("/")), "mkdir stopped at the first error")
    cluster.pawl("append", "/a/f", stdin=b"f")
    cluster.pawl("append", "/a/g", stdin=b"gg")
    result = cluster.pawl("mv", "/a/f", "/a/g", code=1)
    check(b"/a/g" in result.stderr, f"mv onto a file: {result.stderr}")
    check(cluster.pawl("cat", "/a/g").stdout == b"gg", "mv replaced a file")
    cluster.pawl("mv", "/a/f", "/a/b/h")
    check(ls("/a") == ["b/", "g"] and ls("/a/b") == ["c/", "h"], "mv")
    cluster.pawl("mv", "/none", "/other", code=1)
    cluster.pawl("mv", "/a", "/a/b/inside", code=2)
    cluster.pawl("mkdir", "/a/g/below", code=1)  # below a file
    cluster.pawl("mkdir", "-p", "/a/g", code=1)
    cluster.pawl("rm", "/a", code=1)
    cluster.pawl("rm", "-r", "/a")
    cluster.pawl("ls", "/a", code=1)
    cluster.pawl("rm", "/a", code=1)
    cluster.pawl("ls", "relative", code=2)
    odd = ["/odd", "/odd/with space", "/odd/ünï©ödé", "/odd/-dash", "/odd/a'b\"c\\d", "/odd/%s%n",
           "/odd/" + "x" * 255]
    cluster.pawl("mkdir", odd[0])
    for path in odd[1:]:
        cluster.pawl("append", path, stdin=path.encode())
        check(cluster.pawl("cat", path).stdout == path.encode(), f"odd name {path}")
        cluster.json("stat", path)
    wanted = sorted((os.path.basename(path) for path in odd[1:]), key=lambda name: name.encode())
    check([e["name"] for e in cluster.json("ls", "/odd")] == wanted, "odd names in ls --json")
    for bad in ("/odd/new\nline", "/odd/\x7f", b"/odd/\xff\xfe"):
        cluster.pawl("mkdir", bad if isinstance(bad, str) else os.fsdecode(bad), code=2)
    cluster.pawl("mkdir", "/odd/" + "x" * 256, code=1)


def many(cluster, _where):
    """More entries and more chunks than a page has."""
    paths = [f"/many/{i:04d}" for i in range(600)]
    cluster.pawl("mkdir", "/many")
    for i in range(0, len(paths), 200):
        cluster.pawl("mkdir", *paths[i:i + 200])
    names_seen = [e["name"] for e in cluster.json("ls", "/many")]
    check(names_seen == [os.path.basename(path) for path in paths], f"{len(names_seen)} of 600 entries")
    cluster.pawl("rm", "-r", "/many")
    size = 300 * 65536
    data = os.urandom(1 << 16) * 300
    cluster.pawl("put", "--record-bytes", "16KiB", "--chunk-bytes", "64KiB", "--replicas", "1", "-",
                 "/pages", stdin=data)
    chunks = cluster.stat("/pages")["chunks"]
    check([chunk["index"] for chunk in chunks] == list(range(len(chunks))) and len(chunks) >= 300,
          f"{len(chunks)} chunks")
    check(cluster.pawl("cat", "/pages").stdout == data, "bytes of many chunks")
    check(cluster.stat("/pages")["bytes"] == size, "length of many chunks")


def fabric_host(cluster, _where):
    """The own address for the data: used, and not looked for elsewhere when it is wrong."""
    cluster.pawl("--fabric-host", "127.0.0.1", "put", "-", "/host", stdin=b"bytes")
    check(cluster.pawl("cat", "/host", "--fabric-host=127.0.0.1").stdout == b"bytes", "other bytes")
    error = cluster.pawl("--fabric-host", "192.0.2.1", "cat", "/host", code=1).stderr
    check(b"192.0.2.1" in error, f"an address of nobody here: {error}")
    cluster.pawl("--fabric-host", "192.0.2.1", "ls", "/")  # carries no data


# What doctor looks at on any machine, and what its findings begin with there.
DOCTOR = ["kernel", "fabric tcp", "fabric verbs", "localhost", "tcp congestion", "memlock", "huge pages", "topology", "placement", "NUMA",
          "io_uring", "O_DIRECT", "disk flushes"]


def doctor_of(cluster, *options, prepare=None):
    """Findings by check, of a pawl that is started as `prepare` leaves the process."""
    result = subprocess.run([os.path.join(cluster.bin, "pawl"), *options, "--json", "doctor"], capture_output=True,
                            preexec_fn=prepare, timeout=60, check=False)
    check(result.returncode == 0, f"doctor: exit {result.returncode} {result.stderr}")
    return {finding["check"]: finding for finding in json.loads(result.stdout)}


def doctor(cluster, where):
    """It tells what the process may use, not what the machine has, and what to do about each note."""
    findings = doctor_of(cluster, "--dir", where)
    check(all(name in findings for name in DOCTOR), f"doctor looks at {list(findings)} only")
    for finding in findings.values():
        check(finding["ok"] == (not finding["advice"]), f"doctor: advice for what is not well: {finding}")
    check(findings["fabric tcp"]["ok"], f"doctor: {findings['fabric tcp']}")
    cores = sorted(os.sched_getaffinity(0))
    check(f"{len(cores)} hardware threads" in findings["topology"]["found"], f"doctor: {findings['topology']}")

    one = doctor_of(cluster, prepare=lambda: os.sched_setaffinity(0, cores[-1:]))
    check(one["topology"]["found"].startswith("1 cores, 1 hardware threads"), f"doctor: {one['topology']}")
    placed = one["placement"]["found"]
    check(f" in this order: {cores[-1]} of node" in placed and "`reactors: auto` is 1;" in placed, f"doctor: {placed}")

    small = doctor_of(cluster, prepare=lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 20, 1 << 20)))["memlock"]
    check(not small["ok"] and small["found"] == "1.0 MiB" and "LimitMEMLOCK" in small["advice"], f"doctor: {small}")

    lines = cluster.pawl("doctor").stdout.decode().splitlines()
    for line, behind in zip(lines, lines[1:] + [""]):
        check(line.startswith(("ok ", "note ", " ")), f"doctor says: {line}")
        check(not line.startswith("note ") or behind.strip().startswith("-> "), f"doctor gives no advice: {line}")


PARTS = [usage, doctor, finding, fabric_host, json_outputs, put_twice, put_killed, put_changing, standard_input, append_lines,
         reading, names, many]


def run(cluster, arguments):
    wanted = arguments or [part.__name__ for part in PARTS]
    failed = []
    for part in PARTS:
        if part.__name__ not in wanted:
            continue
        where = os.path.join(cluster.dir, "test-" + part.__name__)
        os.makedirs(where)
        begin = time.monotonic()
        try:
            part(cluster, where)
            say(f"{part.__name__}: well, {time.monotonic() - begin:.1f} s")
        except Failed as failure:
            say(f"{part.__name__}: {failure}")
            failed.append(part.__name__)
    check(not failed, f"failed: {', '.join(failed)}")


main(run)
