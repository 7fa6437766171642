// SPDX-License-Identifier: Apache-2.0
// Producer table of one chunk: what it inherited, carried on by each of its records.
//
// It OWNS its rows. It is the one judge of whether a record may come next: the primary asks it when
// it assigns an index, secondaries, levelling replicas and the loader ask it about what they are
// given, so that no table can go where another one wouldn't.
//
// What it inherited may begin with the ranges of sessions (struct wire_sessions) whose producers may
// start in this chunk. A producer of another session that stands in no row is refused: its row may have
// been dropped, and with it what it has stored.
#ifndef PAWL_DATAPLANE_PRODUCER_TABLE_H
#define PAWL_DATAPLANE_PRODUCER_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/util.h"
#include "proto/wire.h"

struct producer_sessions {
    uint64_t first;
    uint64_t last;
};

struct producer_table {
    const struct pawl_alloc *alloc;
    struct producer_sessions *sessions; // by rising number; none: all
    uint32_t sessions_count;
    struct wire_producer *rows;
    uint32_t *slots; // hash of the producer > row + 1; 0: free
    uint32_t count;
    uint32_t capacity;
    uint32_t slots_count; // 0 or a power of two
};

enum producer_verdict {
    PRODUCER_NEXT = 1, // a new record that may come now
    PRODUCER_REPEATED, // a record (or epoch) that the table has
    PRODUCER_FENCED,   // of an epoch that is not the producer's
    PRODUCER_EARLY,    // a sequence before it is missing
    PRODUCER_ENDED,    // unknown, and its session may not start one
};

void producer_table_init(struct producer_table *table, const struct pawl_alloc *alloc);
void producer_table_fini(struct producer_table *table);

// Forgets all, then COPIES the inherited rows. -ENOMEM; PAWL_EINVALID when a producer stands there
// twice, a row contradicts itself or there are more than WIRE_TABLE_ROWS_MAX.
int producer_table_inherit(struct producer_table *table, const struct wire_producer *rows,
                           uint32_t count) PAWL_MUST_CHECK;

// NULL when the producer is unknown. BORROWS UNTIL the next change.
const struct wire_producer *producer_table_find(const struct producer_table *table,
                                                const struct wire_record_id *id);

// Judges an id that a client brought: the sequence of an epoch record is not looked at.
enum producer_verdict producer_table_judge(const struct producer_table *table,
                                           const struct wire_record_id *id);

// True if a record with exactly this id comes next: also an epoch record's sequence is right.
bool producer_table_admits(const struct producer_table *table, const struct wire_record_id *id);

// True if a record of this id would need a row that there is no room for.
bool producer_table_is_full(const struct producer_table *table, const struct wire_record_id *id);

// Carries the table on by a run of `count` records in `chunk`, the first of which has this id and is admitted. -ENOMEM.
int producer_table_apply(struct producer_table *table, uint64_t chunk,
                         const struct wire_record_id *id, uint32_t count) PAWL_MUST_CHECK;

// The chunk that holds an old record of this producer, or that knows where to ask on: for ids that
// are REPEATED and that `chunk` itself does not hold. 0: none.
uint64_t producer_table_earlier(const struct producer_table *table, uint64_t chunk,
                                const struct wire_record_id *id);

// Rows that a chunk inherits: `producers` (rows of the chunk before, which may lie unaligned) without
// those of sessions outside of `sessions`, behind a row for each of these. Without `sessions` all of
// `producers` as they are. -ENOMEM; PAWL_EINVALID when the ranges don't rise or there are too many.
// *ret_rows (NULL: no row) is the caller's to free.
struct producer_legacy {
    const void *producers;
    uint32_t producers_count;
    const struct producer_sessions *sessions;
    uint32_t sessions_count;
};
int producer_table_legacy(const struct pawl_alloc *alloc, const struct producer_legacy *legacy,
                          struct wire_producer **ret_rows, uint32_t *ret_count) PAWL_MUST_CHECK;

// Writes `table->count` rows in the order of the producer ids; no sessions.
void producer_table_copy_sorted(const struct producer_table *table, struct wire_producer *ret_rows);

#endif
