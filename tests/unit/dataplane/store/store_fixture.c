// SPDX-License-Identifier: Apache-2.0
// What the tests of the store share.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/random.h"
#include "dataplane/store/store_private.h"
#include "store_fixture.h"

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    snprintf(f->dir, sizeof(f->dir), "store.XXXXXX");
    if (mkdtemp(f->dir) == NULL) {
        return -1;
    }
    f->options = (struct store_options){
        .dir = f->dir,
        .journal_segment_bytes = 1u << 20,
        .journal_segments_count = 2,
    };
    f->next_token = 1;
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;

    store_close(f->store);
    fixture_remove_tree(f->dir);
    free(f->buffer);
    free(f);
    return 0;
}

void fixture_open(struct fixture *f)
{
    assert_int_equal(store_open(&f->options, &f->store), 0);
    if (f->buffer == NULL) {
        f->buffer = aligned_alloc(4096, store_read_buffer_bytes(f->store));
    }
}

void fixture_close(struct fixture *f)
{
    store_close(f->store);
    f->store = NULL;
}

void fixture_reopen(struct fixture *f)
{
    fixture_close(f);
    fixture_open(f);
}

void fixture_step(struct fixture *f)
{
    struct store_completion completions[16];
    int count = store_poll(f->store, completions, 16);

    for (int i = 0; i < count; i++) {
        assert_true(completions[i].token < FIXTURE_TOKENS);
        assert_int_equal(f->status[completions[i].token], FIXTURE_PENDING);
        f->status[completions[i].token] = completions[i].status;
        f->last = completions[i];
    }
    if (count == 0 && store_busy(f->store) && store_try_wait(f->store) == 0) {
        // What waits for a descriptor is tried again by time, and nobody tells of that.
        bool is_scarce = store_files_wait(f->store);
        f->scarce_waits += is_scarce;
        struct pollfd fd = {.fd = store_wait_fd(f->store), .events = POLLIN};
        int woken = poll(&fd, 1, is_scarce ? (int)STORE_SCARCE_MS : 50000);
        assert_true(woken == 1 || is_scarce);
    }
}

int fixture_wait(struct fixture *f, uint64_t token)
{
    while (f->status[token] == FIXTURE_PENDING) {
        assert_true(store_busy(f->store));
        fixture_step(f);
    }
    return f->status[token];
}

void fixture_settle(struct fixture *f)
{
    while (store_busy(f->store)) {
        fixture_step(f);
    }
}

uint64_t fixture_token(struct fixture *f)
{
    assert_true(f->next_token < FIXTURE_TOKENS);
    f->status[f->next_token] = FIXTURE_PENDING;
    return f->next_token++;
}

void *fixture_payload(uint64_t handle, uint64_t index, uint32_t length)
{
    struct pawl_random random;
    uint8_t *payload = aligned_alloc(4096, (length + 4096u) / 4096u * 4096u);

    pawl_random_seed(&random, handle << 32 ^ index << 8 ^ length);
    for (uint32_t i = 0; i < length; i += 8) {
        uint64_t value = pawl_random_next(&random);
        memcpy(payload + i, &value, length - i < 8 ? length - i : 8);
    }
    return payload;
}

struct pawl_record fixture_record(uint64_t offset, uint64_t handle, uint64_t index, uint32_t length)
{
    void *payload = fixture_payload(handle, index, length);
    struct pawl_record record = {
        .offset = offset,
        .id = {.producer_hi = 7, .producer_lo = handle, .sequence = index + 1, .epoch = 3},
        .version = 1,
        .length = length,
        .crc = pawl_crc32c(0, payload, length),
    };

    free(payload);
    return record;
}

struct store_chunk fixture_new_chunk(uint64_t handle, uint64_t version)
{
    return (struct store_chunk){
        .handle = handle,
        .version = version,
        .file_id = handle + 1000,
        .base_offset = handle * 10,
        .chunk_bytes = 64u << 20,
        .index = 4,
    };
}

static void create(struct fixture *f, const struct store_chunk *chunk)
{
    uint64_t token = fixture_token(f);

    assert_int_equal(store_create(f->store, chunk, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
}

void fixture_create(struct fixture *f, uint64_t handle, uint64_t version)
{
    struct store_chunk chunk = fixture_new_chunk(handle, version);

    create(f, &chunk);
}

void fixture_create_sized(struct fixture *f, uint64_t handle, uint64_t chunk_bytes)
{
    struct store_chunk chunk = fixture_new_chunk(handle, 1);

    chunk.chunk_bytes = chunk_bytes;
    create(f, &chunk);
}

uint64_t fixture_append_start(struct fixture *f, uint64_t handle, uint64_t index, uint64_t offset,
                              uint32_t length, void **ret_payload)
{
    struct pawl_record record = fixture_record(offset, handle, index, length);
    uint64_t token = fixture_token(f);

    *ret_payload = fixture_payload(handle, index, length);
    const void *payload = length > 0 ? *ret_payload : NULL; // as the server has it
    assert_int_equal(store_append(f->store, handle, index, &record, payload, index, token), 0);
    return token;
}

uint64_t fixture_run_start(struct fixture *f, uint64_t handle, const uint32_t lengths[],
                           uint32_t count, void **ret_payload)
{
    struct fixture_chunk found = fixture_find(f, handle);
    uint64_t index = found.chunk.records_count;
    struct pawl_record first =
        fixture_record(fixture_chunk_end(&found.chunk), handle, index, lengths[0]);
    struct wire_run_row rows[WIRE_RUN_MAX];
    uint8_t *bytes = calloc(1, WIRE_RUN_BYTES_MAX);
    size_t at = 0;

    for (uint32_t i = 0; i < count; i++) {
        void *payload = fixture_payload(handle, index + i, lengths[i]);
        rows[i] =
            (struct wire_run_row){.length = lengths[i], .crc = pawl_crc32c(0, payload, lengths[i])};
        memcpy(bytes + at, payload, lengths[i]);
        at += lengths[i];
        free(payload);
    }
    uint64_t token = fixture_token(f);
    assert_int_equal(
        store_append_run(f->store, handle, index, &first, rows, count, bytes, index, token), 0);
    *ret_payload = bytes;
    return token;
}

void fixture_append(struct fixture *f, uint64_t handle, uint32_t length)
{
    struct fixture_chunk found = fixture_find(f, handle);
    void *payload;

    assert_true(found.found);
    uint64_t token = fixture_append_start(f, handle, found.chunk.records_count,
                                          fixture_chunk_end(&found.chunk), length, &payload);
    assert_int_equal(fixture_wait(f, token), 0);
    free(payload);
}

struct find {
    uint64_t handle;
    struct fixture_chunk found;
};

static void find_visit(void *user, const struct store_chunk *chunk)
{
    struct find *find = user;

    if (chunk->handle == find->handle) {
        find->found.found = true;
        find->found.chunk = *chunk;
    }
}

struct fixture_chunk fixture_find(struct fixture *f, uint64_t handle)
{
    struct find find = {.handle = handle};

    store_visit(f->store, find_visit, &find);
    return find.found;
}

uint64_t fixture_chunk_end(const struct store_chunk *chunk)
{
    if (chunk->records_count == 0) {
        return 0;
    }
    return pawl_records_bytes(chunk->records, chunk->records_count);
}

int fixture_read_record(struct fixture *f, uint64_t handle, uint64_t index)
{
    uint64_t token = fixture_token(f);
    struct pawl_record record;

    assert_int_equal(store_read_record(f->store, handle, index, &record, f->buffer,
                                       store_read_buffer_bytes(f->store), token),
                     0);
    int status = fixture_wait(f, token);
    f->next_token = token; // reads are many: their tokens are used again
    if (status == 0) {
        void *payload = fixture_payload(handle, index, record.length);
        assert_int_equal(f->last.bytes, record.length);
        if (record.length > 0) {
            assert_memory_equal(f->last.data, payload, record.length);
        }
        free(payload);
    }
    return status;
}

uint64_t fixture_check_chunk(struct fixture *f, uint64_t handle)
{
    struct fixture_chunk found = fixture_find(f, handle);

    assert_true(found.found);
    for (uint64_t i = 0; i < found.chunk.records_count; i++) {
        assert_int_equal(store_chunk_record(&found.chunk, i).id.sequence, i + 1);
        assert_int_equal(fixture_read_record(f, handle, i), 0);
    }
    return found.chunk.records_count;
}

void fixture_path(const struct fixture *f, const char *name, char *ret, size_t bytes)
{
    snprintf(ret, bytes, "%s/%s", f->dir, name);
}

static uint32_t folder_scan(const char *path, const char *prefix, char *ret, size_t bytes)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    uint32_t count = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.' || strncmp(entry->d_name, prefix, strlen(prefix)) != 0) {
            continue;
        }
        count++;
        if (ret != NULL) {
            snprintf(ret, bytes, "%s/%s", path, entry->d_name);
        }
    }
    closedir(folder);
    return count;
}

void fixture_find_file(const struct fixture *f, const char *folder, const char *prefix, char *ret,
                       size_t bytes)
{
    char path[128];

    fixture_path(f, folder, path, sizeof(path));
    assert_true(folder_scan(path, prefix, ret, bytes) > 0);
}

uint32_t fixture_count_files(const struct fixture *f, const char *folder)
{
    char path[128];

    fixture_path(f, folder, path, sizeof(path));
    return folder_scan(path, "", NULL, 0);
}

void fixture_flip(const char *path, uint64_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    assert_int_equal(close(fd), 0);
}

void fixture_write(const char *path, uint64_t offset, const void *data, size_t bytes)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, bytes, (off_t)offset), (ssize_t)bytes);
    assert_int_equal(close(fd), 0);
}

void fixture_peek(const char *path, uint64_t offset, void *ret, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, ret, bytes, (off_t)offset), (ssize_t)bytes);
    assert_int_equal(close(fd), 0);
}

uint8_t *fixture_slurp(const char *path, size_t *ret_bytes)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &stat), 0);
    uint8_t *data = malloc((size_t)stat.st_size);
    assert_int_equal(read(fd, data, (size_t)stat.st_size), stat.st_size);
    close(fd);
    *ret_bytes = (size_t)stat.st_size;
    return data;
}

// By pieces that overlap: chunk files are sparse and large.
uint64_t fixture_search(const char *path, const void *needle, size_t bytes, uint64_t from)
{
    enum { PIECE = 1 << 20 };
    uint8_t *data = malloc(PIECE);
    uint64_t found = UINT64_MAX;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    assert_true(fd >= 0);
    while (found == UINT64_MAX) {
        off_t next = lseek(fd, (off_t)from, SEEK_DATA);
        if (next < 0) {
            break;
        }
        got = pread(fd, data, PIECE, next);
        if (got < (ssize_t)bytes) {
            break;
        }
        uint8_t *at = memmem(data, (size_t)got, needle, bytes);
        if (at != NULL) {
            found = (uint64_t)next + (uint64_t)(at - data);
        }
        from = (uint64_t)next + (uint64_t)got - bytes + 1;
    }
    close(fd);
    free(data);
    return found;
}

static int remove_visit(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

void fixture_remove_tree(const char *dir)
{
    nftw(dir, remove_visit, 16, FTW_DEPTH | FTW_PHYS);
}

static void copy_file(const char *from, const char *to)
{
    enum { PIECE = 1 << 20 };
    struct stat stat;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    uint8_t *data = malloc(PIECE);
    off_t at = 0;
    ssize_t got;

    assert_true(in >= 0 && out >= 0);
    assert_int_equal(fstat(in, &stat), 0);
    assert_int_equal(ftruncate(out, stat.st_size), 0);
    while ((at = lseek(in, at, SEEK_DATA)) >= 0 && (got = pread(in, data, PIECE, at)) > 0) {
        assert_int_equal(pwrite(out, data, (size_t)got, at), got);
        at += got;
    }
    free(data);
    close(in);
    close(out);
}

void fixture_copy_tree(const char *from, const char *to)
{
    static const char *const folders[] = {"", "journal", "chunks", "damaged"};
    char source[192], target[192];

    for (size_t i = 0; i < PAWL_ARRAY_COUNT(folders); i++) {
        struct dirent *entry;
        snprintf(source, sizeof(source), "%s/%s", from, folders[i]);
        snprintf(target, sizeof(target), "%s/%s", to, folders[i]);
        assert_true(mkdir(target, 0700) == 0 || errno == EEXIST);
        DIR *folder = opendir(source);
        assert_non_null(folder);
        while ((entry = readdir(folder)) != NULL) {
            if (entry->d_type != DT_REG) {
                continue;
            }
            char one[512], two[512];
            snprintf(one, sizeof(one), "%s/%s", source, entry->d_name);
            snprintf(two, sizeof(two), "%s/%s", target, entry->d_name);
            copy_file(one, two);
        }
        closedir(folder);
    }
}

void fixture_crash(struct fixture *f)
{
    char copy[72];

    snprintf(copy, sizeof(copy), "%s.x", f->dir);
    fixture_copy_tree(f->dir, copy);
    fixture_close(f);
    fixture_remove_tree(f->dir);
    assert_int_equal(rename(copy, f->dir), 0);
}

void fixture_open_small(struct fixture *f)
{
    f->options.journal_segment_bytes = 64u << 10;
    fixture_open(f);
}

void fixture_fill(struct fixture *f, uint64_t before, uint64_t together)
{
    void *payloads[16];
    uint64_t tokens[16];

    fixture_create(f, 1, 1);
    for (uint64_t i = 0; i < before; i++) {
        fixture_append(f, 1, 700);
    }
    for (uint64_t i = 0; i < together; i++) {
        tokens[i] = fixture_append_start(f, 1, before + i, (before + i) * 700, 700, &payloads[i]);
    }
    for (uint64_t i = 0; i < together; i++) {
        assert_int_equal(fixture_wait(f, tokens[i]), 0);
        free(payloads[i]);
    }
}

void fixture_go_round(struct fixture *f)
{
    for (int i = 0; i < 30; i++) {
        fixture_append(f, 2, 16000);
    }
}

void fixture_promise_two(struct fixture *f)
{
    uint64_t token = fixture_token(f);

    assert_int_equal(store_promise(f->store, 1, 2, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
}
