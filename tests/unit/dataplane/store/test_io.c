// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/io.c: which transfers use registered buffers, and that the store's do.
#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/store/store_private.h"

#define PAGE 4096u
#define REGION_BYTES (4u << 20)
#define LARGE_BYTES 400000u

struct transfer {
    struct store_io_request io;
    int result;
    bool done;
};

static void transfer_done(struct store_io_request *request, int result)
{
    struct transfer *transfer = pawl_container_of(request, struct transfer, io);

    transfer->result = result;
    transfer->done = true;
}

static int transfer(struct store_io *io, enum store_io_type type, int fd, void *buffer,
                    size_t bytes)
{
    struct transfer transfer = {
        .io = {.type = type, .fd = fd, .buffer = buffer, .bytes = bytes, .done = transfer_done},
    };

    store_io_submit(io, &transfer.io);
    while (!transfer.done) {
        store_io_wait(io);
    }
    return transfer.result;
}

// Writes from there, reads back to there, and returns how many of the two used a registered buffer.
static uint64_t through(struct store_io *io, int fd, uint8_t *at, size_t bytes)
{
    uint64_t before = io->fixed_transfers_count;
    uint64_t all = io->transfers_count;
    uint8_t *copy = malloc(bytes);

    for (size_t i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(i * 31 + bytes);
    }
    memcpy(copy, at, bytes);
    assert_int_equal(transfer(io, STORE_IO_WRITE_DURABLE, fd, at, bytes), 0);
    memset(at, 0, bytes);
    assert_int_equal(transfer(io, STORE_IO_READ, fd, at, bytes), (int)bytes);
    assert_memory_equal(at, copy, bytes);
    free(copy);
    assert_int_equal(io->transfers_count, all + 2);
    return io->fixed_transfers_count - before;
}

static void test_io_when_buffers_are_registered_then_what_lies_inside_uses_them(void **state)
{
    struct fixture *f = *state;
    uint8_t *memory = aligned_alloc(PAGE, 8 * (size_t)PAGE);
    struct iovec iov[] = {{memory, 2 * PAGE}, {memory + 4 * PAGE, 3 * PAGE}};
    struct store_io io;
    const char *why;
    char path[128];

    fixture_path(f, "transfers", path, sizeof(path));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(store_io_open(&io, false, &why), 0);
    bool registered = store_io_register(&io, iov, 2) == 0;
    if (registered) {
        assert_int_equal(through(&io, fd, memory, 2 * PAGE), 2);
        assert_int_equal(through(&io, fd, memory + PAGE, PAGE), 2);
        assert_int_equal(through(&io, fd, memory + 4 * PAGE, 3 * PAGE), 2);
        assert_int_equal(through(&io, fd, memory + PAGE, 2 * PAGE), 0); // beyond the first one
        assert_int_equal(through(&io, fd, memory + 6 * PAGE, 2 * PAGE), 0);
        assert_int_equal(through(&io, fd, memory + 3 * PAGE, 2 * PAGE), 0); // before the second
    }
    store_io_close(&io);
    assert_int_equal(close(fd), 0);
    free(memory);
    if (!registered) {
        skip(); // no io_uring here, or RLIMIT_MEMLOCK
    }
}

// The kernel is short of memory, so many times.
static int refusals;

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);

int __wrap_io_uring_submit(struct io_uring *ring)
{
    if (refusals > 0) {
        refusals--;
        return -EAGAIN;
    }
    return __real_io_uring_submit(ring);
}

static void test_io_when_the_kernel_takes_nothing_then_it_is_handed_over_again(void **state)
{
    struct fixture *f = *state;
    struct store_io io;
    const char *why;
    char path[128];

    fixture_path(f, "transfers", path, sizeof(path));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(store_io_open(&io, false, &why), 0);
    struct transfer transfer = {.io = {.type = STORE_IO_SYNC, .fd = fd, .done = transfer_done}};
    bool uring = io.uring;
    refusals = uring ? 3 : 0;
    store_io_submit(&io, &transfer.io);
    store_io_flush(&io);
    assert_false(store_io_try_wait(&io)); // no signal would come
    while (!transfer.done) {
        store_io_wait(&io);
    }
    assert_int_equal(transfer.result, 0);
    assert_int_equal(refusals, 0);
    assert_true(store_io_is_idle(&io));
    store_io_close(&io);
    assert_int_equal(close(fd), 0);
    if (!uring) {
        skip();
    }
}

static void append_large(struct fixture *f, uint64_t handle, uint64_t offset, uint64_t index,
                         uint8_t *at)
{
    struct pawl_record record = fixture_record(offset, handle, index, LARGE_BYTES);
    void *payload = fixture_payload(handle, index, LARGE_BYTES);
    uint64_t token = fixture_token(f);

    memcpy(at, payload, LARGE_BYTES);
    free(payload);
    assert_int_equal(store_append(f->store, handle, index, &record, at, 0, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
}

// Segments' headers, batches, large records, and what a checkpoint writes; then a spare's zeros, and a read.
static void use_all(struct fixture *f, uint8_t *region)
{
    struct store_chunk chunk = fixture_new_chunk(2, 1);

    fixture_create(f, 1, 1);
    append_large(f, 1, 0, 0, region);
    for (uint64_t c = 10; c < 16; c++) { // more than there are write-backs
        fixture_create(f, c, 1);
    }
    for (uint64_t i = 0; i < 60; i++) {
        fixture_append(f, i % 7 == 6 ? 1 : 10 + i % 7, 4000);
    }
    chunk.chunk_bytes = 1u << 20; // so small that its file is kept
    uint64_t token = fixture_token(f);
    assert_int_equal(store_create(f->store, &chunk, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    append_large(f, 2, 0, 0, region);
    token = fixture_token(f);
    assert_int_equal(store_drop(f->store, 2, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    token = fixture_token(f);
    assert_int_equal(store_read(f->store, 1, 0, LARGE_BYTES + 4000, region, REGION_BYTES, token),
                     0);
    assert_int_equal(fixture_wait(f, token), 0);
    assert_int_equal(f->last.bytes, LARGE_BYTES + 4000);
    fixture_settle(f);
    assert_true(store_counters(f->store)->written_back_bytes > 0);
    assert_int_equal(f->store->spares_count, 1);
}

static void test_io_when_a_store_uses_it_then_every_transfer_is_of_registered_memory(void **state)
{
    struct fixture *f = *state;
    uint8_t *region = aligned_alloc(PAGE, REGION_BYTES);

    f->options.journal_segment_bytes = 64u << 10;
    f->options.fixed_memory = region;
    f->options.fixed_bytes = REGION_BYTES;
    fixture_open(f);
    const struct store_io *io = &f->store->io;
    bool registered = io->fixed_count == STORE_IO_FIXED_MAX;
    assert_int_equal(strstr(store_describe(f->store), "registered") != NULL, registered);
    use_all(f, region);
    if (registered) {
        assert_true(io->transfers_count > 60);
        assert_int_equal(io->fixed_transfers_count, io->transfers_count);
    }
    fixture_close(f);
    free(region);
    if (!registered) {
        skip();
    }
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_io_when_the_kernel_takes_nothing_then_it_is_handed_over_again),
        FIXTURE_TEST(test_io_when_buffers_are_registered_then_what_lies_inside_uses_them),
        FIXTURE_TEST(test_io_when_a_store_uses_it_then_every_transfer_is_of_registered_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
