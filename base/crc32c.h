// SPDX-License-Identifier: Apache-2.0
// CRC-32C (Castagnoli), the checksum of every record, block, entry and footer.
#ifndef PAWL_BASE_CRC32C_H
#define PAWL_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

// Continues `crc` over more bytes; begin with 0. "123456789" gives e3069283. Any thread.
uint32_t pawl_crc32c(uint32_t crc, const void *data, size_t bytes);

#endif
