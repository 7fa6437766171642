// SPDX-License-Identifier: Apache-2.0
// A simulated disk below the store: it takes the place of dataplane/store/io.c in a test program.
//
// Requests end in any order. What was written is kept, with what stood there before, until a flush of
// its file (or its own durable write) has ended; in a recycled file, until any flush has. A power cut
// puts any part of it back, block by block.
// Names of files made, changed or deleted last once their folder was synced.
#ifndef PAWL_TESTS_SIM_IO_H
#define PAWL_TESTS_SIM_IO_H

#include <stdbool.h>
#include <stdint.h>

// A lie that a disk or a wrong store could tell: the test must find it.
enum sim_io_lie {
    SIM_IO_HONEST = 0,
    SIM_IO_FLUSH_DOES_NOTHING,   // fdatasync and fsync
    SIM_IO_DURABLE_DOES_NOTHING, // RWF_DSYNC
    SIM_IO_FLUSH_IS_OF_ONE_FILE, // whatever was written to others before
};

void sim_io_start(uint64_t seed, enum sim_io_lie lie);
// From now on every request fails and nothing is written.
void sim_io_cut(void);
// After the store was closed: puts back what was not durable. Then requests work again.
void sim_io_settle(void);

#endif
