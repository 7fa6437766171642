// SPDX-License-Identifier: Apache-2.0
// Writes at an offset in the simulator: what an independent model says that readers may see, and the
// clients that write.
#ifndef PAWL_SIM_WRITE_H
#define PAWL_SIM_WRITE_H

#include "sim.h"
#include "sim_client.h"

struct sim_writes;

// ---- the model: called by the oracle
struct sim_writes *sim_writes_new(void);
void sim_writes_free(struct sim_writes *writes);
void sim_writes_log(struct sim *sim, const Pawl__LogRecord *record);
// A record that no disk has held before.
void sim_writes_record(struct sim *sim, const struct sim_chunk *replica, uint64_t index);
// Puts on `expected`, the chunk's own bytes in the range of the answer, what the answer says that it was
// read with.
void sim_writes_read(struct sim *sim, uint32_t server, const struct wire_read *request,
                     const struct wire_read_done *reply, uint8_t *expected);
// A write, or an append, was acknowledged; how many were.
void sim_writes_acked(struct sim *sim, const struct sim_append *append);
uint64_t sim_writes_acks_count(const struct sim *sim);
// A read with WIRE_READ_ALL, from a replica that the master named, shows the first `acks_count` writes.
void sim_writes_check_all(struct sim *sim, uint64_t handle, uint64_t acks_count, uint32_t server,
                          const struct wire_read_done *done);
// The chunk whose write log the chunk is a part of; 0: it is a file's.
uint64_t sim_writes_about(const struct sim *sim, uint64_t handle);
// A copy made under this version of the chunk is told to the master: nobody may be writing to it.
void sim_writes_copied(struct sim *sim, uint64_t handle, uint64_t version);
// Is a write log of one of the file's chunks lost?
bool sim_writes_have_losses(struct sim *sim, uint64_t file_id);
// How many bytes of zeros a chunk is; 0: none.
uint64_t sim_writes_zeros(const struct sim *sim, uint64_t handle);

// ---- clients that write: called by sim_client.c and sim_append.c
// The next thing to ask on the way to a chunk to write to.
void sim_write_ask(struct sim *sim, struct sim_client *c);
void sim_write_answer(struct sim *sim, struct sim_client *c, const struct sim_ask *ask, int status,
                      const Pawl__Reply *reply);
// Flags and length of the next write.
uint32_t sim_write_draw(struct sim *sim, const struct sim_client *c, uint32_t *ret_length);
// The flags of the same bytes at another offset.
uint32_t sim_write_forge(const struct sim_append *append);
// Now and then asks for zeros at the end, or for a sealed tail. True when it did.
bool sim_write_other(struct sim *sim, struct sim_client *c);
// The least that a read of the chunk has to show to this client.
uint64_t sim_write_acked_bytes(const struct sim_client *c, uint64_t handle);

#endif
