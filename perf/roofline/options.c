// SPDX-License-Identifier: Apache-2.0
// Options of a run: defaults and checks.
#include <errno.h>
#include <string.h>

#include "perf/roofline/shape.h"

#define DURATION_MS_MAX 600000u
#define MEMORY_MAX (UINT64_C(1) << 30) // windows of one server
#define SLICE_UNIT (64u << 10)
#define FILE_BYTES_MIN (UINT64_C(1) << 20)
#define FILE_BYTES_MAX (UINT64_C(16) << 30)

void roofline_options_init(struct roofline_options *options)
{
    *options = (struct roofline_options){
        .size = sizeof(*options),
        .what = ROOFLINE_APPEND,
        .provider = "tcp",
        .host = "127.0.0.1",
        .dir = ".",
        .record_bytes = 1024,
        .depth = 1,
        .clients = 1,
        .replicas = 3,
        .is_durable = true,
        .duration_ms = 2000,
        .warm_up_ms = 200,
        .file_bytes = UINT64_C(256) << 20,
        .operation_ms = 10000,
        .stop_fd = -1,
    };
}

static const char *shape_why(const struct roofline_options *options)
{
    if (options->record_bytes < 8 || options->record_bytes > ROOFLINE_RECORD_MAX) {
        return "a record has 8 bytes to 16 MiB";
    }
    if (options->depth < 1 || options->depth > ROOFLINE_DEPTH_MAX) {
        return "the depth is 1 to 256";
    }
    if (options->clients < 1 || options->clients > ROOFLINE_CLIENTS_MAX) {
        return "there are 1 to 64 clients";
    }
    if (options->replicas < 1 || options->replicas > ROOFLINE_REPLICAS_MAX) {
        return "there are 1 to 3 replicas";
    }
    uint64_t slot_bytes = pawl_align_up(options->record_bytes, SHAPE_PAGE_BYTES);
    if (slot_bytes * options->depth * options->clients > MEMORY_MAX) {
        return "records in flight take more than 1 GiB";
    }
    if (options->what == ROOFLINE_READ && options->record_bytes % SHAPE_PAGE_BYTES != 0) {
        return "a read has a multiple of 4096 bytes";
    }
    if (options->sources > options->replicas) {
        return "reads come from as many servers as there are, at most";
    }
    if (options->disk_reads > ROOFLINE_DISK_READS_MAX) {
        return "a server has up to 16384 reads at its disk at once";
    }
    if (options->slice_bytes % SLICE_UNIT != 0) {
        return "a slice has a multiple of 64 KiB";
    }
    return NULL;
}

static const char *duties_why(const struct roofline_options *options)
{
    bool is_small = options->record_bytes <= SHAPE_JOURNALED_MAX;
    uint64_t entry_bytes = options->record_bytes + sizeof(struct journal_entry) + 8;

    if ((options->duties & ~(uint32_t)ROOFLINE_DUTIES_ALL) != 0 ||
        (options->duties != 0 && options->what == ROOFLINE_READ)) {
        return "duties are those of appends";
    }
    if ((options->duties & ROOFLINE_DUTY_SECOND_WRITE) == 0) {
        return NULL;
    }
    if (!options->is_durable || (options->duties == ROOFLINE_DUTY_SECOND_WRITE && !is_small)) {
        return "a second write is of what the journal has: small records that are durable";
    }
    if (is_small && options->batch * entry_bytes > ROOFLINE_SECOND_WRITE_MAX) {
        return "a batch that is written a second time has 15 MiB at most";
    }
    return NULL;
}

// Files that are verified must not be written twice at the same place.
static const char *verified_why(const struct roofline_options *options)
{
    uint64_t records = (uint64_t)options->records_max * options->clients;
    uint64_t most = sizeof(struct journal_entry) + sizeof(struct journal_batch) +
                    2 * SHAPE_PAGE_BYTES + options->record_bytes;

    if (!options->is_verified || options->what == ROOFLINE_READ) {
        return NULL;
    }
    if (options->files != NULL) {
        return "files that were used before can't be verified";
    }
    if (options->records_max == 0) {
        return "what is to be verified has a number of records";
    }
    return records * most > options->file_bytes ? "the files are too small to verify so many"
                                                : NULL;
}

static const char *options_why(const struct roofline_options *options)
{
    if (options->size != sizeof(*options)) {
        return "options of another version";
    }
    if (options->provider == NULL || options->host == NULL || options->dir == NULL) {
        return "provider, host and folder must be named";
    }
    if (options->what > ROOFLINE_READ || options->route > ROOFLINE_CHAIN ||
        options->wait > ROOFLINE_WAIT_YIELD || options->flush > ROOFLINE_SHARED_DSYNC) {
        return "an unknown kind of work, route, flush or way to wait";
    }
    const char *why = shape_why(options);
    why = why == NULL ? duties_why(options) : why;
    if (why != NULL) {
        return why;
    }
    if (options->duration_ms < 1 || options->duration_ms > DURATION_MS_MAX ||
        options->warm_up_ms > DURATION_MS_MAX) {
        return "a measurement takes 1 ms to 600 s";
    }
    uint64_t slot_bytes = pawl_align_up(options->record_bytes, SHAPE_PAGE_BYTES);
    if (options->what == ROOFLINE_READ && options->file_bytes / options->clients < slot_bytes) {
        return "the file is too small for so many readers";
    }
    if (options->file_bytes < FILE_BYTES_MIN || options->file_bytes > FILE_BYTES_MAX ||
        options->file_bytes % SHAPE_PAGE_BYTES != 0 || options->file_bytes < 2 * slot_bytes) {
        return "files have 1 MiB to 16 GiB, pages of 4096 bytes, and room for two records";
    }
    if (!(options->rate_per_s >= 0) || options->rate_per_s > 1e9) {
        return "the rate is up to a billion records a second";
    }
    if (options->operation_ms < 100) {
        return "without progress for 100 ms at least a run goes on";
    }
    return verified_why(options);
}

int roofline_options_check(const struct roofline_options *options, const char **ret_why)
{
    *ret_why = options_why(options);
    return *ret_why == NULL ? 0 : -EINVAL;
}

const char *roofline_wait_name(enum roofline_wait wait)
{
    static const char *const names[] = {"best", "sleep", "spin", "yield"};

    return (size_t)wait < PAWL_ARRAY_COUNT(names) ? names[wait] : "?";
}

const char *roofline_route_name(enum roofline_route route)
{
    static const char *const names[] = {"best", "star", "chain"};

    return (size_t)route < PAWL_ARRAY_COUNT(names) ? names[route] : "?";
}

const char *roofline_duty_name(enum roofline_duty duty)
{
    switch (duty) {
    case ROOFLINE_DUTY_CHECKSUM:
        return "checksum";
    case ROOFLINE_DUTY_TABLE:
        return "table";
    case ROOFLINE_DUTY_SECOND_WRITE:
        return "second-write";
    case ROOFLINE_DUTIES_ALL:
        return "all";
    }
    return "?";
}

const char *roofline_flush_name(enum roofline_flush flush)
{
    static const char *const names[] = {"best", "fdatasync", "dsync", "shared", "shared-dsync"};

    return (size_t)flush < PAWL_ARRAY_COUNT(names) ? names[flush] : "?";
}

const char *roofline_part_unit(enum roofline_part_kind kind)
{
    switch (kind) {
    case ROOFLINE_PART_MESSAGE:
        return "us";
    case ROOFLINE_PART_FLUSH:
        return "1/s";
    default:
        return "bytes_per_s";
    }
}
