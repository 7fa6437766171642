// SPDX-License-Identifier: Apache-2.0
// One client: keeps `depth` records in flight, or sends at a rate; measures; checks that each is answered once.
#include "perf/roofline/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/crc32c.h"

#define CONNECT_MS 5000u

static int client_fail(struct client *client, int code, const char *why)
{
    const char *said = client->transport.error[0] != '\0' ? client->transport.error : why;

    if (client->error[0] == '\0') {
        snprintf(client->error, sizeof(client->error), "client %u: %.256s", client->index, said);
    }
    return code;
}

static bool is_read(const struct client *client)
{
    return client->config->options.what == ROOFLINE_READ;
}

// ---- answers ----------------------------------------------------------------------------------

static void latency_note(struct client *client, uint64_t slot)
{
    uint64_t start_ns = client->starts_ns[slot];

    client->starts_ns[slot] = 0;
    client->answered_count++;
    client->stats.records_count++;
    client->progress_ns = client->now_ns;
    client->last_answer_ns = client->now_ns;
    client->stats.window_count +=
        client->now_ns >= client->run->window_ns && client->now_ns < client->run->end_ns;
    // Of those that began, or were due, within the measurement, whenever they are answered: as pawl-perf counts.
    if (start_ns >= client->run->window_ns && start_ns < client->run->end_ns) {
        uint64_t took_ns = client->now_ns > start_ns ? client->now_ns - start_ns : 0;
        pawl_histogram_record(&client->latencies, took_ns);
    }
}

// Each answer is for the oldest run, and names its last record.
static int appended_take(struct client *client, const struct frame *frame)
{
    const struct appended_entry *entry = (const void *)(frame + 1);
    uint32_t depth = client->shape.depth;

    for (uint32_t i = 0; i < frame->count; i++, entry++) {
        uint32_t count = client->runs[client->answered_count % depth];
        if (client->answered_count == client->next_sequence ||
            entry->sequence != client->answered_count + count - 1) {
            return client_fail(client, -EBADMSG, "an answer out of order, or for nothing");
        }
        for (uint32_t j = 0; j < count; j++) {
            latency_note(client, client->answered_count % depth);
        }
    }
    return 0;
}

static uint64_t read_offset(const struct client *client, uint64_t sequence)
{
    const struct roofline_options *options = &client->config->options;
    uint64_t blocks = options->file_bytes / options->clients / options->record_bytes;

    return (client->index * blocks + sequence % blocks) * options->record_bytes;
}

static int read_take(struct client *client, const struct frame_read_done *done)
{
    const struct shape *shape = &client->shape;
    uint64_t slot = done->sequence % shape->depth;
    uint64_t sequence = done->sequence / shape->depth;

    if (sequence >= client->next_sequence || client->starts_ns[slot] == 0 ||
        done->length != shape->record_bytes) {
        return client_fail(client, -EBADMSG, "an answer to a read that was not asked for");
    }
    if (client->config->options.is_verified) {
        uint64_t block = read_offset(client, sequence) / shape->record_bytes;
        if (!shape_payload_is(client->memory + slot * shape->slot_bytes, shape->record_bytes, 0,
                              block)) {
            return client_fail(client, -EBADMSG, "a read brought other bytes than the file's");
        }
        client->stats.verified_count++;
    }
    latency_note(client, slot);
    client->servers[client->slots.servers[slot]].reads_count--;
    client->slots.free[client->slots.free_count++] = (uint32_t)slot;
    return 0;
}

static int conn_message(void *user, struct transport_conn *conn, const void *bytes, uint32_t count)
{
    struct client *client = user;
    const struct frame *frame = bytes;
    const char *why = shape_frame_check(bytes, count);

    if (why != NULL) {
        return client_fail(client, -EBADMSG, why);
    }
    if (frame->type == FRAME_WELCOME) {
        const struct frame_welcome *welcome = bytes;
        struct client_server *server = conn->user;
        server->address = welcome->address;
        server->key = welcome->key;
        server->is_welcomed = true;
        return 0;
    }
    if (client->run != NULL && !is_read(client) && frame->type == FRAME_APPENDED) {
        return appended_take(client, frame);
    }
    if (client->run != NULL && is_read(client) && frame->type == FRAME_READ_DONE) {
        return read_take(client, bytes);
    }
    return client_fail(client, -EBADMSG, "a message that is no answer");
}

static void op_done(void *user, struct transport_op *op)
{
    struct client *client = user;

    if (op->kind == TRANSPORT_WRITE) {
        writes_done(&client->writes, op);
    } else {
        outbox_done(op);
    }
}

static int conn_opened(void *user, struct transport_conn *conn)
{
    (void)user;
    (void)conn;
    return 0;
}

static const struct transport_calls client_calls = {
    .opened = conn_opened,
    .message = conn_message,
    .done = op_done,
};

// ---- sending ----------------------------------------------------------------------------------

// When a record is due; 0: at once.
static uint64_t due_of(const struct client *client, uint64_t sequence)
{
    const struct roofline_options *options = &client->config->options;

    if (options->rate_per_s <= 0) {
        return 0;
    }
    double turn = (double)(sequence - client->run_first) * options->clients + client->index;
    return client->run->start_ns + (uint64_t)(turn / options->rate_per_s * 1e9);
}

static uint64_t due_ns(const struct client *client)
{
    return due_of(client, client->next_sequence);
}

// Appends are answered in order, so the slots of the next ones are the first to be free.
static bool has_room(const struct client *client, uint64_t sequence)
{
    return is_read(client) ? client->slots.free_count > 0
                           : sequence - client->answered_count < client->shape.depth;
}

// Nothing from this one on is to be sent.
static bool is_over(const struct client *client, uint64_t sequence)
{
    uint32_t records_max = client->config->options.records_max;

    return client->now_ns >= client->run->end_ns ||
           (records_max != 0 && sequence - client->run_first >= records_max);
}

static bool may_send(const struct client *client, uint64_t sequence)
{
    return has_room(client, sequence) && !is_over(client, sequence) &&
           client->now_ns >= due_of(client, sequence);
}

// The next `count` records, with so many bytes behind their entry.
static struct append_entry *entry_add(const struct client *client, struct outbox_message *message,
                                      uint32_t count, uint32_t bytes)
{
    struct append_entry *entry = outbox_entry(message, sizeof(*entry), NULL, bytes);

    entry->sequence = client->next_sequence;
    entry->client = client->index;
    entry->length = count * client->shape.record_bytes;
    entry->count = count;
    return entry;
}

static int slice_write(struct client *client, uint8_t *slot, uint64_t offset, uint32_t bytes)
{
    const struct client_server *primary = &client->servers[0];
    const struct shape *shape = &client->shape;
    struct iovec from = {.iov_base = slot + offset, .iov_len = bytes};
    uint64_t number = client->index * shape->depth + client->next_sequence % shape->depth;

    return writes_post(&client->writes, primary->conn, &from, client->region.desc,
                       primary->address + number * shape->slot_bytes + offset, primary->key);
}

// The payload into the primary's window; all slices but the last are announced by themselves.
static int payload_push(struct client *client, struct outbox_message *message, uint8_t *slot,
                        uint32_t crc)
{
    uint32_t length = client->shape.record_bytes;
    uint32_t slice = client->run->point.slice_bytes;
    uint64_t offset = 0;

    slice = slice != 0 ? slice : length;
    for (; length - offset > slice; offset += slice) {
        struct outbox_message *announce = outbox_take(&client->outbox);
        int rc = slice_write(client, slot, offset, slice);
        if (rc != 0 || announce == NULL) {
            return client_fail(client, rc != 0 ? rc : -EBUSY, "too many slices on their way");
        }
        struct append_entry *entry = entry_add(client, announce, 1, 0);
        entry->offset = offset;
        entry->bytes = slice;
        rc = outbox_send(announce, FRAME_SLICE, &client->servers[0].conn, 1);
        if (rc != 0) {
            return rc;
        }
    }
    struct append_entry *entry = entry_add(client, message, 1, 0);
    entry->offset = offset;
    entry->bytes = (uint32_t)(length - offset);
    entry->crc = crc;
    return slice_write(client, slot, offset, entry->bytes);
}

// The record that comes next, as its program has it; its checksum, where that is a duty.
static uint8_t *record_make(struct client *client, uint64_t sequence, uint32_t *ret_crc)
{
    const struct roofline_options *options = &client->config->options;
    const struct shape *shape = &client->shape;
    uint64_t place = sequence % shape->depth;
    uint8_t *slot = client->memory + place * shape->slot_bytes;
    bool is_summed = (options->duties & ROOFLINE_DUTY_CHECKSUM) != 0;

    client->starts_ns[place] = options->rate_per_s > 0 ? due_of(client, sequence) : client->now_ns;
    shape_payload_fill(slot, shape->record_bytes, client->index, sequence, options->is_verified);
    *ret_crc = is_summed ? pawl_crc32c(0, slot, shape->record_bytes) : 0;
    return slot;
}

// Small records: a run, or one alone, by value.
static void run_add(struct client *client, struct outbox_message *message, uint32_t count)
{
    uint32_t length = client->shape.record_bytes;
    uint32_t rows_bytes = shape_rows_bytes(count);
    struct append_entry *entry = entry_add(client, message, count, rows_bytes + count * length);
    uint8_t *row_at = (uint8_t *)(entry + 1);
    uint8_t *at = row_at + rows_bytes;

    for (uint32_t i = 0; i < count; i++, at += length) {
        struct wire_run_row row = {.length = length};
        memcpy(at, record_make(client, client->next_sequence + i, &row.crc), length);
        if (rows_bytes > 0) {
            memcpy(row_at + i * sizeof(row), &row, sizeof(row));
        } else {
            entry->crc = row.crc;
        }
    }
}

static int append_add(struct client *client, struct outbox_message *message, uint32_t count)
{
    int rc = 0;

    client->runs[client->next_sequence % client->shape.depth] = count;
    if (client->shape.is_pushed) {
        uint32_t crc;
        uint8_t *slot = record_make(client, client->next_sequence, &crc);
        rc = payload_push(client, message, slot, crc);
    } else {
        run_add(client, message, count);
    }
    message->records += count;
    client->next_sequence += count;
    client->stats.sent_count += count;
    return rc;
}

// How many of the next records may be sent now, up to `most`.
static uint32_t sendable_count(const struct client *client, uint32_t most)
{
    uint32_t count = 0;

    while (count < most && may_send(client, client->next_sequence + count)) {
        count++;
    }
    return count;
}

// What may be sent now travels together, at most a batch a message, as long runs as can be.
static int appends_send(struct client *client)
{
    uint32_t most = shape_message_records(&client->shape, client->run->point.batch);
    uint32_t count = sendable_count(client, most);
    int rc = 0;

    while (rc == 0 && count > 0) {
        struct outbox_message *message = outbox_take(&client->outbox);
        if (message == NULL) {
            return client_fail(client, -EBUSY, "too many messages on their way");
        }
        while (rc == 0 && count > 0) {
            uint32_t run = PAWL_MIN(count, client->shape.run_max);
            rc = append_add(client, message, run);
            count -= run;
        }
        rc = rc == 0 ? outbox_send(message, FRAME_APPEND, &client->servers[0].conn, 1) : rc;
        count = sendable_count(client, most);
    }
    return rc;
}

// Of the servers that take part the one that has the fewest reads to answer, as Pawl's client does; by turns when all
// have as many.
static uint32_t source_of(const struct client *client)
{
    uint32_t count = PAWL_MIN(PAWL_MAX(client->run->point.sources, 1u), client->servers_count);
    uint32_t best = (uint32_t)(client->next_sequence % count);

    for (uint32_t i = 0; i < count; i++) {
        if (client->servers[i].reads_count < client->servers[best].reads_count) {
            best = i;
        }
    }
    return best;
}

static int reads_send(struct client *client)
{
    const struct shape *shape = &client->shape;
    int rc = 0;

    while (rc == 0 && may_send(client, client->next_sequence)) {
        uint64_t sequence = client->next_sequence;
        struct outbox_message *message = outbox_take(&client->outbox);
        if (message == NULL) {
            return client_fail(client, -EBUSY, "too many messages on their way");
        }
        uint64_t slot = client->slots.free[--client->slots.free_count];
        uint32_t source = source_of(client);
        client->slots.servers[slot] = source;
        client->servers[source].reads_count++;
        struct frame_read *ask = (void *)message->bytes;
        (void)outbox_add(message, sizeof(*ask) - sizeof(struct frame));
        ask->sequence = sequence * shape->depth + slot; // the server's buffer goes with the slot
        ask->offset = read_offset(client, sequence);
        ask->address = client->region.remote + slot * shape->slot_bytes;
        ask->key = client->region.key;
        ask->length = shape->record_bytes;
        ask->client = client->index;
        client->starts_ns[slot] =
            client->config->options.rate_per_s > 0 ? due_ns(client) : client->now_ns;
        client->next_sequence++;
        client->stats.sent_count++;
        rc = outbox_send(message, FRAME_READ, &client->servers[source].conn, 1);
    }
    return rc;
}

// ---- a run ------------------------------------------------------------------------------------

static int client_sleep(struct client *client)
{
    uint64_t until_ns = client->now_ns + 100 * PAWL_NS_PER_MS;
    struct pollfd polls[] = {
        {.fd = client->transport.fds[0], .events = POLLIN},
        {.fd = client->transport.fds[1], .events = POLLIN},
    };

    if (!is_over(client, client->next_sequence) && has_room(client, client->next_sequence)) {
        until_ns = PAWL_MAX(due_ns(client), client->run->start_ns);
    }
    if (until_ns <= client->now_ns || !transport_may_sleep(&client->transport)) {
        return 0;
    }
    uint64_t left_ns = PAWL_MIN(until_ns - client->now_ns, 100 * PAWL_NS_PER_MS);
    struct timespec left = {.tv_sec = 0, .tv_nsec = (long)left_ns};
    (void)ppoll(polls, PAWL_ARRAY_COUNT(polls), &left, NULL);
    return 0;
}

static int client_turn(struct client *client)
{
    client->now_ns = pawl_clock_ns();
    int taken = transport_poll(&client->transport);
    if (taken < 0) {
        return client_fail(client, taken, strerror(-taken));
    }
    int rc = client->now_ns < client->run->start_ns ? 0
             : is_read(client)                      ? reads_send(client)
                                                    : appends_send(client);
    if (rc != 0) {
        return client_fail(client, rc, strerror(-rc));
    }
    if (idler_is_over(&client->idler, taken > 0)) {
        return client_sleep(client);
    }
    return 0;
}

static int progress_check(struct client *client)
{
    uint64_t most_ns = client->config->options.operation_ms * PAWL_NS_PER_MS;
    char why[96];

    if (client->next_sequence == client->answered_count) {
        client->progress_ns = client->now_ns;
    }
    if (client->now_ns < client->progress_ns + most_ns) {
        return 0;
    }
    snprintf(why, sizeof(why), "%llu records are not answered after %u ms",
             (unsigned long long)(client->next_sequence - client->answered_count),
             client->config->options.operation_ms);
    return client_fail(client, -ETIMEDOUT, why);
}

// What an open loop owes when it ends counts with the time that it had waited so far: leaving it out would hide the
// very stall that made it late (coordinated omission).
static void owed_note(struct client *client)
{
    const struct client_run *run = client->run;
    uint64_t records_max = client->config->options.records_max;

    if (client->config->options.rate_per_s <= 0) {
        return;
    }
    for (uint64_t i = client->next_sequence;
         due_of(client, i) < run->end_ns &&
         (records_max == 0 || i - client->run_first < records_max);
         i++) {
        if (due_of(client, i) >= run->window_ns) {
            pawl_histogram_record(&client->latencies, run->end_ns - due_of(client, i));
        }
    }
}

int client_work(struct client *client, const struct client_run *run)
{
    client->run = run;
    client->run_first = client->next_sequence;
    client->idler = (struct idler){.wait = run->point.wait};
    client->stats = (struct node_stats){0};
    client->messages_start = client->transport.messages_count;
    client->message_bytes_start = client->transport.message_bytes;
    client->transfers_start = client->transport.transfers_count;
    client->last_answer_ns = 0;
    pawl_histogram_init(&client->latencies);
    client->now_ns = pawl_clock_ns();
    client->progress_ns = PAWL_MAX(client->now_ns, run->start_ns);
    int rc = 0;
    while (rc == 0 && (!is_over(client, client->next_sequence) ||
                       client->answered_count < client->next_sequence)) {
        rc = client_turn(client);
        rc = rc == 0 ? progress_check(client) : rc;
    }
    if (rc == 0) {
        owed_note(client);
    }
    client->stats.messages_count = client->transport.messages_count - client->messages_start;
    client->stats.message_bytes = client->transport.message_bytes - client->message_bytes_start;
    client->stats.transfers_count = client->transport.transfers_count - client->transfers_start;
    client->run = NULL;
    return rc;
}

// ---- opening ----------------------------------------------------------------------------------

static int memory_open(struct client *client)
{
    const struct shape *shape = &client->shape;
    size_t bytes = (size_t)shape->depth * shape->slot_bytes;
    uint32_t batch = client->config->batch_max;
    uint32_t records = shape_message_records(shape, batch);
    uint32_t slices = shape->record_bytes / (64u << 10) + 2;
    uint32_t message = shape_append_bytes_max(shape, records);

    client->memory = node_memory(bytes);
    client->starts_ns = calloc(shape->depth, sizeof(*client->starts_ns));
    client->runs = calloc(shape->depth, sizeof(*client->runs));
    client->slots.free = calloc(shape->depth, sizeof(*client->slots.free));
    client->slots.servers = calloc(shape->depth, sizeof(*client->slots.servers));
    if (client->memory == NULL || client->starts_ns == NULL || client->runs == NULL ||
        client->slots.free == NULL || client->slots.servers == NULL) {
        return client_fail(client, -ENOMEM, "memory for records");
    }
    for (uint32_t i = shape->depth; i-- > 0;) {
        client->slots.free[client->slots.free_count++] = i;
    }
    memset(client->memory, 0x5a, bytes);
    int rc = transport_region_open(&client->transport, client->memory, bytes, &client->region);
    if (rc == 0) {
        rc = outbox_open(&client->outbox, &client->transport, shape->depth * slices + 8,
                         PAWL_MAX(message, (uint32_t)sizeof(struct frame_read)));
    }
    rc = rc == 0 ? writes_open(&client->writes, shape->depth * slices + 8) : rc;
    return rc == 0 ? 0 : client_fail(client, rc, strerror(-rc));
}

static int servers_connect(struct client *client)
{
    const struct node_config *config = client->config;
    uint32_t bytes =
        PAWL_MAX(shape_appended_bytes(config->batch_max), (uint32_t)sizeof(struct frame_welcome));
    uint32_t receives = PAWL_MAX(client->shape.depth, 16u);
    struct transport_greeting greeting = {.index = client->index};

    client->servers_count = is_read(client) ? config->options.replicas : 1;
    for (uint32_t i = 0; i < client->servers_count; i++) {
        struct client_server *server = &client->servers[i];
        int rc = transport_connect(&client->transport, config->host, client->ports[i], &greeting,
                                   receives, bytes, &server->conn);
        if (rc != 0) {
            return client_fail(client, rc, "connecting");
        }
        server->conn->greeting.is_link = 1; // for messages: the peer is a server
        server->conn->greeting.index = i;
        server->conn->user = server;
    }
    return 0;
}

static int welcomes_wait(struct client *client)
{
    uint64_t until_ns = pawl_clock_ns() + CONNECT_MS * PAWL_NS_PER_MS;

    for (uint32_t i = 0; i < client->servers_count;) {
        if (client->servers[i].is_welcomed) {
            i++;
            continue;
        }
        int taken = transport_poll(&client->transport);
        if (taken < 0) {
            return client_fail(client, taken, "connecting");
        }
        if (pawl_clock_ns() >= until_ns) {
            return client_fail(client, -ETIMEDOUT, "a server does not welcome us");
        }
        if (taken == 0 && transport_may_sleep(&client->transport)) {
            struct pollfd polls[] = {
                {.fd = client->transport.fds[0], .events = POLLIN},
                {.fd = client->transport.fds[1], .events = POLLIN},
            };
            (void)poll(polls, PAWL_ARRAY_COUNT(polls), 10);
        }
    }
    return 0;
}

int client_open(struct client *client)
{
    const struct node_config *config = client->config;

    shape_init(&client->shape, &config->options);
    int rc = transport_open(&client->transport, config->provider, NULL, &client_calls, client);
    if (rc != 0) {
        return client_fail(client, rc, "the provider");
    }
    rc = memory_open(client);
    rc = rc == 0 ? servers_connect(client) : rc;
    return rc == 0 ? welcomes_wait(client) : rc;
}

void client_close(struct client *client)
{
    outbox_close(&client->outbox);
    transport_region_close(&client->region);
    transport_close(&client->transport);
    writes_close(&client->writes);
    free(client->memory);
    free(client->starts_ns);
    free(client->runs);
    free(client->slots.free);
    free(client->slots.servers);
}
