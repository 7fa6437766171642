// SPDX-License-Identifier: Apache-2.0
// Checksum, table of records and second write of the null store.
#include "perf/roofline/duties.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "perf/roofline/server.h"

#define CHUNK_BYTES (64u << 20)
#define ROWS_MAX 65536u

static int table_open(struct duties *duties, const struct roofline_options *options)
{
    uint32_t places = 2;

    duties->rows_max = PAWL_MIN(PAWL_MAX(CHUNK_BYTES / options->record_bytes, 1u), ROWS_MAX);
    while (places < 2 * duties->rows_max) {
        places *= 2;
    }
    duties->places_mask = places - 1;
    duties->rows = calloc(duties->rows_max, sizeof(*duties->rows));
    duties->places = calloc(places, sizeof(*duties->places));
    return duties->rows != NULL && duties->places != NULL ? 0 : -ENOMEM;
}

static int pieces_open(struct duties *duties)
{
    duties->memory = node_memory((size_t)DUTIES_PIECES_COUNT * DUTIES_PIECE_BYTES);
    if (duties->memory == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < DUTIES_PIECES_COUNT; i++) {
        duties->pieces[i].bytes = duties->memory + (size_t)i * DUTIES_PIECE_BYTES;
        duties->free[duties->free_count++] = &duties->pieces[i];
    }
    return 0;
}

int duties_open(struct duties *duties, const struct roofline_options *options)
{
    int rc = 0;

    *duties = (struct duties){.which = options->duties};
    if ((duties->which & ROOFLINE_DUTY_TABLE) != 0) {
        rc = table_open(duties, options);
    }
    if (rc == 0 && (duties->which & ROOFLINE_DUTY_SECOND_WRITE) != 0) {
        rc = pieces_open(duties);
    }
    return rc;
}

void duties_close(struct duties *duties)
{
    free(duties->rows);
    free(duties->places);
    free(duties->memory);
}

struct iovec duties_memory(const struct duties *duties)
{
    size_t bytes = (size_t)DUTIES_PIECES_COUNT * DUTIES_PIECE_BYTES;

    return (struct iovec){.iov_base = duties->memory,
                          .iov_len = duties->memory != NULL ? bytes : 0};
}

int duties_check(const struct duties *duties, const void *payload, uint32_t bytes, uint32_t crc,
                 const char **ret_why)
{
    if ((duties->which & ROOFLINE_DUTY_CHECKSUM) == 0 || pawl_crc32c(0, payload, bytes) == crc) {
        return 0;
    }
    *ret_why = "a payload that does not match its checksum";
    return -EBADMSG;
}

int duties_note(struct duties *duties, const struct record *record, const char **ret_why)
{
    if ((duties->which & ROOFLINE_DUTY_TABLE) == 0) {
        return 0;
    }
    if (duties->rows_count == duties->rows_max) {
        memset(duties->places, 0, ((size_t)duties->places_mask + 1) * sizeof(*duties->places));
        duties->rows_count = 0;
    }
    uint64_t place = pawl_hash_u64(record->sequence ^ (uint64_t)record->client << 48);
    for (place &= duties->places_mask; duties->places[place] != 0;
         place = (place + 1) & duties->places_mask) {
        const struct duties_row *row = &duties->rows[duties->places[place] - 1];
        if (row->sequence == record->sequence && row->client == record->client) {
            *ret_why = "a record that came before";
            return -EBADMSG;
        }
    }
    duties->rows[duties->rows_count++] = (struct duties_row){
        .sequence = record->sequence,
        .index = record->index,
        .place = record->place,
        .client = record->client,
        .length = record->length,
    };
    duties->places[place] = duties->rows_count;
    return 0;
}

bool duties_has_room(const struct duties *duties, uint64_t bytes)
{
    uint64_t room = (uint64_t)duties->free_count * DUTIES_PIECE_BYTES;

    if (duties->filling != NULL) {
        room += DUTIES_PIECE_BYTES - duties->filled_bytes;
    }
    return (duties->which & ROOFLINE_DUTY_SECOND_WRITE) == 0 || bytes <= room;
}

static void piece_written(void *user, struct disk_request *request)
{
    struct server *server = user;
    struct duties *duties = &server->duties;

    duties->free[duties->free_count++] = request->owner;
}

static int piece_write(struct server *server)
{
    struct duties *duties = &server->duties;
    struct duties_piece *piece = duties->filling;
    struct iovec from = {.iov_base = piece->bytes, .iov_len = DUTIES_PIECE_BYTES};
    uint64_t offset = duties->offset;

    if (offset + DUTIES_PIECE_BYTES > server->config->options.file_bytes) {
        offset = 0;
    }
    duties->offset = offset + DUTIES_PIECE_BYTES;
    duties->filling = NULL;
    duties->filled_bytes = 0;
    piece->write.done = piece_written;
    piece->write.owner = piece;
    return disk_write(&server->disk, &piece->write, DISK_DATA, &from, offset, false);
}

int duties_write(struct server *server, const void *payload, uint32_t bytes)
{
    struct duties *duties = &server->duties;
    const uint8_t *from = payload;
    int rc = 0;

    while (bytes > 0 && rc == 0) {
        if (duties->filling == NULL) {
            pawl_assert(duties->free_count > 0);
            duties->filling = duties->free[--duties->free_count];
        }
        uint32_t count = PAWL_MIN(bytes, DUTIES_PIECE_BYTES - duties->filled_bytes);
        memcpy(duties->filling->bytes + duties->filled_bytes, from, count);
        duties->filled_bytes += count;
        from += count;
        bytes -= count;
        rc = duties->filled_bytes == DUTIES_PIECE_BYTES ? piece_write(server) : 0;
    }
    return rc;
}
