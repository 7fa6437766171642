// SPDX-License-Identifier: Apache-2.0
// Breadth first through all states: each one is gone on from once, so a violation is found by one of
// its shortest paths, of those that the reduction leaves (model_reduce.c).
//
// A state is the tuple of its parts' images; two parts are taken for one when 128 bits of hash agree.
// Liveness is looked at when all states are known: from each of them there must be a way, without
// another fault, to one in which every append is answered. That finds a deadlock, and a circle of
// retries that nothing leads out of.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model.h"

#define NO_STATE UINT32_MAX

// The images take fewer bits than numbers have.
#define STATE_WORDS 3u
#define PART_BITS 20u
#define NET_BITS 32u

struct state {
    uint64_t images[STATE_WORDS];
    uint32_t parent;
    uint16_t a; // the event that led here, as in struct model_event
    uint8_t kind;
    uint8_t b;
    uint8_t chance_fault; // 4 bits each
    uint8_t edges_count;
    uint8_t answered;
    uint8_t bounded;
};

struct explorer {
    struct state *states;
    uint32_t states_count;
    uint32_t states_capacity;
    uint8_t *tags; // of slots: a bit of the hash, so that few states are looked at in vain; 0: free
    uint32_t *slots; // states
    uint64_t slots_count;
    uint32_t *edges; // without faults: to where, state by state
    uint64_t edges_count;
    uint64_t edges_capacity;
    bool liveness;
    bool reduce;
    bool refused; // a connection, in what was looked at last
    double begin;
};

static struct explorer explorer;
static uint32_t current = NO_STATE; // that an event is applied to
static struct model_event current_event;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

// ---- states ------------------------------------------------------------------------------------------

static void images_pack(const uint32_t *images, uint64_t *ret)
{
    uint32_t bit = 0;
    memset(ret, 0, STATE_WORDS * sizeof(*ret));
    for (uint32_t part = 0; part < MODEL_PARTS; part++) {
        uint32_t bits = part == MODEL_PART_NET ? NET_BITS : PART_BITS;
        pawl_assert(bits == NET_BITS || images[part] >> bits == 0);
        ret[bit / 64] |= (uint64_t)images[part] << bit % 64;
        if (bit % 64 + bits > 64) {
            ret[bit / 64 + 1] |= (uint64_t)images[part] >> (64 - bit % 64);
        }
        bit += bits;
    }
}

static void images_unpack(const uint64_t *packed, uint32_t *ret)
{
    uint32_t bit = 0;
    for (uint32_t part = 0; part < MODEL_PARTS; part++) {
        uint32_t bits = part == MODEL_PART_NET ? NET_BITS : PART_BITS;
        uint64_t value = packed[bit / 64] >> bit % 64;
        if (bit % 64 + bits > 64) {
            value |= packed[bit / 64 + 1] << (64 - bit % 64);
        }
        ret[part] = (uint32_t)(value & ((UINT64_C(1) << bits) - 1));
        bit += bits;
    }
}

static uint64_t slot_of(const uint64_t *images, uint8_t *ret_tag)
{
    struct model_hash hash = {.a = 1, .b = 2};
    for (uint32_t i = 0; i < STATE_WORDS; i++) {
        model_hash_mix(&hash, images[i]);
    }
    uint64_t at = (hash.a ^ hash.b) & (explorer.slots_count - 1);
    *ret_tag = (uint8_t)PAWL_MAX(hash.b >> 56, 1u);
    while (explorer.tags[at] != 0 &&
           (explorer.tags[at] != *ret_tag || memcmp(explorer.states[explorer.slots[at]].images,
                                                    images, STATE_WORDS * sizeof(*images)) != 0)) {
        at = (at + 1) & (explorer.slots_count - 1);
    }
    return at;
}

static void slot_take(uint64_t at, uint8_t tag, uint32_t state)
{
    explorer.tags[at] = tag;
    explorer.slots[at] = state;
}

static void states_grow(void)
{
    if (explorer.states_count == explorer.states_capacity) {
        explorer.states_capacity =
            explorer.states_capacity != 0 ? explorer.states_capacity * 2 : 1u << 16;
        explorer.states =
            realloc(explorer.states, explorer.states_capacity * sizeof(explorer.states[0]));
        pawl_assert(explorer.states != NULL);
    }
    if (explorer.states_count * 4ull < explorer.slots_count * 3) {
        return;
    }
    free(explorer.slots);
    free(explorer.tags);
    explorer.slots_count = explorer.slots_count != 0 ? explorer.slots_count * 2 : 1u << 17;
    explorer.slots = calloc(explorer.slots_count, sizeof(explorer.slots[0]));
    explorer.tags = calloc(explorer.slots_count, sizeof(explorer.tags[0]));
    pawl_assert(explorer.slots != NULL && explorer.tags != NULL);
    for (uint32_t i = 0; i < explorer.states_count; i++) {
        uint8_t tag;
        uint64_t at = slot_of(explorer.states[i].images, &tag);
        slot_take(at, tag, i);
    }
}

static void load(const struct state *state)
{
    uint32_t images[MODEL_PARTS];
    images_unpack(state->images, images);
    model_images_set(images);
}

// The number of the world's present state; *ret_new when it was not known.
static uint32_t save(uint32_t parent, struct model_event event, bool *ret_new)
{
    struct state state = {.parent = parent,
                          .a = event.a,
                          .kind = event.kind,
                          .b = event.b,
                          .chance_fault = (uint8_t)(event.chance << 4 | event.fault)};
    uint32_t images[MODEL_PARTS];
    model_images_save(images);
    images_pack(images, state.images);
    states_grow();
    uint8_t tag;
    uint64_t at = slot_of(state.images, &tag);
    *ret_new = explorer.tags[at] == 0;
    if (*ret_new) {
        const struct model_facts *facts = model_world.facts[MODEL_PART_ORACLE];
        state.answered = facts->answered;
        state.bounded = facts->version > model_world.config->versions_max;
        pawl_assert(explorer.states_count < NO_STATE - 1);
        slot_take(at, tag, explorer.states_count);
        explorer.states[explorer.states_count++] = state;
    }
    return explorer.slots[at];
}

static void edge_add(uint32_t from, uint32_t to)
{
    if (explorer.edges_count == explorer.edges_capacity) {
        explorer.edges_capacity =
            explorer.edges_capacity != 0 ? explorer.edges_capacity * 2 : 1u << 16;
        explorer.edges =
            realloc(explorer.edges, explorer.edges_capacity * sizeof(explorer.edges[0]));
        pawl_assert(explorer.edges != NULL);
    }
    explorer.edges[explorer.edges_count++] = to;
    explorer.states[from].edges_count++;
    pawl_assert(explorer.states[from].edges_count < UINT8_MAX);
}

// ---- paths -------------------------------------------------------------------------------------------

static uint32_t path_to(uint32_t state, struct model_event *events, uint32_t max)
{
    uint32_t count = 0;
    for (uint32_t at = state; explorer.states[at].parent != NO_STATE;
         at = explorer.states[at].parent) {
        pawl_assert(count < max);
        const struct state *reached = &explorer.states[at];
        events[count++] = (struct model_event){.kind = reached->kind,
                                               .a = reached->a,
                                               .b = reached->b,
                                               .chance = reached->chance_fault >> 4,
                                               .fault = reached->chance_fault & 15};
    }
    for (uint32_t i = 0; i < count / 2; i++) {
        struct model_event event = events[i];
        events[i] = events[count - 1 - i];
        events[count - 1 - i] = event;
    }
    return count;
}

static void print_path(FILE *out, uint32_t state, const struct model_event *last)
{
    static struct model_event events[4096];
    uint32_t count = path_to(state, events, PAWL_ARRAY_COUNT(events) - 1);
    if (last != NULL) {
        events[count++] = *last;
    }
    fprintf(out, "repeat: pawl-model --config %s --replay ", model_world.config->name);
    for (uint32_t i = 0; i < count; i++) {
        const struct model_event *e = &events[i];
        fprintf(out, "%s%x,%x,%x,%x,%x", i > 0 ? ":" : "", e->kind, e->a, e->b, e->chance,
                e->fault);
    }
    fputc('\n', out);
}

// For an assertion that fails in the middle of an event.
void model_explore_last_words(void)
{
    if (current != NO_STATE) {
        print_path(stderr, current, &current_event);
    }
}

static void apply_aloud(struct model_event event, uint32_t number)
{
    char text[256];
    model_event_text(event, text, sizeof(text));
    printf("%4u  %s\n", number, text);
    fflush(stdout);
    model_event_apply(event);
}

bool model_replay(const char *path)
{
    uint32_t number = 0;
    model_world.verbose = true;
    while (*path != '\0') {
        unsigned kind;
        unsigned a;
        unsigned b;
        unsigned chance;
        unsigned fault;
        int used = 0;
        if (sscanf(path, "%x,%x,%x,%x,%x%n", &kind, &a, &b, &chance, &fault, &used) != 5) {
            return false;
        }
        path += used + (path[used] == ':');
        struct model_event event = {.kind = (uint8_t)kind,
                                    .a = (uint16_t)a,
                                    .b = (uint8_t)b,
                                    .chance = (uint8_t)chance,
                                    .fault = (uint8_t)fault};
        struct model_event enabled[MODEL_EVENTS_MAX];
        uint32_t count = model_events(enabled);
        bool found = false;
        for (uint32_t i = 0; i < count; i++) {
            enabled[i].chance = event.chance;
            found |= memcmp(&enabled[i], &event, sizeof(event)) == 0;
        }
        if (!found) {
            return false;
        }
        apply_aloud(event, ++number);
        if (model_world.violated) {
            printf("VIOLATION %s\n", model_world.violation);
            return true;
        }
    }
    printf("%s\n", model_oracle_all_answered() ? "all is answered" : "not all is answered");
    return true;
}

// ---- liveness ----------------------------------------------------------------------------------------

// Whoever has a way to one who gets there gets there too. Most ways lead to later states, so the
// last one is looked at first, and few rounds are needed. Returns how many were found.
static uint64_t lives_round(uint8_t *lives)
{
    uint64_t found = 0;
    uint64_t end = explorer.edges_count;
    for (uint32_t from = explorer.states_count; from-- > 0;) {
        uint64_t begin = end - explorer.states[from].edges_count;
        bool way = false;
        for (uint64_t i = begin; i < end && !lives[from] && !way; i++) {
            way = lives[explorer.edges[i]] != 0;
        }
        if (way) {
            lives[from] = 1;
            found++;
        }
        end = begin;
    }
    return found;
}

static uint64_t find_stuck(uint32_t *ret_first)
{
    uint8_t *lives = calloc(explorer.states_count, 1);
    uint64_t living = 0;
    uint64_t found;
    pawl_assert(lives != NULL);
    for (uint32_t i = 0; i < explorer.states_count; i++) {
        // Beyond the bound nothing is known.
        lives[i] = explorer.states[i].answered || explorer.states[i].bounded;
        living += lives[i];
    }
    do {
        found = lives_round(lives);
        living += found;
    } while (found != 0);
    *ret_first = NO_STATE;
    for (uint32_t i = 0; i < explorer.states_count && *ret_first == NO_STATE; i++) {
        *ret_first = lives[i] ? NO_STATE : i;
    }
    free(lives);
    return explorer.states_count - living;
}

// ---- breadth first -------------------------------------------------------------------------------------

static void progress(const struct model_result *result, uint32_t at)
{
    fprintf(stderr, "depth %u: %u states, %u to do; images", result->depth, explorer.states_count,
            explorer.states_count - at);
    for (uint32_t part = 0; part < MODEL_PARTS; part++) {
        fprintf(stderr, " %u", model_images_count(part));
    }
    fprintf(stderr, " (%llu MiB), %.0f s\n", (unsigned long long)(model_images_bytes() >> 20),
            now() - explorer.begin);
}

static bool apply_from(uint32_t from, struct model_event event, struct model_result *result,
                       uint32_t *ret_to)
{
    bool is_new = false;
    load(&explorer.states[from]);
    current = from;
    current_event = event;
    model_event_apply(event);
    if (model_world.unrepeated) {
        model_world.unrepeated = false;
        model_world.fresh = true;
        load(&explorer.states[from]);
        model_event_apply(event);
        model_world.fresh = false;
    }
    result->transitions++;
    if (model_world.violated) {
        return false;
    }
    bool lots = model_world.lots;
    explorer.refused |= model_world.refused;
    uint32_t to = save(from, event, &is_new);
    *ret_to = to;
    if (explorer.liveness && event.fault == 0 && to != from) {
        edge_add(from, to);
    }
    // A lot has other outcomes too.
    if (lots && event.chance == 0) {
        for (uint8_t chance = 1; chance < model_world.config->chances; chance++) {
            event.chance = chance;
            if (!apply_from(from, event, result, ret_to)) {
                return false;
            }
        }
    }
    return true;
}

static bool expand(uint32_t at, struct model_result *result)
{
    struct model_event events[MODEL_EVENTS_MAX];
    load(&explorer.states[at]);
    uint32_t count = model_events(events);
    uint32_t enough = explorer.reduce ? model_reduce(events, count) : 0;
    explorer.refused = false;
    bool onward = false; // to a state that is still to be looked at: nobody waits for ever
    for (uint32_t i = 0; i < count; i++) {
        uint32_t to = at;
        if (i == enough && enough > 0 && onward && !explorer.refused) {
            return true;
        }
        if (!apply_from(at, events[i], result, &to)) {
            return false;
        }
        onward |= to > at;
    }
    return true;
}

static void explore_all(const struct model_limits *limits, struct model_result *result)
{
    uint32_t level_end = explorer.states_count;
    uint32_t at = 0;
    for (; at < explorer.states_count; at++) {
        if (at == level_end) {
            level_end = explorer.states_count;
            result->depth++;
            if (!limits->quiet) {
                progress(result, at);
            }
        }
        bool over = limits->states_max != 0 && explorer.states_count >= limits->states_max;
        over |= limits->seconds_max > 0 && at % 256 == 0 &&
                now() - explorer.begin > limits->seconds_max;
        if (over) {
            break;
        }
        result->answered += explorer.states[at].answered;
        result->bounded += explorer.states[at].bounded;
        if (!explorer.states[at].bounded && !expand(at, result)) {
            result->violated = true;
            break;
        }
    }
    result->complete = at == explorer.states_count;
    result->states = explorer.states_count;
}

static void say_violation(void)
{
    fprintf(stderr, "VIOLATION %s\n", model_world.violation);
    print_path(stderr, current, &current_event);
}

static void check_liveness(struct model_result *result)
{
    uint32_t first;
    result->stuck = find_stuck(&first);
    if (result->stuck != 0) {
        fprintf(stderr, "VIOLATION from %llu states no way leads to where all is answered\n",
                (unsigned long long)result->stuck);
        print_path(stderr, first, NULL);
        result->violated = true;
    }
}

void model_explore(const struct model_limits *limits, struct model_result *ret)
{
    bool is_new;
    explorer =
        (struct explorer){.liveness = limits->liveness, .reduce = limits->reduce, .begin = now()};
    *ret = (struct model_result){0};
    model_oracle_check();
    pawl_assert(!model_world.violated);
    model_images_begin();
    (void)save(NO_STATE, (struct model_event){0}, &is_new);
    explore_all(limits, ret);
    if (ret->violated) {
        say_violation();
    } else if (limits->liveness && ret->complete) {
        check_liveness(ret);
    }
    current = NO_STATE;
    ret->seconds = now() - explorer.begin;
}
