# SPDX-License-Identifier: Apache-2.0
"""Records flow on into the next chunk when one is full: none split, none lost.

BIN
"""
import os

from harness import check, main, make_file, say, scaled, sha256, undisturbed


RECORD, CHUNK_BYTES = 100_000, 1 << 20


def put(cluster, source, path, size):
    """Returns the path and the file's chunks."""
    cluster.pawl("put", "--chunk-bytes", str(CHUNK_BYTES), "--record-bytes", str(RECORD), source, path)
    chunks = cluster.stat(path)["chunks"]
    check(len(chunks) >= size // CHUNK_BYTES, f"only {len(chunks)} chunks")
    base = 0
    for chunk in chunks[:-1]:
        check(chunk["state"] == "sealed", f"chunk {chunk['index']} is {chunk['state']}")
        check(chunk["base_offset"] == base, f"chunk {chunk['index']}: gap")
        check(chunk["length"] % RECORD == 0, f"chunk {chunk['index']}: a record was split")
        check(chunk["length"] + RECORD > CHUNK_BYTES, f"chunk {chunk['index']}: sealed early")
        check(not chunk["under_replicated"], f"chunk {chunk['index']}: under-replicated")
        base += chunk["length"]
    check(chunks[-1]["base_offset"] == base, "last chunk: gap")
    return path, chunks


def run(cluster, _arguments):
    source = os.path.join(cluster.dir, "source")
    copy = os.path.join(cluster.dir, "copy")
    size = scaled(20_000_000, least=5_000_000)
    digest = make_file(source, size)
    path, chunks = undisturbed(cluster, lambda again: put(cluster, source, f"/full{again}", size))
    cluster.pawl("get", path, copy)
    check(sha256(copy) == digest, "SHA-256 differs")
    primary = chunks[-1]["primary"]
    if primary:  # not yet, if its chunk is that new
        whole = os.path.join(cluster.dir, primary + ".copy")
        cluster.pawl("get", "--server", primary, path, whole)
        check(sha256(whole) == digest, f"SHA-256 differs on {primary}")
    say(f"{len(chunks)} chunks")


main(run)
