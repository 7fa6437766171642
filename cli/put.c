// SPDX-License-Identifier: Apache-2.0
// put: stores a local file as records whose ids are bound to source and destination.
//
// The producer is named after the source's identity (device, inode, size, time of change) and the
// record size; record n holds bytes [(n-1)*size, n*size). So the same command, run again after it was
// interrupted, asks the file for the producer's last sequence and goes on behind it: nothing is stored
// twice. Standard input has no identity: it is stored by an anonymous producer and can't be resumed.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/hash.h"
#include "cli/cli.h"

#define PUT_RECORD_BYTES (1u << 20)
#define PUT_DEPTH 16u

struct put_slot {
    struct put *put;
    uint8_t *buffer;
    void *heap; // the buffer, when there is no registered memory for it
    uint32_t bytes;
    bool busy;
};

struct put {
    struct pawl *pawl;
    struct pawl_file *file;
    const char *source;
    const char *target;
    const char *progress_path;
    int fd;
    struct stat before;
    bool resumable;
    uint64_t record_bytes;
    uint64_t chunk_bytes;
    uint32_t replicas;
    uint32_t depth;
    uint32_t deadline_ms;
    struct put_slot *slots;
    uint32_t busy_count;
    uint64_t read_bytes;  // taken from the source, this run's begin included
    uint64_t acked_bytes; // of this run and of those before
    uint64_t records_count;
    uint64_t resumed_bytes;
    const char *failed; // what the error is about, if it isn't the target
    bool end;
    int status;
    struct cli_progress progress;
};

static uint64_t identity(const struct put *put, uint64_t seed)
{
    const struct stat *stat = &put->before;
    uint64_t parts[6] = {(uint64_t)stat->st_dev,          (uint64_t)stat->st_ino,
                         (uint64_t)stat->st_size,         (uint64_t)stat->st_mtim.tv_sec,
                         (uint64_t)stat->st_mtim.tv_nsec, put->record_bytes};
    return pawl_hash_bytes(parts, sizeof parts, seed);
}

static int changed(const struct put *put, const char *how)
{
    fprintf(stderr,
            "pawl: put: %s: %s\n"
            "      `pawl rm %s` and put it again, or choose another name\n",
            put->source, how, put->target);
    return PAWL_ECHANGED;
}

// Where a former run of the same put stopped.
static int resume(struct put *put)
{
    char name[64];
    snprintf(name, sizeof name, "put-%016llx%016llx", (unsigned long long)identity(put, 1),
             (unsigned long long)identity(put, 2));
    uint64_t last;
    uint64_t there;
    int code = pawl_producer_open(put->file, name, &last);
    // Nothing of a former run can be stored behind this: what is there now is final.
    code = code != 0 ? code : pawl_file_bytes(put->file, &there);
    if (code != 0) {
        return code;
    }
    uint64_t done = PAWL_MIN(last * put->record_bytes, (uint64_t)put->before.st_size);
    if (last == 0 && there != 0) {
        return changed(put, "destination holds other data, or the source changed since a put of "
                            "it was interrupted");
    }
    if (there != done) {
        return changed(put, "somebody else has appended to the destination");
    }
    put->resumed_bytes = done;
    put->read_bytes = done;
    put->acked_bytes = done;
    return 0;
}

static void on_done(void *user, const struct pawl_append_result *result)
{
    struct put_slot *slot = user;
    struct put *put = slot->put;
    slot->busy = false;
    put->busy_count--;
    if (result->status == 0) {
        put->acked_bytes += slot->bytes;
        put->records_count++;
        cli_progress_show(&put->progress, put->acked_bytes);
    } else if (put->status == 0) {
        put->status = result->status;
    }
}

static int fill(struct put *put, struct put_slot *slot)
{
    slot->bytes = 0;
    while (slot->bytes < put->record_bytes) {
        size_t room = put->record_bytes - slot->bytes;
        ssize_t got = put->resumable ? pread(put->fd, slot->buffer + slot->bytes, room,
                                             (off_t)(put->read_bytes + slot->bytes))
                                     : read(put->fd, slot->buffer + slot->bytes, room);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            put->failed = put->source;
            return -errno;
        }
        if (got == 0) {
            put->end = true;
            break;
        }
        slot->bytes += (uint32_t)got;
    }
    put->read_bytes += slot->bytes;
    if (put->resumable && put->read_bytes > (uint64_t)put->before.st_size) {
        return changed(put, "the source grew while it was stored");
    }
    return 0;
}

static struct put_slot *free_slot(struct put *put)
{
    for (uint32_t i = 0; i < put->depth; i++) {
        if (!put->slots[i].busy) {
            return &put->slots[i];
        }
    }
    return NULL;
}

static int send_next(struct put *put, struct put_slot *slot)
{
    int code = fill(put, slot);
    if (code != 0 || slot->bytes == 0) {
        return code;
    }
    struct pawl_append_options options = {.size = sizeof options, .deadline_ms = put->deadline_ms};
    do {
        code = pawl_append_submit(put->file, slot->buffer, slot->bytes, &options, on_done, slot);
        if (code == -EAGAIN) {
            pawl_poll(put->pawl, 100);
        }
    } while (code == -EAGAIN && put->status == 0);
    if (code == 0) {
        slot->busy = true;
        put->busy_count++;
    }
    return code;
}

static int pump(struct put *put)
{
    while (put->status == 0 && !(put->end && put->busy_count == 0)) {
        struct put_slot *slot = put->end ? NULL : free_slot(put);
        if (slot != NULL) {
            int code = send_next(put, slot);
            put->status = put->status != 0 ? put->status : code;
        } else {
            pawl_poll(put->pawl, 1000);
        }
    }
    while (put->busy_count != 0) { // their buffers are ours again only after their callbacks
        pawl_poll(put->pawl, 1000);
    }
    return put->status;
}

static int check_after(struct put *put)
{
    struct stat after;
    if (!put->resumable) {
        return 0;
    }
    if (fstat(put->fd, &after) != 0) {
        return -errno;
    }
    bool same = after.st_size == put->before.st_size &&
                after.st_mtim.tv_sec == put->before.st_mtim.tv_sec &&
                after.st_mtim.tv_nsec == put->before.st_mtim.tv_nsec &&
                put->acked_bytes == (uint64_t)put->before.st_size;
    return same ? 0 : changed(put, "the source changed while it was stored");
}

static int slots_new(struct put *put)
{
    put->slots = calloc(put->depth, sizeof *put->slots);
    if (put->slots == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < put->depth; i++) {
        struct put_slot *slot = &put->slots[i];
        slot->put = put;
        slot->buffer = pawl_mem_alloc(put->pawl, put->record_bytes); // read into, and sent from
        if (slot->buffer == NULL) {
            slot->heap = aligned_alloc(4096, pawl_align_up(put->record_bytes, 4096));
            slot->buffer = slot->heap;
        }
        if (slot->buffer == NULL) {
            return -ENOMEM;
        }
    }
    return 0;
}

static void slots_free(struct put *put)
{
    for (uint32_t i = 0; put->slots != NULL && i < put->depth; i++) {
        if (put->slots[i].heap == NULL) {
            pawl_mem_free(put->pawl, put->slots[i].buffer);
        }
        free(put->slots[i].heap);
    }
    free(put->slots);
}

static int open_both(struct put *put)
{
    put->fd =
        strcmp(put->source, "-") == 0 ? STDIN_FILENO : open(put->source, O_RDONLY | O_CLOEXEC);
    put->failed = put->source;
    if (put->fd < 0 || fstat(put->fd, &put->before) != 0) {
        return -errno;
    }
    if (S_ISDIR(put->before.st_mode)) {
        return -EISDIR;
    }
    put->failed = NULL;
    put->resumable = S_ISREG(put->before.st_mode) && put->fd != STDIN_FILENO;
    // What has no identity can't go on where it stopped: it makes a file of its own.
    struct pawl_create_options options = {.size = sizeof options,
                                          .replicas = put->replicas,
                                          .chunk_bytes = put->chunk_bytes,
                                          .exclusive = !put->resumable};
    int code = pawl_create(put->pawl, put->target, &options, &put->file);
    if (code != 0) {
        return code;
    }
    put->record_bytes = PAWL_MIN(put->record_bytes, pawl_record_bytes_max(put->file));
    return put->resumable ? resume(put) : 0;
}

static void report(const struct cli *cli, const struct put *put, double seconds)
{
    struct pawl_counters counters;
    pawl_counters(put->file, &counters);
    uint64_t bytes = put->acked_bytes - put->resumed_bytes;
    double rate = seconds > 0 ? (double)bytes / seconds : 0;
    if (cli->json) {
        json_t *root = json_pack(
            "{s:o,s:o,s:I,s:f,s:f,s:I,s:I,s:I,s:I,s:I,s:I}", "source", cli_json_text(put->source),
            "path", cli_json_text(put->target), "bytes", (json_int_t)put->acked_bytes, "seconds",
            seconds, "bytes_per_s", rate, "records", (json_int_t)put->records_count,
            "resumed_bytes", (json_int_t)put->resumed_bytes, "chunks",
            (json_int_t)counters.chunks_count, "retries", (json_int_t)counters.retries_count,
            "duplicates_refused", (json_int_t)counters.duplicates_count, "recoveries",
            (json_int_t)counters.failovers_count);
        json_dumpf(root, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(root);
        return;
    }
    char size[32];
    char per_second[32];
    printf("%s: %s in %.2f s (%s/s), %llu records, %llu retries, %llu duplicates refused, "
           "%llu failovers\n",
           put->target, cli_bytes_text(put->acked_bytes, size, sizeof size), seconds,
           cli_bytes_text((uint64_t)rate, per_second, sizeof per_second),
           (unsigned long long)put->records_count, (unsigned long long)counters.retries_count,
           (unsigned long long)counters.duplicates_count,
           (unsigned long long)counters.failovers_count);
    if (put->resumed_bytes != 0) {
        printf("%s: went on behind the first %llu bytes of a former run\n", put->target,
               (unsigned long long)put->resumed_bytes);
    }
}

static int run(struct cli *cli, struct put *put)
{
    int code = open_both(put);
    code = code != 0 ? code : slots_new(put);
    uint64_t total = put->resumable ? (uint64_t)put->before.st_size : 0;
    if (code == 0) {
        code = cli_progress_begin(&put->progress, "put", put->resumed_bytes, total,
                                  put->progress_path);
        put->failed = code != 0 ? put->progress_path : NULL;
    }
    if (code == 0) {
        uint64_t begin_ns = pawl_clock_ns();
        code = pump(put);
        cli_progress_end(&put->progress, put->acked_bytes);
        code = code != 0 ? code : check_after(put);
        if (code == 0) {
            report(cli, put, (double)(pawl_clock_ns() - begin_ns) / 1e9);
        }
    }
    pawl_file_close(put->file);
    slots_free(put);
    if (put->fd > STDIN_FILENO) {
        close(put->fd);
    }
    return code;
}

static int parse(struct put *put, int argc, char **argv)
{
    static const struct option options[] = {{"record-bytes", required_argument, NULL, 'b'},
                                            {"chunk-bytes", required_argument, NULL, 'c'},
                                            {"replicas", required_argument, NULL, 'r'},
                                            {"depth", required_argument, NULL, 'd'},
                                            {"progress-file", required_argument, NULL, 'p'},
                                            {NULL, 0, NULL, 0}};
    int option;
    uint64_t value;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'p') {
            put->progress_path = optarg;
            continue;
        }
        if (option == '?' || pawl_config_bytes(optarg, &value) != 0 || value == 0) {
            return cli_usage("put", "bad option or value");
        }
        if (option == 'b') {
            put->record_bytes = PAWL_MIN(value, 16ull << 20);
        } else if (option == 'c') {
            put->chunk_bytes = value;
        } else if (option == 'r') {
            put->replicas = (uint32_t)PAWL_MIN(value, 255ull);
        } else {
            put->depth = (uint32_t)PAWL_MIN(value, 32ull);
        }
    }
    if (argc - optind != 2) {
        return cli_usage("put", "needs SOURCE and DEST");
    }
    put->source = argv[optind];
    put->target = argv[optind + 1];
    return 0;
}

int cli_put(struct cli *cli, int argc, char **argv)
{
    struct put put = {.record_bytes = PUT_RECORD_BYTES,
                      .depth = PUT_DEPTH,
                      .fd = -1,
                      .deadline_ms = cli->deadline_ms};
    int code = parse(&put, argc, argv);
    code = code != 0 ? code : cli_connect(cli, &put.pawl);
    if (code != 0) {
        return code;
    }
    code = run(cli, &put);
    pawl_close(put.pawl);
    if (code == PAWL_ECHANGED) {
        return CLI_FAILED; // said already
    }
    if (code == PAWL_EUNKNOWN && !put.resumable) {
        return cli_fail_with(put.target, code, "a part of it may be stored: `pawl rm` it first");
    }
    return code == 0 ? CLI_OK : cli_fail(put.failed != NULL ? put.failed : put.target, code);
}
