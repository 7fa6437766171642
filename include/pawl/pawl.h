// SPDX-License-Identifier: Apache-2.0
// Pawl's client library: append, read and name files of a cluster.
//
// Threads: a struct pawl and everything opened on it belong to one thread at a time; the library
// starts no threads and takes no locks. Open one struct pawl per thread. Work goes on inside calls
// only: a program that has submitted some calls pawl_poll() until they are done.
//
// fork(): the child of a process with an open struct pawl must neither use nor close it; anything else
// is its own affair, exec() too. The parent goes on. Over verbs that needs a kernel that copies pinned
// pages for the child (Linux 5.12 or later; `rdma system` says "copy-on-fork on"); on an older one
// set RDMAV_FORK_SAFE=1 before the first call: a child then lacks the registered pages. Registered are memory of the
// library's own, in whole pages, and what pawl_mem_register() was given. Over tcp a child inherits the sockets, also through exec(): a server sees the end of a
// killed parent when its children have ended too.
//
// Errors: 0, or a negative code of <pawl/error.h>, or a negative errno; pawl_strerror() has the text.
// On failure `ret_` outputs are untouched unless their comment says otherwise.
//
// Options structs begin with their size (`.size = sizeof options`); fields left 0 mean the default.
// NULL for the whole struct means all defaults.
//
// Callbacks of submitted appends and reads may submit further ones and close files; calls that wait and
// pawl_close() are refused in them. A `visit` function may call anything but pawl_close().
#ifndef PAWL_PAWL_H
#define PAWL_PAWL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pawl/api.h>
#include <pawl/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pawl;      // a connection to a cluster
struct pawl_file; // an open file with a producer of its own

// ---- cluster -----------------------------------------------------------------------------------

struct pawl_options {
    size_t size;
    const char *master; // "host:port"; required
    const char
        *provider; // libfabric provider; default "tcp". Only servers that offer it are reached
    const char *fabric_host;   // local address for the fabric; default: chosen by the provider
    uint32_t deadline_ms;      // of every call that names none; default 30,000
    uint32_t depth_max;        // appends in flight per file, and reads; default 32, at most 4096
    uint64_t region_bytes;     // registered memory for payloads under way; default 64 MiB
    uint64_t memory_bytes_max; // of pawl_mem_alloc(), in whole extents; default 1 GiB
};

// Connects. The master must answer within the deadline. *ret is OWNED by the caller: pawl_close().
PAWL_API int pawl_connect(const struct pawl_options *options, struct pawl **ret);

// Closes every file that is still open (pending appends are reported as PAWL_EUNKNOWN to their
// callbacks, reads as PAWL_ESHUTDOWN) and frees all memory. Not in a callback. NULL is ignored.
PAWL_API void pawl_close(struct pawl *pawl);

// Makes progress; waits up to timeout_ms (0: not at all) for something to happen. Callbacks of
// submitted operations run in here. Returns the number of callbacks that ran, or a negative code.
PAWL_API int pawl_poll(struct pawl *pawl, uint32_t timeout_ms);

// ---- registered memory -------------------------------------------------------------------------
//
// Payloads larger than 8 KiB leave directly from memory that is registered with the fabric. From any other
// memory they are copied once, into a region of the library's own. Registering is slow: register at the
// start, use often. A buffer counts as registered when one allocation or one registered range holds all of
// it. Both work in callbacks, too.

// Memory that is registered already; in whole pages, aligned to 4096 bytes, its content undefined. OWNED by
// the caller until pawl_mem_free() or pawl_close(), which frees all of it. NULL, and errno: EINVAL for 0
// bytes; ENOMEM: memory_bytes_max is reached, or memory, or leave to pin it (RLIMIT_MEMLOCK), can't be had;
// others when the fabric can't be opened, which the first call does. It is cheap: nothing is registered but
// extents of 64 MiB or more, which are kept.
PAWL_API void *pawl_mem_alloc(struct pawl *pawl, size_t bytes);
// Gives it back. Not while an append or a read uses it. NULL is ignored; any other pointer that did not come
// from pawl_mem_alloc() of the same struct pawl ends the program.
PAWL_API void pawl_mem_free(struct pawl *pawl, void *memory);

// Registers writable memory of the caller's. BORROWS it UNTIL pawl_mem_unregister() or pawl_close(): it must stay
// mapped until then. Chunk servers that serve a read write into it. Any address and length do; over verbs
// all pages that hold a byte of it are pinned, so that programs that fork on old kernels (see above) begin and
// end it at page borders, with nothing else in them. Opens the fabric. Errors: PAWL_EINVALID for NULL or 0
// bytes; -EEXIST: it overlaps memory that is registered already; -ENOMEM as above; those of the provider.
PAWL_API int pawl_mem_register(struct pawl *pawl, void *memory, size_t bytes);
// `memory`: as it was given to pawl_mem_register(), else PAWL_EINVALID. -EBUSY: a transfer uses it; none does once
// every operation on it has ended.
PAWL_API int pawl_mem_unregister(struct pawl *pawl, void *memory);

struct pawl_server_info {
    uint64_t server_id;
    char name[64];
    char address
        [192]; // on its fabrics: "verbs://10.0.0.1:7500,tcp://10.0.0.1:7501", in its own order
    char location[64];
    char state[16]; // "live", "suspect", "dead"
    uint64_t space_bytes;
    uint64_t used_bytes;
    uint64_t heard_ms; // ago
    uint64_t appends_count;
    uint64_t duplicates_count; // appends answered from the producer table
    uint64_t mismatches_count; // checksums that did not match
    uint32_t chunks_count;
    uint32_t primaries_count;
    // Payload since its start. A copy is one pass over bytes from memory to memory; the fabric's and the disk's are
    // not counted.
    uint64_t stored_bytes;
    uint64_t copied_bytes;       // for it
    uint64_t written_back_bytes; // copied later, from the journal to chunk files
    uint64_t read_bytes;
    uint64_t read_copied_bytes;    // for it
    uint64_t relayed_count;        // payloads that it passed on in a chain
    uint64_t relays_failed_count;  // payloads of its own that a chain did not bring
    uint64_t recycled_files_count; // files of deleted chunks that new ones got
};

struct pawl_cluster_info {
    uint64_t cluster_id;
    uint64_t term;
    uint64_t recoveries_count; // leases taken over after a failure
    uint64_t seals_count;
    uint64_t chunks_count;
    uint64_t under_replicated_count;
};

// Calls visit for every chunk server; `info` may be NULL, visit too. visit returns 0 to go on.
PAWL_API int pawl_servers(struct pawl *pawl, struct pawl_cluster_info *info,
                          int (*visit)(void *user, const struct pawl_server_info *server),
                          void *user);

// ---- names -------------------------------------------------------------------------------------

struct pawl_stat {
    uint64_t file_id;
    uint64_t bytes; // committed, the open tail included when its primary could be asked
    uint64_t chunk_bytes;
    uint64_t created_ms; // wall clock
    uint64_t modified_ms;
    uint32_t chunks_count;
    uint32_t replicas;
    uint32_t min_replicas;
    bool directory;
    bool tail_unknown; // the tail's length could not be learnt: `bytes` is a lower bound
};

#define PAWL_PARENTS 1u   // pawl_mkdir: make missing parents, an existing directory is fine
#define PAWL_RECURSIVE 2u // pawl_remove: a directory with all below it

// pawl_mkdir, pawl_rename, pawl_remove and pawl_create take effect once at most, however often they have to be
// sent. When the client's session ended under way, so that the outcome can't be told: PAWL_EUNKNOWN.
PAWL_API int pawl_mkdir(struct pawl *pawl, const char *path, unsigned flags);
// PAWL_EEXISTS when `to` exists; nothing is ever replaced. Appends under way follow the file.
PAWL_API int pawl_rename(struct pawl *pawl, const char *from, const char *to);
// Appends under way end with PAWL_EDELETED.
PAWL_API int pawl_remove(struct pawl *pawl, const char *path, unsigned flags);
PAWL_API int pawl_stat(struct pawl *pawl, const char *path, struct pawl_stat *ret);
// The same from the master alone: `bytes` counts sealed chunks, tail_unknown says that there is more.
PAWL_API int pawl_stat_sealed(struct pawl *pawl, const char *path, struct pawl_stat *ret);

struct pawl_entry {
    const char *name;      // BORROWED UNTIL visit returns
    struct pawl_stat stat; // bytes of sealed chunks only, tail_unknown set when there is a tail
};
// Entries of a directory in byte order of their names. visit returns 0 to go on.
PAWL_API int pawl_list(struct pawl *pawl, const char *path,
                       int (*visit)(void *user, const struct pawl_entry *entry), void *user);

#define PAWL_REPLICAS_MAX 8
struct pawl_replica_info {
    uint64_t server_id;
    char name[64];
    char address[192]; // as in pawl_server_info
    char state[16];
    bool damaged;
};
struct pawl_chunk_info {
    uint64_t handle;
    uint64_t version;
    uint64_t base_offset; // of its first byte in the file
    uint64_t bytes;       // sealed: final; open: 0
    uint64_t records_count;
    uint64_t lease_ms; // left
    uint64_t primary_id;
    uint32_t index;
    char state[16]; // "new", "open", "sealed", "recovering"
    bool under_replicated;
    uint32_t replicas_count;
    struct pawl_replica_info replicas[PAWL_REPLICAS_MAX];
    uint32_t log_chunks_count; // of its write log; 0: never written to
    uint64_t log_bytes;        // in them, an open one (the last) not counted
    bool log_under_replicated; // one of them is
};
PAWL_API int pawl_chunks(struct pawl *pawl, const char *path,
                         int (*visit)(void *user, const struct pawl_chunk_info *chunk), void *user);

// ---- files -------------------------------------------------------------------------------------

struct pawl_create_options {
    size_t size;
    uint32_t replicas;     // 1..8; default 3
    uint32_t min_replicas; // appends wait below it; default 2, or replicas if that is less
    uint64_t chunk_bytes;  // 64 KiB..1 GiB, a multiple of 4096; default 64 MiB
    bool exclusive;        // PAWL_EEXISTS when the file exists; otherwise it is opened as it is
};
PAWL_API int pawl_create(struct pawl *pawl, const char *path,
                         const struct pawl_create_options *options, struct pawl_file **ret);
PAWL_API int pawl_open(struct pawl *pawl, const char *path, struct pawl_file **ret);
// Pending appends are reported as PAWL_EUNKNOWN, submitted reads as PAWL_ESHUTDOWN, in here; in a callback:
// right after it, reads as soon as no server can write into their memory any more. NULL is ignored.
PAWL_API void pawl_file_close(struct pawl_file *file);

// Largest record that this file takes, in bytes: a quarter of its chunk size, at most 16 MiB.
PAWL_API uint64_t pawl_record_bytes_max(const struct pawl_file *file);

// ---- producers and appends -----------------------------------------------------------------------

// A record id. It is stored with the record; an append with an id that is in the file is not stored
// again but answered with the first one's offset.
struct pawl_record_id {
    uint64_t producer_hi;
    uint64_t producer_lo;
    uint64_t sequence; // from 1, without gaps
    uint32_t epoch;    // 0: anonymous producer
};

// Makes the file's producer the named one: it survives this client. Commits a new epoch, so that any
// older instance of the name is refused from then on (PAWL_EFENCED), and tells the last sequence that
// is in the file (0: none): go on with the record after it. Before the first append, nothing pending.
// After a failure the file may take no appends (PAWL_EINVALID) until this or pawl_producer_set() has
// succeeded. PAWL_ESHUTDOWN: a callback has closed the file meanwhile.
PAWL_API int pawl_producer_open(struct pawl_file *file, const char *name,
                                uint64_t *ret_last_sequence);

// Makes the file's producer an anonymous one whose 128-bit id the caller chose (and may keep), with
// last_sequence committed already. For repeating appends after a restart. The same conditions. The
// highest bit of producer_hi must be 0: ids with it are the library's own. PAWL_ELOST: this file was told
// that records of this id are lost. The sequences of such an id, from lost_sequence on, stand for the same
// bytes for ever, as an old message may still bring one of them: in a newly opened file repeat exactly
// these records, or take another id.
PAWL_API int pawl_producer_set(struct pawl_file *file, uint64_t producer_hi, uint64_t producer_lo,
                               uint64_t last_sequence);

// What an append's status 0 promises, on every replica that its chunk had then.
enum pawl_ack {
    // On stable storage.
    PAWL_ACK_DURABLE = 0,
    // In memory, checked and on its way to stable storage: written at once, at most 1,024 records of a chunk wait for
    // it. Lost is such a record only when every replica of its chunk is lost before it has stored it: its server
    // crashed, its disk refused the write, or the master could not reach it when the others came back. Then all later
    // records of its producer are lost too, and its next append ends with PAWL_ELOST; pawl_resolve() says
    // PAWL_EABSENT. Readers see it when it is durable. On a chunk of one replica: as PAWL_ACK_DURABLE.
    PAWL_ACK_REPLICATED = 1,
};

struct pawl_append_options {
    size_t size;
    uint64_t sequence;    // 0: the next one; otherwise as named by the caller
    uint32_t deadline_ms; // 0: the connection's
    enum pawl_ack ack;    // of this call; a repeat of an id waits for its own
};

// Where the time of an append went, in nanoseconds; all 0: not known. Of the send that was answered. What is left of
// the time between call and callback is this library's and the program's. push_ns is a difference of times
// that the client and the primary took by clocks of their own.
struct pawl_append_stages {
    uint64_t push_ns;    // on the way: payload and request to the primary, the answer back
    uint64_t prepare_ns; // at the primary until it was handed to the disk and the other replicas
    uint64_t flush_ns;   // until it was durable there
    uint64_t commit_ns;  // until it was durable on every other replica, too
    uint64_t answer_ns;  // until the answer left
};

struct pawl_append_result {
    int status;      // 0; PAWL_EUNKNOWN: resolve by id or repeat; others are final: not in the file
    uint64_t offset; // in the file
    struct pawl_record_id id; // zero: not tried, an earlier record's outcome is unknown
    bool duplicate;           // the record was in the file before this call
    // status 0: on stable storage of every replica, with all before it of its producer
    bool durable;
    // PAWL_ELOST: the first one that was acknowledged and is not in the file any more
    uint64_t lost_sequence;
    struct pawl_append_stages stages; // status 0
};

// Appends one record and waits for its acknowledgement, by default its commit on stable storage of every
// replica. PAWL_ELOST: records of this producer that were acknowledged as PAWL_ACK_REPLICATED are lost, and with
// them this one; the file takes no append any more: open it again. Retries by itself, with the same id,
// until the deadline. *ret_result is always filled (NULL: not wanted); the return value is its status. bytes: 1..pawl_record_bytes_max().
PAWL_API int pawl_append(struct pawl_file *file, const void *data, size_t bytes,
                         const struct pawl_append_options *options,
                         struct pawl_append_result *ret_result);

typedef void pawl_append_fn(void *user, const struct pawl_append_result *result);

// The same without waiting. BORROWS data UNTIL done was called, which happens exactly once, inside
// pawl_poll() or another call on this struct pawl, never inside this one, unless this call fails.
// -EAGAIN: depth_max appends are in flight, or a new session is being opened; poll and try again.
PAWL_API int pawl_append_submit(struct pawl_file *file, const void *data, size_t bytes,
                                const struct pawl_append_options *options, pawl_append_fn *done,
                                void *user);

// Where is this record? 0 and its offset, and it is durable, whatever level it was appended with; PAWL_EABSENT: not committed (final once a later sequence
// or epoch of its producer is committed). Follows the producer through older chunks.
PAWL_API int pawl_resolve(struct pawl_file *file, const struct pawl_record_id *id,
                          struct pawl_append_result *ret_result);

// ---- writes at an offset -----------------------------------------------------------------------

struct pawl_write_options {
    size_t size;
    const struct pawl_record_id *id; // NULL: a new one; otherwise one to repeat, epoch 0
    uint32_t deadline_ms;            // 0: the connection's
};

struct pawl_write_result {
    int status;   // 0; PAWL_EUNKNOWN: the next part_bytes may be written; others: they are not
    size_t bytes; // from the front that are written
    struct pawl_record_id id; // of the write to the last chunk that was tried; zero: none was
    size_t part_bytes;        // of that write
    bool duplicate;           // it had been made before this call
};

// Writes bytes over those at [offset, offset + bytes) and waits until they are on stable storage of every
// replica. The range must lie in the file (PAWL_EPASTEND): a write never changes a length. On each chunk
// the write is atomic, over crashes too, and seen by readers whole or not at all; a range that crosses chunks
// is one write for each, in order. In the open tail: the tail is sealed first. Writes that overlap are
// ordered by the server. bytes: 1..pawl_record_bytes_max().
// Ids: each chunk has a space of its own, in which a producer's sequences begin at 1 and have no gap. A write
// with an id of the caller's lies in one chunk. A repeated id is answered like the first time and writes
// nothing; PAWL_EIDREUSED with other bytes or another offset. The library draws ids of its own producers
// only. After PAWL_EUNKNOWN this file takes no other write to that chunk, by any producer, until the part was
// repeated with its id: PAWL_EUNKNOWN with part_bytes 0, and nothing was sent.
PAWL_API int pawl_write(struct pawl_file *file, uint64_t offset, const void *data, size_t bytes,
                        const struct pawl_write_options *options,
                        struct pawl_write_result *ret_result);

// Adds zeros at the end until the file has at least `bytes` bytes, in sealed chunks that take no space
// until they are written to; does nothing when it has. May be repeated: after a failure a part of them
// may be there. Appends go on behind the zeros.
PAWL_API int pawl_extend(struct pawl_file *file, uint64_t bytes);

// Records are appends and writes, each of which is one record of each chunk that it lies in.
struct pawl_counters {
    uint64_t appends_count;
    uint64_t retries_count;    // sends beyond a record's first
    uint64_t duplicates_count; // records that were there when their retry came
    uint64_t failovers_count;  // tails left because of a failure
    uint64_t chunks_count;     // tails used, those of write logs too
    uint64_t read_failovers_count;
    uint64_t payload_bytes; // of records that were appended or written
    uint64_t
        payload_copied_bytes; // that this library copied for it, repeated sends included; see pawl_mem_alloc()
    uint64_t read_bytes;        // by reads that have ended
    uint64_t read_copied_bytes; // that this library copied for them
};
PAWL_API void pawl_counters(const struct pawl_file *file, struct pawl_counters *ret);

// ---- reading -----------------------------------------------------------------------------------

struct pawl_read_options {
    size_t size;
    uint64_t server_id; // ask this replica first; 0: any
    uint32_t deadline_ms;
    bool only_that;     // with server_id: don't go on to another replica
    bool no_read_ahead; // fetch nothing before it is asked for
};

// Reads up to `bytes` bytes at `offset` into data. Fewer bytes are read only at the end of what is
// committed; 0 there. Bytes are verified against the checksums of their records on the server and
// once more on arrival; a replica that fails is left for another one. When an error ends a read in
// its middle, *ret_bytes tells the bytes in front of it, and they are good; what is behind them in data is
// undefined. Large reads go to several replicas at once. Small ones that follow each other are fetched ahead
// (pawl_read(3)).
PAWL_API int pawl_read(struct pawl_file *file, uint64_t offset, void *data, size_t bytes,
                       const struct pawl_read_options *options, size_t *ret_bytes);

struct pawl_read_result {
    int status;   // 0 or a negative code
    size_t bytes; // from the front that are good; after 0 fewer than asked for only at the end
};

typedef void pawl_read_fn(void *user, const struct pawl_read_result *result);

// The same without waiting. BORROWS data UNTIL done was called, which happens exactly once, inside
// pawl_poll() or another call on this struct pawl, never inside this one, unless this call fails. Reads may
// end in any order. -EAGAIN: depth_max reads are in flight; poll and try again.
PAWL_API int pawl_read_submit(struct pawl_file *file, uint64_t offset, void *data, size_t bytes,
                              const struct pawl_read_options *options, pawl_read_fn *done,
                              void *user);

// Committed bytes of the file now, the open tail included.
PAWL_API int pawl_file_bytes(struct pawl_file *file, uint64_t *ret_bytes);

// "0.1.0". Static storage.
PAWL_API const char *pawl_version(void);

#ifdef __cplusplus
}
#endif
#endif
