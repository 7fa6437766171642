// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz harness without libFuzzer: over the files of the given folders, and over seeded noise
// made of them. Named inputs keep fixed bugs fixed; the noise finds what is broken outright.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

#define INPUT_MAX_BYTES ((size_t)1 << 20)
#define NOISE_ROUNDS 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

// Hands over a copy of exactly the right size, so that a sanitizer sees one byte too far.
static void replay(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    if (!copy) {
        abort();
    }
    memcpy(copy, data, bytes);
    LLVMFuzzerTestOneInput(copy, bytes);
    free(copy);
}

// Flips, cuts and overwrites.
static void replay_noise(struct pawl_random *random, const uint8_t *data, size_t bytes, int rounds)
{
    uint8_t *noisy = malloc(bytes + 64);
    if (!noisy) {
        abort();
    }
    for (int i = 0; i < rounds; i++) {
        size_t length = bytes + pawl_random_below(random, 64);
        memset(noisy, 0, bytes + 64);
        memcpy(noisy, data, bytes);
        if (pawl_random_chance(random, 1, 3)) {
            length = pawl_random_below(random, length + 1);
        }
        for (uint64_t n = pawl_random_below(random, 8); n > 0 && length > 0; n--) {
            noisy[pawl_random_below(random, length)] = (uint8_t)pawl_random_next(random);
        }
        replay(noisy, length);
    }
    free(noisy);
}

static int replay_file(struct pawl_random *random, const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(INPUT_MAX_BYTES);
    if (!file || !data) {
        fprintf(stderr, "%s: can't be read\n", path);
        exit(1);
    }
    size_t bytes = fread(data, 1, INPUT_MAX_BYTES, file);
    fclose(file);
    printf("%s: %zu bytes\n", name, bytes);
    fflush(stdout);
    replay(data, bytes);
    replay_noise(random, data, bytes, 20);
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    struct pawl_random random;
    int files = 0;
    pawl_random_seed(&random, 1);
    replay((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (!folder) {
            printf("%s: no corpus\n", argv[i]);
            continue;
        }
        for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
            if (entry->d_name[0] != '.') {
                files += replay_file(&random, argv[i], entry->d_name);
            }
        }
        closedir(folder);
    }
    uint8_t seed[256];
    for (size_t i = 0; i < sizeof(seed); i++) {
        seed[i] = (uint8_t)pawl_random_next(&random);
    }
    replay_noise(&random, seed, sizeof(seed), NOISE_ROUNDS);
    printf("%d files and %d rounds of noise\n", files, NOISE_ROUNDS);
    return 0;
}
