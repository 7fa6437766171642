// SPDX-License-Identifier: Apache-2.0
// The overlay's treap: a write cuts out its range by two splits and is merged in.
#include "dataplane/core/overlay.h"

#include <errno.h>
#include <stddef.h>

#include "base/assert.h"
#include "base/hash.h"

struct overlay_node {
    struct overlay_extent extent;
    uint64_t priority; // higher than its children's
    struct overlay_node *left;
    struct overlay_node *right;
};

void overlay_init(struct overlay *overlay, const struct pawl_alloc *alloc)
{
    *overlay = (struct overlay){.alloc = alloc};
}

static void nodes_free(struct overlay *overlay, struct overlay_node *node)
{
    while (node) {
        struct overlay_node *right = node->right;
        nodes_free(overlay, node->left);
        pawl_alloc_free(overlay->alloc, node);
        overlay->count--;
        node = right;
    }
}

void overlay_reset(struct overlay *overlay)
{
    nodes_free(overlay, overlay->root);
    overlay->root = NULL;
    pawl_assert(overlay->count == 0);
}

static struct overlay_node *node_new(struct overlay *overlay, const struct overlay_extent *extent)
{
    struct overlay_node *node = pawl_alloc_new(overlay->alloc, sizeof(*node));
    if (node) {
        *node = (struct overlay_node){.extent = *extent,
                                      .priority = pawl_hash_u64(++overlay->made_count)};
        overlay->count++;
    }
    return node;
}

// Extents that begin before `at` go to the left tree.
static void split(struct overlay_node *node, uint64_t at, struct overlay_node **ret_left,
                  struct overlay_node **ret_right)
{
    while (node) {
        if (node->extent.start < at) {
            *ret_left = node;
            ret_left = &node->right;
            node = node->right;
        } else {
            *ret_right = node;
            ret_right = &node->left;
            node = node->left;
        }
    }
    *ret_left = NULL;
    *ret_right = NULL;
}

// All of `left` lies before all of `right`.
static struct overlay_node *merge(struct overlay_node *left, struct overlay_node *right)
{
    struct overlay_node *root = NULL;
    struct overlay_node **place = &root;
    while (left && right) {
        if (left->priority > right->priority) {
            *place = left;
            place = &left->right;
            left = left->right;
        } else {
            *place = right;
            place = &right->left;
            right = right->left;
        }
    }
    *place = left ? left : right;
    return root;
}

static struct overlay_node *last_of(struct overlay_node *node)
{
    while (node && node->right) {
        node = node->right;
    }
    return node;
}

int overlay_put(struct overlay *overlay, const struct overlay_extent *extent)
{
    pawl_assert(extent->start < extent->end);
    struct overlay_node *node = node_new(overlay, extent);
    struct overlay_node *rest = node ? node_new(overlay, extent) : NULL;
    if (!rest) {
        nodes_free(overlay, node);
        return -ENOMEM;
    }
    struct overlay_node *before;
    struct overlay_node *covered;
    struct overlay_node *behind;
    split(overlay->root, extent->start, &before, &covered);
    split(covered, extent->end, &covered, &behind);
    // At most one extent reaches out of what is covered: the last one that begins before its end.
    struct overlay_node *last = covered ? last_of(covered) : last_of(before);
    if (last && last->extent.end > extent->end) {
        uint64_t cut = extent->end - last->extent.start;
        rest->extent = last->extent;
        rest->extent.start += cut;
        rest->extent.offset += cut;
        behind = merge(rest, behind);
    } else {
        nodes_free(overlay, rest);
    }
    struct overlay_node *neighbour = last_of(before);
    if (neighbour) {
        neighbour->extent.end = PAWL_MIN(neighbour->extent.end, extent->start);
    }
    nodes_free(overlay, covered);
    overlay->root = merge(merge(before, node), behind);
    return 0;
}

// The tree's height is a logarithm, so the recursion is shallow.
static uint32_t find(const struct overlay_node *node, uint64_t start, uint64_t end,
                     struct overlay_extent *extents, uint32_t max)
{
    if (!node || max == 0) {
        return 0;
    }
    uint32_t count = 0;
    // What lies to the left ends where this one begins, or before.
    if (node->extent.start > start) {
        count = find(node->left, start, end, extents, max);
    }
    if (count < max && node->extent.end > start && node->extent.start < end) {
        extents[count++] = node->extent;
    }
    if (node->extent.end < end) {
        count += find(node->right, start, end, extents + count, max - count);
    }
    return count;
}

uint32_t overlay_find(const struct overlay *overlay, uint64_t start, uint64_t end,
                      struct overlay_extent *extents, uint32_t max)
{
    return start < end ? find(overlay->root, start, end, extents, max) : 0;
}

static uint32_t validate(const struct overlay_node *node, uint64_t *at)
{
    if (!node) {
        return 0;
    }
    uint32_t count = validate(node->left, at);
    pawl_assert(node->extent.start >= *at && node->extent.start < node->extent.end);
    pawl_assert(!node->left || node->left->priority <= node->priority);
    pawl_assert(!node->right || node->right->priority <= node->priority);
    *at = node->extent.end;
    return count + 1 + validate(node->right, at);
}

void overlay_validate(const struct overlay *overlay)
{
    uint64_t at = 0;
    pawl_assert(validate(overlay->root, &at) == overlay->count);
}
