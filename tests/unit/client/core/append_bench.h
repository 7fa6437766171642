// SPDX-License-Identifier: Apache-2.0
// An append core on the bench: events in, actions looked at, in virtual time.
#ifndef PAWL_TESTS_APPEND_BENCH_H
#define PAWL_TESTS_APPEND_BENCH_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "client/core/append_core.h"

#define MS 1000000ull

struct bench {
    struct append_core *core;
    uint64_t now_ns;
    const struct append_actions *actions;
};

void bench_init(struct bench *b, struct append_core_options options);
int bench_setup(void **state);
int bench_teardown(void **state);
int step(struct bench *b, struct append_event event);
int submit_at(struct bench *b, uint64_t sequence, uint32_t crc, uint64_t deadline_ms);
void submit(struct bench *b, uint32_t crc);
void tail(struct bench *b, int status, uint64_t handle, uint64_t version, uint64_t primary);
void reply(struct bench *b, const struct append_action *send, int status, uint64_t value);
void looked_up(struct bench *b, const struct append_action *lookup, int status, uint64_t value);
void disconnected(struct bench *b, uint64_t server);
// Goes on to the time that the core asked for.
void wake(struct bench *b);
void tick_after(struct bench *b, uint64_t ms);
const struct append_action *nth(const struct bench *b, enum append_action_type type, uint32_t n);
struct append_action expect(const struct bench *b, enum append_action_type type);
struct append_action expect_send(const struct bench *b, uint64_t sequence, uint64_t server);
void expect_done(const struct bench *b, uint64_t sequence, int status);
void expect_none(const struct bench *b, enum append_action_type type);

#define BENCH_CASE(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)

#endif
