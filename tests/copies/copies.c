// SPDX-License-Identifier: Apache-2.0
// libpawl-copies.so, for LD_PRELOAD: counts what a process copies with memcpy and its kin.
//
// Only copies of COPIES_BYTES_MIN and more count. Payload is told from the rest by its content: the test
// fills its records with COPIES_PAYLOAD alone. Each object (program, library) that calls has a row, so that
// what a provider or libc copies for itself stands apart. The rows are in a file of the folder that
// PAWL_COPIES_DIR names, "<name of the process>.<pid>", shared: they can be read at any time.
//
// Compilers replace copies of a known, small size by moves and leave the others as calls, loops that copy
// included; test_copies.py shows that a copy in a program of this build is seen.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define COPIES_BYTES_MIN 256u
#define COPIES_PAYLOAD 0xa7u
#define COPIES_OBJECTS 32u
#define COPIES_NAME 48u

// As test_copies.py reads it.
struct copies_row {
    char object[COPIES_NAME];
    _Atomic uint64_t payload_bytes;
    _Atomic uint64_t other_bytes;
};

static struct copies_row *rows; // NULL: not counted
static const void *bases[COPIES_OBJECTS];
static atomic_uint rows_count;
static atomic_flag rows_lock = ATOMIC_FLAG_INIT;

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *mempcpy(void *restrict to, const void *restrict from, size_t bytes);
void *__memcpy_chk(void *restrict to, const void *restrict from, size_t bytes, size_t room);
void *__memmove_chk(void *to, const void *from, size_t bytes, size_t room);
void *__mempcpy_chk(void *restrict to, const void *restrict from, size_t bytes, size_t room);

// Sixteen bytes from the middle: the ends may be a neighbour's.
static bool is_payload(const unsigned char *from, size_t bytes)
{
    for (size_t i = bytes / 2; i < bytes / 2 + 16; i++) {
        if (from[i] != COPIES_PAYLOAD) {
            return false;
        }
    }
    return true;
}

static struct copies_row *row_of(const void *caller)
{
    Dl_info info;
    if (dladdr(caller, &info) == 0) {
        return &rows[0]; // nobody's
    }
    while (atomic_flag_test_and_set(&rows_lock)) {
    }
    unsigned count = atomic_load(&rows_count);
    unsigned i = 1;
    while (i < count && bases[i] != info.dli_fbase) {
        i++;
    }
    if (i == count && count < COPIES_OBJECTS) {
        bases[i] = info.dli_fbase;
        const char *name = info.dli_fname;
        for (const char *at = name; *at != '\0'; at++) {
            name = *at == '/' ? at + 1 : name;
        }
        for (size_t k = 0; k + 1 < COPIES_NAME && name[k] != '\0'; k++) {
            rows[i].object[k] = name[k];
        }
        atomic_store(&rows_count, count + 1);
    }
    atomic_flag_clear(&rows_lock);
    return &rows[i < COPIES_OBJECTS ? i : 0];
}

static void count(const void *from, size_t bytes, const void *caller)
{
    if (rows == NULL || bytes < COPIES_BYTES_MIN) {
        return;
    }
    struct copies_row *row = row_of(caller);
    atomic_fetch_add(is_payload(from, bytes) ? &row->payload_bytes : &row->other_bytes, bytes);
}

// The build keeps the compiler from making calls of memcpy out of these.
static void copy_up(unsigned char *to, const unsigned char *from, size_t bytes)
{
    for (; bytes >= sizeof(uint64_t); bytes -= sizeof(uint64_t)) {
        uint64_t word;
        __builtin_memcpy(&word, from, sizeof word);
        __builtin_memcpy(to, &word, sizeof word);
        from += sizeof word;
        to += sizeof word;
    }
    while (bytes-- > 0) {
        *to++ = *from++;
    }
}

static void *copy(void *to, const void *from, size_t bytes)
{
    unsigned char *at = to;
    const unsigned char *source = from;
    if (at <= source || at >= source + bytes) {
        copy_up(at, source, bytes);
    } else {
        while (bytes-- > 0) {
            at[bytes] = source[bytes];
        }
    }
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    count(from, bytes, __builtin_return_address(0));
    return copy(to, from, bytes);
}

void *memmove(void *to, const void *from, size_t bytes)
{
    count(from, bytes, __builtin_return_address(0));
    return copy(to, from, bytes);
}

void *mempcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    count(from, bytes, __builtin_return_address(0));
    return (char *)copy(to, from, bytes) + bytes;
}

void *__memcpy_chk(void *restrict to, const void *restrict from, size_t bytes, size_t room)
{
    if (bytes > room) {
        abort();
    }
    count(from, bytes, __builtin_return_address(0));
    return copy(to, from, bytes);
}

void *__memmove_chk(void *to, const void *from, size_t bytes, size_t room)
{
    if (bytes > room) {
        abort();
    }
    count(from, bytes, __builtin_return_address(0));
    return copy(to, from, bytes);
}

void *__mempcpy_chk(void *restrict to, const void *restrict from, size_t bytes, size_t room)
{
    if (bytes > room) {
        abort();
    }
    count(from, bytes, __builtin_return_address(0));
    return (char *)copy(to, from, bytes) + bytes;
}

__attribute__((constructor)) static void begin(void)
{
    const char *dir = getenv("PAWL_COPIES_DIR");
    char path[512];
    if (dir == NULL || snprintf(path, sizeof path, "%s/%s.%d", dir, program_invocation_short_name,
                                (int)getpid()) >= (int)sizeof path) {
        return;
    }
    size_t bytes = COPIES_OBJECTS * sizeof(struct copies_row);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) {
        fprintf(stderr, "libpawl-copies: %s can't be made\n", path);
        abort();
    }
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory == MAP_FAILED) {
        abort();
    }
    atomic_store(&rows_count, 1);
    rows = memory;
}
