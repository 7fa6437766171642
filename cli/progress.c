// SPDX-License-Identifier: Apache-2.0
// Progress of long work: a bar with rate and time left on a terminal, lines in a file for scripts.
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"

#define BAR_WIDTH 30
#define SHOW_NS (100 * PAWL_NS_PER_MS)

int cli_progress_begin(struct cli_progress *progress, const char *label, uint64_t begin_bytes,
                       uint64_t total_bytes, const char *file_path)
{
    *progress = (struct cli_progress){.label = label,
                                      .total_bytes = total_bytes,
                                      .begin_bytes = begin_bytes,
                                      .begin_ns = pawl_clock_ns(),
                                      .terminal = isatty(STDERR_FILENO) == 1};
    if (file_path != NULL) {
        progress->file = fopen(file_path, "ae");
        if (progress->file == NULL) {
            return -errno;
        }
        setvbuf(progress->file, NULL, _IOLBF, 0);
    }
    return 0;
}

static void draw(const struct cli_progress *progress, uint64_t done_bytes, uint64_t now_ns)
{
    double seconds = (double)(now_ns - progress->begin_ns) / 1e9;
    double rate = seconds > 0 ? (double)(done_bytes - progress->begin_bytes) / seconds : 0;
    char done[32];
    char per_second[32];
    cli_bytes_text(done_bytes, done, sizeof done);
    cli_bytes_text((uint64_t)rate, per_second, sizeof per_second);
    if (progress->total_bytes == 0) {
        fprintf(stderr, "\r%s %s  %s/s\033[K", progress->label, done, per_second);
        return;
    }
    double part = (double)done_bytes / (double)progress->total_bytes;
    int filled = (int)(part * BAR_WIDTH);
    char bar[BAR_WIDTH + 1];
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)PAWL_MIN(filled, BAR_WIDTH));
    bar[BAR_WIDTH] = '\0';
    double left = rate > 0 ? (double)(progress->total_bytes - done_bytes) / rate : 0;
    fprintf(stderr, "\r%s [%s] %3.0f%%  %s  %s/s  %.0f s left\033[K", progress->label, bar,
            part * 100.0, done, per_second, left);
}

void cli_progress_show(struct cli_progress *progress, uint64_t done_bytes)
{
    uint64_t now_ns = pawl_clock_ns();
    if (progress->file != NULL) {
        fprintf(progress->file, "%llu %llu\n", (unsigned long long)done_bytes,
                (unsigned long long)progress->total_bytes);
    }
    if (progress->terminal && now_ns - progress->shown_ns >= SHOW_NS) {
        progress->shown_ns = now_ns;
        draw(progress, done_bytes, now_ns);
    }
}

void cli_progress_end(struct cli_progress *progress, uint64_t done_bytes)
{
    progress->shown_ns = 0;
    cli_progress_show(progress, done_bytes);
    if (progress->terminal) {
        fputc('\n', stderr);
    }
    if (progress->file != NULL) {
        fclose(progress->file);
        progress->file = NULL;
    }
}
