// SPDX-License-Identifier: Apache-2.0
// Breadth first through all states: each one is gone on from once, so a violation is found by one of
// its shortest paths.
//
// A state is the tuple of its parts' images; two parts are taken for one when 128 bits of hash agree.
// Liveness is looked at when all states are known: from each of them there must be a way, without
// another fault, to one in which every append is answered. That finds a deadlock, and a circle of
// retries that nothing leads out of.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "model.h"

#define NO_STATE UINT32_MAX

struct state {
    uint32_t images[MODEL_PARTS];
    uint32_t parent;
    struct model_event event;
    uint8_t answered;
    uint8_t bounded;
};

struct edge {
    uint32_t from;
    uint32_t to;
};

struct explorer {
    struct model_store *stores[MODEL_PARTS];
    uint32_t loaded[MODEL_PARTS];
    struct state *states;
    uint32_t states_count;
    uint32_t states_capacity;
    uint32_t *slots; // state + 1
    uint64_t slots_count;
    struct edge *edges; // without faults
    uint64_t edges_count;
    uint64_t edges_capacity;
    bool liveness;
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

static uint32_t *slot_of(const uint32_t *images)
{
    uint64_t hash = pawl_hash_bytes(images, sizeof(uint32_t) * MODEL_PARTS, 1);
    uint64_t at = hash & (explorer.slots_count - 1);
    while (explorer.slots[at] != 0 && memcmp(explorer.states[explorer.slots[at] - 1].images, images,
                                             sizeof(uint32_t) * MODEL_PARTS) != 0) {
        at = (at + 1) & (explorer.slots_count - 1);
    }
    return &explorer.slots[at];
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
    if (explorer.states_count * 2ull < explorer.slots_count) {
        return;
    }
    free(explorer.slots);
    explorer.slots_count = explorer.slots_count != 0 ? explorer.slots_count * 2 : 1u << 17;
    explorer.slots = calloc(explorer.slots_count, sizeof(explorer.slots[0]));
    pawl_assert(explorer.slots != NULL);
    for (uint32_t i = 0; i < explorer.states_count; i++) {
        *slot_of(explorer.states[i].images) = i + 1;
    }
}

static void load(const struct state *state)
{
    for (uint32_t part = 0; part < MODEL_PARTS; part++) {
        if (explorer.loaded[part] != state->images[part] || model_world.touched[part]) {
            model_store_load(explorer.stores[part], state->images[part]);
            explorer.loaded[part] = state->images[part];
            model_world.touched[part] = false;
        }
    }
}

// The number of the world's present state; *ret_new when it was not known.
static uint32_t save(uint32_t parent, struct model_event event, bool *ret_new)
{
    struct state state = {.parent = parent, .event = event};
    for (uint32_t part = 0; part < MODEL_PARTS; part++) {
        if (model_world.touched[part]) {
            explorer.loaded[part] = model_store_save(explorer.stores[part]);
            // What was found may be another image of the same state.
        }
        state.images[part] = explorer.loaded[part];
    }
    states_grow();
    uint32_t *slot = slot_of(state.images);
    *ret_new = *slot == 0;
    if (*slot == 0) {
        state.answered = model_oracle_all_answered();
        state.bounded = model_oracle_version() > model_world.config->versions_max;
        explorer.states[explorer.states_count++] = state;
        *slot = explorer.states_count;
    }
    return *slot - 1;
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
    explorer.edges[explorer.edges_count++] = (struct edge){.from = from, .to = to};
}

// ---- paths -------------------------------------------------------------------------------------------

static uint32_t path_to(uint32_t state, struct model_event *events, uint32_t max)
{
    uint32_t count = 0;
    for (uint32_t at = state; explorer.states[at].parent != NO_STATE;
         at = explorer.states[at].parent) {
        pawl_assert(count < max);
        events[count++] = explorer.states[at].event;
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

static int by_to(const void *x, const void *y)
{
    const struct edge *a = x;
    const struct edge *b = y;
    return a->to < b->to ? -1 : a->to > b->to;
}

// Marks everybody who gets to an answered state: backwards from there.
static uint64_t find_stuck(uint32_t *ret_first)
{
    uint32_t count = explorer.states_count;
    uint8_t *lives = calloc(count, 1);
    uint32_t *queue = malloc(count * sizeof(*queue));
    uint64_t *begins = calloc(count + 1ull, sizeof(*begins));
    uint64_t first = 0;
    uint64_t last = 0;
    uint64_t stuck = 0;
    pawl_assert(lives != NULL && queue != NULL && begins != NULL);
    qsort(explorer.edges, explorer.edges_count, sizeof(explorer.edges[0]), by_to);
    for (uint64_t i = 0; i < explorer.edges_count; i++) {
        begins[explorer.edges[i].to + 1] = i + 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        begins[i + 1] = PAWL_MAX(begins[i + 1], begins[i]);
        // Beyond the bound nothing is known.
        if (explorer.states[i].answered || explorer.states[i].bounded) {
            lives[i] = 1;
            queue[last++] = i;
        }
    }
    while (first < last) {
        uint32_t to = queue[first++];
        for (uint64_t i = begins[to]; i < begins[to + 1]; i++) {
            uint32_t from = explorer.edges[i].from;
            if (!lives[from]) {
                lives[from] = 1;
                queue[last++] = from;
            }
        }
    }
    *ret_first = NO_STATE;
    for (uint32_t i = 0; i < count; i++) {
        if (!lives[i]) {
            *ret_first = stuck++ == 0 ? i : *ret_first;
        }
    }
    free(lives);
    free(queue);
    free(begins);
    return stuck;
}

// ---- breadth first -------------------------------------------------------------------------------------

static void progress(const struct model_result *result, uint32_t at)
{
    uint64_t bytes = 0;
    fprintf(stderr, "depth %u: %u states, %u to do; images", result->depth, explorer.states_count,
            explorer.states_count - at);
    for (uint32_t part = 0; part < MODEL_PARTS; part++) {
        fprintf(stderr, " %u", model_store_count(explorer.stores[part]));
        bytes += model_store_bytes(explorer.stores[part]);
    }
    fprintf(stderr, " (%llu MiB)\n", (unsigned long long)(bytes >> 20));
}

static bool apply_from(uint32_t from, struct model_event event, struct model_result *result)
{
    bool is_new = false;
    load(&explorer.states[from]);
    current = from;
    current_event = event;
    model_event_apply(event);
    result->transitions++;
    if (model_world.violated) {
        return false;
    }
    bool lots = model_world.lots;
    uint32_t to = save(from, event, &is_new);
    if (explorer.liveness && event.fault == 0 && to != from) {
        edge_add(from, to);
    }
    // A lot has other outcomes too.
    if (lots && event.chance == 0) {
        for (uint8_t chance = 1; chance < model_world.config->chances; chance++) {
            event.chance = chance;
            if (!apply_from(from, event, result)) {
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
    for (uint32_t i = 0; i < count; i++) {
        if (!apply_from(at, events[i], result)) {
            return false;
        }
    }
    return true;
}

static void explore_all(const struct model_limits *limits, struct model_result *result)
{
    double begin = now();
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
        over |= limits->seconds_max > 0 && at % 256 == 0 && now() - begin > limits->seconds_max;
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
    double begin = now();
    explorer = (struct explorer){.liveness = limits->liveness};
    *ret = (struct model_result){0};
    for (uint32_t part = 0; part < MODEL_PARTS; part++) {
        explorer.stores[part] = model_store_new(model_world.regions[part]);
        model_world.touched[part] = true;
    }
    model_oracle_check();
    pawl_assert(!model_world.violated);
    (void)save(NO_STATE, (struct model_event){0}, &is_new);
    explore_all(limits, ret);
    if (ret->violated) {
        say_violation();
    } else if (limits->liveness && ret->complete) {
        check_liveness(ret);
    }
    current = NO_STATE;
    ret->seconds = now() - begin;
}
