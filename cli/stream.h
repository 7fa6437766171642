// SPDX-License-Identifier: Apache-2.0
// Copies a file of the cluster to a descriptor: a few large reads are under way while a thread writes, in
// order, what has come.
//
// OWNS a ring of buffers and, inside of stream_copy(), that thread. The reads belong to the caller's thread.
#ifndef PAWL_CLI_STREAM_H
#define PAWL_CLI_STREAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <pawl/pawl.h>

#include "base/util.h"

#define STREAM_SLOTS 4u
#define STREAM_SLOT_BYTES (8u << 20)

struct stream_slot {
    uint8_t *data;
    size_t wanted;
    size_t bytes; // that came
    int status;
    bool done;
};

struct stream {
    struct pawl *pawl;
    struct pawl_file *file;
    struct pawl_read_options read;
    int fd;
    uint64_t offset;
    uint64_t bytes; // at most; UINT64_MAX: to the end
    uint64_t got;
    void (*progress)(void *user, uint64_t got);
    void *user;

    uint8_t *memory;
    bool registered;
    struct stream_slot slots[STREAM_SLOTS];
    uint64_t asked_count; // slots in order, modulo STREAM_SLOTS
    uint64_t handed_count;
    uint64_t next_offset;
    uint64_t known_end; // of the file, when it began
    bool end;

    pthread_mutex_t lock; // of what follows
    pthread_cond_t changed;
    uint64_t to_write_count; // handed_count, as the thread sees it
    uint64_t written_count;
    bool over;
    int write_code;
};

// The fields above the gap are the caller's. -ENOMEM.
int stream_init(struct stream *stream) PAWL_MUST_CHECK;
// 0, or what the reads or the writes have ended with. Reads may be under way then: close the file before
// stream_fini().
int stream_copy(struct stream *stream) PAWL_MUST_CHECK;
void stream_fini(struct stream *stream);

#endif
