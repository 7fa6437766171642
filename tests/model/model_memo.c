// SPDX-License-Identifier: Apache-2.0
// The world as a tuple of images, and a memory of what nodes did.
//
// What an event does at a node hangs on that node's image, on what is delivered, on the oracle, on
// what the servers' disks hold, and on the numbers that new connections get: on nothing else. There
// are few of these, and many states. So a node is run once for each: what it became, what the oracle
// became, and what it did to the network is kept, and done again without it. The oracle's checks of
// the state behind an event hang on the same.
//
// A part is loaded into its region only where somebody looks at it.
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "model.h"

struct facts_store {
    struct model_facts *items;
    uint32_t capacity;
};

struct key {
    struct model_act act;
    uint32_t image;
    uint32_t oracle;
    uint32_t next; // numbers of connections
    uint32_t zero;
    struct model_hash disks[MODEL_SERVERS_MAX];
};

struct memo {
    struct key key;
    uint32_t image;
    uint32_t oracle;
    uint32_t ops; // where they begin
    uint16_t ops_count;
    bool lots;
};

static struct model_store *stores[MODEL_PARTS];
static struct facts_store facts[MODEL_PARTS];
static uint32_t wanted[MODEL_PARTS]; // the world's state
static uint32_t held[MODEL_PARTS];   // what the regions hold
static struct memo *memos;
static uint32_t memos_count;
static uint32_t memos_capacity;
static uint32_t *slots; // memo + 1
static uint64_t slots_count;
static struct model_net_op *ops;
static uint32_t ops_count;
static uint32_t ops_capacity;

static void *grown(void *items, uint32_t count, uint32_t *capacity, size_t bytes)
{
    if (count <= *capacity) {
        return items;
    }
    *capacity = PAWL_MAX(count, *capacity != 0 ? *capacity * 2 : 256);
    items = realloc(items, *capacity * bytes);
    pawl_assert(items != NULL);
    return items;
}

// ---- images ----------------------------------------------------------------------------------------

static void part_set(uint32_t part, uint32_t image)
{
    wanted[part] = image;
    model_world.stale[part] = held[part] != image;
    model_world.facts[part] = &facts[part].items[image];
    if (part < MODEL_NODES) {
        model_world.up[part] = model_world.facts[part]->up;
    }
}

static struct model_hash words_hash(const uint64_t *words, uint32_t count)
{
    struct model_hash hash = {.a = 1, .b = 2};
    for (uint32_t i = 0; i < count; i++) {
        model_hash_mix(&hash, words[i]);
    }
    return hash;
}

static void part_save(uint32_t part)
{
    static uint64_t words[MODEL_IMAGE_WORDS];
    struct model_region *region = model_world.regions[part];
    bool is_net = part == MODEL_PART_NET;
    if (model_world.merge) {
        model_normalise_slots(part);
    }
    uint32_t count = is_net ? model_net_pack(words) : 0;
    struct model_hash hash = is_net ? words_hash(words, count) : model_region_hash(region);
    uint32_t image = model_store_find(stores[part], &hash);
    if (image == MODEL_NO_IMAGE) {
        count = is_net ? count : model_region_pack(region, words);
        image = model_store_add(stores[part], &hash, words, count);
        facts[part].items = grown(facts[part].items, image + 1, &facts[part].capacity,
                                  sizeof(facts[part].items[0]));
        model_facts_take(part, &facts[part].items[image]);
    }
    // What was found may be another image of the same state.
    held[part] = image;
    model_world.touched[part] = false;
    part_set(part, image);
}

void model_images_fetch(uint32_t part)
{
    model_world.stale[part] = false;
    const uint64_t *words = model_store_at(stores[part], wanted[part]);
    if (part == MODEL_PART_NET) {
        model_net_unpack(words);
    } else {
        model_region_unpack(model_world.regions[part], words);
    }
    held[part] = wanted[part];
}

void model_images_begin(void)
{
    model_world.images = true;
    slots_count = 1u << 16;
    slots = calloc(slots_count, sizeof(slots[0]));
    pawl_assert(slots != NULL);
    for (uint32_t part = 0; part < MODEL_PARTS; part++) {
        stores[part] = model_store_new();
        part_save(part);
    }
}

void model_images_set(const uint32_t *images)
{
    for (uint32_t part = 0; part < MODEL_PARTS; part++) {
        if (model_world.touched[part]) {
            held[part] = MODEL_NO_IMAGE;
            model_world.touched[part] = false;
        }
        part_set(part, images[part]);
    }
}

void model_images_save(uint32_t *images)
{
    for (uint32_t part = 0; part < MODEL_PARTS; part++) {
        if (model_world.touched[part]) {
            part_save(part);
        }
        images[part] = wanted[part];
    }
}

const struct model_facts *model_images_facts(uint32_t part, uint32_t image)
{
    return &facts[part].items[image];
}

uint32_t model_images_count(uint32_t part)
{
    return model_store_count(stores[part]);
}

uint64_t model_images_bytes(void)
{
    uint64_t bytes = memos_capacity * sizeof(memos[0]) + ops_capacity * sizeof(ops[0]);
    for (uint32_t part = 0; part < MODEL_PARTS; part++) {
        bytes += model_store_bytes(stores[part]);
    }
    return bytes;
}

// ---- what nodes did ----------------------------------------------------------------------------------

static uint32_t *slot_of(const struct key *key)
{
    uint64_t at = pawl_hash_bytes(key, sizeof(*key), 1) & (slots_count - 1);
    while (slots[at] != 0 && memcmp(&memos[slots[at] - 1].key, key, sizeof(*key)) != 0) {
        at = (at + 1) & (slots_count - 1);
    }
    return &slots[at];
}

static struct memo *memo_add(const struct key *key)
{
    memos = grown(memos, memos_count + 1, &memos_capacity, sizeof(memos[0]));
    if (memos_count * 2ull >= slots_count) {
        free(slots);
        slots_count *= 2;
        slots = calloc(slots_count, sizeof(slots[0]));
        pawl_assert(slots != NULL);
        for (uint32_t i = 0; i < memos_count; i++) {
            *slot_of(&memos[i].key) = i + 1;
        }
    }
    uint32_t *slot = slot_of(key);
    if (*slot == 0) { // else it is there, and could not be repeated
        memos[memos_count++] = (struct memo){.key = *key};
        *slot = memos_count;
    }
    return &memos[*slot - 1];
}

static void run(const struct model_act *act, const struct key *key)
{
    static struct model_net_log log;
    log.count = 0;
    model_net_record(&log);
    model_act(act);
    model_net_record(NULL);
    if (model_world.violated) {
        return;
    }
    for (uint32_t part = 0; part < MODEL_PARTS; part++) {
        bool may = part == act->node || part == MODEL_PART_ORACLE || part == MODEL_PART_NET;
        pawl_assert(may || !model_world.touched[part]);
        if (model_world.touched[part] && part != MODEL_PART_NET) {
            part_save(part);
        }
    }
    if (model_world.forgets) {
        return;
    }
    struct memo *memo = memo_add(key);
    ops = grown(ops, ops_count + log.count, &ops_capacity, sizeof(ops[0]));
    memcpy(ops + ops_count, log.ops, log.count * sizeof(ops[0]));
    memo->image = wanted[act->node];
    memo->oracle = wanted[MODEL_PART_ORACLE];
    memo->lots = model_world.lots;
    memo->ops = ops_count;
    memo->ops_count = (uint16_t)log.count;
    ops_count += log.count;
}

bool model_memo_act(const struct model_act *act)
{
    struct key key;
    memset(&key, 0, sizeof(key));
    key.act = *act;
    key.image = wanted[act->node];
    key.oracle = wanted[MODEL_PART_ORACLE];
    key.next = model_net_next(act->node);
    for (uint32_t server = 0; server < MODEL_SERVERS_MAX; server++) {
        key.disks[server] = model_world.facts[server]->disk;
    }
    uint32_t slot = model_world.fresh || model_world.forgets ? 0 : *slot_of(&key);
    if (slot == 0) {
        run(act, &key);
        return true;
    }
    const struct memo *memo = &memos[slot - 1];
    if (!model_net_repeat(ops + memo->ops, memo->ops_count)) {
        return false;
    }
    model_world.lots = memo->lots;
    part_set(act->node, memo->image);
    part_set(MODEL_PART_ORACLE, memo->oracle);
    return true;
}
