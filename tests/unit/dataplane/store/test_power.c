// SPDX-License-Identifier: Apache-2.0
// The power is cut, hundreds of times, on a simulated disk that keeps only what was flushed. The same
// seed does the same; a failure names it. PAWL_SEEDS=N tries N times as many seeds.
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "crash_writer.h"
#include "sim_io.h"

#define ROUNDS 25
#define STEPS_MAX 160u

// What came about, of what is to be cut through.
struct seen {
    uint64_t recycled_files;
    uint64_t grouped_bytes;
};

// One life of a store: written to, cut off, checked, many times over. NULL, or what was lost.
static const char *power_rounds(struct fixture *f, uint64_t seed, enum sim_io_lie lie,
                                struct seen *seen)
{
    struct told *told = calloc(1, sizeof(*told));
    struct pawl_random random;
    const char *why = NULL;

    pawl_random_seed(&random, seed);
    f->options.group_bytes_min = seed % 2 == 0 ? 3000 : 0; // of many records, seldom or never
    sim_io_start(seed, lie);
    for (int round = 0; round < ROUNDS && why == NULL; round++) {
        if (store_open(&f->options, &f->store) != 0) {
            why = "the store can't be opened";
            break;
        }
        why = told_broken(f, told);
        struct writer *writer = NULL;
        if (why == NULL) {
            writer = writer_new(f->store, told, seed + (uint64_t)round);
            for (uint64_t i = pawl_random_below(&random, STEPS_MAX); i > 0; i--) {
                writer_step(writer);
            }
        }
        seen->recycled_files += store_counters(f->store)->recycled_files_count;
        seen->grouped_bytes += store_counters(f->store)->grouped_bytes;
        sim_io_cut();
        store_close(f->store);
        f->store = NULL;
        writer_free(writer);
        sim_io_settle();
    }
    free(told);
    return why;
}

static void power_seeds(struct fixture *f, uint64_t first, uint64_t count)
{
    const char *more = getenv("PAWL_SEEDS");
    struct seen seen = {0};

    count *= more != NULL ? strtoull(more, NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + count; seed++) {
        fixture_remove_tree(f->dir);
        const char *why = power_rounds(f, seed, SIM_IO_HONEST, &seen);
        if (why != NULL) {
            fail_msg("seed %lu: %s", (unsigned long)seed, why);
        }
    }
    assert_true(seen.recycled_files >= count); // drops and what follows them were cut through
    assert_true(seen.grouped_bytes >= count * (64u << 10));
}

static void setup_small(struct fixture *f, uint32_t segments_count)
{
    f->options.no_direct = true;
    f->options.journal_segment_bytes = 192u << 10;
    f->options.journal_segments_count = segments_count;
    if (f->buffer == NULL) {
        f->buffer = aligned_alloc(4096, 17u << 20);
    }
}

static void test_power_when_cut_anywhere_then_completed_changes_are_there(void **state)
{
    setup_small(*state, 2);
    power_seeds(*state, 1, 10);
}

static void test_power_when_journal_has_more_segments_then_completed_changes_are_there(void **state)
{
    setup_small(*state, 5);
    power_seeds(*state, 1000003, 3);
}

// The check can fail: a disk that forgets what it was told to keep is found out.
static void test_power_when_the_disk_lies_then_loss_is_found(void **state)
{
    struct fixture *f = *state;
    static const enum sim_io_lie lies[] = {SIM_IO_FLUSH_DOES_NOTHING, SIM_IO_DURABLE_DOES_NOTHING,
                                           SIM_IO_FLUSH_IS_OF_ONE_FILE};

    setup_small(f, 2);
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(lies); i++) {
        const char *why = NULL;
        struct seen seen = {0};
        for (uint64_t seed = 1; why == NULL && seed < 20; seed++) {
            fixture_remove_tree(f->dir);
            why = power_rounds(f, seed, lies[i], &seen);
        }
        assert_non_null(why);
    }
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_power_when_cut_anywhere_then_completed_changes_are_there),
        FIXTURE_TEST(test_power_when_journal_has_more_segments_then_completed_changes_are_there),
        FIXTURE_TEST(test_power_when_the_disk_lies_then_loss_is_found),
    };

    pawl_log_init(PAWL_LOG_ERROR, 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
