// SPDX-License-Identifier: Apache-2.0
// A cluster played by the test: a master on a real socket and chunk servers on the fake fabric, in a
// thread of their own, since the library's calls wait.
//
// It keeps one file with a few chunks in memory. The test sets what goes wrong, under the lock.
#ifndef PAWL_TESTS_CLIENT_CLUSTER_H
#define PAWL_TESTS_CLIENT_CLUSTER_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pawl/pawl.h>

#include "base/addresses.h"
#include "controlplane/rpc/rpc.h"
#include "dataplane/fabric/fabric.h"
#include "proto/wire.h"

#define CLUSTER_SERVERS 3u
#define CLUSTER_CHUNKS 4u
#define CLUSTER_CHUNK_BYTES (4u << 20)
#define CLUSTER_RECORDS 256u
#define CLUSTER_SLOTS 4u      // of the window that comes with WELCOME
#define CLUSTER_SLOTS_MAX 16u // of one that is asked for
#define CLUSTER_FILE 7u
#define CLUSTER_HANDLE 100u // of the first chunk
#define CLUSTER_LOG 200u    // of the first chunk's write log: file and only chunk
#define CLUSTER_HELD 64u
#define CLUSTER_EVERY UINT64_MAX // all that there is

struct cluster_record {
    uint64_t producer; // both halves in one
    uint64_t sequence;
    uint64_t offset;
    uint32_t length;
    uint32_t crc;
};

struct cluster_chunk {
    uint64_t handle; // CLUSTER_HANDLE + index, CLUSTER_LOG + index; 0: no write log
    bool sealed;
    uint64_t bytes;
    uint64_t version;
    unsigned primary; // number of a server, from 1; 0: none
    unsigned char *data;
    struct cluster_record records[CLUSTER_RECORDS];
    unsigned records_count;
};

struct cluster_held {
    struct fabric_conn *conn;
    struct wire_read read;
};

// What a chunk server does wrong.
struct cluster_faults {
    bool frozen;          // does nothing at all
    bool no_window;       // greets without a window
    bool window_hold;     // does not answer WINDOW
    int window_status;    // refuses WINDOW with this
    bool window_small;    // grants less than is needed
    bool scarce;          // says that others wait for a window
    bool recall;          // the same, behind each answer to APPEND and not in it
    bool no_welcome;      // accepts, and says nothing
    int refuse;           // answers HELLO with this
    bool wrong_id;        // says that it is another server
    bool mute;            // takes requests and does not answer
    unsigned mute_left;   // ... the next so many
    unsigned forget_left; // stores the next so many records without an answer
    int append_status;    // answers APPEND with this, as a bare header
    unsigned append_status_left;
    bool from_memory;    // answers APPEND as acknowledged in memory
    unsigned lost_to;    // LOOKUP: chunks before this index may have lost records
    unsigned ended_from; // LOOKUP: chunks from this index on refuse the producer's session; 0: none
    bool expect_nonsense; // PAWL_EEARLIER without a chunk
    unsigned
        wrong_runs_left; // the next so many runs are answered with the place of a record before the last
    int read_status;
    int push_status;        // answers PUSH with this
    bool read_corrupt;      // bytes change on their way
    bool read_too_long;     // more bytes than asked for
    uint32_t read_at_most;  // short replies; 0: no
    bool read_hold;         // keeps READs; when it is let go, the last one is answered first
    uint64_t log_bytes;     // READ: says that it has so many of the write log; 0: what there is
    uint64_t known_bytes;   // of each chunk; CLUSTER_EVERY
    bool no_lease;          // INSPECT: not primary
    bool cut_off;           // takes itself for the primary, of version 1, and has heard of no seal
    bool unasked;           // answers a request that was not made
    bool garbage;           // answers with bytes that are no message
    uint64_t inspect_bytes; // instead of what it knows; 0: no
};

struct cluster_server {
    struct cluster *cluster;
    unsigned number; // from 1; its id is 0xa0 + number
    char name[16];
    char addresses[PAWL_ADDRESSES_BYTES_MAX]; // what the master tells of it
    struct fabric *fabric;
    struct fabric_region *region;
    unsigned char *memory; // window, then places to write from
    unsigned next_place;
    struct cluster_faults faults;
    unsigned waited_ms; // as the last WINDOW said
    unsigned hellos_count;
    unsigned windows_count; // asked for
    unsigned returns_count; // given back, and none asked for
    unsigned appends_count; // records, and of the messages that brought them
    unsigned runs_count;    // so many were runs
    unsigned pushes_count;
    unsigned lookups_count;
    unsigned reads_count;
    uint64_t read_bytes; // asked for
    struct cluster_held held[CLUSTER_HELD];
    unsigned held_count;
    uint64_t log_bytes_wanted; // by the last READ
    unsigned closed_count;
};

// What the master does wrong.
struct cluster_master {
    unsigned drop_left;   // closes the connection instead of answering the next so many
    unsigned ignore_left; // does not answer the next so many
    unsigned
        lose_left; // carries out the next so many calls, and closes the connection instead of answering
    bool refill;           // ... and meanwhile somebody makes "/log" anew
    bool log_there;        // there is a file "/log"
    uint64_t call_session; // of the last call that was carried out
    uint64_t call_number;
    int call_code;
    unsigned calls_count; // that were carried out
    int code;             // answers with this
    unsigned code_left;
    bool wrong_body;
    bool gap;                // a hole in the chunk map
    bool endless;            // listings that claim more and repeat themselves
    bool no_replicas;        // nobody holds anything
    uint64_t session_ended;  // the session of this number has ended, and all before
    uint64_t last_session;   // that was asked for
    unsigned sessions_count; // questions for one
    unsigned requests_count;
    unsigned hints_count;
    unsigned seal_busy_left; // SealTail is answered PAWL_EBUSY the next so many times
    unsigned seals_count;    // asked for
    unsigned entries_count;  // of the directory "/"
    int32_t last_body;
};

struct cluster {
    pthread_t thread;
    pthread_mutex_t lock;
    bool stop;
    uv_loop_t loop;
    struct rpc_server *rpc;
    char address[64];
    struct cluster_master master;
    struct cluster_server servers[CLUSTER_SERVERS];
    struct cluster_chunk chunks[CLUSTER_CHUNKS];
    struct cluster_chunk logs[CLUSTER_CHUNKS]; // what is written goes to data of the chunk, too
    unsigned chunks_count;
    uint32_t epoch; // of the named producer
};

// Starts it with `chunks_count` sealed chunks of `bytes` bytes each and an open one.
void cluster_start(struct cluster *cluster, unsigned sealed_count, uint64_t bytes);
void cluster_stop(struct cluster *cluster);
void cluster_lock(struct cluster *cluster);
void cluster_unlock(struct cluster *cluster);

// Sets a field of the script under the lock.
#define cluster_set(cluster, field, value)                                                         \
    do {                                                                                           \
        cluster_lock(cluster);                                                                     \
        (cluster)->field = (value);                                                                \
        cluster_unlock(cluster);                                                                   \
    } while (0)
// All servers.
#define cluster_set_all(cluster, field, value)                                                     \
    do {                                                                                           \
        cluster_lock(cluster);                                                                     \
        for (unsigned i_ = 0; i_ < CLUSTER_SERVERS; i_++)                                          \
            (cluster)->servers[i_].field = (value);                                                \
        cluster_unlock(cluster);                                                                   \
    } while (0)
unsigned cluster_get(struct cluster *cluster, const unsigned *field);

// Connects; deadline_ms of every call.
struct pawl *cluster_connect(struct cluster *cluster, uint32_t deadline_ms);
struct pawl_file *cluster_open(struct pawl *pawl);
// The byte at an offset of the file as the script filled it.
unsigned char cluster_byte(uint64_t offset);
void cluster_seal_tail(struct cluster *cluster); // and open the next one
// Bytes that are in the file.
uint64_t cluster_bytes(struct cluster *cluster);

#endif
