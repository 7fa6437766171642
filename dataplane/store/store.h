// SPDX-License-Identifier: Apache-2.0
// The store: chunks of one reactor on one directory: a journal with group commit and chunk files.
//
// OWNS: the directory (locked), the journal's segments and their images in memory, chunk files, an io_uring, its
// buffers.
// Thread: the reactor that polls it. Nothing blocks but store_open() and store_close().
//
// Every mutating call is asynchronous: it is queued, joins a group commit, and ends in exactly one
// completion with its token, in store_poll(), after it is on stable storage. Calls of one chunk take
// effect in the order in which they were made. Completions of records may overtake
// each other; after a crash a chunk holds a prefix of its records (a hole cuts the log there), at
// least as long as what was completed contiguously.
//
// Small records (payload <= inline_max_bytes) commit inside the journal and are written back to their
// chunk file when the journal's segment is recycled; those that queue up for a recycled file go there at once, many by
// one write, and are no more than rows in the journal. A large one is written to its chunk file at an
// aligned place, then its entry commits in the journal; it is durable before, or by the same flush. A
// sealed chunk's file ends with a checksummed footer (record table, inherited producer table, version)
// and describes itself.
//
// A write or flush error takes the store out of service: every pending and later mutation completes
// with that error, reads go on; store_failed() tells. A want of descriptors or memory when a file is opened is no such
// error: mutations wait until it is over, reads end with PAWL_EBUSY.
//
// A mutating call that returns a code has done nothing and completes nothing: PAWL_ENOCHUNK,
// PAWL_ENOSPACE (space_limit_bytes, or the file system is nearly full), PAWL_ELIMIT, PAWL_EDAMAGED
// (appends to a damaged chunk), -EINVAL (not the next record, sealed, out of range), -ENOMEM. When the
// journal is full, operations wait; they never fail for that.
//
// Bytes that don't match their checksum, or that the disk can't read: a record's payload makes reads of it fail with PAWL_ECORRUPT;
// a journal entry's header, or a footer, makes the chunks that may have lost something `damaged`, for
// good; a journal segment that is missing or truncated makes store_open() refuse.
#ifndef PAWL_DATAPLANE_STORE_H
#define PAWL_DATAPLANE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "proto/records.h"

struct store;

#define STORE_JOURNAL_SEGMENT_BYTES (32u << 20)     // of a segment, and
#define STORE_JOURNAL_SEGMENTS 4u                   // so many, unless the options say otherwise
#define STORE_JOURNAL_BYTES_MAX (UINT64_C(1) << 30) // of all of them: they are kept in memory

struct store_options {
    const char *dir;
    uint64_t space_limit_bytes;      // 0: the file system's
    uint32_t journal_segment_bytes;  // 0: 32 MiB
    uint32_t journal_segments_count; // 0: 4
    uint32_t inline_max_bytes;       // 0: 32 KiB; at most 64 KiB
    uint32_t group_bytes_min;        // of small records that go into their place at once; 0: 32 KiB
    uint32_t stores_count;           // of this process, on the same file system; 0: 1
    bool no_direct;                  // tests: don't use O_DIRECT
    bool no_uring;                   // tests, kernels without it: a fall-back
    uint32_t lock_ms;                // to wait for who has it: a killed process may take a moment
    void *fixed_memory;              // region for registered buffers, or NULL
    size_t fixed_bytes;
};

struct store_chunk {
    uint64_t handle;
    uint64_t version; // promised
    uint64_t file_id;
    uint64_t base_offset;
    uint64_t chunk_bytes;
    uint32_t index; // in the file
    bool sealed;
    bool damaged;          // recovery met bad bytes in the middle
    uint64_t commit_count; // highest known when the last record was written; at creation 0,
                           // or of a copy what it is to hold
    const struct pawl_records *records; // BORROWS UNTIL the next mutating call on this chunk
    uint64_t records_count;
    const struct wire_producer *producers; // inherited table, as given at creation
    uint32_t producers_count;
    uint64_t written_handle; // chunks of a write log: the chunk that it is about
    uint64_t zero_bytes;     // a chunk of so many zeros, without records; never set with the other
};

static inline struct pawl_record store_chunk_record(const struct store_chunk *chunk, uint64_t index)
{
    return pawl_records_at(chunk->records, index);
}

struct store_completion {
    uint64_t token;
    int status;
    const void *data; // reads: the bytes asked for, inside the caller's buffer
    uint32_t bytes;
    bool is_record; // reads: the bytes are a whole record, and `crc` is its checksum
    uint32_t crc;
    uint64_t chunk; // reads that found damage: where
    uint64_t record_index;
};

// Opens or creates a store: replays the journal, verifies what it needs, cuts a torn tail (logged).
// Errors: -EBUSY locked by another process for lock_ms, PAWL_EFORMAT for an unknown format, -errno.
int store_open(const struct store_options *options, struct store **ret_store) PAWL_MUST_CHECK;
// Flushes what is pending and closes. NULL is fine.
void store_close(struct store *store);

// A small value that the server keeps beside its chunks (server id, cluster id): durable at return.
// -ENOENT: none was set yet.
int store_identity_get(struct store *store, uint64_t *ret_server_id,
                       uint64_t *ret_cluster_id) PAWL_MUST_CHECK;
int store_identity_set(struct store *store, uint64_t server_id,
                       uint64_t cluster_id) PAWL_MUST_CHECK;

// The same of a store that is not open, and without opening it: 0 for ids that were not set. -ENOENT: there is no
// store, or none yet.
int store_identity_peek(const char *dir, uint64_t *ret_server_id,
                        uint64_t *ret_cluster_id) PAWL_MUST_CHECK;

// Calls visit for every chunk (at start-up, or for inventories).
void store_visit(struct store *store, void (*visit)(void *user, const struct store_chunk *chunk),
                 void *user);

// Creates an empty chunk (COPIES chunk and its producers; records are ignored). An existing empty
// chunk of an older version is replaced; otherwise -EEXIST.
int store_create(struct store *store, const struct store_chunk *chunk,
                 uint64_t token) PAWL_MUST_CHECK;

// Appends record number `index` (must be the chunk's next). BORROWS payload UNTIL completion; payloads
// above inline_max_bytes are aligned to 4096 with room to round up for O_DIRECT, or they are copied
// through an own buffer. commit_count rides along.
int store_append(struct store *store, uint64_t handle, uint64_t index,
                 const struct pawl_record *record, const void *payload, uint64_t commit_count,
                 uint64_t token) PAWL_MUST_CHECK;

// Appends a run: `count` records from number `index` on, of which `first` is the first and the others follow from
// their rows (rows[0] is the first's). Their payloads lie behind each other; all commit in the journal, whatever
// inline_max_bytes says. One completion; a crash may leave a part of it. The same otherwise.
int store_append_run(struct store *store, uint64_t handle, uint64_t index,
                     const struct pawl_record *first, const struct wire_run_row *rows,
                     uint32_t count, const void *payload, uint64_t commit_count,
                     uint64_t token) PAWL_MUST_CHECK;

// Makes the promise to a newer version durable.
int store_promise(struct store *store, uint64_t handle, uint64_t version,
                  uint64_t token) PAWL_MUST_CHECK;

// Freezes the chunk at count records; later ones are dropped. Durable at completion; the footer may
// follow in the background. PAWL_EBUSY while another seal of this chunk is under way.
int store_seal(struct store *store, uint64_t handle, uint64_t version, uint64_t count,
               uint64_t token) PAWL_MUST_CHECK;

// Deletes the chunk; its space comes back after completion. The handle may be created anew at once.
int store_drop(struct store *store, uint64_t handle, uint64_t token) PAWL_MUST_CHECK;

// Reads bytes [offset, offset+length) of the chunk, or a prefix of them that is at least one record's
// part, into `buffer`; every record that is touched is read whole and verified. On success
// data/bytes tell where inside the buffer the bytes lie. PAWL_ECORRUPT: a record failed its checksum
// (chunk and record_index say which). Buffer: aligned to 4096; what doesn't fit is left out, but with less than the first
// record needs the read is refused.
int store_read(struct store *store, uint64_t handle, uint64_t offset, uint32_t length, void *buffer,
               size_t buffer_bytes, uint64_t token) PAWL_MUST_CHECK;

// Reads the payload of one record, verified. *ret_record is filled at once.
int store_read_record(struct store *store, uint64_t handle, uint64_t index,
                      struct pawl_record *ret_record, void *buffer, size_t buffer_bytes,
                      uint64_t token) PAWL_MUST_CHECK;

// What these two need of a buffer to give all that they can, as the records lie now; 0: nothing, or it will be refused.
size_t store_read_bytes(struct store *store, uint64_t handle, uint64_t offset, uint32_t length);
size_t store_read_record_bytes(struct store *store, uint64_t handle, uint64_t index);
// The most that store_read_bytes() says: enough for the largest record.
size_t store_read_buffer_bytes(const struct store *store);

// Submits what is queued and returns up to `count` completions.
int store_poll(struct store *store, struct store_completion *completions, int count);

// True while something is queued or in flight.
bool store_busy(const struct store *store);

// Before waiting for the descriptor: 0, or -EAGAIN when store_poll() has work now.
int store_try_wait(struct store *store);
// Descriptor (eventfd of the io_uring) that becomes readable when store_poll() has work.
int store_wait_fd(const struct store *store);

// 0, or the error that took the store out of service.
int store_failed(const struct store *store);

struct store_space {
    uint64_t total_bytes; // what this store may use
    uint64_t used_bytes;
    uint64_t free_bytes;
    uint64_t disk_bytes; // free in the file system, for this store or others
};
void store_space(struct store *store, struct store_space *ret_space);

// What was done with payloads since store_open(). One pass over bytes from memory to memory is a copy; what
// the kernel and the device do is not counted, nor what io.h's fall-back without O_DIRECT makes them do.
struct store_counters {
    uint64_t stored_bytes; // of records that were accepted
    uint64_t
        copied_bytes; // for it: into the journal, together, or because a payload was not aligned
    uint64_t grouped_bytes;      // of those: small records that were written once, in their place
    uint64_t written_back_bytes; // copied later, from the journal's segments to chunk files
    uint64_t read_bytes;         // that reads have returned
    uint64_t
        read_copied_bytes; // for it: out of the journal's memory, or because records lie apart on disk
    uint64_t recycled_files_count; // files of deleted chunks that new ones got
};
const struct store_counters *store_counters(const struct store *store);

// "io_uring, O_DIRECT (512-byte blocks), journal 4 x 32 MiB" for logs and doctor.
const char *store_describe(const struct store *store);

#endif
