// SPDX-License-Identifier: Apache-2.0
// What the tests of the store share: a store in a folder of its own, and a model of its chunks.
#ifndef PAWL_TESTS_STORE_FIXTURE_H
#define PAWL_TESTS_STORE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "dataplane/store/store.h"

#define FIXTURE_TOKENS 16384u
#define FIXTURE_PENDING (-1)

struct fixture {
    char dir[64];
    struct store_options options;
    struct store *store;
    uint64_t next_token;
    int status[FIXTURE_TOKENS]; // by token; FIXTURE_PENDING until it ends
    unsigned scarce_waits;      // how often it slept while it waited for a descriptor
    struct store_completion last;
    void *buffer; // of reads
};

// What store_visit() says about one chunk.
struct fixture_chunk {
    bool found;
    struct store_chunk chunk;
};

// Test setup and teardown. The folder is made in the working folder, and removed.
int fixture_setup(void **state);
int fixture_teardown(void **state);

// Opens with f->options; asserts success.
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);
void fixture_reopen(struct fixture *f);
// Closes the store; its folder is what a crash would have left now.
void fixture_crash(struct fixture *f);

// Polls once. Waits on the store's descriptor when there is nothing to do: a missed signal fails.
void fixture_step(struct fixture *f);
// Runs until the operation has ended; returns its status.
int fixture_wait(struct fixture *f, uint64_t token);
// Runs until nothing is queued or in flight.
void fixture_settle(struct fixture *f);

uint64_t fixture_token(struct fixture *f);

// A record's bytes depend on its chunk, index and length only. Aligned to 4096; the caller frees it.
void *fixture_payload(uint64_t handle, uint64_t index, uint32_t length);
// The record's row, for records that follow each other without a gap.
struct pawl_record fixture_record(uint64_t offset, uint64_t handle, uint64_t index,
                                  uint32_t length);

struct store_chunk fixture_new_chunk(uint64_t handle, uint64_t version);
void fixture_create(struct fixture *f, uint64_t handle, uint64_t version);
// The same of version 1 with room for so many bytes.
void fixture_create_sized(struct fixture *f, uint64_t handle, uint64_t chunk_bytes);
// Appends as the chunk's next record and waits.
void fixture_append(struct fixture *f, uint64_t handle, uint32_t length);
// The same without waiting; *ret_payload is freed after the end.
uint64_t fixture_append_start(struct fixture *f, uint64_t handle, uint64_t index, uint64_t offset,
                              uint32_t length, void **ret_payload);
// A run of `count` records of those lengths, the first of which is the chunk's next; the same.
uint64_t fixture_run_start(struct fixture *f, uint64_t handle, const uint32_t lengths[],
                           uint32_t count, void **ret_payload);
struct fixture_chunk fixture_find(struct fixture *f, uint64_t handle);
uint64_t fixture_chunk_end(const struct store_chunk *chunk);

// Reads record `index`; returns the status, and checks the bytes if it is 0.
int fixture_read_record(struct fixture *f, uint64_t handle, uint64_t index);
// Every record of the chunk is there with the right bytes; returns their number.
uint64_t fixture_check_chunk(struct fixture *f, uint64_t handle);

// Files below the folder.
void fixture_path(const struct fixture *f, const char *name, char *ret, size_t bytes);
// Path of the first file in a subfolder whose name begins with `prefix`; asserts that there is one.
void fixture_find_file(const struct fixture *f, const char *folder, const char *prefix, char *ret,
                       size_t bytes);
uint32_t fixture_count_files(const struct fixture *f, const char *folder);
void fixture_flip(const char *path, uint64_t offset);
void fixture_write(const char *path, uint64_t offset, const void *data, size_t bytes);
void fixture_peek(const char *path, uint64_t offset, void *ret, size_t bytes);
// The whole file; the caller frees it.
uint8_t *fixture_slurp(const char *path, size_t *ret_bytes);
// Offset of `needle` in the file at or behind `from`; UINT64_MAX if it isn't there.
uint64_t fixture_search(const char *path, const void *needle, size_t bytes, uint64_t from);
void fixture_remove_tree(const char *dir);
void fixture_copy_tree(const char *from, const char *to);

// With a journal of small segments.
void fixture_open_small(struct fixture *f);
// Chunk 1 with `before` records in a batch each, then `together` more in one last batch.
void fixture_fill(struct fixture *f, uint64_t before, uint64_t together);
// Records of chunk 2, until the journal's segments have all been used again.
void fixture_go_round(struct fixture *f);
// Version 2 of chunk 1.
void fixture_promise_two(struct fixture *f);

#endif
