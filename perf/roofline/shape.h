// SPDX-License-Identifier: Apache-2.0
// Inside of the roofline: sizes and layouts of what is sent and stored, by Pawl's own structs.
//
// Messages. A frame (as long as a wire_header), then `count` entries, which are as long as what Pawl's messages have
// behind their header. Small records of one client travel in runs, as Pawl's do: one entry for up to WIRE_RUN_MAX of
// them, then a wire_run_row for each, then their payloads, so that rows and payloads are no longer than
// WIRE_RUN_BYTES_MAX. A record alone has no row. What follows an entry is padded to 8 bytes. One APPENDED answers a run.
// Journal. A batch (as long as a disk_batch), then entries, each a journal_entry (as long as a disk_entry) and the
// payload of a small record, or rows and payloads of a run, padded to 8 bytes; the batch is padded to the block of the
// disk.
// Pure: no clock, no I/O.
#ifndef PAWL_PERF_ROOFLINE_SHAPE_H
#define PAWL_PERF_ROOFLINE_SHAPE_H

#include <assert.h>

#include "perf/roofline/roofline.h"
#include "proto/disk.h"
#include "proto/wire.h"

#define SHAPE_PAGE_BYTES 4096u
#define SHAPE_JOURNALED_MAX                                                                        \
    (32u << 10) // larger records are written in place, as dataplane/store does
#define SHAPE_MESSAGE_MAX (256u << 10) // a batch of inline records is no longer than this
#define SHAPE_MAGIC 0x4c465250u        // "PRFL"

enum frame_type {
    FRAME_WELCOME = 1, // acceptor to connector: its window
    FRAME_APPEND,      // client to primary
    FRAME_PREPARE,     // to the next hops
    FRAME_PREPARED,    // back: everything below `first`
    FRAME_APPENDED,    // primary to client
    FRAME_SLICE,       // a part of a payload is in place, more is to come
    FRAME_READ,        // client to server
    FRAME_READ_DONE,   // back
    FRAME_PING,        // of the wire's check
    FRAME_TYPES
};

struct frame {
    uint32_t magic;
    uint16_t type;
    uint16_t reserved;
    uint32_t bytes; // of the whole message
    uint32_t count; // entries
    uint64_t first; // PREPARED: all indices below; others: 0
    uint64_t reserved2;
};
static_assert(sizeof(struct frame) == sizeof(struct wire_header), "frame");

struct frame_welcome {
    struct frame frame;
    uint64_t address;
    uint64_t key;
    uint64_t slots_count;
    uint64_t slot_bytes;
    uint8_t reserved[sizeof(struct wire_welcome) - sizeof(struct wire_header) - 32];
};
static_assert(sizeof(struct frame_welcome) == sizeof(struct wire_welcome), "frame_welcome");

// Of APPEND and SLICE.
struct append_entry {
    uint64_t sequence; // of the client, from 0; of a run: the first one's
    uint32_t client;
    uint32_t length; // of a run: of all its payloads
    uint64_t offset; // of the slice that has landed
    uint32_t bytes;  // of that slice; 0: the payload is in the message
    uint32_t crc;    // of the payload, where checksums are a duty; of runs each row has its own
    uint64_t index;  // of a slice between servers
    uint32_t count;  // records
    uint8_t reserved2[sizeof(struct wire_append) - sizeof(struct wire_header) - 44];
};
static_assert(sizeof(struct append_entry) == sizeof(struct wire_append) - sizeof(struct frame),
              "append_entry");

struct prepare_entry {
    uint64_t index; // of a run: the first one's, as the sequence
    uint64_t sequence;
    uint32_t client;
    uint32_t length;
    uint64_t offset;
    uint32_t bytes;
    uint32_t crc;
    uint32_t count;
    uint8_t reserved2[sizeof(struct wire_prepare) - sizeof(struct wire_header) - 44];
};
static_assert(sizeof(struct prepare_entry) == sizeof(struct wire_prepare) - sizeof(struct frame),
              "prepare_entry");

struct frame_prepared {
    struct frame frame;
    uint8_t reserved[sizeof(struct wire_prepared) - sizeof(struct wire_header)];
};
static_assert(sizeof(struct frame_prepared) == sizeof(struct wire_prepared), "frame_prepared");

struct appended_entry {
    uint64_t sequence; // of a run: the last one's, as the index
    uint64_t index;
    uint8_t reserved[sizeof(struct wire_appended) - sizeof(struct wire_header) - 16];
};
static_assert(sizeof(struct appended_entry) == sizeof(struct wire_appended) - sizeof(struct frame),
              "appended_entry");

struct frame_read {
    struct frame frame;
    uint64_t sequence;
    uint64_t offset;
    uint64_t address;
    uint64_t key;
    uint32_t length;
    uint32_t client;
    uint8_t reserved[sizeof(struct wire_read) - sizeof(struct wire_header) - 40];
};
static_assert(sizeof(struct frame_read) == sizeof(struct wire_read), "frame_read");

struct frame_read_done {
    struct frame frame;
    uint64_t sequence;
    uint32_t length;
    uint8_t reserved[sizeof(struct wire_read_done) - sizeof(struct wire_header) - 12];
};
static_assert(sizeof(struct frame_read_done) == sizeof(struct wire_read_done), "frame_read_done");

struct journal_batch {
    uint32_t magic;
    uint32_t bytes; // without the padding at its end
    uint32_t count;
    uint8_t reserved[sizeof(struct disk_batch) - 12];
};
static_assert(sizeof(struct journal_batch) == sizeof(struct disk_batch), "journal_batch");

#define JOURNAL_HERE UINT64_MAX
struct journal_entry {
    uint32_t magic;
    uint32_t bytes; // payload and padding included
    uint64_t index;
    uint64_t sequence;
    uint32_t client;
    uint32_t length;
    uint64_t place; // in the data file; JOURNAL_HERE: the payload follows
    uint32_t count; // records, the first of which is this one
    uint8_t reserved[sizeof(struct disk_entry) - 44];
};
static_assert(sizeof(struct journal_entry) == sizeof(struct disk_entry), "journal_entry");

// What follows from the options.
struct shape {
    uint32_t record_bytes, depth, clients, replicas;
    uint32_t outstanding; // records in flight, all clients
    bool is_pushed;       // payloads travel by one-sided writes
    bool is_in_place;     // payloads are written to the data file, not to the journal
    uint32_t slot_bytes;  // of a window
    uint32_t run_max;     // records of a run; 1: they go alone
};

void shape_init(struct shape *shape, const struct roofline_options *options);
// Records that one message carries, at most.
uint32_t shape_message_records(const struct shape *shape, uint32_t batch);
uint32_t shape_rows_bytes(uint32_t run_records); // in front of a run's payloads
uint32_t shape_run_bytes(const struct shape *shape,
                         uint32_t run_records); // what follows its entry: rows and payloads, padded
// Of messages with so many records of one client, in as few runs as can be.
uint32_t shape_append_bytes(const struct shape *shape, uint32_t records);
uint32_t shape_prepare_bytes(const struct shape *shape, uint32_t records);
// Of the longest ones with so many records: each is alone.
uint32_t shape_append_bytes_max(const struct shape *shape, uint32_t records);
uint32_t shape_prepare_bytes_max(const struct shape *shape, uint32_t records);
uint32_t shape_appended_bytes(uint32_t runs);
// Of the journal, for a run or a record alone.
uint32_t shape_entry_bytes(const struct shape *shape, uint32_t run_records);
// A batch of the journal with so many records, in as few runs as can be.
uint32_t shape_journal_bytes(const struct shape *shape, uint32_t records);
// Room for a batch of the journal, padded to a page.
uint64_t shape_batch_bytes(const struct shape *shape, uint32_t records);

// Next hops of server `index`: returns how many, 0 to 2. ROOFLINE_ROUTE_BEST: for whichever route comes.
uint32_t shape_next_hops(enum roofline_route route, uint32_t replicas, uint32_t index,
                         uint32_t ret_hops[2]);

// NULL, or what is wrong with a message.
const char *shape_frame_check(const void *message, uint32_t bytes);

// The payload of a record: words that belong to client, sequence and position. Without `is_whole` only the
// first 16 bytes are written, which costs a measurement nothing.
void shape_payload_fill(void *payload, uint32_t bytes, uint32_t client, uint64_t sequence,
                        bool is_whole);
bool shape_payload_is(const void *payload, uint32_t bytes, uint32_t client, uint64_t sequence);

// Records of one server's files, by how often each was seen.
struct shape_found {
    uint8_t *seen; // clients * records_max
    uint64_t found_count;
    uint64_t places_end; // of the data file
    const char *why;     // what is wrong; NULL: nothing
};
// Walks the batches of a journal. `data`: what stands in the data file. Returns entries, or -EBADMSG.
int64_t shape_journal_walk(const struct shape *shape, const uint8_t *journal, uint64_t bytes,
                           const uint8_t *data, uint64_t data_bytes, uint32_t block_bytes,
                           uint64_t records_max, struct shape_found *found);

#endif
