# SPDX-License-Identifier: Apache-2.0
"""Records flow on into the next chunk when one is full: none split, none lost.

BIN
"""
import os

from harness import check, main, make_file, say, scaled, sha256


def run(cluster, _arguments):
    source = os.path.join(cluster.dir, "source")
    copy = os.path.join(cluster.dir, "copy")
    record, chunk_bytes, size = 100_000, 1 << 20, scaled(20_000_000, least=5_000_000)
    digest = make_file(source, size)
    cluster.pawl("put", "--chunk-bytes", str(chunk_bytes), "--record-bytes", str(record), source,
                 "/full")
    chunks = cluster.stat("/full")["chunks"]
    check(len(chunks) >= size // chunk_bytes, f"only {len(chunks)} chunks")
    base = 0
    for chunk in chunks[:-1]:
        check(chunk["state"] == "sealed", f"chunk {chunk['index']} is {chunk['state']}")
        check(chunk["base_offset"] == base, f"chunk {chunk['index']}: gap")
        check(chunk["length"] % record == 0, f"chunk {chunk['index']}: a record was split")
        check(chunk["length"] + record > chunk_bytes, f"chunk {chunk['index']}: sealed early")
        check(not chunk["under_replicated"], f"chunk {chunk['index']}: under-replicated")
        base += chunk["length"]
    check(chunks[-1]["base_offset"] == base, "last chunk: gap")
    cluster.pawl("get", "/full", copy)
    check(sha256(copy) == digest, "SHA-256 differs")
    for server in ("cs1", "cs2", "cs3"):
        whole = os.path.join(cluster.dir, server + ".copy")
        if chunks[-1]["primary"] == server:
            cluster.pawl("get", "--server", server, "/full", whole)
            check(sha256(whole) == digest, f"SHA-256 differs on {server}")
    say(f"{len(chunks)} chunks")


main(run)
