// SPDX-License-Identifier: Apache-2.0
// Inside of a server node: what a store with Pawl's promises has to do beside moving and writing bytes once.
//
// Each is the least that is possible: one pass over what came, one row of a table that is used again and again, one
// copy into pieces that are written with no flush of their own. Which of them are done, the options say.
#ifndef PAWL_PERF_ROOFLINE_DUTIES_H
#define PAWL_PERF_ROOFLINE_DUTIES_H

#include <assert.h>

#include "perf/roofline/disk.h"

#define DUTIES_PIECE_BYTES (256u << 10) // of the second write, as Pawl's write-back has them
#define DUTIES_PIECES_COUNT 64u

// A batch fits beside a piece that is not full yet, which is not written before.
static_assert((DUTIES_PIECES_COUNT - 1) * (uint64_t)DUTIES_PIECE_BYTES >= ROOFLINE_SECOND_WRITE_MAX,
              "pieces");

struct record;
struct server;

struct duties_row {
    uint64_t sequence, index, place;
    uint32_t client, length;
};

struct duties_piece {
    uint8_t *bytes;
    struct disk_request write;
};

struct duties {
    uint32_t which; // enum roofline_duty
    struct duties_row *rows;
    uint32_t rows_count, rows_max; // as many as a chunk has, within bounds; then it begins anew
    uint32_t *places;              // hashed: row + 1; 0: none
    uint32_t places_mask;
    uint8_t *memory;
    struct duties_piece pieces[DUTIES_PIECES_COUNT];
    struct duties_piece *free[DUTIES_PIECES_COUNT];
    uint32_t free_count;
    struct duties_piece *filling; // NULL: none
    uint32_t filled_bytes;
    uint64_t offset; // in the data file
};

int duties_open(struct duties *duties, const struct roofline_options *options) PAWL_MUST_CHECK;
void duties_close(struct duties *duties);
// Memory that the disk writes from.
struct iovec duties_memory(const struct duties *duties);

// What came is what was sent. -EBADMSG with *ret_why.
int duties_check(const struct duties *duties, const void *payload, uint32_t bytes, uint32_t crc,
                 const char **ret_why) PAWL_MUST_CHECK;
// This record is new. -EBADMSG with *ret_why.
int duties_note(struct duties *duties, const struct record *record,
                const char **ret_why) PAWL_MUST_CHECK;
// Whether so many bytes more can be written a second time; a journal write has to wait otherwise.
bool duties_has_room(const struct duties *duties, uint64_t bytes);
// Writes a small record's payload a second time, gathered. There is room.
int duties_write(struct server *server, const void *payload, uint32_t bytes) PAWL_MUST_CHECK;

#endif
