// SPDX-License-Identifier: Apache-2.0
// A part of the roofline by itself: `depth` writes or reads of one size in flight, in order through the file.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "perf/roofline/node.h"

struct slot {
    struct disk_request request;
    uint64_t start_ns;
};

struct disk_part {
    const struct node_config *config;
    struct disk disk;
    uint8_t *memory;
    struct slot *slots;
    uint32_t in_flight_count;
    uint64_t offset;
    uint64_t now_ns, end_ns;
    struct pawl_histogram *latencies;
    int code;
    char *error;
};

static int part_fail(struct disk_part *part, int code, const char *why)
{
    return node_error(part->error, code, part->disk.error[0] != '\0' ? part->disk.error : why);
}

static int slot_start(struct disk_part *part, struct slot *slot);

static void slot_done(void *user, struct disk_request *request)
{
    struct disk_part *part = user;
    struct slot *slot = request->owner;

    part->in_flight_count--;
    part->now_ns = pawl_clock_ns();
    pawl_histogram_record(part->latencies, part->now_ns - slot->start_ns);
    if (part->now_ns < part->end_ns && part->code == 0) {
        part->code = slot_start(part, slot);
    }
}

static int slot_start(struct disk_part *part, struct slot *slot)
{
    const struct roofline_options *options = &part->config->options;
    size_t place = (size_t)(slot - part->slots);
    struct iovec piece = {.iov_base = part->memory + place * options->record_bytes,
                          .iov_len = options->record_bytes};

    if (part->offset + options->record_bytes > options->file_bytes) {
        part->offset = 0;
    }
    uint64_t offset = part->offset;
    part->offset += options->record_bytes;
    part->in_flight_count++;
    slot->start_ns = part->now_ns;
    slot->request.done = slot_done;
    slot->request.owner = slot;
    return options->what == ROOFLINE_READ
               ? disk_read(&part->disk, &slot->request, DISK_DATA, &piece, offset)
               : disk_write(&part->disk, &slot->request, DISK_DATA, &piece, offset,
                            part->config->is_local_flush);
}

static int part_work(struct disk_part *part, struct control_message *message)
{
    uint64_t start_ns = pawl_clock_ns();

    part->now_ns = start_ns;
    part->end_ns = start_ns + message->u.point.duration_ms * PAWL_NS_PER_MS;
    part->latencies = &message->latencies;
    part->code = 0;
    pawl_histogram_init(&message->latencies);
    int rc = 0;
    for (uint32_t i = 0; i < part->config->options.depth && rc == 0; i++) {
        rc = slot_start(part, &part->slots[i]);
    }
    while (rc == 0 && part->in_flight_count > 0) {
        rc = disk_submit_wait(&part->disk); // a disk that is silent: the caller's process gives up
        int taken = rc == 0 ? disk_poll(&part->disk) : rc;
        rc = taken < 0 ? taken : part->code;
    }
    message->window_ns = pawl_clock_ns() - start_ns;
    return rc == 0 ? 0 : part_fail(part, rc, strerror(-rc));
}

static int part_open(struct disk_part *part)
{
    const struct roofline_options *options = &part->config->options;
    size_t bytes = (size_t)options->depth * options->record_bytes;
    const int fds[2] = {CONTROL_DATA_FD, CONTROL_DATA_FD};

    part->memory = node_memory(bytes);
    part->slots = calloc(options->depth, sizeof(*part->slots));
    if (part->memory == NULL || part->slots == NULL) {
        return part_fail(part, -ENOMEM, "memory");
    }
    memset(part->memory, 0x5a, bytes);
    struct iovec buffer = {.iov_base = part->memory, .iov_len = bytes};
    int rc = disk_open(&part->disk, fds, &buffer, 1, part);
    return rc == 0 ? 0 : part_fail(part, rc, strerror(-rc));
}

static int part_loop(struct disk_part *part, struct control_message *message)
{
    for (;;) {
        int rc = control_receive(CONTROL_FD, -1, message);
        if (rc < 0 || (rc == 1 && message->type == CONTROL_STOP)) {
            return PAWL_MIN(rc, 0);
        }
        if (rc == 1) {
            rc = message->type == CONTROL_RUN ? part_work(part, message)
                                              : part_fail(part, -EBADMSG, "an unknown command");
            rc = rc == 0 ? control_send(CONTROL_FD, message) : rc;
        }
        if (rc < 0) {
            return rc;
        }
    }
}

int disk_part_run(const struct node_config *config, char error[ROOFLINE_TEXT_MAX])
{
    struct disk_part part = {.config = config, .error = error};
    struct control_message *message = malloc(sizeof(*message));

    if (message == NULL) {
        return node_error(error, -ENOMEM, "memory");
    }
    control_message_init(message, CONTROL_OPEN);
    int rc = part_open(&part);
    rc = rc == 0 ? control_send(CONTROL_FD, message) : rc;
    rc = rc == 0 ? part_loop(&part, message) : rc;
    disk_close(&part.disk);
    free(part.memory);
    free(part.slots);
    free(message);
    return rc;
}
