// SPDX-License-Identifier: Apache-2.0
// Gathers the reactors' inventories.
#include "dataplane/chunkd/gather.h"

#include <pawl/error.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

void gather_init(struct gather *gather, uint32_t reactors_count)
{
    pawl_assert(reactors_count > 0 && reactors_count <= REACTORS_MAX);
    memset(gather, 0, sizeof(*gather));
    gather->reactors_count = reactors_count;
}

static void gather_drop(struct gather *gather)
{
    for (uint32_t i = 0; i < gather->reactors_count; i++) {
        mail_free(gather->mails[i]);
        gather->mails[i] = NULL;
    }
    gather->mails_count = 0;
}

void gather_fini(struct gather *gather)
{
    gather_drop(gather);
}

uint64_t gather_begin(struct gather *gather)
{
    gather_drop(gather);
    return ++gather->round;
}

bool gather_take(struct gather *gather, uint32_t reactor, struct mail *mail)
{
    pawl_assert(reactor < gather->reactors_count);
    if (mail->number != gather->round || gather->mails[reactor] != NULL) {
        mail_free(mail);
        return false;
    }
    gather->mails[reactor] = mail;
    gather->mails_count++;
    return gather->mails_count == gather->reactors_count;
}

static void counters_add(struct mail_counters *sum, const struct mail_counters *one)
{
    sum->used_bytes += one->used_bytes;
    sum->appends_count += one->appends_count;
    sum->duplicates_count += one->duplicates_count;
    sum->mismatches_count += one->mismatches_count;
    sum->stored_bytes += one->stored_bytes;
    sum->copied_bytes += one->copied_bytes;
    sum->written_back_bytes += one->written_back_bytes;
    sum->read_bytes += one->read_bytes;
    sum->read_copied_bytes += one->read_copied_bytes;
    sum->relayed_count += one->relayed_count;
    sum->relays_failed_count += one->relays_failed_count;
    sum->recycled_files_count += one->recycled_files_count;
}

static void counters_merge(const struct gather *gather, struct mail_counters *ret)
{
    uint64_t least_bytes = UINT64_MAX; // that a reactor has room for
    uint64_t disk_bytes = UINT64_MAX;
    *ret = (struct mail_counters){0};
    for (uint32_t i = 0; i < gather->reactors_count; i++) {
        const struct mail_counters *one = &gather->mails[i]->counters;
        counters_add(ret, one);
        least_bytes = PAWL_MIN(least_bytes, one->space_bytes - one->used_bytes);
        disk_bytes = PAWL_MIN(disk_bytes, one->disk_bytes);
    }
    uint64_t free_bytes = least_bytes > UINT64_MAX / gather->reactors_count
                              ? disk_bytes
                              : PAWL_MIN(disk_bytes, least_bytes * gather->reactors_count);
    ret->space_bytes = ret->used_bytes + free_bytes;
    ret->disk_bytes = disk_bytes;
}

static int replicas_merge(const struct gather *gather, struct mail *merged)
{
    size_t count = 0;
    for (uint32_t i = 0; i < gather->reactors_count; i++) {
        count += gather->mails[i]->replicas_count;
    }
    merged->replicas = calloc(count > 0 ? count : 1, sizeof(merged->replicas[0]));
    if (merged->replicas == NULL) {
        return -1;
    }
    for (uint32_t i = 0; i < gather->reactors_count; i++) {
        const struct mail *mail = gather->mails[i];
        for (size_t j = 0; j < mail->replicas_count; j++) {
            merged->replicas[merged->replicas_count++] = mail->replicas[j];
        }
    }
    return 0;
}

struct mail *gather_merge(struct gather *gather)
{
    pawl_assert(gather->mails_count == gather->reactors_count);
    struct mail *merged = gather->mails[0];
    if (gather->reactors_count == 1) { // itself
        gather->mails[0] = NULL;
        gather->mails_count = 0;
        return merged;
    }
    merged = mail_new(MAIL_INVENTORY);
    if (merged != NULL && replicas_merge(gather, merged) != 0) {
        mail_free(merged);
        merged = NULL;
    }
    if (merged != NULL) {
        merged->number = gather->round;
        merged->all = true;
        for (uint32_t i = 0; i < gather->reactors_count; i++) {
            merged->all &= gather->mails[i]->all;
            merged->status = merged->status != 0 ? merged->status : gather->mails[i]->status;
        }
        counters_merge(gather, &merged->counters);
    }
    gather_drop(gather);
    return merged;
}
