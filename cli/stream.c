// SPDX-License-Identifier: Apache-2.0
// A ring of slots: asked for by the caller's thread, handed in order to one that writes them.
//
// The file may grow, and end anywhere. Beyond the end that it had in the beginning one slot at a time is asked
// for, and when a slot came short, those behind it are asked for anew from there on.
#define _GNU_SOURCE
#include "cli/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

#define STREAM_BLOCK_BYTES 4096u
#define STREAM_POLL_MS 100u

// ---- the thread that writes -----------------------------------------------------------------------

// A file that is written past the page cache takes whole blocks only; its end goes the usual way.
static void end_direct(int fd, size_t bytes)
{
    int flags = fcntl(fd, F_GETFL);
    if (bytes % STREAM_BLOCK_BYTES != 0 && flags >= 0 && (flags & O_DIRECT) != 0) {
        (void)fcntl(fd, F_SETFL, flags & ~O_DIRECT);
    }
}

static int write_all(int fd, const uint8_t *data, size_t bytes)
{
    end_direct(fd, bytes);
    while (bytes > 0) {
        ssize_t wrote = write(fd, data, bytes);
        if (wrote < 0 && errno != EINTR) {
            return -errno;
        }
        if (wrote > 0) {
            data += wrote;
            bytes -= (size_t)wrote;
            end_direct(fd, bytes); // after a short write the rest may not be aligned
        }
    }
    return 0;
}

static void *write_slots(void *user)
{
    struct stream *stream = user;
    pthread_mutex_lock(&stream->lock);
    for (;;) {
        while (stream->written_count == stream->to_write_count && !stream->over) {
            pthread_cond_wait(&stream->changed, &stream->lock);
        }
        if (stream->written_count == stream->to_write_count || stream->write_code != 0) {
            break;
        }
        const struct stream_slot *slot = &stream->slots[stream->written_count % STREAM_SLOTS];
        pthread_mutex_unlock(&stream->lock);
        int code = write_all(stream->fd, slot->data, slot->bytes);
        pthread_mutex_lock(&stream->lock);
        stream->write_code = code;
        stream->written_count++;
        pthread_cond_broadcast(&stream->changed);
    }
    pthread_mutex_unlock(&stream->lock);
    return NULL;
}

static void hand_over(struct stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->to_write_count = stream->handed_count;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
}

// Slots that have been written; with `wait` no sooner than one of those that were handed over is.
static uint64_t written(struct stream *stream, bool wait, int *ret_code)
{
    pthread_mutex_lock(&stream->lock);
    uint64_t before = stream->written_count;
    while (wait && stream->written_count == before && before < stream->to_write_count &&
           stream->write_code == 0) {
        pthread_cond_wait(&stream->changed, &stream->lock);
    }
    uint64_t count = stream->written_count;
    *ret_code = stream->write_code;
    pthread_mutex_unlock(&stream->lock);
    return count;
}

// ---- reads --------------------------------------------------------------------------------------

static void on_read(void *user, const struct pawl_read_result *result)
{
    struct stream_slot *slot = user;
    slot->status = result->status;
    slot->bytes = result->bytes;
    slot->done = true;
}

static int ask(struct stream *stream, uint64_t written_count)
{
    while (!stream->end && stream->asked_count - written_count < STREAM_SLOTS) {
        bool alone = stream->asked_count == stream->handed_count;
        uint64_t left = stream->bytes - (stream->next_offset - stream->offset);
        size_t wanted = (size_t)PAWL_MIN(left, (uint64_t)STREAM_SLOT_BYTES);
        if (wanted == 0) {
            stream->end = alone;
            break;
        }
        if (!alone && stream->next_offset >= stream->known_end) {
            break;
        }
        struct stream_slot *slot = &stream->slots[stream->asked_count % STREAM_SLOTS];
        slot->wanted = wanted;
        slot->done = false;
        int code = pawl_read_submit(stream->file, stream->next_offset, slot->data, wanted,
                                    &stream->read, on_read, slot);
        if (code != 0) {
            return code;
        }
        stream->asked_count++;
        stream->next_offset += wanted;
    }
    return 0;
}

// Those behind a short one were read from behind a gap, if at all.
static int forget_the_rest(struct stream *stream)
{
    for (uint64_t i = stream->handed_count; i < stream->asked_count; i++) {
        while (!stream->slots[i % STREAM_SLOTS].done) {
            int ran = pawl_poll(stream->pawl, STREAM_POLL_MS);
            if (ran < 0) {
                return ran;
            }
        }
    }
    stream->asked_count = stream->handed_count;
    stream->next_offset = stream->offset + stream->got;
    return 0;
}

// Hands over what has come, in order.
static int take(struct stream *stream)
{
    while (stream->handed_count < stream->asked_count) {
        const struct stream_slot *slot = &stream->slots[stream->handed_count % STREAM_SLOTS];
        if (!slot->done || slot->status != 0) {
            return slot->done ? slot->status : 0;
        }
        bool is_short = slot->bytes < slot->wanted;
        stream->end = slot->bytes == 0;
        stream->got += slot->bytes;
        stream->handed_count++;
        hand_over(stream);
        if (stream->progress != NULL) {
            stream->progress(stream->user, stream->got);
        }
        int code = is_short ? forget_the_rest(stream) : 0;
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

static int copy(struct stream *stream)
{
    int code = 0;
    while (code == 0) {
        bool flying = stream->handed_count < stream->asked_count;
        uint64_t done = written(stream, !flying && !stream->end, &code);
        code = code != 0 ? code : ask(stream, done);
        if (code == 0 && stream->end && stream->handed_count == stream->asked_count) {
            return 0;
        }
        if (code == 0 && stream->handed_count < stream->asked_count) {
            int ran = pawl_poll(stream->pawl, STREAM_POLL_MS);
            code = ran < 0 ? ran : take(stream);
        }
    }
    return code;
}

int stream_copy(struct stream *stream)
{
    pthread_t thread;
    // How much there is to be asked for at once. Unknown, when the tail's primary is away: then slot by slot.
    if (pawl_file_bytes(stream->file, &stream->known_end) != 0) {
        stream->known_end = 0;
    }
    int code = -pthread_create(&thread, NULL, write_slots, stream);
    if (code != 0) {
        return code;
    }
    stream->next_offset = stream->offset;
    code = copy(stream);
    pthread_mutex_lock(&stream->lock);
    stream->over = true;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    pthread_join(thread, NULL);
    return code != 0 ? code : stream->write_code;
}

int stream_init(struct stream *stream)
{
    size_t bytes = (size_t)STREAM_SLOTS * STREAM_SLOT_BYTES;
    stream->memory = pawl_mem_alloc(stream->pawl, bytes);
    stream->registered = stream->memory != NULL;
    if (stream->memory == NULL) { // it can't be pinned, say: then with a copy
        stream->memory = aligned_alloc(STREAM_BLOCK_BYTES, bytes);
    }
    if (stream->memory == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < STREAM_SLOTS; i++) {
        stream->slots[i].data = stream->memory + (size_t)i * STREAM_SLOT_BYTES;
    }
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->changed, NULL);
    return 0;
}

void stream_fini(struct stream *stream)
{
    if (stream->memory == NULL) {
        return;
    }
    if (stream->registered) {
        pawl_mem_free(stream->pawl, stream->memory);
    } else {
        free(stream->memory);
    }
    pthread_mutex_destroy(&stream->lock);
    pthread_cond_destroy(&stream->changed);
}
