// SPDX-License-Identifier: Apache-2.0
// A chunk file's footer: encoding and checking. Pure: memory only.
//
// The rows are written and flushed first, the header (one block) after them: so a sound header with
// rows that don't match it is bit rot, never a torn write.
// Thread: any.
#ifndef PAWL_DATAPLANE_FOOTER_H
#define PAWL_DATAPLANE_FOOTER_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "proto/disk.h"
#include "proto/records.h"

// Bytes of the rows that follow a header page.
size_t footer_body_bytes(uint64_t records_count, uint32_t producers_count);

// Fills magic, format, features and crc. The checksums of the rows are the caller's.
void footer_encode(struct disk_footer *footer);

// Checks a header. 0; -ENOENT: nothing was ever written here (zeros); -EBADMSG; PAWL_EFORMAT.
int footer_decode(const void *data, size_t bytes, struct disk_footer *ret) PAWL_MUST_CHECK;

// Checks the rows against a sound header, and each row against the file's data area, which ends at
// data_end. 0, or PAWL_ECORRUPT.
int footer_body_check(const struct disk_footer *footer, const void *body, size_t bytes,
                      uint64_t data_end) PAWL_MUST_CHECK;

// The row of record `index`, which is at `place`.
void footer_row_encode(struct disk_record *row, const struct pawl_records *records, uint64_t index,
                       uint64_t place);
void footer_row_decode(const struct disk_record *row, struct pawl_record *ret);

#endif
