// SPDX-License-Identifier: Apache-2.0
// Inside the simulated client: sim_client.c (application), sim_append.c (the append core's
// driver), sim_link.c (connections).
#ifndef PAWL_SIM_CLIENT_H
#define PAWL_SIM_CLIENT_H

#include "client/core/append_core.h"
#include "sim.h"

#define SIM_CONNECT_MS 1000u
#define SIM_CALL_MS 1500u
#define SIM_TAIL_WAIT_MS 200u // as the client's driver has it
#define SIM_LOOK_BYTES 4096u  // that a script's reader asks for

// One submit: a new append, or one that is told again.
struct sim_job {
    uint64_t number; // `user` of the core
    struct sim_append *append;
    const uint8_t *payload;
    uint32_t crc;
    bool repeat; // was acknowledged before
    bool forged; // an old id with another payload
    bool epoch;
    uint32_t flags;       // of a forged one: another offset
    uint8_t *own_payload; // of a forged one
};

// What an application keeps over the death of its process.
struct sim_notes {
    uint32_t client;
    char path[16];
    char name[16]; // of the producer; "": anonymous
    bool shared;   // another client uses the same name
    bool sessions; // its producer is bound to its session
    bool zombie;   // it never asks whether its session still lives
    uint64_t file_id;
    uint64_t producer_hi;
    uint64_t producer_lo;
    uint64_t last_acked;         // sequence
    struct sim_append **pending; // submitted and neither acknowledged nor absent, by sequence
    uint32_t pending_count;
    struct sim_append **acked;
    uint32_t acked_count;
    uint32_t capacity; // of both
    uint32_t submitted_count;
    uint32_t finish_count; // acknowledged since faults ended
    bool finishing;
    bool has_read; // its file, at the end
    bool retired;
    // Clients that write: file_id is that of the write log of the chunk `written`.
    bool writer;
    uint64_t real_file_id; // writers: the file whose chunks they write to
    uint64_t written;
    uint64_t written_bytes;
    uint64_t known_bytes; // of the file
    uint64_t tail;
};

enum sim_call_kind {
    SIM_CALL_CREATE = 1,
    SIM_CALL_PRODUCER,
    SIM_CALL_SESSION,
    SIM_CALL_BYE,
    SIM_CALL_REMOVE,
    SIM_CALL_TAIL,
    SIM_CALL_PLACE,  // of a chunk, for a lookup
    SIM_CALL_CHUNKS, // of the file, for a read
    SIM_CALL_APPEND,
    SIM_CALL_LOOKUP,
    SIM_CALL_READ,
    SIM_CALL_SCAN_CHUNKS, // when all is over
    SIM_CALL_SCAN_READ,
    SIM_CALL_TARGETS,   // sealed chunks to write to
    SIM_CALL_WRITE_LOG, // of the chosen one
    SIM_CALL_EXTEND,    // or to seal the tail: nobody waits for the answer
    SIM_CALL_LOOK,      // where a chunk is, for a script's read
};

// A request under way, to the master or to a chunk server.
struct sim_ask {
    enum sim_call_kind kind;
    uint64_t request;
    uint64_t deadline_ns; // master only
    uint64_t attempt;
    uint64_t sequence;
    uint64_t chunk;
    uint32_t length;
    uint32_t crc;
    uint16_t slot_first;
    uint16_t slot_count;
    bool fresh;   // APPEND: may go in a run
    uint64_t run; // of the run that it went in behind the first: that one's request
    uint32_t flags;
    uint32_t server; // SIM_CALL_LOOK: to read from
    uint64_t
        acks_count; // reads of all: writes that had been acknowledged when the map was asked for
};

// A connection to the master or a chunk server.
struct sim_link {
    struct sim_conn *conn; // NULL: none
    bool open;
    struct sim_ask *asks;
    uint32_t asks_count;
    struct sim_frame **waiting; // until it is open
    uint32_t waiting_count;
    uint64_t slots_used; // of the server's window
    bool gathers;        // what waits goes out in a moment
};

enum sim_client_state { SIM_CREATING = 1, SIM_OPENING, SIM_EPOCH, SIM_RUNNING, SIM_RESTING };

// The last look at a file (sim_reader.c).
struct sim_reader_chunk {
    uint64_t handle;
    uint64_t length; // when sealed
    uint64_t log_chunks;
    bool sealed;
    uint32_t servers_count;
    uint64_t servers[8];
};

struct sim_reader {
    struct sim_reader_chunk *chunks;
    uint32_t count;
    uint32_t at;
    uint32_t turn;       // replicas that were asked, one after the other
    uint64_t offset;     // in the chunk
    uint64_t acks_count; // writes that had been acknowledged before the first map was asked for
    bool listed;         // all chunks are known
    bool asked;          // something is under way
    bool lost;           // where the chunk is has to be asked anew
    bool done;
};

struct sim_client {
    struct sim_node *node;
    struct sim_notes *notes;
    enum sim_client_state state;
    bool asked; // create or open producer is under way
    struct append_core *core;
    uint32_t epoch;
    uint64_t producer_hi;
    uint64_t producer_lo;
    uint64_t tick_ns; // when the core's next tick is due
    uint64_t session; // 0: none
    uint64_t session_next;
    uint64_t session_conn; // that the master has it on
    bool session_asked;
    bool session_over;     // a chunk has refused its producer
    uint64_t call_session; // of its last call that changes names
    uint64_t call_number;
    bool gone;            // the file was deleted
    bool lost_records;    // it was told that records of it are lost
    bool lost;            // the producer is fenced, or its epoch could not be opened
    struct pawl_map jobs; // number > struct sim_job
    uint64_t job_last;
    uint64_t request_last;
    struct sim_link master;
    struct sim_link servers[SIM_SERVERS_MAX];
    struct sim_reader reader;
};

// sim_client.c
struct sim_job *client_job(struct sim_client *c, uint64_t sequence, uint32_t crc);
void client_done(struct sim *sim, struct sim_client *c, const struct append_action *done);
void client_created(struct sim *sim, struct sim_client *c, int status, const Pawl__Reply *reply);
void client_run(struct sim *sim, struct sim_client *c);
void client_producer(struct sim *sim, struct sim_client *c, int status, const Pawl__Reply *reply);

// The file that the client has named; a writer appends to the write log of one of its chunks.
static inline uint64_t client_named_file(const struct sim_notes *notes)
{
    return notes->writer ? notes->real_file_id : notes->file_id;
}

// sim_reader.c

// True when it may go on at once.
bool reader_work(struct sim *sim, struct sim_client *c);
void reader_chunks(struct sim *sim, struct sim_client *c, int status, const Pawl__Reply *reply);
void reader_read(struct sim *sim, struct sim_client *c, const struct wire_read_done *done);
void reader_failed(struct sim *sim, struct sim_client *c);
void reader_fini(struct sim_client *c);

void client_core_stop(struct sim *sim, struct sim_client *c);

// sim_session.c
void client_lost(struct sim *sim, struct sim_notes *notes, uint64_t producer_lo, uint64_t sequence);
void client_forget(struct sim_notes *notes);
void session_start(struct sim_client *c);
// True when there is nothing else to do now.
bool session_pump(struct sim *sim, struct sim_client *c);
// The call that its next change of a name is, or is once more; NULL: of none, it has no session.
Pawl__Call *session_call(const struct sim *sim, struct sim_client *c, Pawl__Call *call);
void session_answer(struct sim *sim, struct sim_client *c, int status, const Pawl__Reply *reply);

// sim_append.c
int client_step(struct sim *sim, struct sim_client *c, struct append_event event);
void client_master_answer(struct sim *sim, struct sim_client *c, const struct sim_ask *ask,
                          int status, const Pawl__Reply *reply);
void client_server_answer(struct sim *sim, struct sim_client *c, const struct sim_ask *ask,
                          int status, const struct wire_appended *reply);
void client_disconnected(struct sim *sim, struct sim_client *c, uint32_t server);

// sim_link.c
uint64_t link_ask_master(struct sim *sim, struct sim_client *c, struct sim_ask ask,
                         const Pawl__Request *message);
void link_ask_server(struct sim *sim, struct sim_client *c, uint32_t server, struct sim_ask ask,
                     struct sim_frame *frame);
void link_disconnect(struct sim *sim, struct sim_client *c, uint32_t server);
// Nothing that was asked for the core that is gone is answered any more.
void link_forget(struct sim *sim, struct sim_client *c);
void link_fini(struct sim_client *c);
void link_tick(struct sim *sim, struct sim_client *c);

#endif
