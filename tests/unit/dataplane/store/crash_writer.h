// SPDX-License-Identifier: Apache-2.0
// A writer that keeps a store busy and notes what it was told, and the check of a store against that.
#ifndef PAWL_TESTS_CRASH_WRITER_H
#define PAWL_TESTS_CRASH_WRITER_H

#include <stdatomic.h>

#include "base/random.h"
#include "store_fixture.h"

#define CRASH_CHUNKS 4u
#define CRASH_DEPTH 12u
#define CRASH_RECORDS 150u           // of a chunk, before it is sealed or dropped
#define CRASH_CHUNK_BYTES (3u << 20) // they fill enough of it for its file to be used again

// What the writer was told. May lie in memory that outlives its process.
struct told {
    _Atomic uint64_t completed_count;
    _Atomic uint64_t records[CRASH_CHUNKS]; // completed from the first one on without a gap
    _Atomic uint64_t started[CRASH_CHUNKS];
    _Atomic uint64_t version[CRASH_CHUNKS];
    _Atomic uint64_t life[CRASH_CHUNKS];    // a sealed or dropped chunk begins anew: 1, 2, ...
    _Atomic uint64_t dropped[CRASH_CHUNKS]; // life that is gone for certain
    _Atomic uint64_t sealed[CRASH_CHUNKS];  // life that is sealed for certain
    // Which try at a record was the last one. Tries differ, and one that was cut must not come back.
    _Atomic uint32_t tries_count;
    _Atomic uint32_t tries[CRASH_CHUNKS][CRASH_RECORDS];
};

struct writer;

// Takes up where the store stands. BORROWS both UNTIL free.
struct writer *writer_new(struct store *store, struct told *told, uint64_t seed);
// After the store was closed. NULL is fine.
void writer_free(struct writer *writer);
// Starts something if there is room, and polls once. Aborts when the store reports an error.
void writer_step(struct writer *writer);

// NULL if f's store holds at least what the writer was told, and nothing that it never began; else why.
const char *told_broken(struct fixture *f, const struct told *told);

#endif
