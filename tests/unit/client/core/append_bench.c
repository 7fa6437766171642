// SPDX-License-Identifier: Apache-2.0
// An append core on the bench.
#include "append_bench.h"

void bench_init(struct bench *b, struct append_core_options options)
{
    *b = (struct bench){.now_ns = 1000 * MS};
    options.file_id = 1;
    options.producer_lo = 7;
    options.random_seed = 1;
    options.alloc = pawl_alloc_heap();
    assert_int_equal(append_core_new(&options, &b->core), 0);
}

int bench_setup(void **state)
{
    static struct bench bench;
    bench_init(&bench, (struct append_core_options){0});
    *state = &bench;
    return 0;
}

int bench_teardown(void **state)
{
    struct bench *b = *state;
    append_core_free(b->core);
    return 0;
}

int step(struct bench *b, struct append_event event)
{
    event.now_ns = b->now_ns;
    return append_core_step(b->core, &event, &b->actions);
}

int submit_at(struct bench *b, uint64_t sequence, uint32_t crc, uint64_t deadline_ms)
{
    return step(b, (struct append_event){.type = APPEND_EVENT_SUBMIT,
                                         .sequence = sequence,
                                         .length = 100,
                                         .crc = crc,
                                         .user = 1000 + crc,
                                         .deadline_ns = b->now_ns + deadline_ms * MS});
}

void submit(struct bench *b, uint32_t crc)
{
    assert_int_equal(submit_at(b, 0, crc, 10000), 0);
}

void tail(struct bench *b, int status, uint64_t handle, uint64_t version, uint64_t primary)
{
    struct append_tail t = {
        .handle = handle, .version = version, .chunk_bytes = 64 << 20, .primary_id = primary};
    assert_int_equal(
        step(b, (struct append_event){.type = APPEND_EVENT_TAIL, .status = status, .tail = t}), 0);
}

void reply(struct bench *b, const struct append_action *send, int status, uint64_t value)
{
    struct append_event event = {.type = APPEND_EVENT_REPLY,
                                 .status = status,
                                 .sequence = send->sequence,
                                 .attempt = send->attempt};
    event.reply.sequence = status == 0 ? send->sequence : value;
    event.reply.file_offset = status == 0 ? value : 0;
    event.reply.earlier_chunk = value;
    assert_int_equal(step(b, event), 0);
}

void looked_up(struct bench *b, const struct append_action *lookup, int status, uint64_t value)
{
    struct append_event event = {.type = APPEND_EVENT_LOOKED_UP,
                                 .status = status,
                                 .sequence = lookup->sequence,
                                 .attempt = lookup->attempt};
    event.reply.sequence = lookup->sequence;
    event.reply.file_offset = value;
    event.reply.earlier_chunk = value;
    assert_int_equal(step(b, event), 0);
}

void disconnected(struct bench *b, uint64_t server)
{
    assert_int_equal(
        step(b, (struct append_event){.type = APPEND_EVENT_DISCONNECTED, .server = server}), 0);
}

// Goes on to the time that the core asked for.
void wake(struct bench *b)
{
    uint64_t wake_ns = append_core_wake_ns(b->core);
    assert_true(wake_ns != UINT64_MAX);
    assert_true(wake_ns > b->now_ns);
    b->now_ns = wake_ns;
    assert_int_equal(step(b, (struct append_event){.type = APPEND_EVENT_TICK}), 0);
}

void tick_after(struct bench *b, uint64_t ms)
{
    b->now_ns += ms * MS;
    assert_int_equal(step(b, (struct append_event){.type = APPEND_EVENT_TICK}), 0);
}

const struct append_action *nth(const struct bench *b, enum append_action_type type, uint32_t n)
{
    for (uint32_t i = 0; i < b->actions->count; i++) {
        if (b->actions->items[i].type == type && n-- == 0) {
            return &b->actions->items[i];
        }
    }
    return NULL;
}

struct append_action expect(const struct bench *b, enum append_action_type type)
{
    const struct append_action *action = nth(b, type, 0);
    assert_non_null(action);
    return *action;
}

struct append_action expect_send(const struct bench *b, uint64_t sequence, uint64_t server)
{
    for (uint32_t n = 0;; n++) {
        const struct append_action *action = nth(b, APPEND_ACTION_SEND, n);
        assert_non_null(action);
        if (action->sequence == sequence) {
            assert_int_equal(action->server, server);
            return *action;
        }
    }
}

void expect_done(const struct bench *b, uint64_t sequence, int status)
{
    for (uint32_t n = 0;; n++) {
        const struct append_action *action = nth(b, APPEND_ACTION_DONE, n);
        assert_non_null(action);
        if (action->sequence == sequence) {
            assert_int_equal(action->status, status);
            return;
        }
    }
}

void expect_none(const struct bench *b, enum append_action_type type)
{
    assert_null(nth(b, type, 0));
}
