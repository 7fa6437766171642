// SPDX-License-Identifier: Apache-2.0
// What cover.c would say of the disk. See fake_cover.h.
#include "fake_cover.h"

struct store;
struct fake_cover covered;

uint64_t __wrap_store_covered_end(const struct store *store, int fd);
bool __wrap_pawl_device_lacks_fua(int fd);

uint64_t __wrap_store_covered_end(const struct store *store, int fd)
{
    (void)store;
    (void)fd;
    return covered.end;
}

bool __wrap_pawl_device_lacks_fua(int fd)
{
    (void)fd;
    return covered.write_covers;
}
