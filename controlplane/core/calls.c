// SPDX-License-Identifier: Apache-2.0
// Calls that change names are carried out once: what is kept of the last ones of each session.
//
// A client that gets no answer sends its call again, under the same number, and begins the next one when it has
// given this one up or has its answer. So one call for each session is all that has to be kept: it answers every
// message that comes again, and what has a lower number comes late, when nobody waits for it any more.
//
// That a call has changed a name is told by the record of the change itself, so both last or neither. A call that
// has changed nothing may be carried out when it comes again, as if for the first time; but not when its client
// has its answer. It is kept in memory only: messages that are still on their way end with the connections of the
// master that had them.
#include "controlplane/core/calls.h"

#include "base/mark.h"
#include "controlplane/core/master_core_private.h"

void master_calls_init(struct master_core *core)
{
    pawl_map_init(&core->sessions.calls, core->alloc);
}

void master_calls_fini(struct master_core *core)
{
    size_t cursor = 0;
    uint64_t id;
    void *calls;
    while (pawl_map_iterate(&core->sessions.calls, &cursor, &id, &calls)) {
        pawl_alloc_free(core->alloc, calls);
    }
    pawl_map_fini(&core->sessions.calls);
}

static const struct master_call *last_of(const struct master_calls *calls)
{
    return calls->heard.number > calls->changed.number ? &calls->heard : &calls->changed;
}

// Finds or adds. NULL: no memory.
static struct master_calls *calls_of(struct master_core *core, uint64_t session)
{
    struct pawl_map *map = &core->sessions.calls;
    struct master_calls *calls = pawl_map_get(map, session);
    if (calls) {
        return calls;
    }
    calls = pawl_alloc_new(core->alloc, sizeof(*calls));
    if (calls && pawl_map_put(map, session, calls)) {
        pawl_alloc_free(core->alloc, calls);
        calls = NULL;
    }
    return calls;
}

// ---- requests ------------------------------------------------------------------------------------

static void answer_again(struct master_core *core, uint64_t request, const struct master_call *call)
{
    const struct master_inode *inode = master_inode_get(core, call->file_id);
    if (call->code || call->file_id == 0) {
        master_reply_code(core, request, call->code, NULL);
    } else if (inode) {
        master_reply_file(core, request, inode);
    } else { // removed since: by somebody who came after this call
        Pawl__Reply *reply = master_reply_new(core, PAWL__REPLY__BODY_FILE);
        Pawl__FileInfo *info = MASTER_MESSAGE(core, Pawl__FileInfo, pawl__file_info__init);
        info->file_id = call->file_id;
        info->chunk_bytes = call->chunk_bytes;
        info->directory = call->chunk_bytes == 0;
        reply->file = info;
        master_reply(core, request, reply);
    }
}

bool master_call_settled(struct master_core *core, const struct master_event *event)
{
    const Pawl__Call *call = event->message->call;
    if (!call) {
        return false; // of an older client
    }
    if (call->number == 0) {
        master_reply_code(core, event->request, PAWL_EPROTOCOL, "calls are numbered from 1");
        return true;
    }
    if (!master_session_serves(core, call->session_id)) {
        PAWL_MARK(call_of_session_that_ended);
        master_reply_code(core, event->request, PAWL_ESESSION, NULL);
        return true;
    }
    const struct master_calls *calls = pawl_map_get(&core->sessions.calls, call->session_id);
    const struct master_call *last = calls ? last_of(calls) : NULL;
    if (!last || call->number > last->number || PAWL_MUTANT(call_carried_out_again)) {
        return false;
    }
    if (call->number == last->number) {
        PAWL_MARK(call_answered_again);
        answer_again(core, event->request, last);
    } else {
        master_reply_code(core, event->request, PAWL_ESTALE, "a later call has begun");
    }
    return true;
}

void master_call_heard(struct master_core *core, const struct master_event *event)
{
    const Pawl__Call *call = event->message->call;
    if (!call || core->failed) {
        return;
    }
    const struct master_action *answer = &core->actions.items[core->actions.count - 1];
    pawl_assert(answer->type == MASTER_ACTION_REPLY && answer->request == event->request);
    struct master_calls *calls = calls_of(core, call->session_id);
    if (!calls) {
        core->failed = -ENOMEM;
        return;
    }
    if (calls->changed.number == call->number) {
        return;
    }
    calls->heard = (struct master_call){.number = call->number, .code = answer->reply->code};
    if (answer->reply->body_case == PAWL__REPLY__BODY_FILE) {
        calls->heard.file_id = answer->reply->file->file_id;
        calls->heard.chunk_bytes = answer->reply->file->chunk_bytes;
    }
}

// ---- the log -------------------------------------------------------------------------------------

Pawl__Call *master_call_message(struct master_core *core, const struct master_event *event)
{
    const Pawl__Call *from = event->message->call;
    if (!from) {
        return NULL;
    }
    Pawl__Call *call = MASTER_MESSAGE(core, Pawl__Call, pawl__call__init);
    call->session_id = from->session_id;
    call->number = from->number;
    return call;
}

static bool changes_a_name(const Pawl__LogRecord *record)
{
    return record->body_case == PAWL__LOG_RECORD__BODY_MKDIR ||
           record->body_case == PAWL__LOG_RECORD__BODY_CREATE ||
           record->body_case == PAWL__LOG_RECORD__BODY_RENAME ||
           record->body_case == PAWL__LOG_RECORD__BODY_REMOVE;
}

static int call_check(struct master_core *core, const Pawl__Call *call)
{
    if (!call || !master_session_is_live(core, call->session_id)) {
        return PAWL_EFORMAT;
    }
    const struct master_calls *calls = pawl_map_get(&core->sessions.calls, call->session_id);
    if (call->number <= (calls ? calls->changed.number : 0) &&
        !PAWL_MUTANT(call_carried_out_again)) {
        return PAWL_EFORMAT;
    }
    return calls_of(core, call->session_id) ? 0 : -ENOMEM;
}

int master_calls_before(struct master_core *core, const Pawl__LogRecord *record)
{
    if (!record->call) {
        return 0;
    }
    return changes_a_name(record) ? call_check(core, record->call) : PAWL_EFORMAT;
}

static uint64_t renamed_id(const struct master_core *core, const char *path)
{
    char clean[MASTER_PATH_MAX + 1];
    struct master_inode *inode;
    return master_path_normalise(path, clean) || master_resolve(core, clean, &inode) ? 0
                                                                                     : inode->id;
}

void master_calls_applied(struct master_core *core, const Pawl__LogRecord *record)
{
    if (!record->call) {
        return;
    }
    struct master_call changed = {.number = record->call->number};
    if (record->body_case == PAWL__LOG_RECORD__BODY_MKDIR) {
        changed.file_id = record->mkdir->file_id;
    } else if (record->body_case == PAWL__LOG_RECORD__BODY_CREATE) {
        changed.file_id = record->create->file_id;
        changed.chunk_bytes = record->create->chunk_bytes;
    } else if (record->body_case == PAWL__LOG_RECORD__BODY_RENAME) {
        changed.file_id = renamed_id(core, record->rename->to);
    }
    struct master_calls *calls = pawl_map_get(&core->sessions.calls, record->call->session_id);
    pawl_assert(calls); // since master_calls_before()
    calls->changed = changed;
}

int master_apply_last_call(struct master_core *core, const Pawl__LogLastCall *record)
{
    int rc = call_check(core, record->call);
    if (rc) {
        return rc;
    }
    struct master_calls *calls = pawl_map_get(&core->sessions.calls, record->call->session_id);
    calls->changed = (struct master_call){.number = record->call->number,
                                          .file_id = record->file_id,
                                          .chunk_bytes = record->chunk_bytes};
    return 0;
}

void master_calls_forget(struct master_core *core, uint64_t first, uint64_t last)
{
    struct pawl_map *map = &core->sessions.calls;
    for (uint64_t id = first; id <= last && pawl_map_count(map) > 0; id++) {
        pawl_alloc_free(core->alloc, pawl_map_remove(map, id));
    }
}

// ---- snapshots -----------------------------------------------------------------------------------

static int dump_call(uint64_t session, const struct master_call *changed,
                     int (*emit)(void *user, const Pawl__LogRecord *record), void *user)
{
    Pawl__Call call = PAWL__CALL__INIT;
    Pawl__LogLastCall last = PAWL__LOG_LAST_CALL__INIT;
    Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
    call.session_id = session;
    call.number = changed->number;
    last.call = &call;
    last.file_id = changed->file_id;
    last.chunk_bytes = changed->chunk_bytes;
    record.body_case = PAWL__LOG_RECORD__BODY_LAST_CALL;
    record.last_call = &last;
    return emit(user, &record);
}

// In the order of the sessions, until there are no more.
int master_calls_dump(const struct master_core *core,
                      int (*emit)(void *user, const Pawl__LogRecord *record), void *user)
{
    const struct master_sessions *sessions = &core->sessions;
    size_t left = pawl_map_count(&sessions->calls);
    int rc = 0;
    for (uint32_t i = 0; i < sessions->live_count && left > 0; i++) {
        const struct master_sessions_range *live = &sessions->live[i];
        for (uint64_t id = live->first; rc == 0 && id <= live->last && left > 0; id++) {
            const struct master_calls *calls = pawl_map_get(&sessions->calls, id);
            left -= calls != NULL;
            if (calls && calls->changed.number > 0) {
                rc = dump_call(id, &calls->changed, emit, user);
            }
        }
    }
    return rc;
}

void master_calls_validate(const struct master_core *core)
{
    size_t cursor = 0;
    uint64_t id;
    void *value;
    while (pawl_map_iterate(&core->sessions.calls, &cursor, &id, &value)) {
        const struct master_calls *calls = value;
        pawl_assert(master_session_is_live(core, id));
        pawl_assert(calls->changed.code == 0);
        pawl_assert(calls->changed.file_id < core->next_file_id);
        pawl_assert(calls->heard.number == 0 || calls->heard.number != calls->changed.number);
    }
}
