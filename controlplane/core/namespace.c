// SPDX-License-Identifier: Apache-2.0
// Files and directories: inodes by id, and each directory's children as a skip list by name.
//
// A node's height comes from its id's hash, so the shape is the same after every replay, and a client
// that chooses the names can't choose the shape.
#include "base/hash.h"
#include "controlplane/core/master_core_private.h"

// ---- skip list -----------------------------------------------------------------------------------

static uint8_t skip_levels(uint64_t id)
{
    uint64_t bits = pawl_hash_u64(id ^ UINT64_C(0x9e3779b97f4a7c15));
    uint8_t levels = 1;
    while ((bits & 3) == 0 && levels < MASTER_SKIP_LEVELS) {
        bits >>= 2;
        levels++;
    }
    return levels;
}

// Order of names: bytes, as memcmp, shorter first.
static int name_compare(const char *name, const char *other, size_t other_bytes)
{
    size_t bytes = strlen(name);
    int order = memcmp(name, other, PAWL_MIN(bytes, other_bytes));
    if (order == 0 && bytes != other_bytes) {
        order = bytes < other_bytes ? -1 : 1;
    }
    return order;
}

// links[level]: where the first node that is not before `name` hangs. Returns that node of level 0.
static struct master_inode *skip_search(const struct master_inode *directory, const char *name,
                                        size_t name_bytes,
                                        struct master_inode **links[MASTER_SKIP_LEVELS])
{
    struct master_inode **at = directory->heads;
    for (uint32_t level = MASTER_SKIP_LEVELS; level-- > 0;) {
        while (at[level] && name_compare(at[level]->name, name, name_bytes) < 0) {
            at = at[level]->next;
        }
        links[level] = &at[level];
    }
    return at[0];
}

static void skip_insert(struct master_inode *directory, struct master_inode *inode)
{
    struct master_inode **links[MASTER_SKIP_LEVELS];
    skip_search(directory, inode->name, strlen(inode->name), links);
    for (uint32_t level = 0; level < inode->levels; level++) {
        inode->next[level] = *links[level];
        *links[level] = inode;
    }
    inode->parent = directory;
    directory->children_count++;
}

static void skip_remove(struct master_inode *inode)
{
    struct master_inode *directory = inode->parent;
    struct master_inode **links[MASTER_SKIP_LEVELS];
    struct master_inode *found = skip_search(directory, inode->name, strlen(inode->name), links);
    pawl_assert(found == inode);
    for (uint32_t level = 0; level < inode->levels; level++) {
        pawl_assert(*links[level] == inode);
        *links[level] = inode->next[level];
    }
    directory->children_count--;
    inode->parent = NULL;
}

struct master_inode *master_inode_child(const struct master_inode *directory, const char *name,
                                        size_t name_bytes)
{
    struct master_inode **links[MASTER_SKIP_LEVELS];
    struct master_inode *found = skip_search(directory, name, name_bytes, links);
    return found && name_compare(found->name, name, name_bytes) == 0 ? found : NULL;
}

struct master_inode *master_inode_child_after(const struct master_inode *directory,
                                              const char *after)
{
    struct master_inode **links[MASTER_SKIP_LEVELS];
    size_t bytes = strlen(after);
    struct master_inode *found = skip_search(directory, after, bytes, links);
    return found && name_compare(found->name, after, bytes) == 0 ? found->next[0] : found;
}

// ---- inodes --------------------------------------------------------------------------------------

static void inode_free(struct master_core *core, struct master_inode *inode)
{
    while (inode->producers) {
        struct master_producer *producer = inode->producers;
        inode->producers = producer->next;
        pawl_alloc_free(core->alloc, producer);
    }
    pawl_alloc_free(core->alloc, inode->chunks);
    pawl_alloc_free(core->alloc, inode->heads);
    pawl_alloc_free(core->alloc, inode->name);
    pawl_alloc_free(core->alloc, inode);
}

static char *name_copy(struct master_core *core, const char *name)
{
    size_t bytes = strlen(name) + 1;
    char *copy = pawl_alloc_new(core->alloc, bytes);
    if (copy) {
        memcpy(copy, name, bytes);
    }
    return copy;
}

int master_inode_new(struct master_core *core, struct master_inode *parent, const char *name,
                     uint64_t id, bool directory, struct master_inode **ret)
{
    uint8_t levels = skip_levels(id);
    struct master_inode *inode =
        pawl_alloc_new(core->alloc, sizeof(*inode) + levels * sizeof(struct master_inode *));
    if (!inode) {
        return -ENOMEM;
    }
    inode->id = id;
    inode->levels = levels;
    inode->directory = directory;
    inode->name = name_copy(core, name);
    if (directory) {
        inode->heads =
            pawl_alloc_array(core->alloc, MASTER_SKIP_LEVELS, sizeof(struct master_inode *));
    }
    if (!inode->name || (directory && !inode->heads) || pawl_map_put(&core->inodes, id, inode)) {
        inode_free(core, inode);
        return -ENOMEM;
    }
    if (parent) {
        pawl_assert(!master_inode_child(parent, name, strlen(name)));
        skip_insert(parent, inode);
    }
    *ret = inode;
    return 0;
}

int master_inode_move(struct master_core *core, struct master_inode *inode,
                      struct master_inode *parent, const char *name)
{
    char *copy = name_copy(core, name);
    if (!copy) {
        return -ENOMEM;
    }
    pawl_assert(!master_inode_is_below(parent, inode));
    skip_remove(inode);
    pawl_alloc_free(core->alloc, inode->name);
    inode->name = copy;
    skip_insert(parent, inode);
    return 0;
}

void master_inode_remove(struct master_core *core, struct master_inode *inode)
{
    pawl_assert(inode->parent);
    struct master_inode *at = inode;
    for (;;) {
        while (at->directory && at->heads[0]) {
            at = at->heads[0];
        }
        struct master_inode *parent = at->parent;
        bool last = at == inode;
        while (at->chunks_count > 0) {
            master_chunk_free(core, at->chunks[at->chunks_count - 1]);
        }
        skip_remove(at);
        pawl_map_remove(&core->inodes, at->id);
        inode_free(core, at);
        if (last) {
            return;
        }
        at = parent;
    }
}

int master_namespace_init(struct master_core *core)
{
    pawl_map_init(&core->inodes, core->alloc);
    core->next_file_id = MASTER_ROOT_ID + 1;
    return master_inode_new(core, NULL, "", MASTER_ROOT_ID, true, &core->root);
}

void master_namespace_fini(struct master_core *core)
{
    if (core->root) {
        while (core->root->heads[0]) {
            master_inode_remove(core, core->root->heads[0]);
        }
        inode_free(core, core->root);
    }
    pawl_map_fini(&core->inodes);
}

struct master_inode *master_inode_get(const struct master_core *core, uint64_t id)
{
    return pawl_map_get(&core->inodes, id);
}

// ---- paths ---------------------------------------------------------------------------------------

// Follows the first `bytes` of a normalised path.
static int resolve_bytes(const struct master_core *core, const char *path, size_t bytes,
                         struct master_inode **ret)
{
    struct master_inode *at = core->root;
    size_t from = 1;
    while (from < bytes) {
        const char *slash = memchr(path + from, '/', bytes - from);
        size_t name_bytes = slash ? (size_t)(slash - path) - from : bytes - from;
        if (!at->directory) {
            return PAWL_ENOTDIR;
        }
        at = master_inode_child(at, path + from, name_bytes);
        if (!at) {
            return PAWL_ENOTFOUND;
        }
        from += name_bytes + 1;
    }
    *ret = at;
    return 0;
}

int master_resolve(const struct master_core *core, const char *path, struct master_inode **ret)
{
    return resolve_bytes(core, path, strlen(path), ret);
}

int master_resolve_parent(const struct master_core *core, const char *path,
                          struct master_inode **ret_parent, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    pawl_assert(slash && slash[1]); // the root has no parent; callers look first
    int rc = resolve_bytes(core, path, (size_t)(slash - path), ret_parent);
    if (rc) {
        return rc;
    }
    *ret_name = slash + 1;
    return (*ret_parent)->directory ? 0 : PAWL_ENOTDIR;
}

bool master_inode_is_below(const struct master_inode *inode, const struct master_inode *top)
{
    while (inode && inode != top) {
        inode = inode->parent;
    }
    return inode == top;
}

size_t master_inode_path_bytes(const struct master_inode *inode)
{
    size_t bytes = 0;
    for (; inode->parent; inode = inode->parent) {
        bytes += 1 + strlen(inode->name);
    }
    return PAWL_MAX(bytes, (size_t)1);
}

void master_inode_path(const struct master_inode *inode, char *out)
{
    size_t at = master_inode_path_bytes(inode);
    pawl_assert(at <= MASTER_PATH_MAX);
    out[at] = '\0';
    if (!inode->parent) {
        out[0] = '/';
        return;
    }
    for (; inode->parent; inode = inode->parent) {
        size_t bytes = strlen(inode->name);
        at -= bytes;
        memcpy(out + at, inode->name, bytes);
        out[--at] = '/';
    }
    pawl_assert(at == 0);
}

struct master_inode *master_inode_walk(const struct master_inode *top,
                                       const struct master_inode *inode)
{
    if (inode->directory && inode->heads[0]) {
        return inode->heads[0];
    }
    while (inode != top) {
        if (inode->next[0]) {
            return inode->next[0];
        }
        inode = inode->parent;
    }
    return NULL;
}

size_t master_inode_deepest_bytes(const struct master_inode *top)
{
    size_t deepest = 0;
    for (const struct master_inode *at = top; at; at = master_inode_walk(top, at)) {
        deepest = PAWL_MAX(deepest, master_inode_path_bytes(at));
    }
    return deepest;
}

// ---- producers -------------------------------------------------------------------------------------

struct master_producer *master_producer_find(const struct master_inode *file, const char *name)
{
    uint64_t hash = pawl_hash_bytes(name, strlen(name), file->id);
    for (struct master_producer *p = file->producers; p; p = p->next) {
        if (p->hash == hash && strcmp(p->name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

int master_producer_add(struct master_core *core, struct master_inode *file, const char *name,
                        struct master_producer **ret)
{
    size_t bytes = strlen(name) + 1;
    struct master_producer *producer = pawl_alloc_new(core->alloc, sizeof(*producer) + bytes);
    if (!producer) {
        return -ENOMEM;
    }
    memcpy(producer->name, name, bytes);
    producer->hash = pawl_hash_bytes(name, bytes - 1, file->id);
    if (file->producers_last) {
        file->producers_last->next = producer;
    } else {
        file->producers = producer;
    }
    file->producers_last = producer;
    file->producers_count++;
    *ret = producer;
    return 0;
}
