// SPDX-License-Identifier: Apache-2.0
// Is this log the newest one? A master whose disk was lost may come up with a copy of an older day, or
// with a log that was cut short. It would give out chunk handles, versions and epochs a second time.
//
// Each term has a nonce and begins at a position of the log; chunk servers keep the newest (term, nonce,
// position) that they were told, and what they hold is evidence too: whatever a chunk server was
// commanded was logged before. So a mark that does not lie on this log's own path, or a replica that is
// ahead of it, shows that records are missing. Then the core halts: it tells everybody so, and changes
// nothing any more.
#include "controlplane/core/master_core_private.h"

void master_history_add(struct master_core *core, const Pawl__LogTerm *record)
{
    if (core->terms_count == MASTER_TERMS_MAX) {
        memmove(&core->terms[0], &core->terms[1], sizeof(core->terms[0]) * (MASTER_TERMS_MAX - 1));
        core->terms_count--;
    }
    core->terms[core->terms_count++] = (struct master_term){
        .term = record->term, .nonce = record->nonce, .position = record->position};
}

// Position of the last record of terms[i].
static uint64_t term_end(const struct master_core *core, uint32_t i)
{
    return i + 1 < core->terms_count ? core->terms[i + 1].position - 1 : core->position;
}

static bool mark_is_ours(const struct master_core *core, const Pawl__Register *reg)
{
    if (reg->seen_term == 0 || reg->seen_term < core->terms[0].term) {
        return true; // it has seen nothing, or terms that are forgotten here
    }
    for (uint32_t i = 0; i < core->terms_count; i++) {
        const struct master_term *term = &core->terms[i];
        if (term->term == reg->seen_term) {
            return term->nonce == reg->seen_nonce && reg->seen_position <= term_end(core, i);
        }
    }
    return false;
}

// NULL, or what this replica shows that the log does not know.
static const char *replica_ahead(const struct master_core *core, const Pawl__Replica *replica)
{
    const struct master_chunk *chunk = master_chunk_get(core, replica->handle);
    if (!chunk) {
        return replica->handle >= core->next_handle ? "was never made" : NULL;
    }
    if (chunk->sealed) {
        return NULL;
    }
    return replica->sealed                     ? "is not sealed"
           : replica->version > chunk->version ? "has an older version"
                                               : NULL;
}

static void halt(struct master_core *core, const Pawl__Register *reg, const char *evidence)
{
    size_t bytes = strlen(evidence);
    bytes = PAWL_MIN(bytes, sizeof(core->halted) - 1);
    memcpy(core->halted, evidence, bytes);
    core->halted[bytes] = '\0';
    master_note(
        core, MASTER_LEVEL_ERROR,
        "server %s shows that records of this log are missing: %s; nothing is served any more",
        reg->name, core->halted);
}

bool master_history_admits(struct master_core *core, const Pawl__Register *reg)
{
    static const char advice[] = "stop this master and give it the newest copy of its directory";
    if (!mark_is_ours(core, reg)) {
        halt(core, reg,
             master_arena_printf(core,
                                 "server %s has seen term %lu record %lu, this log is at term %lu "
                                 "record %lu: %s",
                                 reg->name, reg->seen_term, reg->seen_position, core->term,
                                 core->position, advice));
        return false;
    }
    for (size_t i = 0; i < reg->n_replicas; i++) {
        const char *what = replica_ahead(core, reg->replicas[i]);
        if (what) {
            halt(core, reg,
                 master_arena_printf(core,
                                     "server %s holds chunk %lu version %lu%s, which %s here: %s",
                                     reg->name, reg->replicas[i]->handle, reg->replicas[i]->version,
                                     reg->replicas[i]->sealed ? " sealed" : "", what, advice));
            return false;
        }
    }
    return true;
}
