// SPDX-License-Identifier: Apache-2.0
// Connect, transfer, end, again and again; and fork. Half of the peers are processes that are killed in
// the middle of a transfer. Afterwards nothing may be left: no descriptor, no memory, and over
// a device no queue pair, region or connection id.
//
// PAWL_TEST_CYCLES says how often (1,000 in the guest), PAWL_TEST_FABRIC over what.
#include "fabric_pair.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/log.h"

#define CYCLES_DEFAULT 40u
#define CYCLES_WARM 10u
#define WINDOW_BYTES (256u << 10)
#define PIECE_BYTES (64u << 10)
#define WRITES_MAX 4 // under way on one connection
#define MESSAGES_WANTED 3

// What one end tells the other first: where it may write.
struct offer {
    uint64_t address, key;
};

// One end: writes to the other and says so, as long as the connection lives.
struct end {
    struct fabric *fabric;
    struct fabric_region *region; // its window, and where its own writes come from
    unsigned char *memory;
};

struct mover {
    struct fabric_conn *conn;
    struct offer offer;
    int writes_pending, messages, closed, misses;
};

static void end_open(struct end *end, struct fabric *fabric)
{
    end->fabric = fabric;
    end->memory = aligned_alloc(4096, WINDOW_BYTES);
    assert_non_null(end->memory);
    memset(end->memory, 0x5a, WINDOW_BYTES);
    assert_int_equal(fabric_region_open(fabric, end->memory, WINDOW_BYTES,
                                        FABRIC_LOCAL | FABRIC_REMOTE_WRITE, &end->region),
                     0);
}

static void end_close(struct end *end)
{
    fabric_region_close(end->region);
    free(end->memory);
}

static void offer_send(struct end *end, struct mover *mover)
{
    struct offer offer = {fabric_region_remote(end->region, end->memory),
                          fabric_region_key(end->region)};
    int rc = fabric_send(mover->conn, &offer, sizeof(offer));
    assert_true(rc == 0 || rc == PAWL_EDISCONNECTED);
}

// Both answers are right when the peer was killed a moment ago.
static void write_more(struct end *end, struct mover *mover)
{
    while (mover->offer.key != 0 && mover->writes_pending < WRITES_MAX) {
        int rc = fabric_write(mover->conn, end->region, end->memory, PIECE_BYTES,
                              mover->offer.address, mover->offer.key, 1);
        if (rc == 0) {
            mover->writes_pending++;
            rc = fabric_send(mover->conn, "written", 8);
        }
        if (rc < 0) {
            assert_true(rc == -EAGAIN || rc == PAWL_EDISCONNECTED);
            return;
        }
    }
}

static void message_take(struct mover *mover, const struct fabric_event *event)
{
    if (event->message_bytes == sizeof(mover->offer)) {
        memcpy(&mover->offer, event->message, sizeof(mover->offer));
    }
    mover->messages++;
}

// `fresh` takes the next peer that is accepted.
static void end_turn(struct end *end, uint64_t now_ns, struct mover *fresh)
{
    struct fabric_event events[32];
    int count = fabric_poll(end->fabric, now_ns, events, 32);
    for (int i = 0; i < count; i++) {
        // What comes in one batch with ACCEPTED was made before the user was set.
        struct mover *mover = events[i].user ? events[i].user : fresh;
        assert_non_null(mover);
        switch (events[i].type) {
        case FABRIC_ACCEPTED:
            fabric_conn_set_user(events[i].conn, mover);
            mover->conn = events[i].conn;
            offer_send(end, mover);
            break;
        case FABRIC_CONNECTED:
            offer_send(end, mover);
            break;
        case FABRIC_MESSAGE:
            message_take(mover, &events[i]);
            write_more(end, mover);
            break;
        case FABRIC_DONE:
            mover->writes_pending--;
            break;
        case FABRIC_CLOSED:
            mover->closed++;
            mover->misses += mover->writes_pending; // each has ended before
            mover->conn = NULL;
            break;
        }
    }
}

static int peer_run(const char *address)
{
    struct end end;
    struct mover mover = {0};
    alarm(300); // whatever happens to the parent
    end_open(&end, side_open(tcp_name, NULL));
    if (fabric_connect(end.fabric, address, 30000, &mover, &mover.conn) != 0) {
        return 3;
    }
    while (mover.closed == 0) {
        end_turn(&end, pawl_clock_ns(), NULL);
    }
    return 4; // it lives until it is killed
}

static pid_t peer_start(const struct pair *pair)
{
    char *argv[] = {(char[]){"test_fabric_cycles"}, (char[]){"--peer"},
                    (char *)(uintptr_t)fabric_address(pair->b.fabric), NULL};
    pid_t pid = 0;
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);
    return pid;
}

struct cycles {
    struct pair pair;
    struct end a, b;
};

static void cycles_turn(struct cycles *cycles, struct mover *fresh)
{
    end_turn(&cycles->a, cycles->pair.now_ns, NULL);
    end_turn(&cycles->b, cycles->pair.now_ns, fresh);
}

#define turn_until(cycles, fresh, expr)                                                            \
    do {                                                                                           \
        uint64_t begin_ms_ = pawl_clock_ms();                                                      \
        while (!(expr)) {                                                                          \
            cycles_turn(cycles, fresh);                                                            \
            if (is_hopeless(begin_ms_)) {                                                          \
                fail_msg("%s: never: %s", (cycles)->pair.provider, #expr);                         \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static bool is_quiet(const struct fabric *fabric)
{
    return pawl_list_is_empty(&fabric->conns) && pawl_list_is_empty(&fabric->closing) &&
           pawl_list_is_empty(&fabric->closed);
}

static void cycle_close(struct cycles *cycles, bool is_a)
{
    struct mover a = {0}, b = {0};
    assert_int_equal(
        fabric_connect(cycles->a.fabric, fabric_address(cycles->b.fabric), 30000, &a, &a.conn), 0);
    turn_until(cycles, &b, a.messages >= MESSAGES_WANTED && b.messages >= MESSAGES_WANTED);
    fabric_conn_close(is_a ? a.conn : b.conn, 0);
    turn_until(cycles, NULL, a.closed == 1 && b.closed == 1);
    assert_int_equal(a.misses + b.misses, 0);
}

static void cycle_kill(struct cycles *cycles)
{
    struct mover b = {0};
    int status = 0;
    pid_t pid = peer_start(&cycles->pair);
    turn_until(cycles, &b, b.messages >= MESSAGES_WANTED);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    turn_until(cycles, NULL, b.closed == 1);
    assert_int_equal(b.misses, 0);
}

struct left {
    int fds;
    size_t heap_bytes;
    char objects[1024]; // of the devices, as `rdma resource` counts them
};

static void left_take(struct cycles *cycles, struct left *left)
{
    memset(left, 0, sizeof(*left));
    turn_until(cycles, NULL, is_quiet(cycles->a.fabric) && is_quiet(cycles->b.fabric));
    if (strcmp(tcp_name, "tcp") != 0) {
        FILE *shown = popen("rdma resource show", "r");
        assert_non_null(shown);
        size_t bytes = fread(left->objects, 1, sizeof(left->objects) - 1, shown);
        assert_int_equal(pclose(shown), 0);
        assert_true(bytes > 0);
        print_message("%s", left->objects);
    }
    left->fds = fds_count();
    left->heap_bytes = mallinfo2().uordblks;
}

static void test_cycles_when_peers_close_or_are_killed_then_nothing_is_left(void **state)
{
    (void)state;
    struct cycles cycles;
    struct left warm = {0}, end;
    const char *text = getenv("PAWL_TEST_CYCLES");
    unsigned count = text ? (unsigned)strtoul(text, NULL, 10) : CYCLES_DEFAULT;
    assert_true(count > CYCLES_WARM);
    pair_open(&cycles.pair, tcp_name, NULL);
    end_open(&cycles.a, cycles.pair.a.fabric);
    end_open(&cycles.b, cycles.pair.b.fabric);
    for (unsigned i = 0; i < count; i++) {
        if (i == CYCLES_WARM) {
            left_take(&cycles, &warm);
        }
        if (i % 100 == 0) {
            print_message("%u of %u cycles\n", i, count);
        }
        if (i % 2 == 0) {
            cycle_close(&cycles, i % 4 == 0);
        } else {
            cycle_kill(&cycles);
        }
    }
    left_take(&cycles, &end);
    assert_int_equal(end.fds, warm.fds);
    assert_string_equal(end.objects, warm.objects);
    assert_in_range(end.heap_bytes, 0, warm.heap_bytes + 65536);
    end_close(&cycles.a);
    end_close(&cycles.b);
    pair_close(&cycles.pair);
}

// ---- fork ---------------------------------------------------------------------------------------

static void *pages_new(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    return pages;
}

struct forked {
    struct pair pair;
    unsigned char *source, *window;
    struct fabric_region *source_region, *window_region;
};

static void forked_open(struct forked *forked)
{
    pair_open(&forked->pair, tcp_name, NULL);
    forked->source = pages_new(MIB);
    forked->window = pages_new(MIB);
    memset(forked->source, 1, MIB);
    memset(forked->window, 2, MIB);
    assert_int_equal(fabric_region_open(forked->pair.a.fabric, forked->source, MIB, FABRIC_LOCAL,
                                        &forked->source_region),
                     0);
    assert_int_equal(fabric_region_open(forked->pair.b.fabric, forked->window, MIB,
                                        FABRIC_REMOTE_WRITE | FABRIC_REMOTE_READ,
                                        &forked->window_region),
                     0);
    pair_connect(&forked->pair);
}

static void forked_close(struct forked *forked)
{
    fabric_region_close(forked->source_region);
    fabric_region_close(forked->window_region);
    pair_close(&forked->pair);
    munmap(forked->source, MIB);
    munmap(forked->window, MIB);
}

// A message's worth of bytes and all of the source go over, and are what the parent has put there.
static void forked_transfer(struct forked *forked, unsigned char value)
{
    struct pair *pair = &forked->pair;
    uint64_t done = pair->a.done, messages = pair->b.messages;
    memset(forked->source, value, MIB);
    memset(forked->window, 0, MIB); // the parent's pages are touched: a copy would be its own
    assert_int_equal(fabric_write(pair->a.conn, forked->source_region, forked->source, MIB,
                                  fabric_region_remote(forked->window_region, forked->window),
                                  fabric_region_key(forked->window_region), value),
                     0);
    assert_int_equal(fabric_send(pair->a.conn, forked->source, MESSAGE_BYTES), 0);
    poll_until(pair, pair->a.done == done + 1 && pair->b.messages == messages + 1);
    assert_int_equal(pair->a.done_failed, 0);
    for (size_t i = 0; i < MIB; i++) {
        assert_int_equal(forked->window[i], value);
    }
    for (size_t i = 0; i < MESSAGE_BYTES; i++) {
        assert_int_equal(pair->b.message[i], value);
    }
}

// The child writes to its copies of the registered pages, says so, and stays until it is told to go.
static pid_t scribbler_start(struct forked *forked, int *ret_go, int *ret_ready)
{
    int go[2], ready[2];
    assert_int_equal(pipe(go) | pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char byte = 0;
        close(go[1]);
        memset(forked->source, 0xee, MIB);
        memset(forked->window, 0xee, MIB);
        bool is_told = write(ready[1], "r", 1) == 1 && read(go[0], &byte, 1) == 1;
        memset(forked->source, 0xdd, MIB);
        memset(forked->window, 0xdd, MIB);
        _exit(is_told ? 7 : 8);
    }
    close(go[0]);
    close(ready[1]);
    *ret_go = go[1];
    *ret_ready = ready[0];
    return pid;
}

static void test_fork_when_memory_is_registered_then_the_parents_bytes_are_right(void **state)
{
    (void)state;
    struct forked forked;
    int go = -1, ready = -1, status = 0;
    char byte = 0;
    forked_open(&forked);
    forked_transfer(&forked, 3);
    pid_t pid = scribbler_start(&forked, &go, &ready);
    forked_transfer(&forked, 4); // while the child scribbles
    assert_int_equal(read(ready, &byte, 1), 1);
    forked_transfer(&forked, 5); // and when it has
    assert_int_equal(write(go, "g", 1), 1);
    forked_transfer(&forked, 6);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7); // its pages were there
    forked_transfer(&forked, 8);
    close(go);
    close(ready);
    forked_close(&forked);
}

static void test_fork_when_another_program_runs_then_the_connection_goes_on(void **state)
{
    (void)state;
    struct forked forked;
    forked_open(&forked);
    for (unsigned char value = 1; value <= 5; value++) {
        forked_transfer(&forked, value);
        assert_int_equal(system("exit 3") >> 8, 3);
    }
    forked_transfer(&forked, 9);
    assert_int_equal(forked.pair.a.closed + forked.pair.b.closed, 0);
    forked_close(&forked);
}

int main(int argc, char **argv)
{
    pawl_log_init(PAWL_LOG_ERROR, STDERR_FILENO);
    pair_take_environment();
    if (argc == 3 && strcmp(argv[1], "--peer") == 0) {
        return peer_run(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fork_when_memory_is_registered_then_the_parents_bytes_are_right),
        cmocka_unit_test(test_fork_when_another_program_runs_then_the_connection_goes_on),
        cmocka_unit_test(test_cycles_when_peers_close_or_are_killed_then_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
