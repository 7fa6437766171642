// SPDX-License-Identifier: Apache-2.0
// Requests: the switch, and the namespace's calls. Everything in a request is hostile until checked.
#include "controlplane/core/calls.h"
#include "controlplane/core/master_core_private.h"

int master_file_missing_code(const struct master_core *core, uint64_t file_id)
{
    return file_id != 0 && file_id < core->next_file_id ? PAWL_EDELETED : PAWL_ENOTFOUND;
}

static const char *text_of(const char *text)
{
    return text ? text : "";
}

// Answers a path that can't be taken as it is; true when it was refused.
static bool path_refused(struct master_core *core, uint64_t request, const char *path, char *clean)
{
    int rc = master_path_normalise(path, clean);
    if (rc == PAWL_ELIMIT) {
        master_reply_code(core, request, rc, "a path has at most %u bytes, a name at most %u",
                          MASTER_PATH_MAX, MASTER_NAME_MAX);
    } else if (rc) {
        master_reply_code(
            core, request, rc,
            "a path begins with / and is UTF-8 without control characters and \"..\"");
    }
    return rc != 0;
}

// `path`: normalised; NULL: looked up here.
static Pawl__FileInfo *file_info(struct master_core *core, const struct master_inode *inode,
                                 const char *path)
{
    char built[MASTER_PATH_MAX + 1];
    if (!path) {
        master_inode_path(inode, built);
        path = built;
    }
    Pawl__FileInfo *info = MASTER_MESSAGE(core, Pawl__FileInfo, pawl__file_info__init);
    info->path = master_arena_text(core, path);
    info->name = master_arena_text(core, inode->name);
    info->file_id = inode->id;
    info->directory = inode->directory;
    info->sealed_bytes = inode->sealed_bytes;
    info->chunks_count = inode->chunks_count;
    info->replicas = inode->replicas;
    info->min_replicas = inode->min_replicas;
    info->chunk_bytes = inode->chunk_bytes;
    info->created_ms = inode->created_ms;
    info->modified_ms = inode->modified_ms;
    return info;
}

void master_reply_file(struct master_core *core, uint64_t request, const struct master_inode *inode)
{
    Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY_FILE);
    reply->file = file_info(core, inode, NULL);
    master_reply(core, request, reply);
}

// ---- mkdir, create -------------------------------------------------------------------------------

static void log_mkdir(struct master_core *core, const char *path, Pawl__Call *call)
{
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_MKDIR);
    record->mkdir = MASTER_MESSAGE(core, Pawl__LogMkdir, pawl__log_mkdir__init);
    record->mkdir->path = master_arena_text(core, path);
    record->mkdir->file_id = core->next_file_id;
    record->call = call;
    master_log(core, record);
}

// Makes what is missing of the directories above `path`. 0 or what stands in the way.
static int make_parents(struct master_core *core, char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        struct master_inode *inode;
        *slash = '\0';
        int rc = master_resolve(core, path, &inode);
        if (rc == PAWL_ENOTFOUND) {
            log_mkdir(core, path, NULL); // the call is made by the last one
            rc = core->failed;
        } else if (rc == 0 && !inode->directory) {
            rc = PAWL_ENOTDIR;
        }
        *slash = '/';
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static int namespace_room(const struct master_core *core)
{
    // The longest path makes so many directories in one call.
    return pawl_map_count(&core->inodes) + MASTER_PATH_MAX / 2 > MASTER_FILES_MAX ? PAWL_ELIMIT : 0;
}

// Where a new name goes: 0 when it is free; *ret_there: what is there already.
static int look_at_place(const struct master_core *core, const char *path,
                         struct master_inode **ret_there)
{
    const char *name;
    *ret_there = NULL;
    if (path[1] == '\0') {
        *ret_there = core->root;
        return PAWL_EEXISTS;
    }
    struct master_inode *parent;
    int rc = master_resolve_parent(core, path, &parent, &name);
    if (rc) {
        return rc;
    }
    *ret_there = master_inode_child(parent, name, strlen(name));
    return *ret_there ? PAWL_EEXISTS : namespace_room(core);
}

static void request_mkdir(struct master_core *core, const struct master_event *event)
{
    const Pawl__Mkdir *mkdir = event->message->mkdir;
    char path[MASTER_PATH_MAX + 1];
    struct master_inode *there;
    if (path_refused(core, event->request, mkdir->path, path)) {
        return;
    }
    int rc = mkdir->parents ? namespace_room(core) : 0;
    if (rc == 0 && mkdir->parents) {
        rc = make_parents(core, path);
    }
    if (rc == 0) {
        rc = look_at_place(core, path, &there);
        if (rc == PAWL_EEXISTS && mkdir->parents && there->directory) {
            master_reply_file(core, event->request, there);
            return;
        }
    }
    if (rc) {
        master_reply_code(core, event->request, rc, NULL);
        return;
    }
    log_mkdir(core, path, master_call_message(core, event));
    if (!core->failed && master_resolve(core, path, &there) == 0) {
        master_reply_file(core, event->request, there);
    }
}

// The shape of a file, defaults filled in. NULL, or what is wrong with it.
static const char *check_shape(const Pawl__Create *create, Pawl__LogCreate *record)
{
    record->replicas = create->replicas ? create->replicas : MASTER_REPLICAS_DEFAULT;
    record->min_replicas = create->min_replicas
                               ? create->min_replicas
                               : PAWL_MIN(record->replicas, MASTER_MIN_REPLICAS_DEFAULT);
    record->chunk_bytes = create->chunk_bytes ? create->chunk_bytes : MASTER_CHUNK_BYTES_DEFAULT;
    if (record->replicas > MASTER_SET_MAX) {
        return "replicas: 1 to 8";
    }
    if (record->min_replicas > record->replicas) {
        return "min_replicas: 1 to replicas";
    }
    if (record->chunk_bytes < MASTER_CHUNK_BYTES_MIN ||
        record->chunk_bytes > MASTER_CHUNK_BYTES_MAX ||
        record->chunk_bytes % MASTER_CHUNK_BYTES_UNIT != 0) {
        return "chunk_bytes: 64 KiB to 1 GiB, a multiple of 4 KiB";
    }
    return NULL;
}

static void request_create(struct master_core *core, const struct master_event *event)
{
    const Pawl__Create *create = event->message->create;
    char path[MASTER_PATH_MAX + 1];
    if (path_refused(core, event->request, create->path, path)) {
        return;
    }
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_CREATE);
    record->create = MASTER_MESSAGE(core, Pawl__LogCreate, pawl__log_create__init);
    const char *wrong = check_shape(create, record->create);
    if (wrong) {
        master_reply_code(core, event->request, PAWL_EINVALID, "%s", wrong);
        return;
    }
    struct master_inode *there;
    int rc = look_at_place(core, path, &there);
    if (rc == PAWL_EEXISTS && there->directory) {
        rc = PAWL_EISDIR;
    } else if (rc == PAWL_EEXISTS && !create->exclusive) {
        master_reply_file(core, event->request, there);
        return;
    }
    if (rc) {
        master_reply_code(core, event->request, rc, NULL);
        return;
    }
    record->create->path = master_arena_text(core, path);
    record->create->file_id = core->next_file_id;
    record->call = master_call_message(core, event);
    master_log(core, record);
    if (!core->failed && master_resolve(core, path, &there) == 0) {
        master_reply_file(core, event->request, there);
    }
}

// ---- stat, list ----------------------------------------------------------------------------------

static void request_stat(struct master_core *core, const struct master_event *event)
{
    const Pawl__Stat *stat = event->message->stat;
    struct master_inode *inode = NULL;
    int rc;
    if (text_of(stat->path)[0]) {
        char path[MASTER_PATH_MAX + 1];
        if (path_refused(core, event->request, stat->path, path)) {
            return;
        }
        rc = master_resolve(core, path, &inode);
    } else {
        inode = master_inode_get(core, stat->file_id);
        rc = inode ? 0 : master_file_missing_code(core, stat->file_id);
    }
    if (rc) {
        master_reply_code(core, event->request, rc, NULL);
        return;
    }
    master_reply_file(core, event->request, inode);
}

static Pawl__FileList *list_page(struct master_core *core, const struct master_inode *directory,
                                 const char *path, const char *after, uint32_t count)
{
    Pawl__FileList *list = MASTER_MESSAGE(core, Pawl__FileList, pawl__file_list__init);
    const struct master_inode *inode =
        after[0] ? master_inode_child_after(directory, after) : directory->heads[0];
    list->files = master_arena_alloc(core, count * sizeof(Pawl__FileInfo *));
    for (; inode && list->n_files < count; inode = inode->next[0]) {
        const char *at = path[1] ? path : "";
        size_t at_bytes = strlen(at);
        size_t name_bytes = strlen(inode->name);
        char child[MASTER_PATH_MAX + 1];
        pawl_assert(at_bytes + 1 + name_bytes <= MASTER_PATH_MAX);
        memcpy(child, at, at_bytes);
        child[at_bytes] = '/';
        memcpy(child + at_bytes + 1, inode->name, name_bytes + 1);
        list->files[list->n_files++] = file_info(core, inode, child);
    }
    list->more = inode != NULL;
    return list;
}

static void request_list(struct master_core *core, const struct master_event *event)
{
    const Pawl__List *list = event->message->list;
    char path[MASTER_PATH_MAX + 1];
    struct master_inode *inode;
    if (path_refused(core, event->request, list->path, path)) {
        return;
    }
    int rc = master_resolve(core, path, &inode);
    if (rc == 0 && !inode->directory) {
        rc = PAWL_ENOTDIR;
    }
    if (rc == 0 && strlen(text_of(list->after)) > MASTER_NAME_MAX) {
        rc = PAWL_EINVALID;
    }
    if (rc) {
        master_reply_code(core, event->request, rc, NULL);
        return;
    }
    uint32_t count = list->count ? PAWL_MIN(list->count, MASTER_PAGE_MAX) : MASTER_PAGE_DEFAULT;
    Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY_FILES);
    reply->files = list_page(core, inode, path, text_of(list->after), count);
    master_reply(core, event->request, reply);
}

// ---- rename, remove ------------------------------------------------------------------------------

// 0 when `inode` may go to `to`. Never onto something that is there: a file that was appended to is
// not to vanish by a name.
static int check_rename(const struct master_core *core, const struct master_inode *inode,
                        const char *to)
{
    struct master_inode *there;
    struct master_inode *parent;
    const char *name;
    int rc = look_at_place(core, to, &there);
    if (rc) {
        return rc;
    }
    rc = master_resolve_parent(core, to, &parent, &name);
    if (rc) {
        return rc;
    }
    if (master_inode_is_below(parent, inode)) {
        return PAWL_EINVALID; // into itself
    }
    // Paths below may not outgrow the limit either. The walk is needed only when they get longer.
    size_t old_bytes = master_inode_path_bytes(inode);
    size_t new_bytes = strlen(to);
    if (new_bytes > old_bytes && inode->directory &&
        master_inode_deepest_bytes(inode) + (new_bytes - old_bytes) > MASTER_PATH_MAX) {
        return PAWL_ELIMIT;
    }
    return 0;
}

static void request_rename(struct master_core *core, const struct master_event *event)
{
    const Pawl__Rename *rename = event->message->rename;
    char from[MASTER_PATH_MAX + 1];
    char to[MASTER_PATH_MAX + 1];
    struct master_inode *inode;
    if (path_refused(core, event->request, rename->from, from) ||
        path_refused(core, event->request, rename->to, to)) {
        return;
    }
    int rc = master_resolve(core, from, &inode);
    if (rc == 0 && inode == core->root) {
        rc = PAWL_EINVALID;
    }
    bool same = strcmp(from, to) == 0;
    if (rc == 0 && !same) {
        rc = check_rename(core, inode, to);
    }
    if (rc) {
        master_reply_code(core, event->request, rc, NULL);
        return;
    }
    if (!same) {
        Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_RENAME);
        record->rename = MASTER_MESSAGE(core, Pawl__Rename, pawl__rename__init);
        record->rename->from = master_arena_text(core, from);
        record->rename->to = master_arena_text(core, to);
        record->call = master_call_message(core, event);
        master_log(core, record);
    }
    master_reply_file(core, event->request, inode);
}

static void request_remove(struct master_core *core, const struct master_event *event)
{
    const Pawl__Remove *remove = event->message->remove;
    char path[MASTER_PATH_MAX + 1];
    struct master_inode *inode;
    if (path_refused(core, event->request, remove->path, path)) {
        return;
    }
    int rc = master_resolve(core, path, &inode);
    if (rc == 0 && inode == core->root) {
        rc = PAWL_EINVALID;
    }
    if (rc == 0 && inode->directory && inode->heads[0] && !remove->recursive) {
        rc = PAWL_ENOTEMPTY;
    }
    if (rc) {
        master_reply_code(core, event->request, rc, NULL);
        return;
    }
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_REMOVE);
    record->remove = MASTER_MESSAGE(core, Pawl__LogRemove, pawl__log_remove__init);
    record->remove->path = master_arena_text(core, path);
    record->call = master_call_message(core, event);
    master_log(core, record);
    master_reply_code(core, event->request, 0, NULL);
}

// ---- the switch ----------------------------------------------------------------------------------

// Calls that change names: each is carried out once, however often its message comes.
static void request_once(struct master_core *core, const struct master_event *event,
                         void (*carry_out)(struct master_core *core,
                                           const struct master_event *event))
{
    if (!master_call_settled(core, event)) {
        carry_out(core, event);
        master_call_heard(core, event);
    }
}

void master_request(struct master_core *core, const struct master_event *event)
{
    switch (event->message->body_case) {
    case PAWL__REQUEST__BODY_MKDIR:
        return request_once(core, event, request_mkdir);
    case PAWL__REQUEST__BODY_CREATE:
        return request_once(core, event, request_create);
    case PAWL__REQUEST__BODY_STAT:
        return request_stat(core, event);
    case PAWL__REQUEST__BODY_LIST:
        return request_list(core, event);
    case PAWL__REQUEST__BODY_RENAME:
        return request_once(core, event, request_rename);
    case PAWL__REQUEST__BODY_REMOVE:
        return request_once(core, event, request_remove);
    case PAWL__REQUEST__BODY_GET_TAIL:
        return master_request_get_tail(core, event);
    case PAWL__REQUEST__BODY_GET_CHUNKS:
        return master_request_get_chunks(core, event);
    case PAWL__REQUEST__BODY_OPEN_PRODUCER:
        return master_request_open_producer(core, event);
    case PAWL__REQUEST__BODY_OPEN_WRITE_LOG:
        return master_request_open_write_log(core, event);
    case PAWL__REQUEST__BODY_SEAL_TAIL:
        return master_request_seal_tail(core, event);
    case PAWL__REQUEST__BODY_EXTEND:
        return master_request_extend(core, event);
    case PAWL__REQUEST__BODY_LIST_SERVERS:
        return master_request_list_servers(core, event);
    case PAWL__REQUEST__BODY_OPEN_SESSION:
        return master_request_open_session(core, event);
    case PAWL__REQUEST__BODY_CLOSE_SESSION:
        return master_request_close_session(core, event);
    case PAWL__REQUEST__BODY_REGISTER:
        return master_request_register(core, event);
    case PAWL__REQUEST__BODY_HEARTBEAT:
        return master_request_heartbeat(core, event);
    case PAWL__REQUEST__BODY_REPORT:
        return master_request_report(core, event);
    default:
        master_reply_code(core, event->request, PAWL_EPROTOCOL,
                          "this is a master; it does not know that request");
    }
}
