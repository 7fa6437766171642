// SPDX-License-Identifier: Apache-2.0
// Inside of reading: jobs, their pieces, and what is fetched ahead.
//
// A job is one read. It is cut into pieces, each of them a request to one replica; some are under way at any
// time, and they may arrive in any order. A piece that failed is asked of another replica. What is fetched
// ahead is a job like any other whose bytes go to staging memory.
#ifndef PAWL_CLIENT_READ_PRIVATE_H
#define PAWL_CLIENT_READ_PRIVATE_H

#include "client/client_private.h"

#define READ_PIECE_BYTES (1u << 20)
#define READ_WINDOW 8u // pieces of one job under way
#define READ_PAUSE_MS 10u
#define READ_CANDIDATES (APPEND_SET_MAX + 3u) // replicas, a wanted server, primaries
#define READ_BAD_MAX 48u

struct read_job;

enum read_piece_state {
    PIECE_WAITING = 1, // to be asked for
    PIECE_FLYING,      // asked for; its memory may be written to
    PIECE_ARRIVED,
    PIECE_AT_END, // arrived, and the chunk has no more for now, says one who should know
};

struct read_piece {
    struct pawl_list node; // in the job's pieces, by offset
    struct pawl_file *file;
    struct read_job *job;    // NULL: nobody waits for it any more
    struct file_chunk chunk; // as the map had it
    enum read_piece_state state;
    uint64_t offset; // in the chunk
    uint32_t length;
    uint32_t got; // from its front
    uint32_t asked;
    uint64_t log_asked;  // bytes of the write log that the answer has to show
    uint64_t server_id;  // that was asked
    uint64_t link_place; // the reactor of it
    uint8_t *target;     // of its first byte
    uint8_t *staged;     // room for what was asked for; NULL: it is written straight to the target,
    struct registered *direct; // which lies in this range; NULL: in staging
    uint64_t log_first; // bytes of the write log that its first and its last bytes were read with
    uint64_t log_last;
};

// A replica that failed for a chunk.
struct read_bad {
    uint64_t handle;
    uint64_t server_id;
    int status;
};

// A question to the primary of the tail, and then to the master whether it is that still.
struct read_tail {
    struct pawl_file *file;
    struct read_job *job; // NULL: nobody waits for it any more
    uint64_t handle;      // of the chunk
    uint64_t base_offset;
    uint64_t primary_id;
    bool answered;
    bool confirmed; // by the master
    int status;
    struct wire_inspected inspected;
};

enum read_wait { WAIT_NONE, WAIT_PAUSE, WAIT_MAP, WAIT_TAIL };

struct read_job {
    struct pawl_list node; // in the file's reads, then in its reads_done
    struct pawl_file *file;
    uint64_t offset;
    uint8_t *data; // BORROWED UNTIL done
    size_t bytes;
    size_t got;     // gapless
    size_t planned; // pieces stand for them
    uint64_t deadline_ns;
    uint64_t server_id; // wanted; 0: none
    bool only_that;
    bool may_ahead;  // part of a sequential reader's doing
    bool waits;      // a call waits for it: closing the file doesn't end it
    bool in_staging; // data lies there
    enum read_wait wait;
    bool settle;     // the next map with the tail's primary
    bool map_is_new; // fetched since the last piece
    bool map_is_own; // fetched since the read began
    bool at_end;     // the piece in front is
    bool starved;    // no memory: tried again by retry_ns
    bool ending;     // with status, when nothing is under way any more
    int status;
    int last_error;
    uint64_t ticket;
    uint64_t retry_ns;
    struct read_tail *tail;
    struct pawl_list pieces;
    uint32_t pieces_count;
    uint32_t flying_count;
    uint64_t log_handle; // of the chunk that `got` lies in, and its point
    uint64_t log_bytes;
    struct read_bad bad[READ_BAD_MAX];
    uint32_t bad_count;
    uint32_t bad_next; // to be written over
    pawl_read_fn *done;
    void *user;
    struct pawl_read_result result;
    void (*landed)(struct read_job *job); // instead of done, at once, for the library's own
};

// ---- read.c -------------------------------------------------------------------------------------

// `job` filled in by the caller as far as he knows it; COPIED. The list is the file's.
int read_job_start(const struct read_job *job, struct read_job **ret) PAWL_MUST_CHECK;
// No more pieces; it ends when none is under way.
void read_job_stop(struct read_job *job, int status);

// ---- read_piece.c -------------------------------------------------------------------------------

// Bytes that the chunk has, or may have, from `inside` on.
uint64_t read_room(const struct pawl_file *file, const struct file_chunk *chunk, uint64_t inside);
// The next piece of the job, not asked for yet. NULL: no memory.
struct read_piece *read_piece_new(struct read_job *job, const struct file_chunk *chunk);
void read_piece_free(struct read_piece *piece);
// Asks for the rest of a waiting piece. 0; -EAGAIN: there is no memory, or too much under way; PAWL_ENOCHUNK: no replica is left.
int read_piece_send(struct read_piece *piece) PAWL_MUST_CHECK;
// Nobody waits for the answer any more. False: it is written straight into the user's memory, so he has to
// wait for it; its link was closed.
bool read_piece_leave(struct read_piece *piece);
bool read_all_failed(const struct read_job *job, const struct file_chunk *chunk, int status);

// ---- read_ahead.c -------------------------------------------------------------------------------

// A read was submitted: does it go on where the last one ended?
void read_ahead_note(struct pawl_file *file, uint64_t offset, size_t bytes, bool *ret_sequential);
// Serves the job from its present offset on. Returns the bytes; *ret_wait: they are under way.
size_t read_ahead_take(struct read_job *job, uint64_t now_ns, bool *ret_wait);
// Asks for more. True: it did.
bool read_ahead_run(struct pawl_file *file, uint64_t now_ns);
void read_ahead_drop(struct pawl_file *file);
void read_ahead_free(struct pawl_file *file);

#endif
