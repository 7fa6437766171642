// SPDX-License-Identifier: Apache-2.0
// The question for a file's tail: what it makes the master do, and its answer, at once or as soon as somebody
// holds the tail's lease.
#include "base/mark.h"
#include "controlplane/core/master_core_private.h"

#define QUESTIONS_MAX 4096u // that wait
#define QUESTION_WAIT_MAX_MS 1000u

// ---- leases --------------------------------------------------------------------------------------

static bool lease_is_held(const struct master_core *core, const struct master_chunk *chunk)
{
    return chunk->work && chunk->work->phase == MASTER_PHASE_GRANTED &&
           chunk->work->lease_until_ns > core->now_ns;
}

void master_lease_want(struct master_core *core, struct master_chunk *chunk)
{
    if (chunk->sealed || lease_is_held(core, chunk)) {
        return;
    }
    if (chunk->ready) {
        uint64_t server_id =
            chunk->work->phase == MASTER_PHASE_GRANTED ? chunk->work->primary_id : 0;
        master_chunk_want(core, chunk, MASTER_CAUSE_UNLEASED, server_id);
    } else {
        chunk->work->asked_for = true;
        master_chunk_drive(core, chunk);
    }
}

// ---- hints ---------------------------------------------------------------------------------------

static bool hint_is_about_reach(int code)
{
    switch (code) {
    case PAWL_EDISCONNECTED:
    case PAWL_EDEADLINE:
    case PAWL_ESTALE:
    case PAWL_ENOTPRIMARY:
    case PAWL_ENOCHUNK:
    case PAWL_ESHUTDOWN:
        return true;
    default:
        return false;
    }
}

// The primary reports a full chunk when its last records are committed; a fence before that would
// turn each of them into a retry. True while it has time left to do so.
static bool full_can_wait(struct master_core *core, struct master_work *work)
{
    if (work->phase != MASTER_PHASE_GRANTED) {
        return false;
    }
    work->full_ns = work->full_ns != 0 ? work->full_ns : core->now_ns;
    return core->now_ns < work->full_ns + master_ms_to_ns(MASTER_FULL_MS);
}

// A hint counts when it names what is true now. It can cost a fence, never a record.
static void take_hint(struct master_core *core, struct master_chunk *chunk, const Pawl__Hint *hint)
{
    if (!chunk || hint->handle != chunk->handle || hint->version != chunk->version ||
        !chunk->ready) {
        return;
    }
    struct master_work *work = chunk->work;
    if (hint->code == PAWL_ECHUNKFULL) {
        if (!full_can_wait(core, work)) {
            PAWL_MARK(hint_of_full_chunk);
            master_chunk_want(core, chunk, MASTER_CAUSE_FULL, 0);
        }
        return;
    }
    bool of_primary = hint->server_id == 0 || hint->server_id == work->primary_id;
    bool young = core->now_ns < work->granted_ns + master_ms_to_ns(MASTER_HINT_MS);
    if (work->phase == MASTER_PHASE_GRANTED && hint_is_about_reach(hint->code) && of_primary &&
        !young) {
        PAWL_MARK(hint_starts_recovery);
        master_chunk_want(core, chunk, MASTER_CAUSE_HINT, work->primary_id);
    }
}

int master_file_create_chunk(struct master_core *core, struct master_inode *file)
{
    uint64_t set[MASTER_SET_MAX];
    uint32_t count;
    int rc = master_place(core, file, set, &count);
    if (rc) {
        return rc;
    }
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_CHUNK_CREATE);
    record->chunk_create = MASTER_MESSAGE(core, Pawl__LogChunkCreate, pawl__log_chunk_create__init);
    record->chunk_create->file_id = file->id;
    record->chunk_create->handle = core->next_handle;
    record->chunk_create->set = master_arena_ids(core, set, count);
    record->chunk_create->n_set = count;
    record->chunk_create->zero_bytes = master_extend_zero_bytes(file, file->sealed_bytes);
    master_log(core, record);
    if (!core->failed) {
        master_place_reserve(core, set, count, file->chunk_bytes);
        master_file_tail(file)->work->asked_for = true;
        master_chunk_drive(core, master_file_tail(file));
    }
    return 0;
}

// ---- answers -------------------------------------------------------------------------------------

static void reply_tail(struct master_core *core, uint64_t request, const struct master_inode *file)
{
    const struct master_chunk *chunk = master_file_tail(file);
    Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY_TAIL);
    reply->tail = MASTER_MESSAGE(core, Pawl__Tail, pawl__tail__init);
    reply->tail->chunk_bytes = file->chunk_bytes;
    if (chunk) {
        reply->tail->chunk = master_chunk_message(core, chunk);
    }
    master_reply(core, request, reply);
}

// What keeps the lease from being granted by itself. 0: nothing, it is on its way.
static int lease_obstacle(struct master_core *core, const struct master_chunk *chunk)
{
    const struct master_work *work = chunk->work;
    if (work->phase == MASTER_PHASE_WAITING) {
        uint64_t set[MASTER_SET_MAX];
        uint32_t count;
        int rc = master_place(core, chunk->file, set, &count);
        if (rc) {
            return rc;
        }
    }
    return work->blocked ? work->all_heard ? PAWL_EDAMAGED : PAWL_EBUSY : 0;
}

void master_reply_no_lease(struct master_core *core, uint64_t request,
                           const struct master_chunk *chunk)
{
    int code = lease_obstacle(core, chunk);
    if (code == 0) {
        master_reply_code(core, request, PAWL_EBUSY, "chunk %lu version %lu is being %s",
                          chunk->handle, chunk->version, chunk->ready ? "recovered" : "opened");
    } else if (code == PAWL_EDAMAGED || code == PAWL_EBUSY) {
        master_reply_code(core, request, code,
                          "chunk %lu: its replicas lack committed records; see the master's log",
                          chunk->handle);
    } else {
        master_reply_code(core, request, code, "chunk %lu waits for chunk servers", chunk->handle);
    }
}

// A tail that is known to be full is no answer: its client would only come back at once.
static bool is_known_full(const struct master_chunk *chunk, const struct master_question *question)
{
    return chunk && question->full_handle == chunk->handle &&
           question->full_version == chunk->version;
}

// A file or a write log. NULL: it was answered why there is none.
static struct master_inode *question_file(struct master_core *core, uint64_t request,
                                          uint64_t file_id)
{
    struct master_inode *log = master_log_get(core, file_id);
    return log ? log : master_request_file(core, request, file_id);
}

// False: it is too early for an answer, and the question may wait.
static bool question_answer(struct master_core *core, const struct master_question *question)
{
    bool last = core->now_ns >= question->until_ns;
    const struct master_inode *file = question_file(core, question->request, question->file_id);
    if (!file) {
        return true;
    }
    const struct master_chunk *chunk = master_file_tail(file);
    if (!question->append || !chunk ||
        (lease_is_held(core, chunk) && !is_known_full(chunk, question))) {
        reply_tail(core, question->request, file);
    } else if (!chunk->work) { // sealed, and nobody makes the next one
        master_reply_code(core, question->request, PAWL_EBUSY, NULL);
    } else if (!last && lease_obstacle(core, chunk) == 0) {
        return false;
    } else if (is_known_full(chunk, question)) {
        master_reply_code(core, question->request, PAWL_EBUSY, "chunk %lu is full and being sealed",
                          chunk->handle);
    } else {
        master_reply_no_lease(core, question->request, chunk);
    }
    return true;
}

static void question_keep(struct master_core *core, const struct master_question *question)
{
    struct master_question *kept = pawl_alloc_new(core->alloc, sizeof(*kept));
    if (!kept) {
        core->failed = -ENOMEM;
        return;
    }
    PAWL_MARK(question_for_tail_waits);
    *kept = *question;
    pawl_list_init(&kept->node);
    pawl_list_push_back(&core->questions, &kept->node);
    core->questions_count++;
}

// As if it were asked again: the tail may be another one by now.
static void question_renew(struct master_core *core, const struct master_question *question)
{
    const struct master_inode *file = master_file_get(core, question->file_id);
    struct master_chunk *chunk = file && !file->directory ? master_file_tail(file) : NULL;
    if (chunk) {
        master_lease_want(core, chunk);
    }
}

void master_questions_look(struct master_core *core)
{
    pawl_list_for_each_safe (node, &core->questions) {
        struct master_question *question = pawl_container_of(node, struct master_question, node);
        if (core->failed) {
            return; // chunks may be half made
        }
        question_renew(core, question);
        if (!core->failed && question_answer(core, question)) {
            pawl_list_remove(node);
            core->questions_count--;
            pawl_alloc_free(core->alloc, question);
        }
    }
}

void master_questions_end(struct master_core *core, int code, const char *text)
{
    struct pawl_list *node;
    while ((node = pawl_list_pop_front(&core->questions)) != NULL) {
        struct master_question *question = pawl_container_of(node, struct master_question, node);
        if (code != 0) {
            master_reply_code(core, question->request, code, "%s", text);
        }
        pawl_alloc_free(core->alloc, question);
    }
    core->questions_count = 0;
}

static struct master_question question_of(const struct master_core *core,
                                          const struct master_event *event)
{
    const Pawl__GetTail *get_tail = event->message->get_tail;
    const Pawl__Hint *hint = get_tail->hint;
    bool waits = core->questions_count < QUESTIONS_MAX;
    uint32_t wait_ms = waits ? PAWL_MIN(get_tail->wait_ms, QUESTION_WAIT_MAX_MS) : 0;
    struct master_question question = {.request = event->request,
                                       .file_id = get_tail->file_id,
                                       .append = get_tail->append,
                                       .until_ns = core->now_ns + master_ms_to_ns(wait_ms)};
    if (hint && hint->code == PAWL_ECHUNKFULL) {
        question.full_handle = hint->handle;
        question.full_version = hint->version;
    }
    return question;
}

void master_request_get_tail(struct master_core *core, const struct master_event *event)
{
    const Pawl__GetTail *get_tail = event->message->get_tail;
    struct master_inode *file = question_file(core, event->request, get_tail->file_id);
    if (!file) {
        return;
    }
    if (get_tail->hint) {
        take_hint(core, master_file_tail(file), get_tail->hint);
    }
    struct master_chunk *chunk = master_file_tail(file);
    if (get_tail->append && (!chunk || chunk->sealed)) {
        int rc = master_file_create_chunk(core, file);
        if (rc) {
            master_reply_code(core, event->request, rc,
                              "the file wants %u replicas, %u at least; start chunk servers",
                              file->replicas, file->min_replicas);
            return;
        }
        chunk = master_file_tail(file);
    }
    if (chunk && !core->failed) {
        master_lease_want(core, chunk);
    }
    struct master_question question = question_of(core, event);
    if (!core->failed && !question_answer(core, &question)) {
        question_keep(core, &question);
    }
}
