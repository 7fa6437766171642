// SPDX-License-Identifier: Apache-2.0
// Inside the oracle: sim_oracle.c (the model and what is held against it), sim_oracle_loss.c (what may be lost),
// sim_oracle_least.c (on how many replicas a chunk is sealed), sim_oracle_held.c (what was acknowledged from memory).
#ifndef PAWL_SIM_ORACLE_PRIVATE_H
#define PAWL_SIM_ORACLE_PRIVATE_H

#include "sim.h"

struct oracle_record {
    struct pawl_record record;
    struct sim_append *append; // NULL: an epoch record
};

struct oracle_table {
    struct sim_producer *rows;
    uint32_t count;
};

struct oracle_answerer {
    uint64_t version;
    uint32_t server;
};

// What the master was answered to the fences of a version, until it acts on that.
struct oracle_fence {
    uint64_t version;
    bool over;
    uint32_t servers; // a bit for each
    uint64_t counts[SIM_SERVERS_MAX];
    uint64_t commit_count; // the highest
};

struct oracle_chunk {
    uint64_t handle;
    uint64_t file_id;
    uint64_t version;
    uint64_t base;
    uint64_t length; // sealed
    uint64_t count;  // sealed
    bool sealed;
    bool ready;
    uint32_t index; // in the file
    uint64_t set[8];
    uint32_t set_count;
    struct oracle_record *records;
    uint64_t records_count;
    uint64_t records_capacity;
    uint64_t heard_count;          // the master was told that so many are committed
    uint64_t answered_count;       // records that were acknowledged: the highest index + 1
    struct oracle_table inherited; // and what was dropped on the way
    struct sim_allowed allowed;
    struct oracle_table table;
    struct oracle_answerer *answerers;
    uint32_t answerers_count;
    bool beyond; // see sim_oracle_sealing()
    struct oracle_fence fence;
    uint64_t fence_tokens[SIM_SERVERS_MAX]; // of the last command to each that asked for one
};

struct oracle_file {
    uint64_t file_id;
    bool removed;
    char path[32];
};

struct sim_oracle {
    struct oracle_file *files;
    uint32_t files_count;
    struct oracle_chunk **chunks;
    uint32_t chunks_count;
    struct sim_append **appends; // by serial - 1
    uint64_t appends_count;
    uint64_t appends_capacity;
    struct pawl_random random; // payloads
    uint64_t acknowledged_count;
    uint64_t seals_count;
    uint64_t dropped_count;
    struct sim_sessions *sessions;
    struct oracle_held *held;
};

// NULL: the log knows none.
struct oracle_chunk *chunk_of(const struct sim_oracle *oracle, uint64_t handle);
bool is_removed(const struct sim_oracle *oracle, uint64_t file_id);
// Bytes of the first so many records.
uint64_t records_end(const struct oracle_chunk *chunk, uint64_t count);
// Where enough members could say what they hold, a chunk is sealed with what enough of them hold.
void check_least(struct sim *sim, const struct oracle_chunk *chunk, const Pawl__LogChunkSeal *body);
struct oracle_held *oracle_held_new(void);
void oracle_held_free(struct oracle_held *held);
// A server answers an append when it is in memory only.
void sim_oracle_answer_held(struct sim *sim, uint32_t server, const struct wire_append *request,
                            const struct wire_appended *reply);
// More has become durable.
void sim_oracle_held_durable(struct sim *sim, uint64_t handle);
void check_held_sealed(struct sim *sim, const struct oracle_chunk *chunk);
void check_held_replaced(struct sim *sim, const struct oracle_chunk *chunk, uint64_t index,
                         const struct pawl_record *record);
void told_held(struct sim *sim, struct sim_append *append, uint64_t offset);
void told_lost(struct sim *sim, struct sim_append *append);
void check_held_end(struct sim *sim, const struct sim_append *append, uint8_t seen);
uint64_t committed_count(struct sim *sim, const struct oracle_chunk *chunk);

#endif
