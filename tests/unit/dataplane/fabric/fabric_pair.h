// SPDX-License-Identifier: Apache-2.0
// Two fabrics of one process, polled by hand, for the tests of the fabric room.
#ifndef PAWL_TESTS_FABRIC_PAIR_H
#define PAWL_TESTS_FABRIC_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "dataplane/fabric/fabric.h"
#include "dataplane/fabric/fabric_private.h"

#define MESSAGE_BYTES 8192u
#define OPERATION_MS 10000u
#define MIB (1u << 20)

// One fabric and what its polls have given. Events of all its connections are counted together.
struct side {
    struct fabric *fabric;
    struct fabric_conn *conn; // the one that came up last
    bool is_off;              // not polled: a frozen peer
    int connected, accepted, closed;
    int closed_status;
    uint64_t done, done_failed, last_token;
    uint64_t messages, message_errors;
    uint32_t message_bytes; // of the last one
    unsigned char message[MESSAGE_BYTES];
    // Called for each message while its bytes may be looked at.
    void (*on_message)(struct side *side, const struct fabric_event *event);
    void *ctx;
    int events_at_once; // 0: many
};

struct pair {
    const char *provider;
    uint64_t now_ns; // the fabrics' clock: stands still unless a test moves it
    struct side a;   // connects
    struct side b;   // listens
};

struct fabric *side_open(const char *provider, const struct fabric_options *extra);
void pair_open(struct pair *pair, const char *provider, const struct fabric_options *extra);
void pair_connect(struct pair *pair);
void pair_close(struct pair *pair);
void side_poll(struct side *side, uint64_t now_ns);
void pair_poll(struct pair *pair);
void pair_advance_ms(struct pair *pair, uint64_t ms);
// Time that a test gives up after; no test waits for it to pass.
bool is_hopeless(uint64_t start_ms);
int fds_count(void);

// Polls both sides until expr holds.
#define poll_until(pair, expr)                                                                     \
    do {                                                                                           \
        uint64_t start_ms_ = pawl_clock_ms();                                                      \
        while (!(expr)) {                                                                          \
            pair_poll(pair);                                                                       \
            if (is_hopeless(start_ms_)) {                                                          \
                fail_msg("%s: never: %s", (pair)->provider, #expr);                                \
            }                                                                                      \
        }                                                                                          \
    } while (0)

// A test's body for both providers: the name of the provider is its state.
extern char fake_name[], tcp_name[16];
// Another provider and the two sides' addresses instead of tcp on loopback, where there is a device:
// PAWL_TEST_FABRIC="verbs 10.77.0.1 10.77.0.2".
// PAWL_TEST_IWARP=1 says that the device is an iWARP one (is_iwarp).
void pair_take_environment(void);
// A connection over iWARP ends when a message finds no receive: nothing holds the sender off, as RNR does.
bool is_iwarp(const char *provider);
const char *provider_of(void **state);
bool is_device(const char *provider);
#define both(name)                                                                                 \
    {#name " (fake)", name, NULL, NULL, fake_name},                                                \
    {                                                                                              \
#name " (tcp)", name, NULL, NULL, tcp_name                                                 \
    }

#endif
