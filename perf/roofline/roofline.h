// SPDX-License-Identifier: Apache-2.0
// The roofline: what this machine gives for an append or a read of Pawl's shape with no file system in it.
//
// A null store: the same processes, routes, messages, payload bytes, O_DIRECT writes and flushes as Pawl has for
// the same work, at the best of a sweep. docs/roofline.md says what is counted and what is assumed.
//
// Threads: none are started here. A run forks one process per server and one for the clients
// (pawl-roofline-node) and waits for them; it may be called from any thread, but that thread must live until
// the call returns: the processes die with it. Nothing is left behind: the files have no name from
// the start, the processes end with the call, with their control socket or with their parent.
#ifndef PAWL_PERF_ROOFLINE_ROOFLINE_H
#define PAWL_PERF_ROOFLINE_ROOFLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define ROOFLINE_REPLICAS_MAX 3u
#define ROOFLINE_CLIENTS_MAX 64u
#define ROOFLINE_DEPTH_MAX 256u
#define ROOFLINE_RECORD_MAX (16u << 20)
#define ROOFLINE_DISK_READS_MAX (ROOFLINE_CLIENTS_MAX * ROOFLINE_DEPTH_MAX) // surely all
#define ROOFLINE_POINTS_MAX 64u
#define ROOFLINE_PARTS_MAX 8u
#define ROOFLINE_TEXT_MAX 320u
#define ROOFLINE_SECOND_WRITE_MAX (15u << 20) // of one batch of the journal

enum roofline_what { ROOFLINE_APPEND = 0, ROOFLINE_READ };

enum roofline_route {
    ROOFLINE_ROUTE_BEST =
        0, // both are tried where a payload is pushed and there are three replicas; else star
    ROOFLINE_STAR,  // client > primary > each secondary
    ROOFLINE_CHAIN, // client > primary > secondary > secondary, large payloads in slices
};

// How a large record becomes durable in its place.
enum roofline_flush {
    ROOFLINE_FLUSH_BEST = 0, // all are tried
    ROOFLINE_FDATASYNC,      // one at a time, for all that was written before it; then the journal
    ROOFLINE_DSYNC,          // each write by itself; then the journal
    ROOFLINE_SHARED,         // with the journal: it is written, and one flush is for both
    ROOFLINE_SHARED_DSYNC,   // the same by the journal's durable write: of a disk without FUA
};

// The files of a run's servers, to be used by several runs one after the other: writing them takes longer than a run.
struct roofline_files {
    int fds[ROOFLINE_REPLICAS_MAX][2]; // journal and data, without a name; OWNED
    uint32_t count;                    // servers
    uint32_t block_bytes;              // what O_DIRECT wants
    bool lacks_fua;                    // the disk: a durable write flushes all that was written
};

// What a store with Pawl's promises has to do beside, as bits: each server at its least. They explain a figure and are no
// part of the roofline.
enum roofline_duty {
    ROOFLINE_DUTY_CHECKSUM = 1, // clients sum payloads, servers check what came
    ROOFLINE_DUTY_TABLE = 2,    // each record is looked up and noted, so that none is stored twice
    ROOFLINE_DUTY_SECOND_WRITE = 4, // what the journal holds goes to the data file, too
    ROOFLINE_DUTIES_ALL = 7,
};

// What a thread does that has nothing to do.
enum roofline_wait {
    ROOFLINE_WAIT_BEST = 0, // all are tried
    ROOFLINE_WAIT_SLEEP,    // sleeps on its descriptors at once
    ROOFLINE_WAIT_SPIN,     // polls for 30 us and then sleeps, as a reactor of Pawl does
    ROOFLINE_WAIT_YIELD,    // gives the core to others and polls again, for 1 ms, and then sleeps
};

struct roofline_options {
    size_t size; // of this struct
    enum roofline_what what;
    const char *provider;     // "tcp", "verbs"
    const char *host;         // address of this machine to use
    const char *dir;          // folder of the disk to use
    const char *node_program; // NULL: pawl-roofline-node beside this program
    uint32_t record_bytes;    // of a record; of a read
    uint32_t depth;           // records in flight per client
    uint32_t clients;
    uint32_t replicas;         // appends: copies; reads: servers that there are
    enum roofline_route route; // of appends
    enum roofline_flush flush; // of appends
    uint32_t sources;          // reads: servers that are read from, up to `replicas`; 0: sweep
    uint32_t
        disk_reads; // reads that one server has at its disk at once; all that are outstanding or more: all; 0: sweep
    uint32_t duties;      // enum roofline_duty, of appends; 0: the roofline
    bool is_durable;      // false: answered from memory, the disk is not written at all
    uint32_t duration_ms; // of the measurement; points of the sweep take a quarter
    uint32_t warm_up_ms;  // before the measurement and before each point
    uint32_t batch;       // records per message and flush at most; 0: sweep
    enum roofline_wait wait;
    uint32_t slice_bytes; // of large payloads on their way; at least a record: whole; 0: sweep
    const struct roofline_files *files; // BORROWED; NULL: the run makes its own
    double rate_per_s;                  // open loop at this rate over all clients; 0: closed loop
    uint64_t file_bytes;                // of each server's files; they are used in circles
    uint32_t records_max;               // per client: ends the measurement early; 0: no bound
    bool
        is_verified; // payloads are whole, and the files are read back; needs records_max, no sweep
    uint32_t operation_ms; // no progress for so long ends the run
    int stop_fd;           // BORROWED; readable: the run ends with -EINTR; -1: nothing stops it
};

// One point of the sweep.
struct roofline_point {
    uint32_t batch;
    enum roofline_wait wait;
    uint32_t slice_bytes;
    enum roofline_route route;
    enum roofline_flush flush;
    uint32_t sources;
    uint32_t disk_reads; // 0: all
    double ops_per_s, bytes_per_s;
    double p50_us, p99_us, p999_us;
    double cpu_s_per_gb;         // of all processes, per 10^9 bytes of records
    double replica_cpu_s_per_gb; // of one server, on average
    double records_per_flush;    // at the primary
    double records_per_message;  // in what the primary sent and received
};

enum roofline_part_kind {
    ROOFLINE_PART_MESSAGE = 1, // a small message one way: us, less is better
    ROOFLINE_PART_WIRE,        // messages of a batch, or one-sided writes: bytes a second
    ROOFLINE_PART_FLUSH,       // durable writes of the journal: a second
    ROOFLINE_PART_DISK,        // writes or reads of payloads: bytes a second
};

// A part of the roofline beside an independent tool that does the same.
struct roofline_part {
    enum roofline_part_kind kind;
    uint32_t bytes; // of a message, a write or a read
    char name[48];
    char tool[96];      // the tool's command line, shortened
    double ours, tools; // in the unit of its kind
    double ratio;       // of speeds: above 1 we are faster; 0: not measured
    double steadiness;  // slower of both: median by best of its rounds; 1: all alike, 0: not known
};

struct roofline_result {
    size_t size;
    double ops_per_s, bytes_per_s;
    double p50_us, p99_us, p999_us;
    double cpu_s_per_gb, replica_cpu_s_per_gb;
    uint32_t batch, slice_bytes, sources, disk_reads;
    enum roofline_wait wait;
    enum roofline_route route;
    enum roofline_flush flush;
    double records_per_flush, records_per_message;
    uint64_t sent_count, answered_count;    // of the measurement, warm-up included
    uint64_t flushes_count;                 // at all servers
    uint64_t writes_count, reads_count;     // of the disks, all servers
    uint64_t messages_count, message_bytes; // sent by servers and clients
    uint64_t transfers_count;               // one-sided writes, by servers and clients
    uint64_t verified_count; // copies of records that were found whole in the files; reads
    struct roofline_point points[ROOFLINE_POINTS_MAX];
    uint32_t points_count;
    // Filled by roofline_check(). A result that was not checked is not valid.
    bool is_valid;
    char why[ROOFLINE_TEXT_MAX]; // why not; or what is to be known of a valid one
    struct roofline_part parts[ROOFLINE_PARTS_MAX];
    uint32_t parts_count;
    uint32_t processors_count;     // that the processes may use
    char error[ROOFLINE_TEXT_MAX]; // of a run that failed
};

// Values of options. A size is what pawl_config_bytes() takes, or 64K, 1M, 1G, 1T for 64KiB, 1MiB, 1GiB, 1TiB; a time is what
// pawl_config_ms() takes, or a number of milliseconds. 0 or PAWL_EINVALID.
int roofline_bytes_parse(const char *text, uint64_t *ret_bytes) PAWL_MUST_CHECK;
int roofline_ms_parse(const char *text, uint64_t *ret_ms) PAWL_MUST_CHECK;

void roofline_options_init(struct roofline_options *options);

// 0, or -EINVAL with *ret_why set to a static text. Pure.
int roofline_options_check(const struct roofline_options *options,
                           const char **ret_why) PAWL_MUST_CHECK;

// Files for runs of such a shape; the options have the duties of all these runs. 0, or a negative errno with `error` (of ROOFLINE_TEXT_MAX) filled.
int roofline_files_open(const struct roofline_options *options, struct roofline_files *ret_files,
                        char *error) PAWL_MUST_CHECK;
void roofline_files_close(struct roofline_files *files);

// Runs the sweep, then measures its best point once more and for longer: that is the result. 0, or a
// negative errno with `error` filled: -EINVAL, -ETIMEDOUT, -EPIPE (a process ended), -EBADMSG (a record was
// lost, torn or doubled), -EIO.
int roofline_run(const struct roofline_options *options,
                 struct roofline_result *ret_result) PAWL_MUST_CHECK;

// Measures the parts alone and beside fi_pingpong and fio, by turns, and fills is_valid, why and parts of a
// result. A tool that is missing, a part that is more than 10 % slower than its tool or half as fast again, or rounds
// that differ too much for a comparison: not valid. 0 even then; negative when the check itself could not run.
int roofline_check(const struct roofline_options *options,
                   struct roofline_result *result) PAWL_MUST_CHECK;

// The judgement alone, from parts that are filled in. Pure.
void roofline_judge(struct roofline_result *result);

// Figures that a roofline is compared by; 0: not measured.
struct roofline_claim {
    double ops_per_s, p50_us, p999_us;
};
// Medians of Pawl's rounds beside the roofline's, which are in the result, and the best of the roofline's own rounds. What
// is faster than its roofline makes the run invalid (is_valid, why): faster than any round of it was, or by more than
// 10 %. Less is how the machine's pace differs from one round to the next. In a closed loop the rate is compared; and P50
// with one record in flight, since with more the mean latency is their number divided by the rate, and P50 tells how it
// is shared out. In an open loop the rate is given, and it is P99.9. Pure.
void roofline_refute(const struct roofline_options *options, struct roofline_result *result,
                     const struct roofline_claim *best, const struct roofline_claim *claim);

const char *roofline_wait_name(enum roofline_wait wait);
const char *roofline_route_name(enum roofline_route route);
const char *roofline_duty_name(enum roofline_duty duty);
const char *roofline_flush_name(enum roofline_flush flush);
// "us", "1/s", "bytes_per_s"
const char *roofline_part_unit(enum roofline_part_kind kind);

// The program pawl-roofline, and what a verb `roofline` of another program may call. Returns the exit status.
int roofline_main(int argc, char **argv);

#endif
