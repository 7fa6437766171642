// SPDX-License-Identifier: Apache-2.0
// What must have come out, whatever the trace says: an update of the trace can't bless a wrong outcome.
//
//   all acked                        every append of the script ended with 0
//   p1/2 acked [at OFFSET] [from T] [to T]     its first success, after time 0
//   p1/2 ended CODE [once]           it was told so last; once: and nothing before
//   p1/2 once [at OFFSET]            is in the file, exactly once
//   p1/2 absent                      is not in the file
//   versions 1.0 1 2 3               that were logged for the chunk
//   sealed 1.0 N | open 1.0          as the log says
//   holds cs1 1.0 N                  records on its disk
//   seen [N times] WORDS | never WORDS         lines of the trace, those that are not shown too
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"

#define ULL(x) ((unsigned long long)(x))

struct judge {
    struct golden_run *run;
    const struct golden_expect *expect;
    char *save;
};

static bool says_no(const struct judge *j, const char *what, unsigned long long value)
{
    golden_error(j->run, j->expect->line, "expect %s: %s %llu", j->expect->text, what, value);
    return false;
}

static bool is_malformed(const struct judge *j)
{
    golden_error(j->run, j->expect->line, "expect %s: what is this?", j->expect->text);
    return false;
}

static char *word(struct judge *j)
{
    return strtok_r(NULL, " ", &j->save);
}

static struct golden_append *append_named(struct golden_run *run, const char *name)
{
    char id[32];
    for (uint32_t i = run->appends_count; i > 0; i--) {
        golden_id(run, &run->appends[i - 1].append->id, id, sizeof(id));
        if (strcmp(id, name) == 0) {
            return &run->appends[i - 1];
        }
    }
    return NULL;
}

// The longest log of a chunk that any disk holds; of a sealed one, what the seal has kept.
static const struct sim_chunk *longest(const struct golden_run *run,
                                       const struct golden_chunk *chunk, uint64_t *ret_count)
{
    const struct sim_chunk *best = NULL;
    for (uint32_t i = 0; i < run->sim->params.servers_count; i++) {
        const struct sim_chunk *replica = sim_disk_chunk(run->sim->disks[i], chunk->handle);
        if (replica != NULL && (best == NULL || replica->records_count > best->records_count)) {
            best = replica;
        }
    }
    uint64_t count = best != NULL ? best->records_count : 0;
    *ret_count = chunk->sealed ? PAWL_MIN(count, chunk->count) : count;
    return best;
}

static uint32_t times_in_file(const struct golden_run *run, const struct sim_append *append,
                              uint64_t *ret_offset)
{
    uint32_t times = 0;
    for (uint32_t i = 0; i < run->chunks_count; i++) {
        uint64_t count = 0;
        const struct sim_chunk *replica = longest(run, &run->chunks[i], &count);
        for (uint64_t r = 0; r < count; r++) {
            const struct sim_record *record = &replica->records[r];
            uint64_t serial = 0;
            if (record->payload != NULL && record->record.length >= sizeof(serial)) {
                memcpy(&serial, record->payload, sizeof(serial));
            }
            if (serial == append->serial) {
                times++;
                *ret_offset = replica->base_offset + record->record.offset;
            }
        }
    }
    return times;
}

static bool judge_place(struct judge *j, bool known, uint64_t offset)
{
    for (const char *w = word(j); w != NULL; w = word(j)) {
        const char *value = word(j);
        if (value == NULL || strcmp(w, "at") != 0) {
            return is_malformed(j);
        }
        if (!known || strtoull(value, NULL, 10) != offset) {
            return says_no(j, "it is at", ULL(offset));
        }
    }
    return true;
}

static bool judge_acked(struct judge *j, const struct golden_append *a)
{
    if (a->told_ns == UINT64_MAX) {
        return says_no(j, "it was told so often, and never that:", a->times_told);
    }
    for (const char *w = word(j); w != NULL; w = word(j)) {
        const char *value = word(j);
        uint64_t ns = 0;
        if (value == NULL) {
            return is_malformed(j);
        }
        if (strcmp(w, "at") == 0) {
            if (strtoull(value, NULL, 10) != a->offset) {
                return says_no(j, "it is at", ULL(a->offset));
            }
        } else if (!golden_time(value, &ns) || (strcmp(w, "from") != 0 && strcmp(w, "to") != 0)) {
            return is_malformed(j);
        } else if (w[0] == 'f' ? a->told_ns < ns : a->told_ns > ns) {
            return says_no(j, "it was acknowledged at (us)", ULL(a->told_ns / SIM_US));
        }
    }
    return true;
}

static bool judge_ended(struct judge *j, const struct golden_append *a)
{
    const char *code = word(j);
    const char *once = word(j);
    if (code == NULL || (once != NULL && strcmp(once, "once") != 0)) {
        return is_malformed(j);
    }
    if (a->times_told == 0 || strcmp(golden_code(a->status), code) != 0 ||
        (once != NULL && a->times_told != 1)) {
        golden_error(j->run, j->expect->line, "expect %s: it was told %u times, last: %s",
                     j->expect->text, a->times_told, golden_code(a->status));
        return false;
    }
    return true;
}

static bool judge_record(struct judge *j, const char *name)
{
    const struct golden_append *a = append_named(j->run, name);
    const char *what = word(j);
    uint64_t offset = 0;
    if (a == NULL || what == NULL) {
        return is_malformed(j);
    }
    uint32_t times = times_in_file(j->run, a->append, &offset);
    if (strcmp(what, "acked") == 0) {
        return judge_acked(j, a);
    }
    if (strcmp(what, "ended") == 0) {
        return judge_ended(j, a);
    }
    if (strcmp(what, "once") == 0) {
        return times == 1 ? judge_place(j, true, offset) : says_no(j, "times in the file:", times);
    }
    if (strcmp(what, "absent") == 0) {
        return times == 0 ? true : says_no(j, "times in the file:", times);
    }
    return is_malformed(j);
}

static bool judge_versions(struct judge *j)
{
    const struct golden_chunk *chunk = golden_chunk_named(j->run, word(j));
    uint32_t i = 0;
    if (chunk == NULL) {
        return says_no(j, "there is no such chunk, but", j->run->chunks_count);
    }
    for (const char *w = word(j); w != NULL; w = word(j), i++) {
        if (i == chunk->versions_count || strtoull(w, NULL, 10) != chunk->versions[i]) {
            return says_no(j, "logged was, last,", ULL(chunk->versions[chunk->versions_count - 1]));
        }
    }
    return i == chunk->versions_count ? true
                                      : says_no(j, "so many were logged:", chunk->versions_count);
}

static bool judge_state(struct judge *j, bool sealed)
{
    const struct golden_chunk *chunk = golden_chunk_named(j->run, word(j));
    const char *count = word(j);
    if (chunk == NULL || sealed != (count != NULL)) {
        return is_malformed(j);
    }
    if (chunk->sealed != sealed || (sealed && strtoull(count, NULL, 10) != chunk->count)) {
        return says_no(j, chunk->sealed ? "it is sealed at" : "it is open", ULL(chunk->count));
    }
    return true;
}

static bool judge_holds(struct judge *j)
{
    const char *name = word(j);
    const struct sim_node *node = name != NULL ? golden_node(j->run, name) : NULL;
    const struct golden_chunk *chunk = golden_chunk_named(j->run, word(j));
    const char *count = word(j);
    if (node == NULL || node->role != SIM_CHUNKD || chunk == NULL || count == NULL) {
        return is_malformed(j);
    }
    const struct sim_chunk *replica =
        sim_disk_chunk(j->run->sim->disks[node->index], chunk->handle);
    uint64_t held = replica != NULL ? replica->records_count : 0;
    return held == strtoull(count, NULL, 10) ? true : says_no(j, "it holds", ULL(held));
}

static bool judge_seen(struct judge *j, bool seen)
{
    const char *pattern = j->expect->text + (seen ? strlen("seen ") : strlen("never "));
    char *end = NULL;
    unsigned long wanted = seen ? strtoul(pattern, &end, 10) : 0;
    bool counted = end != NULL && end != pattern && strncmp(end, " times ", 7) == 0;
    pattern = counted ? end + 7 : pattern;
    unsigned long times = 0;
    const char *data = j->run->lines.data;
    for (const char *at = data; at != NULL && *at != 0;) {
        char line[2 * GOLDEN_TEXT];
        size_t bytes = strcspn(at, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)bytes, at);
        times += golden_like(line, pattern) ? 1 : 0;
        at += bytes + 1;
    }
    bool right = counted || !seen ? times == wanted : times > 0;
    return right ? true : says_no(j, "so often it was seen:", times);
}

static bool judge_all_acked(struct judge *j)
{
    for (uint32_t i = 0; i < j->run->appends_count; i++) {
        if (j->run->appends[i].told_ns == UINT64_MAX || j->run->appends[i].status != 0) {
            return says_no(j, "not so number", i + 1);
        }
    }
    return true;
}

static bool judge_one(struct golden_run *run, const struct golden_expect *expect)
{
    char text[GOLDEN_TEXT];
    struct judge judge = {.run = run, .expect = expect};
    snprintf(text, sizeof(text), "%s", expect->text);
    const char *first = strtok_r(text, " ", &judge.save);
    if (first == NULL) {
        return is_malformed(&judge);
    }
    if (strcmp(expect->text, "all acked") == 0) {
        return judge_all_acked(&judge);
    }
    if (strcmp(first, "versions") == 0) {
        return judge_versions(&judge);
    }
    if (strcmp(first, "sealed") == 0 || strcmp(first, "open") == 0) {
        return judge_state(&judge, first[0] == 's');
    }
    if (strcmp(first, "holds") == 0) {
        return judge_holds(&judge);
    }
    if (strcmp(first, "seen") == 0 || strcmp(first, "never") == 0) {
        return judge_seen(&judge, first[0] == 's');
    }
    return judge_record(&judge, first);
}

bool golden_judge(struct golden_run *run)
{
    bool right = true;
    for (uint32_t i = 0; i < run->test->expects_count; i++) {
        right &= judge_one(run, &run->test->expects[i]);
    }
    // And, as after every run of a seed, the oracle once more over everything.
    if (!run->sim->violated) {
        sim_oracle_end(run->sim);
    }
    return right && !run->sim->violated;
}
